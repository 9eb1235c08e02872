"""The process of one contestant: builds, checks its output, and runs in slices when told to.

    python -m benchmarks.contestant PEER ROW FOLDER THREADS LANE READ WRITE

Builds on THREADS cores, the last ones for LANE 0, those before for LANE 1 and so on, and runs on the last ones.
Speaks JSON lines over two pipes, whose descriptors are READ and WRITE: first a line about the build, then for each
``{"slice": seconds}`` one with the times. Whatever a library prints goes elsewhere.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from .contest import Absent, Built
from .workloads import STEPS, Case, Workload, workload_named

BATCH = 5e-5
"""Seconds that calls are timed together for at least, so that the clock costs nothing."""


def memory() -> int:
    """The most bytes that this process held, by Linux's account; getrusage's would include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def largest(x: Any) -> float:
    return float(np.abs(x).max())


def norm(x: Any) -> float:
    return float(np.linalg.norm(x))


def errors(case: Case, built: Built, first: Any) -> float:
    """The largest difference from the truth over the truth's largest value; in training of the losses, and of each weight's
    move by the Euclidean norm: where two candidates of a pool are equal but for rounding, single elements of a gradient
    change by much.
    """
    truth = load_file(case.truth)
    slack: dict[str, Any] = {}
    if built.state is None:
        found = {"y": built.result(first)}
    else:
        losses = [built.result(first), *(built.result(built.call()) for _ in range(STEPS - 1))]
        state = built.state()
        changes = {name: state[name].astype(np.float64) - w for name, w in case.weights.items()}
        found = {"losses": np.array(losses, np.float64), **changes}
        # a weight is rounded at each step, which says nothing about the gradient
        slack = {name: STEPS * np.spacing(np.abs(w)).astype(np.float64) for name, w in state.items()}
    worst = 0.0
    for name, wanted in truth.items():
        got = np.asarray(found[name], np.float64)
        if got.shape != wanted.shape:
            raise Absent(f"{name} has shape {list(got.shape)}, expected {list(wanted.shape)}")
        apart = np.maximum(np.abs(got - wanted) - slack.get(name, 0.0), 0.0)
        size = norm if name in slack else largest
        difference = size(apart) / (size(wanted) or 1.0)
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def batch_of(call: Callable[[], Any]) -> int:
    """How many calls are timed together."""
    count = 1
    while True:
        start = perf_counter()
        for _ in repeat(None, count):
            call()
        if perf_counter() - start >= BATCH or count >= 1 << 16:
            return count
        count *= 2


def timed(call: Callable[[], Any], batch: int, seconds: float) -> list[float]:
    """Seconds of a call, of batches that fill the slice."""
    times: list[float] = []
    end = perf_counter() + seconds
    while True:
        start = perf_counter()
        for _ in repeat(None, batch):
            call()
        stop = perf_counter()
        times.append((stop - start) / batch)
        if stop >= end:
            return times


def start(peer: str, workload: Workload, folder: Path, threads: int) -> tuple[dict[str, Any], Built | None]:
    """The first line, and what to run; or why there is nothing."""
    try:
        module = importlib.import_module(f".peers.{peer.replace('-', '_')}_peer", __package__)
    except ImportError as error:
        return {"absent": f"not installed: {error}"}, None
    case = Case.open(workload, folder)
    imported = memory()
    try:
        cpu = process_time()
        built = module.build(case, threads)
        first = built.call()
        line: dict[str, Any] = {
            "compile_cpu": process_time() - cpu + built.converted,
            "memory": memory(),
            "memory_imported": imported,
        }
        line["error"] = errors(case, built, first)
    except Absent as reason:
        return {"absent": str(reason)}, None
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {error}".splitlines()[0][:300]}, None
    line["batch"] = batch_of(built.call)
    return line, built


def pin(cores: Sequence[int]) -> None:
    """Hold every thread of this process to these cores."""
    for task in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # the thread has just ended
            os.sched_setaffinity(int(task), cores)


def main() -> None:
    peer, row, folder, threads, lane, read, write = sys.argv[1:]
    cores, end = sorted(os.sched_getaffinity(0)), -int(threads) * int(lane)
    pin(cores[end - int(threads) : end or None])
    with os.fdopen(int(read)) as told, os.fdopen(int(write), "w") as say:
        line, built = start(peer, workload_named(row), Path(folder), int(threads))
        print(json.dumps(line), file=say, flush=True)
        if built is None:
            return
        if int(lane):  # where it is 0, a library may have given each thread a core of its own
            pin(cores[-int(threads) :])
        gc.collect()
        gc.disable()
        for order in told:
            times = timed(built.call, line["batch"], json.loads(order)["slice"])
            answer = {"best": min(times), "median": median(times), "count": len(times), "memory": memory()}
            print(json.dumps(answer), file=say, flush=True)


if __name__ == "__main__":
    main()
