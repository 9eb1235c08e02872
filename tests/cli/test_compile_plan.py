"""`nervure compile --emit plan`: bytes in the symbols, or for given sizes."""

from __future__ import annotations

import subprocess
import sys

import pytest


def plan(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nervure", "compile", "perceptron", "--emit", "plan", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_bytes_are_formulas_or_numbers() -> None:
    formulas, numbers = plan().stdout, plan("--size", "B=3").stdout
    assert "3136*B  x\n" in formulas
    assert "9408  x\n" in numbers
    assert "total for B=3: arena" in numbers
    assert "B=16" not in numbers


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--size", "C=3"], "no symbol is named C; there are B", 2),
        (["--size", "B"], "expected SYMBOL=N", 2),
        (["--size", "B=0"], "a size of B in 1..4096, got 0", 2),
        (["--size", "B=3", "--emit", "ir"], "--size is for --emit plan", 2),
    ],
)
def test_sizes_that_make_no_plan_are_refused(options: list[str], message: str, code: int) -> None:
    done = plan(*options)
    assert done.returncode == code
    assert message in done.stderr
