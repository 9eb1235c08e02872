"""How often a loop runs whose body counts on its own: a condition that says no more than the number of steps does.

Exporters of TensorFlow write `i + 1 < T and steps + 1 < T` beside a count of T. The condition is computed as sizes are, by
`known.py`, at the step that has j more steps behind the next one: number T - 2 - j, for any j. Where it is true there, no
step but the last is told to stop.

    still    a state that each step leaves as it is
    counter  a state to which each step adds the same integer: first + step * number
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.dims import MAX_DIM, Dim, symbol
from ...ir.graph import Value
from .known import Known
from .node import OnnxNode
from .report import Refused
from .scope import Failed, Item, Scope

__all__ = ["counters", "goes_on_to", "rows_read"]


def counters(n: OnnxNode, body: Any, items: Sequence[Item], scope: Scope) -> dict[int, tuple[Known, int]]:
    """The first value, and what each step adds, of states that are whole numbers and count; 0 of one that stays.

    Args:
        items: what the states are before the first step
        scope: an empty one for the body
    """
    first = {k: known for k, item in enumerate(items) if (known := _number(n, k + 2, item)) is not None}
    unknown = {k: symbol(f"state.{k}", 0, MAX_DIM) for k in first}
    names = {body.input[2 + k].name: _like(first[k], d) for k, d in unknown.items()}
    found = _computed(n, body, [body.output[1 + k].name for k in first], names, scope)
    added: dict[int, tuple[Known, int]] = {}
    for k, known in first.items():
        after = found.get(body.output[1 + k].name)
        step = None if after is None or after.data.size != 1 else after.elements()[0] - unknown[k]
        if isinstance(step, int):
            added[k] = known, step
    return added


def goes_on_to(
    n: OnnxNode, body: Any, counted: Mapping[int, tuple[Known, int]], count: Dim, scope: Scope
) -> bool:
    """Whether the body's condition is true after each of `count` steps but the last.

    Args:
        counted: the states that count, as `counters` has them
        scope:   an empty one for the body
    """
    number = count - 2 - symbol("steps.left", 0, MAX_DIM)
    names = {body.input[0].name: Known.of(0), body.input[1].name: Known.of(True)}
    names[body.input[0].name] = _like(names[body.input[0].name], number)
    for k, (first, step) in counted.items():
        names[body.input[2 + k].name] = _like(first, first.elements()[0] + number * step)
    condition = body.output[0].name
    found = _computed(n, body, [condition], names, scope).get(condition)
    return found is not None and found.is_static and bool(found.data.all())


def rows_read(
    n: OnnxNode, body: Any, counted: Mapping[int, tuple[Known, int]], count: Dim
) -> dict[str, Value]:
    """Tensors from around the body of `count` rows of which each step gathers the one of its number, by the row's name."""
    numbers = {body.input[0].name}
    numbers |= {
        body.input[2 + k].name
        for k, (first, step) in counted.items()
        if step == 1 and first.elements() == [0]
    }
    own = {name for node in body.node for name in node.output} | {i.name for i in body.input}
    own |= {t.name for t in body.initializer}
    found: dict[str, Value] = {}
    for node in body.node:
        if node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
            continue
        x, index = node.input
        item = None if x in own or index not in numbers else n.scope.item(x)[0]
        if isinstance(item, Value) and item.type.rank and item.type.shape[0] == count:
            found[node.output[0]] = n.scope.value(x)
    return found


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
    before, count = len(n.walk.refusals), n.walk.count
    scope.taken = dict(scope.taken)
    with n.scope.state.region() as frame:
        scope.frame = frame
        for tensor in body.initializer:
            if tensor.name in needed:
                scope.names[tensor.name] = n.walk.weight(tensor, scope)
        scope.names |= names
        for given in body.input:
            scope.names.setdefault(given.name, None)
        n.walk.nodes(nodes[::-1], scope)
        found: dict[str, Known] = {}
        for name in wanted:
            try:
                known = scope.folds(name)
            except (Failed, Refused):
                continue
            if known is not None:
                found[name] = known
    del n.walk.refusals[before:]
    n.walk.count = count
    return found
