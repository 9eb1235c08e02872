"""The reference's sums of products: rounded once, whatever the place of a row and the machine's BLAS."""

from __future__ import annotations

import numpy as np
import pytest

from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import Op
from nervure.ir.ops.contract import DotGeneral
from nervure.ir.ops.nn import Linear
from nervure.ir.ops.window import Conv
from nervure.ir.types import Array, TensorType, dtype_of


def evaluated(op: Op, *arrays: Array) -> Array:
    operands = [Value(TensorType(dtype_of(a), a.shape)) for a in arrays]
    return evaluate_graph(Graph("g", operands, make(op, *operands)), arrays)[0][0]


PRODUCTS = {
    "dot_general": lambda x, w: evaluated(DotGeneral((1,), (1,)), w, x),
    "linear": lambda x, w: evaluated(Linear(), x, w).T,
    "conv": lambda x, w: evaluated(Conv((1,), ((0, 0),), (1,), (1,)), x.T[None].copy(), w[:, :, None])[0],
}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_equal_rows_of_weights_give_equal_results_that_are_rounded_once(product) -> None:
    """As a softmax over large logits of equal weights needs them, the light squeezenet of the onnx wheel's."""
    rng = np.random.default_rng(0)
    x = rng.random((169, 512), np.float32)
    w = np.broadcast_to(rng.random(512, np.float32), (100, 512)).copy()
    found = product(x, w)
    assert (found == found[:1]).all()
    right = x.astype(np.float64) @ w[0].astype(np.float64)
    assert (np.abs(found[0] - right) <= 0.5000001 * np.spacing(found[0])).all()
