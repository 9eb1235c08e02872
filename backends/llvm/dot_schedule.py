"""When a contraction runs with its lanes along k, and in which tiles: the schedule of the dot tile.

A tile with lanes over columns wastes those beyond the last column, and needs B with its columns side by side. A dot tile wastes
none and reads B as its rows lie, but has to fold a register into one sum for each result. So it wins where columns are
few, or B would have to be turned for few rows, and k is long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.types import DType
from .schedule import choose_schedule
from .target import Target

__all__ = ["DotSchedule", "choose_dot", "covering", "dot_variants"]

_FOLD = 4
"""What folding and storing a result costs, in products of two registers."""
_START = 40
"""What beginning costs, in the same."""
_TURN = 6
"""What turning a register of B costs, in the same."""
_AFAR = 2
"""What a register of B costs that a block of rows fetches from the second cache, in the same."""
_GAIN = 1.2
"""How many times quicker it has to be by its costs."""
_PIECE = 40 << 10
"""Bytes of B that stay in the first cache."""
_FEW = 32
"""Columns up to which weights are packed for it: beyond, the other tile reads its panels as quickly as they come."""
_PANEL = 0.05
"""How much slower each further panel of columns makes a tile: rows of A are read again."""
_ENOUGH = 1.14
"""How much slower than the best height a lower one may be: fewer rows are left over."""


@dataclass(frozen=True, slots=True)
class DotSchedule:
    """How a contraction with lanes along k is tiled.

    Args:
        rows, columns: of the register tile; each pair has `parts` accumulators
        parts:         how many registers of k go side by side
        lanes:         of an accumulator
        mc, nc:        rows and columns of a block; its sums wait in scratch memory
        kc:            length of a piece of k
    """

    rows: int
    columns: int
    parts: int
    lanes: int
    mc: int
    nc: int
    kc: int

    def __str__(self) -> str:
        return (
            f"dot {self.rows}x{self.columns}x{self.parts}x{self.lanes} mc={self.mc} nc={self.nc} kc={self.kc}"
        )


def choose_dot(
    target: Target, dtype: DType, m: int | None, n: int | None, k: int | None, *, turned: bool = False
) -> DotSchedule | None:
    """The schedule where it is quicker than lanes over columns.

    The schedule of a single column is that of a single row, whose results lie side by side: the operands swap.

    Args:
        m, n, k: extents, None where symbolic
        turned:  whether B would be turned for the other tile at each run, instead of packed once
    """
    lanes = target.lanes(dtype.bytes)
    if not k or m == 0 or n == 0 or (m is None and n is None) or lanes < 2:
        return None
    if not turned and (n is None or n > _FEW):
        return None
    schedule = _schedule(target, dtype, 1, m, k) if n == 1 else _schedule(target, dtype, m, n, k)
    many, wide = 64 if m is None else m, 64 if n is None else n
    registers = -(-k // lanes)
    loads = 2 if schedule.columns == 1 else _loads(schedule.rows, schedule.columns)
    dot = many * wide * (registers * max(1.0, loads) + _FOLD) + _START
    if wide * k * dtype.bytes > _PIECE and n != 1 and m != 1:
        dot += -(-many // schedule.mc) * wide * registers * _AFAR
    other = choose_schedule(target, dtype, m, n, k, in_place=True)
    rows = min(other.rows, many)
    slots = max(other.vectors, (rows + other.vectors) / rows)
    across = many * -(-wide // other.columns) * k * slots
    if turned:
        across += _TURN * -(-wide // lanes) * k
    return schedule if dot * _GAIN < across else None


def _loads(rows: int, columns: int) -> float:
    """Loads for one product of two registers; a row of A straddles lines of the cache, which counts twice."""
    return (2 * rows + columns) / (rows * columns)


def _schedule(target: Target, dtype: DType, m: int | None, n: int | None, k: int) -> DotSchedule:
    lanes, size = target.lanes(dtype.bytes), dtype.bytes
    if m == 1 and k >= 16 * lanes and (n is None or n * k * size > _PIECE):
        rows, columns, parts = 1, 1, 8  # B comes from afar, one row at a time
    else:
        rows, columns, parts = _tile(target.registers, lanes, m, n)
    mc = rows * max(1, 32 // rows)
    nc = columns * max(1, 64 // columns)
    if m is not None:
        mc = min(mc, -(-m // rows) * rows)
    if n is not None:
        nc = min(nc, -(-n // columns) * columns)
    pieces = 1 if m is not None and m <= rows else -(-min(nc, n or nc) * k * size // _PIECE)
    unit = lanes * parts
    kc = k if pieces == 1 else -(-k // (pieces * unit)) * unit
    return DotSchedule(rows, columns, parts, lanes, mc, nc, kc)


def _tile(registers: int, lanes: int, m: int | None, n: int | None) -> tuple[int, int, int]:
    """Rows, columns and parts: as few loads a product as the machine takes beside it, in few panels."""
    found: list[tuple[float, tuple[int, int, int]]] = []
    for widest in range(1, min(lanes, 8 if n is None else n) + 1):
        panels = 1 if n is None else -(-n // widest)
        columns = widest if n is None else -(-n // panels)
        fitting: list[tuple[float, tuple[int, int, int]]] = []
        for most in range(1, (m or 64) + 1):
            rows = most if m is None else -(-m // -(-m // most))
            parts = 1  # enough sums side by side that an addition's latency is hidden
            least, limit = (columns, 2) if m is None else (rows * columns, 8)
            while least * parts < 8 and parts < limit:
                parts *= 2
            if rows * columns * parts + rows + 1 > registers:
                break
            cost = max(1.0, _loads(rows, columns)) * (1 + _PANEL * (panels - 1))
            fitting.append((cost, (rows, columns, parts)))
        if fitting:
            least = min(cost for cost, _ in fitting) * _ENOUGH
            found.append(next(f for f in fitting if f[0] <= least))
    return min(found)[1]


def dot_variants(s: DotSchedule, target: Target) -> tuple[DotSchedule, ...]:
    """Schedules worth measuring beside this one, which comes first."""
    unit = s.lanes * s.parts
    tried = [s]
    for rows in (s.rows * 2, s.rows + 1, s.rows - 1):
        if 1 <= rows <= s.mc and rows * s.columns * s.parts + rows + 1 <= target.registers:
            tried.append(replace(s, rows=rows, mc=-(-s.mc // rows) * rows))
    tried.append(replace(s, kc=-(-s.kc // (2 * unit)) * unit))
    if s.rows < s.mc:
        tried.append(replace(s, mc=-(-s.mc // (2 * s.rows)) * s.rows))
    return tuple(dict.fromkeys(tried))


def covering(size: int, block: int, total: int | None) -> tuple[int, ...]:
    """The sizes of tiles that a block needs: whole ones, then its rests."""
    if total is None:
        return (size, *(t for t in (16, 8, 4, 2, 1) if t < size))
    rests = {min(block, total) % size, total % block % size} - {0}
    return (*((size,) if total >= size else ()), *sorted(rests, reverse=True))
