"""Say where a stride leaves a remainder that no window reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..ir.dims import Dim
from ..ir.graph import Graph, Node
from ..ir.ops.nn import AvgPool
from ..ir.ops.window import Conv, MaxPool, WindowSum
from .base import Pass, Remarks

__all__ = ["CheckWindows"]

Axis = tuple[Dim, int, tuple[int, int], int]
"""The size as it is read, how far a window reaches, the padding, the stride."""


@dataclass(frozen=True)
class CheckWindows(Pass):
    """Note the windows whose (W + 2P - K_eff) / stride is no whole number. It changes nothing."""

    name: ClassVar[str] = "check-windows"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        for node in graph.nodes:
            for region in node.regions:
                self.run(region, remarks)
            for k, (size, reach, (low, high), stride) in enumerate(_axes(node)):
                if not isinstance(size, int):
                    continue
                rest = (size + low + high - reach) % stride
                if rest:
                    remarks.note(
                        f"check-windows: {node.op.mnemonic}, spatial axis {k}: {size} + {low} + {high} - {reach}"
                        f" is no multiple of the stride {stride}: {rest} at the end not read{_where(node)}"
                    )
        return graph


def _axes(node: Node) -> Iterator[Axis]:
    match node.op:
        case Conv() as op:
            window, base, dilation = node.operands[1].type.shape[2:], op.lhs_dilation, op.rhs_dilation
        case WindowSum() as op:
            window, base, dilation = op.window, op.base_dilation, op.dilation
        case MaxPool() as op:
            window, base, dilation = op.window, (1,) * len(op.window), op.dilation
        case AvgPool() as op:
            window, base, dilation = op.window, (1,) * len(op.window), (1,) * len(op.window)
        case _:
            return
    sizes = node.operands[0].type.shape[2:]
    for k, (size, extent) in enumerate(zip(sizes, window, strict=True)):
        if isinstance(extent, int):
            spread = size if base[k] == 1 else (size - 1) * base[k] + 1
            yield spread, (extent - 1) * dilation[k] + 1, op.padding[k], op.strides[k]


def _where(node: Node) -> str:
    return f", at {node.origins[0]}" if node.origins else ""
