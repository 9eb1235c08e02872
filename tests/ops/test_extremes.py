"""The reference at the ends of its types, where numpy's own operations warn, overflow or differ."""

from __future__ import annotations

import numpy as np
import pytest

from nervure.ir.ops.elementwise import Div, Rem, Sigmoid

INTEGERS = (np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint8)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integer_division_is_total_and_truncates(kind: type[np.integer]):
    info = np.iinfo(kind)
    numbers = [0, 1, 2, 3, 7, info.max - 1, info.max, info.min, info.min + 1]
    numbers += [-1, -2, -3, -7] if info.min else []
    x, y = (
        np.array(side, dtype=kind) for side in zip(*((a, b) for a in numbers for b in numbers), strict=True)
    )
    quotients = Div().evaluate(x, y)
    remainders = Rem().evaluate(x, y)
    assert quotients.dtype == remainders.dtype == x.dtype
    for a, b, q, r in zip(x.tolist(), y.tolist(), quotients.tolist(), remainders.tolist(), strict=True):
        want = 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        wrapped = info.min if want > info.max else want
        assert (q, r) == (wrapped, a - want * b), (a, b)


def test_sigmoid_of_the_infinities_is_its_limits_and_nan_passes():
    x = np.array([np.inf, -np.inf, np.nan, 0.0], dtype=np.float32)
    np.testing.assert_array_equal(Sigmoid().evaluate(x), np.array([1, 0, np.nan, 0.5], dtype=np.float32))
