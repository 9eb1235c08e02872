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
from .principal_axes import principal_axes
from .tensor import Tensor, as_tensor

__all__ = ["PCA", "Center", "LocalNorm", "MinMax", "Standardize", "Whiten"]


class Fitted(Module):
    """The base: buffers that `fit` fills.

    Args:
        dtype:        of the buffers, and of what is transformed, a float type; fitting computes in f64
        check_finite: whether data with NaN or infinities are refused
    """

    buffers: tuple[str, ...] = ("mean",)
    divisors: tuple[str, ...] = ()

    def __init__(self, *, dtype: Any = f32, check_finite: bool = True) -> None:
        self.dtype = dtype_of(dtype)
        if not self.dtype.is_float:
            raise InputError(f"{type(self).__name__}: dtype is {self.dtype}, expected a float type")
        self.check_finite = check_finite
        for name in self.buffers:
            setattr(self, name, None)

    def fit(self, data: Any) -> Self:
        """Take the statistics of samples, whose first axis counts them.

        Raises:
            InputError: no samples, values that are not finite, or data that the transformation cannot be fitted to
        """
        x = self._samples(data)
        # without check_finite, infinities may meet
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            found = zip(self.buffers, self.statistics(x), strict=True)
            self._fill_buffers({name: self._rounded(name, content) for name, content in found})
        return self

    def statistics(self, x: Array) -> Sequence[Array]:
        """The content of the buffers for samples in f64."""
        raise NotImplementedError(type(self).__name__)

    def _samples(self, data: Any) -> Array:
        name = type(self).__name__
        x = real_numbers(f"{name}.fit: data", data)
        if x.ndim < 2 or not x.size:
            raise InputError(f"{name}.fit: data is {list(x.shape)}, expected samples along the first axis")
        if self.check_finite and not np.isfinite(x).all():
            place = [int(k) for k in np.argwhere(~np.isfinite(x))[0]]
            raise InputError(
                f"{name}.fit: data is {x[tuple(place)]} at {place}",
                hint="clean it, or pass check_finite=False",
                code="NV0604",
            )
        return x

    def _rounded(self, name: str, content: Array) -> Array:
        """A statistic in the layer's element type, which must be able to hold it."""
        array = np.asarray(content, self.dtype.numpy)
        lost = np.isfinite(content) & ~np.isfinite(array.astype(np.float64))
        if name in self.divisors:
            lost |= (content != 0) & (array == 0)
        if lost.any():
            place = [int(k) for k in np.argwhere(lost)[0]]
            raise InputError(
                f"{type(self).__name__}.fit: {name} is {content[tuple(place)]:.3g} at {place}, beyond {self.dtype}",
                hint='pass dtype="f64", or scale the data first',
            )
        return array

    def _fitted(self, x: Any, name: str | None = None, *, features: int | None = None) -> Tensor:
        """The input, once there are statistics that fit it.

        Args:
            name:     of the method that is called
            features: what is wanted instead of a sample
        """
        name = name or type(self).__name__
        tensor = as_tensor(x)
        first = getattr(self, self.buffers[0])
        if first is None:
            raise wrong(name, "it has no statistics", x=tensor, hint="call .fit(data) first")
        wanted = first.type.shape if features is None else (features,)
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

    def inverse(self, y: Any) -> Tensor:
        """What y was made of: y + mean."""
        tensor = self._fitted(y, "Center.inverse")
        with called("Center.inverse", y=tensor):
            return tensor + self.mean


class Standardize(Center):
    """Subtract the mean and divide by the standard deviation of each feature.

    Equation: y = (x - mean) / std, with std the root of the mean of squared deviations, or 1 where that is 0
    Shapes:   x [N, ...] -> the same
    Args:     per: as of `Center`
    Source:   scikit-learn StandardScaler
    """

    buffers = ("mean", "std")
    divisors = ("std",)
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

    def inverse(self, y: Any) -> Tensor:
        """What y was made of: y std + mean."""
        tensor = self._fitted(y, "Standardize.inverse")
        with called("Standardize.inverse", y=tensor):
            return tensor * self.std + self.mean


class MinMax(Fitted):
    """Map the smallest value of each feature to low and the largest to high.

    Equation: y = x scale + shift, with scale = (high - low) / (max - min), or high - low where max = min to rounding
    Shapes:   x [N, ...] -> the same
    Source:   scikit-learn MinMaxScaler
    """

    buffers = ("scale", "shift")
    divisors = ("scale",)
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

    def inverse(self, y: Any) -> Tensor:
        """What y was made of: (y - shift) / scale."""
        tensor = self._fitted(y, "MinMax.inverse")
        with called("MinMax.inverse", y=tensor):
            return (tensor - self.shift) / self.scale


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
    Numerics: of each component, the first entry of the largest magnitude is positive
    Source:   scikit-learn PCA; K. Pearson, 1901

    Attributes:
        explained_variance: of each component, over N - 1
    """

    buffers = ("mean", "components")
    mean: Any
    components: Any

    def __init__(self, components: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.count = _count("PCA", components)
        self.explained_variance = np.zeros(0)

    def statistics(self, x: Array) -> Sequence[Array]:
        found = principal_axes("PCA", x)
        if found.rank == 0:
            raise InputError(f"PCA.fit: all {len(x)} samples are the same to rounding, the data has rank 0")
        count = found.rank if self.count is None else self.count
        _check_rank("PCA", x, count, found.rank)
        self.explained_variance = found.variance[:count]
        return found.mean, found.axes[:count]

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called("PCA", x=tensor):
            return linear(tensor - self.mean, self.components)

    def inverse(self, y: Any) -> Tensor:
        """What the projection y came from, as near as the components allow: y components + mean."""
        count = None if self.components is None else self.components.type.shape[0]
        tensor = self._fitted(y, "PCA.inverse", features=count)
        with called("PCA.inverse", y=tensor):
            return tensor @ self.components + self.mean


class Whiten(Fitted):
    """Make features uncorrelated, each of variance 1.

    Equation: y = (x - mean) matrix^T; matrix = diag(1 / sqrt(variance + eps)) axes for "pca"; axes^T times that for
              "zca", which stays nearest to x
    Shapes:   x [N, D] -> [N, components] for "pca", [N, D] for "zca"
    Args:     components: how many principal axes, all of them if not given; eps: added to each variance
    Numerics: of each axis, the first entry of the largest magnitude is positive; variances are over N - 1
    Source:   scikit-learn PCA(whiten=True); A. Bell, T. Sejnowski, 1997, for ZCA
    """

    buffers = ("mean", "matrix", "colouring")
    mean: Any
    matrix: Any
    colouring: Any

    def __init__(
        self,
        components: int | None = None,
        kind: Literal["pca", "zca"] = "pca",
        eps: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.kind = _known("kind", kind, ("pca", "zca"))
        if not 0 <= eps < float("inf"):
            raise InputError(f"Whiten: eps is {eps:g}, expected at least 0")
        self.count, self.eps = _count("Whiten", components), eps

    def statistics(self, x: Array) -> Sequence[Array]:
        found = principal_axes("Whiten", x, full=self.eps > 0)
        features = x.shape[1]
        count = features if self.count is None else self.count
        if self.eps > 0:
            if count > features:
                raise InputError(f"Whiten.fit: components is {count}, the data has {features} features")
        elif self.count is not None:
            _check_rank("Whiten", x, count, found.rank)
        elif found.rank < features:
            most, least = found.variance[0], found.variance[-1] if len(found.variance) == features else 0.0
            raise InputError(
                f"Whiten.fit: the covariance is singular: its {features} eigenvalues go from {most:.3g} down to"
                f" {least:.3g}, rank {found.rank}",
                hint="pass eps=1e-5" + (f", or components={found.rank}" if found.rank else ""),
            )
        axes, spread = found.axes[:count], np.sqrt(found.variance[:count] + self.eps)[:, None]
        matrix, colouring = axes / spread, axes * spread
        return found.mean, *(
            (axes.T @ matrix, axes.T @ colouring) if self.kind == "zca" else (matrix, colouring)
        )

    def __call__(self, x: Any) -> Tensor:
        tensor = self._fitted(x)
        with called("Whiten", x=tensor):
            return linear(tensor - self.mean, self.matrix)

    def inverse(self, y: Any) -> Tensor:
        """What y was made of, as near as the components allow: y colouring + mean, with sqrt(variance + eps) back."""
        count = None if self.colouring is None else self.colouring.type.shape[0]
        tensor = self._fitted(y, "Whiten.inverse", features=count)
        with called("Whiten.inverse", y=tensor):
            return tensor @ self.colouring + self.mean


def real_numbers(what: str, data: Any) -> Array:
    """The data in f64.

    Raises:
        InputError: what is no array of real numbers
    """
    try:
        found = np.asarray(data)
        if found.dtype.kind not in "biufO":
            raise InputError(f"{what} holds {found.dtype.name}, expected real numbers")
        return found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is no array of real numbers: {error}") from error


def _check_rank(name: str, x: Array, count: int, rank: int) -> None:
    if count > rank:
        raise InputError(
            f"{name}.fit: components is {count}, the data has rank {rank}",
            hint=f"{list(x.shape)} samples were given",
        )


def _count(name: str, components: int | None) -> int | None:
    if components is not None and components < 1:
        raise InputError(f"{name}: components is {components}, expected at least 1")
    return components


def _known(what: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise InputError(f'{what} is "{value}", expected {" or ".join(known)}')
    return value
