"""Loops and branches: ONNX Scan, Loop and If, whose bodies read outer values from around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...ir.dims import bounds
from ...ir.graph import Graph, Node, Value
from ...ir.ops.control import Scan
from ...ir.ops.loops import While
from ...ir.types import bool_, i64
from .elementwise import Emitter
from .writer import Writer, dim_parameter, onnx_type, result

__all__ = ["EMITTERS"]


class _Body:
    """A region under construction, with a writer of its own.

    Attributes:
        writer: inside
        inputs: what the body takes
    """

    def __init__(self, outer: Writer) -> None:
        self.writer = Writer(outer.opset, outer)
        self.inputs: list[Any] = []

    def take(self, value: Value | None, hint: str, dtype: Any = None) -> str:
        """A further input, which stands for a value of the region where one is given."""
        name = self.writer.fresh(hint)
        if value is None:
            from onnx import helper

            self.inputs.append(helper.make_tensor_value_info(name, onnx_type(dtype), []))
        else:
            self.writer.bind(value, name)
            self.inputs.append(_info(name, value))
        return name

    def bind(self, values: Sequence[Value], names: Sequence[str]) -> None:
        for value, name in zip(values, names, strict=True):
            self.writer.bind(value, name)

    def finish(self, kind: str, outputs: Sequence[Value], before: Sequence[Any] = ()) -> Any:
        """The graph with these outputs, behind those that are written already."""
        from onnx import helper

        found = list(before)
        for value in outputs:
            name = self.writer.node("Identity", [self.writer.tensor(value)])
            found.append(_info(name, value))
        return helper.make_graph(self.writer.nodes, self.writer.fresh(kind), self.inputs, found)


def scan(w: Writer, node: Node) -> None:
    """Scan; a counter is scanned where there is nothing else. Loop where there may be no step, which Scan does not take."""
    op, (body,) = node.op, node.regions
    assert isinstance(op, Scan)
    if bounds(op.length)[0] == 0:
        _scan_as_loop(w, node)
        return
    first, last = op.carries, op.carries + op.xs
    inner = _Body(w)
    given = [w.tensor(o) for o in node.operands]
    for value in body.inputs[:last]:
        inner.take(value, value.name or "step")
    inner.bind(body.inputs[last:], given[last:])
    scanned, count = given[:last], op.xs
    if not count:
        length = w.reshape(w.dim(op.length), ())
        scanned = [*scanned, w.node("Range", [w.scalar(0, i64), length, w.scalar(1, i64)])]
        inner.take(None, "step", i64)
        count = 1
    inner.writer.write(body)
    graph = inner.finish("body", body.outputs)
    extra: dict[str, Any] = {}
    if op.reverse:
        extra["scan_input_directions"] = [1] * count
        if len(body.outputs) > first:
            extra["scan_output_directions"] = [1] * (len(body.outputs) - first)
    names = w.multi("Scan", scanned, [""] * len(node.results), body=graph, num_scan_inputs=count, **extra)
    for index, name in enumerate(names):
        result(w, node, name, index)


def _scan_as_loop(w: Writer, node: Node) -> None:
    op, (body,) = node.op, node.regions
    assert isinstance(op, Scan)
    first, last = op.carries, op.carries + op.xs
    given = [w.tensor(o) for o in node.operands]
    length = w.reshape(w.dim(op.length), ())
    inner = _Body(w)
    step = inner.take(None, "step", i64)
    running = inner.take(None, "running", bool_)
    for value in body.inputs[:first]:
        inner.take(value, value.name or "carry")
    place = step
    if op.reverse:
        final = inner.writer.node("Sub", [length, inner.writer.scalar(1, i64)])
        place = inner.writer.node("Sub", [final, step])
    for value, name in zip(body.inputs[first:last], given[first:last], strict=True):
        inner.writer.bind(value, inner.writer.node("Gather", [name, place], axis=0))
    inner.bind(body.inputs[last:], given[last:])
    inner.writer.write(body)
    on = _flag(inner.writer.node("Identity", [running]))
    graph = inner.finish("body", body.outputs, [on])
    names = w.multi("Loop", [length, "", *given[:first]], [""] * len(node.results), body=graph)
    for index, name in enumerate(names):
        if index >= first:
            if op.reverse:
                name = _reversed(w, name)
            # of no steps, onnxruntime knows no dims that are symbolic
            name = w.node("Reshape", [name, w.shape(node.results[index].type.shape)], allowzero=1)
        result(w, node, name, index)


def _reversed(w: Writer, name: str) -> str:
    return w.node("Slice", [name, w.vector([-1]), w.vector([-(2**62)]), w.vector([0]), w.vector([-1])])


def while_(w: Writer, node: Node) -> None:
    """Loop, whose condition is that of the carries that come."""
    op, (test, body) = node.op, node.regions
    assert isinstance(op, While)
    given = [w.tensor(o) for o in node.operands]
    holds = _written(w, test, given)
    inner = _Body(w)
    inner.take(None, "step", i64)
    inner.take(None, "running", bool_)
    for value in body.inputs[: op.carries]:
        inner.take(value, value.name or "carry")
    inner.bind(body.inputs[op.carries :], given[op.carries :])
    inner.writer.write(body)
    after = [inner.writer.node("Identity", [inner.writer.tensor(v)]) for v in body.outputs]
    more = inner.writer.node("Identity", [_written(inner.writer, test, [*after, *given[op.carries :]])])
    infos = [_flag(more), *(_info(n, v) for n, v in zip(after, body.outputs, strict=True))]
    graph = inner.finish("body", (), infos)
    limit = "" if op.max_trip is None else w.reshape(w.dim(op.max_trip), ())
    names = w.multi("Loop", [limit, holds, *given[: op.carries]], [""] * len(node.results), body=graph)
    for index, name in enumerate(names):
        result(w, node, name, index)


def _written(w: Writer, region: Graph, names: Sequence[str]) -> str:
    """A region's only output, its nodes among those of the writer."""
    inner = Writer(w.opset, w)
    inner.nodes = w.nodes
    for value, name in zip(region.inputs, names, strict=True):
        inner.bind(value, name)
    inner.write(region)
    return inner.tensor(region.outputs[0])


def if_(w: Writer, node: Node) -> None:
    """If; both branches read what they need from around them."""
    cond, *given = [w.tensor(o) for o in node.operands]
    branches: list[Any] = []
    for kind, region in zip(("then", "otherwise"), node.regions, strict=True):
        inner = _Body(w)
        inner.bind(region.inputs, given)
        inner.writer.write(region)
        branches.append(inner.finish(kind, region.outputs))
    names = w.multi("If", [cond], [""] * len(node.results), then_branch=branches[0], else_branch=branches[1])
    for index, name in enumerate(names):
        result(w, node, name, index)


def _flag(name: str) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, onnx_type(bool_), [])


def _info(name: str, value: Value) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(
        name, onnx_type(value.type.dtype), [dim_parameter(d) for d in value.type.shape]
    )


EMITTERS: dict[str, Emitter] = {"scan": scan, "while": while_, "if": if_}
