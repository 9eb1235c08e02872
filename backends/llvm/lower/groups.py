"""Which axes of two shapes of the same elements go together."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim

__all__ = ["dim_groups"]


def dim_groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[tuple[list[int], list[int]]]:
    """Axes of two shapes of equal size, in the smallest neighbouring groups of provably equal size."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        left: list[int] = []
        right: list[int] = []
        a: Dim = 1
        b: Dim = 1
        if i < len(old):
            left, a, i = [i], old[i], i + 1
        if j < len(new):
            right, b, j = [j], new[j], j + 1
        while a != b:
            grow_left = i < len(old) and (j >= len(new) or _prefers_left(a, b))
            if grow_left:
                left.append(i)
                a, i = a * old[i], i + 1
            elif j < len(new):
                right.append(j)
                b, j = b * new[j], j + 1
            else:
                break
        groups.append((left, right))
    return groups


def _prefers_left(a: Dim, b: Dim) -> bool:
    """Which side of an unfinished group takes the next axis: the one that is smaller, as far as that is known."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    if isinstance(a, int):
        return True
    if isinstance(b, int):
        return False
    return len(str(a)) <= len(str(b))
