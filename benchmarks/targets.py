"""The register tiles of other targets on this machine: what share of its multiply-add peak each reaches.

python -m benchmarks.targets        # one thread; the peak loop of the same width runs before each measurement
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np

import nervure as nv
from nervure.backends.llvm.jit import load_object
from nervure.backends.llvm.objects import compile_object
from nervure.backends.llvm.schedule import choose_schedule
from nervure.backends.llvm.target import Target, host_target, make_target
from nervure.ir.types import f32

from .machine import ACCUMULATORS, best_seconds, peak_text

__all__ = ["share_of_peak"]

SHAPES = ((32, 512, 784), (256, 256, 256), (512, 512, 512), (1000, 1000, 1000), (1024, 1024, 1024))
"""Rows, depth, columns."""
ROUNDS, SECONDS = 12, 0.03
PEAK_ROUNDS = 20_000


def _peak(target: Target) -> Any:
    loaded = load_object(compile_object(peak_text(target.lanes(4)), target), ("peak",))
    function = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)(loaded.address("peak"))
    return lambda: (function(PEAK_ROUNDS), loaded)


def share_of_peak(target: Target, m: int, k: int, n: int) -> float:
    """The best of a few rounds of a product with a weight over the peak loop's best beside it."""
    peak = _peak(target)
    work = 2.0 * target.lanes(4) * ACCUMULATORS * PEAK_ROUNDS
    run = nv.compile(nv.nn.Linear(k, n, bias=False), f"f32[{m},{k}]", target=target, threads=1)
    x = np.random.default_rng(0).standard_normal((m, k)).astype(np.float32)
    out = np.empty((m, n), np.float32)
    best_peak = best = 0.0
    for _ in range(ROUNDS):
        best_peak = max(best_peak, work / best_seconds(peak, SECONDS / 4))
        best = max(best, 2.0 * m * k * n / best_seconds(lambda: run(x, out=out), SECONDS))
    return best / best_peak


def main() -> None:
    """Print a row a target and shape."""
    host = host_target()
    targets = {"host": host, "neon": replace(host, vector_bytes=16, registers=32)}
    if host.arch == "x86_64" and host.vector_bytes >= 32:
        targets["haswell"] = make_target("haswell")
    for name, target in targets.items():
        s = choose_schedule(target, f32, None, None, None, in_place=True)
        for shape in SHAPES:
            share = share_of_peak(target, *shape)
            sizes = "x".join(map(str, shape))
            print(f"{name:8} {s.rows}x{s.columns:<4} {sizes:16} {share:6.1%} of peak", flush=True)


if __name__ == "__main__":
    main()
