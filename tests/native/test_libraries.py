"""Libraries: the same bits as Python, from C, C++ and Python; every mistake of a caller is a code."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS, lenet

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm.emit import ALLOWED_EXTERNALS
from nervure.backends.llvm.target import host_target

from .conftest import batch, caller


def network(name: str) -> tuple[Any, str, tuple[int, ...]]:
    nv.seed(3)
    make, shape = NETWORKS[name]
    return make(nn), f"f32[B,{','.join(map(str, shape))}]", shape


@pytest.mark.parametrize("weights", ["rodata", "file"])
@pytest.mark.parametrize("name", ["mlp", "vgg"])
def test_a_library_gives_the_bits_of_the_executable(tmp_path: Path, cc: str, name: str, weights: str) -> None:
    model, spec, shape = network(name)
    nv.build(model, spec, output=tmp_path / "model.so", weights=weights)
    library, run = nv.load_native(tmp_path / "model.so"), nv.compile(model, spec)
    for n in (1, 5, 33):
        x = batch(shape, n)
        np.testing.assert_array_equal(library(x), run(x))


def test_a_library_chooses_kernels_by_its_open_sizes(tmp_path: Path, cc: str) -> None:
    nv.seed(3)
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
    spec = "f32[B:1..9,32,H:1..40,W:1..40]"
    nv.build(model, spec, output=tmp_path / "model.so")
    library, run = nv.load_native(tmp_path / "model.so"), nv.compile(model, spec)
    assert (" > 0 {" in str(run.assembled.program)) == host_target().winograd
    for size in ((1, 2, 2), (2, 3, 5), (1, 16, 16), (3, 33, 18)):
        x = batch((32, *size[1:]), size[0])
        np.testing.assert_array_equal(library(x), run(x))


def test_inputs_at_odd_addresses_are_taken(tmp_path: Path, cc: str) -> None:
    nv.build(lambda x: x * 2, "f32[3]", output=tmp_path / "a.so")
    raw = np.arange(13, dtype=np.uint8)
    x = raw[1:].view(np.float32)
    assert not x.flags.aligned
    np.testing.assert_array_equal(nv.load_native(tmp_path / "a.so")(x), x * 2)


def test_a_library_built_anew_under_its_name_is_not_the_old_one(tmp_path: Path, cc: str) -> None:
    """The loader of the system keeps what it loaded from a path."""
    x = np.arange(3, dtype=np.float32)
    nv.build(lambda x: x * 2, "f32[3]", output=tmp_path / "a.so")
    first = nv.load_native(tmp_path / "a.so")
    nv.build(lambda x, y: x * y, "f32[3]", "f32[3]", output=tmp_path / "a.so")
    second = nv.load_native(tmp_path / "a.so")
    nv.build(lambda x: x * 3, "f32[3]", output=tmp_path / "a.so", prefix="b")
    third = nv.load_native(tmp_path / "a.so")
    assert (
        first(x).tolist() == [0, 2, 4]
        and second(x, x).tolist() == [0, 1, 4]
        and third(x).tolist() == [0, 3, 6]
    )


@pytest.mark.parametrize("kind", ["so", "obj", "static"])
def test_a_c_program_gives_the_bits_of_the_executable(
    tmp_path: Path, run_c: Callable[..., bytes], kind: str
) -> None:
    nv.seed(3)
    model, spec = lenet(nn), "f32[B,1,28,28]"
    file = tmp_path / {"so": "libnet.so", "obj": "net.o", "static": "libnet.a"}[kind]
    nv.build(model, spec, output=file, kind=kind)
    x = batch((1, 28, 28), 7)
    x.tofile(tmp_path / "x.bin")
    found = run_c(caller("net", x, 70), f"./{file.name}", "-Wl,-rpath,.")
    np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(7, 10), nv.compile(model, spec)(x))


def test_the_header_serves_cplusplus(tmp_path: Path, run_c: Callable[..., bytes]) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler is installed")
    model, spec, shape = network("mlp")
    nv.build(model, spec, output=tmp_path / "net.o")
    x = batch(shape, 5)
    x.tofile(tmp_path / "x.bin")
    found = run_c(caller("net", x, 50), "-x", "none", "net.o", flags=("-x", "c++", "-std=c++11"))
    np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(5, 10), nv.compile(model, spec)(x))


def test_two_models_in_one_program_do_not_clash(tmp_path: Path, run_c: Callable[..., bytes]) -> None:
    nv.build(lambda x: x * 2, "f32[3]", output=tmp_path / "twice.o")
    nv.build(lambda x: x * 3, "f32[3]", output=tmp_path / "libthrice.a")
    source = """#include <stdio.h>
#include "twice.h"
#include "thrice.h"
int main(void) {
    float x[3] = {1, 2, 3}, y[3], z[3];
    if (twice_run(x, y, 0, TWICE_ARENA_BYTES) || thrice_run(y, z, 0, thrice_arena_bytes())) return 1;
    printf("%g %g %g", z[0], z[1], z[2]);
    return 0;
}
"""
    assert run_c(source, "twice.o", "libthrice.a") == b"6 12 18"


def test_the_example_is_built_by_cmake(tmp_path: Path, cc: str) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    model, spec, shape = network("mlp")
    for file, weights in (("a.so", "file"), ("b.a", "rodata"), ("c.o", "rodata")):
        nv.build(model, spec, output=tmp_path / file, weights=weights, example=True)
        folder = tmp_path / f"{file[0]}_example"
        subprocess.run(["cmake", "-S", folder, "-B", folder / "made"], check=True, capture_output=True)
        subprocess.run(["cmake", "--build", folder / "made"], check=True, capture_output=True)
        done = subprocess.run([folder / "made" / "example"], check=True, capture_output=True, cwd=tmp_path)
        first = nv.compile(model, spec)(np.zeros((1, *shape), np.float32))[0, 0]
        assert float(done.stdout.split(b"=")[1]) == pytest.approx(float(first), rel=1e-5)
        if weights == "file":
            lost = subprocess.run([folder / "made" / "example"], check=False, capture_output=True, cwd=folder)
            assert (lost.returncode, lost.stderr) == (2, b"a.weights: not in this folder, or cut short\n")


def step_of(trained: Any, spec: str) -> Any:
    return nv.training_step(trained, nn.cross_entropy, optim.Adam(0.01), spec, "i64[B]")


@pytest.mark.parametrize("weights", ["rodata", "file"])
def test_a_training_step_trains_as_the_executable_does(tmp_path: Path, cc: str, weights: str) -> None:
    model, spec, shape = network("vgg")
    step = step_of(model, spec)
    nv.build(step, output=tmp_path / "step.so", weights=weights)
    library, run = nv.load_native(tmp_path / "step.so"), nv.compile(step)
    x, labels = batch(shape, 16), np.arange(16) % 10
    losses = [(library(x, labels), run(x, labels)) for _ in range(4)]
    assert all(a == b for a, b in losses) and losses[-1][0] < losses[0][0]
    want = run.state_dict()
    for name, found in library.state_dict().items():
        np.testing.assert_array_equal(found, want[name], err_msg=name)
    library.load_state_dict({**library.state_dict(), "0.bias": np.full(4, 2, np.float32)})
    assert library.store["0.bias"].data[0] == 2


def test_a_state_of_a_few_bytes_begins_with_its_content(tmp_path: Path, cc: str) -> None:
    """LLVM once took the place of the weights for the zeros that it is until they are filled in."""
    text = """nervure 1
program count {
  state @n : f32[]
  graph step() -> f32[] {
    %one = constant{value=dense<f32[]: 1>} : f32[]
    %next = add @n, %one : f32[]
    return %next
    update @n = %next
  }
}
"""
    program = nv.parse(text, init="zeros")
    program.store["n"].assign(np.float32(41))
    for weights in ("rodata", "file"):
        nv.build(program, output=tmp_path / "count.so", weights=weights)
        library = nv.load_native(tmp_path / "count.so")
        assert [float(library()) for _ in range(2)] == [42, 43]


def test_a_state_of_no_bytes_is_no_error(tmp_path: Path, cc: str) -> None:
    text = """nervure 1
program none {
  state @n : f32[0]
  graph step() -> f32[0] {
    %next = neg @n : f32[0]
    return %next
    update @n = %next
  }
}
"""
    nv.build(nv.parse(text, init="zeros"), output=tmp_path / "none.so")
    assert nv.load_native(tmp_path / "none.so")().shape == (0,)


def test_the_accessor_finds_the_entries_that_the_header_names(tmp_path: Path, cc: str) -> None:
    model, spec, _ = network("mlp")
    nv.build(step_of(model, spec), output=tmp_path / "step.so")
    header = (tmp_path / "step.h").read_text()
    size = int(re.search(r"STEP_STATE_BYTES (\d+)", header)[1])  # pyright: ignore[reportOptionalSubscript]
    numbers = dict(re.findall(r"#define STEP_ENTRY_(\w+) (\d+)", header))
    library = ctypes.CDLL(str(tmp_path / "step.so"))
    library.step_entry.restype = ctypes.c_void_p
    memory = np.zeros(size + 64, np.uint8)
    start = -(-memory.ctypes.data // 64) * 64
    assert library.step_init(ctypes.c_void_p(start)) == 0
    where = library.step_entry(ctypes.c_void_p(start), ctypes.c_int64(int(numbers["v0_weight"])))
    found = np.ctypeslib.as_array(ctypes.cast(where, ctypes.POINTER(ctypes.c_float)), (32, 20))
    np.testing.assert_array_equal(found, model.state_dict()["0.weight"])
    assert library.step_entry(ctypes.c_void_p(start), ctypes.c_int64(len(numbers))) is None
    assert library.step_entry(None, ctypes.c_int64(0)) is None


def test_every_mistake_of_a_caller_is_a_code_and_nothing_is_written(tmp_path: Path, cc: str) -> None:
    def pick(x: Any, i: Any) -> Any:
        return nn.embedding(i, x) * 2

    nv.build(pick, "f32[N:2..9,4]", "i32[B:1..8]", output=tmp_path / "pick.so", weights="file")
    run: Any = ctypes.CDLL(str(tmp_path / "pick.so")).pick_run
    table, indices, y = (
        np.ones((5, 4), np.float32),
        np.arange(3, dtype=np.int32),
        np.zeros((3, 4), np.float32),
    )
    side = np.fromfile(tmp_path / "pick.weights", np.uint8)
    memory = np.zeros(side.size + 128, np.uint8)
    start = -memory.ctypes.data % 64
    weights = memory[start : start + side.size]
    weights[:] = side
    arena = np.zeros(1 << 16, np.uint8)

    def call(**given: Any) -> int:
        base = {
            "x": table.ctypes.data, "i": indices.ctypes.data, "y": y.ctypes.data, "b": 3, "n": 5,
            "weights": weights.ctypes.data, "bytes": weights.size, "arena": arena.ctypes.data, "size": arena.size,
        }  # fmt: skip
        found = {**base, **given}
        words = [
            ctypes.c_void_p(v) if k in ("x", "i", "y", "weights", "arena") else ctypes.c_int64(v)
            for k, v in found.items()
        ]
        return int(run(*words))

    assert call() == 0 and (y == 2).all()
    y[:] = 0
    wrong: list[tuple[int, dict[str, Any]]] = [
        (1, {"x": 0}), (1, {"i": 0}), (1, {"y": 0}), (1, {"weights": 0}),
        (2, {"b": 0}), (2, {"b": 9}), (2, {"n": 1}), (2, {"n": -1}), (2, {"n": 2**62}),
        (4, {"y": y.ctypes.data + 1}), (4, {"weights": weights.ctypes.data + 8}),
        (5, {"bytes": weights.size - 1}),
    ]  # fmt: skip
    for code, given in wrong:
        assert call(**given) == code, given
    weights[20] ^= 1
    assert call() == 5
    weights[20] ^= 1
    assert (y == 0).all()


def test_an_arena_is_checked_and_may_lie_anywhere(tmp_path: Path, cc: str) -> None:
    model, spec, shape = network("vgg")
    nv.build(model, spec, output=tmp_path / "net.so")
    library: Any = ctypes.CDLL(str(tmp_path / "net.so"))
    library.net_arena_bytes.restype = ctypes.c_int64
    x, y = batch(shape, 5), np.full((5, 10), 7, np.float32)
    size = int(library.net_arena_bytes(ctypes.c_int64(5)))
    assert size > 0 and library.net_arena_bytes(ctypes.c_int64(0)) == -1

    def run(arena: int | None, given: int) -> int:
        pointers = [ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(5)]
        return int(library.net_run(*pointers, ctypes.c_void_p(arena), ctypes.c_int64(given)))

    memory = np.zeros(size + 256, np.uint8)
    assert run(None, size) == 1 and run(memory.ctypes.data, size - 1) == 3
    assert run(memory.ctypes.data, -1) == 3 and (y == 7).all()
    want = nv.compile(model, spec)(x)
    for shift in (0, 1, 17, 63):
        memory[:] = 255
        assert run(memory.ctypes.data + shift, size) == 0
        np.testing.assert_array_equal(y, want)
        assert (memory[:shift] == 255).all() and (memory[shift + size :] == 255).all()


def test_an_index_outside_its_range_is_a_code(tmp_path: Path, cc: str) -> None:
    model, spec, shape = network("mlp")
    nv.build(step_of(model, spec), output=tmp_path / "step.so")
    library = nv.load_native(tmp_path / "step.so")
    before = library.state_dict()
    arrays = [batch(shape, 2), np.array([3, 10])]
    with pytest.raises(nv.NervureError, match="the library returned 6: an index"):
        library.execute(arrays, {"B": 2}, [np.zeros((), np.float32)])
    with pytest.raises(nv.NervureError, match="10 at"):
        library(*arrays)
    for name, found in library.state_dict().items():
        np.testing.assert_array_equal(found, before[name])


def test_sizes_that_are_expressions_and_names_that_are_words_of_c(
    tmp_path: Path, run_c: Callable[..., bytes]
) -> None:
    pool = nn.MaxPool2d(3, 2)

    def odd(x: Any) -> Any:
        return pool(x)

    nv.build(odd, "f32[int:1..4,1,for:3..40,17]", output=tmp_path / "class.o")
    header = (tmp_path / "model_class.h").read_text()
    assert "int64_t int_2" in header and "int64_t for_2" in header
    x = np.random.default_rng(0).standard_normal((2, 1, 12, 17)).astype(np.float32)
    x.tofile(tmp_path / "x.bin")
    want = nv.compile(odd, "f32[int:1..4,1,for:3..40,17]")(x)
    source = (
        caller("model_class", x, want.size).replace("(2)", "(12, 2)").replace(", 2, arena", ", 12, 2, arena")
    )
    found = run_c(source, "class.o")
    np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(want.shape), want)


def test_only_the_interface_is_visible_and_only_c_is_needed(tmp_path: Path, cc: str) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    model, spec, _ = network("vgg")
    nv.build(step_of(model, spec), output=tmp_path / "step.o")
    listed = subprocess.run(
        ["nm", "-P", tmp_path / "step.o"], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    visible = {r[0] for r in rows if r[1].isupper() and r[1] != "U"}
    assert visible == {f"step_{n}" for n in ("run", "arena_bytes", "init", "entry", "metadata")}
    assert {r[0] for r in rows if r[1] == "U"} <= ALLOWED_EXTERNALS | {"_GLOBAL_OFFSET_TABLE_"}


def test_the_model_allocates_nothing_and_valgrind_finds_no_fault(
    tmp_path: Path, run_c: Callable[..., bytes]
) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    nv.seed(3)
    model, spec = lenet(nn), "f32[B,1,28,28]"
    nv.build(model, spec, output=tmp_path / "net.o", target="haswell")  # valgrind knows no AVX-512
    x = batch((1, 28, 28), 3)
    x.tofile(tmp_path / "x.bin")
    found = run_c(
        caller("net", x, 30), "net.o", under=("valgrind", "--leak-check=full", "--error-exitcode=9")
    )
    said = (tmp_path / "stderr").read_text()
    assert "ERROR SUMMARY: 0 errors" in said and "total heap usage: 0 allocs" in said
    want = nv.compile(model, spec, target="haswell")(x)
    np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(3, 10), want)


TWICE = """
import sys, numpy as np, nervure as nv
from pathlib import Path
from networks import vgg
from nervure import nn, optim
nv.seed(1)
folder = Path(sys.argv[1])
model = vgg(nn)
for name in ("net.so", "net.o", "net.a", "net"):
    nv.build(model, "f32[B,1,12,12]", output=folder / name)
nv.build(nv.training_step(model, nn.cross_entropy, optim.Adam(0.1), "f32[B,1,12,12]", "i64[B]"),
         output=folder / "step.so", weights="file", example=True)
"""


def test_building_twice_gives_the_same_bytes(tmp_path: Path, cc: str) -> None:
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", TWICE, str(folder)],
            check=True,
            cwd=Path(__file__).parents[1],
            env={
                "PYTHONHASHSEED": seed,
                "PATH": "/usr/bin:/bin",
                "NERVURE_CACHE": "off",
                "HOME": str(folder),
            },
        )
    first, second = (sorted(f for f in (tmp_path / s).rglob("*") if f.is_file()) for s in "12")
    assert [f.name for f in first] == [f.name for f in second] and len(first) == 10
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
