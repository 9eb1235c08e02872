# long file: one function a family of ops
"""The table of op instances behind `strategies.instances`: every op, its dtypes, and its corner shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from strategies import Domain, Instance

import nervure.ir.ops  # noqa: F401  fills OPS
from nervure.ir import build as b
from nervure.ir.dims import Dim, symbol
from nervure.ir.graph import Graph, Value
from nervure.ir.op import OPS
from nervure.ir.ops.barrier import OptBarrier, StopGradient
from nervure.ir.ops.calls import CustomVjp, Remat
from nervure.ir.ops.cells import Gru, Lstm, Rnn
from nervure.ir.ops.constant import Constant, Iota, Literal
from nervure.ir.ops.contract import DotGeneral
from nervure.ir.ops.control import Fuse, Scan
from nervure.ir.ops.cumulative import CumProd, CumSum
from nervure.ir.ops.elementwise import Binary, Cast, Clamp, Compare, Predicate, Select, Unary
from nervure.ir.ops.expect import ExpectRange
from nervure.ir.ops.gates import Gelu, HardSwish, Silu
from nervure.ir.ops.index import DynamicSlice, DynamicUpdateSlice, Gather, GatherElements, ScatterElements
from nervure.ir.ops.layer_norm import LayerNorm
from nervure.ir.ops.linalg import Cholesky, Eigh, TriangularSolve
from nervure.ir.ops.loops import If, While
from nervure.ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from nervure.ir.ops.nn import (
    AvgPool,
    BatchNorm,
    BatchNormTrain,
    CrossEntropy,
    Dropout,
    Linear,
    LogSoftmax,
    LogSumExp,
    Relu,
    Softmax,
)
from nervure.ir.ops.patches import FoldPatches, Patches
from nervure.ir.ops.pointwise import Bitcast, Fma, Step
from nervure.ir.ops.quant import Dequantize, DynamicQuantize, Quantize
from nervure.ir.ops.reduce import (
    ArgMax,
    ArgMin,
    ReduceAll,
    ReduceAny,
    ReduceMax,
    ReduceMin,
    ReduceProd,
    ReduceSum,
)
from nervure.ir.ops.rng import KEY, RngBits, RngNormal, RngSplit, RngUniform
from nervure.ir.ops.sort import Sort, TopK
from nervure.ir.ops.tree import TreeFold
from nervure.ir.ops.window import Conv, MaxPool, WindowSum
from nervure.ir.types import (
    DTYPES,
    DType,
    TensorType,
    bf16,
    bool_,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
    u32,
    u64,
)

FLOATS = (f64, f32, f16, bf16)
NUMBERS = tuple(d for d in DTYPES.values() if d != bool_)
ALL = tuple(DTYPES.values())
SOME = (f64, f32, bf16, i64, i32, u8, bool_)
SHAPES: tuple[tuple[int, ...], ...] = ((3, 4), (), (0, 2))
B = symbol("B", 1, 64)
ENV = {"B": 3}

UNARY_DOMAINS: dict[str, Domain] = dict.fromkeys(("sqrt", "rsqrt", "log"), "positive") | {"log1p": "unit"}
BINARY_DOMAINS: dict[str, tuple[Domain, Domain]] = {
    "pow": ("positive", "any"),
    "shl": ("any", "shift"),
    "shr": ("any", "shift"),
    "div": ("any", "nonzero"),
}


def of_kind(kinds: Iterable[str]) -> list[DType]:
    return [d for d in ALL if d.kind in set(kinds)]


def t(dtype: DType, *shape: Dim) -> TensorType:
    return TensorType(dtype, shape)


def elementwise() -> Iterable[Instance]:
    for op in OPS.values():
        name = op.mnemonic
        if issubclass(op, (Unary, Predicate)):
            domain = UNARY_DOMAINS.get(name, "any")
            for dtype in of_kind(getattr(op, "kinds", ("float",))):
                for shape in SHAPES[: 3 if dtype in (f64, i32) else 1]:
                    yield Instance(op(), (TensorType(dtype, shape),), (domain,))
        elif issubclass(op, (Binary, Compare)):
            domains = BINARY_DOMAINS.get(name, ("any", "any"))
            for dtype in of_kind(getattr(op, "kinds", ("float", "int", "uint", "bool"))):
                for shape in SHAPES[: 3 if dtype in (f64, i32) else 1]:
                    yield Instance(op(), (TensorType(dtype, shape),) * 2, domains)
    for dtype in SOME:
        x = t(dtype, 3, 4)
        yield Instance(Select(), (t(bool_, 3, 4), x, x))
        if dtype != bool_:
            yield Instance(Clamp(), (x, x, x), ("below", "any", "above"))
    yield Instance(Select(), (t(bool_, B), t(f64, B), t(f64, B)), env=ENV)
    for source in ALL:
        for target in ALL:
            yield Instance(Cast(target), (t(source, 3, 4),))
            if source != target and source.bits == target.bits and bool_ not in (source, target):
                yield Instance(Bitcast(target), (t(source, 3, 4),))
    for dtype in FLOATS:
        x = t(dtype, 3, 4)
        yield Instance(Fma(), (x, x, x))
        yield Instance(Step(), (x,))
        yield Instance(Step(0.5), (x,), ("around" if dtype != f64 else "any",))  # differences need no jump
    yield Instance(Fma(), (t(f64, B),) * 3, env=ENV)
    yield Instance(Step(-2.0), (t(f64, B, 0),), env=ENV)


def along_an_axis() -> Iterable[Instance]:
    for d in NUMBERS:
        x = t(d, 3, 5)
        for op in (CumSum, CumProd):
            yield Instance(op(1), (x,), ("unit",))
            yield Instance(op(0, True, True), (x,), ("unit",))
        for descending in (False, True):
            yield Instance(Sort(1, descending), (x,))
            yield Instance(TopK(2, 0, descending), (x,))
    for op in (CumSum, CumProd):
        yield Instance(op(1, True), (t(f64, 2, 4, 3),))
        yield Instance(op(1, False, True), (t(f64, 2, 3, 1),))
        yield Instance(op(0), (t(f64, 1),))
        yield Instance(op(1), (t(f64, B, 3),), env=ENV)
        yield Instance(op(0, True), (t(f64, B, 3),), env=ENV)
        yield Instance(op(0, False, True), (t(f64, B),), env=ENV)
        yield Instance(op(0), (t(f64, 0, 2),))
    yield Instance(Sort(1), (t(f64, 2, 100),))
    yield Instance(Sort(0, True), (t(f64, 70, 2),))
    yield Instance(Sort(0), (t(f64, B, 2),), env=ENV)
    yield Instance(Sort(1, True), (t(f32, 2, B),), env=ENV)
    yield Instance(Sort(1), (t(f64, 2, 0),))
    yield Instance(TopK(1, 1), (t(f64, 2, B),), env=ENV)
    yield Instance(TopK(3, 0, False), (t(f64, 100, 2),))
    yield Instance(TopK(0, 0), (t(f64, 3, 2),))
    yield Instance(TopK(3, 0), (t(f64, 3),))


def moves() -> Iterable[Instance]:
    for d in SOME:
        yield Instance(Reshape((4, 3)), (t(d, 2, 6),))
        yield Instance(Permute((2, 0, 1)), (t(d, 2, 3, 4),))
        yield Instance(BroadcastInDim((2, 3, 4), (1, 2)), (t(d, 3, 1),))
        yield Instance(Slice((1, 0), (6, 3), (2, 1)), (t(d, 7, 3),))
        yield Instance(Pad((1, 0), (2, 1), (1, 0)), (t(d, 3, 2), t(d)))
        yield Instance(Concat(1), (t(d, 2, 3), t(d, 2, 1), t(d, 2, 0)))
        yield Instance(Reverse((0, 2)), (t(d, 2, 3, 4),))
    yield Instance(Reshape((6, B)), (t(f64, B, 2, 3),), env=ENV)
    yield Instance(Reshape(()), (t(f64, 1, 1),))
    yield Instance(Permute(()), (t(f64),))
    yield Instance(BroadcastInDim((B, 3), ()), (t(f64),), env=ENV)
    yield Instance(BroadcastInDim((B, 3), (0, 1)), (t(f64, 1, 3),), env=ENV)
    yield Instance(Slice((0, 2), (B, 3), (1, 1)), (t(f64, B, 3),), env=ENV)
    yield Instance(Slice((0, 1), (1, 3), (1, 1)), (t(f64, B, 3),), env=ENV)
    yield Instance(Slice((0,), (B,), (2,)), (t(f64, B),), env=ENV)
    yield Instance(Slice((B,), (2 * B,), (3,)), (t(f64, 2 * B + 1),), env=ENV)
    yield Instance(Slice((2, 1), (2, 2), (3, 1)), (t(f64, 4, 3),))
    yield Instance(Pad((-1, 2), (1, -2), (0, 2)), (t(f64, 4, 3), t(f64)))
    yield Instance(Pad((-2,), (-1,), (1,)), (t(f64, 4), t(f64)))
    yield Instance(Pad((5,), (-4,), (0,)), (t(f64, 3), t(f64)))
    yield Instance(Pad((1, 0), (0, 2), (2, 0)), (t(f64, B, 2), t(f64)), env=ENV)
    yield Instance(Concat(0), (t(f64, B, 2), t(f64, 3, 2)), env=ENV)
    yield Instance(Reverse((0,)), (t(f64, B),), env=ENV)


def reductions() -> Iterable[Instance]:
    for d in NUMBERS:
        for op in (ReduceSum, ReduceProd, ReduceMax, ReduceMin):
            yield Instance(op((1,)), (t(d, 3, 4),), ("unit",))
        for arg in (ArgMax, ArgMin):
            yield Instance(arg(1), (t(d, 3, 4),))
    for op in (ReduceSum, ReduceProd, ReduceMax, ReduceMin):
        yield Instance(op((0, 2)), (t(f64, 2, 3, 2),))
        yield Instance(op((0,)), (t(f64, B, 2),), env=ENV)
        yield Instance(op((0, 1)), (t(f64, 1, 1),))
        yield Instance(op((1,)), (t(f64, 0, 3),))
    for op in (ReduceSum, ReduceProd):
        yield Instance(op((0,)), (t(f64, 0, 3),))
        yield Instance(op((1,), f64), (t(f32, 3, 4),))
    for op in (ReduceAny, ReduceAll):
        yield Instance(op((0,)), (t(bool_, 3, 4),))
        yield Instance(op((0, 1)), (t(bool_, B, 2),), env=ENV)
    for arg in (ArgMax, ArgMin):
        yield Instance(arg(0), (t(f64, 3, B),), env=ENV)


def contractions() -> Iterable[Instance]:
    for d in (f64, f32, f16, bf16, i64, i32, u8):
        yield Instance(DotGeneral((1,), (0,)), (t(d, 3, 4), t(d, 4, 2)))
        yield Instance(DotGeneral((2,), (1,), (0,), (0,)), (t(d, 2, 3, 4), t(d, 2, 4, 5)))
    yield Instance(DotGeneral((2, 0), (1, 3), (1,), (2,)), (t(f64, 2, 3, 4, 2), t(f64, 5, 4, 3, 2)))
    yield Instance(DotGeneral((), ()), (t(f64, 2), t(f64, 3)))
    yield Instance(DotGeneral((0,), (0,)), (t(f64, 4), t(f64, 4)))
    yield Instance(DotGeneral((0,), (0,)), (t(f64, 0, 2), t(f64, 0, 3)))
    yield Instance(DotGeneral((1,), (1,)), (t(f64, B, 4), t(f64, 2, 4)), env=ENV)
    yield Instance(DotGeneral((0,), (0,)), (t(f64, B, 4), t(f64, B, 2)), env=ENV)
    for d in FLOATS:
        yield Instance(conv((1, 1), ((1, 1), (1, 1))), (t(d, 2, 3, 5, 5), t(d, 4, 3, 3, 3)))
    yield Instance(conv((2, 3), ((0, 1), (2, 0)), rhs=(2, 1)), (t(f64, 2, 2, 8, 7), t(f64, 3, 2, 3, 2)))
    yield Instance(conv((2,), ((1, 0),), lhs=(3,), groups=2), (t(f64, 2, 4, 4), t(f64, 6, 2, 3)))
    yield Instance(conv((2,), ((-1, 2),), rhs=(2,), groups=3), (t(f64, 2, 3, 9), t(f64, 3, 1, 2)))
    yield Instance(conv((1, 2, 1), ((0, 0), (1, 0), (0, 1))), (t(f64, 1, 2, 3, 4, 3), t(f64, 2, 2, 2, 2, 2)))
    yield Instance(conv((2,), ((1, 1),)), (t(f64, B, 2, 6), t(f64, 3, 2, 3)), env=ENV)
    height = symbol("H", 5, 9)
    yield Instance(conv((2,), ((1, 1),)), (t(f64, B, 2, height), t(f64, 3, 2, 3)), env={"B": 2, "H": 8})


def conv(
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs: tuple[int, ...] | None = None,
    rhs: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Conv:
    ones = (1,) * len(strides)
    return Conv(strides, padding, lhs or ones, rhs or ones, groups)


def windows() -> Iterable[Instance]:
    for d in (f64, f32, f16, bf16, i32, u8):
        yield Instance(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), (t(d, 2, 2, 4, 6),))
        yield Instance(WindowSum((2, 2), (1, 2), ((0, 1), (1, 0)), (1, 1), (1, 1)), (t(d, 2, 2, 4, 5),))
    yield Instance(MaxPool((3, 2), (2, 1), ((1, 1), (1, 0)), (1, 2)), (t(f64, 2, 2, 6, 5),))
    yield Instance(MaxPool((3,), (2,), ((1, 1),), (1,)), (t(f64, B, 2, 7),), env=ENV)
    yield Instance(MaxPool((2,), (1,), ((2, 2),), (3,)), (t(f64, 1, 1, 2),))
    yield Instance(WindowSum((3,), (2,), ((-1, 2),), (2,), (3,)), (t(f64, 2, 1, 5),))
    yield Instance(WindowSum((2,), (3,), ((1, 0),), (1,), (2,)), (t(f64, B, 2, 6),), env=ENV)
    for d in FLOATS:
        yield Instance(AvgPool((2, 2), (2, 2), ((0, 0), (0, 0))), (t(d, 2, 2, 4, 6),))
        line, cube = t(d, 2, 2, 7), t(d, 2, 2, 3, 4, 5)
        # asymmetric, cutting, with a remainder of the stride; the last window of ceil_mode is padding at the end
        yield Instance(MaxPool((3,), (2,), ((0, 2),), (1,)), (line,))
        yield Instance(MaxPool((2, 3, 2), (1, 2, 3), ((1, 0), (0, 2), (-1, 1)), (1, 1, 2)), (cube,))
        yield Instance(AvgPool((3,), (3,), ((1, 2),)), (line,))
        yield Instance(AvgPool((2, 1, 3), (1, 2, 2), ((1, 0), (0, 0), (0, 2))), (cube,))
        yield Instance(AvgPool((2, 2, 2), (1, 1, 2), ((-1, 1), (0, 1), (1, -1)), True), (cube,))
        yield Instance(WindowSum((3,), (2,), ((2, -1),), (2,), (2,)), (line,))
        yield Instance(
            WindowSum((2, 1, 3), (1, 2, 1), ((0, 1), (-1, 0), (2, 1)), (1, 1, 2), (1, 2, 1)), (cube,)
        )
        yield Instance(conv((2,), ((0, 2),), groups=2), (line, t(d, 4, 1, 3)))
        yield Instance(
            conv((1, 2, 1), ((1, 0), (0, 2), (-1, 1)), lhs=(2, 1, 2), rhs=(1, 2, 1), groups=2),
            (cube, t(d, 4, 1, 2, 2, 3)),
        )
    yield Instance(MaxPool((2, 2), (1, 2), ((-1, 1), (1, -2)), (1, 1)), (t(f64, B, 2, 4, 7),), env=ENV)
    yield Instance(MaxPool((2,), (2,), ((-1, -1),), (1,)), (t(i32, 2, 2, 7),))
    yield Instance(AvgPool((2,), (2,), ((-1, 1),)), (t(f64, B, 2, 6),), env=ENV)
    yield Instance(AvgPool((3, 2), (2, 1), ((1, 1), (1, 0))), (t(f64, 2, 2, 6, 5),))
    yield Instance(AvgPool((3, 2), (2, 1), ((1, 1), (1, 0)), True), (t(f64, 2, 2, 6, 5),))
    yield Instance(AvgPool((3,), (2,), ((1, 1),)), (t(f64, B, 2, 7),), env=ENV)


def patches() -> Iterable[Instance]:
    """Each reading with the folding that undoes it."""
    near = Patches((2, 2), (1, 2), ((0, 1), (1, 0)), (1, 1))
    wide = Patches((3,), (2,), ((-1, 4),), (2,))
    deep = Patches((2, 1, 2), (1, 2, 1), ((1, 0), (0, 1), (-1, 2)), (2, 1, 3))
    height = symbol("H", 5, 9)
    cases = [(near, t(d, 2, 3, 4, 5), {}) for d in (f64, f32, f16, bf16, i64, i32, u8)]
    cases += [
        (wide, t(f64, 2, 3, 9), {}),
        (wide, t(f32, 2, 3, 9), {}),
        (deep, t(f64, 1, 2, 4, 3, 5), {}),
        (Patches((2, 3, 2), (2, 1, 1), ((1, 0), (2, 1), (0, 0)), (1, 2, 1)), t(f32, 2, 2, 3, 6, 4), {}),
        (Patches((1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1)), t(f64, 2, 2, 5, 4), {}),
        (near, t(f64, B, 2, 4, 5), ENV),
        (near, t(f64, 2, B, 4, 5), ENV),
        (Patches((3,), (2,), ((1, 1),), (1,)), t(f64, 2, 2, height), {"H": 8}),
        (Patches((3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1)), t(f32, 2, 2, height, 4), {"H": 8}),
        (near, t(f64, 0, 2, 4, 5), {}),
    ]
    for op, x, env in cases:
        yield Instance(op, (x,), env=env)
        back = FoldPatches(op.window, op.strides, op.padding, op.dilation, x.shape[2:])
        yield Instance(back, (op.infer(x),), env=env)


def indexing() -> Iterable[Instance]:
    for d in SOME:
        yield Instance(Gather(0), (t(d, 5, 3), t(i64, 4)), ("any", "index:5"))
        yield Instance(GatherElements(1), (t(d, 2, 5), t(i64, 2, 3)), ("any", "index:5"))
        for mode in ("add", "set", "mul", "min", "max"):
            if mode == "set" or d != bool_:
                yield Instance(
                    ScatterElements(1, mode),
                    (t(d, 2, 5), t(i64, 2, 4), t(d, 2, 4)),
                    ("any", "index:5", "any"),
                )
    for i in (i32, i8, u8, u32, u64):
        yield Instance(Gather(1), (t(f64, 2, 5, 3), t(i, 2, 2)), ("any", "index:5"))
    yield Instance(Gather(0), (t(f64, 5, 3), t(i64)), ("any", "index:5"))
    yield Instance(Gather(0), (t(f64, 5, 3), t(i64, B)), ("any", "index:5"), env=ENV)
    yield Instance(Gather(0), (t(f64, 0, 3), t(i64, 0)), ("any", "index:0"))
    yield Instance(GatherElements(1), (t(f64, B, 5), t(i64, B, 1)), ("any", "index:5"), env=ENV)
    yield Instance(
        ScatterElements(0), (t(f64, 5, B), t(i64, 3, B), t(f64, 3, B)), ("any", "index:5", "any"), env=ENV
    )
    for mode in ("mul", "min", "max"):
        yield Instance(
            ScatterElements(0, mode),
            (t(f64, 3, B), t(i64, 4, B), t(f64, 4, B)),
            ("any", "index:3", "any"),
            env=ENV,
        )


def boxes() -> Iterable[Instance]:
    """The domains of the starts go beyond both ends."""
    for d in SOME:
        yield Instance(DynamicSlice((2, 3)), (t(d, 5, 3), t(i64, 2)), ("any", "index:5"))
        yield Instance(DynamicUpdateSlice(), (t(d, 5, 4), t(d, 2, 3), t(i64, 2)), ("any", "any", "index:5"))
    yield Instance(DynamicSlice(()), (t(f64), t(i64, 0)))
    yield Instance(DynamicSlice((3, 0)), (t(f64, 3, 2), t(i64, 2)), ("any", "index:3"))
    yield Instance(DynamicSlice((B, 2)), (t(f64, B, 5), t(i64, 2)), ("any", "index:5"), env=ENV)
    yield Instance(DynamicSlice((1, B)), (t(f64, B + 2, 2 * B), t(i64, 2)), ("any", "index:5"), env=ENV)
    yield Instance(DynamicUpdateSlice(), (t(f64), t(f64), t(i64, 0)))
    yield Instance(DynamicUpdateSlice(), (t(f64, 3, 2), t(f64, 3, 0), t(i64, 2)), ("any", "any", "index:3"))
    yield Instance(
        DynamicUpdateSlice(), (t(f64, B, 5), t(f64, B, 2), t(i64, 2)), ("any", "any", "index:5"), env=ENV
    )
    yield Instance(
        DynamicUpdateSlice(), (t(f64, 2 * B, 3), t(f64, B, 3), t(i64, 2)), ("any", "any", "index:5"), env=ENV
    )


def composites() -> Iterable[Instance]:
    for d in FLOATS:
        yield Instance(Linear(), (t(d, 3, 4), t(d, 2, 4), t(d, 2)))
        for op in (Softmax, LogSoftmax):
            yield Instance(op(1), (t(d, 3, 4),))
        yield Instance(LogSumExp((1,)), (t(d, 3, 4),))
        yield Instance(CrossEntropy(), (t(d, 4, 5), t(i64, 4)), ("any", "index:5"))
        x, c = t(d, 4, 3, 2), t(d, 3)
        yield Instance(BatchNorm(), (x, c, c, c, c), ("any", "any", "any", "any", "positive"))
        yield Instance(BatchNormTrain(), (x, c, c))
        yield Instance(Dropout(0.4), (t(d, 4, 5), KEY), ("any", "key"))
        for gate in (Silu(), Gelu(), Gelu("tanh"), HardSwish()):
            yield Instance(gate, (t(d, 3, 4),))
        yield Instance(LayerNorm(1), (t(d, 3, 4), t(d, 4), t(d, 4)))
    yield Instance(Gelu(), (t(f64, B, 3),), env=ENV)
    yield Instance(LayerNorm(1, 1e-3), (t(f64, B, 2, 3), t(f64, 2, 3), t(f64, 2, 3)), env=ENV)
    for d in (*FLOATS, i64, i8):
        yield Instance(Relu(), (t(d, 3, 4),))
    for i in (i64, u8):
        yield Instance(ExpectRange(0, 5), (t(i, 4),), ("index:5",))
    yield Instance(Linear(), (t(f64, B, 3, 4), t(f64, 2, 4)), env=ENV)
    yield Instance(Linear(), (t(f64, 4), t(f64, 2, 4), t(f64, 2)))
    yield Instance(LogSumExp((0, 2)), (t(f64, 4, B, 2),), env=ENV)
    yield Instance(LogSumExp(()), (t(f64, B),), env=ENV)
    for op in (Softmax, LogSoftmax):
        yield Instance(op(0), (t(f64, 4, B, 2),), env=ENV)
    for reduction in ("mean", "sum", "none"):
        types = (t(f64, B, 5), t(i64, B))
        yield Instance(CrossEntropy(reduction), types, ("any", "index:5"), env=ENV)
    yield Instance(BatchNormTrain(1e-3), (t(f64, B, 2, 3, 2), t(f64, 2), t(f64, 2)), env=ENV)
    yield Instance(BatchNorm(1e-3), (t(f64, 5, 2), *[t(f64, 2)] * 4), ("any",) * 4 + ("positive",))
    yield Instance(Dropout(0.0), (t(f64, B, 2), KEY), ("any", "key"), env=ENV)


def recurrences() -> Iterable[Instance]:
    for d in FLOATS:
        small = t(d, 4, 2, 3)
        yield Instance(Rnn(), (small, t(d, 1, 2, 3), t(d, 1, 2, 2)), ("unit",) * 3)
        yield Instance(Lstm(), (small, t(d, 1, 8, 3), t(d, 1, 8, 2)), ("unit",) * 3)
        yield Instance(Gru(), (small, t(d, 1, 6, 3), t(d, 1, 6, 2)), ("unit",) * 3)
    empty = symbol("Z", 0, 9)
    for d, length, batch, env in (
        (f64, 3, B, ENV),
        (f32, 5, 2, {}),
        (f32, 0, 2, {}),
        (f32, 2, empty, {"Z": 0}),
    ):
        for kind, gates, options in (
            (Rnn, 1, {"activations": ("relu", "affine"), "alphas": (1.0, 0.7), "betas": (0.0, -0.2)}),
            (Gru, 3, {"gates": "rzn", "linear_before_reset": True}),
            (Gru, 3, {"clip": 0.5, "activations": ("hard_sigmoid", "softsign") * 2}),
        ):
            x, w, r = t(d, length, batch, 3), t(d, 2, 2 * gates, 3), t(d, 2, 2 * gates, 2)
            more = (t(d, 2, 4 * gates), t(i32, batch), t(d, 2, batch, 2))
            op = kind("bidirectional", ("bias", "lens", "h0"), **options)
            yield Instance(op, (x, w, r, *more), ("unit",) * 4 + ("index:5", "unit"), env=env)
        yield Instance(
            Rnn("reverse"), (t(d, length, batch, 3), t(d, 1, 2, 3), t(d, 1, 2, 2)), ("unit",) * 3, env=env
        )
        x, w, r, bias = t(d, length, batch, 3), t(d, 1, 8, 3), t(d, 1, 8, 2), t(d, 1, 16)
        state, seen = t(d, 1, batch, 2), t(d, 1, 6)
        op = Lstm("reverse", ("bias", "lens", "h0", "c0", "peepholes"), input_forget=True)
        domains = ("unit",) * 4 + ("index:5",) + ("unit",) * 3
        yield Instance(op, (x, w, r, bias, t(i64, batch), state, state, seen), domains, env=env)
        functions = ("elu", "leaky_relu", "scaled_tanh")
        op = Lstm("forward", ("c0", "peepholes"), functions, clip=0.4, gates="ifgo")
        yield Instance(op, (x, w, r, state, seen), ("unit",) * 5, env=env)
        functions = ("thresholded_relu", "softplus", "tanh")
        op = Lstm("forward", ("bias",), functions, (0.1, 0.0, 0.0))
        yield Instance(op, (x, w, r, bias), ("unit",) * 4, env=env)
        op = Lstm("bidirectional", ("h0", "projection"))
        two = (t(d, 2, 8, 3), t(d, 2, 8, 3), t(d, 2, batch, 3), t(d, 2, 3, 2))
        yield Instance(op, (x, *two), ("unit",) * 5, env=env)
        op = Gru("reverse", ("lens",), remat=2)
        x, w, r, lens = t(d, length, batch, 3), t(d, 1, 6, 3), t(d, 1, 6, 2), t(i64, batch)
        yield Instance(op, (x, w, r, lens), ("unit",) * 3 + ("index:5",), env=env)


def quantizations() -> Iterable[Instance]:
    for d in FLOATS:
        for q in (i8, u8, i16):
            domains = ("any", "positive", "any")
            yield Instance(Quantize(q), (t(d, 3, 4), t(d), t(q)), domains)
            yield Instance(Quantize(q, 1), (t(d, 3, 4), t(d, 4), t(q, 4)), domains)
            yield Instance(Dequantize(), (t(q, 3, 4), t(d), t(q)))
            yield Instance(Dequantize(0), (t(q, 3, 4), t(d, 3), t(q, 3)))
        yield Instance(Dequantize(1), (t(i32, 3, 4), t(d, 4), t(i32, 4)))
        yield Instance(DynamicQuantize(), (t(d, 3, 4),))
    yield Instance(Quantize(u8, 0), (t(f32, B, 3), t(f32, B), t(u8, B)), ("any", "positive", "any"), env=ENV)
    yield Instance(Quantize(i8), (t(f32), t(f32), t(i8)), ("any", "positive", "any"))
    yield Instance(Dequantize(1), (t(i8, 2, B, 3), t(f64, B), t(i8, B)), env=ENV)
    yield Instance(DynamicQuantize(), (t(f32, B, 3),), env=ENV)
    yield Instance(DynamicQuantize(), (t(f32, 2, 3),), ("positive",))
    yield Instance(DynamicQuantize(), (t(f32),))


def factorizations() -> Iterable[Instance]:
    shapes = [t(d, 3, 3) for d in FLOATS] + [t(f64, 2, 3, 3), t(f64, 1, 1), t(f64, 0, 2, 2), t(f64, 0, 0)]
    for x in shapes:
        yield Instance(Cholesky(), (x,), ("definite",))
        yield Instance(Eigh(), (x,))
        for lower in (True, False):
            for transpose in (True, False):
                right = x.with_shape((*x.shape[:-1], 2))
                yield Instance(TriangularSolve(lower, transpose), (x, right), ("definite", "any"))
    yield Instance(Cholesky(), (t(f64, B, 4, 4),), ("definite",), env=ENV)
    yield Instance(Eigh(), (t(f64, B, 2, 2),), env=ENV)
    yield Instance(TriangularSolve(), (t(f64, 3, 3), t(f64, 3, B)), ("definite", "any"), env=ENV)


def leaves() -> Iterable[Instance]:
    for d in ALL:
        yield Instance(Constant(Literal(np.arange(6).reshape(2, 3), d)))
    for special in (math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1):
        yield Instance(Constant(Literal(special, f64)))
    yield Instance(Constant(Literal(np.arange(40), f32)))
    yield Instance(Constant(Literal(np.zeros((0, 3)), f32)))
    for d in (f64, f32, f16, bf16, i64, i32, u8, u32):
        yield Instance(Iota(d, (3, 4), 1))
    yield Instance(Iota(i64, (2, B), 1), env=ENV)
    yield Instance(RngSplit(3), (KEY,), ("key",))
    for shape in ((5,), (2, 3), (), (0, 2)):
        for op in (RngBits, RngUniform, RngNormal):
            yield Instance(op(shape), (KEY,), ("key",))
    yield Instance(RngUniform((B, 2)), (KEY,), ("key",), env=ENV)


def body(name: str, types: Sequence[TensorType], returns: str) -> Graph:
    """A small region: a carry and a row for "scan", two results that share a node for "fuse"."""
    inputs = [Value(x, name=f"a{k}") for k, x in enumerate(types)]
    if returns == "scan":
        state, x, weight = inputs
        new = b.tanh(b.add(b.mul(state, weight), x))
        return Graph(name, inputs, [new, b.mul(new, x)])
    shared = b.mul(inputs[0], inputs[1])
    return Graph(name, inputs, [b.sin(shared), b.add(shared, inputs[0])])


def control() -> Iterable[Instance]:
    for d in (f64, f32):
        row = t(d, 3)
        yield Instance(Fuse("mul+sin"), (row, row), regions=(body("", (row, row), "fuse"),))
        for reverse in (False, True):
            yield Instance(
                Scan(4, 1, 1, reverse), (row, t(d, 4, 3), row), regions=(body("", (row,) * 3, "scan"),)
            )
    row = t(f64, 3)
    yield Instance(Scan(0, 1, 1), (row, t(f64, 0, 3), row), regions=(body("", (row,) * 3, "scan"),))
    yield Instance(Scan(B, 1, 1), (row, t(f64, B, 3), row), regions=(body("", (row,) * 3, "scan"),), env=ENV)

    for d, env in ((f64, {}), (f32, {}), (f64, ENV)):
        row = t(d, 3) if not env else t(d, B, 2)
        yield Instance(If(), (t(bool_), row, row), regions=two_bodies(row), env=env)
        yield Instance(While(2, 5), (t(i32), row, row), regions=doubling(row), env=env)
    yield Instance(While(2), (t(i32), t(f64, 3), t(f64, 3)), regions=doubling(t(f64, 3)))
    yield Instance(While(2, 0), (t(i32), t(f64, 3), t(f64, 3)), regions=doubling(t(f64, 3)))
    yield Instance(While(2, B), (t(i32), t(f64, B), t(f64, B)), regions=doubling(t(f64, B)), env=ENV)

    for d in (f64, f32):
        for nodes, env in ((5, {}), (B, ENV)):
            types = (t(i64, nodes, 2), t(d, nodes, 3), t(d, 3), t(d, 3))
            for width in (2, 4):
                body_ = merging(t(d, 3), width)
                yield Instance(TreeFold(1, 1, width), types, ("forest", "any", "any", "any"), (body_,), env)


def merging(row: TensorType, width: int) -> Graph:
    """tanh(x + w * the sum of both children's states), for so many nodes."""
    wide = row.with_shape((width, *row.shape))
    x, kids, w = inputs = [
        Value(wide, name="x"),
        Value(row.with_shape((width, 2, *row.shape)), name="kids"),
        Value(row, name="w"),
    ]
    below = b.mul(b.reduce_sum(kids, (1,)), b.broadcast_in_dim(w, wide.shape, (1,)))
    return Graph("body", inputs, [b.tanh(b.add(x, below))])


def two_bodies(row: TensorType) -> tuple[Graph, Graph]:
    """Of the same results: one computes them, the other passes its operands on."""
    x, y = inputs = [Value(row, name=n) for n in "xy"]
    p, q = again = [Value(row, name=n) for n in "pq"]
    return Graph("then", inputs, [b.mul(x, y), b.sin(y)]), Graph("otherwise", again, [q, p])


def doubling(row: TensorType) -> tuple[Graph, Graph]:
    """x += w sin x, as long as a counter that starts anywhere is below a bound."""
    n, x, w = (Value(v, name=k) for k, v in (("n", t(i32)), ("x", row), ("w", row)))
    m, z, v = (Value(v, name=k) for k, v in (("m", t(i32)), ("z", row), ("v", row)))
    test = b.lt(n, b.constant(3, i32))
    return (
        Graph("cond", [n, x, w], [test]),
        Graph("body", [m, z, v], [b.add(m, b.constant(1, i32)), b.add(z, b.mul(v, b.sin(z)))]),
    )


def calls() -> Iterable[Instance]:
    for d in SOME:
        yield Instance(OptBarrier(), (t(d, 3, 4),))
        if d != bf16:  # passed through alone, it would be an input that onnxruntime cannot take
            yield Instance(StopGradient(), (t(d, 3, 4),))
    yield Instance(OptBarrier(), (t(f64, B), t(i32, 2), t(f64)), env=ENV)
    yield Instance(OptBarrier(), (t(f64),))
    for d in (f64, f32):
        for row, env in ((t(d, 3), {}), (t(d, B, 2), ENV)):
            yield Instance(Remat(), (row, row), regions=(body("", (row, row), "fuse"),), env=env)
            yield Instance(CustomVjp((0, 2)), (row, t(i32, 2), row), regions=own_derivative(row), env=env)


def own_derivative(row: TensorType) -> tuple[Graph, Graph]:
    """y = e^x w and an integer that passes; the backward region reads y instead of computing e^x again."""
    x, n, w = inputs = [Value(row, name="x"), Value(t(i32, 2), name="n"), Value(row, name="w")]
    forward = Graph("", inputs, [b.mul(b.exp(x), w), b.add(n, n)])
    again = [Value(v.type, name=v.name) for v in inputs]
    y, m, g = Value(row, name="y"), Value(t(i32, 2), name="m"), Value(row, name="g")
    return forward, Graph("", [*again, y, m, g], [b.mul(g, y), b.mul(g, b.exp(again[0]))])


TABLE: dict[str, list[Instance]] = {name: [] for name in sorted(OPS)}
for family in (
    elementwise,
    moves,
    along_an_axis,
    reductions,
    contractions,
    windows,
    patches,
    indexing,
    boxes,
    composites,
    recurrences,
    quantizations,
    factorizations,
    leaves,
    control,
    calls,
):
    for found in family():
        TABLE[found.op.mnemonic].append(found)
