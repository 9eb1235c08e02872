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
from .program import Beside, Branch, Copy, Launch, Loop, Step, While, args_of
from .target import Target
from .walk import stored_buffers

__all__ = ["loops_together"]

MEETING = 250_000
"""Picoseconds that two threads wait for each other where they are equally quick; measured 150 to 300 ns between two cores."""
LEAST = 300_000
"""Of a kernel, to be cut in two."""
PART = 8
"""A loop is shared where two threads save more than one part in so many of a step."""


def loops_together(steps: Sequence[Step], target: Target) -> tuple[Step, ...]:
    """The steps with those loops marked that are worth entering together, outermost ones, their kernels with shares; short
    ones that do not wait for each other stand beside each other."""
    return tuple(_marked(s, target) for s in _paired(steps, target)) if pool_text(target) else tuple(steps)


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
            case Launch() | Copy() | While() | Branch() | Beside():
                total = total - MEETING
    return total


def _paired(steps: Sequence[Step], target: Target) -> list[Step]:
    """The steps with pairs of loops that may run beside each other, at the place of the first; what the second needs goes
    before both."""
    found = list(steps)
    short = [s for s in found if isinstance(s, Loop) and _short(s, target)]
    while len(short) > 1:
        one = short.pop(0)
        for other in short:
            n, m = sorted((found.index(one), found.index(other)))  # an earlier pair may have moved them
            first, second = found[n], found[m]
            moved, kept = _before(found[n + 1 : m], second)
            if one.extent == other.extent and not any(_conflict(first, s) for s in (*moved, second)):
                found[n : m + 1] = [*moved, Beside((first, second)), *kept]
                short.remove(other)
                break
    return found


def _before(steps: Sequence[Step], last: Step) -> tuple[list[Step], list[Step]]:
    """The steps that have to come before the last one, and the others, which may as well come behind it."""
    moved: list[Step] = []
    kept: list[Step] = []
    for s in reversed(steps):
        (moved if any(_conflict(s, other) for other in (*moved, last)) else kept).insert(0, s)
    return moved, kept


def _short(s: Loop, target: Target) -> bool:
    """Whether the meetings of threads that share a loop's steps would be more than a small part of them."""
    cost = substitute(program_cost(s.body, target), {s.symbol.name: s.extent})
    return isinstance(cost, int) and cost < MEETING * PART * len(s.body)


def _conflict(a: Step, b: Step) -> bool:
    """Whether one writes memory that the other touches."""
    (reads_a, writes_a), (reads_b, writes_b) = _touched(a), _touched(b)
    return not (writes_a.isdisjoint(reads_b | writes_b) and writes_b.isdisjoint(reads_a))


def _touched(step: Step) -> tuple[set[int], set[int]]:
    """The memories that a step reads, or may read, and those that it writes, by identity."""
    touched = {id(arg.memory) for arg in args_of(step)}
    written: set[int] = set()
    stack = [step]
    while stack:
        match s := stack.pop():
            case Launch():
                stored = stored_buffers(s.kernel.body)
                pairs = zip(s.kernel.buffers, s.args, strict=True)
                written |= {id(arg.memory) for buffer, arg in pairs if id(buffer) in stored}
            case Copy():
                written.add(id(s.target.memory))
            case Loop() | While() | Beside():
                stack += s.body
            case Branch():
                stack += (*s.then, *s.otherwise)
    return touched, written


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
