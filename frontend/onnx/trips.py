"""How often a loop runs whose body counts on its own: a condition that says no more than the number of steps does.

Exporters of TensorFlow write `i + 1 < T and steps + 1 < T` beside a count of T. The condition is computed as sizes are, by
`known.py`, at the step that has j more steps behind the next one: number T - 2 - j, for each j from 0 to T - 2. Where it
is true there, no step but the last is told to stop. A result that its element type may not hold is not known: it wraps.

    still    a state that each step leaves as it is
    counter  a state to which each step adds the same integer: first + step * number
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...ir.dims import MAX_DIM, Dim, bounds, symbol
from ...ir.graph import Value
from .known import Known
from .node import OnnxNode
from .report import Refused
from .scope import Failed, Item, Scope, Weight

__all__ = ["Counted", "counters", "goes_on_to", "number_shape", "rows_read"]

Counted = dict[int, tuple[Known, int]]
"""By its place, the first value of a state that counts, and what each step adds."""


def counters(
    n: OnnxNode, body: Any, items: Sequence[Item], count: Dim, inner: Callable[[], Scope]
) -> Counted:
    """The first value, and what each step adds, of states that are whole numbers and count; 0 of one that stays.

    A guess is what the first step adds; it is kept if it holds at every step that has a next one.

    Args:
        items: what the states are before the first step
        inner: makes an empty scope for the body
    """
    first = {k: known for k, item in enumerate(items) if (known := _number(n, k + 2, item)) is not None}
    outs = {k: body.output[1 + k].name for k in first}
    found = _computed(
        n, body, [*outs.values()], _entering(body, {k: (f, 0) for k, f in first.items()}, 0), inner()
    )
    counted: Counted = {}
    for k, known in first.items():
        after = found.get(outs[k])
        step = (
            None if after is None or after.shape != known.shape else after.elements()[0] - known.elements()[0]
        )
        if isinstance(step, int):
            counted[k] = known, step
    number = _number_of_step(count)
    while True:
        names = [outs[k] for k in counted]
        found = _computed(n, body, names, _entering(body, counted, number), inner())
        held: Counted = {}
        for k, (known, step) in counted.items():
            after = found.get(outs[k])
            if after is not None and after.elements() == [known.elements()[0] + (number + 1) * step]:
                held[k] = known, step
        if len(held) == len(counted):
            return held
        counted = held


def goes_on_to(n: OnnxNode, body: Any, counted: Counted, count: Dim, inner: Callable[[], Scope]) -> bool:
    """Whether the body's condition is true after each of `count` steps but the last.

    Args:
        counted: the states that count, as `counters` has them
        inner:   makes an empty scope for the body
    """
    condition = body.output[0].name
    names = _entering(body, counted, _number_of_step(count))
    found = _computed(n, body, [condition], names, inner()).get(condition)
    return found is not None and found.is_static and bool(found.data.all())


def rows_read(
    n: OnnxNode, body: Any, counted: Counted, count: Dim
) -> dict[str, tuple[Value, tuple[int, ...]]]:
    """Tensors from around the body of `count` rows of which each step gathers the one of its number, by the row's name.

    Returns:
        the tensor, and the shape of the index: the axes of length 1 that the row has before its own
    """
    numbers: dict[str, tuple[int, ...]] = {body.input[0].name: number_shape(body)}
    for k, (first, step) in counted.items():
        if step == 1 and first.elements() == [0]:
            numbers[body.input[2 + k].name] = first.shape
    own = {name for node in body.node for name in node.output} | {i.name for i in body.input}
    own |= {t.name for t in body.initializer}
    found: dict[str, tuple[Value, tuple[int, ...]]] = {}
    for node in body.node:
        if node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
            continue
        x, index = node.input
        item = None if x in own or index not in numbers else n.scope.item(x)[0]
        if isinstance(item, Value) and item.type.rank and item.type.shape[0] == count:
            found[node.output[0]] = n.scope.value(x), numbers[index]
    return found


def number_shape(body: Any) -> tuple[int, ...]:
    """The shape of the step's number as the body declares it: a scalar, or one element."""
    return (1,) if len(body.input[0].type.tensor_type.shape.dim) == 1 else ()


def _number_of_step(count: Dim) -> Dim:
    """The number of any step that has a next one; of a loop that has none, a number below 0."""
    most = min(max(bounds(count)[1] - 2, 0), MAX_DIM)
    return count - 2 - symbol("steps.left", 0, most)


def _entering(body: Any, counted: Counted, number: Dim) -> dict[str, Known]:
    """What the body's inputs are at the step of this number, as far as they are known."""
    names = {
        body.input[0].name: _like(Known.of(np.zeros(number_shape(body), np.int64)), number),
        body.input[1].name: Known.of(True),
    }
    for k, (first, step) in counted.items():
        names[body.input[2 + k].name] = _like(first, first.elements()[0] + number * step)
    return names


def _number(n: OnnxNode, k: int, item: Item) -> Known | None:
    """One whole number that is known, a size included."""
    if item is None or (isinstance(item, Value) and item.type.dtype.is_float):
        return None
    known = n.known(k)
    return known if known is not None and known.data.size == 1 and not known.dtype.is_float else None


def _like(known: Known, dim: Dim) -> Known:
    one = Known.dims([dim], known.dtype)
    return Known(one.dtype, one.data.reshape(known.shape))


def _computed(
    n: OnnxNode, body: Any, wanted: Sequence[str], names: Mapping[str, Known], scope: Scope
) -> dict[str, Known]:
    """Those of the wanted names that are known where these are; nothing that is written on the way stays."""
    needed, nodes = set(wanted), list[Any]()
    for node in reversed(body.node):
        if needed & set(node.output):
            if any(a.HasField("g") or a.graphs for a in node.attribute):
                return {}
            nodes.append(node)
            needed.update(filter(None, node.input))
    walk = n.walk.aside()
    scope.taken = dict(scope.taken)
    with n.scope.state.region() as frame:
        scope.frame = frame
        for tensor in body.initializer:
            if tensor.name in needed:
                weight = walk.weight(tensor, scope)
                scope.names[tensor.name] = (
                    weight if isinstance(weight, Weight) and weight.is_constant else None
                )
        scope.names |= {given.name: names.get(given.name) for given in body.input}
        for node in reversed(nodes):
            if walk.is_call(node, scope):
                return {}
            walk.nodes([node], scope)
            scope.names |= {name: None for name in node.output if not _holds(scope.names.get(name))}
        found: dict[str, Known] = {}
        for name in wanted:
            try:
                known = scope.folds(name)
            except (Failed, Refused):
                continue
            if known is not None:
                found[name] = known
    return found


def _holds(item: Item) -> bool:
    """Whether the element type has every value that the elements may come to."""
    if not isinstance(item, Known) or item.is_static:
        return True
    if item.dtype.is_integer:
        ends = np.iinfo(item.dtype.numpy)
        low, high = int(ends.min), int(ends.max)
    else:
        high = round(2 / item.dtype.eps)
        low = -high
    ranges = [bounds(d) for d in item.elements()]
    return all(low <= a and b <= high for a, b in ranges)
