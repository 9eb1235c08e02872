"""``nervure tape``, ``bisect``, ``reduce`` and ``replay``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nervure as nv
from nervure.inspect.reproduce import save_reproducer

Run = Callable[..., Any]

NAN = """from nervure import nn


def f(x: "f32[3]"):
    y = x - x
    z = y / y
    return nn.relu(z) + 1
"""


def test_a_tape_has_every_value_and_names_where_a_nan_was_born(nervure: Run) -> None:
    Path("nan.py").write_text(NAN)
    ran = nervure("tape", "nan.py:f", "-o", "tape.npz", "--json")
    assert ran.code == 0
    assert ran.json["birth"]["node"]["op"] == "div"
    assert ran.json["birth"]["node"]["lines"] == ["nan.py:6, in f"]
    assert [row["nan"] for row in ran.json["rows"]][:3] == [0, 0, 3]
    with np.load("tape.npz") as kept:
        assert np.isnan(kept["%1"]).all()
    assert "nan born in div %1 at nan.py:6" in nervure("tape", "nan.py:f").out


def test_tapes_of_two_backends_are_compared(nervure: Run) -> None:
    ran = nervure("tape", "net.py:Net", "--input", "x=2x4:rand", "--against", "llvm")
    assert (ran.code, ran.out) == (0, "reference and llvm agree\n")


def test_bisect_of_what_is_right_says_so(nervure: Run) -> None:
    ran = nervure("bisect", "net.py:Net", "--input", "x=2x4:rand")
    assert ran.code == 0
    assert "llvm" in ran.out


def test_bisect_of_what_is_expected_otherwise_blames_the_program(nervure: Run) -> None:
    np.save("y.npy", np.zeros((2, 3), np.float32))
    ran = nervure("bisect", "net.py:Net", "--input", "x=2x4:rand", "--expect", "result0=@y.npy", "--json")
    assert ran.code == 1
    assert ran.json["kind"] == "reference"


def test_reduce_keeps_what_fails_the_check(nervure: Run) -> None:
    Path("check.py").write_text(
        "import sys, nervure as nv\nprogram = nv.load(sys.argv[1])\n"
        "sys.exit(3 if any(n.op.mnemonic == 'softmax' for n in program.main.nodes) else 0)\n"
    )
    check = f"{shlex.quote(sys.executable)} check.py {{}}"
    ran = nervure(
        "reduce", "net.py:Net", "--check", check, "--input", "x=2x4:rand", "--limit", "40", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["nodes_after"] == 1
    reduced = nv.load("reduced/program.nv")
    assert [n.op.mnemonic for n in reduced.main.nodes] == ["softmax"]


def test_reduce_of_what_passes_is_an_error(nervure: Run) -> None:
    ran = nervure("reduce", "net.py:Net", "--check", "true", "--input", "x=2x4:rand")
    assert ran.code == 2
    assert "finds nothing wrong" in ran.err


def test_a_fault_that_is_gone_replays_as_agreement(nervure: Run) -> None:
    program = nv.trace(lambda x: x + 1, "f32[3]")
    save_reproducer(Path("fault"), program, [np.ones(3, np.float32)], backend="llvm", what="It was wrong.")
    assert nervure("replay", "fault").code == 0
    assert nervure("replay", "fault", "--json").json["kind"] == "agrees"
    assert nervure("replay", "gone").code == 2


def test_a_fault_of_nervure_leaves_a_reproducer_and_exit_code_70(nervure: Run, monkeypatch: Any) -> None:
    from nervure.backends.llvm import translate

    def broken(*_: Any) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(translate, "assemble", broken)
    ran = nervure("run", "net.py:total")
    assert ran.code == 70
    assert "error[NV0900]: a fault of nervure: AssertionError: planted" in ran.err
    folder = Path(ran.err.partition("written to ")[2].partition(";")[0])
    assert json.loads((folder / "how.json").read_text())["backend"] == "llvm"
    assert nervure("--debug", "run", "net.py:total").err.count("Traceback") == 1


def test_a_fault_that_is_still_there_is_reduced_beside_itself(nervure: Run, monkeypatch: Any) -> None:
    from nervure.passes.cse import CommonSubexpressions

    program = nv.trace(lambda x: np.tanh(x) + 1, "f32[3]")
    inputs = [np.ones(3, np.float32)]
    save_reproducer(Path("fault"), program, inputs, backend="llvm", what="It fails.")

    def broken(self: Any, graph: Any, remarks: Any) -> Any:
        assert all(node.op.mnemonic != "tanh" for node in graph.nodes), "planted"
        return graph

    monkeypatch.setattr(CommonSubexpressions, "run", broken)
    ran = nervure("replay", "fault", "--reduce")
    assert ran.code == 1
    assert "pass cse" in ran.out
    assert Path(ran.err.removeprefix("reduced to ").strip()) == Path("fault/reduced")
    assert [n.op.mnemonic for n in nv.load("fault/reduced/program.nv").main.nodes] == ["tanh"]


def test_broken_text_tells_all_its_errors_with_file_line_and_caret(nervure: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.nv").write_text(
        "nervure 1\nprogram p {\n  graph f(%x: f32[3]) -> f32[3] {\n    %y = reluu %x : f32[3]\n"
        "    %z = add %y, %w : f32[3]\n    return %z\n  }\n}\n"
    )
    ran = nervure("opt", "bad.nv", "-o", "out.nv")
    assert ran.code == 2 and not ran.out and not (tmp_path / "out.nv").exists()
    assert ran.err == (
        "error[NV0301]: bad.nv:4:10: no op is named reluu\n"
        "      %y = reluu %x : f32[3]\n           ^^^^^\n  hint: did you mean relu?\n"
        "error[NV0301]: bad.nv:5:18: %w is not defined here\n"
        "      %z = add %y, %w : f32[3]\n                   ^^\n2 errors\n"
    )


def test_a_run_keeps_a_tape_and_names_the_birth_of_a_nan(nervure: Run) -> None:
    Path("nan.py").write_text(NAN)
    ran = nervure("run", "nan.py:f", "--tape", "tape.npz")
    assert ran.code == 0 and "result0: float32[3]" in ran.out
    assert ran.err.startswith("nan born in div ")
    with np.load("tape.npz") as kept:
        assert kept["%0"].tolist() == [0, 0, 0]
    assert nervure("run", "nan.py:f", "--tape", "nan.py/tape.npz").code == 2


def test_a_tape_is_compared_with_that_of_a_dump(nervure: Run) -> None:
    given = ("--input", "x=2x4:rand")
    assert nervure("trace", "net.py:Net", "-o", "net.nv").code == 0
    assert nervure("opt", "net.nv", "--passes", "decompose", "-o", "simple.nv").code == 0
    assert nervure("tape", "net.nv", *given, "--against", "simple.nv").code == 0
    text = Path("simple.nv").read_text()
    Path("wrong.nv").write_text(text.replace("= exp ", "= abs ", 1))
    Path("wrong.safetensors").write_bytes(Path("simple.safetensors").read_bytes())
    ran = nervure("tape", "simple.nv", *given, "--against", "wrong.nv")
    assert ran.code == 1 and "elements are wrong" in ran.out


def test_a_folder_that_is_missing_is_named(nervure: Run) -> None:
    assert (
        "cannot write a/b.safetensors: there is no folder a" in nervure("trace", "lenet", "-o", "a/b.nv").err
    )
    assert "net.py is a file, expected a folder" in nervure("trace", "lenet", "-o", "net.py/b.nv").err
