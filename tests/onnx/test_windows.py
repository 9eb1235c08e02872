"""Convolutions and window sums in every combination of attributes, on a symbolic batch."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import TypeInferenceError
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_graph
from nervure.ir.ops.window import Conv, WindowSum
from nervure.ir.program import Program
from nervure.ir.types import Array, TensorType, f32
from nervure.passes.manager import run_pipeline

B = symbol("B", 0, 64)


def agrees(graph: Graph, arrays: list[Array]) -> list[str]:
    """Hold a graph against the reference; the node types it was written in."""
    backend = find_backend("onnx")
    program = run_pipeline(Program("case", [graph]), backend.pipeline(0)).program
    executable: Any = backend.compile(program)
    (expected,), _ = evaluate_graph(graph, arrays)
    np.testing.assert_allclose(executable(*arrays), expected, rtol=1e-5, atol=1e-4)
    return [node.op_type for node in executable.model.graph.node]


def drawn(seed: int) -> Iterable[tuple[Graph, list[Array]]]:
    """Windows with strides, dilations, spread operands, groups, and padding of either sign."""
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    for _ in range(60):
        rank, groups = choose.choice((1, 1, 2, 2, 3)), choose.choice((1, 1, 2, 3))
        window = tuple(choose.randint(1, 4) for _ in range(rank))
        every = choose.choice((1, 3))
        strides = tuple(choose.randint(1, every) for _ in range(rank))
        spread = tuple(choose.choice((1, 1, 2, 3)) for _ in range(rank))
        apart = tuple(choose.choice((1, 1, 2, 3)) for _ in range(rank))
        padding = tuple((choose.randint(-2, 4), choose.randint(-2, 4)) for _ in range(rank))
        sizes = [choose.randint(3, 8) for _ in range(rank)]
        inside, out = choose.randint(1, 3), choose.randint(1, 3)
        x = Value(TensorType(f32, (B, groups * inside, *sizes)), name="x")
        image = rng.standard_normal((choose.choice((0, 1, 3)), groups * inside, *sizes)).astype(np.float32)
        filters = rng.standard_normal((groups * out, inside, *window)).astype(np.float32)
        w = Value(TensorType(f32, filters.shape), name="w")
        try:
            if choose.random() < 0.4:
                y = make_one(WindowSum(window, strides, padding, apart, spread), x)
                yield Graph("forward", [x], [y]), [image]
            else:
                y = make_one(Conv(strides, padding, spread, apart, groups), x, w)
                yield Graph("forward", [x, w], [y]), [image, filters]
        except TypeInferenceError:
            continue


@pytest.mark.parametrize("seed", range(4))
def test_windows_are_the_reference_s_whatever_their_attributes(seed: int):
    written = [agrees(graph, arrays) for graph, arrays in drawn(seed)]
    assert len(written) >= 40
    assert any("ConvTranspose" in nodes for nodes in written)
    assert any("Pad" in nodes for nodes in written)


def values(*shapes: tuple[Any, ...]) -> list[Value]:
    return [Value(TensorType(f32, shape), name=f"x{k}") for k, shape in enumerate(shapes)]


def numbers(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def test_the_gradient_of_a_strided_convolution_is_one_transposed_convolution():
    g, w = values((B, 4, 5, 5), (3, 4, 3, 3))
    y = make_one(Conv((1, 1), ((1, 2), (1, 2)), (2, 2), (1, 1)), g, w)
    nodes = agrees(Graph("forward", [g, w], [y]), numbers((2, 4, 5, 5), (3, 4, 3, 3)))
    assert nodes.count("ConvTranspose") == 1
    assert "Pad" not in nodes


def test_a_bias_that_follows_is_the_convolution_s_own():
    x, w, bias = values((B, 2, 5), (3, 2, 3), (3,))
    y = make_one(Conv((1,), ((1, 1),), (1,), (1,)), x, w)
    graph = Graph("forward", [x, w, bias], [b.add(b.broadcast_in_dim(bias, y.type.shape, (1,)), y)])
    nodes = agrees(graph, numbers((2, 2, 5), (3, 2, 3), (3,)))
    assert nodes == ["Conv", "Identity"]


def test_a_convolution_that_is_used_without_its_bias_too_stays_apart():
    x, w, bias = values((B, 2, 5), (3, 2, 3), (3,))
    y = make_one(Conv((1,), ((1, 1),), (1,), (1,)), x, w)
    shifted = b.add(y, b.broadcast_in_dim(bias, y.type.shape, (1,)))
    graph = Graph("forward", [x, w, bias], [b.mul(shifted, y)])
    nodes = agrees(graph, numbers((2, 2, 5), (3, 2, 3), (3,)))
    assert nodes[0] == "Conv" and "Add" in nodes and "Mul" in nodes


def test_a_bias_made_later_than_the_convolution_stays_apart():
    x, w, bias = values((B, 2, 5), (3, 2, 3), (3,))
    y = make_one(Conv((1,), ((1, 1),), (1,), (1,)), x, w)
    late = b.broadcast_in_dim(b.exp(bias), y.type.shape, (1,))
    agrees(Graph("forward", [x, w, bias], [b.add(y, late)]), numbers((2, 2, 5), (3, 2, 3), (3,)))
    agrees(Graph("forward", [x, w, bias], [b.add(late, y)]), numbers((2, 2, 5), (3, 2, 3), (3,)))


def test_a_pool_whose_positions_nobody_takes_writes_none() -> None:
    """onnxruntime's pool with positions takes three times as long, and keeps the convolutions around it from its layout."""
    import nervure as nv
    from nervure import nn

    def pool(x: Any) -> Any:
        return nn.max_pool2d(x, 2)

    def both(x: Any) -> Any:
        return nn.max_pool2d(x, 2, return_indices=True)

    for model, outputs in ((pool, 1), (both, 2)):
        found = find_backend("onnx").compile(
            run_pipeline(nv.trace(model, "f32[B,1,4,4]"), find_backend("onnx").pipeline(2)).program
        )
        (node,) = [n for n in found.model.graph.node if n.op_type == "MaxPool"]  # type: ignore[attr-defined]
        assert len(node.output) == outputs
