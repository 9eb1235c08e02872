"""The register tile: C[i, j] (+)= sum over p of A[i, p] * B[p, j], rows x (vectors * lanes) accumulators held in registers.

One function a tile's shape, depth of its nest of steps and element type, shared by all contractions of an object, and small
ones that run over any number of rows in tiles of several heights. The distances of rows are part of the function where they
are known, so that one register addresses all of them. Other strides are arguments; rows are addressed from every
third row's pointer (p, p + s, p + 2s) then, so that few registers hold addresses. Tiles of few rows split the innermost step over
several accumulators, which are added by a tree at the end: latency, not order, is what would limit them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...ir.types import DType
from .builder import Module, llvm_type
from .finish import Finishing
from .kernel_ir import Const, Load, Tile
from .tile_text import AHEAD, Form, TileText

if TYPE_CHECKING:
    from .emit_loops import LoopEmitter

__all__ = ["emit_call", "rows_function", "tile_function"]


def emit_call(emitter: LoopEmitter, s: Tile) -> None:
    """The call for one tile statement."""
    b = emitter.b
    dtype = s.a.buffer.dtype
    assert s.b.buffer.dtype == dtype
    form = _form(s, dtype.bytes, id(s.b.buffer) not in emitter.scratch and _dense(s))
    after = Finishing.of(s, emitter.target)
    a, bb = (emitter.address(x.buffer, x.index)[0] for x in (s.a, s.b))
    size = b.number(dtype.bytes, "i64")
    strides = (s.a_row, s.a_row if s.a_run is None else s.a_run, s.b_vector)
    a_row, a_run, b_vector = (b.mul(emitter.eval(x), size) for x in strides)
    if after is not None:
        sums = after.pointers(emitter)
    else:
        assert isinstance(s.c, Load)
        c = emitter.address(s.c.buffer, s.c.index)[0]
        sums = [c, b.mul(emitter.eval(s.c_row), size), emitter.eval(s.accumulate)]
    nest = [
        v
        for p in s.steps
        for v in (emitter.eval(p.extent), b.mul(emitter.eval(p.a), size), b.mul(emitter.eval(p.b), size))
    ]
    depth = len(s.steps)
    m, args = emitter.eval(s.m), [a, a_row, *([a_run] if form.run else []), bb, b_vector, *sums, *nest]
    if s.heights == (1,) and m.number == 1:
        names = _parameters(form, after, depth)
        known = {name: v.text for name, v in zip(names, args, strict=True) if v.number is not None}
        args = [v for v in args if v.number is None]
        name = tile_function(emitter.module, dtype, 1, s.vectors, s.lanes, depth, form, after, known)
    else:
        name = rows_function(emitter.module, dtype, s.vectors, s.lanes, s.heights, depth, form, after)
        args.append(m)
    b.effect(f"call void {name}({', '.join(f'{v.ty} {v.text}' for v in args)})")


def _form(s: Tile, size: int, streams: bool) -> Form:
    """Of a tile; `streams` says whether B is one stretch of memory that comes from beyond the first caches."""
    row, run, last = s.a_row, s.a_run, s.steps[-1].last
    assert last is None or len(s.steps) > 1
    ahead, cache = (s.ahead * size, 2) if s.ahead else (AHEAD if streams else 0, 1)
    afar = streams and s.afar
    if not isinstance(row, Const) or not (run is None or isinstance(run, Const)):
        return Form(s.run, None, last, ahead, cache, afar, s.pairs)
    fixed = (int(row.value) * size, 0 if run is None else int(run.value) * size)
    return Form(s.run, fixed, last, ahead, cache, afar, s.pairs)


def _dense(s: Tile) -> bool:
    """Whether B's panel is read without gaps."""
    step, vector = s.steps[-1].b, s.b_vector
    dense = isinstance(step, Const) and int(step.value) == s.vectors * s.lanes
    return dense and isinstance(vector, Const) and int(vector.value) == s.lanes


def _parameters(form: Form, after: Finishing | None, depth: int, tag: str = "") -> dict[str, str]:
    """The parameters of a tile and their types: addresses, strides in bytes, and for each step its length, stride in A and in B; `tag`
    marks the addresses that move with the rows."""
    sums = {f"%c0{tag}": "ptr", "%cr": "i64", "%add": "i1"}
    if after is not None:
        sums = {f"{name}{tag}": "ptr" for name in after.names}
    strides = ("%ar", "%as") if form.run else ("%ar",)
    steps = [f"%{name}{n}" for n in range(depth) for name in ("n", "sa", "sb")]
    return {
        f"%a0{tag}": "ptr", **dict.fromkeys(strides, "i64"), "%b0": "ptr", "%bv": "i64", **sums, **dict.fromkeys(steps, "i64")
    }  # fmt: skip


def _declared(parameters: Mapping[str, str]) -> str:
    return ", ".join(f"{ty} {name}" for name, ty in parameters.items())


def _moved(after: Finishing | None, i: str, tag: str) -> list[str]:
    """The lines that move the addresses by i rows."""
    steps = [("%a0", "%ar"), ("%c0", "%cr")]
    if after is not None:
        steps[1:] = [(name, str(step)) for name, step in zip(after.names, after.row_bytes, strict=True)]
    return [
        line
        for name, step in steps
        for line in (
            f"  {name}{tag}o = mul i64 {i}, {step}",
            f"  {name}{tag} = getelementptr i8, ptr {name}, i64 {name}{tag}o",
        )
    ]


def rows_function(
    module: Module,
    dtype: DType,
    vectors: int,
    lanes: int,
    heights: tuple[int, ...],
    depth: int,
    form: Form,
    after: Finishing | None,
) -> str:
    """The function that runs over m rows in tiles of the given heights."""
    name = f"@nv_rows_{dtype}_{'_'.join(map(str, heights))}x{vectors}x{lanes}_{depth}{form.suffix}"
    name += "" if after is None else after.digest
    if name in module.functions:
        return name
    mixture = len(heights) == 2 and heights[1] == heights[0] - 1 and heights[0] > 2
    lines = [
        f"define internal void {name}({_declared(_parameters(form, after, depth))}, i64 %m) nounwind {{",
        "entry:",
        "  br label %t0",
    ]
    before, done = "entry", "0"
    for n, height in enumerate(heights):
        tile = tile_function(module, dtype, height, vectors, lanes, depth, form, after)
        following = f"t{n + 1}" if n + 1 < len(heights) else "end"
        lines += [
            f"t{n}:",
            f"  %i{n} = phi i64 [ {done}, %{before} ], [ %next{n}, %w{n} ]",
            f"  %left{n} = sub i64 %m, %i{n}",
        ]
        if mixture and n == 0:  # as long as the rest is no multiple of the lower height
            lines += [f"  %rest = urem i64 %left0, {heights[1]}", "  %fits0 = icmp ne i64 %rest, 0"]
        else:
            lines.append(f"  %fits{n} = icmp sge i64 %left{n}, {height}")
        lines += [
            f"  br i1 %fits{n}, label %w{n}, label %{following}", f"w{n}:",
            *_moved(after, f"%i{n}", f"w{n}"),
            f"  call void {tile}({_declared(_parameters(form, after, depth, f'w{n}'))})",
            f"  %next{n} = add i64 %i{n}, {height}", f"  br label %t{n}",
        ]  # fmt: skip
        before, done = f"t{n}", f"%i{n}"
    module.functions[name] = "\n".join([*lines, "end:", "  ret void", "}", ""])
    return name


def tile_function(
    module: Module,
    dtype: DType,
    height: int,
    vectors: int,
    lanes: int,
    depth: int,
    form: Form,
    after: Finishing | None,
    known: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The name of the function for one tile of that shape, added to the module where it is not there yet. Parameters that are `known`
    are written into it, and it has none for them."""
    name = f"@nv_tile_{dtype}_{height}x{vectors}x{lanes}_{depth}{form.suffix}"
    name += "" if after is None else after.digest
    name += "".join(f"_{parameter[1:]}{value}" for parameter, value in known.items())
    if name not in module.functions:
        ty = llvm_type(dtype)
        tile = TileText(height, vectors, lanes, ty, dtype.bytes, module.fma, depth, form, after, known)
        parameters = {p: ty for p, ty in _parameters(form, after, depth).items() if p not in known}
        head = f"define internal void {name}({_declared(parameters)}) nounwind {{"
        module.functions[name] = "\n".join([head, "entry:", *tile.text(module), "}", ""])
        if tile.spreads:
            module.declare("i64 @llvm.fshr.i64(i64, i64, i64)")
        if form.ahead:
            module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        if module.fma:
            module.declare(f"{tile.vt} @llvm.fma.{tile.mangled}({tile.vt}, {tile.vt}, {tile.vt})")
    return name
