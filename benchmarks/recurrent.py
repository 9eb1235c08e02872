"""How near the recurrent product at batch 1 comes to the second cache: python -m benchmarks.recurrent [--seconds S]

A step of one sequence reads every recurrent weight once. The loop over time is timed whole, gates included, on one thread,
and set against the bandwidth that a plain reading loop finds in the same run: of half the second cache, and of
as many bytes as the weights have, in one direction and to and fro. The loops take turns; the best of each counts.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import Executable
from nervure.backends.llvm.program import Loop
from nervure.backends.llvm.stamps import Stamps

from .machine import Meter

STEPS, INPUT, HIDDEN = 64, 64, 256
BLOCK = 32 << 10
"""Bytes that the plain loop reads forward, whichever way it goes."""
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Timed:
    """One layer's loop, the number of bytes of recurrent weights that it reads, and its best time."""

    def __init__(self, kind: str) -> None:
        layer = LAYERS[kind](INPUT, HIDDEN)
        run = nv.compile(layer, f"f32[{STEPS},1,{INPUT}]", threads=1, cache=False)
        assert isinstance(run, Executable)
        self.kind, self.run = kind, run
        self.size = layer.weight_hh_l0.data.nbytes
        x = np.random.default_rng(0).standard_normal((STEPS, 1, INPUT)).astype(np.float32)
        self.arrays = run.signature.check([x])
        self.dims = run.signature.bind([x.shape])
        steps = run.assembled.program.run
        self.stamps = Stamps(len(steps))
        self.loops = [n for n, step in enumerate(steps) if isinstance(step, Loop)]
        self.best = float("inf")

    def turn(self) -> None:
        self.run.stamped(self.arrays, self.dims, self.stamps.hook)
        spent = np.diff(self.stamps.times())
        self.best = min(self.best, float(sum(spent[n] for n in self.loops)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds: float = parser.parse_args().seconds
    meter = Meter()
    cache = meter.machine().l2_bytes // 2
    layers = [Timed(kind) for kind in LAYERS]
    sizes = dict.fromkeys([cache, *(t.size for t in layers)])
    speed, turning = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0.0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for size in sizes:
            speed[size] = max(speed[size], meter.read(size, 0.01))
            turning[size] = max(turning[size], meter.read(size, 0.01, BLOCK))
        for layer in layers:
            for _ in range(20):
                layer.turn()
    print(f"the second cache is read at {speed[cache] / 1e9:.0f} GB/s")
    print("layer  weights    a step  weights read at  of the cache  as many bytes read at  to and fro")
    for t in layers:
        rate = t.size * STEPS / t.best
        print(
            f"{t.kind:5} {t.size >> 10:5} KiB {t.best / STEPS * 1e6:6.2f} us {rate / 1e9:11.0f} GB/s"
            f" {speed[cache] / rate:9.2f} x {speed[t.size] / 1e9:17.0f} GB/s {turning[t.size] / 1e9:6.0f} GB/s"
        )


if __name__ == "__main__":
    main()
