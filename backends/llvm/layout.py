"""How feature maps lie in memory: in blocks of channels, with a rim of zeros. No part of a type; see docs/design/layout.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.dims import Dim

__all__ = ["Halo", "Layout", "block_of", "wider"]

Halo = tuple[tuple[int, int], ...]
"""(low, high) elements of rim on each spatial axis."""


@dataclass(frozen=True, slots=True)
class Layout:
    """[N, C, spatial...] lies as [N, ceil(C / block), low + spatial + high..., block].

    The rim and the lanes beyond C hold zeros.

    Args:
        channels: C
        block:    channels side by side; 1 is a padded NCHW
        halo:     (low, high) elements of rim on each spatial axis
    """

    channels: int
    block: int
    halo: Halo

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block)

    @property
    def ragged(self) -> bool:
        """Whether the last block has lanes beyond C."""
        return self.channels % self.block != 0

    def shape(self, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        """The memory's axes for a value of that shape."""
        around = (size + low + high for size, (low, high) in zip(shape[2:], self.halo, strict=True))
        return (shape[0], self.blocks, *around, self.block)

    def serves(self, block: int, halo: Sequence[tuple[int, int]]) -> bool:
        """Whether a reader that wants such blocks and such a rim can read this."""
        wide = all(a >= c and b >= d for (a, b), (c, d) in zip(self.halo, halo, strict=True))
        return self.block == block and wide

    def __str__(self) -> str:
        rim = " ".join(f"{low}+{high}" for low, high in self.halo)
        return f"blocks of {self.block} of {self.channels} channels, rim {rim}"


def wider(first: Halo, second: Halo) -> Halo:
    """A rim that serves whoever wants either."""
    return tuple((max(a, c), max(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))


def block_of(channels: int) -> int:
    """Channels of a block: 16, or 8 where so few are all."""
    return 8 if channels <= 8 else 16
