"""Loops and branches: the kernels of a region once, inside a step that runs them as often as needed.

    scan    carries go to and fro between two slots: step t reads slot t mod 2 and writes the other, so that no kernel
            writes what another of the same step still reads; xs are read and ys written one slice a step, in place
    while   the next carries are computed beside the old ones and copied over them at the end of a turn
    if      both regions write the results' memory

What a region takes from outside is read where it lies, so that a weight is packed once, by `prepare`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim, Symbol, bounds, ceildiv, mod, symbol
from ....ir.graph import Graph, Node, Value
from ....ir.ops.control import Scan
from ....ir.ops.loops import While as WhileOp
from ....ir.types import bool_
from .lowering import VIEWS, Lowering, Tail
from .memory import Branch, Loop, Memory, Step, While
from .zigzag import zigzag

__all__ = ["if_", "scan", "while_"]

CACHE_LINE = 64


def scan(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """A loop over the steps."""
    op = node.op
    assert isinstance(op, Scan)
    (body,) = node.regions
    first, last = op.carries, op.carries + op.xs
    counter = Symbol(f"t.{lowering.number()}", 0, bounds(op.length)[1])
    step = symbol(counter.name, counter.lo, counter.hi)
    place = op.length - 1 - step if op.reverse else step
    slots = [_Slots(v) for v in node.operands[:first]]
    rows = [
        _slice(lowering.held(x), v, place)
        for x, v in zip(node.operands[first:last], body.inputs[first:last], strict=True)
    ]
    ys = [_slice(t.memory, v, place) for t, v in zip(tails[first:], body.outputs[first:], strict=True)]
    for slot, init in zip(slots, node.operands, strict=False):
        lowering.map_kernel(init, slot.at(0), source=init)
    given = [*(s.at(step) for s in slots), *rows, *node.operands[last:]]
    results = [*(s.at(step + 1) for s in slots), *ys]
    steps = zigzag(region(lowering, body, given, results), counter, lowering.target)
    lowering.steps.append(Loop(counter, op.length, steps))
    for tail, slot in zip(tails, slots, strict=False):
        tail.memory = slot.at(op.length)


def while_(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """A loop on memory: the carries' own, and beside it what a turn makes of them."""
    op = node.op
    assert isinstance(op, WhileOp)
    test, body = node.regions
    carries = [_scratch(t.value) for t in tails]
    after = [_scratch(t.value) for t in tails]
    cond = Memory("arena", bool_, 1)
    for memory, init in zip(carries, node.operands, strict=False):
        lowering.map_kernel(init, memory, source=init)
    given = [*carries, *node.operands[op.carries :]]
    before = region(lowering, test, given, [cond])
    turn = region(lowering, body, given, after)
    with lowering.inside() as copies:
        for tail, memory, new in zip(tails, carries, after, strict=True):
            value = Value(tail.value.type)
            lowering.memory[value] = new
            lowering.map_kernel(value, memory, source=value)
    again = region(lowering, test, given, [cond])
    lowering.steps += [*before, While(cond, (*turn, *copies, *again), op.max_trip)]
    for tail, memory in zip(tails, carries, strict=True):
        tail.memory = memory


def if_(lowering: Lowering, node: Node, tails: Sequence[Tail]) -> None:
    """One of two regions writes the results."""
    cond, *operands = node.operands
    held = lowering.held(cond)
    results = [t.memory for t in tails]
    then, otherwise = (region(lowering, r, operands, results, repeats=False) for r in node.regions)
    lowering.steps.append(Branch(held, then, otherwise))


def _scratch(value: Value) -> Memory:
    return Memory("arena", value.type.dtype, value.type.size)


def region(
    lowering: Lowering,
    body: Graph,
    given: Sequence[Value | Memory],
    results: Sequence[Memory],
    repeats: bool = True,
) -> tuple[Step, ...]:
    """The steps of a body.

    Args:
        given:   what each input is: a value from outside, or memory
        results: where each output goes
        repeats: whether it runs more than once
    """
    with lowering.inside(repeats) as steps:
        for inner, what in zip(body.inputs, given, strict=True):
            if isinstance(what, Memory):
                lowering.memory[inner] = what
            else:
                lowering.alias[inner] = what
        for value, memory in zip(body.outputs, results, strict=True):
            made = value.node is not None and value.node.op.mnemonic not in (*VIEWS, "constant")
            if made and lowering.wanted.setdefault(value, memory) is not memory:
                lowering.also.setdefault(value, []).append(memory)
        lowering.lower(body)
        for value, memory in zip(body.outputs, results, strict=True):
            if lowering.memory_of(value) is not memory and (value, memory) not in lowering.copied:
                lowering.map_kernel(value, memory, source=value)
    return tuple(steps)


class _Slots:
    """Two pieces of the arena that a carry goes to and fro between."""

    def __init__(self, value: Value) -> None:
        dtype, self.size = value.type.dtype, value.type.size
        line = CACHE_LINE // dtype.bytes
        self.pitch = ceildiv(self.size, line) * line
        self.both = Memory("arena", dtype, 2 * self.pitch)

    def at(self, step: Dim) -> Memory:
        return self.both.part(mod(step, 2) * self.pitch, self.size, self.pitch)


def _slice(memory: Memory, row: Value, place: Dim) -> Memory:
    size = row.type.size
    return memory.part(place * size, size, size)
