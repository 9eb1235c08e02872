"""Reductions and contractions in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import product
from ...ir.errors import UnsupportedError
from ...ir.graph import Node
from ...ir.ops.common import accumulator
from ...ir.ops.contract import DotGeneral
from ...ir.ops.reduce import Accumulation, ArgReduce, Reduction
from ...ir.types import DType, bool_, f32, f64, i32, i64, u64
from .elementwise import Emitter
from .writer import Writer, result

__all__ = ["EMITTERS", "comparable", "reduce_with"]

REDUCE = {
    "reduce_sum": "ReduceSum",
    "reduce_prod": "ReduceProd",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
}
ORDERED = {"i16": i32, "u32": i64, "f16": f32, "bf16": f32}
WRAPPING = {"i8": i64, "i16": i64, "u8": i64, "u32": i64, "u64": i64}


def reduce_with(w: Writer, op: str, x: str, axes: Sequence[int]) -> str:
    """A Reduce node without the axes; they are an attribute before opset 18, except in ReduceSum."""
    if op == "ReduceSum" or w.opset >= 18:
        return w.node(op, [x, w.vector(axes)], keepdims=0)
    return w.node(op, [x], axes=list(axes), keepdims=0)


def reduction(w: Writer, node: Node) -> None:
    op, dtype = node.op, node.operands[0].type.dtype
    assert isinstance(op, Reduction)
    x = w.tensor(node.operands[0])
    if not isinstance(op, Accumulation):
        found = reduce_with(w, REDUCE[op.mnemonic], comparable(w, x, dtype), op.axes)
        result(w, node, _from_comparable(w, found, dtype))
        return
    inner = op.accumulator(dtype)
    inner = WRAPPING.get(inner.name, inner)
    x = w.cast(x, dtype, inner)
    if inner.is_integer:
        found = _whole_numbers(w, node, op, x, inner)
    else:
        found = reduce_with(w, REDUCE[op.mnemonic], x, op.axes)
    result(w, node, w.cast(found, inner, dtype))


def comparable(w: Writer, x: str, dtype: DType) -> str:
    """x in an element type that onnxruntime orders; u64 as i64 with its highest bit turned."""
    if dtype == u64:
        return w.node("Add", [w.cast(x, u64, i64), w.scalar(-(2**63), i64)])
    return w.cast(x, dtype, ORDERED.get(dtype.name, dtype))


def _from_comparable(w: Writer, x: str, dtype: DType) -> str:
    if dtype == u64:
        return w.cast(w.node("Add", [x, w.scalar(-(2**63), i64)]), i64, u64)
    return w.cast(x, ORDERED.get(dtype.name, dtype), dtype)


def _whole_numbers(w: Writer, node: Node, op: Accumulation, x: str, dtype: DType) -> str:
    """Sums as a product with ones, products by halving: onnxruntime's own reductions of integers go through doubles."""
    shape = node.operands[0].type.shape
    kept = [a for a in range(len(shape)) if a not in op.axes]
    rest = product(tuple(shape[a] for a in kept))
    count = product(tuple(shape[a] for a in op.axes))
    rows = w.reshape(_ordered(w, x, (*kept, *op.axes)), (rest, count))
    if op.mnemonic == "reduce_sum":
        ones = w.node("Expand", [w.scalar(1, dtype), w.shape((count, 1))])
        return w.reshape(w.node("MatMul", [rows, ones]), node.results[0].type.shape)
    if not isinstance(count, int):
        raise UnsupportedError(
            "onnx: reduce_prod of integers over a symbolic axis: onnxruntime multiplies them in floating point",
            where=[str(o) for o in node.origins],
        )
    axis = w.vector([1])
    while count > 1:
        half = count // 2
        parts = [w.node("Slice", [rows, w.vector([s]), w.vector([s + half]), axis]) for s in (0, half)]
        joined = w.node("Mul", parts)
        if count % 2:
            last = w.node("Slice", [rows, w.vector([count - 1]), w.vector([count]), axis])
            joined = w.node("Concat", [joined, last], axis=1)
        rows, count = joined, half + count % 2
    if not count:
        rows = w.node("Expand", [w.scalar(1, dtype), w.shape((rest, 1))])
    return w.reshape(rows, node.results[0].type.shape)


def reduce_any(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Reduction)
    count = reduce_with(w, "ReduceSum", w.cast(w.tensor(node.operands[0]), bool_, i32), node.op.axes)
    result(w, node, w.node("Greater", [count, w.scalar(0, i32)]))


def reduce_all(w: Writer, node: Node) -> None:
    assert isinstance(node.op, Reduction)
    wrong = w.node("Not", [w.tensor(node.operands[0])])
    count = reduce_with(w, "ReduceSum", w.cast(wrong, bool_, i32), node.op.axes)
    result(w, node, w.node("Equal", [count, w.scalar(0, i32)]))


def arg_reduction(w: Writer, node: Node) -> None:
    assert isinstance(node.op, ArgReduce)
    dtype = node.operands[0].type.dtype
    x = comparable(w, w.tensor(node.operands[0]), dtype)
    kind = "ArgMax" if node.op.mnemonic == "argmax" else "ArgMin"
    result(w, node, w.node(kind, [x], axis=node.op.axis, keepdims=0))


def dot_general(w: Writer, node: Node) -> None:
    """Gemm where both operands are matrices of floats, else MatMul of stacks brought into order."""
    op = node.op
    assert isinstance(op, DotGeneral)
    x, y = node.operands
    dtype = x.type.dtype
    acc = accumulator(dtype, op.acc)
    acc = {"i8": i64, "i16": i64, "u8": i64}.get(acc.name, acc)
    names = w.widened([w.tensor(x), w.tensor(y)], dtype, acc)
    if (
        x.type.rank == y.type.rank == 2
        and not op.lhs_batch
        and len(op.lhs_contract) == 1
        and acc in (f32, f64)
    ):
        found = w.node(
            "Gemm", names, transA=int(op.lhs_contract == (0,)), transB=int(op.rhs_contract == (1,))
        )
    else:
        free_x, free_y = op.free_axes(x.type.rank, y.type.rank)
        batch = [x.type.shape[a] for a in op.lhs_batch]
        rows, columns = [x.type.shape[a] for a in free_x], [y.type.shape[a] for a in free_y]
        depth = [x.type.shape[a] for a in op.lhs_contract]
        left = _ordered(w, names[0], (*op.lhs_batch, *free_x, *op.lhs_contract))
        right = _ordered(w, names[1], (*op.rhs_batch, *op.rhs_contract, *free_y))
        left = w.reshape(left, (*batch, product(tuple(rows)), product(tuple(depth))))
        right = w.reshape(right, (*batch, product(tuple(depth)), product(tuple(columns))))
        found = w.reshape(w.node("MatMul", [left, right]), (*batch, *rows, *columns))
    result(w, node, w.cast(found, acc, dtype))


def _ordered(w: Writer, x: str, axes: Sequence[int]) -> str:
    return x if list(axes) == sorted(axes) else w.node("Transpose", [x], perm=list(axes))


EMITTERS: dict[str, Emitter] = {
    **dict.fromkeys(REDUCE, reduction),
    "reduce_any": reduce_any,
    "reduce_all": reduce_all,
    "argmax": arg_reduction,
    "argmin": arg_reduction,
    "dot_general": dot_general,
}
