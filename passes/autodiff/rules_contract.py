"""Derivatives of contractions and windows. x, w are operands, g the cotangent of the result.

Along one spatial axis, a window of K elements at distance `rhs` reaches reach = (K - 1) rhs + 1; x of S elements
spread by `base` has W = (S - 1) base + 1; g of P elements spread by the stride has D = (P - 1) stride + 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...ir import build as b
from ...ir.dims import Dim, dim_text, floordiv
from ...ir.errors import UnsupportedError
from ...ir.graph import Node, Value
from ...ir.ops.contract import DotGeneral
from ...ir.ops.patches import FoldPatches, Patches
from ...ir.ops.window import Conv, MaxPool, WindowSum
from .rule import Cotangents, Rule, attributes_of, only, zeros_like
from .rules_move import fit, inverse

__all__ = ["RULES"]


def _dot_general(node: Node, g: Value) -> Cotangents:
    op, (x, y) = attributes_of(node, DotGeneral), node.operands
    batch = len(op.lhs_batch)
    lhs, rhs = op.free_axes(x.type.rank, y.type.rank)
    batch_axes = tuple(range(batch))
    g_lhs = tuple(range(batch, batch + len(lhs)))
    g_rhs = tuple(range(batch + len(lhs), g.type.rank))

    dx = b.dot_general(g, y, g_rhs, rhs, batch_axes, op.rhs_batch, op.acc)
    x_order = op.lhs_batch + lhs + _paired(op.lhs_contract, op.rhs_contract)
    dy = b.dot_general(g, x, g_lhs, lhs, batch_axes, op.lhs_batch, op.acc)
    y_order = op.rhs_batch + rhs + _paired(op.rhs_contract, op.lhs_contract)
    return b.permute(dx, inverse(x_order)), b.permute(dy, inverse(y_order))


def _paired(mine: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """My contracted axes in the order in which the other operand's stand, which is increasing in a result."""
    return tuple(a for _, a in sorted(zip(other, mine, strict=True)))


def _back_padding(
    size: Dim, out: Dim, window: int, stride: int, pad: tuple[int, int], rhs: int, base: int
) -> tuple[tuple[int, int], bool]:
    """How g is padded so that a window over it, spread by the stride and stepping by `base`, gives x's size.

    Also whether that is exact; where the remainder of the stride is not known now, the result is too long.
    """
    reach, spread = (window - 1) * rhs + 1, (size - 1) * base + 1
    high = spread + pad[0] - ((out - 1) * stride + 1)
    if isinstance(high, int):
        return (reach - 1 - pad[0], high), True
    return (reach - 1 - pad[0], reach - 1 - pad[1] + stride - 1), False


def _weight_padding(
    size: Dim, out: Dim, window: int, stride: int, pad: tuple[int, int], rhs: int, base: int
) -> tuple[tuple[int, int], bool]:
    """How x is padded so that g, spread by the stride, slides over it in `window` steps of `rhs`."""
    reach, spread = (window - 1) * rhs + 1, (size - 1) * base + 1
    high = (out - 1) * stride + reach - spread - pad[0]
    return ((pad[0], high), True) if isinstance(high, int) else (pad, False)


def _fitted(y: Value, like: Value, exact: bool) -> Value:
    return y if exact else fit(y, like.type.shape)


def _conv(node: Node, g: Value) -> Cotangents:
    op, (x, w) = attributes_of(node, Conv), node.operands
    if any(d == 0 for d in (*x.type.shape[2:], *w.type.shape[2:])):
        return zeros_like(x), zeros_like(w)
    window = [_constant(d, node) for d in w.type.shape[2:]]
    sizes = zip(
        x.type.shape[2:],
        g.type.shape[2:],
        window,
        op.strides,
        op.padding,
        op.rhs_dilation,
        op.lhs_dilation,
        strict=True,
    )
    axes = list(sizes)
    back = [_back_padding(*a) for a in axes]
    dx = b.conv(
        g,
        _swapped(w, op.groups),
        op.lhs_dilation,
        [p for p, _ in back],
        op.strides,
        op.rhs_dilation,
        op.groups,
    )
    forth = [_weight_padding(*a) for a in axes]
    spatial = range(2, x.type.rank)
    # batch and channel change places: channels of one group are the batch, the groups' batches the channels
    n, per_group = x.type.shape[0], w.type.shape[1]
    if op.groups == 1:
        images = b.permute(x, (1, 0, *spatial))
    else:
        split = b.reshape(x, (n, op.groups, per_group, *x.type.shape[2:]))
        turned = b.permute(split, (2, 1, 0, *(k + 1 for k in spatial)))
        images = b.reshape(turned, (per_group, op.groups * n, *x.type.shape[2:]))
    filters = b.permute(g, (1, 0, *spatial))
    dw = b.conv(
        images,
        filters,
        op.rhs_dilation,
        [p for p, _ in forth],
        op.lhs_dilation,
        op.strides,
        op.groups,
    )
    dw = b.permute(dw, (1, 0, *spatial))
    return _fitted(dx, x, all(e for _, e in back)), _fitted(dw, w, all(e for _, e in forth))


def _constant(dim: Dim, node: Node) -> int:
    if not isinstance(dim, int):
        raise UnsupportedError(
            f"conv: the derivative needs a window of constant size, found {dim_text(dim)}",
            where=[str(o) for o in node.origins],
        )
    return dim


def _swapped(w: Value, groups: int) -> Value:
    """Filters with their window reversed and, within each group, input and output channels exchanged."""
    out, channels, *window = w.type.shape
    spatial = range(2, w.type.rank)
    flipped = b.reverse(w, tuple(spatial))
    if groups == 1:
        return b.permute(flipped, (1, 0, *spatial))
    per_group = floordiv(out, groups)
    split = b.reshape(flipped, (groups, per_group, channels, *window))
    turned = b.permute(split, (0, 2, 1, *(k + 1 for k in spatial)))
    return b.reshape(turned, (groups * channels, per_group, *window))


def _max_pool(node: Node, g: Value) -> Cotangents:
    op, x, index = attributes_of(node, MaxPool), node.operands[0], node.results[1]
    if set(op.dilation) != {1}:  # such a window may hold padding alone; its index is -1 then
        g = b.select(b.lt(index, zeros_like(index)), zeros_like(g), g)
    flat = b.full(x.type.with_shape((x.type.size,)), 0)
    places, values = b.reshape(index, (index.type.size,)), b.reshape(g, (g.type.size,))
    return (b.reshape(b.scatter_elements(flat, places, values, 0), x.type.shape),)


def _window_sum(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, WindowSum), node.operands[0]
    if any(d == 0 for d in x.type.shape[2:]):
        return (zeros_like(x),)
    back = [
        _back_padding(*a)
        for a in zip(
            x.type.shape[2:],
            g.type.shape[2:],
            op.window,
            op.strides,
            op.padding,
            op.dilation,
            op.base_dilation,
            strict=True,
        )
    ]
    dx = b.window_sum(g, op.window, op.base_dilation, [p for p, _ in back], op.dilation, op.strides)
    return (_fitted(dx, x, all(e for _, e in back)),)


def _patches(node: Node, g: Value) -> Cotangents:
    op, x = attributes_of(node, Patches), node.operands[0]
    return (b.fold_patches(g, x.type.shape[2:], op.window, op.strides, op.padding, op.dilation),)


def _fold_patches(node: Node, g: Value) -> Cotangents:
    op = attributes_of(node, FoldPatches)
    return (b.patches(g, op.window, op.strides, op.padding, op.dilation),)


RULES: Mapping[str, Rule] = {
    # dx = g . y over y's free axes,  dy = g . x over x's free axes
    "dot_general": only(_dot_general),
    # dx = conv(g, w reversed, channels exchanged), strides and lhs_dilation exchanged
    # dw = conv(x, g), batch and channels exchanged, strides and rhs_dilation exchanged
    "conv": only(_conv),
    # dx[index] += g
    "max_pool": only(_max_pool),
    # dx = window_sum(g), strides and base_dilation exchanged
    "window_sum": only(_window_sum),
    # each is the other's adjoint
    "patches": only(_patches),
    "fold_patches": only(_fold_patches),
}
