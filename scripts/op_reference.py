"""Writes docs/ops.md: every op with its docstring, level, accuracy, derivative, and what each backend makes of it.

python scripts/op_reference.py            # write it
python scripts/op_reference.py --check    # exit code 1 if it is not up to date
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from nervure.backends.base import find_backend  # noqa: E402
from nervure.ir.op import OPS  # noqa: E402
from nervure.ir.types import bf16  # noqa: E402
from nervure.passes.autodiff import NOT_DIFFERENTIABLE, RULES  # noqa: E402
from nervure.passes.autodiff.equations import EQUATIONS  # noqa: E402
from nervure.passes.manager import run_pipeline  # noqa: E402

BACKENDS = ("llvm", "onnx")

FAMILIES = {
    "elementwise": "Elementwise",
    "pointwise": "Elementwise",
    "reduce": "Reductions",
    "cumulative": "Running sums",
    "sort": "Order",
    "contract": "Contractions",
    "window": "Windows",
    "patches": "Windows",
    "move": "Movement",
    "index": "Indexing",
    "constant": "Constants",
    "rng": "Random numbers",
    "nn": "Composites",
    "gates": "Composites",
    "layer_norm": "Composites",
    "cells": "Recurrent layers",
    "quant": "Quantisation",
    "linalg": "Linear algebra",
    "control": "Control",
    "loops": "Control",
    "tree": "Control",
    "calls": "Calls and barriers",
    "barrier": "Calls and barriers",
    "expect": "Calls and barriers",
}

HEAD = """# Ops

Made by `python scripts/op_reference.py` from the ops themselves; a test holds it up to date. {count} ops.

*Level*: users write nn ops, derivatives and backends speak core. *Accuracy*: exact moves or compares bits; rounded is
one IEEE operation an element; reassociated sums in an order of its own; approximate is within a few ulp. In a
*derivative* g is that of the loss by the result y, and x0, x1, ... are the operands. A backend *runs* an op, takes it
*apart* into others, or refuses it for a reason; types stand where only some element types are concerned. onnx takes no
bf16 at all: onnxruntime's Python API passes no such arrays.
"""


def main() -> int:
    text = page()
    target = ROOT / "docs" / "ops.md"
    if "--check" in sys.argv:
        return int(not target.exists() or target.read_text("utf-8") != text)
    target.write_text(text, "utf-8")
    return 0


def page() -> str:
    """The whole page."""
    families: dict[str, list[str]] = {}
    for name, op in sorted(OPS.items()):
        families.setdefault(FAMILIES[op.__module__.rpartition(".")[2]], []).append(name)
    parts = [HEAD.format(count=len(OPS))]
    for family in dict.fromkeys(FAMILIES.values()):
        if family in families:
            parts.append(f"## {family}\n")
            parts += [section(name) for name in families[family]]
    return "\n".join(parts)


def section(name: str) -> str:
    """One op."""
    op = OPS[name]
    doc = inspect.cleandoc(op.__doc__ or "")
    lines = [f"### {name}\n", "```", f"{name}{signature(op)}", "", doc, "```", ""]
    lines.append(
        f"- {op.level.value}, {op.accuracy.name.lower()}; element types in the contract test: {dtypes(name)}"
    )
    lines.append(f"- derivative: {derivative(name)}")
    lines += [f"- {backend}: {support(name, backend)}" for backend in BACKENDS]
    return "\n".join(lines) + "\n"


def signature(op: Any) -> str:
    """Its attributes as the text form writes them."""
    names = [f.name for f in fields(op)]
    return "{" + ", ".join(names) + "}" if names else ""


def dtypes(name: str) -> str:
    from op_tables import TABLE

    found = dict.fromkeys(str(t.dtype) for i in TABLE[name] for t in (i.types[:1] or results(i)))
    return ", ".join(sorted(found)) or "-"


def results(instance: Any) -> Any:
    return [r.type for r in instance.apply()[1]]


def derivative(name: str) -> str:
    if name in NOT_DIFFERENTIABLE:
        return f"none: {NOT_DIFFERENTIABLE[name]}"
    names = {"g": "g", "y": "y", "g1": "g1", "y1": "y1"}
    operands = [f"x{k}" for k in range(8)]
    shown = ["-" if t is None else t.format(*operands, **names) for t in EQUATIONS[name]]
    how = "" if name in RULES else " (by its decomposition)"
    return "; ".join(f"`{text}`" if text != "-" else text for text in shown) + how


def support(name: str, backend: str) -> str:
    """What a backend makes of the instances of the op's contract."""
    from op_tables import TABLE

    from nervure.ir.errors import UnsupportedError
    from nervure.ir.graph import Graph
    from nervure.ir.program import Program

    chosen = find_backend(backend)
    outcomes: dict[str, dict[str, None]] = {}
    for instance in TABLE[name]:
        operands, made = instance.apply()
        program = Program("case", [Graph("forward", operands, made)])
        types = tuple(v.type.dtype for v in (*operands, *made))
        kind = str((operands or made)[0].type.dtype)
        if backend == "onnx" and bf16 in types:
            continue
        if chosen.supports(instance.op, types) is None:
            outcomes.setdefault("runs", {})[kind] = None
            continue
        try:
            run_pipeline(program, chosen.pipeline(0), verify=False)
            outcomes.setdefault("takes apart", {})[kind] = None
        except UnsupportedError as error:
            reason = (
                error.details[0].partition("): ")[2].partition(", at ")[0] if error.details else error.message
            )
            outcomes.setdefault(f"refuses: {reason}", {})[kind] = None
    if len(outcomes) == 1:
        return next(iter(outcomes))
    return "; ".join(f"{outcome} ({', '.join(kinds)})" for outcome, kinds in outcomes.items())


if __name__ == "__main__":
    sys.exit(main())
