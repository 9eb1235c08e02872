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


def turn_function(module: Module, dtype: DType, lanes: int, clean: int = 0) -> str:
    """The function for an element type: target[p][j] = source[j][p] for all j < count (and up to whole registers,
    or with zeros up to `clean`) and p < length."""
    name = f"@nv_turn_{dtype}_{lanes}{f'_clean{clean}' if clean else ''}"
    if name in module.functions:
        return name
    ty, size = llvm_type(dtype), dtype.bytes
    vt = f"<{lanes} x {ty}>"
    masked = lanes * size == 64
    out = [
        f"define internal void {name}(ptr %s, i64 %row, ptr %d, i64 %step, i64 %count, i64 %length) nounwind {{", "entry:",
        *([f"  %own = alloca [{lanes} x {vt}], align 64"] if masked else []),
        "  %last = sub i64 %count, 1", f"  %whole = and i64 %length, {-lanes}", "  %left = sub i64 %length, %whole",
        "  br label %columns",
        "columns:", "  %j = phi i64 [ 0, %entry ], [ %jn, %next ]",
        f"  %some = icmp slt i64 %j, {clean or '%count'}", "  br i1 %some, label %rows, label %end", "rows:",
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
        *_square(ty, lanes, clean > 0, "", "%p", [f"load {vt}, ptr %a{i}, align {size}" for i in range(lanes)]),
    ]  # fmt: skip
    for i in range(lanes):
        out += [
            f"  %q{i} = add i64 %p, {i}", f"  %w{i} = mul i64 %q{i}, %step",
            f"  %g{i} = getelementptr i8, ptr %t, i64 %w{i}", f"  store {vt} %y{i}, ptr %g{i}, align {size}",
        ]  # fmt: skip
    out += [f"  %pn = add i64 %p, {lanes}", "  br label %blocks", "rest:"]
    out += _part(module, ty, size, lanes, clean > 0) if masked else ["  br label %ones"]
    out += [
        "ones:", "  %z = phi i64 [ %whole, %rest ], [ %zn, %one ]",
        "  %less = icmp slt i64 %z, %length", "  br i1 %less, label %one, label %next", "one:",
    ]  # fmt: skip
    value = "poison"
    for i in range(lanes):
        out += [
            f"  %b{i} = getelementptr {ty}, ptr %r{i}, i64 %z", f"  %e{i} = load {ty}, ptr %b{i}, align {size}",
        ]  # fmt: skip
        one = f"%e{i}"
        if clean:
            one = f"%ke{i}"
            zero = "0.0" if dtype.is_float else "0"
            out.append(f"  {one} = select i1 %in{i}, {ty} %e{i}, {ty} {zero}")
        out.append(f"  %n{i} = insertelement {vt} {value}, {ty} {one}, i64 {i}")
        value = f"%n{i}"
    out += [
        "  %zo = mul i64 %z, %step", "  %zp = getelementptr i8, ptr %t, i64 %zo", f"  store {vt} {value}, ptr %zp, align {size}",
        "  %zn = add i64 %z, 1", "  br label %ones",
        "next:", f"  %jn = add i64 %j, {lanes}", "  br label %columns", "end:", "  ret void", "}", "",
    ]  # fmt: skip
    module.functions[name] = "\n".join(out)
    return name


def _square(ty: str, lanes: int, clean: bool, tag: str, place: str, loads: list[str]) -> list[str]:
    """Lines that read a square at a place of the rows by `loads` from %a<tag>.. and turn it into %y<tag>.."""
    vt = f"<{lanes} x {ty}>"
    out: list[str] = []
    current: list[str] = []
    for i in range(lanes):
        out += [f"  %a{tag}{i} = getelementptr {ty}, ptr %r{i}, i64 {place}", f"  %v{tag}{i} = {loads[i]}"]
        current.append(f"%v{tag}{i}")
        if clean:
            out.append(f"  %kv{tag}{i} = select i1 %in{i}, {vt} %v{tag}{i}, {vt} zeroinitializer")
            current[i] = f"%kv{tag}{i}"
    stage = 1
    while stage < lanes:  # exchange the off-diagonal squares of side `stage`
        low = ", ".join(f"i32 {lane if not lane & stage else lanes + lane - stage}" for lane in range(lanes))
        high = ", ".join(f"i32 {lane + stage if not lane & stage else lanes + lane}" for lane in range(lanes))
        for i in range(lanes):
            if not i & stage:
                a, b = current[i], current[i + stage]
                for k, mask in ((i, low), (i + stage, high)):
                    current[k] = f"%x{tag}{stage}_{k}" if 2 * stage < lanes else f"%y{tag}{k}"
                    out.append(f"  {current[k]} = shufflevector {vt} {a}, {vt} {b}, <{lanes} x i32> <{mask}>")
        stage *= 2
    return out


def _part(module: Module, ty: str, size: int, lanes: int, clean: bool) -> list[str]:
    """What is left of a row, if it is not little: a square under a mask, turned in memory of our own, of which as much is copied."""
    vt = f"<{lanes} x {ty}>"
    name = f"@llvm.masked.load.v{lanes}{'f' if ty in ('float', 'double') else 'i'}{8 * size}.p0"
    module.declare(f"{vt} {name}(ptr, <{lanes} x i1>, {vt})")
    loads = [
        f"call {vt} {name}(ptr align {size} %am{i}, <{lanes} x i1> %mask, {vt} zeroinitializer)"
        for i in range(lanes)
    ]
    numbers = ", ".join(f"i64 {i}" for i in range(lanes))
    stores: list[str] = []
    for i in range(lanes):
        stores += [
            f"  %h{i} = getelementptr {vt}, ptr %own, i64 {i}",
            f"  store {vt} %ym{i}, ptr %h{i}, align 64",
        ]
    return [
        "  %many = icmp sgt i64 %left, 2", "  br i1 %many, label %part, label %ones", "part:",
        f"  %left1 = insertelement <{lanes} x i64> poison, i64 %left, i64 0",
        f"  %lefts = shufflevector <{lanes} x i64> %left1, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer",
        f"  %mask = icmp slt <{lanes} x i64> <{numbers}>, %lefts",
        *_square(ty, lanes, clean, "m", "%whole", loads), *stores, "  br label %copies",
        "copies:", "  %u = phi i64 [ 0, %part ], [ %un, %copy ]",
        "  %under = icmp slt i64 %u, %left", "  br i1 %under, label %copy, label %next", "copy:",
        f"  %hu = getelementptr {vt}, ptr %own, i64 %u", f"  %vu = load {vt}, ptr %hu, align 64",
        "  %pu = add i64 %whole, %u", "  %uo = mul i64 %pu, %step", "  %up = getelementptr i8, ptr %t, i64 %uo",
        f"  store {vt} %vu, ptr %up, align {size}", "  %un = add i64 %u, 1", "  br label %copies",
    ]  # fmt: skip
