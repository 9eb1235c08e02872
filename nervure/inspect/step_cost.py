"""What the steps of a compiled program cost for given sizes, from their text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..backends.llvm.kernel_cost import kernel_bytes, kernel_flops
from ..backends.llvm.program import (
    Arg,
    Beside,
    Branch,
    Copy,
    KernelProgram,
    Launch,
    Loop,
    Step,
    While,
    kernel_names,
)
from ..backends.llvm.structure import structure
from ..ir.dims import Dim, evaluate_dim

__all__ = ["StepCost", "step_cost"]

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class StepCost:
    """A top-level step.

    Args:
        kernel: the name of its function, or of those in a loop
        does:   its ops in words
        calls:  how many kernels it runs; of a loop whose end is computed, those of one turn
        flops, bytes: of all calls
        saved:  bytes that never reach memory because ops are fused
        lines:  the user's
    """

    kernel: str
    does: str
    calls: int
    flops: int
    bytes: int
    saved: int
    lines: str


def step_cost(program: KernelProgram, sizes: Sizes) -> list[StepCost]:
    """One a step of the run."""
    names = {key: name for key, (name, _) in kernel_names(program).items()}
    return [_cost(step, names, dict(sizes)) for step in program.run]


def _cost(step: Step, names: Mapping[Hashable, str], sizes: dict[str, int]) -> StepCost:
    match step:
        case Launch():
            given = {name: _number(dim, sizes) for name, dim in step.symbols.items()}
            kernel, own = step.kernel, {**sizes, **given}
            return StepCost(
                names[structure(kernel)], kernel.does, 1, kernel_flops(kernel, own), kernel_bytes(kernel, own),
                _number(kernel.saved, own), kernel.origin,
            )  # fmt: skip
        case Copy():
            return StepCost("copy", "copy", 1, 0, 2 * _number(step.nbytes, sizes), 0, "")
        case Loop():
            # what depends on the turn is counted as in the first
            inner = [_cost(s, names, {**sizes, step.symbol.name: 0}) for s in step.body]
            return _joined("loop", inner, _number(step.extent, sizes))
        case Beside():
            return _joined("beside", [_cost(s, names, sizes) for s in step.body], 1)
        case While():
            return _joined("while", [_cost(s, names, sizes) for s in step.body], 1)
        case Branch():
            ways = [
                _joined("if", [_cost(s, names, sizes) for s in way], 1) for way in (step.then, step.otherwise)
            ]
            if not isinstance(step.cond, Arg):
                return ways[0 if _number(step.cond, sizes) > 0 else 1]
            return max(ways, key=lambda way: (way.flops, way.bytes))


def _joined(kind: str, inner: Sequence[StepCost], turns: int) -> StepCost:
    def words(texts: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(t for t in texts if t))

    return StepCost(
        f"{kind} of {words([c.kernel for c in inner]) or 'nothing'}",
        words([c.does for c in inner]),
        turns * sum(c.calls for c in inner),
        turns * sum(c.flops for c in inner),
        turns * sum(c.bytes for c in inner),
        turns * sum(c.saved for c in inner),
        words([c.lines for c in inner]),
    )


def _number(dim: Dim, sizes: Sizes) -> int:
    try:
        return evaluate_dim(dim, sizes)
    except KeyError:
        return 1
