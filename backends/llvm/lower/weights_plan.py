"""Which convolution is a derivative by weights, and how it is computed. It is recognised by its operands, both permuted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from ....ir.dims import bounds, ceildiv, product
from ....ir.graph import Node, Value
from ....ir.ops.move import Permute, Reshape
from ....ir.ops.window import Conv
from ....ir.types import f32
from ..layout import block_of
from ..schedule import tile_shape
from ..target import Target
from .conv_plan import FEW, USUAL

__all__ = ["PARTS", "Share", "WeightsPlan", "exchanges", "is_tiled", "plan_weights"]

PARTS = 8
"""Parts of the images or tiles that are summed apart, where there are fewer panels and blocks than that."""

BLOCKS = 4
"""Blocks of channels of a task of Winograd's on each side: with more, its sums would leave the second cache."""

GROUP = 32
"""Tiles that go through together, that their transforms stay there too."""

SPREAD = 250
"""What transforming a tile of one channel costs, and a weight's sums back, in products (measured with AVX-512, one core)."""

Rim = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What a task of Winograd's takes.

    Args:
        parts, least: how many the tiles are cut into, and tiles of a part at least, as long as there are some
        group:        tiles that go through together
        inner, outer: blocks of input and of output channels
        rim, g_rim:   that whole tiles of x and g need
    """

    parts: int
    least: int
    group: int
    inner: int
    outer: int
    rim: Rim
    g_rim: Rim


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """What such a derivative reads.

    Args:
        x, g:     the image and the slope of the result, [N, C, places...] and [N, O, places...]
        x_block, g_block: channels of a block of each
        halo, g_halo: the rim that x needs, and g
        run:      places of the window that are rows of a tile, along its last axis; 0 where the rows are channels
        share:    of Winograd's tasks; None where the products are direct
    """

    x: Value
    g: Value
    x_block: int
    g_block: int
    halo: Rim
    g_halo: Rim
    run: int
    share: Share | None


def plan_weights(node: Node, target: Target, resolve: Callable[[Value], Value]) -> WeightsPlan | None:
    """The plan, or None where the convolution is no such derivative."""
    op = node.op
    assert isinstance(op, Conv)
    x, g = (_swapped(resolve(v)) for v in node.operands)
    if x is None or g is None or x.type.dtype != f32 or op.groups != 1 or {*op.lhs_dilation} != {1}:
        return None
    channels, out, window = x.type.shape[1], g.type.shape[1], node.results[0].type.shape[2:]
    if not (isinstance(channels, int) and isinstance(out, int) and channels and out):
        return None
    sizes = [d for d in window if isinstance(d, int)]
    if len(sizes) < len(window) or any(p < 0 for pair in op.padding for p in pair) or not prod(sizes):
        return None
    few = channels <= FEW
    rows = prod(sizes[-2:]) if few else 16
    lanes = min(target.lanes(4), block_of(out))
    if few and (rows > 28 or target.registers < rows * (block_of(out) // lanes) + 3):
        return None
    x, g = resolve(x), resolve(g)
    share = None
    if target.winograd and sizes == [3, 3] and {*op.strides, *op.rhs_dilation} == {1}:
        share = _share(x, g, channels, out, op.padding, target)
    halo, g_halo = (op.padding, ((0, 0),) * len(sizes)) if share is None else (share.rim, share.g_rim)
    return WeightsPlan(x, g, 1 if few else 16, block_of(out), halo, g_halo, sizes[-1] if few else 0, share)


def _swapped(value: Value) -> Value | None:
    """What the value is with batch and channels exchanged."""
    node = value.node
    if node is not None and isinstance(
        node.op, Reshape
    ):  # as which such a permute is written where one of the two is 1
        source = node.operands[0]
        batch, channels, *rest = source.type.shape if source.type.rank > 1 else (0, 0)
        same = value.type.shape == (channels, batch, *rest) and 1 in (batch, channels)
        return source if same else None
    if node is None or not isinstance(node.op, Permute):
        return None
    return node.operands[0] if node.op.exchanges else None


def exchanges(node: Node) -> bool:
    """Whether a node exchanges the first two axes, a reshape included that does where one of them is 1."""
    return _swapped(node.results[0]) is not None


def is_tiled(node: Node, target: Target, resolve: Callable[[Value], Value]) -> bool:
    """Whether a node is a derivative by weights that Winograd's transforms compute."""
    plan = plan_weights(node, target, resolve) if isinstance(node.op, Conv) else None
    return plan is not None and plan.share is not None


def _share(x: Value, g: Value, channels: int, out: int, padding: Rim, target: Target) -> Share | None:
    """How Winograd's tasks are cut, by the shapes alone; None where direct products are cheaper."""
    if min(channels, out) < 16:
        return None
    inner, blocks = -(-channels // 16), -(-out // 16)
    down, across = (_blocks(target, n) for n in (inner, blocks))
    tasks = -(-inner // down) * -(-blocks // across)
    tiles = product((g.type.shape[0], *(ceildiv(size, 4) for size in g.type.shape[2:])))
    parts, least, group = -(-PARTS // tasks), GROUP // 2, GROUP
    if isinstance(tiles, int):
        parts = max(1, min(parts, tiles // least))
        least = -(-tiles // parts)
        group = _equal(least, GROUP)
    images, high, wide = (
        d if isinstance(d, int) else min(max(USUAL, bounds(d)[0]), bounds(d)[1])
        for d in (g.type.shape[0], *g.type.shape[2:])
    )
    usual = images * -(-high // 4) * -(-wide // 4)
    c, o = 16 * inner, 16 * blocks
    direct = 9 * images * high * wide * c * o * 5 // 4
    spread = usual * (c * -(-blocks // across) + o * -(-inner // down)) + parts * c * o
    if 36 * usual * c * o + spread * SPREAD >= direct:
        return None
    rest = [-size % 4 if isinstance(size, int) else 3 for size in g.type.shape[2:]]
    rim = tuple((low, high + more) for (low, high), more in zip(padding, rest, strict=True))
    return Share(parts, least, group, down, across, rim, tuple((0, more) for more in rest))


def _blocks(target: Target, blocks: int) -> int:
    """Blocks of a task on one side: whole panels, as either may be the columns."""
    _, panel, _ = tile_shape(target, 16, blocks)
    return _equal(blocks // panel, BLOCKS // panel) * panel


def _equal(total: int, most: int) -> int:
    """The size of equal parts, none larger than `most`."""
    return -(-total // -(-total // most)) if total else 1
