"""`nv.minimize`: where it ends, and why it says it stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError, TraceError


def minimize(f: Any, x0: Any, *args: Any, **options: Any) -> Any:
    return nv.minimize(f, x0, *args, **{"backend": "reference", **options})


@pytest.mark.parametrize("backend", ["llvm", "onnx", "reference"])
def test_a_bowl_ends_at_its_bottom(backend: str) -> None:
    found = minimize(lambda x: ((x - 3) ** 2).sum(), np.zeros(2), tol=1e-8, backend=backend)
    np.testing.assert_allclose(found.x, [3, 3], atol=1e-8)
    assert (found.reason, found.converged) == ("gradient", True)
    assert found.gradient_norm <= 1e-8
    assert len(found.values) == found.steps + 1
    assert found.values[0] == 18 and found.values[-1] == found.value


def wells(x: Any) -> Any:
    """Two local minima, the left one deeper."""
    return (x**4 - 2 * x**2 + 0.3 * x).sum()


def test_the_start_decides_which_minimum_is_found() -> None:
    left, right = (minimize(wells, np.array([s]), optim.SGD(0.05)) for s in (-0.5, 0.5))
    assert left.reason == right.reason == "gradient"
    assert left.x < -1 < 0.9 < right.x
    assert left.value < right.value


def test_it_does_not_move_from_a_hilltop_a_saddle_or_a_plateau() -> None:
    top = minimize(lambda x: -(x**2).sum(), np.zeros(3))
    saddle = minimize(lambda x: x[0] ** 2 - x[1] ** 2, np.array([1.0, 0.0]))
    plateau = minimize(lambda x: (x > 0).astype("f64").sum(), np.array([2.0]))
    assert [r.reason for r in (top, saddle, plateau)] == ["gradient"] * 3
    assert top.steps == plateau.steps == 0
    np.testing.assert_allclose(saddle.x, 0, atol=1e-6)
    assert plateau.x == [2.0] and plateau.value == 1


def test_steps_that_jump_over_the_minimum_stop_at_the_lowest_point() -> None:
    found = minimize(lambda x: abs(x).sum(), np.array([1.03]), optim.SGD(0.1), patience=5)
    assert (found.reason, found.converged) == ("no decrease", True)
    assert found.value == min(found.values) == pytest.approx(0.03)
    assert abs(found.x[0]) == found.value
    assert found.steps < 20


def test_a_rate_that_is_too_high_is_seen() -> None:
    with np.errstate(all="ignore"):
        found = minimize(lambda x: (x**4).sum(), np.array([10.0]), optim.SGD(1.0), patience=None)
    assert (found.reason, found.converged) == ("not finite", False)
    assert np.isfinite(found.x).all() and found.value == 1e4


def test_steps_are_used_up() -> None:
    found = minimize(lambda x: (x**2).sum(), np.array([1.0]), optim.SGD(0.01), steps=5)
    assert (found.reason, found.steps, found.converged) == ("steps", 5, False)
    assert found.x[0] == pytest.approx(0.98**5)
    assert minimize(lambda x: (x**2).sum(), np.array([1.0]), steps=0).values == (1.0,)


def test_rtol_ends_a_long_tail() -> None:
    short, long = (
        minimize(
            lambda x: (x**4).sum() + 1,
            np.array([1.0]),
            optim.SGD(0.05),
            tol=0.0,
            steps=3000,
            rtol=r,
            patience=3,
        )
        for r in (1e-4, 1e-6)
    )
    assert short.reason == long.reason == "no decrease"
    assert short.steps < long.steps


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(0.002, momentum=0.9),
        optim.Adam(optim.cosine(0.1, 3000)),
        optim.RMSprop(optim.cosine(0.02, 3000)),
    ],
    ids=["momentum", "adam", "rmsprop"],
)
def test_rosenbrocks_valley_with_every_kind_of_step(optimizer: Any) -> None:
    def valley(x: Any) -> Any:
        return (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2

    found = minimize(valley, np.array([-1.0, 1.0]), optimizer, steps=3000, patience=None)
    np.testing.assert_allclose(found.x, [1, 1], atol=1e-3)


def test_parameters_that_the_function_uses_stay() -> None:
    nv.seed(2)
    layer = nn.Linear(3, 3, dtype="f64")
    before = layer.state_dict()
    target = np.array([1.0, -1, 2])
    found = minimize(lambda x: ((layer(x) - target) ** 2).sum(), np.zeros(3), optim.Adam(0.05), steps=3000)
    np.testing.assert_allclose(layer.weight.data @ found.x + layer.bias.data, target, atol=1e-2)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_x0_is_left_alone_and_its_type_kept() -> None:
    start = np.ones((2, 2), np.float32)
    found = minimize(lambda x: (x**2).sum(), start)
    assert found.x.dtype == np.float32 and found.x.shape == (2, 2)
    np.testing.assert_array_equal(start, 1)


def test_wrong_arguments_say_why() -> None:
    with pytest.raises(InputError, match="x0 is int64, expected a float array"):
        minimize(lambda x: x.sum(), np.array([1]))
    with pytest.raises(InputError, match="steps is -1"):
        minimize(lambda x: x.sum(), np.array([1.0]), steps=-1)
    with pytest.raises(TraceError, match=r"the function returns f64\[2\], expected a float scalar"):
        minimize(lambda x: x, np.ones(2))


def test_the_door_keeps_functions_whatever_is_imported() -> None:
    assert callable(nv.minimize) and callable(nv.compile) and callable(nv.jacobian)
