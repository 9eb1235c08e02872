"""`nv.gradient_norms`: how large a gradient still is at each step of a loop, where it vanishes and where it explodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from .compiling import compile
from .frontend.trace import trace
from .ir import build as b
from .ir.errors import InputError
from .ir.graph import Graph, Node, Value, make, rebuild
from .ir.ops.control import Scan
from .ir.ops.loops import While
from .ir.ops.recurrent import Recurrence
from .ir.program import Program
from .ir.text.files import write_atomically
from .ir.types import Array, TensorType, dtype_of, f64, i64
from .passes.autodiff import gradients
from .passes.autodiff.loops import bounded_loop
from .passes.decompose import apart
from .passes.scan_form import ScanForm

__all__ = ["CarryNorms", "GradientNorms", "gradient_norms"]

WIDTH = 40


@dataclass(frozen=True)
class CarryNorms:
    """The gradient by one carry of one loop.

    Args:
        loop:  the loop's first result and how many steps it has
        carry: the carry's name
        lines: the user's
        norms: at each step the Euclidean norm of d result / d carry, as the carry enters the step
        reverse: whether the loop goes from the last step to the first
    """

    loop: str
    carry: str
    lines: tuple[str, ...]
    norms: Array = field(repr=False)
    reverse: bool = False

    @property
    def rate(self) -> float:
        """By which factor the norm changes from a step to the one that is computed before it, on average; below 1 it
        vanishes on the way back, above 1 it explodes. NaN where a norm is 0 or not finite."""
        if not len(self.norms):
            return math.nan
        first, last = (float(self.norms[k]) for k in ((-1, 0) if self.reverse else (0, -1)))
        if len(self.norms) < 2 or not (0 < first < math.inf and 0 < last < math.inf):
            return math.nan
        return float((first / last) ** (1 / (len(self.norms) - 1)))


@dataclass(frozen=True)
class GradientNorms:
    """What `gradient_norms` found; prints as bars, draws as a picture."""

    carries: tuple[CarryNorms, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "carries": [
                {"loop": c.loop, "carry": c.carry, "lines": list(c.lines), "norms": c.norms.tolist()}
                for c in self.carries
            ]
        }

    def __str__(self) -> str:
        return "\n".join(line for c in self.carries for line in _bars(c)) + "\n"

    def plot(self, path: str | Path) -> None:
        """Write a PNG with a curve a carry, on a logarithmic scale.

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
        for c in self.carries:
            shown = np.where(c.norms > 0, c.norms, np.nan)
            axes.plot(np.arange(len(c.norms)), shown, label=f"{c.carry} of {c.loop}")
        axes.set(xlabel="step", ylabel="norm of the gradient by the carry", yscale="log")
        axes.legend()
        buffer = BytesIO()
        figure.savefig(buffer, dpi=110)
        plt.close(figure)
        write_atomically(Path(path), buffer.getvalue())


def _bars(c: CarryNorms) -> list[str]:
    """One line a step, at most 32, the length by the logarithm of the norm."""
    where = f"  at {c.lines[0]}" if c.lines else ""
    head = f"{c.carry} of {c.loop}: a step back multiplies the gradient by {c.rate:.3g}{where}"
    known = c.norms[(c.norms > 0) & np.isfinite(c.norms)]
    low, high = (math.log10(known.min()), math.log10(known.max())) if known.size else (0.0, 0.0)
    many = len(c.norms)
    shown = min(32, many)
    steps = [k * (many - 1) // max(1, shown - 1) for k in range(shown)]
    lines = [head]
    for t in steps:
        norm = float(c.norms[t])
        length = 0
        if 0 < norm < math.inf:
            length = 1 + round((WIDTH - 1) * (math.log10(norm) - low) / (high - low)) if high > low else WIDTH
        lines.append(f"  {t:>5} {norm:>10.3e} {'#' * length}".rstrip())
    return lines


def gradient_norms(f: Callable[..., Any] | Program, *inputs: Any, backend: str = "llvm") -> GradientNorms:
    """The norm of the gradient by each carry of each loop, step by step.

    Loops are those of the program itself, not those inside the body of another. A `nv.while_loop` is one where it has
    max_trip, its steps are the turns that ran; of `nv.scan(remat=)` the steps are the blocks.

    Equation: norms[t] = |d result / d carry[t]|, carry[t] as it enters step t
    Args:
        f:       a function, module or program; its first result is summed where it is no scalar, such as a loss
        inputs:  arrays
        backend: that of `nv.compile`
    Raises:
        InputError: there is no loop with a carry of floats, or the result is no float
    Source: Y. Bengio, P. Simard, P. Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994
    """
    arrays = [np.asarray(x) for x in inputs]
    program = f if isinstance(f, Program) else trace(f, *(TensorType(dtype_of(a), a.shape) for a in arrays))
    head = apart(list(_without_blocks(program.main).outputs[:1]), Recurrence)
    graph, probes = _probed(Graph(program.main.name, program.main.inputs, head))
    (result,) = graph.outputs
    if not result.type.dtype.is_float:
        raise InputError(f"gradient_norms: the result is {result.type}, expected a float")
    if not probes:
        raise InputError(
            "gradient_norms: there is no loop with a carry of floats", hint="see nv.scan, nn.LSTM"
        )
    total = b.reduce_sum(result, range(result.type.rank))
    found = gradients(total, [p.probe for p in probes])
    norms = [_norms(b.full_like(p.probe, 0) if g is None else g) for p, g in zip(probes, found, strict=True)]
    turns = [p.turns for p in probes if p.turns is not None]
    grown = Program(f"{program.name}_norms", [Graph(graph.name, graph.inputs, norms + turns)], program.store)
    results: Any = compile(grown, backend=backend)(*arrays)
    found_all: list[Array] = [results] if len(norms + turns) == 1 else list(results)
    ran = iter(found_all[len(norms) :])
    values = [v if p.turns is None else v[: int(next(ran))] for v, p in zip(found_all, probes, strict=False)]
    return GradientNorms(
        tuple(
            CarryNorms(
                f"{p.loop} ({len(v)} steps{', backwards' if p.reverse else ''})",
                p.carry,
                p.lines,
                np.asarray(v, np.float64),
                p.reverse,
            )
            for p, v in zip(probes, values, strict=True)
        )
    )


@dataclass(frozen=True)
class _Probe:
    """Zeros that are added to a carry at each step: the derivative by them is that by the carry.

    Args:
        turns: how many of the steps ran, where the loop ends by a value
    """

    probe: Value
    loop: str
    carry: str
    lines: tuple[str, ...]
    reverse: bool
    turns: Value | None = None


def _without_blocks(graph: Graph) -> Graph:
    """The graph with every layer as a loop over its steps."""

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if isinstance(node.op, Recurrence) and node.op.remat:
            names = [r.name for r in node.results]
            return make(replace(node.op, remat=0), *operands, names=names, origins=node.origins)
        return None

    return rebuild(graph, rewrite)


def _probed(graph: Graph) -> tuple[Graph, list[_Probe]]:
    probes: list[_Probe] = []

    def rewrite(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        ends = isinstance(node.op, While) and node.op.max_trip is not None
        if not ends and not isinstance(node.op, Scan):
            return None
        form = _steps_and_turns(node, operands) if ends else ScanForm.of(node, operands)
        number = len({p.loop for p in probes}) + 1
        stands: dict[Value, Value] = {}
        zeros: list[Value] = []
        probed = [c for c in form.carries if c.type.dtype.is_float]
        if not probed:
            return None
        for carry in probed:
            zeros.append(b.full(carry.type.with_shape((form.op.length, *carry.type.shape)), 0))
            own = Value(carry.type, name="probe")
            form.rows.append(zeros[-1])
            form.xs.append(own)
            stands[carry] = b.add(carry, own)
        form.exchange(form.nodes, stands)
        names = [r.name for r in node.results]
        carries, ys = form.make(["running", *names] if ends else names)
        turns = None
        if ends:
            carries, ys, turns = carries[1:], [], b.reduce_sum(b.cast(ys[0], i64), (0,))
        lines = tuple(str(o) for o in node.origins)
        probes.extend(
            _Probe(z, f"loop {number}", c.name or "carry", lines, form.op.reverse, turns)
            for z, c in zip(zeros, probed, strict=True)
        )
        return [*carries, *ys]

    return rebuild(graph, rewrite), probes


def _steps_and_turns(node: Node, operands: Sequence[Value]) -> ScanForm:
    """A loop that ends by a value as a scan of its most turns; its one y says whether a turn ran."""
    (loop,) = {v.node for v in bounded_loop(node, operands)}
    assert loop is not None
    form = ScanForm.of(loop, loop.operands)
    form.ys.append(form.nexts[0])
    return form


def _norms(slopes: Value) -> Value:
    """The Euclidean norm of each row, in f64: the squares of what vanishes in f32 would be 0."""
    slopes = b.cast(slopes, f64)
    return b.sqrt(b.reduce_sum(b.mul(slopes, slopes), range(1, slopes.type.rank)))
