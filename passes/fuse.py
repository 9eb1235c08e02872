"""Group nodes that one kernel computes without going through memory, and take such groups apart again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..ir.errors import InputError
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.ops.control import Fuse as FuseOp
from .base import Pass, Remarks
from .fuse_groups import KINDS, Grouping
from .fuse_region import with_regions
from .inline import inline
from .pipeline import suggest
from .regions import map_regions

__all__ = ["Fuse", "Unfuse"]


@dataclass(frozen=True)
class Fuse(Pass):
    """Make `fuse` regions of contractions with what follows them, of reductions, and of chains of maps. Exact.

    Each group and each refusal is noted with its reason. Comes last before lowering: only lowering looks inside.

    Args:
        kinds: which groups: conv, dot, reduce, map
        limit: nodes of a group; longer chains become several
    """

    name: ClassVar[str] = "fuse"
    kinds: tuple[str, ...] = KINDS
    limit: int = 64

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(
                    f"fuse: no kind of group is named {kind}", hint=suggest(kind, KINDS), code="NV0402"
                )

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def fuse(g: Graph, inner: bool = False) -> Graph:
            groups = Grouping(g, self.kinds, self.limit, remarks, inner).groups()
            return with_regions(g, groups) if groups else g

        return map_regions(graph, fuse, closed=(FuseOp,), inner=lambda g: fuse(g, inner=True))


@dataclass(frozen=True)
class Unfuse(Pass):
    """Put the nodes of every `fuse` region back in its place: the inverse of fuse, up to copied constants."""

    name: ClassVar[str] = "unfuse"

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            if not isinstance(node.op, FuseOp) or not remarks.allow("unfuse"):
                return None
            return inline(node.regions[0], operands)

        return map_regions(graph, lambda g: rebuild(g, rewrite))
