"""What a page carries: strings once, identities of nodes over all passes, and a bound on the whole."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..inspect.edits import diff_graphs, node_line
from ..inspect.matching import Numbers, attribute_texts
from ..ir.graph import Graph, Node, Value
from ..ir.program import Program
from ..ir.text.printer import value_names
from .drawing import draw
from .escape import visible
from .svg import curve

__all__ = ["Budget", "Identities", "Pool", "Stage", "drawn_graphs", "graph_json", "listing_json"]


BODIES = 16
"""Bodies of loops that are drawn."""


class Pool:
    """Every string once, by number."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a text, made visible."""
        shown = visible(text)
        if shown not in self._of:
            self._of[shown] = len(self.strings)
            self.strings.append(shown)
        return self._of[shown]


class Budget:
    """Bytes that are left for what is not needed by all means."""

    def __init__(self, pool: Pool, size: int) -> None:
        self.pool = pool
        self.left = size
        self._strings = 0

    def spend(self, value: Any) -> bool:
        """Whether a value, with the strings that came to the pool for it, fits; its bytes are counted in any case."""
        fresh = self.pool.strings[self._strings :]
        self._strings = len(self.pool.strings)
        self.left -= len(json.dumps([value, fresh], separators=(",", ":")))
        return self.left >= 0


@dataclass
class Stage:
    """A program between two passes.

    Attributes:
        ids:      of each node, a number that it shares with the stages before and after
        contents: of each node, a number that changes where a pass touches it
    """

    program: Program
    ids: dict[Node, int]
    contents: dict[Node, int]


@dataclass
class Identities:
    """Numbers of nodes; one that a pass keeps or changes keeps its number."""

    numbers: Numbers = field(default_factory=Numbers)
    _next: int = 0
    _inner: dict[tuple[int, int, int], int] = field(default_factory=dict[tuple[int, int, int], int])

    def fresh(self) -> int:
        self._next += 1
        return self._next

    def stage(self, program: Program, before: Stage | None) -> Stage:
        """Number a program's nodes after those of the stage before."""
        ids: dict[Node, int] = {}
        contents: dict[Node, int] = {}
        for name, graph in program.graphs.items():
            old = before.program.graphs.get(name) if before is not None else None
            if before is not None and old is graph:
                ids.update(before.ids)
                contents.update(before.contents)
                continue
            if before is not None and old is not None:
                found = diff_graphs(old, graph, self.numbers, {})
                for node, new in found.pairs.items():
                    ids[new] = before.ids[node]
                    if new not in found.touched:
                        contents[new] = before.contents[node]
            for node in graph.nodes:
                if node not in ids:
                    ids[node] = self.fresh()
                if node not in contents:
                    contents[node] = self.fresh()
            self._regions(graph.nodes, ids)
        return Stage(program, ids, contents)

    def _regions(self, nodes: Sequence[Node], ids: dict[Node, int]) -> None:
        """Inner nodes are told apart by their place in the outer one."""
        waiting = [node for node in nodes if node.regions]
        while waiting:
            node = waiting.pop()
            for k, region in enumerate(node.regions):
                for n, inner in enumerate(region.nodes):
                    place = (ids[node], k, n)
                    if place not in self._inner:
                        self._inner[place] = self.fresh()
                    ids[inner] = self._inner[place]
                    if inner.regions:
                        waiting.append(inner)


def listing_json(stage: Stage, pool: Pool, origins: Pool, numbers: Numbers) -> list[list[Any]]:
    """The lines of a program: text, depth, a number for what stands there in every stage, one for its content, the user's
    lines. Numbers of nodes are above 0, those of heads and returns below."""
    found: list[list[Any]] = []
    for name, graph in stage.program.graphs.items():
        stack = [_lines(graph, 0, f"graph {name}", name, stage, numbers)]
        while stack:
            line = next(stack[-1], None)
            if line is None:
                stack.pop()
                continue
            lines = (
                [origins(f"{o.file}:{o.line}") for o in line.node.origins] if line.node is not None else []
            )
            content = line.content if isinstance(line.content, int) else -1 - numbers("content", line.content)
            found.append([pool(line.text), line.depth, line.place, content, lines])
            if line.node is not None:
                stack += [
                    _lines(region, line.depth + 1, "", (line.place, k), stage, numbers)
                    for k, region in reversed(list(enumerate(line.node.regions)))
                ]
    return found


@dataclass
class _Line:
    text: str
    depth: int
    node: Node | None
    place: int
    content: Hashable


def _lines(
    graph: Graph, depth: int, head: str, owner: Hashable, stage: Stage, numbers: Numbers
) -> Iterator[_Line]:
    names = value_names(graph)

    def refer(value: Value) -> Hashable:
        return names[value] if value.node is None else (stage.ids.get(value.node, 0), value.index)

    def other(kind: str, text: str, depth: int, *values: Value) -> _Line:
        content = (kind, tuple((refer(v), v.type) for v in values), tuple(n for n, _ in graph.updates))
        return _Line(text, depth, None, -1 - numbers("place", owner, kind), content)

    inputs = ", ".join(f"{names[v]}: {v.type}" for v in graph.inputs)
    types = [str(v.type) for v in graph.outputs]
    returned = types[0] if len(types) == 1 else f"({', '.join(types)})"
    yield other("head", f"{head}({inputs}) -> {returned}", depth, *graph.inputs)
    for node in graph.nodes:
        content = stage.contents.get(node) or (
            node.op.mnemonic,
            attribute_texts(node),
            tuple(map(refer, node.operands)),
            tuple(r.type for r in node.results),
        )
        yield _Line(node_line(node, names), depth + 1, node, stage.ids[node], content)
    if graph.outputs:
        text = f"return {', '.join(names[v] for v in graph.outputs)}"
        yield other("return", text, depth + 1, *graph.outputs)
    if graph.updates:
        text = ", ".join(f"@{entry} = {names[v]}" for entry, v in graph.updates)
        yield other("update", f"update {text}", depth + 1, *(v for _, v in graph.updates))


def drawn_graphs(program: Program) -> list[tuple[str, Graph]]:
    """The graphs that a page draws, with titles: those of the program, the one that runs first, then bodies of loops."""
    found = sorted(program.graphs.items(), key=lambda item: item[0] == "prepare")
    bodies: list[tuple[str, Graph]] = []
    for name, graph in found:
        names = value_names(graph)
        for node in graph.nodes:
            if node.regions and node.op.mnemonic != "fuse":
                made = names[node.results[0]] if node.results else ""
                bodies += [(f"{name}: {node.op.mnemonic} {made}", region) for region in node.regions]
    return [*found, *bodies[:BODIES]]


def graph_json(title: str, graph: Graph, stage: Stage, pool: Pool, fold: bool = True) -> dict[str, Any]:
    """A drawing: boxes as kind, title, lines, spoken text, left, top, width, height and numbers of nodes; edges as paths."""
    drawing = draw(graph, fold)
    places = drawing.layout()
    boxes: list[list[Any]] = []
    for box, (x, y) in zip(drawing.boxes, places.places, strict=True):
        w, h = box.size
        lines = [pool(t) for t in box.lines]
        ids = [stage.ids[n] for n in box.nodes]
        boxes.append(
            [box.kind, pool(box.title), lines, pool(box.label), round(x - w / 2, 1), round(y, 1), round(w, 1), round(h, 1), ids]
        )  # fmt: skip
    edges = [
        [u, v, curve(route)] if route else [u, v]
        for (u, v), route in zip(drawing.edges, places.routes, strict=True)
    ]
    return {
        "name": pool(title),
        "label": pool(drawing.label if graph.name else f"body of {title}: {drawing.nodes} nodes"),
        "width": places.width,
        "height": places.height,
        "boxes": boxes,
        "edges": edges,
    }
