"""Affine layers before a linear or convolution layer fold into its weights, or a note says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.frontend.preprocessing import PCA, Center, MinMax, Standardize, Whiten
from nervure.ir.interpret import evaluate_program
from nervure.ir.verify import verify_program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(8)
ROWS = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 3
IMAGES = RNG.normal(size=(20, 3, 6, 6)) * [[[2.0]], [[0.5]], [[1.0]]] + 1
F64 = {"dtype": "f64"}
PASSES = "canonicalize,cse,fold-affine,canonicalize,cse,dce,split-prepare,dce"


def folded(function: Callable[..., Any], x: Any) -> tuple[list[str], tuple[str, ...]]:
    """The ops that are left in the call, and the notes; the values are held against those before."""
    program = nv.trace(function, f"f64[B,{','.join(map(str, x.shape[1:]))}]")
    wanted = evaluate_program(program, [x])[0]
    result = run_pipeline(program, Pipeline.parse(PASSES))
    verify_program(result.program)
    np.testing.assert_allclose(evaluate_program(result.program, [x])[0], wanted, rtol=1e-9, atol=1e-9)
    ops = [n.op.mnemonic for n in result.program.main.nodes if n.op.mnemonic != "broadcast_in_dim"]
    return ops, tuple(note for note in result.notes if note.startswith("fold-affine"))


LINEAR = nn.Linear(6, 4, **F64)
ON_ROWS: dict[str, Callable[..., Any]] = {
    "center": Center(**F64).fit(ROWS),
    "standardize": Standardize(**F64).fit(ROWS),
    "minmax": MinMax(-1, 1, **F64).fit(ROWS),
    "pixels": lambda x: x / 255,
    "left": lambda x: 2 * (1 + x),
    "pca": PCA(**F64).fit(ROWS),
    "whiten": Whiten(kind="zca", **F64).fit(ROWS),
    "all": nn.Sequential(Standardize(**F64).fit(ROWS), PCA(**F64).fit(ROWS)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ON_ROWS)
def test_preprocessing_folds_into_a_linear_layer(name: str, bias: bool) -> None:
    layer = nn.Linear(6, 4, bias=bias, **F64)
    assert folded(lambda x: layer(ON_ROWS[name](x)), ROWS) == (["linear"], ())


def test_stacked_linear_layers_collapse_to_one() -> None:
    stack = nn.Sequential(*[nn.Linear(6, 6, **F64) for _ in range(4)], nn.Linear(6, 2, bias=False, **F64))
    assert folded(stack, ROWS) == (["linear"], ())
    assert folded(nn.Sequential(stack, nn.Tanh(), nn.Linear(2, 2, **F64)), ROWS)[0] == [
        "linear",
        "tanh",
        "linear",
    ]


def test_preprocessing_of_images_folds_through_flatten() -> None:
    layer, center = nn.Linear(108, 4, **F64), Standardize(**F64).fit(IMAGES)
    assert folded(lambda x: layer(nn.flatten(center(x))), IMAGES) == (["reshape", "linear"], ())


@pytest.mark.parametrize("made", [Center, Standardize])
def test_preprocessing_folds_into_a_convolution(made: Any) -> None:
    conv, layer = nn.Conv2d(3, 4, 3, stride=2, **F64), made(per="channel", **F64).fit(IMAGES)
    ops, notes = folded(lambda x: conv(layer(x)), IMAGES)
    assert (ops, notes) == (["conv", "add"], ())


@pytest.mark.parametrize("groups", [2, 6])
def test_preprocessing_folds_into_each_group(groups: int) -> None:
    images = np.concatenate([IMAGES, 3 * IMAGES[::-1] - 1], axis=1)
    conv = nn.Conv2d(6, 12, 3, groups=groups, **F64)
    layer = Standardize(per="channel", **F64).fit(images)
    assert folded(lambda x: conv(layer(x)), images) == (["conv", "add"], ())


@pytest.mark.parametrize("mean", [0, 1e2, 1e4])
def test_folding_errs_by_a_few_roundings_of_the_inputs(mean: float) -> None:
    nv.seed(0)
    x = (np.random.default_rng(1).normal(size=(200, 6)) + mean).astype(np.float32)
    center, layer = Standardize().fit(x), nn.Linear(6, 4)
    m, s, w = (v.data.astype(np.float64) for v in (center.mean, center.std, layer.weight))
    wanted = ((x - m) / s) @ w.T + layer.bias.data
    eps = float(np.finfo(np.float32).eps)
    rounding = eps * np.abs(w) @ (np.abs(x).max(axis=0) / s)
    for opt, allowed in ((1, 20 * eps), (2, 4 * rounding + 20 * eps)):
        found = nv.compile(lambda v: layer(center(v)), "f32[B,6]", opt=opt)(x)
        assert (np.abs(found - wanted) <= allowed).all()


def test_a_scale_alone_folds_into_a_padded_convolution() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, **F64)
    assert folded(lambda x: conv(x / 255), IMAGES) == (["conv", "add"], ())


CENTER = Center(per="channel", **F64).fit(IMAGES)
PADDED = nn.Conv2d(3, 4, 3, padding=1, **F64)
PIXELWISE, PLAIN = Center(**F64).fit(IMAGES), nn.Conv2d(3, 4, 3, **F64)
WIDE = nn.Linear(6, 2, **F64), nn.Linear(2, 7, **F64)


@pytest.mark.parametrize(
    ("function", "x", "reason"),
    [
        (lambda x: PADDED(CENTER(x)), IMAGES, "the convolution pads with zeros after the shift"),
        (lambda x: PLAIN(PIXELWISE(x)), IMAGES, "the numbers differ within a channel"),
        (lambda x: LINEAR(x + 1) + (x + 1).sum(), ROWS, "add has 2 users"),
        (nn.Sequential(*WIDE), ROWS, "the product of both weights has 42 elements, more than the two have"),
    ],
)  # fmt: skip
def test_a_refusal_says_why(function: Any, x: Any, reason: str) -> None:
    _, notes = folded(function, x)
    assert len(notes) == 1
    assert notes[0].endswith(reason)


def test_half_precision_is_left_alone() -> None:
    layer = nn.Linear(6, 4, dtype="f16")
    program = nv.trace(lambda x: layer(x * 2), "f16[B,6]")
    result = run_pipeline(program, Pipeline.parse("fold-affine"))
    assert result.program is program
    assert "would round to f16" in result.notes[0]


def test_a_training_step_keeps_what_it_updates() -> None:
    layer, center = nn.Linear(6, 2, **F64), Center(**F64).fit(ROWS)
    model = nn.Sequential(center, layer)
    program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f64[B,6]", "i64[B]")
    result = run_pipeline(program, Pipeline.parse("fold-affine"))
    assert any("updates the layer's weights" in note for note in result.notes)
    verify_program(result.program)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
def test_fitting_anew_needs_no_new_compilation(backend: str) -> None:
    center, layer = Standardize().fit(ROWS), nn.Linear(6, 4)
    run = nv.compile(lambda x: layer(center(x)), "f32[B,6]", backend=backend)
    x = ROWS.astype(np.float32)
    for data in (ROWS, ROWS * 2 + 1):
        center.fit(data)
        scaled = ((ROWS - data.mean(0)) / data.std(0)).astype(np.float32)
        np.testing.assert_allclose(
            run(x), scaled @ layer.weight.data.T + layer.bias.data, rtol=1e-4, atol=1e-4
        )
