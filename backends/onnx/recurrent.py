"""Recurrent composites as ONNX's RNN, LSTM and GRU nodes."""

from __future__ import annotations

from typing import Any

from ...ir.dims import bounds
from ...ir.graph import Node
from ...ir.ops.activation import ACTIVATIONS
from ...ir.ops.cells import Gru, Lstm
from ...ir.ops.recurrent import DIRECTIONS, Recurrence
from ...ir.types import DType, i32, i64
from .elementwise import NARROW, Emitter
from .writer import Writer, result

__all__ = ["EMITTERS", "reason_against"]

NAMES = {name: "".join(part.capitalize() for part in name.split("_")) for name in ACTIVATIONS}
"""What ONNX calls an activation."""


def reason_against(op: Recurrence) -> str | None:
    """Why ONNX's node cannot say what the op says, or None."""
    return "ONNX's LSTM has no projection" if "projection" in op.given else None


def recurrent(w: Writer, node: Node) -> None:
    """One node, in f32 where the operands are f16.

    Around it stands what onnxruntime does not do: a length of 0 gives the first state (it gives zeros), lengths are
    kept within the steps, and where there may be no step or no row (it ends the process) there is one of each more.
    """
    op = node.op
    assert isinstance(op, Recurrence)
    steps, batch = node.operands[0].type.shape[:2]
    hidden = node.operands[1].type.static_shape()[1] // len(op.order)
    dtype = node.operands[0].type.dtype
    inner = NARROW.get(dtype.name, dtype)
    given = dict(zip(("x", "w", "r", *op.given), node.operands, strict=True))
    names = {n: w.cast(w.tensor(v), v.type.dtype, i64 if n == "lens" else inner) for n, v in given.items()}
    for name in ("w", "r", "bias") if op.order != op.orders[0] else ():
        if name in names:
            names[name] = _ordered(w, names[name], op, hidden, 2 if name == "bias" else 1)
    if "lens" in names:
        names["lens"] = w.node("Clip", [names["lens"], w.scalar(0, i64), w.reshape(w.dim(steps), ())])
    may_be_empty = bounds(steps)[0] == 0 or bounds(batch)[0] == 0
    if may_be_empty:
        names.setdefault("lens", w.node("Expand", [w.dim(steps), w.dim(batch)]))
    ran = {n: _one_more(w, t, n, inner) for n, t in names.items()} if may_be_empty else names
    found = _node(w, op, ran, hidden)
    if may_be_empty:
        zero, ends = w.vector([0, 0]), w.node("Concat", [w.dim(steps), w.dim(batch)], axis=0)
        found[0] = w.node("Slice", [found[0], zero, ends, w.vector([0, 2])])
        found[1:] = [w.node("Slice", [t, w.vector([0]), w.dim(batch), w.vector([1])]) for t in found[1:]]
    if "lens" in names:
        none = w.node("Equal", [names["lens"], w.scalar(0, i64)])
        none = w.node("Unsqueeze", [none, w.vector([0, 2])])
        firsts = [names.get(n) or w.scalar(0, inner) for n in ("h0", "c0")]
        found[1:] = [w.where(none, first, t, inner) for first, t in zip(firsts, found[1:], strict=False)]
    for k, name in enumerate(found):
        result(w, node, w.cast(name, inner, dtype), k)


def _ordered(w: Writer, name: str, op: Recurrence, hidden: int, times: int) -> str:
    """Weights with their gates in ONNX's order; a bias has them twice."""
    gates = len(op.order)
    count = times * gates
    parts = w.multi("Split", [name, w.vector([hidden] * count)], [""] * count, axis=1)
    places = [g * gates + op.order.index(letter) for g in range(times) for letter in op.orders[0]]
    return w.node("Concat", [parts[k] for k in places], axis=1)


def _one_more(w: Writer, name: str, operand: str, dtype: DType) -> str:
    """An operand with a step and a row of zeros more."""
    pads = {"x": [0, 0, 0, 1, 1, 0], "lens": [0, 1], "h0": [0, 0, 0, 0, 1, 0], "c0": [0, 0, 0, 0, 1, 0]}
    if operand not in pads:
        return name
    return w.node("Pad", [name, w.vector(pads[operand]), w.scalar(0, i64 if operand == "lens" else dtype)])


def _node(w: Writer, op: Recurrence, names: dict[str, str], hidden: int) -> list[str]:
    kind = "LSTM" if isinstance(op, Lstm) else "GRU" if isinstance(op, Gru) else "RNN"
    inputs = [names.get(n, "") for n in ("x", "w", "r", "bias", "lens", "h0", "c0", "peepholes")]
    if "lens" in names:
        inputs[4] = w.cast(names["lens"], i64, i32)
    while not inputs[-1]:
        inputs.pop()
    options: dict[str, Any] = {"hidden_size": hidden, "direction": op.direction}
    functions = [f for d in range(len(DIRECTIONS[op.direction])) for f in op.functions(d)]
    if op.activations:
        options["activations"] = [NAMES[f.name] for f in functions]
        for k, key in enumerate(("activation_alpha", "activation_beta")):
            numbers = [(f.alpha, f.beta)[k] for f in functions if ACTIVATIONS[f.name][k] is not None]
            options |= {key: numbers} if numbers else {}
    if op.clip:
        options["clip"] = op.clip
    if isinstance(op, Lstm) and op.input_forget:
        options["input_forget"] = 1
    if isinstance(op, Gru) and op.linear_before_reset:
        options["linear_before_reset"] = 1
    return w.multi(kind, inputs, [""] * (1 + op.states), **options)


EMITTERS: dict[str, Emitter] = {"rnn": recurrent, "lstm": recurrent, "gru": recurrent}
