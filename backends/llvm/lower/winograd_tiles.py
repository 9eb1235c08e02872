"""Winograd's transforms between tiles and products of matrices, for windows of 3 x 3 and tiles of 4 x 4 results.

A tile of 6 x 6 places d becomes V = B' d B, the weights g become U = G g G', and the tile of 4 x 4 results is y = A' (U * V) A,
the products summed over input channels. With B, G, A as Lavin and Gray give them (Fast Algorithms for Convolutional Neural
Networks, arXiv 1509.09308, section 4.3). Read the other way round it is the derivative by the weights: dg = G' ((A dy A') * V) G,
the products summed over tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from ....ir.dims import MAX_DIM, Dim, ceildiv, symbol
from ....ir.graph import Value
from ....ir.types import f32
from .. import kernel_ir as k
from ..extents import decompose, known, times
from .memory import KernelScope, Memory
from .pull import Pull

__all__ = [
    "Grid",
    "Side",
    "Vector",
    "by_places",
    "by_results",
    "by_weights",
    "of_results",
    "of_weights",
    "on_both_axes",
]

Vector = Sequence[k.Expr]
Transform = Callable[[Vector], Vector]


def _axpy(a: float, x: k.Expr, y: k.Expr) -> k.Expr:
    return k.Fma(x, k.const(a, f32), y)


def by_places(d: Vector) -> Vector:
    """B' d."""
    p, q = _axpy(-4.0, d[2], d[4]), _axpy(-4.0, d[1], d[3])
    r, s = d[4] - d[2], d[3] - d[1]
    return (
        _axpy(4.0, d[0], _axpy(-5.0, d[2], d[4])),
        p + q,
        p - q,
        _axpy(2.0, s, r),
        _axpy(-2.0, s, r),
        _axpy(4.0, d[1], _axpy(-5.0, d[3], d[5])),
    )


def by_weights(g: Vector) -> Vector:
    """G g."""
    even, far = g[0] + g[2], _axpy(4.0, g[2], g[0])
    sixth, other = k.const(-1 / 6, f32), k.const(1 / 24, f32)
    return (
        g[0] * k.const(0.25, f32),
        (even + g[1]) * sixth,
        (even - g[1]) * sixth,
        _axpy(2.0, g[1], far) * other,
        _axpy(-2.0, g[1], far) * other,
        g[2],
    )


def of_results(m: Vector) -> Vector:
    """A' m."""
    p, q = m[1] + m[2], m[3] + m[4]
    r, s = m[1] - m[2], m[3] - m[4]
    return (m[0] + p + q, _axpy(2.0, s, r), _axpy(4.0, q, p), _axpy(8.0, s, r) + m[5])


def by_results(y: Vector) -> Vector:
    """A y."""
    even, odd = y[0] + y[2], y[1] + y[3]
    far, farther = _axpy(4.0, y[2], y[0]), _axpy(4.0, y[3], y[1])
    return (y[0], even + odd, even - odd, _axpy(2.0, farther, far), _axpy(-2.0, farther, far), y[3])


def of_weights(m: Vector) -> Vector:
    """G' m."""
    sixth, other, twelfth = k.const(-1 / 6, f32), k.const(1 / 24, f32), 1 / 12
    p, q = (m[1] + m[2]) * sixth, (m[3] + m[4]) * other
    return (
        _axpy(0.25, m[0], p + q),
        _axpy(twelfth, m[3] - m[4], (m[1] - m[2]) * sixth),
        _axpy(4.0, q, p) + m[5],
    )


def on_both_axes(rows: Sequence[Vector], step: Transform) -> list[Vector]:
    """The transform of a square."""
    columns = [step([row[j] for row in rows]) for j in range(len(rows[0]))]
    return [step([column[i] for column in columns]) for i in range(len(columns[0]))]


class Grid:
    """The tiles of all images, counted row by row; `tile` is bound to places by `place`.

    Args:
        shape: of the results, [N, channels, high, wide]
        far:   dilation of the windows: tiles are of every second (third...) place and lie within each other
    """

    def __init__(self, shape: Sequence[Dim], far: Sequence[int] = (1, 1)) -> None:
        self.far = far
        self.n, self.at = k.Var("n"), (k.Var("ty"), k.Var("tx"))
        high, wide = (ceildiv(size, 4 * d) * d for size, d in zip(shape[2:], far, strict=True))
        self.dims = [k.LoopDim(v, e) for v, e in zip((self.n, *self.at), (shape[0], high, wide), strict=True)]
        self.tiles = times([shape[0], high, wide])

    def place(self, tile: k.Expr) -> list[k.Stmt]:
        """Bindings of the image and of the tile's row and column."""
        return decompose(tile, self.dims)

    def corners(self, pull: Pull) -> list[k.Expr]:
        """The first place of the tile on each axis."""
        return [_corner(pull, tile, d) for tile, d in zip(self.at, self.far, strict=True)]


def _corner(pull: Pull, tile: k.Expr, dilation: int) -> k.Expr:
    if dilation == 1:
        return pull.affine(tile, 4, 0)
    return pull.memo(("corner", tile, dilation), lambda: tile // dilation * (4 * dilation) + tile % dilation)


@dataclass(frozen=True, slots=True)
class Side:
    """Places in blocks of channels, as one operand of the products.

    Args:
        image: [N, blocks, high, wide, lanes]
        rim:   places before the first tile's on each axis
        size:  places of a tile along an axis
        step:  the transform
    """

    image: k.Buffer
    rim: Sequence[int]
    size: int
    step: Transform

    @staticmethod
    def of(
        scope: KernelScope,
        value: Value,
        memory: Memory,
        halo: Sequence[tuple[int, int]],
        size: int,
        step: Transform,
    ) -> Side:
        """The side of a value in a memory with at least the rim that whole tiles need."""
        layout = memory.layout
        assert layout is not None
        rim = [have - want for (have, _), (want, _) in zip(layout.halo, halo, strict=True)]
        return Side(scope.view(memory, layout.shape(value.type.shape)), rim, size, step)

    @property
    def lanes(self) -> int:
        """Channels of a block."""
        lanes = self.image.shape[-1]
        assert isinstance(lanes, int)
        return lanes

    @property
    def blocks(self) -> int:
        """Blocks of channels."""
        blocks = self.image.shape[1]
        assert isinstance(blocks, int)
        return blocks

    def spread(
        self,
        pull: Pull,
        grid: Grid,
        target: k.Buffer,
        first: k.Expr,
        count: k.Expr,
        some: tuple[k.Index, k.Index],
    ) -> k.For:
        """Transform tiles into target [6, 6, tiles, channels]: `count` of them from the first, of some of the blocks, given by the
        first and how many. A block's places lie side by side, so it goes through alone."""
        start, extent = some
        tile, block, zero = k.Var("tile"), k.Var("cb"), k.as_index(0)
        y, x = (pull.affine(c, 1, rim) for c, rim in zip(grid.corners(pull), self.rim, strict=True))
        source = block if known(start) == 0 else start + block
        column = self.image.steps[3]
        assert isinstance(column, int)
        far_y, far_x = grid.far
        transform = k.Part(
            _spread(self.step, self.size, self.lanes, column * far_x),
            (self.image[grid.n, source, y, x, zero], target[zero, zero, tile, block * self.lanes]),
            (("row", k.as_index(self.image.steps[2] * far_y)), ("square", k.as_index(target.steps[1]))),
        )
        return k.For(block, extent, (k.For(tile, count, (*grid.place(first + tile), transform)),))


@cache
def _spread(step: Transform, size: int, lanes: int, column: int) -> k.Kernel:
    """The transform of the places of a tile, `row` apart in one direction and `column` in the other, into the 36 squares."""
    row, square = symbol("row", 0, MAX_DIM), symbol("square", 0, MAX_DIM)
    places = k.Buffer("places", f32, (size, size, lanes), (row, column, 1))
    squares = k.Buffer("squares", f32, (6, 6, lanes), (6 * square, square, 1))
    lane, numbers = k.Var("c"), [k.as_index(i) for i in range(6)]
    window = [[places.at(numbers[y], numbers[x], lane) for x in range(size)] for y in range(size)]
    stores = [
        squares.store((numbers[i], numbers[j], lane), e)
        for i, line in enumerate(on_both_axes(window, step))
        for j, e in enumerate(line)
    ]
    return k.Kernel("spread", (places, squares), (k.For(lane, lanes, tuple(stores), "vector"),))
