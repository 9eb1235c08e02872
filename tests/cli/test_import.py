"""ONNX files on the command line: `nervure import`, and FILE.onnx as MODEL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nervure as nv

Run = Callable[..., Any]


def write(path: str, *nodes: Any, inputs: dict[str, Any], outputs: str = "y", weights: Any = None) -> None:
    infos = [helper.make_tensor_value_info(n, kind, list(shape)) for n, (kind, shape) in inputs.items()]
    stored = [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()]
    graph = helper.make_graph(
        list(nodes), "net", infos, [onnx.ValueInfoProto(name=o) for o in outputs.split()], stored
    )
    Path(path).write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


@pytest.fixture
def file(nervure: Run) -> str:
    """A linear layer and a relu; the fixture `nervure` makes the folder."""
    weights = {"w": np.eye(4, 3, dtype=np.float32), "b": np.zeros(3, np.float32)}
    write(
        "net.onnx",
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="fc"),
        helper.make_node("Relu", ["h"], ["y"], name="act"),
        inputs={"x": (1, ("batch", 4))},
        weights=weights,
    )
    return "net.onnx"


@pytest.fixture
def lacking(nervure: Run) -> str:
    write(
        "lacking.onnx",
        helper.make_node("StringNormalizer", ["x"], ["h"], name="first"),
        helper.make_node("LeakyRlu", ["h"], ["z"], name="third"),
        helper.make_node("Nothing", ["x"], ["y"], name="second", domain="acme"),
        inputs={"x": (1, (4,))},
    )
    return "lacking.onnx"


def test_import_prints_a_program_that_parses(nervure: Run, file: str) -> None:
    ran = nervure("import", file)
    assert ran.code == 0
    assert '@ "net.onnx#act":2' in ran.out
    assert nv.parse(ran.out).name == "net"
    assert nervure("trace", file).out == ran.out


def test_import_writes_a_program_with_its_weights(nervure: Run, file: str) -> None:
    assert nervure("import", file, "-o", "net.nv").code == 0
    assert nv.load("net.nv").store["w"].data.tolist() == np.eye(4, 3).tolist()
    assert nervure("diff", file, "net.nv").code == 0


def test_check_says_what_a_model_has(nervure: Run, file: str) -> None:
    ran = nervure("import", file, "--check")
    assert ran.code == 0
    assert "input x: f32[batch,4]" in ran.out and "every node can be imported" in ran.out
    assert json.loads(nervure("import", file, "--check", "--json").out)["operators"] == {"Gemm": 1, "Relu": 1}


def test_check_lists_every_node_that_is_in_the_way(nervure: Run, lacking: str) -> None:
    ran = nervure("import", lacking, "--check")
    assert ran.code == 1
    assert (
        "StringNormalizer-18 first: the op is not known to nervure" in ran.out and "acme.Nothing" in ran.out
    )
    rows = json.loads(nervure("import", lacking, "--check", "--json").out)["refusals"]
    assert [(r["node"], r["op"]) for r in rows] == [
        ("first", "StringNormalizer"),
        ("third", "LeakyRlu"),
        ("second", "acme.Nothing"),
    ]
    assert rows[1]["hint"] == "did you mean LeakyRelu?"
    ran = nervure("import", lacking)
    assert ran.code == 2
    assert "error[NV0501]: lacking.onnx: 3 nodes cannot be imported" in ran.err


def test_types_sizes_and_values_are_options(nervure: Run, file: str) -> None:
    assert "%x: f32[8,4]" in nervure("import", file, "--type", "f32[8,4]").out
    assert "%x: f32[8,4]" in nervure("import", file, "--type", "x=f32[8,4]").out
    assert "%x: f32[8,4]" in nervure("import", file, "--dim", "batch=8").out
    assert "sym batch in 2..64" in nervure("import", file, "--dim", "batch=2..64").out
    write("r.onnx", helper.make_node("Reshape", ["x", "s"], ["y"]), inputs={"x": (1, (6,)), "s": (7, (2,))})
    ran = nervure("import", "r.onnx")
    assert ran.code == 2 and "bind={'s'" in ran.err
    assert "-> f32[2,3]" in nervure("import", "r.onnx", "--bind", "s=[2,3]").out
    np.save("s.npy", np.array([3, 2]))
    assert "-> f32[3,2]" in nervure("import", "r.onnx", "--bind", "s=@s.npy").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "gone.onnx"], "cannot read gone.onnx: no such file"),
        (["import", "net.py"], "damaged ONNX model"),
        (["import", "net.py"], "it is text"),
        (["import", "net.onnx", "--dim", "batch"], "expected NAME=VALUE"),
        (["import", "net.onnx", "--dim", "batch=x"], "expected a number, or a range"),
        (["import", "net.onnx", "--dim", "width=3"], "the open sizes are batch"),
        (["import", "net.onnx", "--bind", "x={}"], "expected @FILE.npy, a number"),
        (["import", "net.onnx", "--bind", "x=[[1],[2,3]]"], "expected @FILE.npy, a number"),
        (["import", "net.onnx", "--bind", "z=1"], "the inputs are x"),
        (["import", "net.onnx", "--type", "z=f32[1]"], "the inputs are x"),
        (["import", "net.onnx", "--type", "f32[1]", "--type", "f32[1]"], "has 1 inputs"),
        (["import", "net.onnx", "-o", "net.py/x.nv"], "cannot write"),
        (["run", "net.pt"], "torch.onnx.export"),
        (["run", "gone.onnx"], "cannot read gone.onnx"),
        (["summary", "net.onnx", "--type", "x=f32[B,5]"], "Gemm"),
    ],
)
def test_wrong_use_is_told(nervure: Run, file: str, arguments: list[str], message: str) -> None:
    ran = nervure(*arguments)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["summary"], "multiply-adds"),
        (["opt"], "%y = relu"),
        (["explain"], ""),
        (["compile", "--emit", "kernels"], "kernel"),
        (["run", "--input", "x=2x4:ones"], "y: float32[2, 3]"),
        (["run", "--input", "x=2x4:ones", "--backend", "reference"], "y: float32[2, 3]"),
        (["tape", "--input", "x=2x4:ones"], "y"),
        (["view", "-o", "net.html"], ""),
        (["export", "-o", "again.onnx"], ""),
    ],
)
def test_every_command_takes_an_onnx_file(
    nervure: Run, file: str, arguments: list[str], expected: str
) -> None:
    ran = nervure(arguments[0], file, *arguments[1:])
    assert (ran.code, ran.err) == (0, "") and expected in ran.out


def test_diff_compares_two_onnx_files(nervure: Run, file: str) -> None:
    nervure("export", file, "-o", "again.onnx")
    assert nervure("diff", file, "again.onnx").code == 0
    write("other.onnx", helper.make_node("Tanh", ["x"], ["y"]), inputs={"x": (1, ("batch", 4))})
    ran = nervure("diff", file, "other.onnx")
    assert ran.code == 1 and "tanh" in ran.out


def test_a_recurrence_that_is_written_out_is_folded_if_asked(nervure: Run, file: str) -> None:
    from nervure import nn

    nv.seed(0)
    layer = nn.GRU(3, 4, batch_first=True)
    nv.export_onnx(nv.trace(lambda x: layer(x)[0], "f32[B,9,3]"), "steps.onnx", loops="unrolled")
    assert "scan{" not in nervure("import", "steps.onnx").out
    ran = nervure("import", "steps.onnx", "--reroll", "-o", "loop.nv")
    assert ran.code == 0 and "reroll: 9 steps of " in ran.err
    x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype(np.float32)
    loop = nv.load("loop.nv")
    assert [n.op.mnemonic for n in loop.main.nodes].count("scan") == 1
    want = nv.compile(nv.import_onnx("steps.onnx"), backend="reference")(x)
    np.testing.assert_allclose(nv.compile(loop)(x), want, rtol=1e-5, atol=1e-6)
    other = nervure("import", file, "--reroll")
    assert other.err.strip() == "reroll: no steps repeat"
    assert other.out == nervure("import", file).out
