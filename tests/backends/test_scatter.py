"""Joins and boxes at computed positions on the compiled backends: order, NaN, starts beyond every end."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn

X = np.array([np.nan, 1, 2, 3, 4, 5], np.float32)
UPDATES = np.array([5, np.nan, 6, 7, np.nan, 9, np.inf, 0.5], np.float32)
INDEX = np.array([0, 1, 2, 3, 4, 4, 5, 5])


@pytest.mark.parametrize(
    ("reduce", "join"), [("amax", np.maximum), ("amin", np.minimum), ("prod", np.multiply), ("sum", np.add)]
)
def test_llvm_joins_in_order_and_keeps_nan(reduce: str, join: np.ufunc) -> None:
    run = nv.compile(lambda x, i, u: nn.scatter_reduce(x, 0, i, u, reduce), "f32[6]", "i64[8]", "f32[8]")
    want = X.copy()
    for at, update in zip(INDEX, UPDATES, strict=True):
        want[at] = join(want[at], update)
    np.testing.assert_array_equal(run(X, INDEX, UPDATES), want)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
@pytest.mark.parametrize("opt", [0, 2])
def test_a_box_moves_over_a_symbolic_axis_and_fuses_with_what_reads_it(backend: str, opt: int) -> None:
    def step(cache: nn.Tensor, row: nn.Tensor, at: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        new = nn.dynamic_update_slice(cache, nn.relu(row), (at, 0))
        return new, nn.dynamic_slice(new * 2.0, (at - 1, 1), (2, 2))

    run = nv.compile(step, "f32[T:2..64,3]", "f32[1,3]", "i32[]", backend=backend, opt=opt)
    rng = np.random.default_rng(0)
    for size in (2, 7):
        cache, row = rng.normal(size=(size, 3)).astype(np.float32), rng.normal(size=(1, 3)).astype(np.float32)
        for at in (-(2**31), -1, 0, 1, size - 1, size, 2**31 - 1):
            new, box = run(cache, row, np.int32(at))
            want = cache.copy()
            want[min(max(at, 0), size - 1)] = np.maximum(row[0], 0)
            np.testing.assert_array_equal(new, want)
            before = np.int32(at) - np.int32(1) if at > -(2**31) else 2**31 - 1  # i32 wraps
            low = min(max(int(before), 0), size - 2)
            np.testing.assert_array_equal(box, want[low : low + 2, 1:3] * 2)
