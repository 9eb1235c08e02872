"""What an import finds that it cannot turn into a program: every node at once, with the reason and a way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...ir.errors import UnsupportedError

__all__ = ["ImportReport", "OnnxImportError", "Refusal", "Refused"]


@dataclass(frozen=True)
class Refusal:
    """One node that cannot be imported.

    Args:
        node:  its name, or that of its first output; with the names of the nodes around it, `outer/inner`
        op:    its type, with the domain where it is not ONNX's own
        opset: the version of the domain that the model asks for
        why:   what was found and what was expected
        hint:  one way out, or none
        needs: graph inputs whose values the node asks for; giving them by `bind=` would help
        lacking: whether nervure has no such op, whatever its inputs are
    """

    node: str
    op: str
    opset: int
    why: str
    hint: str | None = None
    needs: tuple[str, ...] = ()
    lacking: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "op": self.op,
            "opset": self.opset,
            "why": self.why,
            "hint": self.hint,
            "needs": list(self.needs),
        }

    def __str__(self) -> str:
        return f"{self.op}-{self.opset} {self.node}: {self.why}"


@dataclass(frozen=True)
class ImportReport:
    """What a model is made of, and what of it cannot be imported.

    Args:
        model:     the file's or the graph's name
        opset:     of ONNX's own domain
        inputs:    name and type of each input of the program, as text; none where the types are what is refused
        outputs:   likewise
        operators: how many nodes there are of each op, subgraphs and functions counted once
        refusals:  the nodes that stand in the way
    """

    model: str
    opset: int
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, int], ...]
    refusals: tuple[Refusal, ...]

    @property
    def ok(self) -> bool:
        """Whether the model can be imported as it is."""
        return not self.refusals

    @property
    def needs(self) -> tuple[str, ...]:
        """The graph inputs whose values the refused nodes ask for."""
        return tuple(dict.fromkeys(name for r in self.refusals for name in r.needs))

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "opset": self.opset,
            "ok": self.ok,
            "inputs": [{"name": n, "type": t} for n, t in self.inputs],
            "outputs": [{"name": n, "type": t} for n, t in self.outputs],
            "operators": dict(self.operators),
            "refusals": [r.to_json() for r in self.refusals],
        }

    def __str__(self) -> str:
        nodes = sum(count for _, count in self.operators)
        lines = [f"{self.model}: opset {self.opset}, {nodes} nodes of {len(self.operators)} ops"]
        lines += [f"  input {name}: {type}" for name, type in self.inputs]
        lines += [f"  output {name}: {type}" for name, type in self.outputs]
        lines += ["every node can be imported"] if self.ok else refusal_lines(self.refusals)
        return "\n".join(lines)


def refusal_lines(refusals: Iterable[Refusal]) -> list[str]:
    """Each refusal on a line, its hint below it."""
    lines: list[str] = []
    for refusal in refusals:
        lines.append(str(refusal))
        if refusal.hint is not None:
            lines.append(f"  hint: {refusal.hint}")
    return lines


class OnnxImportError(UnsupportedError):
    """A model has nodes that cannot be imported; all of them are listed, and `report` holds them as data."""

    def __init__(self, report: ImportReport) -> None:
        count = len(report.refusals)
        super().__init__(
            f"{report.model}: {count} node{'s' if count > 1 else ''} cannot be imported",
            details=refusal_lines(report.refusals),
        )
        self.report = report

    def __reduce__(self) -> tuple[object, ...]:
        return (OnnxImportError, (self.report,))


class Refused(Exception):
    """Raised by the function of an op: this node cannot be imported."""

    def __init__(
        self, why: str, hint: str | None = None, needs: tuple[str, ...] = (), *, lacking: bool = False
    ) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.needs = needs
        self.lacking = lacking
