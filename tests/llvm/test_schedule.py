"""Blocks and heights of tiles: every row once, about equal blocks, and enough of them for threads."""

from __future__ import annotations

import pytest

from nervure.backends.llvm.schedule import choose_schedule, tile_heights
from nervure.backends.llvm.target import host_target, make_target
from nervure.ir.types import f32

WAYS = {"in place": (False, True), "packs b": (False, False), "packs a": (True, False)}


def rows_done(m: int, heights: tuple[int, ...]) -> int:
    """How many rows tiles of these heights do: two neighbours in a mixture, else as many of each as fit."""
    if len(heights) == 2 and heights[1] == heights[0] - 1 and heights[0] > 2:
        tall, low = heights
        done = 0
        while (m - done) % low and m - done > 0:
            done += tall
        return done + max(0, m - done) // low * low
    done = 0
    for height in heights:
        done += (m - done) // height * height
    return done


@pytest.mark.parametrize("way", WAYS)
def test_tiles_of_a_block_cover_its_rows_exactly(way: str) -> None:
    packs_a, in_place = WAYS[way]
    for m in range(1, 700):
        s = choose_schedule(host_target(), f32, m, 70, 100, packs_a=packs_a, in_place=in_place)
        heights = tile_heights(s.rows, m, s.mc)
        for size in {min(m, s.mc), m % s.mc} - {0}:
            assert rows_done(size, heights) == size, (m, s.mc, heights)


@pytest.mark.parametrize("rows", [1, 2, 3, 6, 8, 14, 28])
def test_tiles_of_any_block_cover_its_rows_exactly(rows: int) -> None:
    for m in (1, 2, 3, 5, 13, 28, 56, 100, 127, 500):
        for mc in (1, 2, 7, 14, 60, 126):
            heights = tile_heights(rows, m, mc)
            assert max(heights) <= rows
            for size in {min(m, mc), m % mc} - {0}:
                assert rows_done(size, heights) == size, (m, mc, heights)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shape", [(256, 256, 256), (1024, 1024, 1024), (2048, 2048, 2048), (256, 512, 784), (512, 784, 128)]
)
def test_threads_get_equal_shares(shape: tuple[int, int, int], way: str) -> None:
    """Blocks are an even number, and of rows that differ by less than a tile."""
    packs_a, in_place = WAYS[way]
    m, n, k = shape
    s = choose_schedule(make_target(cpu="znver4"), f32, m, n, k, packs_a=packs_a, in_place=in_place)
    blocks = -(-m // s.mc)
    panels = -(-n // s.columns)
    units = blocks * -(-panels // s.panels)
    assert units % 2 == 0
    assert blocks * s.mc - m < s.rows
    assert units >= (16 if in_place else 2)
