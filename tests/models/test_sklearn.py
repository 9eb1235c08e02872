"""Estimators pass every check of scikit-learn, and learn."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_regression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nervure import nn
from nervure.ir.errors import InputError
from nervure.sklearn import NervureClassifier, NervureRegressor


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([NervureClassifier(epochs=60), NervureRegressor(epochs=60)])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_checks_that_need_a_setting_of_scipy_too() -> None:
    # scikit-learn skips them unless it is there before scipy is imported
    code = """
from sklearn.utils.estimator_checks import estimator_checks_generator as checks_of
from nervure.sklearn import NervureClassifier, NervureRegressor
for made in (NervureClassifier(epochs=2), NervureRegressor(epochs=2)):
    chosen = [(e, check) for e, check in checks_of(made) if "array_api" in str(check)]
    assert chosen
    for estimator, check in chosen:
        check(estimator)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


class Line(nn.Module):
    """Numbers [B], where [B, 1] is asked for."""

    def __init__(self, inputs: int) -> None:
        self.line = nn.Linear(inputs, 1)

    def __call__(self, x: Any) -> Any:
        return self.line(x).reshape(x.shape[0])


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (NervureClassifier(lambda n, k: nn.Linear(n, 2)), r"gives f32\[B,2\], expected f32\[B,3\]"),
        (NervureClassifier(lambda n, k: nn.Linear(n, 5)), r"gives f32\[B,5\], expected f32\[B,3\]"),
        (NervureRegressor(lambda n, k: nn.Linear(n, 5)), r"gives f32\[B,5\], expected f32\[B,1\]"),
        (NervureRegressor(lambda n, k: Line(n)), r"gives f32\[B\], expected f32\[B,1\]"),
        (NervureRegressor(lambda n, k: (n, k)), "model gave tuple, expected a Module"),  # type: ignore[arg-type]
    ],
)
def test_a_model_that_does_not_fit_is_an_error(estimator: Any, message: str) -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    with pytest.raises(InputError, match=message):
        estimator.fit(x, y)


def convnet(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, outputs),
    )


def test_a_convolutional_model_classifies_digits_in_a_pipeline() -> None:
    x, y = load_digits(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), NervureClassifier(convnet, epochs=16, standardize=False, random_state=0)
    )
    scores = cross_val_score(model, x[:900], y[:900], cv=3)
    assert scores.mean() > 0.9


def test_a_regressor_finds_a_line() -> None:
    x, y = make_regression(200, 4, noise=1.0, random_state=0)
    model = NervureRegressor(lambda n, k: nn.Linear(n, k, dtype="f64"), epochs=100, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.99
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_a_feature_that_is_constant_to_rounding_is_not_blown_up() -> None:
    first = np.random.default_rng(0).normal(size=60)
    x = np.column_stack([first, np.full(60, 0.1)])
    assert x[:, 1].std() > 0
    model = NervureRegressor(epochs=30, random_state=0).fit(x, first)
    moved = np.column_stack([first, np.full(60, 0.1 + 1e-9)])
    np.testing.assert_allclose(model.predict(moved), model.predict(x), atol=1e-6)


def test_training_ends_where_the_loss_falls_by_less_than_the_tolerance() -> None:
    x, y = make_regression(100, 4, random_state=0)
    counts = [
        NervureRegressor(epochs=60, early_stop=3, tol=tol, random_state=0).fit(x, y).n_iter_
        for tol in (0.0, 0.05, 1e9)
    ]
    assert counts[0] > counts[1] > counts[2] == 4


def test_a_pickled_estimator_predicts_the_same() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    model = NervureClassifier(epochs=5, random_state=1).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(model.predict_proba(x), again.predict_proba(x))


def test_a_random_state_decides_everything() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    first, second = (
        NervureClassifier(epochs=3, random_state=5).fit(x, y).decision_function(x) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_without_scikit_learn_one_error_says_what_to_install() -> None:
    code = "import sys\nsys.modules['sklearn'] = None\nimport nervure.sklearn"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "nervure.sklearn needs scikit-learn" in run.stderr
    assert "pip install 'nervure[sklearn]'" in run.stderr
