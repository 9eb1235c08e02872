"""What nervure claims about LeNet, measured: python benchmarks/lenet.py [--only NAME]

Each figure is the best of several runs, contestants interleaved. Needs torch for the comparison of training steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import numpy as np
from digits import LeNet

import nervure as nv
from nervure import nn, optim

SPEC = "f32[B,1,28,28]"
LOAD = """
import sys, numpy as np, nervure as nv
run = nv.compile(nv.load(sys.argv[1]))
run(np.zeros((1, 1, 28, 28), np.float32))
"""


def best(action: Callable[[], Any], runs: int) -> float:
    """The shortest time of an action, in seconds."""
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def tracing() -> str:
    model = LeNet()
    return f"tracing LeNet: {1e3 * best(lambda: nv.trace(model, SPEC), 20):.2f} ms (aim: under 50)"


def compiling() -> str:
    """CPU seconds, with the imports done before."""
    model = LeNet()
    nv.compile(model, SPEC, cache=False)

    def cpu(runs: int) -> float:
        times: list[float] = []
        for _ in range(runs):
            start = time.process_time()
            nv.compile(model, SPEC)(np.zeros((1, 1, 28, 28), np.float32))
            times.append(time.process_time() - start)
        return min(times)

    cold: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NERVURE_CACHE"] = folder
            cold.append(cpu(1))
            warm = cpu(5)
    return f"LeNet compiled cold: {min(cold):.3f} s (aim: under 1), from the cache: {1e3 * warm:.1f} ms (aim: under 50)"


def process() -> str:
    """Import, load, compile from the cache and one run, as a whole process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lenet.nv"
        nv.save(nv.trace(LeNet(), SPEC), path)
        environment = {**os.environ, "NERVURE_CACHE": str(Path(folder) / "cache")}
        command = [sys.executable, "-c", LOAD, str(path)]
        subprocess.run(command, env=environment, check=True)
        seconds = best(lambda: subprocess.run(command, env=environment, check=True), 10)
    return f"import + load + run from the cache: {seconds:.3f} s (aim: under 0.6)"


def training() -> str:
    """A training step at batch 64 against PyTorch eager, one thread each."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 28, 28)).astype(np.float32)
    y = rng.integers(0, 10, 64)
    step = nv.compile(
        nv.training_step(LeNet(), nn.cross_entropy, optim.SGD(lr=0.01, momentum=0.9), SPEC, "i64[B]")
    )
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 16, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(400, 120), torch.nn.ReLU(), torch.nn.Linear(120, 84), torch.nn.ReLU(), torch.nn.Linear(84, 10),
    )  # fmt: skip
    descent = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def theirs() -> None:
        descent.zero_grad()
        F.cross_entropy(net(tx), ty).backward()
        descent.step()

    mine, other = [float("inf")], [float("inf")]
    for _ in range(10):
        mine.append(best(lambda: step(x, y), 10))
        other.append(best(theirs, 10))
    ours, torchs = min(mine), min(other)
    return (
        f"LeNet training step, batch 64: {1e3 * ours:.2f} ms, PyTorch eager {1e3 * torchs:.2f} ms,"
        f" ratio {ours / torchs:.2f} (aim: at most 1.5)"
    )


def memory() -> str:
    """How much the process grows while LeNet is traced, compiled and trained, its data being loaded."""
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).resolve().parent)]!r}
from lenet import growth
print(growth())
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return f"growth of memory while training LeNet: {float(found):.0f} MB (aim: under 150)"


def growth() -> float:
    """Megabytes of peak memory above what stood after the data were made."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4000, 1, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, 4000)
    before = held("VmRSS")
    step = nv.compile(
        nv.training_step(LeNet(), nn.cross_entropy, optim.SGD(lr=0.01, momentum=0.9), SPEC, "i64[B]"),
        cache=False,
    )
    for k in range(0, 4000, 50):
        step(images[k : k + 50], labels[k : k + 50])
    return held("VmHWM") - before


def held(field: str) -> float:
    """Megabytes of memory by a field of Linux's /proc/self/status; getrusage's peak would include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


MEASURES = {
    "tracing": tracing,
    "compiling": compiling,
    "process": process,
    "training": training,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(MEASURES))
    options = parser.parse_args()
    for name, measure in MEASURES.items():
        if options.only in (None, name):
            print(measure(), flush=True)


if __name__ == "__main__":
    main()
