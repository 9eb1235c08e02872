"""Whether a parsed model is one: every name made once and before it is read, attributes what they say, no recursion.

The walk is over all graphs, the bodies in them and the model's own functions. It trusts nothing: protobuf holds names
that are no text, attributes of two kinds, tensors without data. It puts nodes into an order in which each can run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...ir.errors import InputError
from .check_calls import check_calls
from .check_nodes import check_node, check_opsets
from .check_tensors import check_sparse, check_tensor, check_type

__all__ = ["check_model", "node_label"]

MAX_BODIES = 24
"""Bodies within bodies; a file's own depth allows no more, a model built in memory might."""

# attribute type: the fields that hold it
_FIELDS = {
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
    9: "tensors",
    10: "graphs",
    11: "sparse_tensor",
    12: "sparse_tensors",
    13: "tp",
    14: "type_protos",
}
_SINGLE = {"f", "i", "s", "t", "g", "sparse_tensor", "tp"}

Names = dict[str, str]
"""Names that a graph reads and does not make, each with the first who reads it."""


def node_label(node: Any, index: int) -> str:
    """How messages name a node: its own name, else its op, its place and what it makes."""
    op = _text(node.op_type) or "?"
    if name := _text(node.name):
        return f"node {name!r} ({op})"
    made = next((f", which makes {_text(o)!r}" for o in node.output if o), "")
    return f"node {index} ({op}{made})"


def check_model(model: Any, folder: Path | None = None) -> None:
    """Refuse a ModelProto that breaks a rule of ONNX, naming the node; sort its nodes, read its external data.

    Args:
        model:  a ModelProto; its nodes are put in order, and external data is read into it
        folder: where external data may lie; None for nowhere

    Raises:
        InputError: the first thing that is wrong
    """
    versions = check_opsets(model.opset_import, "the model")
    if not model.HasField("graph"):
        raise InputError("the model has no graph", hint="is it an ONNX file")
    walk = _Walk(folder, versions)
    free = walk.graph(model.graph, "", 0)
    _refuse_unknown(free, _names_of(model.graph))
    for function in model.functions:
        own = check_opsets(function.opset_import, f"function {function.name!r}")
        _Walk(folder, {**versions, **own}).function(function)
    check_calls(model)


@dataclass(frozen=True)
class _Walk:
    """One walk over all graphs of a model."""

    folder: Path | None
    versions: Mapping[str, int]

    def graph(self, graph: Any, within: str, depth: int) -> Names:
        """Check a graph and what is in it; what it reads from around it."""
        if depth > MAX_BODIES:
            raise InputError(f"{within}: more than {MAX_BODIES} bodies in one another")
        _need_text(graph.name, f"{within}the graph's name")
        made: set[str] = set()
        for value in graph.input:
            name = _need_text(value.name, f"{within}an input's name")
            if not name or name in made:
                raise InputError(
                    f"{within}two inputs have the name {name!r}" if name else f"{within}an input has no name"
                )
            made.add(name)
            check_type(value.type, f"{within}input {name!r}")
        stored: set[str] = set()
        for kind, tensors in (("initializer", graph.initializer), ("sparse", graph.sparse_initializer)):
            for tensor in tensors:
                name = _need_text(
                    (tensor.values if kind == "sparse" else tensor).name, f"{within}an initializer's name"
                )
                if not name or name in stored:
                    raise InputError(f"{within}two initializers have the name {name!r}")
                stored.add(name)
                (check_sparse if kind == "sparse" else check_tensor)(
                    tensor, f"{within}initializer {name!r}", self.folder
                )
        for value in (*graph.output, *graph.value_info):
            name = _need_text(value.name, f"{within}a value's name")
            check_type(value.type, f"{within}value {name!r}")
        free = self.nodes(graph, made | stored, within, depth)
        makers = _names_of(graph)
        for value in graph.output:
            if value.name not in makers:
                free.setdefault(value.name, f"{within}the graph's output")
        return free

    def function(self, function: Any) -> None:
        """Check a model-local function."""
        name = _need_text(function.name, "a function's name")
        within = f"function {name!r}: "
        given = [_need_text(n, f"{within}an input's name") for n in function.input]
        if len(set(given)) < len(given):
            raise InputError(f"{within}two inputs have one name")
        free = self.nodes(function, set(given), within, 0)
        makers = set(given) | {o for node in function.node for o in node.output}
        for output in function.output:
            if _need_text(output, f"{within}an output's name") not in makers:
                free.setdefault(output, f"{within}the function's output")
        _refuse_unknown(free, makers)

    def nodes(self, graph: Any, made: set[str], within: str, depth: int) -> Names:
        """Check the nodes of a graph or function and sort them; what they read that is not made there."""
        labels = [f"{within}{node_label(node, k)}" for k, node in enumerate(graph.node)]
        needs: list[Names] = []
        maker: dict[str, int] = {}
        for k, (node, who) in enumerate(zip(graph.node, labels, strict=True)):
            for text in (node.name, node.op_type, node.domain, *node.input, *node.output):
                _need_text(text, f"{who}: a name")
            if not node.op_type:
                raise InputError(f"{who}: it has no op")
            for output in node.output:
                if output and (output in made or output in maker):
                    other = (
                        f"by {labels[maker[output]]} too" if output in maker else "as an input or initializer"
                    )
                    raise InputError(f"{who}: it makes {output!r}, which is there {other}")
                if output:
                    maker[output] = k
            reads = {name: who for name in node.input if name}
            for attribute in _checked_attributes(node, who):
                self.values(attribute, who, depth, reads)
            check_node(node, who, self.versions)
            needs.append(reads)
        _sort(graph, needs, maker, labels)
        return {n: who for reads in needs for n, who in reads.items() if n not in made and n not in maker}

    def values(self, attribute: Any, who: str, depth: int, reads: Names) -> None:
        """Check what an attribute holds; bodies add what they read from around them."""
        here = f"{who}: attribute {attribute.name!r}"
        for tensor in (*((attribute.t,) if attribute.HasField("t") else ()), *attribute.tensors):
            check_tensor(tensor, here, self.folder)
        sparse = (attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()
        for tensor in (*sparse, *attribute.sparse_tensors):
            check_sparse(tensor, here, self.folder)
        for type_ in (*((attribute.tp,) if attribute.HasField("tp") else ()), *attribute.type_protos):
            check_type(type_, here)
        for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            for name, reader in self.graph(body, f"{who}, {attribute.name}: ", depth + 1).items():
                reads.setdefault(name, reader)


def _checked_attributes(node: Any, who: str) -> Iterable[Any]:
    seen: set[str] = set()
    for attribute in node.attribute:
        name = _need_text(attribute.name, f"{who}: an attribute's name")
        if not name or name in seen:
            raise InputError(
                f"{who}: two attributes have the name {name!r}"
                if name
                else f"{who}: an attribute has no name"
            )
        seen.add(name)
        if _need_text(attribute.ref_attr_name, f"{who}: attribute {name!r}"):
            continue
        field = _FIELDS.get(attribute.type)
        if field is None:
            raise InputError(f"{who}: attribute {name!r} has type {attribute.type}, which ONNX does not have")
        others = [
            f
            for f in _FIELDS.values()
            if f != field and (attribute.HasField(f) if f in _SINGLE else len(getattr(attribute, f)))
        ]
        if others:
            raise InputError(f"{who}: attribute {name!r} says it is {field} and has {others[0]}")
        if field in ("t", "g", "sparse_tensor", "tp") and not attribute.HasField(field):
            raise InputError(f"{who}: attribute {name!r} says it is {field} and has none")
        yield attribute


def _sort(graph: Any, needs: Sequence[Names], maker: dict[str, int], labels: Sequence[str]) -> None:
    """Put nodes in an order in which what a node reads is there; one that has it already stays as it is."""
    before = [{maker[n] for n in reads if n in maker} for reads in needs]
    if all(max(b, default=-1) < k for k, b in enumerate(before)):
        return
    order: list[int] = []
    state = [0] * len(before)
    for root in range(len(before)):
        stack = [(root, iter(sorted(before[root])))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            k, rest = stack[-1]
            n = next(rest, None)
            if n is None:
                stack.pop()
                state[k] = 2
                order.append(k)
            elif state[n] == 1:
                on_way = [j for j, _ in stack]
                cycle = on_way[on_way.index(n) :]
                raise InputError(
                    f"{labels[n]} needs its own result",
                    details=[f"{labels[j]}" for j in cycle[1:9]],
                )
            elif state[n] == 0:
                state[n] = 1
                stack.append((n, iter(sorted(before[n]))))
    kept: list[Any] = [graph.node[k] for k in order]
    del graph.node[:]
    graph.node.extend(kept)


def _names_of(graph: Any) -> set[str]:
    names = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    return (
        names | {t.values.name for t in graph.sparse_initializer} | {o for n in graph.node for o in n.output}
    )


def _refuse_unknown(free: Names, known: set[str]) -> None:
    for name, who in free.items():
        close = get_close_matches(name, sorted(known)[:2000], 1)
        raise InputError(
            f"{who} reads {name!r}, which nothing makes", hint=f"is it {close[0]!r}" if close else None
        )


def _text(name: Any) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _need_text(name: Any, who: str) -> str:
    """A name as text; protobuf hands out bytes where it is none."""
    if not isinstance(name, str):
        raise InputError(f"{who} is no UTF-8 text: {name[:40]!r}")
    return name
