"""Results that no call could hold, refused when a program is compiled."""

from __future__ import annotations

from ..ir.dims import bounds
from ..ir.errors import InputError
from ..ir.graph import Graph

__all__ = ["refuse_large_results"]


def refuse_large_results(graph: Graph, max_memory: int) -> None:
    """Refuse a graph whose results need more at every size of the symbols.

    Raises:
        InputError: it names the largest, its op and the user's line
    """
    sizes = [(bounds(value.type.nbytes)[0], k) for k, value in enumerate(graph.outputs)]
    total = sum(size for size, _ in sizes)
    if total <= max_memory:
        return
    size, k = max(sizes)
    value = graph.outputs[k]
    node = value.node
    name = value.name or f"result {k}"
    raise InputError(
        f"the results need {total} bytes, max_memory is {max_memory}",
        details=[f"{name} = {node.op.mnemonic if node is not None else 'input'}: {value.type}, {size} bytes"],
        where=[str(o) for o in (node.origins if node is not None else ())],
        code="NV0605",
    )
