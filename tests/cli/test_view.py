"""``nervure view``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("ending", "start"),
    [("html", "<!doctype html"), ("svg", "<svg"), ("dot", "digraph"), ("mmd", "flowchart")],
)
def test_every_kind_of_picture_is_written(nervure: Run, ending: str, start: str) -> None:
    ran = nervure("view", "net.py:Net", "-o", f"net.{ending}")
    assert (ran.code, ran.err) == (0, "")
    assert Path(f"net.{ending}").read_text().lstrip().lower().startswith(start)


def test_without_a_file_the_page_has_the_programs_name(nervure: Run) -> None:
    assert nervure("view", "net.py:Net").out == "wrote net.html\n"
    assert "softmax" in Path("net.html").read_text()


def test_an_unknown_kind_is_one_message(nervure: Run) -> None:
    ran = nervure("view", "net.py:Net", "-o", "net.pdf")
    assert ran.code == 2
    assert ".pdf is no picture" in ran.err
