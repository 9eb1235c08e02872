"""Where an exported model computes something else than the IR says, and why that is let stand.

Whatever could end a process, or is cheap to guard, is guarded and not listed. `docs/onnx-deviations.md` is this
table as text.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.op import OPS
from ...ir.ops.linalg import REFERENCE_ONLY, Factorization
from ..base import KernelError
from .table import LACKS, NO_BF16

__all__ = ["DEVIATIONS", "ERRORS", "Deviation", "as_markdown"]

FACTORIZATIONS = sorted(name for name, op in OPS.items() if issubclass(op, Factorization))


@dataclass(frozen=True)
class Deviation:
    """One row.

    Attributes:
        name:    for tests and messages
        ops:     the ops that it concerns
        where:   on which operands
        means:   what the IR says
        gives:   what stock onnxruntime gives
        because: why the export does not guard it
        error:   how far the results of all operands are off, where that is all
    """

    name: str
    ops: tuple[str, ...]
    where: str
    means: str
    gives: str
    because: str
    error: KernelError | None = None


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "max-pool-nan",
        ("max_pool",),
        "a window that holds NaN",
        "NaN, and its position",
        "NaN only where it comes first; otherwise the largest of the others may win",
        "a guard would pool a second time over where the NaNs are",
    ),
    Deviation(
        "reduce-extreme-nan",
        ("reduce_max", "reduce_min"),
        "a float row that holds NaN",
        "NaN",
        "a number or NaN, by its place and the row's length",
        "a guard would read the operand twice; softmax, which users see, keeps NaN",
    ),
    Deviation(
        "arg-extreme-nan",
        ("argmax", "argmin"),
        "a float row that holds NaN",
        "the position of the first NaN",
        "the position of a number, unless the NaN comes first",
        "a guard would read the operand twice",
    ),
    Deviation(
        "scatter-extreme-nan",
        ("scatter_elements",),
        "NaN among updates of mode min or max, or where they go",
        "NaN",
        "NaN, or the extreme of the numbers written after it",
        "a guard would scatter a second time, where the NaNs are",
    ),
    Deviation(
        "sigmoid-tail",
        ("sigmoid",),
        "x below about -4",
        "e^x / (1 + e^x), within a few ulp",
        "within 1.8e-7 of it in f32, but with a larger relative error; 0 below about -18",
        "exp and a quotient cost three times as much as Sigmoid",
        KernelError(absolute=1.8e-7),
    ),
    Deviation(
        "tanh-ulps",
        ("tanh",),
        "everywhere",
        "within an ulp of the true value",
        "up to 3 ulp (3.6e-7 of the value) from it in f32; 1 + tanh x, as in gelu, shows them where x is below -2",
        "no other node of the standard domain is as fast and more exact",
        KernelError(relative=3.6e-7),
    ),
    Deviation(
        "rnn-small",
        ("rnn",),
        "a state near 0 with tanh",
        "tanh within an ulp of the true value",
        "within 1.8e-7 of it in f32 at each step, whatever its size",
        "RNN computes its tanh by exponentials; a Scan of Tanh takes several times as long",
        KernelError(absolute=1.8e-7),
    ),
    Deviation(
        "quantize-nan",
        ("quantize", "dynamic_quantize"),
        "NaN",
        "0",
        "an end of the range or another number",
        "a guard would read the operand twice for what holds no information",
    ),
    Deviation(
        "sign-of-zero",
        ("select", "log1p", "reduce_sum"),
        "a result of 0",
        "-0 where IEEE 754 says so; a sum over -0 alone is 0",
        "the other zero: Where makes 0 of -0, that sum is -0",
        "no other node of the standard domain picks by a condition",
    ),
)

ERRORS: dict[str, KernelError] = {op: d.error for d in DEVIATIONS if d.error is not None for op in d.ops}
"""How far kernels are off, by the op's mnemonic."""


def as_markdown() -> str:
    """The table and what is refused, for the documentation."""
    lines = [
        "# Where ONNX differs",
        "",
        "A program means the same on every backend, within the accuracy that each op declares. Where stock onnxruntime",
        "does otherwise, the export guards it: integer division by 0 and of the smallest integer by -1, shifts beyond",
        "the width, casts of NaN and of what is out of range, indices beyond an axis, NaN in min, max and clamp.",
        "These deviations are let stand, each with a test:",
        "",
        "| ops | where | the IR says | onnxruntime gives | why it stands |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {', '.join(d.ops)} | {d.where} | {d.means} | {d.gives} | {d.because} |" for d in DEVIATIONS]
    lines += [
        "",
        "## What is refused",
        "",
        "An error names the op, the reason and the user's line. A composite of this list is exported in simpler ops.",
        "",
        "| op | element types | reason |",
        "|---|---|---|",
        f"| every op | bf16 | {NO_BF16} |",
    ]
    lines += [
        f"| {op} | {', '.join(types)} | onnxruntime's CPU provider has no kernel that serves |"
        for op, types in LACKS.items()
    ]
    lines += [
        "| max_pool | all | padding as wide as the window without its dilation |",
        "| avg_pool | all | negative padding: ONNX's AveragePool takes none |",
        "| cumprod | all | along or beside an axis that may be empty: onnxruntime's Scan takes no empty sequence, and an empty step ends the process |",
        "| dequantize | scales of f64 | ONNX has no f64 scale |",
        f"| {', '.join(FACTORIZATIONS)} | all | {REFERENCE_ONLY} |",
        "| bitcast | all | ONNX has no such op in the opsets that are written |",
        "| reduce_prod | integers | over a symbolic axis: onnxruntime multiplies integers in floating point |",
        "",
    ]
    return "\n".join(lines)
