"""Errors by code: each has an example that meets it, and no raise names a code that is not explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nervure as nv
from nervure import nn
from nervure.ir.codes import CODES, INTERNAL, explain_code
from nervure.ir.errors import InputError, NervureError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", [c for c, entry in CODES.items() if entry.example])
def test_the_example_of_a_code_ends_with_that_error(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NervureError) as caught:
        exec(compile(CODES[code].example, "example.py", "exec"), {"nv": nv, "nn": nn})
    assert caught.value.code == code, str(caught.value)


def test_every_code_that_an_error_names_is_explained_and_every_explained_one_is_named():
    folders = ("ir", "frontend", "passes", "runtime", "backends", "nervure")
    sources = [p for f in folders for p in (ROOT / f).rglob("*.py") if p.name != "codes.py"]
    named = {code for path in sources for code in re.findall(r'["\[](NV\d{4})["\]]', path.read_text())}
    assert named | {INTERNAL} == set(CODES)


def test_a_code_is_explained_with_cause_fix_and_example():
    text = explain_code("nv0202")
    assert text.startswith("NV0202: a tensor was asked for its value\n\ncause: ")
    assert "\nfix:   " in text and "\n    nv.trace(lambda x:" in text
    with pytest.raises(InputError, match="there are NV0201, NV0202"):
        explain_code("NV0204")
