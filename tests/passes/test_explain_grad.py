"""The chain rule in print: complete over the ops, and right on a network followed by hand."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError
from nervure.ir.op import OPS
from nervure.passes.autodiff import NOT_DIFFERENTIABLE, RULES
from nervure.passes.autodiff.equations import EQUATIONS


class Net(nn.Module):
    def __init__(self) -> None:
        self.fc1 = nn.Linear(4, 3, dtype="f64")
        self.fc2 = nn.Linear(3, 2, dtype="f64")

    def __call__(self, x: Any) -> Any:
        h = nn.tanh(self.fc1(x))
        return self.fc2(h) + h.sum()


def test_every_op_that_has_a_derivative_has_an_equation() -> None:
    assert set(EQUATIONS) == set(OPS) - set(NOT_DIFFERENTIABLE)
    assert set(RULES) <= set(EQUATIONS)


@pytest.mark.parametrize("name", EQUATIONS)
def test_an_equation_has_known_placeholders(name: str) -> None:
    known = {"g", "y", "g1", "y1", *map(str, range(6))}
    for template in EQUATIONS[name]:
        fields = {field for _, field, _, _ in string.Formatter().parse(template or "") if field is not None}
        assert fields <= known


def test_the_chain_rule_of_an_mlp() -> None:
    nv.seed(0)
    net = Net()
    text = str(nv.explain_grad(lambda x, y: nn.cross_entropy(net(x), y), "f64[B,4]", "i64[B]"))
    lines = [re.sub(r"    \S+:\d+$", "", line) for line in text.splitlines() if line]
    assert lines == [
        "loss = v5",
        "v5 = cross_entropy(v3, v4)",
        "  d loss / d v5 = 1",
        "v3 [B,2] = add(fc2, v2)",
        "  d loss / d v3 [B,2] = (d loss / d v5) * (softmax(v3 [B,2]) - onehot(v4 [B])), over the batch where the loss is a mean",
        "v2 [B,2] = broadcast_in_dim(v1)",
        "  d loss / d v2 [B,2] = (d loss / d v3)",
        "v1 = reduce_sum(v0)",
        "  d loss / d v1 = sum of (d loss / d v2 [B,2]) over the axes that repeat",
        "fc2 [B,2] = linear(v0, fc2.weight, fc2.bias)",
        "  d loss / d fc2 [B,2] = (d loss / d v3)",
        "v0 [B,3] = tanh(fc1)",
        "  d loss / d v0 [B,3] = (d loss / d v1) repeated along the axes that were summed",
        "                      + (d loss / d fc2 [B,2]) . fc2.weight [2,3]",
        "fc1 [B,3] = linear(x, fc1.weight, fc1.bias)",
        "  d loss / d fc1 [B,3] = (d loss / d v0) * (1 - v0^2)",
        "fc1.weight [3,4] = a weight",
        "  d loss / d fc1.weight [3,4] = (d loss / d fc1 [B,3])^T . x [B,4]",
        "fc1.bias [3] = a weight",
        "  d loss / d fc1.bias [3] = sum of (d loss / d fc1 [B,3]) over the batch",
        "fc2.weight [2,3] = a weight",
        "  d loss / d fc2.weight [2,3] = (d loss / d fc2 [B,2])^T . v0 [B,3]",
        "fc2.bias [2] = a weight",
        "  d loss / d fc2.bias [2] = sum of (d loss / d fc2 [B,2]) over the batch",
        "x [B,4] = an input",
        "  d loss / d x [B,4] = (d loss / d fc1 [B,3]) . fc1.weight [3,4]",
    ]


def test_the_printed_equations_followed_by_hand_give_the_gradients() -> None:
    nv.seed(1)
    net = Net()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)), np.array([0, 1, 1, 0, 1])
    w1, b1, w2, b2 = (e.data for _, e in net.named_entries())
    fc1 = x @ w1.T + b1
    v0 = np.tanh(fc1)
    v3 = v0 @ w2.T + b2 + v0.sum()
    shares = np.exp(v3) / np.exp(v3).sum(axis=1, keepdims=True)
    # the lines of the print, from the loss down
    d_v3 = (shares - np.eye(2)[y]) / 5
    d_v1 = d_v3.sum()
    d_v0 = np.full_like(v0, d_v1) + d_v3 @ w2
    d_fc1 = d_v0 * (1 - v0**2)
    expected = [d_fc1.T @ x, d_fc1.sum(axis=0), d_v3.T @ v0, d_v3.sum(axis=0), d_fc1 @ w1]

    def loss(weights: Any, x: Any) -> Any:
        h = nn.tanh(nn.linear(x, weights[0], weights[1]))
        return nn.cross_entropy(nn.linear(h, weights[2], weights[3]) + h.sum(), np.array(y))

    def slopes(w1: Any, b1: Any, w2: Any, b2: Any, x: Any) -> Any:
        return nv.grad(lambda *a: loss(a[:4], a[4]), (0, 1, 2, 3, 4))(w1, b1, w2, b2, x)

    given = [np.array(a) for a in (w1, b1, w2, b2, x)]
    found = nv.compile(slopes, *given, backend="reference")(*given)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_result_that_is_no_scalar_is_summed_and_ends_say_why() -> None:
    found = nv.explain_grad(lambda x: nn.relu(x) * nn.heaviside(x, 0.0), "f32[3]")
    assert found.loss == "sum of v2 [3]" or found.loss.startswith("sum of ")
    assert any(end.startswith("step: ") for end in found.ends)
    assert found.steps[-1].value == "x"


def test_without_a_float_there_is_nothing_to_differentiate() -> None:
    with pytest.raises(InputError, match="returns no float"):
        nv.explain_grad(lambda x: x + 1, "i64[3]")
