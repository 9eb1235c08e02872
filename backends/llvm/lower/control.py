"""Loops and branches: the kernels of a region once, inside a step that runs them as often as needed.

    scan    carries go to and fro between two slots: step t reads slot t mod 2 and writes the other, so that no kernel
            writes what another of the same step still reads; xs are read and ys written one slice a step, in place
    while   the next carries are computed beside the old ones and copied over them at the end of a turn
    if      both regions write the results' memory

What a region takes from outside is read where it lies, so that a weight is packed once, by `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ....ir.dims import Dim, Symbol, bounds, ceildiv, mod, symbol
from ....ir.graph import Graph, Node, Value
from ....ir.ops.control import Scan
from ....ir.ops.loops import While as WhileOp
from ....ir.types import bool_
from .beside import Columns, beside, redirected
from .lowering import VIEWS, Lowering, Tail
from .memory import Branch, Loop, Memory, Step, While
from .zigzag import zigzag

__all__ = ["by_size", "if_", "scan", "while_"]

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
    shared = beside(body, first, op.xs)
    slots = [_Slots(v) for v in node.operands[:first]]
    sides = {n: _Side(concat, column, body.inputs[n]) for n, (concat, column) in shared.items()}
    rows = [
        _slice(lowering.held(x), v, place)
        for x, v in zip(node.operands[first:last], body.inputs[first:last], strict=True)
    ]
    ys = [_slice(t.memory, v, place) for t, v in zip(tails[first:], body.outputs[first:], strict=True)]
    for n, (slot, init) in enumerate(zip(slots, node.operands, strict=False)):
        if n in sides:
            sides[n].at(0).copy(lowering, init)
        else:
            lowering.map_kernel(init, slot.at(0), source=init)
    given = [*(s.at(step) for s in slots), *rows, *node.operands[last:]]
    results = [*(s.at(step + 1) for s in slots), *ys]
    whole = {side.concat.results[0]: side.slots.at(step) for side in sides.values()}
    with lowering.inside(repeats=True) as put:
        for inner, row in zip(body.inputs[first:last], rows, strict=True):
            lowering.memory[inner] = row
        for side in sides.values():
            side.put_rows(lowering, step)
    steps = region(lowering, body, given, results, known=whole)
    for n, side in sides.items():
        steps = side.carried(lowering, steps, results[n], body.outputs[n], step + 1)
    steps = zigzag((*put, *steps), counter, lowering.target)
    lowering.steps.append(Loop(counter, op.length, steps))
    for n, (tail, slot) in enumerate(zip(tails, slots, strict=False)):
        tail.memory = slot.at(op.length)
        if n in sides and (lowering.uses.get(tail.value, 0) or tail.value in lowering.wanted):
            tail.memory = sides[n].at(op.length).copied(lowering)


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


def by_size(
    lowering: Lowering, positive: Dim, then: Callable[[], None], otherwise: Callable[[], None]
) -> None:
    """The steps of one of two ways to the same memory, chosen at each call: the first where the dim is positive."""
    with lowering.inside() as first:
        then()
    with lowering.inside() as second:
        otherwise()
    lowering.steps.append(Branch(positive, tuple(first), tuple(second)))


def _scratch(value: Value) -> Memory:
    return Memory("arena", value.type.dtype, value.type.size)


def region(
    lowering: Lowering,
    body: Graph,
    given: Sequence[Value | Memory],
    results: Sequence[Memory],
    repeats: bool = True,
    known: Mapping[Value, Memory] = MappingProxyType({}),
) -> tuple[Step, ...]:
    """The steps of a body.

    Args:
        given:   what each input is: a value from outside, or memory
        results: where each output goes
        repeats: whether it runs more than once
        known:   the memory of values that are not computed
    """
    with lowering.inside(repeats) as steps:
        lowering.memory.update(known)
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


class _Side:
    """A carry that lies in columns of a matrix that has two slots."""

    def __init__(self, concat: Node, first: int, carry: Value) -> None:
        self.concat, self.first, self.shape = concat, first, carry.type.shape
        self.slots = _Slots(concat.results[0])

    def at(self, step: Dim) -> Columns:
        return self._columns(step, self.first, self.shape)

    def _columns(self, step: Dim, first: int, shape: tuple[Dim, ...]) -> Columns:
        total = self.concat.results[0].type.shape[-1]
        assert isinstance(total, int)
        return Columns(self.slots.at(step), total, first, shape)

    def put_rows(self, lowering: Lowering, step: Dim) -> None:
        """What stands beside the carry."""
        first = 0
        for operand in self.concat.operands:
            shape = operand.type.shape
            if first != self.first:
                self._columns(step, first, shape).copy(lowering, operand)
            assert isinstance(shape[-1], int)
            first += shape[-1]

    def carried(
        self, lowering: Lowering, steps: tuple[Step, ...], plain: Memory, value: Value, step: Dim
    ) -> tuple[Step, ...]:
        """The steps with the next carry written where it belongs, or copied there."""
        found = redirected(steps, plain, self.at(step))
        if found is not None:
            return found
        with lowering.inside() as copies:
            lowering.memory[value] = plain
            self.at(step).copy(lowering, value)
        return (*steps, *copies)


def _slice(memory: Memory, row: Value, place: Dim) -> Memory:
    size = row.type.size
    return memory.part(place * size, size, size)
