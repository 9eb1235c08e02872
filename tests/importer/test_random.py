"""Random programs, exported and imported again, mean what they meant."""

from __future__ import annotations

import numpy as np
import pytest
from random_programs import random_program

import nervure as nv
from nervure.ir.interpret import evaluate_program

KNOWN = ("must be known before the program runs", "has the symbolic element")
"""What an import may say: a box at a computed corner, k elements of a symbolic axis."""


def again(seed, path):
    """Whether the program was exported, imported, and compared."""
    program, inputs = random_program(seed)
    if program.main.updates:
        return False
    try:
        nv.export_onnx(program, path)
    except nv.NervureError:
        return False
    try:
        found = nv.import_onnx(path)
    except nv.NervureError as error:
        assert any(words in str(error) for words in KNOWN), f"seed {seed}: {error}"
        return False
    for a, b in zip(evaluate_program(found, inputs), evaluate_program(program, inputs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"seed {seed}"
        if a.dtype.kind in "iub":
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}")
        else:
            loose = 2e-2 if a.dtype.itemsize == 2 else 1e-3
            np.testing.assert_allclose(a.astype(float), b.astype(float), loose, loose, err_msg=f"seed {seed}")
    return True


def test_a_program_that_goes_out_and_comes_in_keeps_its_values(tmp_path):
    assert sum(again(seed, tmp_path / "m.onnx") for seed in range(40)) > 25


@pytest.mark.long
@pytest.mark.parametrize("first", range(40, 440, 100))
def test_hundreds_of_programs_keep_their_values(tmp_path, first):
    assert sum(again(seed, tmp_path / "m.onnx") for seed in range(first, first + 100)) > 70
