"""Values in blocks of channels: loops over them, their rim of zeros, and copies from and to other layouts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ....ir.dims import Dim, floordiv, product
from ....ir.graph import Value
from ....ir.ops.move import Concat, Slice
from ....ir.origin import Origins
from .. import kernel_ir as k
from ..affine import stride
from ..extents import rest_of
from ..layout import Layout, wider
from .loops import ROWS, nest, nest_in_parts
from .memory import KernelScope, Memory
from .pull import MAPS, Index, Pull

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Blocks", "blocked_map", "blocked_memory", "in_layout", "layout_of", "unblock", "zero_rim"]


def blocked_memory(value: Value, layout: Layout) -> Memory:
    """Arena memory for a value in blocks."""
    return Memory("arena", value.type.dtype, product(layout.shape(value.type.shape)), layout=layout)


def layout_of(lowering: Lowering, value: Value) -> Layout | None:
    """The blocks that a value lies in, or would if it had memory."""
    memory = lowering.memory_of(value)
    return lowering.layouts.get(lowering.resolve(value)) if memory is None else memory.layout


class Blocks:
    """Loops over a value in blocks: images, blocks, places, and the lanes of a block as a vector loop; the places of a row,
    where a block is one channel.

    Args:
        run: the first of the blocks and how many; all if not given

    Attributes:
        index:  of the element, as the type counts
        inside: whether its channel is one, where the last block has more lanes than channels
    """

    def __init__(
        self, pull: Pull, layout: Layout, shape: Sequence[Dim], run: tuple[int, int] | None = None
    ) -> None:
        self.layout = layout
        first, count = run or (0, layout.blocks)
        self.image, self.block, self.lane = k.Var("n"), k.Var("cb"), k.Var("c")
        self.places = tuple(k.Var(f"i{axis}") for axis in range(len(shape) - 2))
        self.extents = (shape[0], count, *shape[2:])
        channel: k.Expr = pull.affine(self.block, 1, first) if count > 1 or run is None else k.as_index(first)
        if layout.block > 1:
            within = (first * layout.block, (first + count) * layout.block)
            high = channel
            channel = pull.split(high * layout.block + self.lane, layout.block, high, self.lane, within)
        self.index: Index = (self.image, channel, *self.places)
        last = first + count == layout.blocks
        self.inside = channel < layout.channels if layout.ragged and last else None

    def store(
        self, pull: Pull, scope: KernelScope, memory: Memory, shape: Sequence[Dim], element: k.Expr
    ) -> k.Store:
        """The element where it belongs, zero in lanes that are no channel."""
        if self.inside is not None:
            element = k.select(self.inside, element, k.zero(element.dtype))
        buffer = scope.output(memory, self.layout.shape(shape))
        return buffer.store(pull.blocked(self.layout, self.index), element)

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        dims = list(zip((self.image, self.block, *self.places), self.extents, strict=True))
        lanes = [(self.lane, self.layout.block)] if self.layout.block > 1 else []
        return nest_in_parts(body, [*dims, *lanes], vector=True)


def zero_rim(lowering: Lowering, memory: Memory, shape: Sequence[Dim], origins: Origins) -> None:
    """A kernel that writes the zeros around the places."""
    assert memory.layout is not None
    whole = memory.layout.shape(shape)
    scope = KernelScope()
    body: list[k.Stmt] = []
    for axis, (low, high) in enumerate(memory.layout.halo, start=2):
        if not low and not high:
            continue
        before, after = product(whole[:axis]), product(whole[axis + 1 :])
        buffer = scope.output(memory, (before, whole[axis], after))
        for count, start in ((low, 0), (high, whole[axis] - high)):
            if count:
                row, at, j = k.Var("row"), k.Var("at"), k.Var("j")
                fill = buffer.store((row, at + start, j), k.zero(memory.dtype))
                loops = [(row, before), (at, count), (j, after)]
                if after == 1:  # lanes along the row
                    fill = buffer.store((row, at + start, k.as_index(0)), k.zero(memory.dtype))
                    loops = loops[:-1]
                body += nest([fill], loops, vector=True)
    if body:
        lowering.launch(scope, "rim", body, origins)


def blocked_map(lowering: Lowering, value: Value, target: Memory) -> None:
    """Compute a map into blocks."""
    assert target.layout is not None
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    body: list[k.Stmt] = []
    for run in _runs(lowering, value, target.layout):
        blocks = Blocks(pull, target.layout, value.type.shape, run)
        element = pull.read(value, blocks.index, blocks.inside)
        body += blocks.around([blocks.store(pull, scope, target, value.type.shape, element)])
    origins = value.node.origins if value.node is not None else ()
    zero_rim(lowering, target, value.type.shape, origins)
    lowering.launch(scope, "map", body, origins)


def _runs(lowering: Lowering, value: Value, layout: Layout) -> list[tuple[int, int] | None]:
    """Stretches of blocks, the first of each and how many, in which no channel axis is joined but at their ends; a block that
    channels of several operands share is one of its own."""
    edges = _joints(lowering, value)
    if not edges or layout.block == 1:
        return [None]
    shared = sorted({edge // layout.block for edge in edges if edge % layout.block})
    starts = {edge // layout.block for edge in edges if edge % layout.block == 0}
    cuts = sorted({0, layout.blocks, *starts, *shared, *(block + 1 for block in shared)})
    return [(first, behind - first) for first, behind in pairwise(cuts)]


def _joints(lowering: Lowering, value: Value) -> set[int]:
    """Channels at which operands of concats meet that are pulled into a map."""
    found: set[int] = set()
    stack: list[tuple[Value, int]] = [(value, 0)]
    seen = set(stack)
    while stack:
        current, start = stack.pop()
        current = lowering.resolve(current)
        node = current.node
        if node is None or node.op.mnemonic not in MAPS or lowering.memory_of(current) is not None:
            continue
        at = start
        for operand in node.operands:
            if isinstance(node.op, Concat) and node.op.axis == 1:
                size = operand.type.shape[1]
                assert isinstance(size, int)
                found.add(at)
                found.add(at + size)
                begin, at = at, at + size
            else:
                cut = node.op.starts[1] if isinstance(node.op, Slice) else 0
                assert isinstance(cut, int)
                begin = start - cut
            if operand.type.rank > 2 and (operand, begin) not in seen:
                seen.add((operand, begin))
                stack.append((operand, begin))
    whole = value.type.shape[1]
    return {edge for edge in found if isinstance(whole, int) and 0 < edge < whole}


def in_layout(lowering: Lowering, value: Value, block: int, halo: Sequence[tuple[int, int]]) -> Memory:
    """A memory of the value in blocks of that size with at least that rim: its own, or a copy made here."""
    value = lowering.resolve(value)
    memory = lowering.memory_of(value)
    channels = value.type.shape[1]
    assert isinstance(channels, int)
    wanted = Layout(channels, block, wider(lowering.rims.get((value, block), tuple(halo)), tuple(halo)))
    found = lowering.copies.get((value, wanted))
    if memory is None:
        if found is None and _channels_last(lowering, value, wanted):
            found = lowering.copies[value, wanted] = blocked_memory(value, wanted)
            blocked_map(lowering, value, found)
        if found is not None:
            return found
        lowering.map_kernel(value)
        memory = lowering.memory_of(value)
    assert memory is not None
    if memory.layout is not None and memory.layout.serves(block, halo):
        return memory
    if found is None:
        found = lowering.copies[value, wanted] = blocked_memory(value, wanted)
        zero_rim(lowering, found, value.type.shape, ())
        _block(lowering, value, memory, found)
    return found


def _channels_last(lowering: Lowering, value: Value, layout: Layout) -> bool:
    """Whether a value without memory is read from where its channels are neighbours: whole blocks are copied."""
    if layout.block == 1:
        return False
    pull = lowering.pull(KernelScope(), blocked=True)
    blocks = Blocks(pull, layout, value.type.shape)
    element = pull.read(value, blocks.index, blocks.inside)
    return isinstance(element, k.Load) and stride(element, blocks.lane) == 1


def _block(lowering: Lowering, value: Value, source: Memory, target: Memory) -> None:
    """Copy a value into blocks: squares of channels and places are turned, what is left goes one by one."""
    assert target.layout is not None
    layout, shape = target.layout, value.type.shape
    if source.layout is None and layout.block > 1:
        _turn_in(lowering, layout, shape, source, target)
        return
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=layout.block > 1)
    if layout.block == 1:
        at = _plain_index(shape)
        element = scope.output(target, layout.shape(shape)).store(
            pull.blocked(layout, at), pull.read(value, at)
        )
        lowering.launch(scope, "pad", _around(at, shape, element), ())
        return
    blocks = Blocks(pull, layout, shape)
    store = blocks.store(pull, scope, target, shape, pull.read(value, blocks.index, blocks.inside))
    lowering.launch(scope, "block", blocks.around([store]), ())


def unblock(lowering: Lowering, value: Value, source: Memory, target: Memory) -> None:
    """Copy a value out of its blocks into memory as its type says."""
    assert source.layout is not None
    layout, shape = source.layout, value.type.shape
    if layout.block > 1:
        _turn_out(lowering, layout, shape, source, target)
        return
    scope = KernelScope()
    pull = lowering.pull(scope, blocked=True)
    at = _plain_index(shape)
    store = scope.output(target, shape).store(at, pull.read(value, at))
    lowering.launch(scope, "unblock", _around(at, shape, store), ())


def _plain_index(shape: Sequence[Dim]) -> tuple[k.Var, ...]:
    return tuple(k.Var(f"i{axis}") for axis in range(len(shape)))


def _around(at: Sequence[k.Var], shape: Sequence[Dim], store: k.Stmt) -> list[k.Stmt]:
    return nest([store], list(zip(at, shape, strict=True)), vector=True)


class _Rows:
    """Runs of places that are neighbours in both layouts: rows, or images or stretches of one where there is no rim."""

    def __init__(
        self, scope: KernelScope, layout: Layout, shape: Sequence[Dim], plain: Memory, blocked: Memory
    ) -> None:
        self.merged = not any(low or high for low, high in layout.halo)
        places = _stretches(shape) if self.merged else tuple(shape[2:])
        halo = ((0, 0),) * len(places) if self.merged else layout.halo
        self.length, self.channel = places[-1], product(places)
        self.image, self.block = k.Var("n"), k.Var("cb")
        self.outer = tuple(k.Var(f"i{axis}") for axis in range(len(places) - 1))
        self.extents = (shape[0], layout.blocks, *places[:-1])
        lanes = Layout(layout.channels, layout.block, halo)
        self.plain = scope.view(plain, (*shape[:2], *places))
        self.blocked = scope.view(blocked, lanes.shape((*shape[:2], *places)))
        self.low = tuple(low for low, _ in halo)
        self.size = layout.block

    def at_plain(self, lane: k.Index, place: k.Index) -> Index:
        channel = self.block * self.size + k.as_index(lane)
        return (self.image, channel, *self.outer, k.as_index(place))

    def at_blocked(self, lane: k.Index, place: k.Index) -> Index:
        outer = (i + low if low else i for i, low in zip(self.outer, self.low, strict=False))
        return (self.image, self.block, *outer, k.as_index(place) + self.low[-1], k.as_index(lane))

    def lanes(self, layout: Layout) -> k.Expr:
        """Channels of the block."""
        return rest_of(layout.channels, self.block * layout.block, layout.block)

    def around(self, body: Sequence[k.Stmt]) -> list[k.Stmt]:
        loops = list(zip((self.image, self.block, *self.outer), self.extents, strict=True))
        return (
            nest_in_parts(body, loops, least=1 if self.merged else ROWS) if self.outer else nest(body, loops)
        )


def _stretches(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """All places of an image as one row; of a single large image as equal stretches of rows, which threads share."""
    length, high = product(tuple(shape[2:])), shape[2]
    if shape[0] == 1 and isinstance(length, int) and isinstance(high, int):
        for parts in (8, 4, 2):
            if high % parts == 0 and length % (16 * parts) == 0:
                return parts, length // parts
    return (length,)


def _turn_in(
    lowering: Lowering, layout: Layout, shape: Sequence[Dim], source: Memory, target: Memory
) -> None:
    scope = KernelScope()
    scope.written[target] = None
    rows = _Rows(scope, layout, shape, source, target)
    lanes = min(lowering.target.lanes(source.dtype.bytes), layout.block)
    turn = k.Turn(
        lanes,
        k.Load(rows.plain, rows.at_plain(0, 0)),
        k.as_index(rows.channel),
        k.Load(rows.blocked, rows.at_blocked(0, 0)),
        k.as_index(layout.block),
        rows.lanes(layout),
        k.as_index(rows.length),
        layout.block if layout.ragged else 0,
    )
    lowering.launch(scope, "block", rows.around([turn]), ())


def _turn_out(
    lowering: Lowering, layout: Layout, shape: Sequence[Dim], source: Memory, target: Memory
) -> None:
    scope = KernelScope()
    scope.written[target] = None
    rows = _Rows(scope, layout, shape, target, source)
    lanes = min(lowering.target.lanes(source.dtype.bytes), layout.block)
    body: list[k.Stmt] = []
    done: Dim = 0
    while lanes >= 4:  # squares, and smaller ones of what is left of a row
        count = floordiv(rows.length - done, lanes) * lanes
        if count != 0:
            turn = k.Turn(
                lanes,
                k.Load(rows.blocked, rows.at_blocked(0, done)),
                k.as_index(layout.block),
                k.Load(rows.plain, rows.at_plain(0, done)),
                k.as_index(rows.channel),
                k.as_index(count),
                rows.lanes(layout),
            )
            body.append(turn)
        done = done + count
        lanes = lanes // 2 if isinstance(rows.length, int) else 0
    rest = rows.length - done
    if rest != 0:
        lane, j = k.Var("c"), k.Var("j")
        place = j + done
        store = rows.plain.store(
            rows.at_plain(lane, place), k.Load(rows.blocked, rows.at_blocked(lane, place))
        )
        body.append(k.For(lane, rows.lanes(layout), (k.For(j, rest, (store,), "vector"),)))
    lowering.launch(scope, "unblock", rows.around(body), ())
