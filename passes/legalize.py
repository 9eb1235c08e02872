"""Bring a program into what a backend can run, or say what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.errors import InputError, UnsupportedError
from ..ir.graph import Graph, Node, Value, rebuild
from ..ir.op import Level, Op
from ..ir.ops.control import Scan
from ..ir.ops.linalg import Factorization
from ..ir.ops.tree import TreeFold
from ..ir.types import DType
from .base import Pass, Remarks
from .closed import folded_factorization
from .decompose import decomposed, until_stable
from .inline import HELD, inline
from .regions import map_regions
from .trees import folded
from .unroll import unrolled

__all__ = ["Legalize", "Supports", "find_supports_with"]

Supports = Callable[[Op, tuple[DType, ...]], "str | None"]
"""A backend's answer: why it cannot run the op on these element types (operands, then results), or None."""

_finders: list[Callable[[str], Supports]] = []


def find_supports_with(find: Callable[[str], Supports]) -> None:
    """Let `legalize{backend=NAME}` written as text find the backend; the layer of the backends calls this."""
    _finders[:] = [find]


@dataclass(frozen=True)
class Legalize(Pass):
    """Take apart what a backend lacks, and refuse what is left that it cannot run.

    A composite is decomposed, a fused region or a call put back into the graph, a scan of constant length unrolled, a
    factorization of constants folded.

    Args:
        backend:  its name, for the message and the text form
        supports: its answers; found by the name if not given

    Raises:
        UnsupportedError: it lists each op that the backend cannot run, the reason, and the user's lines
    """

    name: ClassVar[str] = "legalize"
    backend: str = "reference"
    supports: Supports | None = field(default=None, compare=False, repr=False)

    def run(self, graph: Graph, remarks: Remarks) -> Graph:
        supports = self.supports if self.supports is not None else _found(self.backend)
        apart: dict[str, None] = {}

        def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            reason = supports(node.op, dtypes_of(node))
            if reason is None:
                return None
            simpler = _simpler(node, operands)
            if simpler is not None:
                apart.setdefault(f"legalize: {node.op.mnemonic} is taken apart: {reason}")
            return simpler

        # a composite may become a loop whose body is not legal yet, so regions are gone through each time
        result = until_stable(graph, lambda g: map_regions(g, lambda h: rebuild(h, rewrite)))
        problems = [
            (node, reason)
            for node in result.walk()
            if (reason := supports(node.op, dtypes_of(node))) is not None
        ]
        for text in apart:
            remarks.note(text)
        if problems:
            raise _refusal(self.backend, problems)
        return result


def _found(backend: str) -> Supports:
    if not _finders:
        raise InputError(
            f"legalize: no backend is named {backend}",
            hint="import nervure.backends.base first",
            code="NV0402",
        )
    return _finders[0](backend)


def dtypes_of(node: Node) -> tuple[DType, ...]:
    """The element types of operands, then of results."""
    return tuple(v.type.dtype for v in (*node.operands, *node.results))


def _simpler(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    """The node's results by simpler means, or None where there are none."""
    if node.op.level is Level.NN:
        return decomposed(node, operands)
    if isinstance(node.op, Factorization):
        return folded_factorization(node, operands)
    if isinstance(node.op, HELD):
        return inline(node.regions[0], operands)
    if isinstance(node.op, TreeFold):
        return folded(node, operands)
    if isinstance(node.op, Scan) and isinstance(node.op.length, int):
        return unrolled(node, operands)
    return None


def _refusal(backend: str, problems: Sequence[tuple[Node, str]]) -> UnsupportedError:
    lines: dict[str, None] = {}
    for node, reason in problems:
        where = "".join(f", at {o}" for o in node.origins)
        types = ", ".join(str(o.type) for o in node.operands)
        lines.setdefault(f"{node.op.mnemonic}({types}): {reason}{where}")
    count = len(problems)
    return UnsupportedError(
        f"backend {backend} cannot run {count} of the program's nodes",
        details=list(lines)[:20],
        where=list(dict.fromkeys(str(o) for node, _ in problems for o in node.origins))[:20],
    )
