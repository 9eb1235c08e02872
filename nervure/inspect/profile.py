"""Where the time of a compiled program goes: a row for each kernel that runs, and a timeline of the quickest run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.llvm.executable import LLVMExecutable
from ..backends.llvm.stamps import Stamps
from ..compiling import compile as compile_
from ..ir.errors import InputError
from ..ir.types import Array
from ..runtime.executable import Executable
from .step_cost import StepCost, step_cost

__all__ = ["HEAD", "Profile", "Row", "profile"]

HEAD = ("kernel", "calls", "us", "share", "GFLOP/s", "GB/s", "roofline", "does", "saved", "lines")
"""The columns of a profile's table."""


@dataclass(frozen=True)
class Row:
    """A kernel of a run, or a loop of kernels.

    Args:
        kernel:  the name of its function
        calls:   how often it runs in one run
        seconds: of all calls, the median over the runs
        flops:   operations on floats
        bytes:   of the buffers that it touches, each once a call
        share:   of the roofline of one thread: the time that peak and bandwidth allow, over the time it took
        does:    the ops in it, fused where they are several
        saved:   bytes of the values between those ops, each written once and read once, which never reach memory
        lines:   the user's lines that it computes
    """

    kernel: str
    calls: int
    seconds: float
    flops: int
    bytes: int
    share: float
    does: str
    saved: int
    lines: str


@dataclass(frozen=True)
class Profile:
    """The rows in order of first run, and the machine that they are measured against.

    Args:
        rows:      one a kernel
        seconds:   of a whole call, the median
        overhead:  of taking the times, as a share of the run without: the quickest of both
        peak:      operations a second of a product of 384 x 384 matrices by one thread, in the same process
        bandwidth: bytes a second of a copy of 4 MB
        runs:      how many were measured
        timeline:  of the quickest run: kernel, what it does, when it began and ended, in seconds
    """

    rows: tuple[Row, ...]
    seconds: float
    overhead: float
    peak: float
    bandwidth: float
    runs: int
    timeline: tuple[tuple[str, str, float, float], ...]

    def to_json(self) -> dict[str, Any]:
        plain = {k: v for k, v in vars(self).items() if k not in ("rows", "timeline")}
        return {**plain, "rows": [vars(r) for r in self.rows]}

    def chrome_trace(self) -> dict[str, Any]:
        """The timeline as the trace event format, which chrome://tracing and Perfetto open; times in microseconds."""
        rows = {(r.kernel, r.does): r for r in self.rows}
        events: list[dict[str, Any]] = [
            {
                "name": does or kernel,
                "cat": "kernel",
                "ph": "X",
                "ts": 1e6 * begin,
                "dur": 1e6 * (end - begin),
                "pid": 1,
                "tid": 1,
                "args": {k: v for k, v in vars(rows[kernel, does]).items() if k != "seconds"},
            }
            for kernel, does, begin, end in self.timeline
        ]
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def table(self) -> list[tuple[str, ...]]:
        """A line a row, under `HEAD`; the share is of the sum of the rows."""
        total = sum(r.seconds for r in self.rows) or 1.0
        return [
            (r.kernel, str(r.calls), f"{1e6 * r.seconds:.1f}", f"{100 * r.seconds / total:.1f} %",
             f"{1e-9 * r.flops / r.seconds:.1f}", f"{1e-9 * r.bytes / r.seconds:.1f}", f"{100 * r.share:.0f} %",
             r.does, _size(r.saved), r.lines)
            for r in self.rows
        ]  # fmt: skip


def _size(count: int) -> str:
    """Bytes, for people."""
    for unit, size in (("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B" if count else "-"


def profile(executable: Executable, inputs: Sequence[Array], runs: int = 200, limit: float = 5.0) -> Profile:
    """Time every kernel. Runs with and without stamps take turns, so that what the stamps cost is known.

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
    stamps = Stamps(len(executable.assembled.program.run))
    times: list[Array] = []
    whole: list[float] = []
    plain: list[float] = []
    stamped: list[float] = []
    end = time.perf_counter() + limit
    executable(*arrays)
    while len(whole) < runs and (not whole or time.perf_counter() < end):
        whole.append(_seconds(lambda: executable(*arrays)))
        plain.append(_seconds(lambda: executable.stamped(arrays, env, 0)))
        stamped.append(_seconds(lambda: executable.stamped(arrays, env, stamps.hook)))
        times.append(stamps.times())
    peak, bandwidth = machine()
    taken = np.asarray(times)
    costs = step_cost(executable.assembled.program, env)
    medians = np.median(np.diff(taken, axis=1), axis=0)
    quickest = taken[int(np.argmin(taken[:, -1]))]
    timeline = tuple(
        (c.kernel, c.does, float(quickest[n]), float(quickest[n + 1])) for n, c in enumerate(costs)
    )
    rows = tuple(_rows(costs, medians, peak, bandwidth))
    overhead = max(0.0, min(stamped) / min(plain) - 1)
    return Profile(rows, float(np.median(whole)), overhead, peak, bandwidth, len(whole), timeline)


def _rows(costs: Sequence[StepCost], seconds: Array, peak: float, bandwidth: float) -> Iterable[Row]:
    """Steps that run the same kernel for the same lines are one row."""
    together: dict[tuple[str, str, str], list[int]] = {}
    for n, c in enumerate(costs):
        together.setdefault((c.kernel, c.does, c.lines), []).append(n)
    for (kernel, does, lines), steps in together.items():
        taken = max(float(sum(seconds[n] for n in steps)), 1e-9)
        flops, moved = sum(costs[n].flops for n in steps), sum(costs[n].bytes for n in steps)
        share = min(1.0, max(flops / peak, moved / bandwidth) / taken)
        calls, saved = sum(costs[n].calls for n in steps), sum(costs[n].saved for n in steps)
        yield Row(kernel, calls, taken, flops, moved, share, does, saved, lines)


def machine() -> tuple[float, float]:
    """Operations and bytes a second of one thread, as generated code and a copy reach them here and now."""

    def product(a: Any, b: Any) -> Any:
        return a @ b

    side = 384
    run = compile_(product, f"f32[{side},{side}]", f"f32[{side},{side}]", threads=1)
    a = np.ones((side, side), np.float32)
    source, target = np.ones(1 << 20, np.float32), np.empty(1 << 20, np.float32)
    fast = min(_seconds(lambda: run(a, a)) for _ in range(20))
    copied = min(_seconds(lambda: np.copyto(target, source)) for _ in range(20))
    return 2 * side**3 / fast, 2 * source.nbytes / copied


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
