"""The gradient's norm by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError

X = np.random.default_rng(0).normal(size=(6, 2, 3))


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_the_norms_are_those_of_the_gradient_by_each_step(backend: str) -> None:
    nv.seed(0)
    layer = nn.GRU(3, 4, dtype="f64")
    slope = nv.compile(nv.grad(lambda x: layer(x)[1].sum()), X, backend="reference")(X)
    found = nv.gradient_flow(lambda x: layer(x)[1].sum(), X, backend=backend)
    np.testing.assert_allclose(found.flows[0].norms, np.sqrt((slope**2).sum((1, 2))), rtol=1e-10)


def test_a_linear_recurrence_changes_by_its_factor() -> None:
    for factor in (0.5, 2.0):

        def loss(x: nn.Tensor, f: float = factor) -> nn.Tensor:
            last, _ = nv.scan(lambda h, row: (h * f + row, None), x[0] * 0, x)
            return last.sum()

        (flow,) = nv.gradient_flow(loss, X).flows
        assert flow.factor == pytest.approx(factor)
        assert flow.label.startswith("scan at ")
        np.testing.assert_allclose(flow.norms, np.sqrt(6) * factor ** np.arange(5.0, -1, -1))


def test_every_layer_has_a_row_and_the_report_prints_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    layer = nn.LSTM(3, 4, num_layers=2, dtype="f64")
    found = nv.gradient_flow(lambda x: layer(x)[0][-1].sum(), X)
    assert len(found.flows) == 2
    text = str(found)
    assert text.count("lstm at ") == 2 and text.count("step     0") == 2
    assert "a step backwards" in text
    found.draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_a_layer_that_the_loss_does_not_see_has_zeros() -> None:
    layer = nn.RNN(3, 4, dtype="f64")
    (flow,) = nv.gradient_flow(lambda x: nn.where(layer(x)[0].sum() > 0, x.sum(), x.sum()), X).flows
    assert (flow.norms == 0).all()


def test_what_has_no_steps_is_told() -> None:
    with pytest.raises(InputError, match="gradient_flow: nothing goes over steps"):
        nv.gradient_flow(lambda x: x.sum(), X)
    layer = nn.RNN(3, 4, dtype="f64")
    with pytest.raises(InputError, match="expected a scalar"):
        nv.gradient_flow(lambda x: layer(x)[0], X)
