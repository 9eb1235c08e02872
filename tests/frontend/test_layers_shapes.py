"""Layers over symbolic sizes and other element types: one program for all sizes, the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nervure as nv
from nervure import nn, optim
from nervure.ir.interpret import evaluate_program

RNG = np.random.default_rng(9)

# a layer, its input's spec, sizes of the symbols
LAYERS: list[tuple[Any, str, dict[str, int]]] = [
    (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1), "f32[B,2,L:4..64]", {"B": 2, "L": 9}),
    (lambda: nn.Conv2d(2, 4, 3, padding="same", groups=2), "f32[B,2,H:3..64,W:3..64]", {"B": 2, "H": 5, "W": 4}),
    (lambda: nn.Conv3d(2, 2, 2), "f32[B,2,D:3..9,4,4]", {"B": 1, "D": 5}),
    (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), "f32[B,2,H:3..64,W:3..64]", {"B": 2, "H": 5, "W": 4}),
    (lambda: nn.SeparableConv2d(2, 3, 3), "f32[B,2,6,6]", {"B": 3}),
    (lambda: nn.MaxPool2d(2, padding=1), "f32[B,2,H:3..64,5]", {"B": 2, "H": 6}),
    (lambda: nn.AvgPool1d(3, 2, 1), "f32[B,2,L:4..64]", {"B": 2, "L": 7}),
    (lambda: nn.LPPool2d(2, 2), "f32[B,2,6,6]", {"B": 2}),
    (lambda: nn.AdaptiveAvgPool2d(1), "f32[B,2,H:1..64,W:1..64]", {"B": 2, "H": 3, "W": 5}),
    (lambda: nn.AdaptiveAvgPool2d((None, 3)), "f32[B,2,H:1..64,5]", {"B": 2, "H": 3}),
    (lambda: nn.AdaptiveMaxPool2d(3), "f32[B,2,5,4]", {"B": 2}),
    (nn.GlobalMaxPool, "f32[B,2,H:1..64,4]", {"B": 2, "H": 3}),
    (lambda: nn.LayerNorm((3, 4)), "f32[B,3,4]", {"B": 3}),
    (lambda: nn.RMSNorm(4), "f32[B,T:1..64,4]", {"B": 3, "T": 2}),
    (lambda: nn.GroupNorm(2, 4), "f32[B,4,H:1..64,3]", {"B": 2, "H": 3}),
    (lambda: nn.InstanceNorm2d(3, affine=True), "f32[B,3,H:2..64,4]", {"B": 2, "H": 3}),
    (lambda: nn.LocalResponseNorm(3), "f32[B,4,H:1..64,3]", {"B": 2, "H": 3}),
    (lambda: nn.Embedding(5, 3, padding_idx=0), "i64[B,T:1..64]", {"B": 2, "T": 3}),
    (lambda: nn.Upsample(scale_factor=2), "f32[B,2,H:1..64,W:1..64]", {"B": 2, "H": 3, "W": 2}),
    (lambda: nn.Upsample(size=(5, 3), mode="bilinear"), "f32[B,2,4,4]", {"B": 2}),
    (lambda: nn.PixelShuffle(2), "f32[B,4,H:1..64,3]", {"B": 2, "H": 2}),
    (lambda: nn.PixelUnshuffle(2), "f32[B,1,4,6]", {"B": 2}),
    (lambda: nn.ChannelShuffle(2), "f32[B,4,L:1..64]", {"B": 2, "L": 3}),
    (lambda: nn.PReLU(3), "f32[B,3,L:1..64]", {"B": 2, "L": 3}),
    (nn.Hardmax, "f32[B,C:1..64]", {"B": 2, "C": 5}),
    (lambda: nn.GLU(1), "f32[B,4,L:1..64]", {"B": 2, "L": 3}),
    (lambda: nn.Unflatten(1, (2, -1)), "f32[B,6]", {"B": 2}),
    (lambda: nn.ReflectionPad2d((1, 2, 0, 3)), "f32[B,2,H:4..64,W:3..64]", {"B": 2, "H": 4, "W": 3}),
    (lambda: nn.ReplicationPad1d(3), "f32[B,2,L:1..64]", {"B": 2, "L": 2}),
    (lambda: nn.CircularPad1d((2, 1)), "f32[B,2,L:2..64]", {"B": 2, "L": 2}),
    (lambda: nn.Perceptron(4, 3), "f32[B,4]", {"B": 3}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "spec", "sizes"), LAYERS, ids=[f"{build().__class__.__name__}" for build, _, _ in LAYERS]
)
def test_a_layer_over_symbolic_sizes_gives_what_it_gives_over_known_ones(
    build: Any, spec: str, sizes: dict[str, int]
) -> None:
    layer = build()
    program = nv.trace(layer, spec)
    shape = tuple(d if isinstance(d, int) else sizes[str(d)] for d in program.main.inputs[0].type.shape)
    if spec.startswith("i64"):
        x = RNG.integers(0, 5, shape)
    else:
        x = RNG.normal(size=shape).astype(np.float32)
    wanted = nv.compile(layer, x, backend="reference")(x)
    for backend in ("reference", "llvm", "onnx"):
        found = nv.compile(program, backend=backend)(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("build", "spec", "sizes"), LAYERS, ids=[f"{build().__class__.__name__}" for build, _, _ in LAYERS]
)
def test_a_layer_takes_an_empty_batch(build: Any, spec: str, sizes: dict[str, int]) -> None:
    program = nv.trace(build(), spec.replace("[B,", "[B:0..8,"))
    given = {**sizes, "B": 0}
    shape = tuple(d if isinstance(d, int) else given[str(d)] for d in program.main.inputs[0].type.shape)
    x = np.zeros(shape, np.int64 if spec.startswith("i64") else np.float32)
    wanted = nv.compile(program, backend="reference")(x)
    assert wanted.shape[0] == 0
    assert nv.compile(program)(x).shape == wanted.shape


ACTIVATIONS: list[Any] = [
    nn.relu, nn.relu6, nn.leaky_relu, nn.elu, nn.celu, nn.selu, nn.gelu, lambda x: nn.gelu(x, "tanh"), nn.silu, nn.mish,
    nn.softplus, nn.softsign, nn.tanh, nn.sigmoid, nn.logsigmoid, nn.hardsigmoid, nn.hardswish, nn.hardtanh,
    nn.thresholded_relu, nn.tanhshrink, nn.softshrink, nn.hardshrink, nn.step,
]  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_nan_passes_through_every_activation_and_spoils_nothing_else(backend: str) -> None:
    x = np.array([-3.0, np.nan, 0.5, 2.0], np.float32)
    found = nv.compile(lambda x: tuple(f(x) for f in ACTIVATIONS), x, backend=backend)(x)
    for function, y in zip(ACTIVATIONS, found, strict=True):
        assert np.isnan(y).tolist() == [False, True, False, False], function


WINDOW = st.tuples(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)
)


@given(WINDOW)
def test_the_size_behind_a_window_is_the_formulas_or_an_error_with_its_numbers(
    window: tuple[int, ...],
) -> None:
    size, kernel, stride, padding, dilation = window
    reach = (kernel - 1) * dilation + 1
    x, w = f"f32[1,1,{size}]", f"f32[1,1,{kernel}]"

    def layer(x: Any, w: Any) -> Any:
        return nn.conv1d(x, w, None, stride, padding, dilation)

    if reach > size + 2 * padding:
        sizes = f"{size} \\+ {padding} \\+ {padding} < \\({kernel} - 1\\) \\* {dilation} \\+ 1 = {reach}"
        with pytest.raises(nv.NervureError, match=f"the window does not fit: {sizes}"):
            nv.trace(layer, x, w)
    else:
        found = nv.trace(layer, x, w).main.outputs[0].type.shape[2]
        assert found == (size + 2 * padding - reach) // stride + 1


NUMPY_MODES = {
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
    "constant": "constant",
}


@pytest.mark.parametrize("mode", NUMPY_MODES)
@given(low=st.integers(0, 3), high=st.integers(0, 3), above=st.integers(0, 3))
def test_padding_is_numpys(mode: str, low: int, high: int, above: int) -> None:
    x = np.arange(20.0).reshape(4, 5)
    program = nv.trace(lambda x: nn.pad(x, (low, high, above, 0), mode), x)
    wanted = np.pad(x, ((above, 0), (low, high)), mode=NUMPY_MODES[mode])
    np.testing.assert_array_equal(evaluate_program(program, [x])[0], wanted)


LOSSES: list[tuple[Any, str, str]] = [
    (nn.CrossEntropyLoss(np.ones(3, np.float32), 1, label_smoothing=0.1), "f32[B,3]", "i64[B]"),
    (nn.CrossEntropyLoss(), "f32[B,3,H:1..9]", "i64[B,H:1..9]"),
    (nn.CrossEntropyLoss(), "f32[B,3]", "f32[B,3]"),
    (nn.NLLLoss(), "f32[B,3]", "i64[B]"),
    (nn.BCEWithLogitsLoss(pos_weight=np.ones(3, np.float32)), "f32[B,3]", "f32[B,3]"),
    (nn.KLDivLoss("batchmean"), "f32[B,3]", "f32[B,3]"),
    (nn.MultiMarginLoss(), "f32[B,3]", "i64[B]"),
    (nn.MultiHingeLoss(), "f32[B,3]", "i64[B]"),
    (nn.PerceptronLoss(), "f32[B,3]", "i64[B]"),
    (nn.HingeLoss(), "f32[B]", "i64[B]"),
    (nn.HuberLoss(), "f32[B,3]", "f32[B,3]"),
]


@pytest.mark.parametrize(
    ("loss", "scores", "labels"), LOSSES, ids=[type(loss).__name__ for loss, _, _ in LOSSES]
)
def test_a_loss_and_its_gradient_serve_every_batch(loss: Any, scores: str, labels: str) -> None:
    run = nv.compile(nv.value_and_grad(loss), scores, labels, backend="reference")
    for batch in (1, 4):
        types = nv.trace(loss, scores, labels).main.inputs
        arrays: list[Any] = []
        for value in types:
            shape = tuple(d if isinstance(d, int) else {"B": batch, "H": 2}[str(d)] for d in value.type.shape)
            if value.type.dtype.is_float:
                arrays.append(RNG.uniform(0.1, 1, shape).astype(np.float32))
            else:
                arrays.append(RNG.choice([0, 2] if len(scores) > 6 else [-1, 1], shape))
        for got, want in zip(
            run(*arrays),
            nv.compile(nv.value_and_grad(loss), *arrays, backend="reference")(*arrays),
            strict=True,
        ):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_layers_keep_the_element_type_they_are_given(dtype: str) -> None:
    images = f"{dtype}[B,4,6,6]"
    layers = [
        nn.Conv2d(4, 2, 3, dtype=dtype), nn.ConvTranspose2d(4, 2, 3, dtype=dtype), nn.MaxPool2d(2), nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(4), nn.GroupNorm(2, 4, dtype=dtype), nn.InstanceNorm2d(4), nn.LocalResponseNorm(3), nn.Mish(),
        nn.ELU(), nn.GELU("tanh"), nn.Hardswish(), nn.PReLU(4, dtype=dtype), nn.Softmax2d(), nn.Hardmax(), nn.LayerNorm(6, dtype=dtype),
        nn.RMSNorm(6, dtype=dtype), nn.Upsample(scale_factor=1.5, mode="bilinear"), nn.PixelShuffle(2), nn.LPPool2d(2, 2),
    ]  # fmt: skip
    for layer in layers:
        assert str(nv.trace(layer, images).main.outputs[0].type.dtype) == dtype, layer


def test_half_precision_is_normalised_in_single() -> None:
    x = (1000 + 100 * RNG.normal(size=(2, 512))).astype(np.float16)
    layer = nn.LayerNorm(512, dtype="f16")
    found = nv.compile(layer, x, backend="reference")(x).astype(np.float64)
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_loss_with_class_weights_trains_and_keeps_them_as_state() -> None:
    loss = nn.CrossEntropyLoss(weight=np.array([1, 2, 3], np.float32))
    model = nn.Linear(4, 3)
    program = nv.training_step(model, loss, optim.SGD(0.1), "f32[B,4]", "i64[B]")
    step = nv.compile(program)
    x, labels = RNG.normal(size=(6, 4)).astype(np.float32), RNG.integers(0, 3, 6)
    before = float(step(x, labels))
    for _ in range(20):
        after = float(step(x, labels))
    assert after < before
    assert loss.weight is not None and loss.weight.data.tolist() == [1, 2, 3]


def test_instance_norm_tracks_means_over_the_batch() -> None:
    layer = nn.InstanceNorm1d(2, track_running_stats=True, dtype="f64")
    x = RNG.normal(1, 2, size=(3, 2, 5))
    step = nv.compile(nv.trace(layer, x, training=True), backend="reference")
    y = step(x)
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.data, 0.1 * x.mean(2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, 0.9 + 0.1 * x.var(2, ddof=1).mean(0), rtol=1e-12)
    shown = nv.compile(layer, x, backend="reference")(x)
    mean, var = (s.data[:, None] for s in (layer.running_mean, layer.running_var))
    np.testing.assert_allclose(shown, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-9)


def test_embedding_gives_no_gradient_to_its_padding() -> None:
    layer = nn.Embedding(4, 2, padding_idx=1, dtype="f64")
    assert not layer.weight.data[1].any()
    table = RNG.normal(size=(4, 2))
    x = np.array([0, 1, 1, 3, 0])
    run = nv.compile(
        nv.value_and_grad(lambda w, i: nn.embedding(i, w, 1).sum()), table, x, backend="reference"
    )
    value, slope = run(table, x)
    assert value == pytest.approx(table[x].sum())
    assert slope.tolist() == [[2, 2], [0, 0], [0, 0], [1, 1]]


def test_cat_is_concatenate_under_pytorchs_name() -> None:
    run = nv.compile(lambda x, y: nn.cat([x, y, x], dim=-1), "f32[B,3]", "f32[B,2]", backend="reference")
    x, y = (RNG.standard_normal((4, n)).astype("f4") for n in (3, 2))
    np.testing.assert_array_equal(run(x, y), np.concatenate([x, y, x], axis=-1))
    with pytest.raises(nv.NervureError, match="cat: expected at least one tensor"):
        nv.trace(lambda _: nn.cat([]), "f32[2]")
