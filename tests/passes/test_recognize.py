"""Composites that exporters write out are found: the graph has one node, and the values stay."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.interpret import evaluate_program
from nervure.passes.manager import Pipeline, run_pipeline

PIPELINE = "canonicalize,cse,recognize,dce"


def erf(x):
    from nervure.frontend.tensor import Tensor
    from nervure.ir import build

    return Tensor(build.erf(x.value))


FORMS = {
    "silu": ("silu", lambda x: x * nn.sigmoid(x)),
    "silu, gate first": ("silu", lambda x: nn.sigmoid(x) * x),
    "gelu as torch's older exporter writes it": ("gelu", lambda x: x * (erf(x / 1.4142135) + 1) * 0.5),
    "gelu, half first": ("gelu", lambda x: (x * 0.5) * (1 + erf(x * 0.70710677))),
    "gelu, half of the gate": ("gelu", lambda x: x * (0.5 * (1 + erf(x * math.sqrt(0.5))))),
    "gelu, divided by two": ("gelu", lambda x: x * (1 + erf(x * math.sqrt(0.5))) / 2),
    "gelu with tanh": ("gelu", lambda x: 0.5 * x * (1 + nn.tanh(0.7978845608 * (x + 0.044715 * x**3)))),
    "gelu with tanh, x outside": (
        "gelu",
        lambda x: 0.5 * x * (1 + nn.tanh(0.79788456 * x * (1 + 0.044715 * x * x))),
    ),
    "hard swish with clip": ("hard_swish", lambda x: x * (x + 3).clip(0, 6) / 6),
    "hard swish, sixth first": ("hard_swish", lambda x: x * ((x + 3).clip(0, 6) * 0.16666667)),
    "hard swish with relu6": ("hard_swish", lambda x: x * nn.relu6(x + 3) / 6),
    "hard swish with hard sigmoid": ("hard_swish", lambda x: x * (x * 0.16666667 + 0.5).clip(0, 1)),
}


def after(program):
    return run_pipeline(program, Pipeline.parse(PIPELINE), verify=True).program


@pytest.mark.parametrize("form", FORMS)
def test_an_activation_that_is_written_out_is_one_node(form):
    name, function = FORMS[form]
    program = nv.trace(function, "f32[B,7]")
    found = after(program)
    assert [n.op.mnemonic for n in found.main.nodes] == [name]
    x = np.linspace(-6, 6, 21).reshape(3, 7).astype(np.float32)
    (before,), (now,) = (evaluate_program(p, [x]) for p in (program, found))
    np.testing.assert_allclose(now, before, rtol=1e-5, atol=1e-6)


def norm(x, weight, bias, eps=1e-5, root="div"):
    mean = x.mean((-1,), keepdims=True)
    centred = x - mean
    var = (centred * centred).mean((-1,), keepdims=True)
    deviation = nn.sqrt(var + eps)
    return (centred / deviation if root == "div" else centred * (1 / deviation)) * weight + bias


@pytest.mark.parametrize("root", ["div", "mul"])
def test_a_layer_norm_that_is_written_out_is_one_node(root):
    program = nv.trace(lambda x, w, c: norm(x, w, c, root=root), "f32[B,3,8]", "f32[8]", "f32[8]")
    found = after(program)
    assert [str(n.op) for n in found.main.nodes] == ["LayerNorm(axis=2, eps=9.999999747378752e-06)"]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((2, 3, 8), (8,), (8,))]
    (before,), (now,) = (evaluate_program(p, arrays) for p in (program, found))
    np.testing.assert_allclose(now, before, rtol=1e-5, atol=1e-5)


OTHERS = {
    "another gate": lambda x: x * nn.sigmoid(2 * x),
    "a gelu of another scale": lambda x: x * (erf(x * 0.5) + 1) * 0.5,
    "a gelu not halved": lambda x: x * (erf(x / 1.4142135) + 1),
    "a clip that ends elsewhere": lambda x: x * (x + 3).clip(0, 5) / 6,
    "a clip that begins elsewhere": lambda x: x * (x + 3).clip(-1, 6) / 6,
    "a line of another slope": lambda x: x * (2 * x + 3).clip(0, 6) / 6,
}  # fmt: skip


@pytest.mark.parametrize("form", OTHERS)
def test_what_only_looks_like_one_stays(form):
    program = nv.trace(OTHERS[form], "f32[3,7]")
    names = {n.op.mnemonic for n in after(program).main.nodes}
    assert not names & {"silu", "gelu", "hard_swish", "layer_norm"}


def test_export_writes_what_was_found(tmp_path):
    import onnx

    program = nv.trace(lambda x: x * (x + 3).clip(0, 6) / 6, "f32[B,7]")
    nv.export_onnx(program, tmp_path / "m.onnx")
    ops = [n.op_type for n in onnx.load(str(tmp_path / "m.onnx")).graph.node]
    assert ops == ["HardSwish", "Identity"]
