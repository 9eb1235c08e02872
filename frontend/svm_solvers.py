"""How the dual of a support vector machine is solved; numpy on the kernel products between the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.types import Array
from .svm_products import Products

__all__ = ["Dual", "smo", "subgradient_descent"]

TINY = 1e-12
FREE_LIMIT = 120
ROUNDS = 30


@dataclass(frozen=True)
class Dual:
    """A solution.

    Args:
        alpha:     of each sample, 0 to C; those above 0 are the support vectors
        intercept: what the decision function adds
        violation: of the optimality conditions that is left, in units of the decision function
        steps:     that were made
        converged: whether the violation is within the tolerance, or within what rounding allows
    """

    alpha: Array
    intercept: float
    violation: float
    steps: int
    converged: bool


def smo(products: Products, signs: Array, cost: float, *, tol: float = 1e-8, steps: int = 1_000_000) -> Dual:
    """Minimise a Q a / 2 - sum a with 0 <= a <= cost and sum a y = 0, two coordinates at a time.

    The pair is the worst violator and the partner that promises the largest decrease; ties go to the first. Now and
    then the coefficients within the box make a Newton step together, without which badly scaled data take forever.

    Args:
        signs: y, -1 or 1

    Source: J. Platt, 1998; R.-E. Fan, P.-H. Chen, C.-J. Lin, Working set selection using second order information,
            2005; K. Scheinberg, An efficient implementation of an active set method for SVMs, 2006
    """
    at = _Point(products, signs, cost)
    period = refresh = max(100, len(signs) // 10)
    made, exact = 0, True
    while True:
        first, gap = at.violation()
        floor = max(tol, at.rounding)
        # a comparison with NaN is false
        if not gap > floor or made >= steps or at.unbounded:
            if exact:
                return Dual(at.alpha, at.intercept(), max(gap, 0.0), made, gap <= floor)
            at.refresh()
            exact = True
            continue
        at.move_pair(first)
        made, exact = made + 1, False
        if made == refresh:
            if not at.newton():
                period *= 2
            at.refresh()
            exact = True
            refresh += period


class _Point:
    """Where the solver is: the coefficients, and how far each sample's decision value is from its sign."""

    def __init__(self, products: Products, signs: Array, cost: float) -> None:
        self.products, self.signs, self.cost = products, signs, cost
        self.alpha = np.zeros(len(signs))
        self.push = signs.astype(np.float64)
        self.size = np.sqrt(np.abs(products.diagonal))
        self.rounding, self.unbounded = 0.0, False
        self.up, self.low = signs > 0, signs < 0

    def refresh(self) -> None:
        """Leave the rounding of many small changes behind, and say what one evaluation may be off by."""
        self.push = self.signs - self.products.times(self.alpha * self.signs)
        self.rounding = float(np.finfo(np.float64).eps * self.size.max() * (self.size @ self.alpha))
        self.note(slice(None))

    def note(self, places: Any) -> None:
        """Whose coefficient times its sign may grow, and whose may shrink."""
        alpha, positive = self.alpha[places], self.signs[places] > 0
        self.up[places] = np.where(positive, alpha < self.cost, alpha > 0)
        self.low[places] = np.where(positive, alpha > 0, alpha < self.cost)

    def violation(self) -> tuple[int, float]:
        """The worst violator among those that may grow, and how far it is from the worst of the others."""
        first = int(np.where(self.up, self.push, -np.inf).argmax())
        return first, float(self.push[first] - np.where(self.low, self.push, np.inf).min())

    def move_pair(self, first: int) -> None:
        """Move one coefficient and its best partner along the line sum a y = 0, as far as the box allows."""
        alpha, signs, cost, diagonal = self.alpha, self.signs, self.cost, self.products.diagonal
        row = self.products.row(first)
        ahead = self.push[first] - self.push
        curve = diagonal[first] + diagonal - 2 * row
        np.maximum(curve, TINY, out=curve)
        second = int(np.where(self.low & (ahead > 0), ahead * ahead / curve, -np.inf).argmax())
        room_first = cost - alpha[first] if signs[first] > 0 else alpha[first]
        room_second = alpha[second] if signs[second] > 0 else cost - alpha[second]
        move = min(ahead[second] / curve[second], room_first, room_second)
        before = alpha[first], alpha[second]
        alpha[first] = _within(alpha[first] + signs[first] * move, cost, move == room_first)
        alpha[second] = _within(alpha[second] - signs[second] * move, cost, move == room_second)
        self.push -= row * (signs[first] * (alpha[first] - before[0]))
        self.note(np.array([first, second]))
        self.push -= self.products.row(second) * (signs[second] * (alpha[second] - before[1]))

    def newton(self) -> bool:
        """Go to the minimum over the coefficients within the box, from bound to bound; whether that descends."""
        free = np.flatnonzero((self.alpha > 0) & (self.alpha < self.cost))
        if not 2 <= len(free) <= FREE_LIMIT:
            return False
        among = self.products.among(free)
        alpha, push = self.alpha[free], self.push[free]
        inside, moves = np.ones(len(free), bool), 0
        for _ in range(min(ROUNDS, len(free))):
            place = np.flatnonzero(inside)
            if len(place) < 2:
                break
            way, farthest = _newton_way(among[np.ix_(place, place)], push[place])
            change = way * self.signs[free[place]]
            room = np.where(change > 0, self.cost - alpha[place], alpha[place])
            share = np.divide(room, np.abs(change), out=np.full(len(place), np.inf), where=change != 0)
            length = min(farthest, float(share.min()))
            if not np.isfinite(length):
                # only without a bound on the coefficients: no hyperplane separates the data
                self.unbounded = True
                break
            moved = among[:, place] @ (length * way)
            gain = length * float(way @ (push[place] - moved[place] / 2))
            if not gain > 0:
                break
            stopped = share <= length
            value = np.clip(alpha[place] + length * change, 0, self.cost)
            alpha[place] = np.where(stopped, np.where(change > 0, self.cost, 0.0), value)
            push = push - moved
            moves += 1
            inside[place[stopped]] = False
            if not stopped.any():
                break
        self.alpha[free] = alpha
        return moves > 0

    def intercept(self) -> float:
        """The mean over the support vectors on the margin; without any, the middle of what the others allow."""
        free = (self.alpha > 0) & (self.alpha < self.cost)
        if free.any():
            return float(self.push[free].mean())
        highest = np.max(self.push[self.up], initial=-np.inf)
        return float((highest + np.min(self.push[self.low], initial=np.inf)) / 2)


def _newton_way(among: Array, push: Array) -> tuple[Array, float]:
    """The change of a y that makes all pushes equal, and how much of it to go: 1.

    Where none does, K has no curve along the residual z, since K z + c = 0 and sum z = 0: z itself, without an end.
    """
    count, scale = len(push), float(np.abs(among).max()) or 1.0
    matrix = np.ones((count + 1, count + 1))
    matrix[:count, :count] = among / scale
    matrix[count, count] = 0
    wanted = np.append(push, 0.0)
    found = np.linalg.lstsq(matrix, wanted, rcond=1e-13)[0]
    rest = (wanted - matrix @ found)[:count]
    flat = np.abs(rest).max() > 1e-6 * np.abs(push - push.mean()).max()
    way = rest if flat else found[:count] / scale
    return way - way.mean(), np.inf if flat else 1.0


def _within(alpha: float, cost: float, at_bound: bool) -> float:
    """The coefficient within its box; exactly at the bound that stopped it."""
    if at_bound:
        return 0.0 if alpha < cost / 2 else cost
    return min(max(alpha, 0.0), cost)


def subgradient_descent(
    products: Products, signs: Array, cost: float, *, tol: float = 1e-8, steps: int = 20_000
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
        inside = signs * (products.times(beta) + shift) < 1
        rate = 1 / (weight * t)
        beta = (1 - 1 / t) * beta + rate / count * signs * inside
        shift += min(rate, 1.0) / count * float((signs * inside).sum())
        if 2 * t > steps:
            mean += (beta - mean) / (t - steps // 2)
    alpha = np.clip(mean * signs, 0, cost)
    shift = _best_shift(products.times(alpha * signs), signs)
    return Dual(alpha, shift, float("nan"), steps, converged=True)


def _best_shift(scores: Array, signs: Array) -> float:
    """The shift that minimises sum max(0, 1 - y (score + shift)): it lies at a kink."""
    kinks = np.sort(signs - scores)
    costs = [float(np.maximum(0, 1 - signs * (scores + kink)).sum()) for kink in kinks]
    return float(kinks[int(np.argmin(costs))])
