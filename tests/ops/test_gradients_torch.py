"""Derivatives of windows, batch norm and cross-entropy against PyTorch, in f64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.graph import Graph, Value, make, make_one
from nervure.ir.interpret import evaluate_graph
from nervure.ir.ops.nn import AvgPool, BatchNormTrain, CrossEntropy
from nervure.ir.types import Array, TensorType, f64, i64
from nervure.passes.autodiff import gradients

pytestmark = pytest.mark.torch


def agree(
    ours: Callable[..., Value], theirs: Callable[..., Any], arrays: Sequence[Array], rtol: float = 1e-9
) -> None:
    """Values, and derivatives by every f64 operand, weighted at random."""
    import torch

    inputs = [Value(TensorType(f64 if a.dtype == np.float64 else i64, a.shape)) for a in arrays]
    floats = [k for k, a in enumerate(arrays) if a.dtype == np.float64]
    y = ours(*inputs)
    seed = Value(y.type)
    grads = gradients([y], [inputs[k] for k in floats], [seed])
    assert all(g is not None for g in grads)
    graph = Graph("f", [*inputs, seed], [y, *(g for g in grads if g is not None)])
    weight = np.random.default_rng(5).normal(size=y.type.static_shape())
    found, _ = evaluate_graph(graph, [*arrays, weight])

    tensors = [torch.tensor(a, requires_grad=k in floats) for k, a in enumerate(arrays)]
    wanted = theirs(*tensors)
    wanted.backward(torch.tensor(weight))
    expected = [wanted.detach().numpy(), *(tensors[k].grad.numpy() for k in floats)]
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * max(1.0, float(np.abs(want).max())))


PADS = ((0, 0, 0, 0), (1, 2, 0, 3), (3, 1, 2, 2), (-1, 1, 0, -1))
"""Left, right, top, bottom."""


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("pads", PADS)
def test_conv_agrees_over_windows_and_sizes(stride: int, dilation: int, groups: int, pads: tuple[int, ...]):
    import torch.nn.functional as F

    left, right, top, bottom = pads
    rng = np.random.default_rng(0)

    def ours(x: Value, w: Value) -> Value:
        return b.conv(x, w, (stride, 2), ((top, bottom), (left, right)), None, (dilation, 1), groups)

    def theirs(x: Any, w: Any) -> Any:
        padded = F.pad(x, pads)
        return F.conv2d(padded, w, stride=(stride, 2), dilation=(dilation, 1), groups=groups)

    for window, size in product((1, 2, 3), (6, 7)):
        agree(ours, theirs, [rng.normal(size=(2, 4, size, 7)), rng.normal(size=(4, 4 // groups, window, 2))])


@pytest.mark.parametrize("spread", [2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_conv_agrees(spread: int, groups: int):
    import torch.nn.functional as F

    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 4, 5)), rng.normal(size=(4, 3, 3))

    def ours(x: Value, w: Value) -> Value:
        split = b.reshape(b.reverse(w, (2,)), (groups, 4 // groups, 3, 3))
        filters = b.reshape(b.permute(split, (0, 2, 1, 3)), (groups * 3, 4 // groups, 3))
        return b.conv(x, filters, (1,), ((2, 2),), (spread,), (1,), groups)

    def theirs(x: Any, w: Any) -> Any:
        return F.conv_transpose1d(x, w, stride=spread, groups=groups)

    agree(ours, theirs, [x, w])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_max_pool_agrees(stride: int, dilation: int, padding: int):
    import torch.nn.functional as F

    x = np.random.default_rng(2).normal(size=(2, 3, 9, 8))

    def ours(x: Value) -> Value:
        return b.max_pool(x, (3, 2), (stride, 1), ((padding,) * 2,) * 2, (dilation, 1))[0]

    agree(ours, lambda x: F.max_pool2d(x, (3, 2), (stride, 1), padding, (dilation, 1)), [x])


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_avg_pool_agrees(stride: int, padding: int, counted: bool):
    import torch.nn.functional as F

    x = np.random.default_rng(3).normal(size=(2, 3, 9, 8))
    op = AvgPool((3, 2), (stride, 2), ((padding, padding),) * 2, counted)
    agree(
        lambda x: make_one(op, x),
        lambda x: F.avg_pool2d(x, (3, 2), (stride, 2), padding, False, counted),
        [x],
    )


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_batch_norm_in_training_agrees(shape: tuple[int, ...]):
    import torch.nn.functional as F

    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=shape), rng.normal(size=3), rng.normal(size=3)]

    def ours(*operands: Value) -> Value:
        return make(BatchNormTrain(1e-3), *operands)[0]

    agree(ours, lambda x, w, c: F.batch_norm(x, None, None, w, c, True, 0.1, 1e-3), arrays)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_agrees(reduction: str):
    import torch.nn.functional as F

    rng = np.random.default_rng(6)
    arrays = [4 * rng.normal(size=(7, 5)), rng.integers(0, 5, size=7)]
    agree(
        lambda x, k: make_one(CrossEntropy(reduction), x, k),
        lambda x, k: F.cross_entropy(x, k, reduction=reduction),
        arrays,
    )
