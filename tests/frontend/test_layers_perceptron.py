"""The perceptron and the losses that PyTorch has not, against their formulas; its rule is a subgradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim

RNG = np.random.default_rng(8)
BACKENDS = ["reference", "llvm", "onnx"]


def ran(function: Any, *arrays: Any, backend: str = "reference") -> Any:
    return nv.compile(function, *arrays, backend=backend)(*arrays)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_perceptron_decides_by_the_side_of_its_plane(backend: str) -> None:
    layer = nn.Perceptron(2)
    layer.weight.assign(np.array([[1, -2]], np.float32))
    layer.bias.assign(np.array([0.5], np.float32))
    x = np.array([[1, 0], [0, 1], [0.5, 0.5], [-0.5, 0]], np.float32)
    assert ran(layer, x, backend=backend).tolist() == [1, 0, 0, 0]
    layer.at0 = 1.0
    assert ran(layer, x, backend=backend).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_perceptron_of_several_classes_takes_the_largest_score_and_the_first_of_equals(
    backend: str,
) -> None:
    layer = nn.Perceptron(2, 3, bias=False)
    layer.weight.assign(np.array([[1, 0], [0, 1], [0, 1]], np.float32))
    x = np.array([[3, 1], [0, 2], [-1, -1]], np.float32)
    found = ran(layer, x, backend=backend)
    assert found.dtype == np.int64
    assert found.tolist() == [0, 1, 0]


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_the_perceptron_rule_is_the_subgradient_of_its_loss(backend: str) -> None:
    """From zeros on, example by example, w += rate (label - decision) x, to the last bit of small integers."""
    rate = 0.5
    x = RNG.integers(-4, 5, (40, 3)).astype(np.float32)
    labels = np.where(x @ [1, -2, 1] + 1 > 0, 1, -1)
    layer = nn.Perceptron(3)
    w, bias = np.zeros(3), 0.0

    class Scores(nn.Module):
        def __init__(self) -> None:
            self.inner = layer

        def __call__(self, x: Any) -> Any:
            return self.inner.scores(x)

    program = nv.training_step(Scores(), nn.perceptron_loss, optim.SGD(rate), x[:1], labels[:1])
    step = nv.compile(program, backend=backend)
    mistakes: list[int] = []
    for _ in range(30):
        mistakes.append(0)
        for row, label in zip(x, labels, strict=True):
            decision = int(row @ w + bias > 0)
            difference = (label + 1) // 2 - decision
            mistakes[-1] += difference != 0
            w, bias = w + rate * difference * row, bias + rate * difference
            step(row[None], np.array([label]))
            assert layer.weight.data[0].tolist() == w.tolist()
            assert layer.bias.data.tolist() == [bias]
    assert mistakes[0] > 0 and mistakes[-1] == 0, "it converged, as the data can be separated"
    assert (ran(layer, x) == (labels > 0)).all()


def test_the_rule_of_several_classes_moves_the_label_and_the_winner() -> None:
    x = RNG.normal(size=(5, 3))
    labels = RNG.integers(0, 4, 5)
    layer = nn.Perceptron(3, 4, dtype="f64")
    w, bias = RNG.normal(size=(4, 3)), np.zeros(4)
    layer.weight.assign(w)

    class Scores(nn.Module):
        def __init__(self) -> None:
            self.inner = layer

        def __call__(self, x: Any) -> Any:
            return self.inner.scores(x)

    loss = nn.PerceptronLoss("sum")
    step = nv.compile(nv.training_step(Scores(), loss, optim.SGD(0.1), x, labels), backend="reference")
    decided = (x @ w.T).argmax(1)
    onehot = np.eye(4)
    change = onehot[labels] - onehot[decided]
    step(x, labels)
    np.testing.assert_allclose(layer.weight.data, w + 0.1 * change.T @ x, rtol=1e-12)
    np.testing.assert_allclose(layer.bias.data, bias + 0.1 * change.sum(0), atol=1e-12)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_hinge_loss_and_its_gradient(squared: bool, margin: float) -> None:
    x, y = RNG.normal(size=12), RNG.choice([-1, 1], 12)
    lack = np.maximum(0, margin - y * x)

    def loss(x: Any, y: Any) -> Any:
        return nn.hinge_loss(x, y, margin, squared, "sum")

    value, slope = ran(nv.value_and_grad(loss), x, y)
    np.testing.assert_allclose(value, (lack**2 if squared else lack).sum(), rtol=1e-12)
    np.testing.assert_allclose(slope, -y * (2 * lack if squared else lack > 0), rtol=1e-12)


def test_the_hinge_has_no_slope_at_its_corner() -> None:
    assert ran(nv.grad(lambda x: nn.hinge_loss(x, np.array([1.0]))), np.array([1.0])).tolist() == [0]
    assert ran(nv.grad(lambda x: nn.perceptron_loss(x, np.array([1.0]))), np.array([0.0])).tolist() == [-1]


@pytest.mark.parametrize("squared", [False, True])
def test_hinge_losses_of_several_classes(squared: bool) -> None:
    x, labels = RNG.normal(size=(7, 4)), RNG.integers(0, 4, 7)
    rows = np.arange(7)
    others = x.copy()
    others[rows, labels] = -np.inf
    crammer = np.maximum(0, 1.5 - x[rows, labels] + others.max(1))
    signs = np.where(np.arange(4) == labels[:, None], 1, -1)
    rest = np.maximum(0, 1.5 - signs * x)
    wanted = {"crammer_singer": crammer[:, None], "one_vs_rest": rest}
    for kind, lack in wanted.items():
        costs = (lack**2 if squared else lack).sum(1)
        for reduction, want in (("none", costs), ("sum", costs.sum()), ("mean", costs.mean())):
            layer = nn.MultiHingeLoss(1.5, squared, kind, reduction)
            np.testing.assert_allclose(ran(layer, x, labels), want, rtol=1e-12)


@pytest.mark.parametrize("kind", ["crammer_singer", "one_vs_rest"])
def test_gradients_of_hinge_losses_of_several_classes(kind: str) -> None:
    x, labels = RNG.normal(size=(5, 3)), RNG.integers(0, 3, 5)

    def loss(x: Any, y: Any) -> Any:
        return nn.multi_hinge_loss(x, y, multi_class=kind, reduction="sum")

    direction, step = RNG.normal(size=(5, 3)), 1e-6
    slope = ran(nv.grad(loss), x, labels)
    ahead, behind = (ran(loss, x + h * direction, labels) for h in (step, -step))
    assert (slope * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one() -> None:
    layer = nn.SeparableConv2d(3, 5, 3, padding=1, depth_multiplier=2, dtype="f64")
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        "depthwise.weight": (6, 1, 3, 3), "pointwise.weight": (5, 6, 1, 1), "pointwise.bias": (5,),
    }  # fmt: skip
    x = RNG.normal(size=(2, 3, 6, 5))
    depth, point = layer.depthwise.weight.data, layer.pointwise.weight.data
    whole = np.einsum("om,mij->omij", point[:, :, 0, 0], depth[:, 0]).reshape(5, 3, 2, 3, 3).sum(2)
    wanted = ran(lambda x, w, b: nn.conv2d(x, w, b, padding=1), x, whole, layer.pointwise.bias.data)
    np.testing.assert_allclose(ran(layer, x), wanted, rtol=1e-12, atol=1e-12)


def test_functions_that_pytorch_has_not_agree_with_their_formulas() -> None:
    x = RNG.normal(size=(3, 4, 5))
    np.testing.assert_array_equal(ran(nn.ThresholdedReLU(0.5), x), np.where(x > 0.5, x, 0))
    np.testing.assert_array_equal(ran(nn.Hardmax(1), x), np.eye(4)[x.argmax(1)].transpose(0, 2, 1))
    np.testing.assert_allclose(ran(nn.GlobalAvgPool(), x), x.mean(2, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(ran(nn.GlobalMaxPool(), x), x.max(2, keepdims=True))
    gate = x[:, :2]
    np.testing.assert_allclose(ran(nn.SwiGLU(1), x), gate / (1 + np.exp(-gate)) * x[:, 2:], rtol=1e-12)
    np.testing.assert_array_equal(ran(nn.Step(0.5), np.array([-2.0, 0, 3])), [0, 0.5, 1])
    labels = np.array([2, 0, 7])
    np.testing.assert_array_equal(ran(lambda y: nn.one_hot(y, 3), labels), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_depth_to_space_follows_onnx() -> None:
    x = np.arange(8 * 6.0).reshape(1, 8, 2, 3)
    wanted = x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6)
    found = ran(lambda x: nn.depth_to_space(x, 2), x)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(ran(lambda x: nn.space_to_depth(x, 2), found), x)
    shuffled = ran(lambda x: nn.depth_to_space(x, 2, "CRD"), x)
    np.testing.assert_array_equal(shuffled, ran(lambda x: nn.pixel_shuffle(x, 2), x))
