# pyright: basic, reportIncompatibleMethodOverride=false
# scikit-learn has no types: strict checking would see nothing but unknowns
"""Estimators for scikit-learn around any model. The one place that imports scikit-learn (extra ``[sklearn]``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from .compiling import compile as compile_
from .frontend import nn, optim
from .frontend.preprocessing import Standardize
from .frontend.random import drawing_from
from .frontend.trace import trace
from .ir.errors import InputError, NervureError
from .ir.types import Array, DType, f64
from .train import fit as train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise NervureError("nervure.sklearn needs scikit-learn", hint="pip install 'nervure[sklearn]'") from error

__all__ = ["NervureClassifier", "NervureRegressor", "mlp"]

Factory = Callable[[int, int], nn.Module]
"""Makes a model of so many inputs and outputs."""


def mlp(inputs: int, outputs: int) -> nn.Module:
    """The model where none is given: one hidden layer of 32, in f64 as scikit-learn computes."""
    return nn.Sequential(nn.Linear(inputs, 32, dtype="f64"), nn.Tanh(), nn.Linear(32, outputs, dtype="f64"))


class Estimator(BaseEstimator):
    """What both estimators share.

    Args:
        model:        makes a module of so many inputs and outputs, on [B, inputs] of its weights' type
        epochs:       passes over the data
        batch:        samples of a step
        lr:           the learning rate of Adam
        standardize:  whether features are standardised first, by the training data; `module_` then takes such features
        early_stop:   end after so many epochs without a smaller loss; None for never
        tol:          by how much a loss must be smaller to count
        backend:      that trains and predicts
        random_state: of initial weights and batches, as everywhere in scikit-learn
    """

    n_features_in_: int

    def __init__(
        self,
        model: Factory = mlp,
        *,
        epochs: int = 200,
        batch: int = 32,
        lr: float = 0.01,
        standardize: bool = True,
        early_stop: int | None = None,
        tol: float = 0.0,
        backend: str = "llvm",
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.standardize = standardize
        self.early_stop = early_stop
        self.tol = tol
        self.backend = backend
        self.random_state = random_state

    def _train(self, x: Array, y: Array, outputs: int, loss: Callable[..., Any]) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with drawing_from(np.random.default_rng(seed)):
            network = self.model(x.shape[1], outputs)
        self.mean_, self.scale_ = Standardize().statistics(x)
        self.module_ = network
        self._check_outputs(outputs)
        history = train(
            network, (self._features(x), y), loss, optim.Adam(self.lr), self._spec(), epochs=self.epochs,
            batch=self.batch, seed=seed, backend=self.backend, early_stop=self.early_stop,
            tolerance=self.tol,
        )  # fmt: skip
        self.n_iter_ = len(history.epochs)
        self.loss_curve_ = [e.loss for e in history.epochs]
        self._run = compile_(network, self._spec(), backend=self.backend)

    def _check_outputs(self, outputs: int) -> None:
        """The model has to give what it was made for."""
        name = type(self).__name__
        if not isinstance(self.module_, nn.Module):
            raise InputError(f"{name}: model gave {type(self.module_).__name__}, expected a Module")
        found = trace(self.module_, self._spec()).main.outputs
        if len(found) != 1 or found[0].type.shape[1:] != (outputs,):
            types = ", ".join(str(value.type) for value in found)
            raise InputError(f"{name}: the model gives {types}, expected {self._dtype()}[B,{outputs}]")

    def _spec(self) -> str:
        """The type of the model's input: of its weights' element type."""
        return f"{self._dtype()}[B,{self.n_features_in_}]"

    def _dtype(self) -> DType:
        return next((p.type.dtype for p in self.module_.parameters()), f64)

    def _features(self, x: Array) -> Array:
        if self.standardize:
            x = (x - self.mean_) / self.scale_
        return np.ascontiguousarray(x, self._dtype().numpy)

    def _outputs(self, x: Any) -> Array:
        """What the model gives for samples, in f64."""
        check_is_fitted(self)
        data: Any = validate_data(self, x, reset=False, dtype=np.float64)
        return np.asarray(self._run(self._features(data)), np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """Weights travel as arrays, executables do not."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_run"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "module_"):
            self._run = compile_(self.module_, self._spec(), backend=self.backend)


class NervureClassifier(ClassifierMixin, Estimator):
    """A classifier around a model that gives one score a class.

    Attributes:
        classes_, n_features_in_: as everywhere in scikit-learn
        module_:                  the trained model
        loss_curve_:              the mean loss of each epoch
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples and labels."""
        checked: Any = validate_data(self, X, y, dtype=np.float64)
        x, labels = checked
        check_classification_targets(labels)
        self.classes_, places = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"NervureClassifier needs at least 2 classes, found 1 class: {self.classes_[0]}")
        self._train(x, places.astype(np.int64), len(self.classes_), nn.cross_entropy)
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores [N, classes]; of two classes the difference of theirs."""
        scores = self._outputs(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Array:
        """Shares of the classes, by softmax."""
        scores = self._outputs(X)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """The label with the largest score."""
        scores = self._outputs(X)
        return self.classes_[scores.argmax(axis=1)]


class NervureRegressor(RegressorMixin, Estimator):
    """A regressor around a model, trained on the squared error of standardised targets.

    Attributes:
        n_features_in_: as everywhere in scikit-learn
        module_:        the trained model
        loss_curve_:    the mean loss of each epoch
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples and numbers [N] or [N, outputs]."""
        checked: Any = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        x, targets = checked
        self._flat = targets.ndim == 1
        columns = targets.reshape(len(targets), -1).astype(np.float64)
        self.target_mean_, self.target_scale_ = Standardize().statistics(columns)
        scaled = (columns - self.target_mean_) / self.target_scale_
        self._train(x, scaled, columns.shape[1], nn.mse_loss)
        return self

    def predict(self, X: Any) -> Array:
        """The model's numbers."""
        found = self._outputs(X) * self.target_scale_ + self.target_mean_
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
