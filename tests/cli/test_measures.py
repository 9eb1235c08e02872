"""Profiles and benchmarks: what they count, not how fast this machine is."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
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
    from nervure.inspect.profile import HEAD

    assert tuple(ran.out.splitlines()[0].split()) == HEAD
    assert "whole call" in ran.out


def test_profile_says_what_was_fused_and_what_that_saved() -> None:
    from nervure.inspect.profile import profile
    from nervure.zoo import LeNet5

    found = profile(nv.compile(LeNet5(), "f32[B,1,28,28]"), [np.zeros((3, 1, 28, 28), np.float32)], runs=3)
    (first,) = [row for row in found.rows if row.does == "conv+bias+relu+max_pool" and row.saved > 3 * 60_000]
    # the sums, those with their bias and what relu leaves of them: 6 channels of 28 x 28 floats, each written and read
    assert first.saved == 3 * 2 * 3 * 6 * 28 * 28 * 4
    assert first.flops >= 2 * 3 * 6 * 28 * 28 * 25
    assert {row.does for row in found.rows} >= {"conv+bias+relu+max_pool", "linear+relu", "linear"}


def test_equal_kernels_are_one_row_and_loops_count_their_turns() -> None:
    from nervure.inspect.profile import profile
    from nervure.zoo import CharRNN

    found = profile(nv.compile(CharRNN(), "f32[50,B,65]"), [np.zeros((50, 2, 65), np.float32)], runs=2)
    (loop,) = [row for row in found.rows if row.calls >= 50]
    assert "tanh" in loop.does and loop.flops >= 50 * 2 * 2 * 256 * 256


def test_a_trace_is_written_in_the_format_that_browsers_open(nervure: Run, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    nervure("profile", "net.py:Net", "--input", "x=2x4:rand", "--runs", "2", "--trace", str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert events and all(e["ph"] == "X" and e["dur"] >= 0 and e["args"]["bytes"] > 0 for e in events)
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-3 for a, b in pairwise(events))


def test_taking_the_times_costs_little() -> None:
    from nervure.inspect.profile import profile
    from nervure.zoo import LeNet5

    run, x = nv.compile(LeNet5(), "f32[16,1,28,28]", threads=1), np.zeros((16, 1, 28, 28), np.float32)
    # best of several, as other processes take turns on this machine
    assert min(profile(run, [x], limit=0.5).overhead for _ in range(4)) < 0.05


def test_taking_the_times_of_a_training_step_prepares_nothing_again() -> None:
    from nervure.inspect.profile import profile

    net = nn.Sequential(nn.Linear(128, 256), nn.Tanh(), nn.Linear(256, 256), nn.Linear(256, 10))
    step = nv.training_step(net, nn.cross_entropy, optim.SGD(lr=0.0), "f32[32,128]", "i64[32]")
    run = nv.compile(step, threads=1)
    inputs = [np.ones((32, 128), np.float32), np.zeros(32, np.int64)]
    assert isinstance(run, LLVMExecutable)
    before = run.store["0.weight"].ledger.version
    run.stamped(inputs, {}, 0)
    assert run.store["0.weight"].ledger.version > before  # the store knows that it changed
    table = run._table  # pyright: ignore[reportPrivateUsage]
    assert table.version == run.store["0.weight"].ledger.version  # and the code that it knows the store
    assert min(profile(run, inputs, limit=0.5).overhead for _ in range(4)) < 0.05


def test_steps_take_as_long_as_the_run() -> None:
    from nervure.backends.llvm.stamps import Stamps

    run, x = nv.compile(nn.Linear(256, 256), "f32[256,256]", threads=1), np.ones((256, 256), np.float32)
    assert isinstance(run, LLVMExecutable)
    stamps = Stamps(len(run.assembled.program.run))
    times: list[float] = []
    for _ in range(20):
        run.stamped([x], {}, stamps.hook)
        taken = stamps.times()
        assert taken[0] == 0 and (np.diff(taken) >= 0).all()
        times.append(float(taken[-1]))
    # 33 million operations at 5 to 400 billion a second
    assert 8e-5 < min(times) < 7e-3


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


@pytest.mark.parametrize("size", [5, 9, 32, 150])
def test_the_operations_of_a_convolution_are_counted(size: int) -> None:
    executable = nv.compile(nn.Conv2d(16, 32, 3, padding=1), f"f32[1,16,{size},{size}]", winograd="off")
    assert isinstance(executable, LLVMExecutable)
    flops = sum(kernel_flops(k, {}) for k in executable.kernels if k.does.startswith("conv"))
    exact = 2 * 16 * 32 * 9 * size * size
    assert exact <= flops <= 1.1 * exact


def test_the_operations_of_a_product_are_counted() -> None:
    def product(a: Any, b: Any) -> Any:
        return a @ b

    executable = nv.compile(product, "f32[B,8]", "f32[8,16]")
    assert isinstance(executable, LLVMExecutable)
    (kernel,) = executable.kernels
    assert kernel_flops(kernel, {"B": 5}) == 2 * 5 * 8 * 16
    assert kernel_bytes(kernel, {"B": 5}) == 4 * (5 * 8 + 8 * 16 + 5 * 16)
