"""Stand-alone programs: .npy in, .npy out; what is wrong with an input is said, and no file is half written."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from networks import lenet, mlp

import nervure as nv
from nervure import nn, optim

from .conftest import batch

Program = Callable[..., Any]


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    code: int
    out: bytes
    err: str

    def arrays(self, count: int = 1) -> list[Any]:
        stream = io.BytesIO(self.out)
        found = [np.load(stream) for _ in range(count)]
        assert not stream.read()
        return found


@pytest.fixture
def program(cc: str, tmp_path: Path) -> Callable[..., Callable[..., Ran]]:
    """Build a program; gives a function that runs it in the test's folder."""

    def make(model: Any, *specs: str, **options: Any) -> Callable[..., Ran]:
        nv.build(model, *specs, output=tmp_path / "prog", **options)
        assert (tmp_path / "prog").stat().st_mode & 0o111

        def run(*arguments: str, stdin: bytes = b"") -> Ran:
            done = subprocess.run(
                ["./prog", *arguments], cwd=tmp_path, input=stdin, capture_output=True, check=False
            )
            return Ran(done.returncode, done.stdout, done.stderr.decode())

        return run

    return make


def npy(*arrays: Any) -> bytes:
    stream = io.BytesIO()
    for array in arrays:
        np.save(stream, array)
    return stream.getvalue()


def pair(x: Any, y: Any) -> Any:
    return x + y, x * 2


def test_files_and_streams_give_the_bits_of_the_executable(tmp_path: Path, program: Program) -> None:
    nv.seed(3)
    model = lenet(nn)
    run, want = program(model, "f32[B,1,28,28]", threads=True), nv.compile(model, "f32[B,1,28,28]")
    x = batch((1, 28, 28), 6)
    np.save(tmp_path / "x.npy", x)
    for done in (run("x.npy"), run(stdin=npy(x)), run("-", "--threads", "2", stdin=npy(x))):
        assert done.code == 0, done.err
        np.testing.assert_array_equal(done.arrays()[0], want(x))
    assert run("x.npy", "-o", "y.npy").out == b""
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), want(x))
    assert sorted(f.name for f in tmp_path.iterdir()) == ["prog", "x.npy", "y.npy"]


def test_several_inputs_and_results(tmp_path: Path, program: Program) -> None:
    run = program(pair, "i32[N,3]", "i32[N,3]")
    x, y = np.arange(6, dtype=np.int32).reshape(2, 3), np.full((2, 3), 5, np.int32)
    np.save(tmp_path / "y.npy", y)
    done = run("-", "y.npy", stdin=npy(x))
    assert [a.tolist() for a in done.arrays(2)] == [(x + y).tolist(), (x * 2).tolist()]
    assert [a.tolist() for a in run(stdin=npy(x, y)).arrays(2)] == [(x + y).tolist(), (x * 2).tolist()]
    assert run("-", "-", "-o", "-", "-o", "z.npy", stdin=npy(x, y)).arrays()[0].tolist() == (x + y).tolist()
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), x * 2)


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16", "i8", "u64", "bool"])
def test_element_types(program: Program, dtype: str) -> None:
    run = program(lambda x: nv.nn.where(x == x, x, x), f"{dtype}[2,N:0..9]")
    kind = {"f64": "f8", "f16": "f2", "bf16": ml_dtypes.bfloat16, "i8": "i1", "u64": "u8", "bool": "?"}[dtype]
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(kind)
    done = run(stdin=npy(x))
    assert done.code == 0, done.err
    assert done.out == npy(x)
    assert run(stdin=npy(x[:, :0])).out == npy(np.ascontiguousarray(x[:, :0]))


def test_a_scalar_and_large_ranks(program: Program) -> None:
    run = program(lambda x, y: (x * 2, y + 1), "f32[]", "f32[1,2,1,1,2,1]")
    x, y = np.float32(3), np.ones((1, 2, 1, 1, 2, 1), np.float32)
    assert run(stdin=npy(x, y)).out == npy(np.float32(6), y + 1)


def test_what_is_wrong_with_an_input_is_said(tmp_path: Path, program: Program) -> None:
    run = program(mlp(nn), "f32[B:1..8,20]")
    good = batch((20,), 3)
    cases: dict[str, tuple[bytes, str]] = {
        "double": (npy(good.astype("f8")), "element type is '<f8', expected '<f4' (x: f32[B,20])"),
        "big": (npy(good.astype(">f4")), "element type is '>f4'"),
        "fortran": (npy(np.asfortranarray(good)), "column-major"),
        "rank": (npy(good[0]), "rank is 1, expected 2"),
        "axis": (npy(good[:, :19].copy()), "axis 1 is 19, expected 20"),
        "many": (npy(batch((20,), 9)), "axis 0 is 9, but B is 1..8"),
        "none": (npy(good[:0]), "axis 0 is 0, but B is 1..8"),
        "short": (npy(good)[:-1], "ends too early"),
        "head": (npy(good)[:50], "ends too early"),
        "empty": (b"", "ends too early"),
        "text": (b"x = 1\n" * 30, "is no .npy file"),
        "version": (b"\x93NUMPY\x09" + npy(good)[7:], "is no .npy file"),
        "huge": (npy(good).replace(b"(3, 20)", b"(99999999999, 99999999999)"), "is too large"),
        "shape": (npy(good).replace(b"(3, 20)", b"(3, -2)"), "shape cannot be read"),
        "endless": (npy(good).replace(b"(3, 20)", b"(3, 20 "), "shape cannot be read"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
        done = run(f"{name}.npy", "-o", "y.npy")
        assert (done.code, done.out) == (2, b"") and message in done.err, (name, done)
        assert done.err.startswith(f"prog: {name}.npy: ") and done.err.count("\n") == 1
        assert message in run(stdin=content).err
    assert not list(tmp_path.glob("y.npy*"))


def test_wrong_use_is_said(tmp_path: Path, program: Program) -> None:
    run = program(mlp(nn), "f32[B:1..8,20]", threads=True)
    np.save(tmp_path / "x.npy", batch((20,), 3))
    (tmp_path / "file").write_text("")
    for arguments, message in {
        ("gone.npy",): "gone.npy: cannot be read: No such file",
        ("x.npy", "x.npy"): "1 inputs are expected",
        ("x.npy", "-o"): "-o wants a value",
        ("x.npy", "-o", "a", "-o", "b"): "1 results",
        ("x.npy", "--nonsense"): "no option is named --nonsense",
        ("x.npy", "--state", "s"): "no option is named --state",
        ("x.npy", "-o", "file/y.npy"): "cannot be written: Not a directory",
        ("x.npy", "--threads", "0"): "--threads is 0",
        ("x.npy", "--threads", "257"): "--threads is 257",
        ("x.npy", "--threads", "2x"): "--threads is 2x",
    }.items():
        done = run(*arguments)
        assert done.code == 2 and message in done.err, (arguments, done)
    assert "f32[B,20]" in run("--help").out.decode() and run("--help").code == 0
    assert run("--version").out.decode().startswith("prog, made by nervure")


def test_a_training_step_keeps_its_state_in_a_file(tmp_path: Path, program: Program) -> None:
    nv.seed(3)
    step = nv.training_step(mlp(nn), nn.cross_entropy, optim.Adam(0.05), "f32[B,20]", "i64[B]")
    run, want = program(step, weights="file"), nv.compile(step)
    x, labels = batch((20,), 10), np.arange(10) % 10
    for _ in range(3):
        done = run("--state", "state", stdin=npy(x, labels))
        assert done.code == 0, done.err
        assert done.arrays()[0] == want(x, labels)
    assert (
        run("--state", "state", stdin=npy(x, labels + 1)).err
        == "prog: an index in an input is outside its range\n"
    )
    assert run(stdin=npy(x, labels)).arrays()[0] > want(x, labels)  # from the beginning
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-1])
    assert "is not the state" in run("--state", "state", stdin=npy(x, labels)).err
    (tmp_path / "prog.weights").write_bytes(b"\0" * (tmp_path / "prog.weights").stat().st_size)
    done = run(stdin=npy(x, labels))
    assert done.code == 2 and "the weights are not those of this program" in done.err
    (tmp_path / "prog.weights").unlink()
    assert "cannot read the weights" in run(stdin=npy(x, labels)).err
