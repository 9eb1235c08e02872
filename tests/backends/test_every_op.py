"""Every op, with every instance of its contract, on every backend: the reference's values, or a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the shared tables stand one folder up

from differential import Yardstick
from strategies import Instance, arrays, instances

from nervure.backends.base import find_backend
from nervure.ir.dims import symbol
from nervure.ir.errors import UnsupportedError
from nervure.ir.graph import Graph, Value
from nervure.ir.op import OPS
from nervure.ir.program import Program
from nervure.ir.types import Array, TensorType, f32
from nervure.passes.manager import run_pipeline

BACKENDS = ("llvm", "onnx")


def program_of(instance: Instance) -> tuple[Program, list[Array]]:
    """The op alone, and its inputs; an axis of its own for each symbol that no input has as one."""
    operands, results = instance.apply()
    program = Program("case", [Graph("forward", operands, results)])
    inputs = arrays(instance)
    plain = {d for t in instance.types for d in t.shape}
    for s in program.symbols:
        if symbol(s.name, s.lo, s.hi) not in plain:
            operands += (Value(TensorType(f32, (symbol(s.name, s.lo, s.hi),)), name=f"sizes_{s.name}"),)
            inputs.append(np.zeros(instance.env[s.name], np.float32))
    return Program("case", [Graph("forward", operands, results)]), inputs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", sorted(OPS))
def test_an_op_means_on_the_backend_what_the_reference_means(op: str, backend: str):
    chosen = find_backend(backend)
    wrong: list[str] = []
    ran = 0
    refused: list[str] = []
    for instance in instances(op):
        program, inputs = program_of(instance)
        try:
            legal = run_pipeline(program, chosen.pipeline(0)).program
        except UnsupportedError as error:
            assert error.details, "a refusal gives its reason"
            refused.append(str(instance))
            continue
        executable = chosen.compile(legal)
        found = executable(*inputs)
        results = list(found) if isinstance(found, tuple) else [found]
        wrong += Yardstick(program, inputs).compare(results, f"{instance}").wrong
        ran += 1
    assert not wrong, "\n".join(wrong)
    assert ran or op in NOT_HERE.get(backend, ()), f"no instance of {op} runs on {backend}: {refused}"


FACTORIZATIONS = ("cholesky", "eigh", "triangular_solve")
NOT_HERE: dict[str, tuple[str, ...]] = {"onnx": ("bitcast", *FACTORIZATIONS), "llvm": FACTORIZATIONS}
"""Ops that a backend runs for no element type."""
