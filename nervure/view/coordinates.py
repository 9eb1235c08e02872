"""Horizontal coordinates of a layered drawing, after Brandes and Koepf, "Fast and simple horizontal coordinate assignment".

Four alignments, each of columns of items that stand straight below each other, are made compact and averaged. An item
prefers the neighbour that its rank hangs on, so that the main line of a network stays straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layers", "coordinates"]

BOX_GAP = 22.0
BEND_GAP = 14.0


@dataclass
class Layers:
    """Rows of items; of each item, those that it is joined to in the row above and below, the main one first."""

    rows: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]

    def positions(self) -> list[int]:
        """Of each item, its place in its row."""
        found = [0] * len(self.above)
        for row in self.rows:
            for k, v in enumerate(row):
                found[v] = k
        return found


def coordinates(layers: Layers, widths: Sequence[float], boxes: int) -> list[float]:
    """The centre of each item; of equal rows it makes equal coordinates.

    Args:
        widths: of each item
        boxes:  items below this number are boxes, the others bends
    """
    places = layers.positions()
    crossed = _crossed(layers, places, boxes)
    found: list[list[float]] = []
    for downward in (True, False):
        for leftward in (True, False):
            rows = [row if leftward else row[::-1] for row in layers.rows]
            sign = 1 if leftward else -1
            roots = _columns(
                rows if downward else rows[::-1],
                layers.above if downward else layers.below,
                [sign * p for p in places],
                crossed,
                boxes,
            )
            xs = _compact(rows, roots, widths, boxes)
            found.append([sign * x for x in xs])
    return _balance(found, widths)


def _crossed(layers: Layers, places: Sequence[int], boxes: int) -> set[tuple[int, int]]:
    """Edges with a box that cross one between two bends: the latter stays straight."""
    crossed: set[tuple[int, int]] = set()
    for row in layers.rows[1:]:
        scanned, low = 0, 0
        above_last = max((places[w] for v in row for w in layers.above[v]), default=0)
        for k, v in enumerate(row):
            inner = next((w for w in layers.above[v] if w >= boxes), None) if v >= boxes else None
            if inner is None and k < len(row) - 1:
                continue
            high = places[inner] if inner is not None else above_last
            for u in row[scanned : k + 1]:
                for w in layers.above[u]:
                    if not (low <= places[w] <= high) and not (u >= boxes and w >= boxes):
                        crossed.add((w, u))
            scanned, low = k + 1, high
    return crossed


def _columns(
    rows: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
    places: Sequence[int],
    crossed: set[tuple[int, int]],
    boxes: int,
) -> list[int]:
    """Of each item, the first of its column."""
    roots = list(range(len(near)))
    taken = [False] * len(near)
    for row in rows:
        last: float = float("-inf")
        for v in row:
            for w in _wanted(v, near[v], places, boxes):
                free = not taken[w] and places[w] > last
                if free and (w, v) not in crossed and (v, w) not in crossed:
                    taken[w] = True
                    roots[v] = roots[w]
                    last = places[w]
                    break
    return roots


def _wanted(v: int, near: Sequence[int], places: Sequence[int], boxes: int) -> list[int]:
    """The neighbours that an item would stand straight with: a bend's bend, the main one, the middle ones."""
    if len(near) < 2:
        return list(near)
    ordered = sorted(near, key=lambda w: places[w])
    middle = [ordered[(len(near) - 1) // 2], ordered[len(near) // 2]]
    first = [w for w in near if w >= boxes] if v >= boxes else near[:1]
    return list(dict.fromkeys([*first, *middle]))


def _compact(
    rows: Sequence[Sequence[int]], roots: Sequence[int], widths: Sequence[float], boxes: int
) -> list[float]:
    """Columns as far left as their neighbours allow, then as far right as the next ones do."""
    after: dict[int, dict[int, float]] = {root: {} for root in sorted(set(roots))}
    waiting = dict.fromkeys(after, 0)
    for row in rows:
        for u, v in pairwise(row):
            gap = BOX_GAP if u < boxes and v < boxes else BEND_GAP
            distance = (widths[u] + widths[v]) / 2 + gap
            one, other = roots[u], roots[v]
            if other not in after[one]:
                waiting[other] += 1
            after[one][other] = max(after[one].get(other, 0.0), distance)
    xs = dict.fromkeys(after, 0.0)
    order: list[int] = []
    ready = [c for c, n in waiting.items() if not n]
    while ready:
        column = ready.pop()
        order.append(column)
        for other, distance in after[column].items():
            xs[other] = max(xs[other], xs[column] + distance)
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    assert len(order) == len(after), "columns in a circle"
    for column in reversed(order):
        if after[column]:
            xs[column] = max(xs[column], min(xs[o] - d for o, d in after[column].items()))
    return [xs[root] for root in roots]


def _balance(found: Sequence[Sequence[float]], widths: Sequence[float]) -> list[float]:
    """The mean of the two middle ones of four, after moving each to the narrowest; k even: left, odd: right."""
    spans = [
        (
            min(x - w / 2 for x, w in zip(xs, widths, strict=True)),
            max(x + w / 2 for x, w in zip(xs, widths, strict=True)),
        )
        for xs in found
    ]
    narrow = min(range(len(found)), key=lambda k: spans[k][1] - spans[k][0])
    moved: list[list[float]] = []
    for k, xs in enumerate(found):
        side = k % 2
        shift = spans[narrow][side] - spans[k][side]
        moved.append([x + shift for x in xs])
    return [sum(sorted(xs)[1:3]) / 2 for xs in zip(*moved, strict=True)]
