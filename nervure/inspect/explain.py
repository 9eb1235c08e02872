"""Which values a backend keeps out of memory, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..backends.base import find_backend
from ..ir.dims import dim_text
from ..ir.graph import Graph, Node, Value
from ..ir.ops.window import Conv, MaxPool, WindowSum
from ..ir.program import Program
from ..ir.text.printer import value_names
from ..passes.fuse import Fuse
from ..passes.fuse_edges import Edge, fusion_edges
from ..passes.manager import Pipeline, run_pipeline

__all__ = ["Explanation", "Row", "explain"]

BODIES = {"if": ("then", "otherwise"), "while": ("cond", "body")}
"""What the regions of an op are called where it has several."""


@dataclass(frozen=True)
class Row:
    """One edge.

    Args:
        graph:       the graph's name; of the body of a loop or branch, which one it is: ``forward, body of scan %3``
        value, user: names as the program before fusion prints them; the user is empty for who reads a graph's results
        ops:         mnemonics of both ends
        type:        of the value
        fused:       the label of the group that holds both ends, or empty
        saved:       bytes that do not go through memory, as text; symbols stay
        reason:      why the value goes through memory, or empty
        lines:       the user's lines of both ends
    """

    graph: str
    value: str
    user: str
    ops: tuple[str, str]
    type: str
    fused: str
    saved: str
    reason: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Every edge of a program's graphs.

    Args:
        program: as it stands before fusion
        rows:    in order of the users
        notes:   what the passes before had to say
    """

    program: Program
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def at_line(self, line: str) -> tuple[Row, ...]:
        """The rows that a user's line has a part in; the line as ``file.py:12``."""
        return tuple(r for r in self.rows if any(_is_at(found, line) for found in r.lines))

    def to_json(self) -> dict[str, Any]:
        return {"rows": [vars(r) for r in self.rows], "notes": list(self.notes)}

    def __str__(self) -> str:
        lines: list[str] = []
        for name in dict.fromkeys(r.graph for r in self.rows):
            rows = [r for r in self.rows if r.graph == name]
            fused = sum(bool(r.fused) for r in rows)
            lines.append(f"graph {name}: {fused} of {len(rows)} edges are fused")
            wide = [min(40, max((len(column(r)) for r in rows), default=0)) for column in (_ends, _type)]
            lines += [f"  {_ends(r):{wide[0]}}  {_type(r):{wide[1]}}  {_verdict(r)}" for r in rows]
        return "\n".join(lines)


def row_text(row: Row) -> str:
    """One line for an edge."""
    return f"{_ends(row)}: {row.type}: {_verdict(row)}"


def _ends(row: Row) -> str:
    target = f"{row.ops[1]} {row.user}" if row.user else row.ops[1]
    return f"{row.ops[0]} {row.value} -> {target}"


def _type(row: Row) -> str:
    return row.type


def _verdict(row: Row) -> str:
    if row.fused:
        return f"fused in {row.fused}, {row.saved} bytes less"
    return f"through memory: {row.reason}"


def explain(program: Program, backend: str = "llvm", level: int = 2) -> Explanation:
    """Every edge of the program, after the backend's passes before fusion.

    Raises:
        NervureError: the backend has no such pipeline, or cannot run the program
    """
    pipeline = find_backend(backend).pipeline(level)
    before: list[Any] = []
    fuse = Fuse()
    for pass_ in pipeline.passes:
        if isinstance(pass_, Fuse):
            fuse = pass_
            break
        before.append(pass_)
    result = run_pipeline(program, Pipeline(tuple(before)), verify=False)
    rows: list[Row] = []
    for name, reader, graph in _graphs(result.program):
        names = value_names(graph)
        inner = graph not in result.program.graphs.values()
        edges = fusion_edges(graph, fuse.kinds, fuse.limit, inner=inner)
        if backend == "llvm":
            edges = _pools_apart(graph, edges)
        rows += [_row(name, names, e, reader) for e in edges]
    return Explanation(result.program, tuple(rows), result.notes)


def _graphs(program: Program) -> list[tuple[str, str, Graph]]:
    """The graphs, each followed by the bodies of its loops and branches; before each what it is called here and who reads its results."""
    found: list[tuple[str, str, Graph]] = []
    waiting = [(name, "the caller", graph) for name, graph in program.graphs.items()][::-1]
    while waiting:
        name, reader, graph = waiting.pop()
        found.append((name, reader, graph))
        names = value_names(graph)
        bodies = [
            (
                f"{name}, {word} of {node.op.mnemonic} {names[node.results[0]]}",
                f"the {node.op.mnemonic}",
                body,
            )
            for node in graph.nodes
            for word, body in zip(BODIES.get(node.op.mnemonic, ("body",)), node.regions, strict=False)
        ]
        waiting += bodies[::-1]
    return found


def _pools_apart(graph: Graph, edges: Sequence[Edge]) -> list[Edge]:
    """Machine code computes some pools where a convolution's sums are; another is a kernel of its own, on blocks of channels."""
    makers: dict[Node, list[Node]] = {}
    for edge in edges:
        if edge.label and edge.user is not None and edge.value.node is not None:
            makers.setdefault(edge.user, []).append(edge.value.node)
    pools = (n for n in graph.nodes if isinstance(n.op, (MaxPool, WindowSum)))
    apart = {n for n in pools if not _is_taken(n, makers)}
    uses = graph.uses()

    def changed(edge: Edge) -> Edge:
        node = edge.user
        if edge.label and node in apart:
            reason = f"{node.op.mnemonic} is a kernel of its own, on the blocks that the convolution writes"
            return replace(edge, label="", reason=reason)
        if edge.label.endswith("+max_pool"):
            while node is not None and not isinstance(node.op, MaxPool):
                node = next(iter(uses.get(node.results[0], ())), None)
            if node in apart:
                return replace(edge, label=edge.label.removesuffix("+max_pool"))
        return edge

    return [changed(e) for e in edges]


def _is_taken(pool: Node, makers: Mapping[Node, Sequence[Node]]) -> bool:
    """Whether the kernel of the convolution of a pool's group computes it too.

    Args:
        makers: of what a node reads of its group
    """
    from ..backends.llvm.lower.pooling import takes_pool
    from ..backends.llvm.target import host_target

    stack = [pool]
    while stack:
        node = stack.pop()
        if isinstance(node.op, Conv):
            return takes_pool(node, pool, host_target())
        stack += makers.get(node, ())
    return False


def _row(graph_name: str, names: dict[Value, str], edge: Edge, reader: str) -> Row:
    maker, user = edge.value.node, edge.user
    origins = [str(o) for node in (maker, user) if node is not None for o in node.origins]
    source = "@" if edge.value.entry is not None else "input" if maker is None else maker.op.mnemonic
    return Row(
        graph=graph_name,
        value=names[edge.value],
        user="" if user is None else names[user.results[0]],
        ops=("store" if source == "@" else source, reader if user is None else user.op.mnemonic),
        type=str(edge.value.type),
        fused=edge.label,
        saved=dim_text(edge.saved) if edge.label else "",
        reason=edge.reason,
        lines=tuple(dict.fromkeys(origins)),
    )


def _is_at(origin: str, line: str) -> bool:
    return (
        origin == line
        or origin.startswith(f"{line},")
        or origin.endswith(f"/{line}")
        or f"/{line}," in origin
    )
