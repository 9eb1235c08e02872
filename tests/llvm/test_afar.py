"""Products of few rows fetch weights ahead that come from beyond the second cache, and compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn


def network(wide: int) -> Any:
    nv.seed(0)
    return nn.Sequential(
        nn.Linear(96, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 10)
    )


def compiled(wide: int, rows: str | int) -> Any:
    return nv.compile(network(wide), f"f32[{rows},96]")


@pytest.mark.parametrize("rows, sizes", [(1, [1]), (2, [2]), (7, [7]), ("B:1..40", [1, 3, 5, 14, 19, 31])])
def test_results_are_those_of_the_reference(rows: str | int, sizes: list[int]) -> None:
    run = compiled(600, rows)
    assert " afar" in "".join(map(str, run.kernels))
    wanted = nv.compile(network(600), f"f32[{rows},96]", backend="reference")
    for size in sizes:
        x = np.random.default_rng(size).standard_normal((size, 96)).astype("f4")
        np.testing.assert_allclose(run(x), wanted(x), rtol=1e-4, atol=1e-5)


def test_weights_that_the_second_cache_holds_are_not_fetched() -> None:
    run = compiled(200, 1)
    assert " afar" not in "".join(map(str, run.kernels))


@pytest.mark.parametrize("rows, fetches", [(1, True), (7, True), (64, False)])
def test_tiles_of_few_rows_fetch(rows: int, fetches: bool) -> None:
    """Taller ones fetch further ahead in any case."""
    run = compiled(600, rows)
    functions = [part for part in run.text.split("\ndefine ") if "@nv_tile_" in part.split("(", 1)[0]]
    near = ["i64 2048" in part and "@llvm.prefetch" in part for part in functions]
    assert any(near) is fetches


def test_a_loop_keeps_its_weights() -> None:
    nv.seed(0)
    run = nv.compile(nn.LSTM(64, 256), "f32[5,1,64]")
    assert " afar" not in "".join(map(str, run.kernels))
