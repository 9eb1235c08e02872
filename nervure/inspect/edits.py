"""From matched nodes to edits: what was deleted, inserted, changed or joined otherwise, and a listing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..ir.graph import Graph, Node, Value
from ..ir.op import attributes
from ..ir.text.printer import attribute_text, value_names
from .matching import Matching, Numbers, Side, attribute_texts, match_graphs

__all__ = ["Edit", "GraphDiff", "Line", "diff_graphs", "node_line"]

REACH = 500
"""Inserted or deleted nodes that are walked to see whether an operand came about through them."""

SHOWN = 160
"""Characters of an attribute's text that a listing shows."""


@dataclass(frozen=True)
class Line:
    """A line of a listing: ``-`` of a alone, ``+`` of b alone, a space for both, ``@`` for how many are left out."""

    sign: str
    depth: int
    text: str
    head: bool = False

    def __str__(self) -> str:
        return f"{self.sign} {'  ' * self.depth}{self.text}"


@dataclass(frozen=True)
class Edit:
    """A node that is not the same.

    Args:
        kind:          deleted, inserted, changed (another op, attribute or body) or rewired (other operands)
        before, after: as text, with the names that b's values have; empty where it is not there
        what:          what differs, one text each; of a changed body, its edits
        lines_before, lines_after: the user's lines
    """

    kind: Literal["deleted", "inserted", "changed", "rewired"]
    before: str
    after: str
    what: tuple[str, ...]
    lines_before: tuple[str, ...]
    lines_after: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "what": list(self.what),
            "lines_before": list(self.lines_before),
            "lines_after": list(self.lines_after),
        }


@dataclass(frozen=True)
class GraphDiff:
    """What differs between two graphs.

    Args:
        name:    of the graph, in b where it is there
        edits:   in the order of b; what was deleted stands behind what it followed
        head:    what differs in inputs, outputs and updates
        retyped: nodes that differ in nothing but the types that follow from their operands
        lines:   the listing, whole
        pairs:   nodes of a and b that stand for each other
        touched: nodes of b that are inserted, changed or rewired
    """

    name: str
    edits: tuple[Edit, ...]
    head: tuple[str, ...]
    retyped: int
    lines: tuple[Line, ...]
    pairs: Mapping[Node, Node]
    touched: frozenset[Node]

    @property
    def same(self) -> bool:
        return not self.edits and not self.head

    def to_json(self) -> dict[str, Any]:
        edits = [e.to_json() for e in self.edits]
        return {"graph": self.name, "edits": edits, "head": list(self.head), "retyped": self.retyped}


def node_line(node: Node, names: Mapping[Value, str]) -> str:
    """A node as it is printed, without its regions and origins, long attributes cut."""
    results = ", ".join(names.get(r, "%?") for r in node.results)
    operands = ", ".join(names.get(o, "%?") for o in node.operands)
    attrs = ", ".join(
        f"{k}={_cut(attribute_text(v))}" for k, v, default in attributes(node.op) if not default
    )
    types = [str(r.type) for r in node.results]
    type_ = types[0] if len(types) == 1 else f"({', '.join(types)})"
    head = f"{results} = {node.op.mnemonic}{'{' + attrs + '}' if attrs else ''}"
    return f"{head}{' ' + operands if operands else ''} : {type_}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def diff_graphs(
    a: Graph | None, b: Graph | None, numbers: Numbers, renamed: Mapping[str, str], depth: int = 0
) -> GraphDiff:
    """What differs; where one is None, the whole other is deleted or inserted."""
    title = (b or a or Graph("", (), ())).name
    a = a if a is not None else Graph(title, (), ())
    b = b if b is not None else Graph(title, (), ())
    return _Comparison(a, b, numbers, renamed, depth).result()


class _Comparison:
    def __init__(self, a: Graph, b: Graph, numbers: Numbers, renamed: Mapping[str, str], depth: int) -> None:
        self.a, self.b, self.numbers, self.renamed, self.depth = a, b, numbers, renamed, depth
        inputs = _paired(a.inputs, b.inputs)
        to_number = {v: numbers("leaf", k) for k, pair in enumerate(inputs) for v in pair}
        for k, v in enumerate((*a.inputs, *b.inputs)):
            to_number.setdefault(v, numbers("alone", k))
        left = Side(a, {v: to_number[v] for v in a.inputs}, numbers, lambda n: renamed.get(n, n))
        right = Side(b, {v: to_number[v] for v in b.inputs}, numbers)
        by_name = {v.entry: v for v in b.reads()}
        reads = [(v, by_name[n]) for v in a.reads() if (n := renamed.get(v.entry or "", v.entry)) in by_name]
        self.inputs = inputs
        self.m: Matching = match_graphs(left, right, [*inputs, *reads])
        self.names_b = value_names(b)
        self.names_a = self._names()
        self.edits: list[Edit] = []
        self.lines: list[Line] = []
        self.retyped = 0
        self.touched: set[Node] = set()

    def _names(self) -> dict[Value, str]:
        """Names of a's values: those of their partners, else their own, with a dash where b has it for another."""
        names = dict(value_names(self.a))
        taken = set(self.names_b.values())
        partner = dict(self.inputs)
        for node, other in self.m.to_b.items():
            partner.update(zip(node.results, other.results, strict=False))
        for value, name in names.items():
            if value.entry is not None:
                continue
            if value in partner:
                names[value] = self.names_b[partner[value]]
            elif name in taken:
                names[value] = name + "'"
        return names

    def result(self) -> GraphDiff:
        heads = _head(self.a, self.names_a), _head(self.b, self.names_b)
        self._both(*heads, head=True)
        self.depth += 1
        for x, y in self._order():
            if x is None:
                assert y is not None
                self._alone("inserted", y)
            elif y is None:
                self._alone("deleted", x)
            else:
                self._pair(x, y)
        self._both(_roots(self.a, self.names_a), _roots(self.b, self.names_b), head=False)
        return GraphDiff(
            self.b.name or self.a.name,
            tuple(self.edits),
            self._ends(),
            self.retyped,
            tuple(self.lines),
            self.m.to_b,
            frozenset(self.touched),
        )

    def _both(self, before: str, after: str, head: bool) -> None:
        if before == after:
            self.lines.append(Line(" ", self.depth, after, head))
        else:
            self.lines += [Line("-", self.depth, before, head), Line("+", self.depth, after, head)]

    def _order(self) -> Iterator[tuple[Node | None, Node | None]]:
        """The nodes of b in order, with those of a alone behind the one that they followed."""
        behind: dict[Node | None, list[Node]] = {}
        last: Node | None = None
        for node in self.a.nodes:
            if node in self.m.to_b:
                last = self.m.to_b[node]
            else:
                behind.setdefault(last, []).append(node)
        for gone in behind.get(None, ()):
            yield gone, None
        for node in self.b.nodes:
            yield self.m.to_a.get(node), node
            for gone in behind.get(node, ()):
                yield gone, None

    def _alone(self, kind: Literal["deleted", "inserted"], node: Node) -> None:
        gone = kind == "deleted"
        if not gone:
            self.touched.add(node)
        text = node_line(node, self.names_a if gone else self.names_b)
        lines = _origins(node)
        self.edits.append(
            Edit(kind, text if gone else "", "" if gone else text, (), lines if gone else (), () if gone else lines)
        )  # fmt: skip
        self.lines.append(Line("-" if gone else "+", self.depth, text))

    def _pair(self, x: Node, y: Node) -> None:
        before, after = node_line(x, self.names_a), node_line(y, self.names_b)
        same_op = self.m.a.key[x] == self.m.b.key[y]
        what = [] if same_op else _differences(x, y)
        inner: list[GraphDiff] = []
        if not same_op and len(x.regions) == len(y.regions):
            inner = [
                diff_graphs(p, q, self.numbers, self.renamed, self.depth + 1)
                for p, q in zip(x.regions, y.regions, strict=True)
            ]
        rewired = self._rewired(x, y)
        what += [f"operands: {t}" for t in rewired]
        within = [edit for region in inner for edit in region.edits]
        if any(region.head for region in inner) and not within:
            what += [t for region in inner for t in region.head]
        if what or (not same_op and not within):
            kind: Literal["changed", "rewired"] = "rewired" if same_op else "changed"
            self.touched.add(y)
            self.edits.append(Edit(kind, before, after, tuple(what), _origins(x), _origins(y)))
            self.lines += [Line("-", self.depth, before), Line("+", self.depth, after)]
        else:
            types = [r.type for r in x.results] != [r.type for r in y.results]
            self.retyped += types
            self.lines.append(Line(" ", self.depth, after))
        self.edits += within
        if within or any(not r.same for r in inner):
            self.lines += [line for region in inner for line in region.lines]

    def _rewired(self, x: Node, y: Node) -> list[str]:
        """Operands that are other values, where no inserted or deleted node says so already."""
        if len(x.operands) != len(y.operands):
            return [f"{len(x.operands)} -> {len(y.operands)}"]
        return [
            f"{self.names_a[v]} -> {self.names_b[w]}"
            for v, w in zip(x.operands, y.operands, strict=True)
            if not self.m.same(v, w) and not self._explained(v, w)
        ]

    def _explained(self, v: Value, w: Value) -> bool:
        """Whether w is made of v by inserted nodes alone, or v of w by deleted ones, or both are new and gone."""
        gone = v.node is not None and v.node not in self.m.to_b
        new = w.node is not None and w.node not in self.m.to_a
        if gone and new:
            return True
        if new:
            return any(self.m.same(v, u) for u in _through(w, self.m.to_a))
        return gone and any(self.m.same(u, w) for u in _through(v, self.m.to_b))

    def _ends(self) -> tuple[str, ...]:
        """What differs in inputs, outputs and updates."""
        found: list[str] = []
        paired = dict(self.inputs)
        found += [f"input {self.names_a[v]}: {v.type} deleted" for v in self.a.inputs if v not in paired]
        there = set(paired.values())
        found += [f"input {self.names_b[v]}: {v.type} inserted" for v in self.b.inputs if v not in there]
        found += [
            f"input {self.names_b[y]}: {x.type} -> {y.type}" for x, y in self.inputs if x.type != y.type
        ]
        order = [self.b.inputs.index(y) for _, y in self.inputs]
        found += ["inputs in another order"] if order != sorted(order) else []
        if len(self.a.outputs) != len(self.b.outputs):
            found.append(f"outputs: {len(self.a.outputs)} -> {len(self.b.outputs)}")
        for k, (v, w) in enumerate(zip(self.a.outputs, self.b.outputs, strict=False)):
            if not self.m.same(v, w) and not self._explained(v, w):
                found.append(f"output {k}: {self.names_a[v]} -> {self.names_b[w]}")
        left = {self.renamed.get(n, n): v for n, v in self.a.updates}
        right = dict(self.b.updates)
        found += [f"update of @{name} deleted" for name in left if name not in right]
        found += [f"update of @{name} inserted" for name in right if name not in left]
        for name, v in left.items():
            w = right.get(name)
            if w is not None and not self.m.same(v, w) and not self._explained(v, w):
                found.append(f"update of @{name}: {self.names_a[v]} -> {self.names_b[w]}")
        return tuple(found)


def _paired(a: Sequence[Value], b: Sequence[Value]) -> list[tuple[Value, Value]]:
    """Inputs that stand for each other: by name, then by place among the rest of the same type, then by place."""
    left, right = list(a), list(b)
    found: list[tuple[Value, Value]] = []
    tests: tuple[Callable[[Value, Value], bool], ...] = (
        lambda x, y: bool(x.name) and x.name == y.name,
        lambda x, y: x.type == y.type,
        lambda x, y: x.type.dtype == y.type.dtype and len(x.type.shape) == len(y.type.shape),
    )
    for fits in tests:
        for x in list(left):
            y = next((y for y in right if fits(x, y)), None)
            if y is not None:
                found.append((x, y))
                left.remove(x)
                right.remove(y)
    return sorted(found, key=lambda pair: a.index(pair[0]))


def _through(value: Value, partners: Mapping[Node, Node]) -> Iterator[Value]:
    """The values that a value is made of by nodes without a partner."""
    stack, seen = [value], {value}
    while stack and len(seen) < REACH:
        node = stack.pop().node
        if node is None or node in partners:
            continue
        for operand in node.operands:
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
                yield operand


def _differences(x: Node, y: Node) -> list[str]:
    """Mnemonic and attributes, as ``name: before -> after``."""
    found = [] if x.op.mnemonic == y.op.mnemonic else [f"op: {x.op.mnemonic} -> {y.op.mnemonic}"]
    before, after = dict(attribute_texts(x)), dict(attribute_texts(y))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            found.append(f"{name}: {_cut(before.get(name, 'default'))} -> {_cut(after.get(name, 'default'))}")
    return found


def _origins(node: Node) -> tuple[str, ...]:
    return tuple(f"{o.file}:{o.line}" for o in node.origins)


def _head(graph: Graph, names: Mapping[Value, str]) -> str:
    inputs = ", ".join(f"{names[v]}: {v.type}" for v in graph.inputs)
    types = [str(v.type) for v in graph.outputs]
    returned = types[0] if len(types) == 1 else f"({', '.join(types)})"
    title = f"graph {graph.name}" if graph.name else ""
    return f"{title}({inputs}) -> {returned}"


def _roots(graph: Graph, names: Mapping[Value, str]) -> str:
    returned = f"return {', '.join(names[v] for v in graph.outputs)}"
    updates = ", ".join(f"@{entry} = {names[v]}" for entry, v in graph.updates)
    return returned + (f" update {updates}" if updates else "")
