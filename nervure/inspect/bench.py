"""A program on several backends, interleaved in one process, results compared first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..compiling import compile as compile_
from ..ir.program import Program
from ..ir.types import Array
from ..runtime.executable import Executable

__all__ = ["Bench", "Contestant", "bench"]

THREADED = ("llvm", "onnx")
"""Backends with an option `threads`."""

SLICE = 0.05
"""Seconds that one contestant runs before the next has its turn."""


@dataclass(frozen=True)
class Contestant:
    """One backend.

    Args:
        backend:  its name
        best, median: seconds of a call
        calls:    how many were timed
        compiled: seconds of compilation, with the object cache as it was
        error:    largest difference from the reference over the largest output, or None for updates alone
    """

    backend: str
    best: float
    median: float
    calls: int
    compiled: float
    error: float | None


@dataclass(frozen=True)
class Bench:
    """All contestants, the first one being what the others are compared with."""

    contestants: tuple[Contestant, ...]

    def to_json(self) -> dict[str, Any]:
        return {"contestants": [vars(c) for c in self.contestants]}

    def table(self) -> list[tuple[str, ...]]:
        """Backend, best and median in microseconds, how many times slower than the first, compilation, error."""
        first = self.contestants[0].best
        return [
            (c.backend, f"{1e6 * c.best:.1f}", f"{1e6 * c.median:.1f}", f"{c.best / first:.2f}", f"{1e3 * c.compiled:.0f}",
             "-" if c.error is None else f"{c.error:.1e}")
            for c in self.contestants
        ]  # fmt: skip


def bench(
    program: Program, inputs: Sequence[Array], backends: Sequence[str], seconds: float = 2.0, threads: int = 1
) -> Bench:
    """Time a program's call.

    Args:
        backends: in the order of the rows
        seconds:  for each backend
        threads:  of those backends that take a number

    Raises:
        NervureError: a backend cannot run the program
    """
    executables: list[Executable] = []
    compiled: list[float] = []
    for name in backends:
        start = time.perf_counter()
        options: dict[str, Any] = {"threads": threads} if name in THREADED else {}
        executables.append(compile_(program, backend=name, **options))
        compiled.append(time.perf_counter() - start)
    wanted = [] if program.main.updates else _results(compile_(program, backend="reference"), inputs)
    errors = [_error(_results(e, inputs), wanted) if wanted else None for e in executables]
    times: list[list[float]] = [[] for _ in executables]
    end = time.perf_counter() + seconds * len(executables)
    while time.perf_counter() < end or not all(times):
        for executable, own in zip(executables, times, strict=True):
            stop = time.perf_counter() + SLICE
            while not own or time.perf_counter() < stop:
                start = time.perf_counter()
                executable(*inputs)
                own.append(time.perf_counter() - start)
    rows = zip(backends, times, compiled, errors, strict=True)
    return Bench(tuple(Contestant(n, min(t), float(np.median(t)), len(t), c, e) for n, t, c, e in rows))


def _results(executable: Executable, inputs: Sequence[Array]) -> list[Array]:
    found: Any = executable(*inputs)
    return (
        list(cast(tuple[Array, ...], found)) if isinstance(found, tuple) else [] if found is None else [found]
    )


def _error(found: Sequence[Array], wanted: Sequence[Array]) -> float:
    errors = [0.0]
    for a, b in zip(found, wanted, strict=True):
        if b.size:
            scale = float(np.abs(b.astype(np.float64)).max()) or 1.0
            errors.append(float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) / scale)
    return max(errors)
