"""From a graph to boxes and edges: what is drawn, whatever draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import east_asian_width

from ..ir.graph import Graph, Node, Value
from ..ir.ops.constant import Constant
from ..ir.text.printer import literal_text, value_names
from .escape import visible
from .fold import Repeat, described, repeats
from .layered import Layout, layout

__all__ = ["Box", "Drawing", "draw"]

Kind = Literal["input", "op", "kernel", "control", "repeat", "output"]

LETTER = 7.0
"""Width of a letter of 11.5 pixels in a monospaced font."""

LINE = 15.0
PADDING = 9.0
LONGEST = 30
"""Letters of a line; longer names lose their middle."""

TIMES = "\u00d7"
LINES = 6
"""Lines of a box below its title."""


@dataclass(frozen=True)
class Box:
    """One box.

    Args:
        kind:  input, output, op, kernel (a fused group), control (another op with regions) or repeat
        title: the op, or how often a repeat stands for its nodes
        lines: what it makes, and the constants and store entries that it takes
        nodes: the nodes that it stands for
        label: all of it in one line, for those who do not see it
    """

    kind: Kind
    title: str
    lines: tuple[str, ...]
    nodes: tuple[Node, ...]
    label: str

    @property
    def size(self) -> tuple[float, float]:
        longest = max(map(letters, (self.title, *self.lines)))
        return max(LETTER * longest + 2 * PADDING, 56.0), LINE * (1 + len(self.lines)) + 2 * PADDING - 4


@dataclass(frozen=True)
class Drawing:
    """Boxes in an order in which sources come first, and edges between them.

    Args:
        name:  of the graph
        nodes: how many nodes it has, regions apart
    """

    name: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    nodes: int

    def layout(self) -> Layout:
        return layout([box.size for box in self.boxes], self.edges)

    @property
    def label(self) -> str:
        folded = sum(len(b.nodes) for b in self.boxes if b.kind == "repeat")
        more = f", {folded} of them folded into repeats" if folded else ""
        return f"graph {self.name}: {self.nodes} nodes{more}"


def letters(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def short(text: str, longest: int = LONGEST) -> str:
    """The visible text, without its middle where it is long."""
    text = visible(text)
    if letters(text) <= longest:
        return text
    half = (longest - 1) // 2
    while letters(text[:half] + text[-half:]) >= longest:
        half -= 1
    return f"{text[:half]}…{text[-half:]}"


def draw(graph: Graph, fold: bool = True) -> Drawing:
    """The boxes and edges of a graph.

    Args:
        fold: whether repeats become one box each
    """
    names = value_names(graph)
    roots = {v.node for v in graph.roots}
    hidden = {n for n in graph.nodes if isinstance(n.op, Constant) and n not in roots}
    nodes = [n for n in graph.nodes if n not in hidden]
    updates: dict[Value, list[str]] = {}
    for name, value in graph.updates:
        updates.setdefault(value, []).append(name)
    boxes: list[Box] = []
    box_of: dict[Node | Value, int] = {}
    for value in graph.inputs:
        box_of[value] = len(boxes)
        boxes.append(_input(names[value], value))
    edges: dict[tuple[int, int], None] = {}
    for group in _groups(nodes, repeats(nodes) if fold else []):
        place = len(boxes)
        boxes.append(_op(group, names, updates) if isinstance(group, Node) else _repeat(*group, names))
        members = (group,) if isinstance(group, Node) else group[0]
        for node in members:
            box_of[node] = place
            for operand in node.operands:
                source = box_of.get(operand if operand.node is None else operand.node)
                if source is not None and source != place:
                    edges[source, place] = None
    for k, value in enumerate(graph.outputs):
        source = box_of.get(value if value.node is None else value.node)
        name = names.get(value, "") if value.entry is not None else ""
        boxes.append(_output(k, len(graph.outputs), value, name))
        if source is not None:
            edges[source, len(boxes) - 1] = None
    return Drawing(graph.name, tuple(boxes), tuple(edges), len(graph.nodes))


def _groups(nodes: Sequence[Node], runs: Sequence[Repeat]) -> list[Node | tuple[tuple[Node, ...], Repeat]]:
    found: list[Node | tuple[tuple[Node, ...], Repeat]] = []
    k = 0
    for run in runs:
        found += nodes[k : run.start]
        found.append((tuple(nodes[run.start : run.end]), run))
        k = run.end
    return [*found, *nodes[k:]]


def _input(name: str, value: Value) -> Box:
    return Box("input", short(name), (short(str(value.type)),), (), f"input {visible(name)}: {value.type}")


def _output(k: int, count: int, value: Value, name: str) -> Box:
    title = "output" if count == 1 else f"output {k}"
    more = (short(name),) if name else ()
    return Box("output", title, (short(str(value.type)), *more), (), f"{title}: {value.type}")


def _op(node: Node, names: Mapping[Value, str], updates: Mapping[Value, Sequence[str]]) -> Box:
    label = getattr(node.op, "label", "")
    kind: Kind = "op" if not node.regions else "kernel" if node.op.mnemonic == "fuse" else "control"
    title = label or node.op.mnemonic
    made = [f"{names[r]} {r.type}" for r in node.results]
    taken = [_leaf(o, names) for o in node.operands]
    written = [f"→ @{name}" for r in node.results for name in updates.get(r, ())]
    details = [str(r.type) for r in node.results][:2]
    details += [*dict.fromkeys(t for t in taken if t), *written]
    if kind == "kernel" and letters(title) > LONGEST:
        first, *others = _wrapped(title.split("+"))
        title, details = first, [*others, *details]
    if len(details) > LINES:
        details = [*details[: LINES - 1], f"and {len(details) - LINES + 1} more"]
    spoken = f"{label or node.op.mnemonic} {', '.join(made)}"
    return Box(kind, short(title), tuple(map(short, details)), (node,), visible(spoken))


def _wrapped(words: Sequence[str]) -> list[str]:
    """Words joined by plus signs in lines that are not too long."""
    lines = [""]
    for k, word in enumerate(words):
        piece = word if k == len(words) - 1 else f"{word}+"
        if lines[-1] and letters(lines[-1]) + letters(piece) > LONGEST:
            lines.append("")
        lines[-1] += piece
    return lines


def _leaf(value: Value, names: Mapping[Value, str]) -> str:
    """A store entry or a small constant as it stands in a box that takes it."""
    if value.entry is not None:
        return names[value]
    if value.node is None or not isinstance(value.node.op, Constant):
        return ""
    literal = value.node.op.value
    if literal.array.size == 1:
        return literal_text(literal).partition(": ")[2].rstrip(">")
    return f"constant {literal.type}"


def _repeat(nodes: tuple[Node, ...], run: Repeat, names: Mapping[Value, str]) -> Box:
    """A box for a run: how often, the ops of one repetition, the type of what it makes last."""
    counts = described(nodes[: run.period])
    ops = [name if count == 1 else f"{count} {name}" for name, count in counts.items()]
    if len(ops) > LINES - 1:
        ops = [*ops[: LINES - 2], f"and {len(ops) - LINES + 2} more ops"]
    last = nodes[-1].results
    lines = [*ops, *(str(r.type) for r in last[:1])]
    spoken = f"{run.times} times {', '.join(ops)}, up to {names[last[0]]}" if last else f"{run.times} times"
    return Box("repeat", f"{TIMES} {run.times}", tuple(map(short, lines)), nodes, visible(spoken))
