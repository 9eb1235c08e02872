"""Preprocessing as layers: fitted on data with numpy, applied as part of the graph.

What was fitted is state of the program: fitting anew needs no new compilation. The optimiser folds what is affine into
the first linear or convolution layer behind it (passes/fold_affine.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np

from ..ir import build as b
from ..ir.errors import InputError
from ..ir.types import Array, dtype_of, f32
from .calls import called, wrong
from .functional import avg_pool2d, linear, sqrt
from .nn.module import Module
from .tensor import Tensor, as_tensor

__all__ = ["PCA", "Center", "LocalNorm", "MinMax", "Standardize", "Whiten"]


class Fitted(Module):
    """The base: buffers that `fit` fills.

    Args:
        dtype:        of the buffers, and of what is transformed; fitting computes in f64
        check_finite: whether data with NaN or infinities are refused
    """

    buffers: tuple[str, ...] = ("mean",)

    def __init__(self, *, dtype: Any = f32, check_finite: bool = True) -> None:
        self.dtype = dtype_of(dtype)
        self.check_finite = check_finite
        for name in self.buffers:
            setattr(self, name, None)

    def fit(self, data: Any) -> Self:
        """Take the statistics of samples, whose first axis counts them.

        Raises:
            InputError: no samples, values that are not finite, or data that the transformation cannot be fitted to
        """
        found = self.statistics(self._samples(data))
        arrays = [np.asarray(content, self.dtype.numpy) for content in found]
        self._fill_buffers(dict(zip(self.buffers, arrays, strict=True)))
        return self

    def statistics(self, x: Array) -> Sequence[Array]:
        """The content of the buffers for samples in f64."""
        raise NotImplementedError(type(self).__name__)

    def _samples(self, data: Any) -> Array:
        name = type(self).__name__
        x = np.asarray(data, np.float64)
        if x.ndim < 2 or not x.size:
            raise InputError(f"{name}.fit: data is {list(x.shape)}, expected samples along the first axis")
        if self.check_finite and not np.isfinite(x).all():
            place = [int(k) for k in np.argwhere(~np.isfinite(x))[0]]
            raise InputError(
                f"{name}.fit: data is {x[tuple(place)]} at {place}",
                hint="clean it, or pass check_finite=False",
            )
        return x

    def _fitted(self, x: Any) -> Tensor:
        """The input, once there are statistics that fit it."""
        name = type(self).__name__
        tensor = as_tensor(x)
        first = getattr(self, self.buffers[0])
        if first is None:
            raise wrong(name, "it has no statistics", x=tensor, hint="call .fit(data) first")
        wanted = first.type.shape
        found = tensor.shape[1:]
        fits = len(found) == len(wanted) and all(w in (1, f) for w, f in zip(wanted, found, strict=True))
        if not fits:
            shape = "[" + ",".join(map(str, wanted)) + "]"
            raise wrong(name, f"it was fitted to samples {shape}", x=tensor)
        return tensor


class Center(Fitted):
    """Subtract the mean of each feature.

    Equation: y = x - mean
    Shapes:   x [N, ...] -> the same
    Args:     per: "feature" for a mean of each element of a sample, "channel" for one of each channel of [N, C, ...]
    """

    mean: Any

    def __init__(self, per: Literal["feature", "channel"] = "feature", **options: Any) -> None:
        super().__init__(**options)
        self.per = _known("per", per, ("feature", "channel"))

    def statistics(self, x: Array) -> Sequence[Array]:
        return (x.mean(axis=self._axes(x), keepdims=True)[0],)

    def _axes(self, x: Array) -> tuple[int, ...]:
        return (0,) if self.per == "feature" else (0, *range(2, x.ndim))

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called(type(self).__name__, x=tensor):
            return tensor - self.mean


class Standardize(Center):
    """Subtract the mean and divide by the standard deviation of each feature.

    Equation: y = (x - mean) / std, with std the root of the mean of squared deviations, or 1 where that is 0
    Shapes:   x [N, ...] -> the same
    Args:     per: as of `Center`
    Source:   scikit-learn StandardScaler
    """

    buffers = ("mean", "std")
    std: Any

    def statistics(self, x: Array) -> Sequence[Array]:
        axes = self._axes(x)
        mean, std = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
        tiny = 10 * np.finfo(np.float64).eps * np.abs(mean)
        return mean[0], np.where(std <= tiny, 1.0, std)[0]

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called(type(self).__name__, x=tensor):
            return (tensor - self.mean) / self.std


class MinMax(Fitted):
    """Map the smallest value of each feature to low and the largest to high.

    Equation: y = x scale + shift, with scale = (high - low) / (max - min), or 1 / 1 where max = min
    Shapes:   x [N, ...] -> the same
    Source:   scikit-learn MinMaxScaler
    """

    buffers = ("scale", "shift")
    scale: Any
    shift: Any

    def __init__(self, low: float = 0.0, high: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if not low < high:
            raise InputError(f"MinMax: the range is {low:g}..{high:g}, expected low below high")
        self.low, self.high = low, high

    def statistics(self, x: Array) -> Sequence[Array]:
        least, most = x.min(axis=0), x.max(axis=0)
        span = most - least
        tiny = 10 * np.finfo(np.float64).eps
        scale = (self.high - self.low) / np.where(span <= tiny, 1.0, span)
        return scale, self.low - least * scale

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called("MinMax", x=tensor):
            return tensor * self.scale + self.shift


class LocalNorm(Module):
    """Subtract the mean of each pixel's window, then divide by the root mean square that is left in its window.

    Equation: v = x - mean_window(x);  y = v / max(sqrt(mean_window(v^2)), eps); windows are cut at the border
    Shapes:   x [N, C, H, W] -> the same; each channel for itself
    Args:     window: an odd number of pixels; eps: the least divisor, above 0
    Source:   K. Jarrett et al., What is the best multi-stage architecture for object recognition?, 2009, with a flat window
    """

    def __init__(self, window: int = 9, eps: float = 1e-2) -> None:
        if window < 1 or window % 2 == 0:
            raise InputError(f"LocalNorm: window is {window}, expected an odd number of pixels")
        if not eps > 0:
            raise InputError(f"LocalNorm: eps is {eps:g}, expected above 0")
        self.window, self.eps = window, eps

    def __call__(self, x: Any) -> Tensor:
        tensor = as_tensor(x)
        with called("LocalNorm", x=tensor, window=self.window):
            rest = tensor - self._mean(tensor)
            size = sqrt(self._mean(rest * rest)).value
            return rest / Tensor(b.max(size, b.full_like(size, self.eps)))

    def _mean(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.window, 1, self.window // 2, count_include_pad=False)


class PCA(Fitted):
    """Project on the principal components.

    Equation: y = (x - mean) components^T
    Shapes:   x [N, D] -> [N, components]
    Args:     components: how many, in order of falling variance; all that the rank allows if not given
    Numerics: of each component, the entry of largest magnitude is positive
    Source:   scikit-learn PCA; K. Pearson, 1901

    Attributes:
        explained_variance: of each component, over N - 1
    """

    buffers = ("mean", "components")
    mean: Any
    components: Any

    def __init__(self, components: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if components is not None and components < 1:
            raise InputError(f"{type(self).__name__}: components is {components}, expected at least 1")
        self.count = components
        self.explained_variance = np.zeros(0)

    def statistics(self, x: Array) -> Sequence[Array]:
        mean, axes, variance = principal(type(self).__name__, x, self.count)
        self.explained_variance = variance
        return mean, axes

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called("PCA", x=tensor):
            return linear(tensor - self.mean, self.components)

    def inverse(self, y: Any) -> Tensor:
        """What the projection y came from, as near as the components allow: y components + mean."""
        tensor = as_tensor(y)
        with called("PCA.inverse", y=tensor):
            return tensor @ self.components + self.mean


class Whiten(Fitted):
    """Make features uncorrelated, each of variance 1.

    Equation: y = (x - mean) matrix^T; matrix = diag(1 / sqrt(variance + eps)) axes for "pca"; axes^T times that for
              "zca", which stays nearest to x
    Shapes:   x [N, D] -> [N, components] for "pca", [N, D] for "zca"
    Args:     components: how many principal axes; all of them if not given; eps: added to each variance
    Numerics: of each axis, the entry of largest magnitude is positive; variances are over N - 1
    Source:   scikit-learn PCA(whiten=True); A. Bell, T. Sejnowski, 1997, for ZCA
    """

    buffers = ("mean", "matrix")
    mean: Any
    matrix: Any

    def __init__(
        self,
        components: int | None = None,
        kind: Literal["pca", "zca"] = "pca",
        eps: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kind = _known("kind", kind, ("pca", "zca"))
        if not eps >= 0:
            raise InputError(f"Whiten: eps is {eps:g}, expected at least 0")
        self.count, self.eps = components, eps

    def statistics(self, x: Array) -> Sequence[Array]:
        wanted = self.count
        if wanted is None:
            wanted = int(np.prod(x.shape[1:]))
            self._check_regular(x, wanted)
        mean, axes, variance = principal("Whiten", x, wanted, ranked=self.eps == 0)
        matrix = axes / np.sqrt(variance + self.eps)[:, None]
        return mean, axes.T @ matrix if self.kind == "zca" else matrix

    def _check_regular(self, x: Array, features: int) -> None:
        if self.eps > 0:
            return
        values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / max(len(x) - 1, 1)
        rank = rank_of(values, x)
        if rank < features:
            least = values[features - 1] if len(values) >= features else 0.0
            raise InputError(
                f"Whiten.fit: the covariance is singular: its {features} eigenvalues go from {values[0]:.3g} down to"
                f" {least:.3g}, rank {rank}",
                hint=f"pass eps=1e-5, or components={max(rank, 1)}",
            )

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called("Whiten", x=tensor):
            return linear(tensor - self.mean, self.matrix)


def principal(name: str, x: Array, count: int | None, *, ranked: bool = True) -> tuple[Array, Array, Array]:
    """The mean, the principal axes as rows, and the variances of samples [N, D].

    Args:
        ranked: whether more axes than the rank are an error
    """
    if x.ndim != 2:
        raise InputError(f"{name}.fit: data is {list(x.shape)}, expected [N, D]", hint="flatten the samples")
    if len(x) < 2:
        raise InputError(f"{name}.fit: {len(x)} sample, expected at least 2")
    mean = x.mean(axis=0)
    _, singular, axes = np.linalg.svd(x - mean, full_matrices=False)
    variance = singular**2 / (len(x) - 1)
    rank = rank_of(variance, x)
    most = rank if ranked else len(variance)
    if count is not None and count > most:
        raise InputError(
            f"{name}.fit: components is {count}, the data has rank {rank}",
            hint=f"{list(x.shape)} samples were given",
        )
    k = max(rank, 1) if count is None else count
    axes, variance = axes[:k], variance[:k]
    largest = np.argmax(np.abs(axes), axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    return mean, axes * np.where(signs == 0, 1, signs)[:, None], variance


def rank_of(variance: Array, x: Array) -> int:
    """How many variances are above rounding, as numpy's matrix_rank has it for singular values."""
    singular = np.sqrt(variance)
    least = singular.max(initial=0.0) * max(x.shape) * np.finfo(np.float64).eps
    return int((singular > least).sum())


def _known(what: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise InputError(f'{what} is "{value}", expected {" or ".join(known)}')
    return value
