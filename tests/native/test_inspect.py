"""What a build says about itself, from any kind of file, and from none that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from networks import vgg

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError
from nervure.native.metadata import metadata_text, read_metadata


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("a.so", None),
        ("a", None),
        ("a.a", None),
        ("a.o", "wasm32"),
        ("a.obj", "x86_64-windows"),
        ("a.o", "aarch64-macos"),
    ],
)
def test_every_kind_of_file_says_what_it_holds(
    tmp_path: Path, cc: str, file: str, target: str | None
) -> None:
    nv.build(vgg(nn), "f32[B:1..64,1,12,12]", output=tmp_path / file, target=target, opt=1)
    found = read_metadata(tmp_path / file)
    assert found["symbols"] == [{"name": "B", "lo": 1, "hi": 64}]
    assert found["inputs"] == [{"name": "x", "type": "f32[B,1,12,12]"}]
    assert found["level"] == 1 and "canonicalize" in found["pipeline"]
    program = nv.parse(found["ir"], init="zeros")
    assert str(program.main.inputs[0].type) == "f32[B,1,12,12]"
    text = metadata_text(found)
    assert found["nervure"] in text and found["target"]["triple"] in text and "graph" in text


def test_a_damaged_build_is_an_error(tmp_path: Path) -> None:
    nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / "a.o")
    data = (tmp_path / "a.o").read_bytes()
    at = data.index(b"NERVURE METADATA")
    for damaged in (
        data[: at + 60],
        data[: at + 60] + b"?" + data[at + 61 :],
        b"",
        data[at:].replace(b"NERVURE", b"nervure"),
    ):
        (tmp_path / "b.o").write_bytes(damaged)
        with pytest.raises(InputError, match="no build of nervure"):
            read_metadata(tmp_path / "b.o")


def test_names_of_users_reach_no_symbol_and_no_code(tmp_path: Path) -> None:
    """A name may hold anything that the text form allows; the header and the metadata carry it as data."""
    nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / "*-odd name-*.o", prefix="odd")
    assert json.dumps(read_metadata(tmp_path / "*-odd name-*.o"))
    assert "odd_run" in (tmp_path / "odd.h").read_text()
