"""Walks the nodes of a graph and writes each; what cannot be written is noted, and the walk goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from onnx import FunctionProto, TypeProto, defs, helper

from ...ir.dims import bounds
from ...ir.errors import NervureError
from ...ir.graph import Value
from ...ir.origin import Origin, origins_of
from ...ir.types import TensorType
from ..tensor import Tensor
from .check_tensors import MAX_RANK
from .elements import array_of, attribute_value, number_of
from .known import known_dims
from .model import Model
from .node import OnnxNode, Replace
from .report import Refusal, Refused
from .scope import Failed, Item, Scope, Weight, fold_values
from .table import OPS, find

__all__ = ["Walk"]

MAX_DEPTH = 64
"""How deep functions and subgraphs may lie within each other."""


class Walk:
    """One import under way.

    Args:
        model:    where functions are looked up
        refusals: the nodes that cannot be written, filled as they are met
    """

    def __init__(self, model: Model, refusals: list[Refusal]) -> None:
        self.model = model
        self.refusals = refusals
        self.count = 0
        self.depth = 0

    def nodes(self, protos: Iterable[Any], scope: Scope) -> None:
        """Write nodes in their order."""
        for proto in protos:
            self.count += 1
            node = OnnxNode(proto, scope.versions.get(domain_of(proto), 0), scope)
            node.walk = self
            origin = Origin(f"{self.model.label}#{scope.path}{node.name}", self.count)
            with origins_of((origin,)):
                results = self._results(node)
            for name, item in zip(node.outputs, results, strict=False):
                if name:
                    scope.names[name] = item

    def aside(self) -> Walk:
        """A walk of its own, for nodes that are written to see what they come to: it says nothing of this one's."""
        found = Walk(self.model, [])
        found.depth = self.depth
        return found

    def is_call(self, proto: Any, scope: Scope) -> bool:
        """Whether a node is written as the body of a function, the model's or ONNX's own."""
        domain = domain_of(proto)
        known = find(domain, proto.op_type, scope.versions.get(domain, 0))
        return known is None or (proto.domain, proto.op_type) in self.model.functions

    def outputs(self, graph: Any, scope: Scope) -> list[Value]:
        """The outputs of a graph, under their names."""
        found: list[Value] = []
        for output in graph.output:
            try:
                value = scope.value(output.name)
            except Refused as refused:
                self.refuse(output.name, "output", self.model.opset, refused, scope)
            except Failed:
                continue
            else:
                if value.node is not None and value not in found:
                    value.name = output.name
                found.append(value)
        return found

    def refuse(self, name: str, op: str, opset: int, refused: Refused, scope: Scope) -> None:
        row = Refusal(
            scope.path + name, op, opset, refused.why, refused.hint, refused.needs, lacking=refused.lacking
        )
        self.refusals.append(row)

    def _results(self, node: OnnxNode) -> Sequence[Item]:
        """What the outputs of a node stand for; None for each where it is refused."""
        none: list[Item] = [None] * len(node.outputs)
        try:
            return self._written(node)
        except Failed:
            return none
        except Refused as refused:
            self.refuse(node.name, label_of(node), node.opset, refused, node.scope)
        except NervureError as error:
            why = "; ".join([error.message, *error.details])
            refused = Refused(why, error.hint)
            self.refuse(node.name, label_of(node), node.opset, refused, node.scope)
        except Replace:
            raise
        except MemoryError as error:
            self.refuse(node.name, label_of(node), node.opset, Refused(f"no memory: {error}"), node.scope)
        except Exception as error:  # a rule met what no node of its op has; the import goes on
            refused = Refused(f"the node is not as its op is specified: {type(error).__name__}: {error}")
            self.refuse(node.name, label_of(node), node.opset, refused, node.scope)
        return none

    def _written(self, node: OnnxNode) -> Sequence[Item]:
        function = self.model.functions.get((node.proto.domain, node.op))
        if function is not None:
            return self.call(node, function)
        writes = find(domain_of(node.proto), node.op, node.opset)
        if writes is None:
            function = schema_function(node)
            if function is None:
                raise unknown(node)
            return self.call(node, function)
        known = [node.scope.folds(name) if name else None for name in node.inputs]
        given = [k for k, name in zip(known, node.inputs, strict=True) if name]
        constant = bool(given) and all(k is not None for k in given)
        if constant and any(k is not None and not k.is_static for k in given):
            found = known_dims(node.op, known, node.attr)
            if found is not None:
                return [found]
        results = items(writes(node))
        self.weigh(results)
        if constant:
            values = [r for r in results if isinstance(r, Value)]
            folded = iter(fold_values(values, node.scope))
            results = [(next(folded) or r) if isinstance(r, Value) else r for r in results]
        for name, result in zip(node.outputs, results, strict=False):
            if isinstance(result, Value) and result.node is not None and not result.name:
                result.name = name
        return results

    def weigh(self, results: Sequence[Item]) -> None:
        """Refuse results that no memory holds, or more than the import may assume there is."""
        for result in results:
            if not isinstance(result, Value):
                continue
            if result.type.rank > MAX_RANK:
                raise Refused(f"its result has {result.type.rank} axes, at most {MAX_RANK} are read")
            size = bounds(result.type.nbytes)[0]
            if size > self.model.max_memory:
                raise Refused(
                    f"its result of {size:,} bytes is more than max_memory, {self.model.max_memory:,}"
                )

    def weight(self, tensor: Any, scope: Scope) -> Item:
        """An initialiser of a subgraph."""
        try:
            return Weight(scope.entry_name(tensor.name), array_of(tensor))
        except Refused as refused:
            self.refuse(tensor.name, "initializer", self.model.opset, refused, scope)
            return None

    def call(self, node: OnnxNode, function: Any) -> Sequence[Item]:
        """Write the body of a function in place of its call."""
        outer = node.scope
        if self.depth >= MAX_DEPTH:
            raise Refused(f"functions lie more than {MAX_DEPTH} deep within each other")
        versions = {("" if s.domain == "ai.onnx" else s.domain): s.version for s in function.opset_import}
        inner = Scope(
            outer.state,
            outer.state.frame,
            versions=outer.versions | versions,
            path=f"{outer.path}{node.name}/",
            inputs=outer.inputs,
            optional=outer.optional,
        )
        inner.attributes = {a.name: attribute_value(a) for a in function.attribute_proto}
        inner.attributes |= {name: node.attr(name) for name in node.attribute_names}
        for k, name in enumerate(function.input):
            if not node.has(k):
                inner.absent.add(name)
            else:
                item, owner = outer.item(node.inputs[k])
                inner.names[name] = outer.state.enter(item, owner.frame) if isinstance(item, Value) else item
        self.depth += 1
        before = len(self.refusals)
        try:
            self.nodes(function.node, inner)
        finally:
            self.depth -= 1
        if len(self.refusals) > before:
            raise Failed(node.name)
        wanted = list(node.outputs) + [""] * (len(function.output) - len(node.outputs))
        return [
            inner.item(name)[0] if out else None for name, out in zip(function.output, wanted, strict=True)
        ]


def schema_function(node: OnnxNode) -> Any:
    """The function that ONNX itself defines an op by, or None where it has none."""
    domain = domain_of(node.proto)
    if domain not in ("", "ai.onnx.ml") or not defs.has(node.op, domain):
        return None
    schema: Any = defs.get_schema(node.op, node.opset, domain)
    if schema.has_function:
        function = schema.function_body
    elif schema.has_context_dependent_function:
        types = [type_proto(node.type(k)) if node.has(k) else TypeProto() for k in range(len(node.inputs))]
        text = schema.get_context_dependent_function(
            resolved(node).SerializeToString(), [t.SerializeToString() for t in types]
        )
        function = FunctionProto.FromString(text)
    else:
        return None
    named = {a.name for a in function.attribute_proto}
    for name, attribute in schema.attributes.items():
        default = attribute.default_value
        if default.name and name not in named:
            function.attribute_proto.append(default)
    return function


def resolved(node: OnnxNode) -> Any:
    """The node's proto with the values of attributes that the function around it hands on."""
    proto = type(node.proto)()
    proto.CopyFrom(node.proto)
    del proto.attribute[:]
    for name in node.attribute_names:
        value = node.attr(name)
        if value is not None:
            proto.attribute.append(helper.make_attribute(name, value))
    return proto


def type_proto(t: TensorType) -> Any:
    """A type as ONNX writes it; symbolic dims are open."""
    shape = [d if isinstance(d, int) else None for d in t.shape]
    return helper.make_tensor_type_proto(number_of(t.dtype), shape)


def items(results: Any) -> list[Item]:
    """What a function of the table returned, one a result."""
    found: list[Any] = list(results) if isinstance(results, tuple | list) else [results]  # pyright: ignore[reportUnknownArgumentType]
    return [r.value if isinstance(r, Tensor) else r for r in found]


def domain_of(proto: Any) -> str:
    return "" if proto.domain == "ai.onnx" else proto.domain


def label_of(node: OnnxNode) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", "ai.onnx") else node.op


def unknown(node: OnnxNode) -> Refused:
    """The refusal of an op that the table does not have."""
    if node.domain not in ("", "ai.onnx"):
        return Refused(
            f"no op of the domain {node.domain} is known",
            "quantise in QDQ form, and save no graph that onnxruntime has fused"
            if node.domain == "com.microsoft"
            else "export the model with ops of ONNX's own domain",
            lacking=True,
        )
    if defs.has(node.op, ""):
        return Refused("the op is not known to nervure", lacking=True)
    close = get_close_matches(node.op, [name for domain, name in OPS if not domain], 1)
    return Refused("ONNX has no such op", f"did you mean {close[0]}?" if close else None, lacking=True)
