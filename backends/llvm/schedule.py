"""Schedules of contractions: tile and block sizes, apart from what is computed. They change no result beyond the order of a sum over k."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.types import DType
from .target import Target

__all__ = ["ContractSchedule", "choose_schedule", "tile_heights", "tile_shape"]


@dataclass(frozen=True, slots=True)
class ContractSchedule:
    """How a contraction is tiled.

    Args:
        rows, vectors, lanes: the register tile: rows x (vectors * lanes) accumulators
        mc:     rows of a block; its sums wait in scratch memory
        panels: panels of columns in a block
        kc:     length of a piece of k
    """

    rows: int
    vectors: int
    lanes: int
    mc: int
    panels: int
    kc: int

    @property
    def columns(self) -> int:
        """Columns of a panel."""
        return self.vectors * self.lanes

    def __str__(self) -> str:
        return f"{self.rows}x{self.vectors}x{self.lanes} mc={self.mc} panels={self.panels} kc={self.kc}"


def choose_schedule(
    target: Target,
    dtype: DType,
    m: int | None,
    n: int | None,
    k: int | None,
    *,
    packs_a: bool = False,
    in_place: bool = False,
) -> ContractSchedule:
    """The schedule from the target's cost table.

    Args:
        m, n, k:  extents, None where symbolic
        packs_a:  whether rows of A are gathered into scratch memory
        in_place: whether both operands are read where they lie, or packed before
    """
    lanes = target.lanes(dtype.bytes)
    heights = _heights(target)
    vectors = max(heights)
    if n is not None:  # narrow results take fewer vectors, then fewer lanes
        while lanes > 4 and n <= lanes // 2:
            lanes //= 2
        for fewer in range(vectors - 1, 0, -1):
            width, other = (-(-n // (v * lanes)) * v * lanes for v in (vectors, fewer))
            if n <= lanes * fewer or (width - other) * (8 if fewer == 1 else 20) >= width:
                vectors = fewer
    rows = heights[vectors]
    if m is not None:
        rows = max(1, min(rows, m))
    kc = 512
    if k is not None:  # whole where it can be: what follows the sums then happens in registers
        whole = 2 * kc if in_place else kc if packs_a else 7 * kc // 4
        kc = max(k, 1) if k <= whole else -(-_part(k, kc) // 16) * 16
    width = vectors * lanes
    high = _HIGH
    if not in_place and not packs_a and k is not None and k <= _HIGH:
        high *= 2  # panels are packed for each block, and there is little to do with them
    mc, panels = _blocks(rows, high, m, None if n is None else max(1, -(-n // width)), packs_a, in_place)
    return ContractSchedule(rows, vectors, lanes, mc, panels, kc)


def _heights(target: Target) -> dict[int, int]:
    """Rows of a tile by its vectors: as many accumulators as leave registers for an operand each."""
    if target.registers == 32:
        rows = 8 if target.vector_bytes == 16 else 14
        return {1: rows, 2: rows}
    if target.registers == 16 and target.fma:
        return {1: 12, 2: 6, 3: 4}
    rows = 6 if target.registers == 16 else 4
    return {1: rows, 2: rows}


_HIGH = 128
"""Rows of a block at most: as many as the second cache holds beside the panels that meet them."""
_UNITS = 32
"""Blocks that a contraction is cut into where it can be, so that threads get as much as each other."""


def _blocks(
    rows: int, high: int, m: int | None, panels: int | None, packs_a: bool, in_place: bool
) -> tuple[int, int]:
    """Rows of a block, and panels in it: about equal blocks, an even number of them where there are several.

    Args:
        high:   rows of a block at most
        panels: of the whole product
    """
    if m is None or panels is None:
        wide = 1 if not packs_a else 4 if panels is None else min(32, panels)
        return (high // rows * rows if m is None else _part(max(m, 1), high)), wide
    m = max(m, 1)
    blocks = -(-m // high)
    # rows of A that are packed serve many columns; else a few panels, so that the result is written in long stretches
    wide, least, units = (64, 8, _UNITS // 4) if packs_a else (4, 1, _UNITS)
    wide = min(wide, panels)
    while wide > least and blocks * -(-panels // wide) < units:
        wide = -(-wide // 2)
    wide = _part(panels, wide)
    if in_place and wide == 1 and blocks * panels < units and m >= high // 2 + rows:
        blocks = -(-m // (high // 2))
    if blocks > 1 and blocks * -(-panels // wide) % 2:
        blocks += 1
    each = -(-m // blocks)
    # a low tile suffers most from rows that are left over
    return (each if rows > 6 or each < 4 * rows else -(-each // rows) * rows), wide


def _part(total: int, most: int) -> int:
    """The size of equal parts, none larger than `most`."""
    return -(-total // -(-total // most))


def tile_shape(target: Target, block: int, blocks: int, width: int | None = None) -> tuple[int, int, int]:
    """Rows, blocks in a panel and lanes of a convolution's register tile, for `blocks` blocks of output channels.

    Rows of a result of known `width` may be too short to fill the tile: then a panel of more blocks does.
    """
    lanes = min(target.lanes(4), block)
    each = block // lanes
    panel = 2 if blocks % 2 == 0 and 2 * each <= target.registers // 12 else 1
    if panel == 1 and blocks % 3 == 0 and 3 * each <= target.registers // 10:
        panel = 3
    for wider in (4, 3):
        vectors = wider * each
        if width is not None and blocks % wider == 0 and (width + 1) * vectors < target.registers:
            panel = wider
            break
    vectors = panel * each
    return max(1, min(28, (target.registers - vectors - 1) // vectors)), panel, lanes


LOW = 8
"""Rows up to which, of an open number that is often small, each number is one tile."""


def tile_heights(rows: int, m: int | None, mc: int, often_low: bool = False) -> tuple[int, ...]:
    """The heights that m rows in blocks of mc need: two neighbours where m is known, else `rows` and tails.

    Args:
        often_low: whether an open m is often small, as rows of a feature map are: each tile reads all of B, and so a few rows are
                   one tile (7 x 7 with 160 channels: 431 to 300 us)
    """
    if m is None and often_low:
        return (rows, *range(min(LOW, rows - 1), 0, -1))
    if m is not None:
        sizes = {min(m, mc), m % mc if m > mc else 0} - {0} or {rows}
        top = min(rows, *sizes)
        if 2 * top >= min(rows, max(sizes)):
            for high in range(top, top // 2, -1):
                for one in (high, high - 1):
                    if one and all(size % one == 0 for size in sizes):
                        return (one,)
                if high > 2 and all(size % (high - 1) * high <= size for size in sizes):
                    return (high, high - 1)
    rests = {size % rows for size in (range(mc) if m is None else (mc, m % mc))}
    return (rows, *(t for t in (16, 8, 4, 2, 1) if t < rows and any(r % (2 * t) >= t for r in rests)))
