"""`nv.gradient_flow`: the norm of a loss's gradient at each step of its recurrent layers and loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .compiling import compile
from .frontend.trace import trace
from .gradient import own
from .ir import build as b
from .ir.errors import InputError
from .ir.graph import Graph, Node, Value, make, rebuild
from .ir.ops.control import Scan
from .ir.ops.recurrent import Recurrence
from .ir.program import Program
from .ir.text.files import write_atomically
from .ir.types import Array, f64
from .passes.autodiff import gradients
from .passes.decompose import apart

__all__ = ["Flow", "GradientFlow", "gradient_flow"]

LINES = 20
"""The text shows so many steps of a layer, evenly chosen."""


@dataclass(frozen=True)
class Flow:
    """One recurrent layer or loop.

    Args:
        label: what it is and where it was written
        norms: of the loss's gradient by what goes into each step, [T]
    """

    label: str
    norms: Array

    @property
    def factor(self) -> float:
        """By what the norm changes on average from a step to the one before; below 1 it vanishes, above it explodes."""
        first, last, steps = float(self.norms[0]), float(self.norms[-1]), len(self.norms) - 1
        return (first / last) ** (1 / steps) if steps and first and last else float("nan")


@dataclass(frozen=True)
class GradientFlow:
    """The gradient's norm by step, for each recurrent layer and loop in the order of the program; prints as bars."""

    flows: tuple[Flow, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(_bars, self.flows))

    def draw(self, path: Path | str) -> None:
        """Write a PNG with a line for each layer.

        Raises:
            InputError: matplotlib is missing, or the file cannot be written
        """
        try:
            import matplotlib
        except ImportError as error:
            raise InputError("plots need matplotlib", hint="pip install 'nervure[demo]'") from error
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure: Any
        axes: Any
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")  # pyright: ignore[reportUnknownMemberType]
        for flow in self.flows:
            axes.plot(flow.norms, label=flow.label)
        axes.set(xlabel="step", ylabel="norm of the gradient by the step's input", yscale="log")
        axes.legend()
        buffer = BytesIO()
        figure.savefig(buffer, dpi=110)
        plt.close(figure)
        write_atomically(Path(path), buffer.getvalue())


def gradient_flow(f: Callable[..., Any] | Program, *arrays: Any, backend: str = "llvm") -> GradientFlow:
    """How much of a loss's gradient reaches each step of its recurrent layers: whether it vanishes or explodes.

    Args:
        f:      a function of arrays that returns the loss, a scalar, or a program of one
        arrays: what it is called with

    Returns:
        for each recurrent layer, and each `nv.scan` that goes over sequences, the norm of the gradient by what goes into
        each step

    Raises:
        InputError: the loss is no float scalar, or nothing in it goes over steps
    """
    program = f if isinstance(f, Program) else trace(f, *arrays)
    graph, loops = _with_own_sequences(program.main)
    if not loops:
        raise InputError(
            "gradient_flow: nothing goes over steps", hint="it looks at recurrent layers and nv.scan over xs"
        )
    wanted = list(dict.fromkeys(x for n in loops for x in _sequences(n)))
    cost, *found = apart([graph.outputs[0], *wanted], Recurrence)
    slopes = dict(zip(wanted, gradients(cost, found), strict=True))
    norms = [_norms([slopes[x] for x in _sequences(n)], _sequences(n)) for n in loops]
    made = Program(f"{program.name}_flow", [Graph("flow", graph.inputs, norms)], program.store)
    results = compile(made, backend=backend)(*arrays)
    rows: tuple[Array, ...] = results if len(norms) > 1 else (results,)
    return GradientFlow(
        tuple(Flow(_label(n), np.asarray(r, np.float64)) for n, r in zip(loops, rows, strict=True))
    )


def _with_own_sequences(graph: Graph) -> tuple[Graph, list[Node]]:
    """The graph with sequences under an identity of their own before each loop, so that no other way to the loss counts;
    and its loops."""
    loops: list[Node] = []

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        rows = _sequences(node)
        if not rows:
            return None
        given = [own(new) if old in rows else new for old, new in zip(node.operands, operands, strict=True)]
        made = make(node.op, *given, regions=node.regions)
        assert made[0].node is not None
        loops.append(made[0].node)
        return made

    return rebuild(graph, rewrite), loops


def _sequences(node: Node) -> Sequence[Value]:
    """The float operands whose axis 0 a node goes over, step by step."""
    if isinstance(node.op, Recurrence):
        return node.operands[:1]
    if not isinstance(node.op, Scan):
        return ()
    rows = node.operands[node.op.carries : node.op.carries + node.op.xs]
    return [x for x in rows if x.type.dtype.is_float]


def _norms(slopes: Sequence[Value | None], like: Sequence[Value]) -> Value:
    """The root of the sum of squares at each step, over all of the slopes; 0 where nothing depends on it."""
    total: Value | None = None
    for slope, x in zip(slopes, like, strict=True):
        g = b.full_like(x, 0) if slope is None else slope
        g = b.cast(g, f64)  # squares of what vanishes
        squares = b.reduce_sum(b.mul(g, g), tuple(range(1, g.type.rank)))
        total = squares if total is None else b.add(total, squares)
    assert total is not None
    return b.sqrt(total)


def _label(node: Node) -> str:
    where = f" at {node.origins[0]}" if node.origins else ""
    return f"{node.op.mnemonic}{where}"


def _bars(flow: Flow) -> str:
    """One line a step, its norm and a bar on a logarithmic scale."""
    norms = flow.norms
    shown = np.unique(np.linspace(0, len(norms) - 1, min(LINES, len(norms))).astype(int))
    positive = norms[norms > 0]
    low, high = (math.log10(positive.min()), math.log10(positive.max())) if positive.size else (0.0, 0.0)
    lines = [f"{flow.label}: the gradient changes by {flow.factor:.3g} a step backwards"]
    for t in map(int, shown):
        norm = float(norms[t])
        length = round(1 + 40 * (math.log10(norm) - low) / max(high - low, 1e-9)) if norm > 0 else 0
        lines.append(f"  step {t:5d}  {norm:9.2e}  {'#' * length}".rstrip())
    return "\n".join(lines)
