"""A layered drawing of a directed graph: ranks, few crossings, coordinates. Nothing recurses, everything is bounded.

    layout([(width, height), ...], [(source, target), ...])        sources stand before targets

Ranks are longest paths, then nodes move down to their users where that shortens edges. An edge over several ranks goes
through a bend in each, shared by all edges of its source. Crossings are reduced by barycentres, in a fixed number of
sweeps. Where the bends would be too many, the longest edges are left out and have no route.

Sources: Sugiyama, Tagawa, Toda 1981; Gansner et al. 1993; the coordinates are those of Brandes and Koepf 2001.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from .coordinates import Layers, coordinates

__all__ = ["Layout", "layout"]

BENDS = 12_000
"""Bends of all edges together."""

SWEEPS = 12
WORK = 240_000
"""Sweeps times items: large graphs are swept less often."""

GAP = 34.0
"""Between one rank and the next."""

MARGIN = 12.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything lies.

    Args:
        width, height: of the whole
        places:        of each box, its centre and its top
        routes:        of each edge, its points from bottom to top; none where it is left out
    """

    width: float
    height: float
    places: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]


def layout(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes.

    Args:
        sizes: width and height of each
        edges: pairs of indices, the smaller first
    """
    assert all(0 <= u < v < len(sizes) for u, v in edges), "an edge leads back"
    if not sizes:
        return Layout(2 * MARGIN, 2 * MARGIN, (), ())
    ranks, depths = _ranks(len(sizes), edges)
    layers, chains = _layers(ranks, depths, edges)
    _reduce_crossings(layers)
    widths = [w for w, _ in sizes] + [0.0] * (len(layers.above) - len(sizes))
    xs = coordinates(layers, widths, len(sizes))
    left = min(x - w / 2 for x, w in zip(xs, widths, strict=True))
    right = max(x + w / 2 for x, w in zip(xs, widths, strict=True))
    xs = [round(x - left + MARGIN, 1) for x in xs]
    tops, heights = _tops(ranks, sizes, len(layers.rows))
    places = tuple((xs[v], tops[ranks[v]]) for v in range(len(sizes)))
    routes = tuple(
        _route(u, v, chains, ranks, xs, sizes, tops, heights) if (u, v) in chains else () for u, v in edges
    )
    return Layout(round(right - left + 2 * MARGIN + 0.1, 1), tops[-1] + heights[-1] + MARGIN, places, routes)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Ranks, and longest paths from the sources: what hangs on sources alone, or has more users than operands, moved down."""
    ranks = [0] * count
    users: list[list[int]] = [[] for _ in range(count)]
    operands = [0] * count
    for u, v in edges:
        users[u].append(v)
        operands[v] += 1
    hanging = [True] * count
    for u in range(count):
        for v in users[u]:
            ranks[v] = max(ranks[v], ranks[u] + 1)
            hanging[v] = hanging[v] and hanging[u] and len(users[u]) == 1
    depths = list(ranks)
    for u in reversed(range(count)):
        if users[u] and (hanging[u] or len(users[u]) > operands[u]):
            ranks[u] = min(ranks[v] for v in users[u]) - 1
    least = min(ranks)
    return [r - least for r in ranks], depths


Chains = dict[tuple[int, int], tuple[int, ...]]


def _layers(
    ranks: Sequence[int], depths: Sequence[int], edges: Sequence[tuple[int, int]]
) -> tuple[Layers, Chains]:
    """The rows of items, boxes and bends; and the bends of each edge that is drawn."""
    count = len(ranks)
    rows: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    bends: dict[tuple[int, int], int] = {}
    chains: Chains = {}
    left = BENDS
    for u, v in sorted(set(edges), key=lambda e: (ranks[e[1]] - ranks[e[0]], -depths[e[0]], e)):
        missing = sum((u, r) not in bends for r in range(ranks[u] + 1, ranks[v]))
        if missing > left:
            continue
        left -= missing
        last, chain = u, list[int]()
        for r in range(ranks[u] + 1, ranks[v]):
            if (u, r) not in bends:
                bends[u, r] = len(above)
                above.append([last])
                below.append([])
                below[last].append(bends[u, r])
            last = bends[u, r]
            chain.append(last)
        above[v].append(last)
        below[last].append(v)
        chains[u, v] = tuple(chain)
    order = sorted([(v, ranks[v], v) for v in range(count)] + [(u, r, n) for (u, r), n in bends.items()])
    for _, r, item in order:
        rows[r].append(item)
    return Layers(rows, above, below), chains


def _reduce_crossings(layers: Layers) -> None:
    """Order each row by the mean place of what its items are joined to, down and up; keep the best."""
    items = len(layers.above)
    best, fewest = [list(row) for row in layers.rows], layers_crossings(layers)
    stale = 0
    for sweep in range(min(SWEEPS, max(2, WORK // max(items, 1)))):
        if not fewest or stale == 4:
            break
        down = sweep % 2 == 0
        places = layers.positions()
        for row in layers.rows if down else reversed(layers.rows):
            near = layers.above if down else layers.below
            means = {
                v: sum(places[w] for w in near[v]) / len(near[v]) if near[v] else float(places[v])
                for v in row
            }
            row.sort(key=lambda v: (means[v], places[v]))
            for k, v in enumerate(row):
                places[v] = k
        found = layers_crossings(layers)
        stale += 1
        if found < fewest:
            best, fewest, stale = [list(row) for row in layers.rows], found, 0
    layers.rows[:] = best


def layers_crossings(layers: Layers) -> int:
    """How many pairs of edges between neighbouring rows cross."""
    places = layers.positions()
    total = 0
    for row in layers.rows:
        seen: list[int] = []
        for v in row:
            ends = sorted(places[w] for w in layers.above[v])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _tops(
    ranks: Sequence[int], sizes: Sequence[tuple[float, float]], rows: int
) -> tuple[list[float], list[float]]:
    """Of each row, its top and its height."""
    heights = [0.0] * rows
    for r, (_, h) in zip(ranks, sizes, strict=True):
        heights[r] = max(heights[r], h)
    tops = [MARGIN]
    for h in heights[:-1]:
        tops.append(round(tops[-1] + h + GAP, 1))
    return tops, heights


def _route(
    u: int,
    v: int,
    chains: Chains,
    ranks: Sequence[int],
    xs: Sequence[float],
    sizes: Sequence[tuple[float, float]],
    tops: Sequence[float],
    heights: Sequence[float],
) -> tuple[Point, ...]:
    """From the bottom of one box through its bends, each as long as its row is high, to the top of another."""
    points: list[Point] = [(xs[u], tops[ranks[u]] + sizes[u][1])]
    for k, bend in enumerate(chains[u, v]):
        row = ranks[u] + 1 + k
        points += [(xs[bend], tops[row]), (xs[bend], tops[row] + heights[row])]
    points.append((xs[v], tops[ranks[v]]))
    kept: list[Point] = []
    for p in points:
        if len(kept) > 1 and kept[-2][0] == kept[-1][0] == p[0]:
            kept.pop()
        kept.append(p)
    return tuple((round(x, 1), round(y, 1)) for x, y in kept)
