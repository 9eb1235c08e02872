"""A drawing as DOT and as Mermaid text, for tools that lay out themselves."""

from __future__ import annotations

import re

from ..ir.graph import Graph
from .drawing import Box, draw
from .escape import visible

__all__ = ["dot", "mermaid"]

SHAPES = {"input": "ellipse", "output": "ellipse", "repeat": "box3d"}
BRACKETS = {"input": ("([", "])"), "output": ("([", "])"), "repeat": ("[[", "]]"), "control": ("{{", "}}")}


def dot(graph: Graph, fold: bool = True) -> str:
    """The graph as Graphviz's DOT.

    Args:
        fold: whether repeats are one box each
    """
    drawing = draw(graph, fold)
    lines = [f"digraph {_quoted(drawing.name)} {{", '  node [shape=box, fontname="monospace"];']
    for k, box in enumerate(drawing.boxes):
        label = "\\n".join(_quoted(text)[1:-1] for text in (box.title, *box.lines))
        shape = f", shape={SHAPES[box.kind]}" if box.kind in SHAPES else ""
        lines.append(f'  n{k} [label="{label}"{shape}];')
    lines += [f"  n{u} -> n{v};" for u, v in drawing.edges]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def mermaid(graph: Graph, fold: bool = True) -> str:
    """The graph as a Mermaid flowchart.

    Args:
        fold: whether repeats are one box each
    """
    drawing = draw(graph, fold)
    lines = ["flowchart TD", *(f"  {_mermaid_box(k, box)}" for k, box in enumerate(drawing.boxes))]
    return "\n".join([*lines, *(f"  n{u} --> n{v}" for u, v in drawing.edges), ""])


def _mermaid_box(k: int, box: Box) -> str:
    left, right = BRACKETS.get(box.kind, ("[", "]"))
    label = "<br/>".join(_entities(text) for text in (box.title, *box.lines))
    return f'n{k}{left}"{label}"{right}'


def _entities(text: str) -> str:
    """Every sign that Mermaid or HTML could take for its own as its number."""
    return re.sub(r"[^A-Za-z0-9 .,:+=/_\-\u00d7…→]", lambda m: f"#{ord(m.group())};", visible(text))
