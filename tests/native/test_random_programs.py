"""Seeded random programs as libraries: the bits of the executable, results and updates, and every check of their inputs."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
from random_programs import random_program

import nervure as nv


def listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [] if results is None else [results]


def check(seed: int, folder: Path) -> None:
    program, inputs = random_program(seed)
    run = nv.compile(program)
    first = {name: e.data.copy() for name, e in program.store.items() if e.has_data}
    file = folder / f"p{seed}.so"
    nv.build(program, output=file, weights="file" if seed % 2 else "rodata")
    library = nv.load_native(file)
    assert str(library.signature) == str(run.signature)
    try:
        run(*inputs)
    except nv.NervureError as error:  # an index outside its range, which the random runner does not check
        with pytest.raises(nv.NervureError, match="outside"):
            library(*inputs)
        assert "outside" in str(error)
        return
    library(*inputs)
    for _ in range(2):
        for got, want in zip(listed(library(*inputs)), listed(run(*inputs)), strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            assert got.tobytes() == want.tobytes(), f"seed {seed}"
    for name, entry in library.store.items():
        assert entry.data.tobytes() == program.store[name].data.tobytes(), f"seed {seed}, @{name}"
    for name, data in first.items():
        program.store[name].assign(data)
    function: Any = library._run  # pyright: ignore[reportPrivateUsage]
    if library.signature.inputs or library.signature.outputs:
        nothing = [ctypes.c_void_p(None)] * (len(inputs) + len(library.signature.outputs))
        sizes = [ctypes.c_int64(1)] * (len(library.metadata["symbols"]) + 8)
        assert function(*nothing, *sizes) == 1, f"seed {seed}: null pointers"


@pytest.mark.parametrize(
    "start", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(25, 1000, 25))]
)
def test_a_random_program_gives_the_bits_of_the_executable(start: int, tmp_path: Path, cc: str) -> None:
    for seed in range(start, start + 25):
        check(seed, tmp_path)


def test_two_libraries_of_one_prefix_in_a_program_are_the_linker_s_error(tmp_path: Path, cc: str) -> None:
    import subprocess

    for file in ("a.o", "b.o"):
        nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / file, prefix="net")
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    done = subprocess.run(
        [cc, "main.c", "a.o", "b.o", "-o", "main"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode and "multiple definition of `net_run'" in done.stderr
