"""Contractions with lanes along k as loops: blocks, pieces of k, calls of the dot tile, and the epilogue."""

from __future__ import annotations

from .affine import flat_strides
from .dot_schedule import DotSchedule, covering
from .extents import ceil_div, decompose, known, rest_of, times
from .kernel_ir import Buffer, Contract, Dot, For, Let, Load, LoopDim, Stmt, Var, as_index

__all__ = ["expand_dot"]


def expand_dot(c: Contract, s: DotSchedule, scratch: list[Buffer]) -> list[Stmt]:
    """The statements of a contraction whose operands are plain loads, of unit stride in k, at least within a piece of it.

    For each block of mc rows and nc columns: the sums are formed in scratch memory over pieces of k in order, then the epilogue
    runs over them.
    """
    assert isinstance(c.a, Load) and isinstance(c.b, Load)
    m, n, k = times([d.extent for d in c.m]), c.n.extent, times([d.extent for d in c.k])
    a_row, b_row = flat_strides(c.a, c.m), flat_strides(c.b, [c.n])
    assert isinstance(a_row, int) and isinstance(b_row, int)
    assert flat_strides(c.a, c.k) in (0, 1)
    sums = Buffer(f"c{len(scratch)}", c.acc.dtype, (s.mc, s.nc), align=64)
    scratch.append(sums)
    mi, ni, m0, n0, mcur, ncur = map(Var, ("mi", "ni", "m0", "n0", "mcur", "ncur"))
    o, k0, kcur = map(Var, ("ko", "k0", "kcur"))
    tile = Dot(
        covering(s.rows, s.mc, known(m)),
        covering(s.columns, s.nc, known(n)),
        s.parts,
        s.lanes,
        c.a,
        a_row,
        c.b,
        b_row,
        sums[0, 0],
        as_index(s.nc),
        mcur,
        ncur,
        kcur,
        o.ne(0),
    )
    place = [*decompose(m0, c.m), Let(c.n.var, n0), *decompose(k0, c.k)]
    i, j = Var("i"), Var("j")
    last = For(j, ncur, (Let(c.n.var, n0 + j), Let(c.acc, sums[i, j]), *c.epilogue), "vector")
    body: list[Stmt] = [
        Let(m0, mi * s.mc),
        Let(n0, ni * s.nc),
        Let(mcur, rest_of(m, m0, s.mc)),
        Let(ncur, rest_of(n, n0, s.nc)),
        For(o, ceil_div(k, s.kc), (Let(k0, o * s.kc), Let(kcur, rest_of(k, k0, s.kc)), *place, tile)),
        For(i, mcur, (*decompose(m0 + i, c.m), last)),
    ]
    for dim in reversed([*c.batch, LoopDim(mi, ceil_div(m, s.mc)), LoopDim(ni, ceil_div(n, s.nc))]):
        body = [For(dim.var, dim.extent, tuple(body), "parallel" if c.parallel else "serial")]
    return body
