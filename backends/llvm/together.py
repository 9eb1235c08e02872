"""Loops whose steps threads share: which, and which kernels of a step are cut into shares.

A loop over time is many short kernels, each of which reads what the one before wrote. Sharing out each kernel by itself costs
as much as it brings; so all threads enter such a loop once, run its control flow side by side, and meet after each kernel
(emit_together.py). A kernel that is one nest of parallel loops is cut into a fixed share for each thread, which therefore
keeps its columns of the weights in its own cache; any other is done by one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...ir.dims import Dim, substitute
from .grain import kernel_cost, program_cost
from .kernel_ir import Contract, For, Kernel, Let
from .pool_text import pool_text
from .program import Branch, Copy, Launch, Loop, Step, While
from .target import Target

__all__ = ["loops_together"]

MEETING = 250_000
"""Picoseconds that two threads wait for each other where they are equally quick; measured 150 to 300 ns between two cores."""
LEAST = 300_000
"""Of a kernel, to be cut in two."""
PART = 8
"""A loop is shared where two threads save more than one part in so many of a step."""


def loops_together(steps: Sequence[Step], target: Target) -> tuple[Step, ...]:
    """The steps with those loops marked that are worth entering together, outermost ones; their kernels with shares."""
    return tuple(_marked(s, target) for s in steps) if pool_text(target) else tuple(steps)


def _marked(s: Step, target: Target) -> Step:
    match s:
        case Loop():
            at = {s.symbol.name: s.extent}
            body = tuple(_shared(inner, target) for inner in s.body)
            gain = substitute(_gain(body, target), at) - substitute(program_cost(body, target), at) // PART
            if isinstance(gain, int) and gain <= 0:
                return replace(s, body=loops_together(s.body, target))
            return replace(s, body=body, gain=gain)
        case While():
            return replace(s, body=loops_together(s.body, target))
        case Branch():
            then, otherwise = (loops_together(part, target) for part in (s.then, s.otherwise))
            return replace(s, then=then, otherwise=otherwise)
        case _:
            return s


def _shared(s: Step, target: Target) -> Step:
    """A step within such a loop."""
    match s:
        case Launch() if _one_nest(s.kernel):
            cost = kernel_cost(s.kernel, target)
            return s if isinstance(cost, int) and cost < LEAST else replace(s, shares=True)
        case Loop():
            return replace(s, body=tuple(_shared(inner, target) for inner in s.body))
        case _:
            return s


def _gain(steps: Sequence[Step], target: Target) -> Dim:
    """Picoseconds that a second thread saves: half of what is shared, less the meetings."""
    total: Dim = 0
    for s in steps:
        match s:
            case Launch(shares=True):
                half = substitute(kernel_cost(s.kernel, target), dict(s.symbols)) // 2
                total = total + half - MEETING
            case Loop():
                total = total + s.extent * substitute(_gain(s.body, target), {s.symbol.name: s.extent})
            case Launch() | Copy() | While() | Branch():
                total = total - MEETING
    return total


def _one_nest(kernel: Kernel) -> bool:
    """Whether all that a kernel does stands in one nest of parallel loops."""
    rest = [s for s in kernel.body if not isinstance(s, Let)]
    if len(rest) != 1:
        return False
    match rest[0]:
        case Contract(parallel=parallel):
            return parallel
        case For(kind=kind):
            return kind.startswith("parallel")
        case _:
            return False
