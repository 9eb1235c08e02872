"""Running a traced function with the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.ir.interpret import evaluate_program
from nervure.ir.verify import verify_program


def evaluate_function(function: Any, *arrays: Any, training: bool = False) -> Any:
    """Trace on the arrays' types, verify, and evaluate; one result, or a tuple."""
    given = [np.asarray(a) for a in arrays]
    program = nv.trace(function, *given, training=training)
    verify_program(program)
    results = evaluate_program(program, given, write=training)
    return results[0] if len(results) == 1 else tuple(results)


@pytest.fixture
def evaluate() -> Callable[..., Any]:
    return evaluate_function
