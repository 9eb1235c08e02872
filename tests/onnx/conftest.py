"""An op alone, compiled with onnxruntime and evaluated by the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.op import Op
from nervure.ir.program import Program
from nervure.ir.types import Array, TensorType, dtype_of
from nervure.passes.manager import run_pipeline

Results = Sequence[Array]
Alone = Callable[..., tuple[Results, Results]]


def run_alone(op: Op, *arrays: Array) -> tuple[Results, Results]:
    """What onnxruntime gives, and what the reference does."""
    operands = [Value(TensorType(dtype_of(a), a.shape), name=f"x{k}") for k, a in enumerate(arrays)]
    program = Program("case", [Graph("forward", operands, make(op, *operands))])
    backend = find_backend("onnx")
    found = backend.compile(run_pipeline(program, backend.pipeline(0)).program)(*arrays)
    with np.errstate(all="ignore"):
        expected, _ = evaluate_graph(program.main, arrays)
    return found if isinstance(found, tuple) else (found,), expected


@pytest.fixture
def alone() -> Alone:
    return run_alone
