"""`nervure tune`: measure the candidate schedules of every kernel of a program, and remember what is quickest.

All kernels take their n-th candidate in the n-th variant of the program, and the variants run in turns, so that a busy moment
strikes all of them. A candidate replaces the default where its shortest run is shorter by a margin. At the end the program with
all choices runs against the one with none, and where it is not quicker, nothing is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backends.base import find_backend
from ..backends.llvm.executable import LLVMExecutable
from ..backends.llvm.program import KernelProgram, kernel_names, kernels_of
from ..backends.llvm.stamps import Stamps
from ..backends.llvm.target import Target, host_target
from ..backends.llvm.tuning import candidates, digest, save_choices
from ..backends.signatures import ranges_of
from ..ir.errors import InputError
from ..ir.program import Program
from ..ir.types import Array
from ..passes.manager import run_pipeline
from ..runtime.cache import cache_folder

__all__ = ["HEAD", "Tuned", "TunedKernel", "tune"]

HEAD = ("kernel", "tried", "us", "tuned us", "schedule", "lines")
"""The columns of a tuning's table."""

MARGIN = 0.03
"""What a candidate has to gain over the default."""


@dataclass(frozen=True)
class TunedKernel:
    """What was found of a kernel.

    Args:
        kernel:   the name of its function
        tried:    the schedules that were measured, the default first
        seconds:  the shortest time of each, of all steps that run the kernel
        chosen:   one of them
        lines:    the user's lines
    """

    kernel: str
    tried: tuple[str, ...]
    seconds: tuple[float, ...]
    chosen: str
    lines: str

    @property
    def best(self) -> float:
        """Seconds of what was chosen."""
        return self.seconds[self.tried.index(self.chosen)]


@dataclass(frozen=True)
class Tuned:
    """What was found of a program.

    Args:
        kernels: those with something to choose
        before, after: seconds of a whole call, the shortest
        remembered: whether the record holds the choices
    """

    kernels: tuple[TunedKernel, ...]
    before: float
    after: float
    remembered: bool

    def table(self) -> list[tuple[str, ...]]:
        """A line a kernel, under `HEAD`."""
        return [
            (k.kernel, str(len(k.tried)), f"{1e6 * k.seconds[0]:.1f}", f"{1e6 * k.best:.1f}",
             k.chosen if k.chosen != k.tried[0] else "as it was", k.lines)
            for k in self.kernels
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "kernels": [vars(k) for k in self.kernels]}


@dataclass(frozen=True)
class _Variant:
    """The program with some schedules, and how long its steps took at best."""

    executable: LLVMExecutable
    best: Array


def tune(
    program: Program, inputs: Sequence[Any], *, level: int = 2, seconds: float = 10.0, remember: bool = True
) -> Tuned:
    """Measure, choose and remember schedules for this machine.

    Args:
        inputs:   of the size that counts
        level:    0 to 3
        seconds:  to measure for; every variant runs three times at least
        remember: whether the record in the cache gets the choices

    Raises:
        InputError: the inputs do not fit, or there is no cache to remember in
    """
    if remember and cache_folder() is None:
        raise InputError(
            "there is no cache to remember schedules in", hint="set NERVURE_CACHE, or measure only"
        )
    backend: Any = find_backend("llvm")
    ready = run_pipeline(program, backend.pipeline(level)).program
    target = replace(host_target(), winograd=True)
    plain = _variant(backend, ready, program, {})
    arrays = plain.executable.signature.check(inputs)
    env = plain.executable.signature.bind([a.shape for a in arrays])
    state = {name: entry.data.copy() for name, entry in ready.store.items() if entry.has_data}
    kernels = plain.executable.assembled.program
    tried = _tried(kernels, target)
    count = max((len(t) for t in tried.values()), default=1)
    variants = [plain, *(_variant(backend, ready, program, _nth(tried, n)) for n in range(1, count))]
    _measure(variants, arrays, env, seconds)
    steps = [{digest(k) for k in kernels_of((step,))} for step in kernels.run]
    names = {digest(k): (name, k.origin) for name, k in kernel_names(kernels).values()}
    chosen = {
        key: _choose(names[key], tried[key], [n for n, keys in enumerate(steps) if key in keys], variants)
        for key in tried
    }
    changed = {key: k.chosen for key, k in chosen.items() if k.chosen != k.tried[0]}
    whole = [plain, _variant(backend, ready, program, changed)] if changed else [plain]
    times = _whole(whole, arrays, env, seconds / 4)
    for name, data in state.items():
        ready.store[name].assign(data)
    if changed and times[-1] >= times[0]:
        changed = {}
        chosen = {key: replace(k, chosen=k.tried[0]) for key, k in chosen.items()}
    remembered = remember and save_choices(target, {key: k.chosen for key, k in chosen.items()})
    return Tuned(tuple(chosen.values()), times[0], times[-1] if changed else times[0], remembered)


def _variant(backend: Any, ready: Program, traced: Program, choices: Mapping[str, str]) -> _Variant:
    executable = backend.compile(ready, schedules=choices)
    executable.signature = replace(executable.signature, ranges=ranges_of(traced.main))
    return _Variant(executable, np.full(len(executable.assembled.program.run), np.inf))


def _tried(program: KernelProgram, target: Target) -> dict[str, tuple[str, ...]]:
    """The candidates of each kernel of the run, by digest."""
    found: dict[str, tuple[str, ...]] = {}
    for kernel in kernels_of(program.run):
        key = digest(kernel)
        if key not in found:
            found[key] = tuple(map(str, candidates(kernel, target)))
    return {key: schedules for key, schedules in found.items() if len(schedules) > 1}


def _nth(tried: Mapping[str, tuple[str, ...]], n: int) -> dict[str, str]:
    return {key: schedules[n] for key, schedules in tried.items() if n < len(schedules)}


def _measure(
    variants: Sequence[_Variant], arrays: Sequence[Array], env: dict[str, int], seconds: float
) -> None:
    """Run the variants in turns; the shortest time of each of their steps."""
    stamps = Stamps(len(variants[0].best))
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 4 or time.perf_counter() < end:
        for v in variants:
            v.executable.stamped(arrays, env, stamps.hook)
            if rounds:  # the first run warms caches and packs weights
                np.minimum(v.best, np.diff(stamps.times()), out=v.best)
        rounds += 1


def _choose(
    named: tuple[str, str], tried: tuple[str, ...], steps: Sequence[int], variants: Sequence[_Variant]
) -> TunedKernel:
    """The quickest schedule of a kernel, over all steps that run it."""
    seconds = tuple(float(sum(v.best[n] for n in steps)) for v in variants[: len(tried)])
    best = int(np.argmin(seconds))
    chosen = tried[best] if seconds[best] < (1 - MARGIN) * seconds[0] else tried[0]
    return TunedKernel(named[0], tried, seconds, chosen, named[1])


def _whole(
    variants: Sequence[_Variant], arrays: Sequence[Array], env: dict[str, int], seconds: float
) -> list[float]:
    """The shortest whole call of each, in turns."""
    best = [float("inf")] * len(variants)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 4 or time.perf_counter() < end:
        for n, v in enumerate(variants):
            start = time.perf_counter()
            v.executable.stamped(arrays, env, 0)
            if rounds:
                best[n] = min(best[n], time.perf_counter() - start)
        rounds += 1
    return best
