"""Exchanges groups of nodes for `fuse` nodes with regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..ir import build as b
from ..ir.graph import Graph, Node, Value, make
from ..ir.op import Op
from ..ir.ops.constant import Constant
from ..ir.origin import merge_origins, origins_of
from .fuse_groups import COPIED, Group

__all__ = ["is_copied", "with_regions"]


def with_regions(graph: Graph, groups: Sequence[Group]) -> Graph:
    """The graph with each group as a `fuse` node."""
    of = {node: group for group in groups for node in group.nodes}
    mapping: dict[Value, Value] = {}
    for unit in _ordered(graph, of):
        if isinstance(unit, Group):
            mapping.update(zip(unit.exits, _fused(unit, mapping), strict=True))
            continue
        node = unit
        operands = tuple(mapping.get(o, o) for o in node.operands)
        if operands != node.operands:
            names = [r.name for r in node.results]
            results = make(node.op, *operands, regions=node.regions, names=names, origins=node.origins)
            mapping.update(zip(node.results, results, strict=True))
    return graph.replace(
        outputs=[mapping.get(v, v) for v in graph.outputs],
        updates=[(n, mapping.get(v, v)) for n, v in graph.updates],
    )


def _ordered(graph: Graph, of: Mapping[Node, Group]) -> Iterator[Node | Group]:
    """Nodes and groups, each after what it reads; as the last members of groups stand, as far as that goes."""
    done: set[Node | Group] = set()
    for node in graph.nodes:
        group = of.get(node)
        if group is not None and group.nodes[-1] is not node:
            continue
        stack: list[Node | Group] = [group or node]
        while stack:
            unit = stack[-1]
            if unit in done:
                stack.pop()
                continue
            members = unit.nodes if isinstance(unit, Group) else [unit]
            makers = (o.node for n in members for o in n.operands if o.node is not None)
            needed = dict.fromkeys(of.get(m, m) for m in makers)
            missing = [u for u in needed if u is not unit and u not in done]
            if missing:
                stack += missing
                continue
            stack.pop()
            done.add(unit)
            yield unit


def _fused(group: Group, mapping: dict[Value, Value]) -> tuple[Value, ...]:
    """The `fuse` node's results; `mapping` says what stands for values made before it."""
    region = _Region(group, mapping)
    for node in group.nodes:
        given = [region.inside(o) for o in node.operands]
        names = [r.name for r in node.results]
        results = make(node.op, *given, regions=node.regions, names=names, origins=node.origins)
        region.inner.update(zip(node.results, results, strict=True))
    body = Graph("", region.inputs, [region.inner[e] for e in group.exits])
    with origins_of(merge_origins(*(n.origins for n in group.nodes))):
        results = b.fuse(group.label, body, region.operands)
    for result, exit_ in zip(results, group.exits, strict=True):
        result.name = exit_.name
    return results


class _Region:
    """A region under construction: what stands inside for each outer value, and its inputs in order of first use."""

    def __init__(self, group: Group, mapping: dict[Value, Value]) -> None:
        self.members = set(group.nodes)
        self.mapping = mapping
        self.inner: dict[Value, Value] = {}
        self.inputs: list[Value] = []
        self.operands: list[Value] = []

    def inside(self, value: Value) -> Value:
        """The value within the region: a member's, a copy, or a new input."""
        stack = [value]
        while stack:
            current = stack[-1]
            node = current.node
            if current in self.inner:
                stack.pop()
            elif node is not None and is_copied(node.op):
                missing = [o for o in node.operands if o not in self.inner]
                if missing:
                    stack += missing
                    continue
                given = [self.inner[o] for o in node.operands]
                (self.inner[current],) = make(node.op, *given, names=[current.name], origins=node.origins)
            else:
                self._add_input(current)
        return self.inner[value]

    def _add_input(self, value: Value) -> None:
        argument = Value(value.type, name=value.name or value.entry or f"x{len(self.inputs)}")
        self.inner[value] = argument
        self.inputs.append(argument)
        self.operands.append(self.mapping.get(value, value))


def is_copied(op: Op) -> bool:
    """Whether regions have copies of the node; large constants stay outside."""
    return isinstance(op, COPIED) and not (isinstance(op, Constant) and not op.value.is_inline)
