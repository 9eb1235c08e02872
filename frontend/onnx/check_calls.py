"""Whether a model's own functions end: none calls itself, and their calls do not multiply beyond reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.errors import InputError

__all__ = ["MAX_NODES", "check_calls"]

MAX_NODES = 1 << 18
"""Nodes after every call of a function is replaced by its body; functions within functions multiply."""


def check_calls(model: Any) -> None:
    """Refuse functions that call themselves, and calls that multiply beyond `MAX_NODES`.

    Raises:
        InputError: it names the function
    """
    functions: dict[tuple[str, str, str], Any] = {}
    for f in model.functions:
        key = (f.domain, f.name, f.overload)
        if key in functions:
            raise InputError(f"two functions have the name {f.name!r} in the domain {f.domain!r}")
        functions[key] = f
    calls = {key: _calls(f.node) for key, f in functions.items()}
    sizes: dict[tuple[str, str, str], int] = {}
    for root in calls:
        stack = [root]
        on_way: set[tuple[str, str, str]] = set()
        while stack:
            key = stack[-1]
            wanted = [c for c in calls[key] if c in functions and c not in sizes]
            if key in sizes or not wanted:
                stack.pop()
                on_way.discard(key)
                sizes[key] = sum(n * sizes.get(c, 1) for c, n in calls[key].items())
                continue
            on_way.add(key)
            if wanted[0] in on_way:
                raise InputError(f"function {wanted[0][1]!r} calls itself, which ONNX does not allow")
            stack.append(wanted[0])
    nodes = sum(n * sizes.get(c, 1) for c, n in _calls(model.graph.node).items())
    if nodes > MAX_NODES:
        raise InputError(
            f"the model has {nodes:,} nodes once its functions are inlined, at most {MAX_NODES:,} are read"
        )


def _calls(nodes: Iterable[Any]) -> dict[tuple[str, str, str], int]:
    """How often each op or function occurs in nodes and their bodies."""
    found: dict[tuple[str, str, str], int] = {}
    stack = [nodes]
    while stack:
        for node in stack.pop():
            key = (node.domain, node.op_type, node.overload)
            found[key] = found.get(key, 0) + 1
            for attribute in node.attribute:
                stack += [
                    g.node for g in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs)
                ]
    return found
