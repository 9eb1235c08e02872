"""Layers and functions against numpy, their errors, and what training adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import NervureError, TraceError, TypeInferenceError
from nervure.ir.interpret import evaluate_program

RNG = np.random.default_rng(21)


def message_of(function: Any, *specs: str) -> tuple[str, tuple[str, ...], str | None]:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(function, *specs)
    assert caught.value.where[0].startswith("tests/frontend/test_layers.py:")
    return caught.value.message, caught.value.details, caught.value.hint


def test_convolution_errors_speak_of_conv2d_with_its_arguments() -> None:
    assert message_of(nn.conv2d, "f32[8,3,28,28]", "f32[16,1,3,3]") == (
        "conv2d: weight expects 1 input channel, input has 3",
        ("x: f32[8,3,28,28]   w: f32[16,1,3,3]   groups=1",),
        "pass groups=3 for a depthwise convolution",
    )
    assert message_of(lambda x, w: nn.conv2d(x, w, groups=2), "f32[8,6,9,9]", "f32[4,2,3,3]") == (
        "conv2d: weight expects 4 input channels, input has 6",
        ("x: f32[8,6,9,9]   w: f32[4,2,3,3]   groups=2",),
        None,
    )
    assert message_of(nn.conv2d, "f32[8,3,2,9]", "f32[4,3,3,3]")[0] == (
        "conv2d: spatial axis 0: the window does not fit: 2 + 0 + 0 < (3 - 1) * 1 + 1 = 3"
    )
    assert message_of(nn.conv2d, "f32[8,3,9]", "f32[4,3,3,3]")[0] == (
        "conv2d: expected x [N, C, H, W] and w [O, C / groups, kH, kW]"
    )
    assert message_of(lambda x, w: nn.conv2d(x, w, stride=2, padding="same"), "f32[1,1,8,8]", "f32[1,1,3,3]")[
        0
    ] == ('conv2d: padding "same" needs stride 1, got (2, 2)')


def test_other_errors_name_the_function_that_was_called() -> None:
    assert message_of(nn.linear, "f32[B,5]", "f32[2,4]") == (
        "linear: weight expects 4 input features, input has 5",
        ("x: f32[B,5]   w: f32[2,4]",),
        "a layer for this input is Linear(5, 2)",
    )
    assert message_of(lambda x: nn.max_pool2d(x, 3), "f32[1,1,2,5]")[0] == (
        "max_pool2d: spatial axis 0: the window does not fit: 2 + 0 + 0 < (3 - 1) * 1 + 1 = 3"
    )
    assert message_of(lambda x: nn.max_pool2d(x, 2, ceil_mode=True), "f32[1,1,H,8]")[0] == (
        "max_pool2d: ceil_mode needs a known size, spatial axis 0 is H"
    )
    assert message_of(lambda x: nn.softmax(x, 2), "f32[3,4]")[1] == ("x: f32[3,4]   dim=2",)
    assert message_of(nn.cross_entropy, "f32[B,4]", "f32[B]") == (
        "cross_entropy: target is f32, expected integers, the labels of classes",
        ("input: f32[B,4]   target: f32[B]   reduction=mean",),
        None,
    )
    assert message_of(nn.mse_loss, "f32[B,1]", "f32[B]")[0] == ("mse_loss: input and target differ in shape")
    assert message_of(nn.BatchNorm2d(3), "f32[B,4,2,2]")[0] == "BatchNorm2d: x has 4 channels, expected 3"
    assert message_of(nn.BatchNorm1d(3), "f32[B,3,2,2]")[0] == "BatchNorm1d: x has rank 4, expected 2 or 3"
    assert message_of(nn.RNN(3, 2), "f32[5,B,4]")[0] == "RNN: expected x [T, N, in] with 3 features"


def test_constructors_refuse_what_makes_no_layer() -> None:
    with pytest.raises(NervureError, match="groups=2 does not divide 3 input and 4 output channels"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(NervureError, match=r"Dropout: p is 1\.5"):
        nn.Dropout(1.5)
    with pytest.raises(NervureError, match='nonlinearity is "elu"'):
        nn.RNN(2, 2, nonlinearity="elu")


def test_dropout_is_nothing_at_inference_and_draws_anew_at_each_step() -> None:
    nv.seed(2)
    layer = nn.Dropout(0.25)
    x = np.ones((50, 40), np.float32)
    assert evaluate_program(nv.trace(layer, x), [x])[0].tolist() == x.tolist()
    step = nv.trace(layer, x, training=True)
    first, second = (evaluate_program(step, [x], write=True)[0] for _ in range(2))
    for drawn in (first, second):
        assert set(np.unique(drawn)) == {np.float32(0), np.float32(1 / 0.75)}
        assert (drawn == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (first != second).any()


def test_the_same_key_gives_the_same_dropout() -> None:
    x = np.ones((8, 8), np.float32)
    runs: list[Any] = []
    for _ in range(2):
        layer = nn.Dropout(0.5, rng=np.random.default_rng(1))
        runs.append(evaluate_program(nv.trace(layer, x, training=True), [x])[0])
    np.testing.assert_array_equal(runs[0], runs[1])


def test_functional_dropout_takes_a_key_or_keeps_one_in_the_program() -> None:
    x, key = np.ones((4, 4), np.float32), np.array([1, 2], np.uint32)
    given = nv.trace(lambda a, k: nn.dropout(a, 0.5, training=True, key=k), x, key)
    assert not given.main.updates
    assert set(np.unique(evaluate_program(given, [x, key])[0])) == {0, 2}
    kept = nv.trace(lambda a: nn.dropout(a, 0.5), x, training=True)
    assert [name for name, _ in kept.main.updates] == ["key"]
    assert not nv.trace(lambda a: nn.dropout(a, 0.5), x).main.nodes
    assert not evaluate_program(nv.trace(lambda a: nn.dropout(a, 1.0, training=True), x), [x])[0].any()


def test_batch_norm_in_training_moves_its_statistics() -> None:
    layer = nn.BatchNorm2d(3, dtype="f64")
    x = RNG.normal(2, 3, (4, 3, 5, 5))
    program = nv.trace(layer, "f64[B,3,5,5]", training=True)
    (y,) = evaluate_program(program, [x], write=True)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.data, 0.1 * x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-12)
    assert layer.num_batches_tracked.data == 1


def test_a_batch_norm_used_twice_tracks_both_batches_in_order() -> None:
    layer = nn.BatchNorm1d(2, dtype="f64")
    x = RNG.normal(size=(6, 2))
    evaluate_program(nv.trace(lambda t: layer(t) + layer(t * 3 + 1), x, training=True), [x], write=True)
    once = 0.1 * x.mean(0)
    np.testing.assert_allclose(layer.running_mean.data, 0.9 * once + 0.1 * (3 * x + 1).mean(0), rtol=1e-12)
    assert layer.num_batches_tracked.data == 2


def test_one_value_a_channel_cannot_train_a_batch_norm() -> None:
    with pytest.raises(TypeInferenceError, match="one value a channel has no variance to train on"):
        nv.trace(nn.BatchNorm1d(4), "f32[1,4]", training=True)


def test_state_cannot_be_updated_inside_a_while() -> None:
    layer = nn.Dropout()
    with pytest.raises(TraceError) as caught:
        nv.trace(lambda x: nv.while_loop(lambda x: x.sum() > 0, layer, x), "f32[5,3]", training=True)
    assert caught.value.message == "@key cannot be updated inside the body of a while_loop"


def test_average_pooling_with_padding_and_ceil_mode_counts_only_real_padding(evaluate: Any) -> None:
    x = np.ones((1, 1, 5, 5))
    found = evaluate(lambda t: nn.avg_pool2d(t, 2, 2, 1, ceil_mode=True), x)
    assert found[0, 0].tolist() == [[0.25, 0.5, 0.5], [0.5, 1, 1], [0.5, 1, 1]]


def test_padding_of_four_is_top_bottom_left_right() -> None:
    program = nv.trace(lambda x, w: nn.conv2d(x, w, padding=(1, 2, 3, 4)), "f32[1,1,5,5]", "f32[1,1,1,1]")
    assert str(program.main.outputs[0].type) == "f32[1,1,8,12]"


def test_conv2d_is_one_conv_and_its_bias() -> None:
    layer = nn.Conv2d(1, 2, 3, padding="same")
    program = nv.trace(layer, "f32[B,1,H:3..9,7]")
    assert [n.op.mnemonic for n in program.main.nodes] == ["conv", "broadcast_in_dim", "add"]
    assert str(program.main.outputs[0].type) == "f32[B,2,H,7]"


def test_losses_agree_with_their_formulas(evaluate: Any) -> None:
    x, y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
    labels = RNG.integers(0, 4, 5)
    np.testing.assert_allclose(evaluate(nn.mse_loss, x, y), ((x - y) ** 2).mean(), rtol=1e-12)
    np.testing.assert_allclose(evaluate(nn.l1_loss, x, y), np.abs(x - y).mean(), rtol=1e-12)
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    costs = -logs[np.arange(5), labels]
    for reduction, want in (("none", costs), ("sum", costs.sum()), ("mean", costs.mean())):
        np.testing.assert_allclose(
            evaluate(lambda a, b, r=reduction: nn.cross_entropy(a, b, reduction=r), x, labels),
            want,
            rtol=1e-12,
        )
        np.testing.assert_allclose(
            evaluate(lambda a, b, r=reduction: nn.nll_loss(a, b, reduction=r), logs, labels), want, rtol=1e-12
        )


def test_labels_of_any_integer_type_and_of_images_are_taken(evaluate: Any) -> None:
    x, labels = RNG.normal(size=(2, 3, 4, 5)), RNG.integers(0, 3, (2, 4, 5))
    flat = x.transpose(0, 2, 3, 1).reshape(-1, 3)
    want = evaluate(nn.cross_entropy, flat, labels.ravel())
    np.testing.assert_allclose(evaluate(nn.cross_entropy, x, labels.astype(np.int32)), want, rtol=1e-12)
    costs = evaluate(lambda a, b: nn.cross_entropy(a, b, reduction="none"), x, labels)
    assert costs.shape == labels.shape
    np.testing.assert_allclose(costs.mean(), want, rtol=1e-12)


def test_half_precision_layers_keep_their_type() -> None:
    program = nv.trace(nn.Linear(3, 2, dtype="bf16"), "bf16[B,3]")
    assert str(program.main.outputs[0].type) == "bf16[B,2]"
