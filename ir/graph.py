"""Values, nodes and graphs: immutable, compared by identity, built from the operands up.

A value is a graph's input, the content of a store entry at entry (a read of ``@name``), or one result of a node.
Its type is computed when it is made. A rewrite never changes a graph: it maps old values to new ones and collects
a new graph from the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from .display import shown
from .errors import TypeInferenceError
from .op import Op
from .origin import Origins, current_origins, origins_of
from .types import TensorType

__all__ = ["Graph", "Node", "Rewrite", "Value", "collect", "make", "make_one", "rebuild"]


class Value:
    """One tensor of a graph.

    Attributes:
        type:  its element type and shape
        node:  the node that makes it, or None for a leaf
        index: which result of the node
        entry: for a read of the store, the entry's name, else None
        name:  a hint for the printer, which makes names unique
    """

    __slots__ = ("entry", "index", "name", "node", "type")

    def __init__(
        self,
        type: TensorType,
        *,
        node: Node | None = None,
        index: int = 0,
        entry: str | None = None,
        name: str = "",
    ) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.entry = entry
        self.name = name

    @property
    def op(self) -> Op | None:
        """The op that makes the value, or None for a leaf."""
        return None if self.node is None else self.node.op

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    def __repr__(self) -> str:
        return f"<value {'@' + self.entry if self.entry else '%' + (self.name or '?')}: {self.type}>"


class Node:
    """An op applied to operands, with its regions, results and origins."""

    __slots__ = ("op", "operands", "origins", "regions", "results")

    def __init__(
        self,
        op: Op,
        operands: tuple[Value, ...],
        types: tuple[TensorType, ...],
        *,
        regions: tuple[Graph, ...] = (),
        origins: Origins = (),
        names: Sequence[str] = (),
    ) -> None:
        self.op = op
        self.operands = operands
        self.regions = regions
        self.origins = origins
        self.results = tuple(
            Value(t, node=self, index=k, name=names[k] if k < len(names) else "") for k, t in enumerate(types)
        )

    def __repr__(self) -> str:
        return f"<node {self.op.mnemonic}: {', '.join(str(r.type) for r in self.results)}>"


class Graph:
    """Inputs, outputs and the nodes between them; and what it writes back to the store.

    Args:
        inputs:  the arguments, leaf values
        outputs: what it returns
        updates: pairs of a store entry's name and its new content, written after every read of the old
        nodes:   in an order where operands come first; found from outputs and updates if not given
    """

    __slots__ = ("inputs", "name", "nodes", "outputs", "updates")

    def __init__(
        self,
        name: str,
        inputs: Iterable[Value],
        outputs: Iterable[Value],
        updates: Iterable[tuple[str, Value]] = (),
        nodes: Iterable[Node] | None = None,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.updates = tuple(updates)
        self.nodes = tuple(nodes) if nodes is not None else collect(self.roots)

    @property
    def roots(self) -> tuple[Value, ...]:
        """Outputs, then the new contents of updated entries."""
        return self.outputs + tuple(v for _, v in self.updates)

    def reads(self) -> tuple[Value, ...]:
        """The store reads of the graph, each value once, in order of first use."""
        found: dict[int, Value] = {}
        for value in (*(o for n in self.nodes for o in n.operands), *self.roots):
            if value.entry is not None:
                found.setdefault(id(value), value)
        return tuple(found.values())

    def uses(self) -> dict[Value, list[Node | None]]:
        """For each value its users, in order; None stands for a root of the graph."""
        users: dict[Value, list[Node | None]] = {}
        for node in self.nodes:
            for operand in node.operands:
                users.setdefault(operand, []).append(node)
        for root in self.roots:
            users.setdefault(root, []).append(None)
        return users

    def walk(self) -> Iterable[Node]:
        """Every node, those of regions too, an outer node before its inner ones."""
        stack = [iter(self.nodes)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node
            stack += [iter(region.nodes) for region in reversed(node.regions)]

    def replace(
        self,
        *,
        name: str | None = None,
        inputs: Iterable[Value] | None = None,
        outputs: Iterable[Value] | None = None,
        updates: Iterable[tuple[str, Value]] | None = None,
    ) -> Graph:
        """A graph with some parts exchanged; its nodes are collected anew, dead ones dropped."""
        return Graph(
            self.name if name is None else name,
            self.inputs if inputs is None else inputs,
            self.outputs if outputs is None else outputs,
            self.updates if updates is None else updates,
        )

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.nodes)} nodes>"

    def _repr_svg_(self) -> str | None:
        return shown("svg", self)


def collect(roots: Iterable[Value]) -> tuple[Node, ...]:
    """The nodes that the roots need, operands first; deterministic, with a stack of its own."""
    order: dict[Node, None] = {}
    for root in roots:
        stack: list[tuple[Node, int]] = (
            [(root.node, 0)] if root.node is not None and root.node not in order else []
        )
        while stack:
            node, k = stack.pop()
            while k < len(node.operands):
                child = node.operands[k].node
                k += 1
                if child is not None and child not in order:
                    stack += [(node, k), (child, 0)]
                    break
            else:
                order.setdefault(node)
    return tuple(order)


def make(
    op: Op,
    *operands: Value,
    regions: Sequence[Graph] = (),
    names: Sequence[str] = (),
    origins: Origins | None = None,
) -> tuple[Value, ...]:
    """Apply an op: infer the result types, make the node, return its results.

    Raises:
        TypeInferenceError: the operands do not fit; it carries the user's lines
    """
    where = current_origins() if origins is None else origins
    types = [v.type for v in operands]
    try:
        inferred: Any = op.infer(*types, regions=tuple(regions)) if op.num_regions else op.infer(*types)
    except TypeInferenceError as error:
        if where and not error.where:
            error.where = tuple(str(o) for o in where)
        raise
    except TypeError as error:
        if operands_fit(op, len(operands)):
            raise
        raise TypeInferenceError(
            f"{op.mnemonic}: takes another number of operands than {len(operands)}",
            where=[str(o) for o in where],
        ) from error
    result_types = cast(tuple[TensorType, ...], inferred if isinstance(inferred, tuple) else (inferred,))
    return Node(op, tuple(operands), result_types, regions=tuple(regions), origins=where, names=names).results


def operands_fit(op: Op, count: int) -> bool:
    """Whether the op's infer takes that many operands."""
    import inspect

    parameters = list(inspect.signature(op.infer).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    return needed <= count <= len(positional)


def make_one(op: Op, *operands: Value, regions: Sequence[Graph] = (), name: str = "") -> Value:
    """Apply an op with one result."""
    (result,) = make(op, *operands, regions=regions, names=(name,))
    return result


Rewrite = Callable[[Node, tuple[Value, ...]], Sequence[Value] | None]
"""Given an old node and its new operands: the values that stand for its results, or None to keep the node."""


def rebuild(graph: Graph, rewrite: Rewrite, leaves: Mapping[Value, Value] | None = None) -> Graph:
    """The graph with every node passed through `rewrite`, operands first.

    A node that is kept and whose operands did not change is reused; if nothing changed, the graph itself is
    returned. Nodes that a rewrite makes inherit the origins of the node they replace.
    """
    mapping: dict[Value, Value] = dict(leaves or {})
    known = set(graph.nodes)
    for node in graph.nodes:
        operands = tuple(mapping.get(o, o) for o in node.operands)
        with origins_of(node.origins):
            results = rewrite(node, operands)
            if results is None:
                if operands == node.operands:
                    continue
                results = make(node.op, *operands, regions=node.regions, names=[r.name for r in node.results])
        for old, new in zip(node.results, results, strict=True):
            if old is not new:
                assert old.type == new.type, f"rewrite of {node} changed {old.type} to {new.type}"
                if not new.name and new.node is not None and new.node not in known:
                    new.name = old.name  # of a new node alone: the graph that is given stays as it is
                mapping[old] = new
    if not mapping:
        return graph
    return graph.replace(
        inputs=[mapping.get(v, v) for v in graph.inputs],
        outputs=[mapping.get(v, v) for v in graph.outputs],
        updates=[(n, mapping.get(v, v)) for n, v in graph.updates],
    )
