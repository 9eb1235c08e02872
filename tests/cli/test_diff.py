"""``nervure diff``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_equal_programs_have_no_difference(nervure: Run) -> None:
    assert nervure("trace", "net.py:total", "-o", "a.nv").code == 0
    assert nervure("diff", "a.nv", "a.nv").code == 0


def test_an_edit_is_shown(nervure: Run) -> None:
    text = nervure("trace", "net.py:total").out
    Path("a.nv").write_text(text)
    Path("b.nv").write_text(text.replace("add %x, %y", "sub %x, %y"))
    ran = nervure("diff", "a.nv", "b.nv")
    assert ran.code == 1
    assert "sub" in ran.out and "add" in ran.out
    assert nervure("diff", "a.nv", "b.nv", "--json").json["graphs"]
    assert nervure("diff", "a.nv", "b.nv", "-o", "d.html").code == 1
    assert Path("d.html").read_text().lstrip().lower().startswith("<!doctype html")


def test_a_missing_file_is_one_message(nervure: Run) -> None:
    ran = nervure("diff", "a.nv", "b.nv")
    assert ran.code == 2
    assert "cannot read a.nv" in ran.err
