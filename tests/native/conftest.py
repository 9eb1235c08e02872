"""Folders, caches and C compilers for the tests of native builds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One object cache for the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


@pytest.fixture
def cc() -> str:
    """The C compiler."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler is installed")
    return found


@pytest.fixture
def run_c(cc: str, tmp_path: Path) -> Callable[..., bytes]:
    """Compile a C source in the test's folder, with all warnings as errors, and run it; what it wrote."""

    def run(
        source: str, *link: str, under: tuple[str, ...] = (), flags: tuple[str, ...] = ("-std=c99",)
    ) -> bytes:
        (tmp_path / "main.c").write_text(source)
        command = [
            cc,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            *flags,
            "main.c",
            *link,
            "-lm",
            "-o",
            "main",
        ]
        subprocess.run(command, cwd=tmp_path, check=True)
        done = subprocess.run([*under, "./main"], cwd=tmp_path, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        (tmp_path / "stderr").write_bytes(done.stderr)
        return done.stdout

    return run


CALLER = """#include <fcntl.h>
#include <unistd.h>
#include "{prefix}.h"

static float x[{inputs}], y[{outputs}];
static char arena[{arena}];

int main(void) {{
    int file = open("x.bin", O_RDONLY);
    if (read(file, x, sizeof x) != (long)sizeof x) return 10;
    if ({prefix}_arena_bytes({dims}) > (int64_t)sizeof arena) return 11;
    if ({prefix}_x_elements({dims}) != {inputs}) return 12;
    int32_t code = {prefix}_run(x, y, {dims}, arena, sizeof arena);
    if (code != 0) return code;
    return write(1, y, sizeof y) != (long)sizeof y;
}}
"""
"""A C program that calls a network of one symbol without allocating anything."""


def caller(prefix: str, x: Any, outputs: int, arena: int = 1 << 22) -> str:
    """The program for a batch; x.bin holds it."""
    return CALLER.format(prefix=prefix, inputs=x.size, outputs=outputs, arena=arena, dims=len(x))


def batch(shape: tuple[int, ...], n: int = 5) -> Any:
    """Inputs from a fixed seed."""
    return np.random.default_rng(n).standard_normal((n, *shape)).astype(np.float32)
