"""Runs a row: every contestant in its own process, taking turns in short slices, with a look at the machine in each round."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from statistics import median
from typing import Any

from .machine import Meter
from .turns import Turns
from .workloads import Case

__all__ = ["Answer", "Round", "rest", "run"]

CACHED = ("nervure",)
"""Contestants with a cache of their own: built cold, and then from the cache."""
BUILDS = 3
"""Builds of each kind, of which the least time counts: what others do to the machine only ever adds. Peers on several threads are
built once, as their number changes little about it."""
PATIENCE = 6.0
"""Seconds after which a contestant is built no further time."""
BUILD_LIMIT = 400.0
LANES = 2
"""Peers built at a time, each on as many cores as it is timed on: more would share caches and memory too much."""
SLICE_LIMIT = 60.0
REST_LIMIT = 0.3
"""Seconds after which the next slice begins although a thread of another contestant still runs."""
LOADED = 0.9
"""A round counts as loaded when the peak loop reaches less than that of its best."""


@dataclass
class Answer:
    """What is known of one contestant in one row.

    Args:
        peer:        its name
        absent:      why it did not run, or ""
        compile_cpu: CPU seconds of building and the first call, libraries imported
        cached_cpu:  the same from the contestant's cache, or None
        memory:      the most bytes that the process held
        error:       against float64
        best:        seconds of the best call
        median:      of the medians of unloaded rounds
        calls:       how many were timed
    """

    peer: str
    absent: str = ""
    compile_cpu: float = 0.0
    cached_cpu: float | None = None
    memory: int = 0
    error: float = 0.0
    best: float = float("inf")
    median: float = float("inf")
    calls: int = 0


@dataclass
class Round:
    """A row at one number of threads.

    Args:
        row:     its name
        threads: how many
        answers: by contestant
        peaks:   what the peak loop reached in each round on each of so many cores at once, operations a second
        alone:   what it reached on one
    """

    row: str
    threads: int
    answers: dict[str, Answer] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    alone: float = 0.0

    @property
    def clean(self) -> list[bool]:
        """Which rounds had the machine to themselves."""
        best = max([self.alone, *self.peaks])
        return [peak >= LOADED * best for peak in self.peaks]

    @property
    def loaded(self) -> bool:
        """Whether another process took so much of the machine that the row should be run again."""
        return sum(self.clean) * 2 < len(self.peaks)


class Process:
    """A contestant's process and the two pipes to it."""

    def __init__(self, peer: str, case: Case, threads: int, lane: int, log: Any, cache: str) -> None:
        ours, theirs = os.pipe(), os.pipe()
        environment = {**os.environ, **settings(threads), "NERVURE_CACHE": cache}
        command = [sys.executable, "-m", "benchmarks.contestant", peer, case.workload.name, str(case.folder),
                   str(threads), str(lane), str(theirs[0]), str(ours[1])]  # fmt: skip
        self.peer = peer
        self.process = subprocess.Popen(
            command, pass_fds=(theirs[0], ours[1]), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            cwd=Path(__file__).resolve().parents[1],
        )  # fmt: skip
        os.close(theirs[0])
        os.close(ours[1])
        self.told = os.fdopen(theirs[1], "w")
        self.heard = os.fdopen(ours[0], "rb", buffering=0)
        self._rest = b""

    def answer(self, limit: float) -> dict[str, Any]:
        """Its next line; what became of it where there is none."""
        end = time.monotonic() + limit
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.heard], [], [], max(0.0, end - time.monotonic()))
            chunk = self.heard.read(1 << 16) if ready else b""
            if not chunk:
                code = None if not ready else self.process.wait(10)
                self.close()
                return {
                    "absent": f"no answer in {limit:.0f} s"
                    if code is None
                    else f"the process ended with {code}"
                }
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def slice(self, seconds: float) -> dict[str, Any]:
        """Run for so long, alone."""
        try:
            print(json.dumps({"slice": seconds}), file=self.told, flush=True)
        except BrokenPipeError:
            return {"absent": "the process ended"}
        return self.answer(SLICE_LIMIT)

    def close(self) -> None:
        for stream in (self.told, self.heard):
            try:
                stream.close()
            except BrokenPipeError:
                continue
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def settings(threads: int) -> dict[str, str]:
    """Environment variables that hold libraries to a number of threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    eigen = "--xla_cpu_multi_thread_eigen=" + ("false" if threads == 1 else "true")
    return {**{name: str(threads) for name in names}, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": eigen}


def build(
    peers: Sequence[str], case: Case, log: Any, found: Round, caches: Path, cold: bool
) -> list[Process]:
    """The processes of those that can run the row. Those of `CACHED` are built alone, the others side by side as far as there
    are cores of their own."""
    lanes: Queue[int] = Queue()
    for lane in range(min(LANES, len(os.sched_getaffinity(0)) // found.threads)):
        lanes.put(lane)
    found.answers.update({peer: Answer(peer) for peer in peers})

    def one(peer: str) -> Process | None:
        lane = lanes.get()
        try:
            return built(found.answers[peer], case, found.threads, lane, log, caches, cold)
        finally:
            lanes.put(lane)

    ready = {peer: one(peer) for peer in peers if peer in CACHED}
    with ThreadPoolExecutor(lanes.qsize()) as pool:
        others = [
            peer for peer in reversed(peers) if peer not in CACHED
        ]  # the slow ones come last in the report
        ready.update(zip(others, pool.map(one, others), strict=True))
    return [process for peer in peers if (process := ready[peer])]


def built(
    answer: Answer, case: Case, threads: int, lane: int, log: Any, caches: Path, cold: bool
) -> Process | None:
    """A contestant's process, ready to run: the last one of several builds; none where it cannot run the row."""
    peer = answer.peer
    name = f"{case.workload.name}-{peer}-{threads}"
    # a folder that builds have in common is a cache from the second build on
    again = cold and (peer in CACHED or threads == 1)
    folders = [f"{name}-{n}" for n in range(BUILDS if again else 1)]
    folders += folders[-1:] * (BUILDS if cold and peer in CACHED else 0)
    least: dict[str, float] = {}
    used: set[str] = set()
    began = time.perf_counter()
    while True:
        folder = folders.pop(0)
        process = Process(peer, case, threads, lane, log, str(caches / folder))
        line = process.answer(BUILD_LIMIT)
        if "absent" in line:
            answer.absent = line["absent"]
            process.close()
            return None
        kind = "cached" if folder in used else "cold"
        used.add(folder)
        least[kind] = min(least.get(kind, float("inf")), line["compile_cpu"])
        answer.compile_cpu, answer.cached_cpu = least["cold"], least.get("cached")
        answer.memory, answer.error = line["memory"], line["error"]
        impatient = peer not in CACHED and time.perf_counter() - began > PATIENCE
        if not folders or impatient:
            return process
        process.close()


def run(
    peers: Sequence[str],
    cases: Sequence[tuple[Case, int]],
    seconds: float,
    meter: Meter,
    log: Any = subprocess.DEVNULL,
    cold: bool = True,
    turns: Turns = Turns(),
) -> list[Round]:
    """Time rows: the contestants of all of them are built, and then timed row by row.

    Args:
        cases:   rows with their numbers of threads
        seconds: for each contestant, without its build
        cold:    whether all are built several times, and those with a cache from it too
        turns:   what to wait for
    """
    rounds = [Round(case.workload.name, threads) for case, threads in cases]
    ready: list[list[Process]] = []
    with tempfile.TemporaryDirectory(prefix="nervure-bench-") as caches:
        try:
            with turns.building():
                for (case, _), found in zip(cases, rounds, strict=True):
                    ready.append(build(peers, case, log, found, Path(caches), cold))
            with turns.timing():
                for processes, found in zip(ready, rounds, strict=True):
                    take_turns(processes, found, seconds, meter)
        finally:
            for process in (p for processes in ready for p in processes):
                process.close()
    return rounds


def awake(pid: int) -> bool:
    """Whether a thread of the process runs, or would if there were a processor."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread has just ended
            if stat.read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def rest(pids: Sequence[int]) -> None:
    """Wait until the processes sleep: many keep threads spinning for a while after their work."""
    end = time.monotonic() + REST_LIMIT
    asleep = 0
    while asleep < 2 and time.monotonic() < end:
        time.sleep(0.002)
        asleep = 0 if any(awake(pid) for pid in pids) else asleep + 1


def take_turns(ready: list[Process], found: Round, seconds: float, meter: Meter) -> None:
    """Slices round by round, each when all others are at rest."""
    medians: dict[str, list[tuple[int, float]]] = {}
    spent: dict[str, float] = {p.peer: 0.0 for p in ready}
    piece = max(0.01, min(0.05, seconds / 10))
    while ready and (min(spent[p.peer] for p in ready) < seconds or len(found.peaks) < 5):
        rest([p.process.pid for p in ready])
        alone = meter.peak()
        found.alone = max(found.alone, alone)
        found.peaks.append(meter.peak_together(found.threads) if found.threads > 1 else alone)
        for process in list(ready):
            answer = found.answers[process.peer]
            if spent[process.peer] > 4 * seconds and len(found.peaks) > 3:
                continue
            rest([p.process.pid for p in ready])
            start = time.perf_counter()
            line = process.slice(piece)
            spent[process.peer] += time.perf_counter() - start
            if "absent" in line:
                answer.absent = line["absent"]
                ready.remove(process)
                process.close()
                continue
            answer.best = min(answer.best, line["best"])
            answer.calls += line["count"]
            answer.memory = max(answer.memory, line["memory"])
            medians.setdefault(process.peer, []).append((len(found.peaks) - 1, line["median"]))
    clean = found.clean
    for peer, rows in medians.items():
        found.answers[peer].median = median([m for k, m in rows if clean[k]] or [m for _, m in rows])
