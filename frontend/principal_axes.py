"""The principal axes of samples, with their variances and the rank; numpy in f64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.errors import InputError
from ..ir.types import Array

__all__ = ["PrincipalAxes", "principal_axes"]

EPS = float(np.finfo(np.float64).eps)
ALIKE = 1e-8
"""Magnitudes nearer than this are one: rounding shall not choose a sign."""


@dataclass(frozen=True)
class PrincipalAxes:
    """What samples [N, D] are made of.

    Args:
        mean:     [D]
        axes:     as rows, of length 1, in order of falling variance: min(N, D) of them, or D
        variance: of each axis, over N - 1
        rank:     how many variances are above rounding
    """

    mean: Array
    axes: Array
    variance: Array
    rank: int


def principal_axes(name: str, x: Array, *, full: bool = False) -> PrincipalAxes:
    """The axes of samples, each with its first entry of the largest magnitude positive.

    Args:
        name: of the layer, for errors
        full: D axes even of fewer samples; those beyond have variance 0

    Numerics: of N > D samples the triangle of a QR decomposition stands for all: its singular values are theirs

    Raises:
        InputError: data that is not [N, D], one sample, or values that are not finite
    """
    if x.ndim != 2:
        raise InputError(f"{name}.fit: data is {list(x.shape)}, expected [N, D]", hint="flatten the samples")
    count, features = x.shape
    if count < 2:
        raise InputError(f"{name}.fit: {count} sample, expected at least 2")
    mean = x.mean(axis=0)
    if not np.isfinite(mean).all():
        place = int(np.argmin(np.isfinite(mean)))
        raise InputError(
            f"{name}.fit: the mean of feature {place} is {mean[place]}: it has no principal axes"
        )
    centred = x - mean
    core = np.linalg.qr(centred, mode="r") if count > features else centred
    _, singular, axes = np.linalg.svd(core, full_matrices=full)
    # centring rounds by eps of the mean, which is all that constant data are
    least = EPS * (max(x.shape) * singular[0] + np.sqrt(count) * np.linalg.norm(mean))
    variance = np.zeros(len(axes))
    variance[: len(singular)] = singular**2 / (count - 1)
    return PrincipalAxes(mean, _signed(axes), variance, int((singular > least).sum()))


def _signed(axes: Array) -> Array:
    sizes = np.abs(axes)
    first = np.argmax(sizes >= (1 - ALIKE) * sizes.max(axis=1, keepdims=True), axis=1)
    signs = np.sign(axes[np.arange(len(axes)), first])
    return axes * signs[:, None]
