"""Arithmetic on literals ends in literals, whatever their size."""

from __future__ import annotations

import time

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.base import find_backend
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.interpret import evaluate_program
from nervure.ir.program import Program
from nervure.ir.types import TensorType, i64
from nervure.passes.manager import run_pipeline


def test_an_integer_power_of_a_constant_wraps_and_compiles_at_once():
    x = Value(TensorType(i64, (4,)), name="x")
    base = b.full(x.type, 3)
    program = Program(
        "power", [Graph("forward", [x], [b.pow(base, x), b.mul(b.full(x.type, 2**62), b.full(x.type, 6))])]
    )
    backend = find_backend("llvm")
    start = time.process_time()
    run = backend.compile(run_pipeline(program, backend.pipeline(0)).program, cache=False)
    assert time.process_time() - start < 5
    exponents = np.array([0, 5, 41, 63])
    for found, wanted in zip(run(exponents), evaluate_program(program, [exponents]), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_splat_is_0_outside_where_a_convolution_pads_it(backend: str, size: int) -> None:
    """The cotangent of a sum is such a splat."""
    x, w = np.ones((1, 1, size + 1), np.float32), np.array([[[1, 10]]], np.float32)
    run = nv.compile(nv.grad(lambda x, w: nn.conv1d(x, w).sum()), x, w, backend=backend)
    assert run(x, w).ravel().tolist() == [1, *[11] * (size - 1), 10]


@pytest.mark.parametrize("size", [3, 7])
def test_positions_are_stored_where_one_is_left_over_behind_whole_vectors(size: int) -> None:
    """Of 9 or 49 positions the last is stored alone: it is the counter itself, no vector's element."""
    x = np.random.default_rng(0).normal(size=(1, 2, size, size))
    model = nn.AdaptiveMaxPool2d((size + 1, 2), return_indices=True)
    found, wanted = (nv.compile(model, x, backend=name)(x) for name in ("llvm", "reference"))
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
