"""The chain rule of a graph, op by op, as equations with the shapes filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...ir.dims import shape_text
from ...ir.errors import InputError
from ...ir.graph import Graph, Node, Value
from ...ir.ops.constant import Constant
from ...ir.ops.move import BroadcastInDim
from ...ir.text.printer import value_names
from .equations import EQUATIONS
from .rules import NOT_DIFFERENTIABLE

__all__ = ["ChainRule", "Step", "chain_rule"]


@dataclass(frozen=True)
class Step:
    """The derivative by one value.

    Args:
        value:   its name
        shape:   as text
        forward: the equation that makes the value, or where it comes from
        terms:   what each use of the value adds
        line:    of the user's, where it is made
    """

    value: str
    shape: str
    forward: str
    terms: tuple[str, ...]
    line: str

    def __str__(self) -> str:
        where = f"    {self.line}" if self.line else ""
        value = f"{self.value} {self.shape}" if self.shape else self.value
        head = f"{value} = {self.forward}{where}"
        left = f"  d loss / d {value} = "
        return f"{head}\n{left}" + f"\n{' ' * (len(left) - 2)}+ ".join(self.terms)


@dataclass(frozen=True)
class ChainRule:
    """The derivatives of a loss by every value that it depends on, the last ones first.

    Args:
        loss:  what is differentiated, in words
        steps: in the order in which backpropagation computes them
        ends:  ops that pass no derivative on, with the reason
    """

    loss: str
    steps: tuple[Step, ...]
    ends: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"loss": self.loss, "steps": [vars(s) for s in self.steps], "ends": list(self.ends)}

    def __str__(self) -> str:
        parts = [f"loss = {self.loss}", *map(str, self.steps)]
        if self.ends:
            parts.append("no derivative passes\n" + "\n".join(f"  {end}" for end in self.ends))
        return "\n\n".join(parts) + "\n"


def chain_rule(graph: Graph) -> ChainRule:
    """The chain rule of a graph's first result, which is summed where it is no scalar.

    Raises:
        InputError: the graph returns no float
    """
    heads = [v for v in graph.outputs if v.type.dtype.is_float]
    if not heads:
        raise InputError(f"graph {graph.name} returns no float to differentiate")
    return _Writer(graph, heads[0]).chain_rule()


class _Writer:
    def __init__(self, graph: Graph, head: Value) -> None:
        self.graph = graph
        self.head = head
        self.names: dict[Value, str] = {v: _plain(name) for v, name in value_names(graph).items()}
        self.matters = self._matters()
        self.terms: dict[Value, list[str]] = {head: ["1" if head.type.rank == 0 else "ones"]}
        self.ends: dict[str, None] = {}

    def _matters(self) -> set[Value]:
        """Values that a float input or weight has a part in."""
        found = {v for v in (*self.graph.inputs, *self.graph.reads()) if v.type.dtype.is_float}
        for node in self.graph.nodes:
            if any(o in found for o in node.operands):
                found.update(r for r in node.results if r.type.dtype.is_float)
        return found

    def chain_rule(self) -> ChainRule:
        steps: list[Step] = []
        for node in reversed(self.graph.nodes):
            reached = [r for r in node.results if r in self.terms]
            if not reached:
                continue
            steps += [self._step(r) for r in reached]
            self._back(node)
        leaves = [v for v in (*self.graph.reads(), *self.graph.inputs) if v in self.terms]
        steps += [self._step(v) for v in leaves]
        name = self.names[self.head]
        loss = name if self.head.type.rank == 0 else f"sum of {name} {shape_text(self.head.type.shape)}"
        return ChainRule(loss, tuple(steps), tuple(self.ends))

    def _step(self, value: Value) -> Step:
        node = value.node
        if node is None:
            forward = "a weight" if value.entry is not None else "an input"
            line = ""
        else:
            label = getattr(node.op, "label", "") or node.op.mnemonic
            forward = f"{label}({', '.join(self.names[o] for o in node.operands)})"
            line = str(node.origins[0]).partition(",")[0] if node.origins else ""
        shape = shape_text(value.type.shape) if value.type.rank else ""
        return Step(self.names[value], shape, forward, tuple(self.terms[value]), line)

    def _back(self, node: Node) -> None:
        """What the derivatives of a node's results add to those of its operands."""
        mnemonic = node.op.mnemonic
        if mnemonic in NOT_DIFFERENTIABLE:
            if any(o in self.matters for o in node.operands):
                self.ends.setdefault(f"{mnemonic}: {NOT_DIFFERENTIABLE[mnemonic]}")
            return
        templates = EQUATIONS[mnemonic]
        given = _Names(self.names, node)
        for k, operand in enumerate(node.operands):
            template = templates[min(k, len(templates) - 1)]
            if template is None or operand not in self.matters:
                continue
            self.terms.setdefault(operand, []).append(template.format(*given.operands, **given.results))


def _shaped(name: str, value: Value, plain: bool) -> str:
    """A name with its shape, or without; a constant of one element is its number."""
    node = value.node
    while node is not None and isinstance(node.op, BroadcastInDim):
        node = node.operands[0].node
    if node is not None and isinstance(node.op, Constant) and node.op.value.array.size == 1:
        return f"{node.op.value.array.reshape(-1)[0]:g}"
    return name if plain or not value.type.rank else f"{name} {shape_text(value.type.shape)}"


def _plain(name: str) -> str:
    """A name without its mark; a letter before a number."""
    bare = name.lstrip("%@")
    return f"v{bare}" if bare.isdigit() else bare


class _Names:
    """What the placeholders of a template stand for."""

    def __init__(self, names: dict[Value, str], node: Node) -> None:
        shapes = {v.type.shape for v in (*node.operands, *node.results)}
        plain = len(shapes) == 1  # the left side has the shape of everything
        self.operands = [_shaped(names[o], o, plain) for o in node.operands]
        self.results: dict[str, str] = {}
        for k, r in enumerate(node.results):
            suffix = str(k) if k else ""
            self.results[f"y{suffix}"] = _shaped(names[r], r, plain)
            self.results[f"g{suffix}"] = f"(d loss / d {_shaped(names[r], r, plain)})"
