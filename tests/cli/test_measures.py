"""Profiles and benchmarks: what they count, not how fast this machine is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm.executable import LLVMExecutable
from nervure.backends.llvm.kernel_cost import kernel_bytes, kernel_flops

Run = Callable[..., Any]


def test_profile_has_a_row_for_each_kernel_with_its_lines(nervure: Run) -> None:
    found = nervure("profile", "net.py:Net", "--input", "x=2x4:rand", "--runs", "3", "--json").json
    assert found["runs"] == 3
    assert found["seconds"] > 0
    rows = found["rows"]
    assert rows and all(row["seconds"] > 0 and 0 <= row["share"] <= 1 for row in rows)
    assert "net.py:11" in rows[0]["lines"]
    assert rows[0]["flops"] >= 2 * 2 * 4 * 3


def test_profile_prints_a_table(nervure: Run) -> None:
    ran = nervure("profile", "net.py:Net", "--input", "x=2x4:rand", "--runs", "2")
    assert ran.out.splitlines()[0].split() == [
        "kernel",
        "us",
        "share",
        "GFLOP/s",
        "GB/s",
        "roofline",
        "lines",
    ]
    assert "whole call" in ran.out


def test_only_llvm_has_kernels_to_time() -> None:
    from nervure.inspect.profile import profile
    from nervure.ir.errors import InputError

    with pytest.raises(InputError, match="no kernels to time"):
        profile(nv.compile(nn.relu, "f32[3]", backend="reference"), [])


def test_bench_compares_results_before_it_times(nervure: Run) -> None:
    ran = nervure("bench", "net.py:Net", "--input", "x=2x4:rand", "--seconds", "0.1", "--json")
    rows = ran.json["contestants"]
    assert [row["backend"] for row in rows] == ["llvm", "onnx"]
    assert all(row["error"] < 1e-5 and row["calls"] > 0 and row["best"] <= row["median"] for row in rows)


def test_the_operations_of_a_product_are_counted() -> None:
    def product(a: Any, b: Any) -> Any:
        return a @ b

    executable = nv.compile(product, "f32[B,8]", "f32[8,16]")
    assert isinstance(executable, LLVMExecutable)
    (kernel,) = executable.kernels
    assert kernel_flops(kernel, {"B": 5}) == 2 * 5 * 8 * 16
    assert kernel_bytes(kernel, {"B": 5}) == 4 * (5 * 8 + 8 * 16 + 5 * 16)
