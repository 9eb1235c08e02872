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
    rows, vectors = {32: (14, 2), 16: (6, 2)}.get(target.registers, (4, 2))
    if target.registers == 32 and target.vector_bytes == 16:
        rows = 8
    if n is not None:  # narrow results take fewer vectors, then fewer lanes
        if n <= lanes:
            vectors = 1
        while lanes > 4 and n <= lanes // 2:
            lanes //= 2
        one, two = -(-n // lanes) * lanes, -(-n // (2 * lanes)) * 2 * lanes
        if vectors == 2 and one * 8 <= two * 7:
            vectors = 1
    if m is not None:
        rows = max(1, min(rows, m))
    blocks = max(1, (112 if packs_a else 126) // rows)
    mc = rows * blocks
    if m is not None:
        mc = min(mc, max(m, 1))
    kc = 384 if packs_a else 512 if in_place else 256
    if k is not None and k <= 2 * kc and not packs_a:
        kc = max(k, 1) if in_place or k <= 320 else -(-k // 2)
    panels = 1
    if packs_a:  # what is packed serves many columns
        panels = 4 if n is None else min(32, max(1, -(-n // (vectors * lanes))))
    return ContractSchedule(rows, vectors, lanes, mc, panels, kc)


def tile_shape(target: Target, block: int, blocks: int) -> tuple[int, int, int]:
    """Rows, blocks in a panel and lanes of a convolution's register tile, for `blocks` blocks of output channels."""
    lanes = min(target.lanes(4), block)
    each = block // lanes
    panel = 2 if blocks % 2 == 0 and 2 * each <= target.registers // 12 else 1
    vectors = panel * each
    return max(1, min(28, (target.registers - vectors - 1) // vectors)), panel, lanes


def tile_heights(rows: int, m: int | None, mc: int) -> tuple[int, ...]:
    """The heights that m rows in blocks of mc need: two neighbours where m is known and small, else tails."""
    if m is not None and m <= mc:
        tiles = -(-m // rows) if m else 1
        rows = max(1, -(-m // tiles))
        return (rows,) if m % rows == 0 else (rows, rows - 1)
    sizes = range(mc) if m is None else (mc, m % mc)
    rests = {size % rows for size in sizes}
    return (rows, *(t for t in (16, 8, 4, 2, 1) if t < rows and any(r % (2 * t) >= t for r in rests)))
