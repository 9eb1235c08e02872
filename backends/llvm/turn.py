"""Packing of a transposed operand: square blocks are turned in registers, as many rows as a register has lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .kernel_ir import Turn

if TYPE_CHECKING:
    from .emit import ExprEmitter

__all__ = ["emit_turn", "turn_function"]


def emit_turn(emitter: ExprEmitter, s: Turn) -> None:
    """The call for one turn statement."""
    b = emitter.b
    dtype = s.source.buffer.dtype
    name = turn_function(emitter.module, dtype, s.lanes, s.clean)
    source, target = (emitter.address(x.buffer, x.index)[0] for x in (s.source, s.target))
    size = b.number(dtype.bytes, "i64")
    rows, steps = b.mul(emitter.eval(s.row), size), b.mul(emitter.eval(s.step), size)
    count, length = emitter.eval(s.count), emitter.eval(s.length)
    args = (source, rows, target, steps, count, length)
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


def turn_function(module: Module, dtype: DType, lanes: int, clean: bool = False) -> str:
    """The function for an element type: target[p][j] = source[j][p] for all j < count (and up to whole registers) and p < length."""
    name = f"@nv_turn_{dtype}_{lanes}{'_clean' if clean else ''}"
    if name in module.functions:
        return name
    ty, size = llvm_type(dtype), dtype.bytes
    vt = f"<{lanes} x {ty}>"
    out = [
        f"define internal void {name}(ptr %s, i64 %row, ptr %d, i64 %step, i64 %count, i64 %length) nounwind {{",
        "entry:", "  %last = sub i64 %count, 1", f"  %whole = and i64 %length, {-lanes}", "  br label %columns",
        "columns:", "  %j = phi i64 [ 0, %entry ], [ %jn, %next ]",
        "  %some = icmp slt i64 %j, %count", "  br i1 %some, label %rows, label %end", "rows:",
    ]  # fmt: skip
    for i in range(lanes):  # a row beyond the last is read as the last
        out += [
            f"  %j{i} = add i64 %j, {i}", f"  %c{i} = call i64 @llvm.smin.i64(i64 %j{i}, i64 %last)",
            f"  %o{i} = mul i64 %c{i}, %row", f"  %r{i} = getelementptr i8, ptr %s, i64 %o{i}",
            f"  %in{i} = icmp sle i64 %j{i}, %last",
        ]  # fmt: skip
    module.declare("i64 @llvm.smin.i64(i64, i64)")
    out += [
        f"  %jb = mul i64 %j, {size}", "  %t = getelementptr i8, ptr %d, i64 %jb", "  br label %blocks",
        "blocks:", "  %p = phi i64 [ 0, %rows ], [ %pn, %block ]",
        "  %more = icmp slt i64 %p, %whole", "  br i1 %more, label %block, label %rest", "block:",
    ]  # fmt: skip
    current: list[str] = []
    for i in range(lanes):
        out += [
            f"  %a{i} = getelementptr {ty}, ptr %r{i}, i64 %p",
            f"  %v{i} = load {vt}, ptr %a{i}, align {size}",
        ]
        current.append(f"%v{i}")
        if clean and i:
            out.append(f"  %kv{i} = select i1 %in{i}, {vt} %v{i}, {vt} zeroinitializer")
            current[i] = f"%kv{i}"
    stage = 1
    while stage < lanes:  # exchange the off-diagonal squares of side `stage`
        low = ", ".join(f"i32 {lane if not lane & stage else lanes + lane - stage}" for lane in range(lanes))
        high = ", ".join(f"i32 {lane + stage if not lane & stage else lanes + lane}" for lane in range(lanes))
        for i in range(lanes):
            if not i & stage:
                a, b = current[i], current[i + stage]
                for k, mask in ((i, low), (i + stage, high)):
                    current[k] = f"%x{stage}_{k}"
                    out.append(f"  {current[k]} = shufflevector {vt} {a}, {vt} {b}, <{lanes} x i32> <{mask}>")
        stage *= 2
    for i in range(lanes):
        out += [
            f"  %q{i} = add i64 %p, {i}", f"  %w{i} = mul i64 %q{i}, %step",
            f"  %g{i} = getelementptr i8, ptr %t, i64 %w{i}", f"  store {vt} {current[i]}, ptr %g{i}, align {size}",
        ]  # fmt: skip
    out += [
        f"  %pn = add i64 %p, {lanes}", "  br label %blocks",
        "rest:", "  %z = phi i64 [ %whole, %blocks ], [ %zn, %one ]",
        "  %left = icmp slt i64 %z, %length", "  br i1 %left, label %one, label %next", "one:",
    ]  # fmt: skip
    value = "poison"
    for i in range(lanes):
        out += [
            f"  %b{i} = getelementptr {ty}, ptr %r{i}, i64 %z", f"  %e{i} = load {ty}, ptr %b{i}, align {size}",
        ]  # fmt: skip
        one = f"%e{i}"
        if clean and i:
            one = f"%ke{i}"
            zero = "0.0" if dtype.is_float else "0"
            out.append(f"  {one} = select i1 %in{i}, {ty} %e{i}, {ty} {zero}")
        out.append(f"  %n{i} = insertelement {vt} {value}, {ty} {one}, i64 {i}")
        value = f"%n{i}"
    out += [
        "  %zo = mul i64 %z, %step", "  %zp = getelementptr i8, ptr %t, i64 %zo", f"  store {vt} {value}, ptr %zp, align {size}",
        "  %zn = add i64 %z, 1", "  br label %rest",
        "next:", f"  %jn = add i64 %j, {lanes}", "  br label %columns", "end:", "  ret void", "}", "",
    ]  # fmt: skip
    module.functions[name] = "\n".join(out)
    return name
