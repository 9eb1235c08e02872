"""Interleaving of rows: element p of each of a few rows side by side, a register of each row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .kernel_ir import Interleave

if TYPE_CHECKING:
    from .emit import ExprEmitter

__all__ = ["emit_interleave"]


def emit_interleave(emitter: ExprEmitter, s: Interleave) -> None:
    """The call for one interleave statement."""
    b = emitter.b
    dtype = s.source.buffer.dtype
    name = _function(emitter.module, dtype, s.lanes, s.ways)
    source, target = (emitter.address(x.buffer, x.index)[0] for x in (s.source, s.target))
    row = b.mul(emitter.eval(s.row), b.number(dtype.bytes, "i64"))
    args = (source, row, target, emitter.eval(s.length))
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


def _function(module: Module, dtype: DType, lanes: int, ways: int) -> str:
    """The function for an element type: target[p * ways + j] = source[j][p] for all j < ways and p < length."""
    name = f"@nv_interleave_{dtype}_{lanes}_{ways}"
    if name in module.functions:
        return name
    ty, size = llvm_type(dtype), dtype.bytes
    out = [
        f"define internal void {name}(ptr %s, i64 %row, ptr %d, i64 %length) nounwind {{",
        "entry:", f"  %whole = and i64 %length, {-lanes}", "  %r0 = getelementptr i8, ptr %s, i64 0",
    ]  # fmt: skip
    out += [f"  %r{j} = getelementptr i8, ptr %r{j - 1}, i64 %row" for j in range(1, ways)]
    out += [
        "  br label %blocks",
        "blocks:", "  %p = phi i64 [ 0, %entry ], [ %pn, %block ]",
        "  %more = icmp slt i64 %p, %whole", "  br i1 %more, label %block, label %rest", "block:",
    ]  # fmt: skip
    for j in range(ways):
        out += [
            f"  %a{j} = getelementptr {ty}, ptr %r{j}, i64 %p",
            f"  %v{j} = load <{lanes} x {ty}>, ptr %a{j}, align {size}",
        ]
    joined, width = "%v0", lanes
    for j in range(1, ways):  # one row after the other, and then all in their order by one shuffle
        wide = ", ".join(f"i32 {k}" if k < lanes else "i32 poison" for k in range(width))
        right = f"%v{j}" if width == lanes else f"%e{j}"
        if width != lanes:
            out.append(
                f"  %e{j} = shufflevector <{lanes} x {ty}> %v{j}, <{lanes} x {ty}> poison, <{width} x i32> <{wide}>"
            )
        both = ", ".join(f"i32 {k}" for k in range(width + lanes))
        out.append(
            f"  %j{j} = shufflevector <{width} x {ty}> {joined}, <{width} x {ty}> {right}, <{width + lanes} x i32> <{both}>"
        )
        joined, width = f"%j{j}", width + lanes
    order = ", ".join(f"i32 {j * lanes + p}" for p in range(lanes) for j in range(ways))
    out += [
        f"  %x = shufflevector <{width} x {ty}> {joined}, <{width} x {ty}> poison, <{width} x i32> <{order}>",
        f"  %q = mul i64 %p, {ways}", f"  %g = getelementptr {ty}, ptr %d, i64 %q",
        f"  store <{width} x {ty}> %x, ptr %g, align {size}",
        f"  %pn = add i64 %p, {lanes}", "  br label %blocks",
        "rest:", "  %z = phi i64 [ %whole, %blocks ], [ %zn, %one ]",
        "  %left = icmp slt i64 %z, %length", "  br i1 %left, label %one, label %end",
        "one:", f"  %zq = mul i64 %z, {ways}", f"  %zg = getelementptr {ty}, ptr %d, i64 %zq",
    ]  # fmt: skip
    for j in range(ways):
        out += [
            f"  %b{j} = getelementptr {ty}, ptr %r{j}, i64 %z", f"  %o{j} = load {ty}, ptr %b{j}, align {size}",
            f"  %h{j} = getelementptr {ty}, ptr %zg, i64 {j}", f"  store {ty} %o{j}, ptr %h{j}, align {size}",
        ]  # fmt: skip
    out += ["  %zn = add i64 %z, 1", "  br label %rest", "end:", "  ret void", "}", ""]
    module.functions[name] = "\n".join(out)
    return name
