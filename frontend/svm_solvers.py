"""How the dual of a support vector machine is solved; numpy on the matrix of kernel products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.types import Array

__all__ = ["Dual", "smo", "subgradient_descent"]

TINY = 1e-12


@dataclass(frozen=True)
class Dual:
    """A solution.

    Args:
        alpha:     of each sample, 0 to C; those above 0 are the support vectors
        intercept: what the decision function adds
        violation: of the optimality conditions that is left
        steps:     that were made
    """

    alpha: Array
    intercept: float
    violation: float
    steps: int


def smo(products: Array, signs: Array, cost: float, *, tol: float = 1e-8, steps: int = 1_000_000) -> Dual:
    """Minimise a Q a / 2 - sum a with 0 <= a <= cost and sum a y = 0, two coordinates at a time.

    The pair is the worst violator and the partner that promises the largest decrease; ties go to the first.

    Args:
        products: the kernel between all samples, [N, N]
        signs:    y, -1 or 1

    Source: J. Platt, 1998; R.-E. Fan, P.-H. Chen, C.-J. Lin, Working set selection using second order information, 2005
    """
    alpha = np.zeros(len(signs))
    slope = -np.ones(len(signs))
    diagonal = np.diagonal(products)
    gap, made = np.inf, 0
    for made in range(steps + 1):
        push = -signs * slope
        up = np.where(signs > 0, alpha < cost, alpha > 0)
        low = np.where(signs > 0, alpha > 0, alpha < cost)
        first = int(np.argmax(np.where(up, push, -np.inf)))
        gap = push[first] - np.min(np.where(low, push, np.inf))
        if gap <= tol or made == steps:
            break
        ahead = push[first] - push
        curve = diagonal[first] + diagonal - 2 * products[first]
        curve = np.where(curve > 0, curve, TINY)
        gain = np.where(low & (ahead > 0), ahead * ahead / curve, -np.inf)
        second = int(np.argmax(gain))
        move = ahead[second] / curve[second]
        # both move along the line sum a y = 0, as far as the box allows
        room_first = cost - alpha[first] if signs[first] > 0 else alpha[first]
        room_second = alpha[second] if signs[second] > 0 else cost - alpha[second]
        move = min(move, room_first, room_second)
        before = alpha[first], alpha[second]
        alpha[first] = _within(alpha[first] + signs[first] * move, cost, move == room_first)
        alpha[second] = _within(alpha[second] - signs[second] * move, cost, move == room_second)
        slope += signs * (
            products[first] * (signs[first] * (alpha[first] - before[0]))
            + products[second] * (signs[second] * (alpha[second] - before[1]))
        )
    return Dual(alpha, _intercept(alpha, signs, slope, cost), float(gap), made)


def _within(alpha: float, cost: float, at_bound: bool) -> float:
    """The coefficient within its box; exactly at the bound that stopped it."""
    if at_bound:
        return 0.0 if alpha < cost / 2 else cost
    return min(max(alpha, 0.0), cost)


def _intercept(alpha: Array, signs: Array, slope: Array, cost: float) -> float:
    """The mean over the support vectors on the margin; without any, the middle of what the others allow."""
    push = -signs * slope
    free = (alpha > 0) & (alpha < cost)
    if free.any():
        return float(push[free].mean())
    up = np.where(signs > 0, alpha < cost, alpha > 0)
    low = np.where(signs > 0, alpha > 0, alpha < cost)
    return float((np.max(push[up], initial=-np.inf) + np.min(push[low], initial=np.inf)) / 2)


def subgradient_descent(
    products: Array, signs: Array, cost: float, *, tol: float = 1e-8, steps: int = 20_000
) -> Dual:
    """Descend on |w|^2 / 2 + cost sum max(0, 1 - y f) along its subgradient, with steps that shrink as 1 / t.

    w is kept as coefficients of the samples, and the mean of the later half of the way is taken; the intercept is then
    the best one for it. Slower than `smo` and less exact: the textbook's way.

    Args:
        tol: unused; the way is `steps` long

    Source: S. Shalev-Shwartz et al., Pegasos: primal estimated sub-gradient solver for SVM, 2011
    """
    count = len(signs)
    weight = 1 / (cost * count)
    beta, mean = np.zeros(count), np.zeros(count)
    shift = 0.0
    for t in range(1, steps + 1):
        inside = signs * (products @ beta + shift) < 1
        rate = 1 / (weight * t)
        beta = (1 - 1 / t) * beta + rate / count * signs * inside
        shift += min(rate, 1.0) / count * float((signs * inside).sum())
        if 2 * t > steps:
            mean += (beta - mean) / (t - steps // 2)
    alpha = np.clip(mean * signs, 0, cost)
    return Dual(alpha, _best_shift(products @ (alpha * signs), signs), float("nan"), steps)


def _best_shift(scores: Array, signs: Array) -> float:
    """The shift that minimises sum max(0, 1 - y (score + shift)): it lies at a kink."""
    kinks = np.sort(signs - scores)
    costs = [float(np.maximum(0, 1 - signs * (scores + kink)).sum()) for kink in kinks]
    return float(kinks[int(np.argmin(costs))])
