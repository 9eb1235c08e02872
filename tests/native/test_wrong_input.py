"""Builds that cannot be: a clear error, no file half written, the old ones untouched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from networks import mlp

import nervure as nv
from nervure import nn
from nervure.ir.errors import BackendError, InputError
from nervure.native import linker
from nervure.native.names import c_names, check_prefix, prefix_of

SPEC = "f32[B,20]"


def build(**options: Any) -> Any:
    return nv.build(mlp(nn), SPEC, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"output": "a.o", "target": "hasswell"}, BackendError, "no CPU or triple is named hasswell"),
        ({"output": "a.o", "target": "aarch64-linux:haswell"}, BackendError, "no CPU of aarch64"),
        ({"output": "a.o", "target": "m68k-none-elf"}, BackendError, "no code for triple"),
        ({"output": "a.bin"}, InputError, "which kind of file"),
        ({"output": "a.o", "kind": "elf"}, InputError, "kind elf"),
        ({"output": "a.o", "weights": "heap"}, InputError, "weights heap"),
        ({"output": "file/a.o"}, InputError, "file is no folder"),
        ({"output": "gone/a.o"}, InputError, "gone is not there"),
        ({"output": "folder", "kind": "so"}, InputError, "it is a folder"),
        ({"output": "/dev/null", "kind": "obj"}, InputError, "no place for a file"),
        ({"output": "a.o", "prefix": "a-b"}, InputError, "is no C identifier"),
        ({"output": "a.o", "prefix": "while"}, InputError, "is taken"),
        ({"output": "a.o", "prefix": "nv_run"}, InputError, "is taken"),
        ({"output": "a.o", "prefix": "ä"}, InputError, "is no C identifier"),
        ({"output": "a.o", "target": "wasm32", "threads": True}, BackendError, "no thread pool for wasm32"),
    ],
)
def test_a_wrong_option_is_an_error_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=message):
        build(**options)
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["file", "folder"]


def test_no_linker_is_an_error_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(linker, "find_spec", lambda name: None)
    for file in ("a.so", "a"):
        with pytest.raises(BackendError, match="no linker for") as caught:
            build(output=tmp_path / file)
        assert "nervure[build]" in str(caught.value.hint)
    build(output=tmp_path / "a.a")  # an archive needs none


def test_a_linker_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cc: str
) -> None:
    build(output=tmp_path / "a.so")
    old = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    fake = tmp_path / "bin" / "failing"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'ld: cannot find -lm' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(BackendError, match="failed with code 1") as caught:
        nv.build(mlp(nn), SPEC, output=tmp_path / "a.so")
    assert caught.value.details == ("ld: cannot find -lm",)
    shutil.rmtree(fake.parent)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == old
    monkeypatch.setenv("CC", "no-such-compiler")  # the next in line is taken
    build(output=tmp_path / "a.so")


def test_a_file_that_cannot_be_replaced_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "net.h").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*net\.h"):
        build(output=tmp_path / "net.o")
    assert [f.name for f in tmp_path.iterdir()] == ["net.h"]


def test_names_become_c_identifiers_each_once() -> None:
    assert c_names(["a.b", "a_b", "int", "arena", "", "9", "x", "x"]) == [
        "a_b", "a_b_2", "int_2", "arena_2", "v", "v9", "x", "x_2",
    ]  # fmt: skip
    assert [prefix_of(s) for s in ("libnet", "my-model.v2", "3d", "while", "", "lib", "größe")] == [
        "net", "my_model_v2", "model_3d", "model_while", "model", "lib", "gr_e",
    ]  # fmt: skip
    assert check_prefix("net") == "net"


def test_a_library_of_another_machine_is_not_loaded(tmp_path: Path) -> None:
    nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / "a.o", target="aarch64-linux")
    with pytest.raises(BackendError, match="is for aarch64"):
        nv.load_native(tmp_path / "a.o")


def test_what_is_no_library_is_not_loaded(tmp_path: Path, cc: str) -> None:
    nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / "a.so", weights="file")
    with pytest.raises(InputError, match="no build of nervure"):
        nv.load_native(cc)
    with pytest.raises(InputError, match="cannot read"):
        nv.load_native(tmp_path / "gone.so")
    with pytest.raises(InputError, match="takes no threads"):
        nv.load_native(tmp_path / "a.so", threads=2)
    with pytest.raises(InputError, match="threads is 0"):
        nv.load_native(tmp_path / "a.so", threads=0)
    side = tmp_path / "a.weights"
    side.rename(tmp_path / "b.weights")
    with pytest.raises(InputError, match="cannot read the weights"):
        nv.load_native(tmp_path / "a.so")
    library = nv.load_native(tmp_path / "a.so", weights=tmp_path / "b.weights")
    with pytest.raises(InputError, match="expected"):
        library([1.0, 2.0])
    (tmp_path / "c.weights").write_bytes(b"\0" * 32)
    with pytest.raises(InputError, match="weights of another build"):
        nv.load_native(tmp_path / "a.so", weights=tmp_path / "c.weights")
    (tmp_path / "c.weights").write_bytes(b"\0" * (tmp_path / "b.weights").stat().st_size)
    with pytest.raises(nv.NervureError, match="another build"):
        nv.load_native(tmp_path / "a.so", weights=tmp_path / "c.weights")([1.0, 2.0, 3.0])
