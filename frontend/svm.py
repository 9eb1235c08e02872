"""Support vector machines as layers: fitted on data with numpy, their decision function a part of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np

from ..ir import build as b
from ..ir.errors import InputError
from ..ir.types import Array, dtype_of, f32
from .calls import called, wrong
from .functional import exp, linear, tanh
from .nn.module import Module
from .preprocessing import real_numbers
from .svm_products import Products
from .svm_solvers import Dual, smo, subgradient_descent
from .tensor import Tensor, as_tensor

__all__ = ["KernelSVM", "LinearSVM"]

Solver = Literal["smo", "subgradient"]


class SupportVectorMachine(Module):
    """The base: labels, one machine for two classes and one against the rest for each of more.

    Args:
        C:      what a point within the margin costs
        solver: "smo" ends at the optimum, to `tol`; "subgradient" descends on the primal for `steps`
        tol:    the largest violation of the optimality conditions, in units of the decision function
        steps:  end after so many, wherever that is; without it, not coming to `tol` is an error
        dtype:  of what is kept and transformed; fitting computes in f64
        check_finite: whether samples are searched for NaN and infinities; without, they spread to what is fitted

    Attributes:
        classes: the labels in order; the decision function is positive for the second of two
        dual:    of each machine its coefficients and intercept, as the solver left them
    """

    def __init__(
        self,
        C: float = 1.0,
        solver: Solver = "smo",
        tol: float = 1e-8,
        steps: int | None = None,
        *,
        dtype: Any = f32,
        check_finite: bool = True,
    ) -> None:
        name = type(self).__name__
        if not C > 0:
            raise InputError(f"{name}: C is {C:g}, expected above 0")
        if solver not in ("smo", "subgradient"):
            raise InputError(f'{name}: solver is "{solver}", expected smo or subgradient')
        if solver == "subgradient" and not np.isfinite(C):
            raise InputError(f"{name}: C is {C:g}, expected a finite one for subgradient descent")
        if not tol >= 0 or (steps is not None and steps < 1):
            raise InputError(f"{name}: tol={tol:g}, steps={steps}: expected tol from 0 and steps from 1")
        self.C, self.solver, self.tol, self.steps = float(C), solver, tol, steps
        self.dtype = dtype_of(dtype)
        if not self.dtype.is_float:
            raise InputError(f"{name}: dtype is {self.dtype}, expected a float type")
        self.check_finite = check_finite
        self.classes = np.zeros(0)
        self.dual: list[Dual] = []

    def fit(self, x: Any, y: Any) -> Self:
        """Find the support vectors of samples [N, D] with labels [N].

        Raises:
            InputError: shapes that do not belong together, one class only, values that are not finite, labels that are
                NaN, or data of which no optimum is found
        """
        name = type(self).__name__
        data, labels = real_numbers(f"{name}.fit: x", x), np.asarray(y)
        if data.ndim != 2 or not data.size:
            raise InputError(f"{name}.fit: x is {list(data.shape)}, expected [N, D]")
        if labels.shape != data.shape[:1]:
            raise InputError(f"{name}.fit: x is {list(data.shape)}, y {list(labels.shape)}")
        if self.check_finite and not np.isfinite(data).all():
            place = [int(k) for k in np.argwhere(~np.isfinite(data))[0]]
            raise InputError(f"{name}.fit: x is {data[tuple(place)]} at {place}", code="NV0604")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise InputError(f"{name}.fit: y is nan at [{int(np.argmax(np.isnan(labels)))}]", code="NV0604")
        self.classes = np.unique(labels)
        if len(self.classes) < 2:
            raise InputError(f"{name}.fit: all labels are {self.classes[0]}, expected two classes or more")
        positive = self.classes[1:] if len(self.classes) == 2 else self.classes
        signs = [np.where(labels == c, 1.0, -1.0) for c in positive]
        with np.errstate(all="ignore"):
            self.dual = self._solve(data, signs)
        coefficients = np.stack([d.alpha * s for d, s in zip(self.dual, signs, strict=True)])
        self.keep(data, coefficients, np.array([d.intercept for d in self.dual]))
        return self

    def _solve(self, x: Array, signs: list[Array]) -> list[Dual]:
        """A machine for each vector of signs."""
        products = Products(self.products, x)
        solve: Callable[..., Dual] = smo if self.solver == "smo" else subgradient_descent
        steps = {} if self.steps is None else {"steps": self.steps}
        found = [solve(products, s, self.C, tol=self.tol, **steps) for s in signs]
        worst = max(found, key=lambda d: d.violation)
        if self.steps is None and self.check_finite and not all(d.converged for d in found):
            raise InputError(
                f"{type(self).__name__}.fit: no optimum found: after {worst.steps} steps the optimality conditions are "
                f"violated by {worst.violation:.3g}, expected {self.tol:g}",
                hint="scale the features, or lower C",
            )
        return found

    def products(self, x: Array, y: Array) -> Array:
        """The kernel between all rows."""
        raise NotImplementedError(type(self).__name__)

    def keep(self, x: Array, coefficients: Array, intercept: Array) -> None:
        """Make buffers of what was found: coefficients [machines, N], intercept [machines]."""
        raise NotImplementedError(type(self).__name__)

    def _keep_all(self, **contents: Array) -> None:
        self._fill_buffers({name: np.asarray(c, self.dtype.numpy) for name, c in contents.items()})

    def _checked(self, x: Any, features: Any) -> Tensor:
        name, tensor = type(self).__name__, as_tensor(x)
        if features is None:
            raise wrong(name, "it has no support vectors", x=tensor, hint="call .fit(x, y) first")
        if tensor.ndim != 2 or tensor.shape[1] != features.type.shape[1]:
            raise wrong(name, f"it was fitted to {features.type.shape[1]} features", x=tensor)
        return tensor

    def _scores(self, scores: Tensor) -> Tensor:
        return scores.reshape(scores.shape[0]) if len(self.classes) == 2 else scores

    def predict(self, scores: Any) -> Array:
        """Labels of decision values, as numpy: those of the larger class where positive, or of the largest."""
        found = np.asarray(scores)
        places = (found > 0).astype(np.int64) if found.ndim == 1 else found.argmax(axis=1)
        return self.classes[places]


class LinearSVM(SupportVectorMachine):
    """The hyperplane with the widest margin.

    Equation: f(x) = w x + c, which minimises |w|^2 / 2 + C sum max(0, 1 - y f(x)), y = -1 or 1
    Shapes:   x [N, D] -> [N] for two classes, [N, classes] for more, one against the rest
    Args:     see `SupportVectorMachine`; the margin is 1 / |w| wide on each side
    Source:   C. Cortes, V. Vapnik, Support-vector networks, 1995; scikit-learn SVC(kernel="linear")
    """

    weight: Any = None
    bias: Any = None

    def products(self, x: Array, y: Array) -> Array:
        return x @ y.T

    def keep(self, x: Array, coefficients: Array, intercept: Array) -> None:
        self._keep_all(weight=coefficients @ x, bias=intercept)

    @property
    def margin(self) -> Array:
        """The width of the margin on each side of each machine's hyperplane."""
        return 1 / np.linalg.norm(self.weight.data.astype(np.float64), axis=1)

    def __call__(self, x: Any) -> Tensor:
        tensor = self._checked(x, self.weight)
        with called("LinearSVM", x=tensor):
            return self._scores(linear(tensor, self.weight, self.bias))


class KernelSVM(SupportVectorMachine):
    """The widest margin in a space that a kernel stands for.

    Equation: f(x) = sum over support vectors s of a_s k(s, x) + c;
              rbf: k = exp(-gamma |s - x|^2); poly: (gamma s x + coef0)^degree; sigmoid: tanh(gamma s x + coef0)
    Shapes:   x [N, D] -> [N] for two classes, [N, classes] for more, one against the rest
    Args:     gamma: a number, "scale" for 1 / (D var(x)) or "auto" for 1 / D; others: see `SupportVectorMachine`
    Numerics: rbf takes distances from the mean of the support vectors, so that data far from 0 keep their digits
    Source:   B. Boser, I. Guyon, V. Vapnik, 1992; scikit-learn SVC
    """

    support: Any = None
    coefficients: Any = None
    intercept: Any = None
    gamma: Any = None

    def __init__(
        self,
        kernel: Literal["rbf", "poly", "sigmoid"] = "rbf",
        C: float = 1.0,
        gamma: float | Literal["scale", "auto"] = "scale",
        degree: int = 3,
        coef0: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(C, **options)
        if kernel not in ("rbf", "poly", "sigmoid"):
            raise InputError(f'KernelSVM: kernel is "{kernel}", expected rbf, poly or sigmoid')
        if gamma not in ("scale", "auto") and (isinstance(gamma, str) or not gamma > 0):
            raise InputError(f"KernelSVM: gamma is {gamma}, expected scale, auto or a number above 0")
        if degree < 1:
            raise InputError(f"KernelSVM: degree is {degree}, expected at least 1")
        self.kernel, self.wanted_gamma, self.degree, self.coef0 = kernel, gamma, int(degree), float(coef0)
        self._gamma = 1.0

    def fit(self, x: Any, y: Any) -> Self:
        data = real_numbers("KernelSVM.fit: x", x)
        if not isinstance(self.wanted_gamma, str):
            self._gamma = float(self.wanted_gamma)
        elif data.ndim == 2 and data.size:
            spread = float(data.var()) if self.wanted_gamma == "scale" else 1.0
            self._gamma = 1 / (data.shape[1] * spread) if spread > 0 else 1.0
        return super().fit(data, y)

    def products(self, x: Array, y: Array) -> Array:
        if self.kernel == "poly":
            return (self._gamma * (x @ y.T) + self.coef0) ** self.degree
        if self.kernel == "sigmoid":
            return np.tanh(self._gamma * (x @ y.T) + self.coef0)
        x, y = x - y.mean(axis=0), y - y.mean(axis=0)
        inner = x @ y.T
        distance = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :] - 2 * inner
        return np.exp(-self._gamma * np.maximum(distance, 0))

    def keep(self, x: Array, coefficients: Array, intercept: Array) -> None:
        used = np.any(coefficients != 0, axis=0)
        self._keep_all(
            support=x[used],
            coefficients=coefficients[:, used],
            intercept=intercept,
            gamma=np.array(self._gamma),
        )

    def __call__(self, x: Any) -> Tensor:
        tensor = self._checked(x, self.support)
        with called("KernelSVM", x=tensor):
            return self._scores(linear(self._kernel(tensor), self.coefficients, self.intercept))

    def _kernel(self, x: Tensor) -> Tensor:
        if self.kernel == "poly":
            base = linear(x, self.support) * self.gamma + self.coef0
            result = base
            for _ in range(self.degree - 1):
                result = result * base
            return result
        if self.kernel == "sigmoid":
            return tanh(linear(x, self.support) * self.gamma + self.coef0)
        support = as_tensor(self.support)
        centre = support.mean(axis=0)
        x, support = x - centre, support - centre
        sizes = (x * x).sum(axis=1, keepdims=True) + (support * support).sum(axis=1)
        distance = (sizes - 2 * linear(x, support)).value
        return exp(Tensor(b.max(distance, b.full_like(distance, 0))) * -as_tensor(self.gamma))
