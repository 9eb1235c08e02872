# long file: one function an op, by family
"""Functions that apply core ops to values: how passes, decompositions and derivatives write graphs.

They are strict: no promotion, no broadcasting (`full`, `broadcast_in_dim` and `expand` write it out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .dims import Dim, Shape
from .graph import Value, make, make_one
from .ops import (
    barrier,
    calls,
    cells,
    contract,
    control,
    cumulative,
    elementwise,
    expect,
    index,
    linalg,
    loops,
    move,
    nn,
    pointwise,
    quant,
    reduce,
    tree,
    window,
)
from .ops.constant import Constant, Iota, Literal
from .ops.patches import FoldPatches, Patches
from .ops.recurrent import OPTIONAL, Recurrence
from .ops.sort import Sort, TopK
from .types import DType, TensorType


# constants
def constant(value: Any, dtype: DType | None = None, name: str = "") -> Value:
    """A literal tensor."""
    return make_one(Constant(Literal(value, dtype)), name=name)


def full(type: TensorType, value: float | bool) -> Value:
    """One number everywhere; a scalar constant, broadcast where the type is no scalar."""
    scalar = constant(np.asarray(value).astype(type.dtype.numpy))
    return scalar if not type.shape else broadcast_in_dim(scalar, type.shape, ())


def full_like(x: Value, value: float | bool) -> Value:
    """One number everywhere, of x's type."""
    return full(x.type, value)


def iota(dtype: DType, shape: Shape, axis: int) -> Value:
    return make_one(Iota(dtype, tuple(shape), axis))


# elementwise, one operand
def neg(x: Value) -> Value:
    return make_one(elementwise.Neg(), x)


def abs(x: Value) -> Value:
    return make_one(elementwise.Abs(), x)


def sign(x: Value) -> Value:
    return make_one(elementwise.Sign(), x)


def floor(x: Value) -> Value:
    return make_one(elementwise.Floor(), x)


def ceil(x: Value) -> Value:
    return make_one(elementwise.Ceil(), x)


def round_even(x: Value) -> Value:
    return make_one(elementwise.RoundEven(), x)


def sqrt(x: Value) -> Value:
    return make_one(elementwise.Sqrt(), x)


def rsqrt(x: Value) -> Value:
    return make_one(elementwise.Rsqrt(), x)


def reciprocal(x: Value) -> Value:
    return make_one(elementwise.Reciprocal(), x)


def exp(x: Value) -> Value:
    return make_one(elementwise.Exp(), x)


def expm1(x: Value) -> Value:
    return make_one(elementwise.Expm1(), x)


def log(x: Value) -> Value:
    return make_one(elementwise.Log(), x)


def log1p(x: Value) -> Value:
    return make_one(elementwise.Log1p(), x)


def sin(x: Value) -> Value:
    return make_one(elementwise.Sin(), x)


def cos(x: Value) -> Value:
    return make_one(elementwise.Cos(), x)


def tanh(x: Value) -> Value:
    return make_one(elementwise.Tanh(), x)


def sigmoid(x: Value) -> Value:
    return make_one(elementwise.Sigmoid(), x)


def erf(x: Value) -> Value:
    return make_one(elementwise.Erf(), x)


def not_(x: Value) -> Value:
    return make_one(elementwise.Not(), x)


def is_nan(x: Value) -> Value:
    return make_one(elementwise.IsNan(), x)


def is_finite(x: Value) -> Value:
    return make_one(elementwise.IsFinite(), x)


# elementwise, two operands
def add(x: Value, y: Value) -> Value:
    return make_one(elementwise.Add(), x, y)


def sub(x: Value, y: Value) -> Value:
    return make_one(elementwise.Sub(), x, y)


def mul(x: Value, y: Value) -> Value:
    return make_one(elementwise.Mul(), x, y)


def div(x: Value, y: Value) -> Value:
    return make_one(elementwise.Div(), x, y)


def rem(x: Value, y: Value) -> Value:
    return make_one(elementwise.Rem(), x, y)


def pow(x: Value, y: Value) -> Value:
    return make_one(elementwise.Pow(), x, y)


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y)."""
    return make_one(elementwise.Atan2(), y, x)


def min(x: Value, y: Value) -> Value:
    return make_one(elementwise.Min(), x, y)


def max(x: Value, y: Value) -> Value:
    return make_one(elementwise.Max(), x, y)


def and_(x: Value, y: Value) -> Value:
    return make_one(elementwise.And(), x, y)


def or_(x: Value, y: Value) -> Value:
    return make_one(elementwise.Or(), x, y)


def xor(x: Value, y: Value) -> Value:
    return make_one(elementwise.Xor(), x, y)


def shl(x: Value, y: Value) -> Value:
    return make_one(elementwise.Shl(), x, y)


def shr(x: Value, y: Value) -> Value:
    return make_one(elementwise.Shr(), x, y)


def eq(x: Value, y: Value) -> Value:
    return make_one(elementwise.Eq(), x, y)


def ne(x: Value, y: Value) -> Value:
    return make_one(elementwise.Ne(), x, y)


def lt(x: Value, y: Value) -> Value:
    return make_one(elementwise.Lt(), x, y)


def le(x: Value, y: Value) -> Value:
    return make_one(elementwise.Le(), x, y)


def gt(x: Value, y: Value) -> Value:
    return make_one(elementwise.Gt(), x, y)


def ge(x: Value, y: Value) -> Value:
    return make_one(elementwise.Ge(), x, y)


def select(condition: Value, a: Value, b: Value) -> Value:
    return make_one(elementwise.Select(), condition, a, b)


def clamp(lo: Value, x: Value, hi: Value) -> Value:
    return make_one(elementwise.Clamp(), lo, x, hi)


def cast(x: Value, dtype: DType) -> Value:
    """x itself where it has the element type already."""
    return x if x.type.dtype == dtype else make_one(elementwise.Cast(dtype), x)


def step(x: Value, at0: float = 0.0) -> Value:
    return make_one(pointwise.Step(at0), x)


def fma(x: Value, y: Value, z: Value) -> Value:
    """x * y + z, rounded once."""
    return make_one(pointwise.Fma(), x, y, z)


def bitcast(x: Value, dtype: DType) -> Value:
    """x itself where it has the element type already."""
    return x if x.type.dtype == dtype else make_one(pointwise.Bitcast(dtype), x)


# movement
def reshape(x: Value, shape: Sequence[Dim]) -> Value:
    """x itself where it has the shape already."""
    return x if x.type.shape == tuple(shape) else make_one(move.Reshape(tuple(shape)), x)


def permute(x: Value, axes: Sequence[int]) -> Value:
    """x itself where the order does not change."""
    return x if tuple(axes) == tuple(range(x.type.rank)) else make_one(move.Permute(tuple(axes)), x)


def broadcast_in_dim(x: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """x itself where it has the shape already."""
    return x if x.type.shape == tuple(shape) else make_one(move.BroadcastInDim(tuple(shape), tuple(axes)), x)


def expand(x: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """Undo a reduction over `axes`: x repeated along them, to the shape before it."""
    kept = [k for k in range(len(shape)) if k not in axes]
    return broadcast_in_dim(x, shape, kept)


def slice_(
    x: Value, starts: Sequence[Dim], limits: Sequence[Dim], strides: Sequence[int] | None = None
) -> Value:
    op = move.Slice(
        tuple(starts), tuple(limits), tuple(strides) if strides is not None else (1,) * len(starts)
    )
    return x if op.fold(x) is x else make_one(op, x)


def pad(
    x: Value, value: Value, low: Sequence[int], high: Sequence[int], interior: Sequence[int] | None = None
) -> Value:
    return make_one(move.Pad(tuple(low), tuple(high), tuple(interior or (0,) * len(low))), x, value)


def concat(xs: Sequence[Value], axis: int) -> Value:
    return xs[0] if len(xs) == 1 else make_one(move.Concat(axis), *xs)


def reverse(x: Value, axes: Sequence[int]) -> Value:
    return x if not axes else make_one(move.Reverse(tuple(axes)), x)


# reductions
def reduce_sum(x: Value, axes: Sequence[int], acc: DType | None = None) -> Value:
    return x if not axes else make_one(reduce.ReduceSum(tuple(axes), acc), x)


def reduce_prod(x: Value, axes: Sequence[int], acc: DType | None = None) -> Value:
    return x if not axes else make_one(reduce.ReduceProd(tuple(axes), acc), x)


def reduce_max(x: Value, axes: Sequence[int]) -> Value:
    return x if not axes else make_one(reduce.ReduceMax(tuple(axes)), x)


def reduce_min(x: Value, axes: Sequence[int]) -> Value:
    return x if not axes else make_one(reduce.ReduceMin(tuple(axes)), x)


def reduce_any(x: Value, axes: Sequence[int]) -> Value:
    return x if not axes else make_one(reduce.ReduceAny(tuple(axes)), x)


def reduce_all(x: Value, axes: Sequence[int]) -> Value:
    return x if not axes else make_one(reduce.ReduceAll(tuple(axes)), x)


def argmax(x: Value, axis: int) -> Value:
    return make_one(reduce.ArgMax(axis), x)


def argmin(x: Value, axis: int) -> Value:
    return make_one(reduce.ArgMin(axis), x)


# along an axis
def cumsum(x: Value, axis: int, exclusive: bool = False, reverse: bool = False) -> Value:
    return make_one(cumulative.CumSum(axis, exclusive, reverse), x)


def cumprod(x: Value, axis: int, exclusive: bool = False, reverse: bool = False) -> Value:
    return make_one(cumulative.CumProd(axis, exclusive, reverse), x)


def sort(x: Value, axis: int, descending: bool = False) -> tuple[Value, Value]:
    """Values and indices."""
    values, indices = make(Sort(axis, descending), x)
    return values, indices


def top_k(x: Value, k: int, axis: int, largest: bool = True) -> tuple[Value, Value]:
    """Values and indices."""
    values, indices = make(TopK(k, axis, largest), x)
    return values, indices


def expect_range(x: Value, low: int, high: Dim) -> Value:
    """x, said to lie within low..high - 1; see `ExpectRange`."""
    return make_one(expect.ExpectRange(low, high), x)


# contraction and windows
def dot_general(
    x: Value,
    y: Value,
    lhs_contract: Sequence[int],
    rhs_contract: Sequence[int],
    lhs_batch: Sequence[int] = (),
    rhs_batch: Sequence[int] = (),
    acc: DType | None = None,
) -> Value:
    op = contract.DotGeneral(
        tuple(lhs_contract), tuple(rhs_contract), tuple(lhs_batch), tuple(rhs_batch), acc
    )
    return make_one(op, x, y)


def matmul(x: Value, y: Value) -> Value:
    """[m, k] times [k, n]."""
    return dot_general(x, y, (1,), (0,))


def conv(
    x: Value,
    w: Value,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> Value:
    ones = (1,) * len(strides)
    op = window.Conv(
        tuple(strides), tuple(padding), tuple(lhs_dilation or ones), tuple(rhs_dilation or ones), groups
    )
    return make_one(op, x, w)


def max_pool(
    x: Value,
    window_: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
) -> tuple[Value, Value]:
    """Values and flat indices."""
    op = window.MaxPool(
        tuple(window_), tuple(strides), tuple(padding), tuple(dilation or (1,) * len(window_))
    )
    values, indices = make(op, x)
    return values, indices


def window_sum(
    x: Value,
    window_: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
    base_dilation: Sequence[int] | None = None,
) -> Value:
    ones = (1,) * len(window_)
    op = window.WindowSum(
        tuple(window_), tuple(strides), tuple(padding), tuple(dilation or ones), tuple(base_dilation or ones)
    )
    return make_one(op, x)


def patches(
    x: Value,
    window_: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
) -> Value:
    """Each window's elements as channels."""
    op = Patches(tuple(window_), tuple(strides), tuple(padding), tuple(dilation or (1,) * len(window_)))
    return make_one(op, x)


def fold_patches(
    x: Value,
    sizes: Sequence[Dim],
    window_: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
) -> Value:
    """The adjoint of `patches`: windows added up where they were read, in an image of these sizes."""
    ones = (1,) * len(window_)
    op = FoldPatches(tuple(window_), tuple(strides), tuple(padding), tuple(dilation or ones), tuple(sizes))
    return make_one(op, x)


# indexing
def gather(x: Value, indices: Value, axis: int = 0) -> Value:
    return make_one(index.Gather(axis), x, indices)


def gather_elements(x: Value, indices: Value, axis: int) -> Value:
    return make_one(index.GatherElements(axis), x, indices)


def scatter_elements(x: Value, indices: Value, updates: Value, axis: int, mode: str = "add") -> Value:
    return make_one(index.ScatterElements(axis, mode), x, indices, updates)


def dynamic_slice(x: Value, starts: Value, sizes: Sequence[Dim]) -> Value:
    """The box of these sizes at `starts`, i64[rank], clamped."""
    return make_one(index.DynamicSlice(tuple(sizes)), x, starts)


def dynamic_update_slice(x: Value, update: Value, starts: Value) -> Value:
    """x with `update` in the box at `starts`, i64[rank], clamped."""
    return make_one(index.DynamicUpdateSlice(), x, update, starts)


# composites that decompositions of others are made of
def relu(x: Value) -> Value:
    return make_one(nn.Relu(), x)


def linear(x: Value, w: Value, bias: Value | None = None) -> Value:
    """x w^T + b; w [out, in]."""
    return make_one(nn.Linear(), x, w) if bias is None else make_one(nn.Linear(), x, w, bias)


def rnn(x: Value, w: Value, r: Value, **options: Any) -> tuple[Value, ...]:
    """y and h; see `recurrent`."""
    return recurrent(cells.Rnn, x, w, r, **options)


def lstm(x: Value, w: Value, r: Value, **options: Any) -> tuple[Value, ...]:
    """y, h and c; see `recurrent`."""
    return recurrent(cells.Lstm, x, w, r, **options)


def gru(x: Value, w: Value, r: Value, **options: Any) -> tuple[Value, ...]:
    """y and h; see `recurrent`."""
    return recurrent(cells.Gru, x, w, r, **options)


def recurrent(kind: type[Recurrence], x: Value, w: Value, r: Value, **options: Any) -> tuple[Value, ...]:
    """A recurrent composite; what may be left out (bias, lens, h0, c0, peepholes, projection) goes by its name, as the
    op's attributes do.
    """
    given = {name: value for name in OPTIONAL if (value := options.pop(name, None)) is not None}
    return make(kind(given=tuple(given), **options), x, w, r, *given.values())


# factorizations
def cholesky(x: Value) -> Value:
    return make_one(linalg.Cholesky(), x)


def triangular_solve(a: Value, y: Value, *, lower: bool = True, transpose: bool = False) -> Value:
    """The x with a x = y, or a^T x = y."""
    return make_one(linalg.TriangularSolve(lower, transpose), a, y)


def eigh(x: Value) -> tuple[Value, Value]:
    """Eigenvalues, ascending, and eigenvectors as columns."""
    values, vectors = make(linalg.Eigh(), x)
    return values, vectors


# quantization
def quantize(x: Value, scale: Value, zero_point: Value, dtype: DType, axis: int | None = None) -> Value:
    return make_one(quant.Quantize(dtype, axis), x, scale, zero_point)


def dequantize(x: Value, scale: Value, zero_point: Value, axis: int | None = None) -> Value:
    return make_one(quant.Dequantize(axis), x, scale, zero_point)


def dynamic_quantize(x: Value) -> tuple[Value, Value, Value]:
    """The u8, the scale and the zero point."""
    values, scale, zero_point = make(quant.DynamicQuantize(), x)
    return values, scale, zero_point


# control
def fuse(label: str, body: Any, operands: Sequence[Value]) -> tuple[Value, ...]:
    return make(control.Fuse(label), *operands, regions=(body,))


def scan(
    body: Any,
    carries: Sequence[Value],
    xs: Sequence[Value],
    consts: Sequence[Value],
    length: Dim,
    *,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Value, ...]:
    op = control.Scan(length, len(carries), len(xs), reverse, unroll)
    return make(op, *carries, *xs, *consts, regions=(body,))


def if_(cond: Value, then: Any, otherwise: Any, operands: Sequence[Value]) -> tuple[Value, ...]:
    return make(loops.If(), cond, *operands, regions=(then, otherwise))


def while_(
    cond: Any, body: Any, carries: Sequence[Value], consts: Sequence[Value], max_trip: Dim | None = None
) -> tuple[Value, ...]:
    return make(loops.While(len(carries), max_trip), *carries, *consts, regions=(cond, body))


def tree_fold(
    body: Any,
    children: Value,
    xs: Sequence[Value],
    inits: Sequence[Value],
    consts: Sequence[Value],
    width: Dim,
) -> tuple[Value, ...]:
    op = tree.TreeFold(len(xs), len(inits), width)
    return make(op, children, *xs, *inits, *consts, regions=(body,))


def remat(body: Any, operands: Sequence[Value]) -> tuple[Value, ...]:
    return make(calls.Remat(), *operands, regions=(body,))


def custom_vjp(
    forward: Any, backward: Any, operands: Sequence[Value], by: Sequence[int]
) -> tuple[Value, ...]:
    return make(calls.CustomVjp(tuple(by)), *operands, regions=(forward, backward))


# x itself
def stop_gradient(x: Value) -> Value:
    return make_one(barrier.StopGradient(), x)


def opt_barrier(x: Value, *after: Value) -> Value:
    """x, for what is to be computed when `after` is there; see `OptBarrier`."""
    return make_one(barrier.OptBarrier(), x, *after)
