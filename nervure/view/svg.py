"""A drawing as SVG that stands alone: no scripts, no styles, no fonts but those of the reader."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..ir.graph import Graph
from .drawing import LINE, PADDING, Box, Drawing, draw
from .escape import mark_up
from .layered import Layout, Point

__all__ = ["STUB", "curve", "svg"]

STUB = 16.0
"""Length of what is drawn of an edge that is left out."""

FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, SOFT, LINES = "#1c2024", "#4a525b", "#7c8792"
FILLS = {
    "input": ("#eef3f9", "#5b7ea6"),
    "output": ("#eef3f9", "#5b7ea6"),
    "op": ("#ffffff", "#a9b2bc"),
    "kernel": ("#f1f7f2", "#5c9270"),
    "control": ("#f8f3fb", "#9474ad"),
    "repeat": ("#fdf6ea", "#b58a3c"),
}


def svg(graph: Graph, fold: bool = True) -> str:
    """A picture of a graph.

    Args:
        fold: whether repeats are one box each
    """
    return drawing_svg(draw(graph, fold))


def drawing_svg(drawing: Drawing) -> str:
    """A picture of boxes and edges."""
    return "\n".join(_parts(drawing, drawing.layout())) + "\n"


def curve(points: tuple[Point, ...]) -> str:
    """A path through points, upright at each."""
    if all(x == points[0][0] for x, _ in points):
        return f"M{_n(points[0][0])} {_n(points[0][1])}V{_n(points[-1][1])}"
    text = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for (x, y), (u, v) in pairwise(points):
        middle = (y + v) / 2
        text += f"V{_n(v)}" if x == u else f"C{_n(x)} {_n(middle)} {_n(u)} {_n(middle)} {_n(u)} {_n(v)}"
    return text


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _parts(drawing: Drawing, places: Layout) -> Iterator[str]:
    width, height = _n(places.width), _n(places.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{mark_up(drawing.label)}" font-family="{mark_up(FONT)}" font-size="11.5">'
    )
    yield f"<title>{mark_up(drawing.label)}</title>"
    yield (
        '<defs><marker id="nv-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0.5L8 4L0 7.5z" fill="{LINES}"/></marker></defs>'
    )
    yield f'<g fill="none" stroke="{LINES}" stroke-width="1.2" marker-end="url(#nv-arrow)">'
    for (u, v), route in zip(drawing.edges, places.routes, strict=True):
        if route:
            yield f'<path d="{curve(route)}"/>'
        else:
            yield from _stub(drawing, places, u, v)
    yield "</g>"
    for box, place in zip(drawing.boxes, places.places, strict=True):
        yield from _box(box, place)
    yield "</svg>"


def _stub(drawing: Drawing, places: Layout, u: int, v: int) -> Iterator[str]:
    """Both ends of an edge that is too long to be drawn, dashed, with the other end's name."""
    (x, y), (_, h) = places.places[u], drawing.boxes[u].size
    s, t = places.places[v]
    to, from_ = mark_up(f"to {drawing.boxes[v].label}"), mark_up(f"from {drawing.boxes[u].label}")
    yield f'<path d="M{_n(x + 8)} {_n(y + h)}v{_n(STUB)}" stroke-dasharray="3 3"><title>{to}</title></path>'
    yield f'<path d="M{_n(s - 8)} {_n(t - STUB)}v{_n(STUB)}" stroke-dasharray="3 3"><title>{from_}</title></path>'


def _box(box: Box, place: Point) -> Iterator[str]:
    width, height = box.size
    x, y = place
    fill, line = FILLS[box.kind]
    round_ = height / 2 if box.kind in ("input", "output") and len(box.lines) < 2 else 5
    corner = f'x="{_n(x - width / 2)}" y="{_n(y)}"'
    yield f"<g><title>{mark_up(box.label)}</title>"
    if box.kind == "repeat":
        for shift in (6, 3):
            moved = f'x="{_n(x - width / 2 + shift)}" y="{_n(y + shift)}"'
            yield f'<rect {moved} width="{_n(width)}" height="{_n(height)}" rx="5" fill="{fill}" stroke="{line}"/>'
    yield f'<rect {corner} width="{_n(width)}" height="{_n(height)}" rx="{_n(min(round_, 16))}" fill="{fill}" stroke="{line}"/>'
    base = y + PADDING + LINE - 6
    yield f'<text x="{_n(x)}" y="{_n(base)}" text-anchor="middle" font-weight="600" fill="{INK}">{mark_up(box.title)}</text>'
    for k, text in enumerate(box.lines, start=1):
        yield f'<text x="{_n(x)}" y="{_n(base + k * LINE)}" text-anchor="middle" fill="{SOFT}">{mark_up(text)}</text>'
    yield "</g>"
