"""If, Loop and Scan: bodies become regions of a scan, or are written in place of the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim, Expr
from ...ir.errors import NervureError
from ...ir.graph import Graph, Value
from ...ir.types import TensorType, bool_, i64
from ..branches import BranchesDiffer, cond, while_loop
from ..tensor import Tensor
from .known import Known, known_value
from .node import OnnxNode
from .report import Refused
from .scope import Failed, Item, Scope
from .table import op
from .trips import Counted, counters, goes_on_to, number_shape, rows_read
from .windows import part_of

MOST_UNROLLED = 64
"""A loop whose values change their types is written out, up to so many steps."""


def body_scope(n: OnnxNode) -> Scope:
    """A scope for a body's names within that of the node."""
    outer = n.scope
    return Scope(
        outer.state,
        outer.state.frame,
        outer,
        attributes=outer.attributes,
        path=f"{outer.path}{n.name}/",
        versions=outer.versions,
        taken=outer.taken,
        inputs=outer.inputs,
        optional=outer.optional,
    )


def write(
    n: OnnxNode,
    graph: Any,
    inputs: Sequence[Item],
    *,
    optional: bool = False,
    made: Mapping[str, Value] = MappingProxyType({}),
) -> list[Item]:
    """A body in the region under construction; what its outputs stand for.

    Args:
        optional: whether a run may go without it
        made:     results that are there already, whose nodes are left out

    Raises:
        Failed: a node of it was refused
    """
    scope = body_scope(n)
    scope.optional |= optional
    for tensor in graph.initializer:
        scope.names[tensor.name] = n.walk.weight(tensor, scope)
    scope.names |= {i.name: item for i, item in zip(graph.input, inputs, strict=True)}
    scope.names |= made
    before = len(n.walk.refusals)
    n.walk.nodes((node for node in graph.node if not made or node.output[0] not in made), scope)
    if len(n.walk.refusals) > before:
        raise Failed(n.name)
    found: list[Item] = []
    for output in graph.output:
        item, owner = scope.item(output.name)
        found.append(n.scope.state.enter(item, owner.frame) if isinstance(item, Value) else item)
    return found


def as_value(n: OnnxNode, item: Item) -> Value:
    if isinstance(item, Value):
        return item
    if isinstance(item, Known):
        return known_value(item)
    scope = body_scope(n)
    scope.names["it"] = item
    return scope.value("it")


@op("If")
def if_(n: OnnxNode) -> Any:
    known = n.known(0)
    if known is not None and known.is_static:
        return write(n, n.graph("then_branch" if known.data.ravel()[0] else "else_branch"), [])
    condition = Tensor(b.reshape(n.value(0), ()))
    branches = [n.graph("then_branch"), n.graph("else_branch")]
    then, otherwise = (
        (lambda g=g: tuple(Tensor(as_value(n, i)) for i in write(n, g, [], optional=True))) for g in branches
    )
    try:
        return cond(condition, then, otherwise)
    except BranchesDiffer:  # a squeeze if the axis is 1, as PyTorch writes it: the first is what is meant
        if not n.scope.optional:
            write(n, branches[0], [])  # the import begins again where it asks something of the inputs' sizes
            raise
        values = [t.value for t in then()]
        if not all(v.type.dtype.is_float for v in values):
            raise
        return [n.or_nan(condition.value, v) for v in values]


@op("Scan", since=9)
def scan(n: OnnxNode) -> list[Value]:
    body, count = n.graph("body"), n.attr("num_scan_inputs")
    values = n.values()
    return _scan(n, body, values[: len(values) - count], values[len(values) - count :])


@op("Scan")
def scan_8(n: OnnxNode) -> list[Value]:
    """With a batch axis before all others: each element of the batch on its own."""
    if n.has(0):
        raise Refused("the lengths of sequences are given", "export the model at opset 9 or later")
    body, count = n.graph("body"), n.attr("num_scan_inputs")
    values = [n.value(k) for k in range(1, len(n.inputs))]
    size = values[0].type.shape[0]
    if isinstance(size, Expr):
        raise Refused("the batch is not of known size", "export the model at opset 9 or later")
    rows: list[list[Value]] = []
    for k in range(size):
        one = [b.reshape(part_of(v, 0, k, k + 1), v.type.shape[1:]) for v in values]
        rows.append(_scan(n, body, one[: len(one) - count], one[len(one) - count :]))
    return [
        b.concat([b.reshape(v, (1, *v.type.shape)) for v in column], 0) for column in zip(*rows, strict=True)
    ]


def _scan(n: OnnxNode, body: Any, states: list[Value], xs: list[Value]) -> list[Value]:
    outs = len(body.output) - len(states)
    in_axes, in_back = (
        n.attr("scan_input_axes") or [0] * len(xs),
        n.attr("scan_input_directions") or [0] * len(xs),
    )
    out_axes, out_back = (
        n.attr("scan_output_axes") or [0] * outs,
        n.attr("scan_output_directions") or [0] * outs,
    )
    rows: list[Value] = []
    for x, axis, back in zip(xs, in_axes or n.attr("directions") or [], in_back, strict=True):
        first = n.axis(axis, x.type.rank)
        x = b.permute(x, [first, *(k for k in range(x.type.rank) if k != first)])
        rows.append(b.reverse(x, (0,)) if back else x)
    for row in rows[1:]:
        n.equal(rows[0].type.shape[0], row.type.shape[0], "the lengths of what is scanned")
    found = looped(n, body, states, rows, rows[0].type.shape[0])
    after, ys = found[: len(states)], found[len(states) :]
    turned: list[Value] = []
    for y, axis, back in zip(ys, out_axes, out_back, strict=True):
        y = b.reverse(y, (0,)) if back else y
        place = n.axis(axis, y.type.rank)
        order = list(range(1, y.type.rank))
        order.insert(place, 0)
        turned.append(b.permute(y, order))
    return [*after, *turned]


def looped(n: OnnxNode, body: Any, states: list[Value], rows: list[Value], length: Dim) -> list[Value]:
    """A scan whose body has states and slices as inputs, states and results as outputs."""
    state = n.scope.state
    with state.region() as frame:
        carries = [Value(v.type, name=v.name) for v in states]
        slices = [Value(v.type.with_shape(v.type.shape[1:]), name=v.name) for v in rows]
        outs = [as_value(n, i) for i in write(n, body, [*carries, *slices])]
    _same_states(states, outs[: len(states)])
    graph = Graph("body", [*carries, *slices, *frame.captured.values()], outs)
    return list(b.scan(graph, states, rows, list(frame.captured), length))


def _same_states(before: Sequence[Value], after: Sequence[Value]) -> None:
    for k, (first, last) in enumerate(zip(before, after, strict=False)):
        if first.type != last.type:
            raise Refused(f"state {k} is {first.type} before a step and {last.type} after it")


@op("Loop")
def loop(n: OnnxNode) -> list[Any]:
    """A scan where the steps are counted at import, written out where types change; else a while loop."""
    body = n.graph("body")
    trips, first = n.known(0), n.known(1)
    count: Dim | None = None if trips is None else trips.elements()[0]
    if isinstance(count, int) and count >= 2**31:
        count = None
    if first is not None and first.is_static and not first.data.ravel()[0]:
        count = 0
    sure = not n.has(1) or (first is not None and first.is_static)
    items: list[Item] = [n.scope.item(n.inputs[k])[0] for k in range(2, len(n.inputs))]
    states = [n.value(k) for k in range(2, len(n.inputs))]
    before = len(n.walk.refusals)
    try:
        if count is not None and sure:
            found = counters(n, body, items, count, lambda: body_scope(n))
            if _goes_on(body) or goes_on_to(n, body, found, count, lambda: body_scope(n)):
                return _counted(n, body, states, found, count)
        if len(body.output) > 1 + len(states):
            if n.has(0) and count is None:
                raise n.not_known(0)
            raise Refused(
                "results of each step of a loop that a condition may end early have no known length"
            )
        return _while(n, body, states, count)
    except (Refused, Failed, NervureError):
        if not isinstance(count, int) or count > MOST_UNROLLED:
            raise
        del n.walk.refusals[before:]
        known: list[Item] = [i if isinstance(i, Known) else v for i, v in zip(items, states, strict=True)]
        return _unrolled(n, body, known, count)


def _while(n: OnnxNode, body: Any, states: list[Value], count: Dim | None) -> list[Any]:
    """Steps as long as the condition holds, and there are some left."""
    limit = Tensor(b.reshape(n.value(0), ())) if count is None and n.has(0) else None
    going = Tensor(b.reshape(n.value(1), ()) if n.has(1) else b.full(TensorType(bool_), True))

    def test(carry: Any) -> Tensor:
        return carry[0] if limit is None else carry[0] & (carry[1] < limit)

    def turn(carry: Any) -> tuple[Tensor, ...]:
        found = [
            Tensor(as_value(n, i))
            for i in write(
                n,
                body,
                [b.reshape(carry[1].value, number_shape(body)), *(c.value for c in (carry[0], *carry[2:]))],
            )
        ]
        return (found[0].reshape(), carry[1] + 1, *found[1:])

    step = Tensor(b.full(TensorType(i64), 0))
    _, _, *after = while_loop(test, turn, (going, step, *map(Tensor, states)), max_trip=count)
    return after


def _goes_on(body: Any) -> bool:
    """Whether the condition that the body returns is the one it got, or true."""
    name = body.output[0].name
    made = {o: node for node in body.node for o in node.output}
    while name in made and made[name].op_type in ("Identity", "Cast"):
        name = made[name].input[0]
    if name == body.input[1].name:
        return True
    node = made.get(name)
    if node is not None and node.op_type == "Constant":
        tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        return tensor is not None and bool(tensor.raw_data.strip(b"\0") or any(tensor.int32_data))
    constant = next((t for t in body.initializer if t.name == name), None)
    return constant is not None and bool(constant.raw_data.strip(b"\0") or any(constant.int32_data))


def _counted(n: OnnxNode, body: Any, states: list[Value], counted: Counted, count: Dim) -> list[Any]:
    state = n.scope.state
    sources = rows_read(n, body, counted, count)
    steps = b.iota(i64, (count,), 0)
    with state.region() as frame:
        carries = [Value(v.type, name=v.name) for v in states]
        step = Value(TensorType(i64), name="step")
        rows = {
            name: Value(x.type.with_shape(x.type.shape[1:]), name=x.name) for name, (x, _) in sources.items()
        }
        made = {
            name: b.reshape(rows[name], (*axes, *rows[name].type.shape)) if axes else rows[name]
            for name, (_, axes) in sources.items()
        }
        given = [b.reshape(step, number_shape(body)), Known.of(True), *carries]
        found = [as_value(n, i) for i in write(n, body, given, made=made)][1:]
    _same_states(states, found)
    inner = Graph("body", [*carries, step, *rows.values(), *frame.captured.values()], found)
    return list(
        b.scan(inner, states, [steps, *(x for x, _ in sources.values())], list(frame.captured), count)
    )


def _unrolled(n: OnnxNode, body: Any, items: list[Item], count: int) -> list[Any]:
    """Every step in place; the condition has to be known at each."""
    going: Item = n.scope.item(n.inputs[1])[0] if n.has(1) else Known.of(True)
    outs: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(items))]
    for k in range(count):
        scope = body_scope(n)
        scope.names["going"] = going
        known = scope.known("going")
        if known is None or not known.is_static:
            if k == 0:
                raise n.not_known(1)
            raise Refused(
                "the condition is computed when the program runs, and the loop's values change types"
            )
        if not known.data.ravel()[0]:
            break
        found = write(n, body, [Known.of(np.full(number_shape(body), k)), going, *items])
        going, items = found[0], found[1 : 1 + len(items)]
        for column, item in zip(outs, found[1 + len(items) :], strict=True):
            column.append(as_value(n, item))
    results: list[Item] = list(items)
    for k, column in enumerate(outs):
        if not column:
            results.append(_empty(body.output[1 + len(items) + k]))
            continue
        results.append(b.concat([b.reshape(v, (1, *v.type.shape)) for v in column], 0))
    return results


def _empty(output: Any) -> Item:
    from .elements import dtype_named

    tensor = output.type.tensor_type
    shape = tuple(int(d.dim_value) for d in tensor.shape.dim)
    return b.full(TensorType(dtype_named(tensor.elem_type), (0, *shape)), 0)
