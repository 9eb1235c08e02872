"""Composites that ONNX has stay whole, with every attribute; the others are exported in simpler ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir.dims import symbol
from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import Op
from nervure.ir.ops.nn import AvgPool, BatchNorm, CrossEntropy, Linear, LogSoftmax, Relu, Softmax
from nervure.ir.ops.window import MaxPool
from nervure.ir.program import Program
from nervure.ir.types import DType, TensorType, f16, f32, i64
from nervure.passes.manager import run_pipeline

B = symbol("B", 0, 64)


def held(op: Op, dtype: DType, *shapes: tuple[Any, ...], batch: int = 3) -> list[str]:
    """Hold the op against the reference; the node types it was written in."""
    operands = [Value(TensorType(dtype, shape), name=f"x{k}") for k, shape in enumerate(shapes)]
    graph = Graph("forward", operands, make(op, *operands))
    backend = find_backend("onnx")
    run: Any = backend.compile(run_pipeline(Program("case", [graph]), backend.pipeline(0)).program)
    rng = np.random.default_rng(0)
    arrays = [
        (0.2 + rng.random([batch if d is B else d for d in shape])).astype(dtype.numpy) for shape in shapes
    ]
    expected, _ = evaluate_graph(graph, arrays)
    found = run(*arrays)
    for got, want in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=64 * dtype.eps, atol=4 * dtype.eps)
    return [node.op_type for node in run.model.graph.node]


@pytest.mark.parametrize("dtype", [f32, f16], ids=str)
@pytest.mark.parametrize(
    ("op", "node", "shapes"),
    [
        (Linear(), "Gemm", ((B, 4), (2, 4), (2,))),
        (Linear(), "Gemm", ((B, 4), (2, 4))),
        (Linear(), "MatMul", ((B, 5, 4), (2, 4), (2,))),
        (Linear(), "MatMul", ((4,), (2, 4), (2,))),
        (Relu(), "Relu", ((B, 4),)),
        (Softmax(1), "Softmax", ((B, 4),)),
        (Softmax(0), "Softmax", ((4, B, 2),)),
        (LogSoftmax(2), "LogSoftmax", ((B, 3, 4),)),
        (BatchNorm(), "BatchNormalization", ((B, 3), *((3,),) * 4)),
        (BatchNorm(1e-2), "BatchNormalization", ((B, 3, 4, 2), *((3,),) * 4)),
        (AvgPool((2, 2), (2, 2), ((0, 0), (0, 0))), "AveragePool", ((B, 2, 4, 6),)),
        (AvgPool((3, 2), (2, 1), ((1, 2), (1, 0))), "AveragePool", ((B, 2, 6, 5),)),
        (AvgPool((3, 2), (2, 1), ((1, 2), (1, 0)), True), "AveragePool", ((B, 2, 6, 5),)),
        (AvgPool((3,), (2,), ((2, 1),)), "AveragePool", ((B, 2, 8),)),
        (AvgPool((2, 1, 3), (1, 2, 2), ((0, 1), (0, 0), (1, 1))), "AveragePool", ((B, 1, 4, 5, 6),)),
        (MaxPool((3, 2), (2, 1), ((1, 2), (1, 0)), (1, 2)), "MaxPool", ((B, 2, 6, 5),)),
        (MaxPool((3,), (1,), ((2, 0),), (1,)), "MaxPool", ((B, 2, 8),)),
    ],
    ids=str,
)
def test_a_composite_is_one_node(op: Op, node: str, shapes: Any, dtype: DType):
    for batch in (1, 3):
        assert held(op, dtype, *shapes, batch=batch).count(node) == 1


def test_a_batch_of_nothing_passes_through():
    for op, shapes in (
        (Linear(), ((B, 4), (2, 4), (2,))),
        (Softmax(1), ((B, 4),)),
        (BatchNorm(), ((B, 3, 4, 2), *((3,),) * 4)),
        (AvgPool((2, 2), (2, 2), ((0, 0), (0, 0))), ((B, 2, 4, 6),)),
        (MaxPool((2,), (2,), ((0, 0),), (1,)), ((B, 2, 8),)),
    ):
        held(op, f32, *shapes, batch=0)


def test_what_onnx_has_not_is_written_in_simpler_ops():
    logits = Value(TensorType(f32, (B, 5)), name="logits")
    labels = Value(TensorType(i64, (B,)), name="labels")
    graph = Graph("forward", [logits, labels], make(CrossEntropy(), logits, labels))
    backend = find_backend("onnx")
    run: Any = backend.compile(run_pipeline(Program("case", [graph]), backend.pipeline(0)).program)
    arrays = [np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32), np.arange(6) % 5]
    (expected,), _ = evaluate_graph(graph, arrays)
    np.testing.assert_allclose(run(*arrays), expected, rtol=1e-6)
    assert "GatherElements" in [node.op_type for node in run.model.graph.node]
