"""Internal errors write a reproducer that replays; errors of users do not; nothing hides the first error."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from planted import PIPELINE, PLANTS

import nervure as nv
from nervure import nn
from nervure.backends.llvm.backend import LLVMBackend
from nervure.inspect import reproduce
from nervure.inspect.reproduce import (
    load_reproducer,
    made_up_inputs,
    reduce_reproducer,
    replay,
    save_reproducer,
    write_reproducer_on_failure,
)
from nervure.ir import build as b
from nervure.ir.errors import InputError, VerifyError
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.types import TensorType, bf16, f32, i64
from nervure.passes.cse import CommonSubexpressions
from nervure.passes.manager import Pipeline


def fails(*_: Any) -> Any:
    raise AssertionError("a thing that cannot be")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folder_of(error: BaseException) -> Path:
    """The folder that a note of the error names."""
    (note,) = error.__notes__
    match = re.fullmatch(r"a reproducer was written to (.*); its README.md says how to replay it", note)
    assert match is not None
    return Path(match.group(1))


def test_a_pass_that_fails_while_compiling_leaves_a_reproducer(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    monkeypatch.setattr(CommonSubexpressions, "run", fails)
    with pytest.raises(AssertionError, match="a thing that cannot be") as caught:
        nv.compile(net, "f32[B,4]")
    folder = folder_of(caught.value)
    assert folder.parent == cache / "reproducers"
    assert {p.name for p in folder.iterdir()} == {
        "program.nv", "program.safetensors", "inputs.npz", "how.json", "README.md",
    }  # fmt: skip
    verdict = replay(folder)
    assert verdict.blame == ("pass", "cse", "")
    assert "a thing that cannot be" in verdict.what
    with pytest.raises(AssertionError) as again:
        nv.compile(net, "f32[B,4]")
    assert folder_of(again.value) == folder
    monkeypatch.undo()
    assert replay(folder).kind == "agrees"


def test_a_backend_that_fails_leaves_one_too(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLVMBackend, "compile", lambda *a, **k: {}["missing"])
    with pytest.raises(KeyError) as caught:
        nv.compile(lambda x: x + 1, "f32[3]")
    verdict = replay(folder_of(caught.value))
    assert (verdict.kind, verdict.backend) == ("backend", "llvm")


def test_a_program_that_a_pass_broke_is_an_internal_error(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Any, graph: Graph, remarks: Any) -> Graph:
        return Graph(graph.name, [], graph.outputs)

    monkeypatch.setattr(CommonSubexpressions, "run", breaks)
    with pytest.raises(VerifyError, match="after pass cse") as caught:
        nv.compile(lambda x: x + 1, "f32[3]", verify=True)
    assert replay(folder_of(caught.value)).blame[:2] == ("pass", "cse")


@pytest.mark.parametrize("error", [InputError("no"), OSError("disk"), MemoryError(), ImportError("llvmlite")])
def test_errors_of_the_user_and_the_machine_leave_nothing(cache: Path, error: Exception) -> None:
    program, _ = planted.network(planted.unary(b.exp))
    with pytest.raises(type(error)) as caught, write_reproducer_on_failure(program):
        raise error
    assert not hasattr(caught.value, "__notes__")
    assert not cache.exists()


def test_what_fails_while_writing_does_not_hide_the_error(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, _ = planted.network(planted.unary(b.exp))
    monkeypatch.setattr(reproduce, "save_reproducer", fails)
    with pytest.raises(ZeroDivisionError) as caught, write_reproducer_on_failure(program):
        _ = 1 / 0
    assert not hasattr(caught.value, "__notes__")


def test_without_a_cache_it_lies_among_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NERVURE_CACHE", "off")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program, _ = planted.network(planted.unary(b.exp))
    with pytest.raises(ZeroDivisionError) as caught, write_reproducer_on_failure(program):
        _ = 1 / 0
    assert folder_of(caught.value).parent == tmp_path


def test_large_weights_are_left_out_and_made_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "LARGEST", 8)
    program, _ = planted.network(planted.unary(b.exp))
    program.name = "../a name/with\n signs"
    with pytest.raises(ZeroDivisionError) as caught, write_reproducer_on_failure(program):
        _ = 1 / 0
    folder = folder_of(caught.value)
    assert folder.parent == cache / "reproducers"
    assert not (folder / "program.safetensors").exists()
    assert all(e.has_data for e in load_reproducer(folder).program.store.values())


def test_made_up_inputs_fit_symbols_ranges_and_element_types(tmp_path: Path) -> None:
    def model(x: Any, labels: Any) -> Any:
        return nn.cross_entropy(x, labels)

    program = nv.trace(model, "f32[B,10]", "i64[B]")
    x, labels = made_up_inputs(program)
    assert (x.shape, labels.shape, labels.dtype) == ((2, 10), (2,), np.int64)
    assert labels.min() >= 0 and labels.max() < 10
    y = Value(TensorType(bf16, (2,)), name="y")
    half = Program("p", [Graph("main", [y], [b.neg(y)])])
    save_reproducer(tmp_path, half, made_up_inputs(half))
    (read,) = load_reproducer(tmp_path).inputs
    assert np.array_equal(read, made_up_inputs(half)[0]) and read.dtype == bf16.numpy


def test_a_reproducer_is_reduced_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plant,) = [p for p in PLANTS if p.name == "|-x| as x"]
    program, inputs = planted.network(plant.piece)
    save_reproducer(tmp_path, program, inputs, pipeline=Pipeline.parse(PIPELINE), what="|-x|")
    with pytest.raises(InputError, match="finds nothing wrong"):
        reduce_reproducer(tmp_path)
    plant.plant(monkeypatch)
    assert reduce_reproducer(tmp_path) == tmp_path / "reduced"
    small = load_reproducer(tmp_path / "reduced")
    assert [n.op.mnemonic for n in small.program.main.nodes] == ["neg", "abs"]
    assert not (tmp_path / "reduced" / "program.safetensors").exists()
    assert replay(tmp_path / "reduced").blame == plant.blame


def test_a_folder_without_a_reproducer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        replay(tmp_path)
    (tmp_path / "program.nv").write_text(
        "nervure 1\nprogram p {\n  graph main() -> () {\n    return\n  }\n}\n"
    )
    (tmp_path / "how.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="is no reproducer"):
        replay(tmp_path)


def test_the_readme_names_a_command_that_runs(tmp_path: Path) -> None:
    x = Value(TensorType(i64, (3,)), name="x")
    program = Program("p", [Graph("main", [x], [b.neg(b.add(x, x))])])
    save_reproducer(tmp_path / "one two", program, [np.arange(3)], backend="reference")
    readme = (tmp_path / "one two" / "README.md").read_text()
    (command,) = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
    ran = subprocess.run(
        command.replace("nervure", f"{shlex.quote(sys.executable)} -m nervure", 1),
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "all passes are right, and so is reference\n"), ran.stderr


def test_f32_is_the_type_of_made_up_floats() -> None:
    x = Value(TensorType(f32, (3,)), name="x")
    (found,) = made_up_inputs(Program("p", [Graph("main", [x], [b.neg(x)])]))
    assert found.dtype == np.float32
