"""How near the recurrent product at batch 1 comes to the second cache: python -m benchmarks.recurrent [--seconds S]

A step of one sequence reads every recurrent weight once. The loop over time is timed on one thread, of the layer as it is, with
the inputs' part and the activations of its gates, and of its recurrent product alone, where the next state is the sum of the gates.
Both are set against the bandwidth that a plain reading loop finds in the same run: of half the second cache, and of
as many bytes as the weights have, in one direction and to and fro. The loops take turns; the best of each counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

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


class Product(nn.Module):
    """The recurrent product of a layer, [1, hidden] by its weights at each step, with nothing but the sum of its gates behind it."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight

    def __call__(self, x: Any) -> Any:
        def step(h: Any, _: Any) -> tuple[Any, None]:
            gates = h @ self.weight.T
            blocks = [gates[:, n : n + HIDDEN] for n in range(0, self.weight.shape[0], HIDDEN)]
            return sum(blocks[1:], blocks[0]), None

        return nv.scan(step, nn.cat([x[0]] * (HIDDEN // INPUT), 1), x)[0]


class Timed:
    """The loop over time of a model, the number of bytes of recurrent weights that it reads, and its best time."""

    def __init__(self, kind: str, model: nn.Module, size: int) -> None:
        run = nv.compile(model, f"f32[{STEPS},1,{INPUT}]", threads=1, cache=False)
        assert isinstance(run, Executable)
        self.kind, self.run, self.size = kind, run, size
        x = np.random.default_rng(0).standard_normal((STEPS, 1, INPUT)).astype(np.float32)
        self.arrays = run.signature.check([x])
        self.dims = run.signature.bind([x.shape])
        steps = run.assembled.program.run
        self.stamps = Stamps(len(steps))
        self.loops = [n for n, step in enumerate(steps) if isinstance(step, Loop)]
        self.best = float("inf")

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.best / STEPS

    @property
    def rate(self) -> float:
        """Bytes of weights a second."""
        return self.size / self.step

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
    layers: list[Timed] = []
    products: list[Timed] = []
    for kind, made in LAYERS.items():
        layer = made(INPUT, HIDDEN)
        weight = layer.weight_hh_l0
        layers.append(Timed(kind, layer, weight.data.nbytes))
        products.append(Timed(kind, Product(weight), weight.data.nbytes))
    sizes = dict.fromkeys([cache, *(t.size for t in layers)])
    speed, turning = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0.0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for size in sizes:
            speed[size] = max(speed[size], meter.read(size, 0.01))
            turning[size] = max(turning[size], meter.read(size, 0.01, BLOCK))
        for timed in (*layers, *products):
            for _ in range(20):
                timed.turn()
    print(f"the second cache is read at {speed[cache] / 1e9:.0f} GB/s")
    print(
        "layer  weights    a step  of the cache  product alone  of the cache  as many bytes read at  to and fro"
    )
    for t, p in zip(layers, products, strict=True):
        print(
            f"{t.kind:5} {t.size >> 10:5} KiB {t.step * 1e6:6.2f} us {speed[cache] / t.rate:11.2f} x"
            f" {p.step * 1e6:11.2f} us {speed[cache] / p.rate:11.2f} x"
            f" {speed[t.size] / 1e9:17.0f} GB/s {turning[t.size] / 1e9:6.0f} GB/s"
        )


if __name__ == "__main__":
    main()
