"""Initialisers: bounds, moments and shapes, and one seed for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import init, nn
from nervure.ir.errors import InputError

SHAPE = (60, 20, 3, 5)
FAN_IN, FAN_OUT = 20 * 15, 60 * 15
N = math.prod(SHAPE)
DRAWN: dict[str, Callable[..., Any]] = {
    "uniform": init.uniform,
    "normal": init.normal,
    "xavier_uniform": init.xavier_uniform,
    "xavier_normal": init.xavier_normal,
    "kaiming_uniform": init.kaiming_uniform,
    "kaiming_normal": init.kaiming_normal,
    "trunc_normal": init.trunc_normal,
    "orthogonal": init.orthogonal,
}


def moments(x: Any) -> tuple[float, float]:
    """Mean and standard deviation, each in standard errors of normal draws away from 0 and 1 if x is scaled to them."""
    return float(x.mean() * math.sqrt(x.size)), float((x.std() - 1) * math.sqrt(2 * x.size))


def looks_uniform(x: Any, bound: float) -> None:
    assert np.abs(x).max() <= bound
    assert np.abs(x).max() > bound * (1 - 20 / x.size)
    shares, _ = np.histogram(x, bins=10, range=(-bound, bound))
    expected = x.size / 10
    assert ((shares - expected) ** 2 / expected).sum() < 33.7  # chi-square, 9 degrees of freedom, 0.01 %


def looks_normal(x: Any, std: float) -> None:
    mean, spread = moments(x / std)
    assert abs(mean) < 4 and abs(spread) < 4
    inside = (np.abs(x) < std).mean()
    assert abs(inside - 0.6827) < 4 * math.sqrt(0.6827 * 0.3173 / x.size)


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda s: init.uniform(s, -0.5, 0.5, dtype="f64"), 0.5),
        (lambda s: init.xavier_uniform(s, dtype="f64"), math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda s: init.xavier_uniform(s, 5 / 3, dtype="f64"), 5 / 3 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda s: init.kaiming_uniform(s, dtype="f64"), math.sqrt(2) * math.sqrt(3 / FAN_IN)),
        (lambda s: init.kaiming_uniform(s, mode="fan_out", dtype="f64"), math.sqrt(6 / FAN_OUT)),
        (lambda s: init.kaiming_uniform(s, a=math.sqrt(5), dtype="f64"), 1 / math.sqrt(FAN_IN)),
        (lambda s: init.kaiming_uniform(s, nonlinearity="tanh", dtype="f64"), 5 / 3 * math.sqrt(3 / FAN_IN)),
    ],
)
def test_uniform_draws_fill_their_range_evenly(make: Any, bound: float) -> None:
    nv.seed(11)
    looks_uniform(make(SHAPE).data, bound)


@pytest.mark.parametrize(
    ("make", "std"),
    [
        (lambda s: init.normal(s, dtype="f64"), 1),
        (lambda s: init.normal(s, std=0.02, dtype="f64"), 0.02),
        (lambda s: init.xavier_normal(s, dtype="f64"), math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (lambda s: init.kaiming_normal(s, nonlinearity="relu", dtype="f64"), math.sqrt(2 / FAN_IN)),
        (lambda s: init.kaiming_normal(s, 0.2, "fan_out", dtype="f64"), math.sqrt(2 / 1.04 / FAN_OUT)),
    ],
)
def test_normal_draws_have_their_spread(make: Any, std: float) -> None:
    nv.seed(12)
    looks_normal(make(SHAPE).data, std)


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0, 1, -2, 2), (0.5, 0.1, 0, 1), (0, 1, 0.5, 0.6), (0, 1, 2, 4.5), (-1, 2, -1.5, 3), (0, 1, -3.5, -2)],
)
def test_truncated_draws_stay_inside_and_have_the_density(
    mean: float, std: float, low: float, high: float
) -> None:
    nv.seed(13)
    x = init.trunc_normal((20_000,), mean, std, low, high, dtype="f64").data
    assert low <= x.min() and x.max() <= high

    def cdf(v: Any) -> Any:
        return np.array([0.5 * (1 + math.erf((u - mean) / std / math.sqrt(2))) for u in v])

    edges = np.linspace(low, high, 11)
    expected = np.diff(cdf(edges)) / (cdf([high]) - cdf([low])) * x.size
    shares, _ = np.histogram(x, bins=edges)
    kept = expected > 5
    assert ((shares - expected)[kept] ** 2 / expected[kept]).sum() < 33.7


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3), (6, 2, 2), (2, 3, 4, 5)])
def test_orthogonal_rows_or_columns_have_the_gains_length(shape: tuple[int, ...]) -> None:
    w = init.orthogonal(shape, gain=2.0, dtype="f64").data.reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(min(w.shape)), atol=1e-12)


def test_orthogonal_draws_do_not_prefer_a_sign() -> None:
    nv.seed(14)
    first = [init.orthogonal((3, 3), dtype="f64").data[0, 0] for _ in range(400)]
    assert abs(np.mean(np.sign(first))) < 0.2


def test_numbers_that_are_the_same_everywhere() -> None:
    np.testing.assert_array_equal(init.constant((2, 3), 0.1).data, np.full((2, 3), 0.1, np.float32))
    np.testing.assert_array_equal(init.zeros((2,), dtype="f64").data, [0.0, 0.0])
    np.testing.assert_array_equal(init.ones(nn.Linear(2, 2).bias).data, np.ones(2, np.float32))


@pytest.mark.parametrize("name", DRAWN)
def test_one_seed_means_the_same_weights_in_every_type(name: str) -> None:
    found: list[Any] = []
    for dtype in ("f64", "f64", "f32", "f16", "bf16"):
        nv.seed(5)
        found.append(DRAWN[name]((4, 6), dtype=dtype).data)
    np.testing.assert_array_equal(found[0], found[1])
    for narrow in found[2:]:
        np.testing.assert_array_equal(narrow, found[0].astype(narrow.dtype))
    assert not np.array_equal(found[0], DRAWN[name]((4, 6), dtype="f64").data)


@pytest.mark.parametrize("name", DRAWN)
def test_a_parameter_is_filled_in_place_and_executables_see_it(name: str) -> None:
    layer = nn.Linear(3, 4, bias=False, dtype="f64")
    run = nv.compile(layer, "f64[B,3]", backend="reference")
    before, address = run(np.eye(3)), layer.weight.data.ctypes.data
    assert DRAWN[name](layer.weight) is layer.weight
    assert layer.weight.data.ctypes.data == address
    np.testing.assert_array_equal(run(np.eye(3)), layer.weight.data.T)
    assert not np.array_equal(run(np.eye(3)), before)


def test_deep_networks_keep_the_size_of_their_signals() -> None:
    nv.seed(15)
    x = np.random.default_rng(1).normal(size=(64, 100))
    for gain, act, fill in (
        (None, nn.ReLU, lambda w: init.kaiming_normal(w, nonlinearity="relu")),
        (1.0, nn.Identity, init.xavier_uniform),
        (1.0, nn.Identity, init.orthogonal),
    ):
        layers = [nn.Linear(100, 100, bias=False, dtype="f64") for _ in range(20)]
        for layer in layers:
            fill(layer.weight)
        net = nn.Sequential(*[m for layer in layers for m in (layer, act())])
        out = nv.compile(net, "f64[B,100]", backend="reference")(x)
        assert 0.2 < np.sqrt((out**2).mean()) < 3, gain


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: init.xavier_normal((3,)), "xavier_normal: a weight of shape [3] has fewer than two axes"),
        (lambda: init.orthogonal((3,)), "orthogonal: a weight of shape [3] has fewer than two axes"),
        (
            lambda: init.kaiming_normal((3, 3), nonlinearity="step"),
            "calculate_gain: no gain is known for step",
        ),
        (lambda: init.kaiming_uniform((3, 3), mode="fan"), "kaiming_uniform: mode is 'fan', expected"),  # type: ignore[arg-type]
        (
            lambda: init.trunc_normal((3,), 9.0),
            "trunc_normal: mean is 9.0, std 1.0 and the range -2.0 to 2.0",
        ),
        (lambda: init.normal((3,), std=-1.0), "normal: std is -1.0, expected at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.message.startswith(message)


@pytest.mark.torch
def test_gains_and_bounds_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for name in [*init.GAINS, "leaky_relu"]:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)
    weight = torch.empty(SHAPE, dtype=torch.float64)
    for name, options in (
        ("xavier_uniform", {}),
        ("xavier_normal", {"gain": 2.0}),
        ("kaiming_uniform", {"a": 0.5}),
        ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal", {"nonlinearity": "selu"}),
    ):
        ours = DRAWN[name](SHAPE, dtype="f64", **options).data
        theirs = getattr(torch.nn.init, f"{name}_")(weight, **options).numpy()
        assert ours.std() == pytest.approx(theirs.std(), rel=6 / math.sqrt(2 * N))
        if "uniform" in name:
            assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=1e-3)
