"""Where the time of a compiled program goes: a row for each kernel that runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.llvm.executable import LLVMExecutable
from ..backends.llvm.kernel_cost import kernel_bytes, kernel_flops
from ..backends.llvm.program import Launch, Step, content, kernel_names, kernels_of
from ..compiling import compile as compile_
from ..ir.errors import InputError
from ..ir.types import Array
from ..runtime.executable import Executable

__all__ = ["Profile", "Row", "profile"]


@dataclass(frozen=True)
class Row:
    """One step of a run.

    Args:
        kernel:  the name of its function
        seconds: the median over the runs
        flops:   operations on floats
        bytes:   of the buffers that it touches, each once
        share:   of the roofline: the time that peak and bandwidth allow, over the time it took
        lines:   the user's lines that it computes
    """

    kernel: str
    seconds: float
    flops: int
    bytes: int
    share: float
    lines: str


@dataclass(frozen=True)
class Profile:
    """The rows in order, and the machine that they are measured against.

    Args:
        rows:      one a step
        seconds:   of a whole run, untraced, the median
        peak:      operations a second of a product of 384 x 384 matrices on this machine, in the same process
        bandwidth: bytes a second of a copy of 4 MB
        runs:      how many were measured
    """

    rows: tuple[Row, ...]
    seconds: float
    peak: float
    bandwidth: float
    runs: int

    def to_json(self) -> dict[str, Any]:
        return {**{k: v for k, v in vars(self).items() if k != "rows"}, "rows": [vars(r) for r in self.rows]}

    def table(self) -> list[tuple[str, ...]]:
        """Kernel, microseconds, share of the whole, GFLOP/s, GB/s, share of the roofline, lines."""
        total = sum(r.seconds for r in self.rows) or 1.0
        return [
            (r.kernel, f"{1e6 * r.seconds:.1f}", f"{100 * r.seconds / total:.1f} %", f"{1e-9 * r.flops / r.seconds:.1f}",
             f"{1e-9 * r.bytes / r.seconds:.1f}", f"{100 * r.share:.0f} %", r.lines)
            for r in self.rows
        ]  # fmt: skip


def profile(executable: Executable, inputs: Sequence[Array], runs: int = 200, limit: float = 5.0) -> Profile:
    """Time every kernel.

    Args:
        runs:  at most so many
        limit: seconds after which no other run begins

    Raises:
        InputError: the backend has no kernels to time, or the inputs do not fit
    """
    if not isinstance(executable, LLVMExecutable):
        raise InputError(f"backend {executable.backend} has no kernels to time", hint="choose --backend llvm")
    arrays = executable.signature.check(inputs)
    env = executable.signature.bind([a.shape for a in arrays])
    steps = executable.assembled.program.run
    times: list[list[float]] = []
    whole: list[float] = []
    end = time.perf_counter() + limit
    executable(*arrays)
    while len(whole) < runs and (not whole or time.perf_counter() < end):
        start = time.perf_counter()
        executable(*arrays)
        whole.append(time.perf_counter() - start)
        times.append(executable.timed(arrays, env))
    peak, bandwidth = machine()
    names = kernel_names(executable.assembled.program)
    medians = np.median(np.asarray(times), axis=0)
    rows = [
        _row(s, max(float(t), 1e-9), env, names, peak, bandwidth) for s, t in zip(steps, medians, strict=True)
    ]
    return Profile(tuple(rows), float(np.median(whole)), peak, bandwidth, len(whole))


def _row(step: Step, seconds: float, env: dict[str, int], names: Any, peak: float, bandwidth: float) -> Row:
    sizes = dict(env)
    if isinstance(step, Launch):
        sizes |= {name: env.get(str(dim), 1) for name, dim in step.symbols.items() if name not in env}
    kernels = list(kernels_of([step]))
    flops = sum(kernel_flops(k, sizes) for k in kernels)
    moved = sum(kernel_bytes(k, sizes) for k in kernels)
    least = max(flops / peak, moved / bandwidth)
    name = names[content(kernels[0])][0] if kernels else type(step).__name__.lower()
    lines = ", ".join(dict.fromkeys(k.origin for k in kernels if k.origin))
    return Row(name, seconds, flops, moved, min(1.0, least / seconds), lines)


def machine() -> tuple[float, float]:
    """Operations and bytes a second, as generated code and a copy reach them here and now."""

    def product(a: Any, b: Any) -> Any:
        return a @ b

    side = 384
    run = compile_(product, f"f32[{side},{side}]", f"f32[{side},{side}]")
    a = np.ones((side, side), np.float32)
    source, target = np.ones(1 << 20, np.float32), np.empty(1 << 20, np.float32)
    fast = min(_seconds(lambda: run(a, a)) for _ in range(20))
    copied = min(_seconds(lambda: np.copyto(target, source)) for _ in range(20))
    return 2 * side**3 / fast, 2 * source.nbytes / copied


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
