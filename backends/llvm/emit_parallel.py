"""Kernel IR to LLVM text: parallel loops.

A nest of parallel loops becomes one function of a range of units, which the context's parallel_for calls on parts of all. A unit is
about a microsecond of work by grain.py's costs: several iterations, row-major over the nest, or a part of a longer one, which
is run whole by whoever has its first unit. A loop of few units runs on the caller's thread; one that is known to have few
is emitted as the serial loop that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...ir.dims import Dim
from .builder import Builder, V
from .extents import times
from .grain import FEWEST, GRAIN, iteration_cost
from .kernel_ir import Expr, For, Index, Stmt, Var
from .walk import expr_children, stored_buffers

if TYPE_CHECKING:
    from .emit_stmt import Emitter

__all__ = ["TASK", "emit_parallel", "emit_share"]

TASK = "(ptr %arg, i64 %begin, i64 %end)"
"""The parameters of a task, as parallel_for calls it."""

LIGHT = 60_000
"""Picoseconds of an iteration up to which counting all indices of a nest at each one would cost as much as it does."""

_BLOCK = 64
"""A unit of a vector loop is a multiple of this many elements: whole registers of any type, whole lines of memory."""


def emit_parallel(e: Emitter, s: For) -> bool:
    """Emit a parallel loop at the top of a kernel; False, and nothing emitted, where it is not worth a thread."""
    vector = s.kind == "parallel vector"
    loops, body = ([s], s.body) if vector else _nest(s)
    cost = iteration_cost(body, e.target, e.lets, vector=vector)
    total = times([loop.extent for loop in loops])
    if isinstance(total, int) and isinstance(cost, int) and not _pays(total, *_fixed_grain(cost, vector)):
        return False
    b = e.b
    name = f"@{e.kernel.name}_p{len(e.module.functions)}"
    words = [*(e.pointers[id(x)] for x in e.kernel.buffers), *e.symbols.values()]
    _task(e, name, loops, body, cost, vector)
    arg = b.fresh()
    b.here.lines.insert(0, f"  {arg} = alloca [{max(1, len(words))} x i64], align 8")
    for n, v in enumerate(words):
        slot = b.pure(f"getelementptr i64, ptr {arg}, i64 {n}", (), "ptr")
        b.effect(f"store {v.ty} {v.text}, ptr {slot.text}, align 8")
    count = e.index(total)
    units = _units(e, count, *_grain(e, cost, vector))

    def shared() -> None:
        function = b.fixed("load ptr, ptr %ctx, align 8", "ptr")
        b.effect(f"call void {function.text}(ptr %ctx, ptr {name}, ptr {arg}, i64 {units.text})")

    def alone() -> None:
        b.effect(f"call void {name}(ptr {arg}, i64 0, i64 {units.text})")

    if units.number is not None:
        shared()
    else:
        many = b.simple("icmp sge", units, b.number(FEWEST, "i64"), ty="i1")
        several = b.simple("icmp sgt", count, b.number(1, "i64"), ty="i1")
        e.branch(b.simple("and", many, several), shared, alone)
    e.forget(stored_buffers(s.body))
    return True


def emit_share(e: Emitter, s: For, share: V, shares: V) -> None:
    """Emit a share of a nest of parallel loops: of its iterations, or of blocks of them where it is a vector loop."""
    b = e.b
    vector = s.kind == "parallel vector"
    loops, body = ([s], s.body) if vector else _nest(s)
    total = e.index(times([loop.extent for loop in loops]))
    if total.number is None:
        total = b.intrinsic("smax", total, b.number(0, "i64"))
    each = b.number(_BLOCK if vector else 1, "i64")
    units = _units(e, total, each, b.number(1, "i64"))

    def bound(share: V) -> V:
        return b.mul(e.udiv("floordiv", b.mul(units, share), shares), each)

    begin, end = bound(share), b.intrinsic("smin", bound(b.add(share, b.number(1, "i64"))), total)
    if vector:
        e.vector(s, begin, end)
    else:
        _rows(e, loops, body, begin, end, iteration_cost(body, e.target, e.lets))


def _nest(s: For) -> tuple[list[For], Sequence[Stmt]]:
    """The parallel loops that stand directly in each other, and what the innermost runs."""
    loops = [s]
    while len(loops[-1].body) == 1:
        (inner,) = loops[-1].body
        if (
            not isinstance(inner, For)
            or inner.kind != "parallel"
            or _has_var(inner.extent)
            or inner.back != s.back
        ):
            break
        loops.append(inner)
    return loops, loops[-1].body


def _has_var(x: Index) -> bool:
    stack = [x] if isinstance(x, Expr) else []
    while stack:
        e = stack.pop()
        if isinstance(e, Var):
            return True
        stack += expr_children(e)
    return False


def _task(e: Emitter, name: str, loops: list[For], body: Sequence[Stmt], cost: Dim, vector: bool) -> None:
    """The function of a range of units; a kernel's buffers and symbols are words of its argument."""
    inner = Builder(e.module)
    pointers: dict[int, V] = {}
    symbols: dict[str, V] = {}
    slots = [("ptr", id(x)) for x in e.kernel.buffers] + [("i64", n) for n in e.symbols]
    for n, (ty, key) in enumerate(slots):
        slot = inner.pure(f"getelementptr i64, ptr %arg, i64 {n}", (), "ptr")
        value = inner.fixed(f"load {ty}, ptr {slot.text}, align 8", ty)
        if isinstance(key, int):
            pointers[key] = value
        else:
            symbols[key] = value
    task = type(e)(e.module, e.target, inner, pointers, symbols)
    task.kernel, task.scratch, task.lets = e.kernel, e.scratch, e.lets
    for let in e.lets:
        task.stmt(let)
    (grain, parts), total = _grain(task, cost, vector), task.index(times([loop.extent for loop in loops]))
    begin, end = V("%begin", "i64"), V("%end", "i64")
    if parts.number != 1:
        up = inner.add(parts, inner.number(-1, "i64"))
        begin, end = (task.udiv("floordiv", inner.add(unit, up), parts) for unit in (begin, end))
    if grain.number != 1:
        begin, end = inner.mul(begin, grain), inner.intrinsic("smin", inner.mul(end, grain), total)
    if vector:
        task.vector(loops[0], begin, end)
    else:
        _rows(task, loops, body, begin, end, cost)
    e.module.functions[name] = inner.finish(f"define internal void {name}{TASK} nounwind")


def _rows(task: Emitter, loops: list[For], body: Sequence[Stmt], begin: V, end: V, cost: Dim) -> None:
    """Iterations begin..end of the nest: the index of each loop is carried, and counts up as an odometer does; where iterations are
    light, once for each run of the innermost loop, which is a loop here too.

    Those of a nest that may run back are made anew each time.
    """
    b = task.b
    extents = [task.index(loop.extent) for loop in loops]

    def places(flat: V) -> list[V]:
        found: list[V] = []
        for extent in reversed(extents[1:]):
            # begin may be past a nest that is empty; the loop then does not run
            least = b.intrinsic("smax", extent, b.number(1, "i64")) if extent.number is None else extent
            found.insert(0, task.udiv("mod", flat, least))
            flat = task.udiv("floordiv", flat, least)
        return [flat, *found]

    def bound(indices: Sequence[V]) -> None:
        for loop, index in zip(loops, indices, strict=True):
            task.loop_vars.add(id(loop.var))
            task.bind(loop.var, index)
        task.block(body)

    if loops[0].back != 0:

        def either(i: V, carried: Sequence[V]) -> Sequence[V]:
            bound(places(task.turned(loops[0].back, i, begin, end)))
            return carried

        task.loop(begin, end, 1, [], either)
        return

    def after(indices: Sequence[V], of: Sequence[V]) -> list[V]:
        """The indices that follow, of loops with these extents."""
        following: list[V] = []
        more = b.number(1, "i64")
        for index, extent in list(zip(indices, of, strict=True))[:0:-1]:
            up = b.add(index, more)
            full = b.simple("icmp eq", up, extent, ty="i1")
            following.insert(0, b.select(full, b.number(0, "i64"), up))
            more = b.pure("zext i1 {0} to i64", (full,), "i64")
        return [b.add(indices[0], more), *following]

    def run(i: V, carried: Sequence[V]) -> Sequence[V]:
        bound(list(carried) if carried else [i])
        return after(carried, extents) if carried else []

    long = extents[-1].number is None or int(extents[-1].number) > 2
    if len(loops) == 1 or not long or not isinstance(cost, int) or cost > LIGHT:
        task.loop(begin, end, 1, places(begin) if len(loops) > 1 else [], run)
        return

    *outer, start = places(begin)
    extent = extents[-1]
    # from the first iteration of the first run on
    count = b.add(start, b.sub(end, begin))
    least = b.intrinsic("smax", extent, b.number(1, "i64")) if extent.number is None else extent
    runs = task.udiv("floordiv", b.add(count, b.sub(least, b.number(1, "i64"))), least)

    def stretch(i: V, carried: Sequence[V]) -> Sequence[V]:
        first, *indices = carried
        stop = b.intrinsic("smin", extent, b.sub(count, b.mul(i, extent)))

        def one(j: V, none: Sequence[V]) -> Sequence[V]:
            bound([*indices, j])
            return none

        task.loop(first, stop, 1, [], lambda j, none: task.scoped(one, j, none))
        return [b.number(0, "i64"), *after(indices, extents[:-1])]

    task.loop(b.number(0, "i64"), runs, 1, [start, *outer], stretch)


def _fixed_grain(cost: int, vector: bool) -> tuple[int, int]:
    """Iterations of a unit, and units of an iteration; one of them is 1."""
    grain, parts = max(1, GRAIN // cost), max(1, cost // GRAIN)
    return (-(-grain // _BLOCK) * _BLOCK, 1) if vector else (grain, parts)


def _pays(total: int, grain: int, parts: int) -> bool:
    """Whether a loop of so many iterations is worth a thread."""
    return total > 1 and -(-total // grain) * parts >= FEWEST


def _grain(e: Emitter, cost: Dim, vector: bool) -> tuple[V, V]:
    """Iterations of a unit and units of an iteration, at run time."""
    b = e.b
    if isinstance(cost, int):
        grain, parts = _fixed_grain(cost, vector)
        return b.number(grain, "i64"), b.number(parts, "i64")
    one = b.number(1, "i64")
    most, aim = b.intrinsic("smax", e.dim(cost), one), b.number(GRAIN, "i64")
    grain = b.intrinsic("smax", e.udiv("floordiv", aim, most), one)
    if not vector:
        return grain, b.intrinsic("smax", e.udiv("floordiv", most, aim), one)
    up = b.add(grain, b.number(_BLOCK - 1, "i64"))
    return b.simple("and", up, b.number(-_BLOCK, "i64")), one


def _units(e: Emitter, total: V, grain: V, parts: V) -> V:
    """How many units there are; none where an extent is negative."""
    b = e.b
    if total.number is not None and grain.number is not None and parts.number is not None:
        return b.number(-(-int(total.number) // int(grain.number)) * int(parts.number), "i64")
    if total.number is None:
        total = b.intrinsic("smax", total, b.number(0, "i64"))
    if grain.number != 1:
        total = e.udiv("floordiv", b.add(total, b.add(grain, b.number(-1, "i64"))), grain)
    return total if parts.number == 1 else b.mul(total, parts)
