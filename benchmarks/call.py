"""What a warm call costs beside its arithmetic: `python benchmarks/call.py`.

Nanoseconds, best of rounds of 20,000 calls: the 784-to-10 perceptron and a program of almost no work, each called as it is, with
`out=`, as a raw call, and by way of ctypes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nervure as nv
from nervure import nn
from nervure.runtime import interpreter

CALLS = 20_000


def best(run: Callable[[], object], rounds: int) -> float:
    """Nanoseconds of a call."""
    found = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(CALLS):
            run()
        found = min(found, (time.perf_counter() - start) / CALLS)
    return found * 1e9


def row(run: Any, x: Any, rounds: int) -> dict[str, float]:
    """One program called in each way."""
    y = run(x)
    run(x)
    slow = type(run).__mro__[1].__call__ if interpreter.refusal() is None else type(run).__call__
    return {
        "call": best(lambda: run(x), rounds),
        "out=": best(lambda: run(x, out=y), rounds),
        "raw": best(run.raw(x, out=y), rounds),
        "ctypes": best(lambda: slow(run, x), max(1, rounds // 4)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    nv.seed(0)
    x = np.random.default_rng(0).standard_normal((1, 784)).astype("f4")
    programs = {
        "perceptron 784-10, f32[B,784]": (nv.compile(nn.Linear(784, 10), "f32[B,784]"), x),
        "perceptron 784-10, f32[1,784]": (nv.compile(nn.Linear(784, 10), "f32[1,784]"), x),
        "x + x, f32[B,4]": (nv.compile(lambda v: v + v, "f32[B,4]"), x[:, :4].copy()),
    }
    table = {name: row(run, given, chosen.rounds) for name, (run, given) in programs.items()}
    table["a function of nothing"] = {"call": best(lambda: None, chosen.rounds)}
    if chosen.json:
        print(json.dumps(table))
        return
    print(f"nanoseconds a call, Python {sys.version.split()[0]}, {interpreter.refusal() or 'trampoline'}")
    for name, times in table.items():
        print(f"{name:32}" + "".join(f"{way:>8} {ns:7.0f}" for way, ns in times.items()))


if __name__ == "__main__":
    main()
