"""RNN, LSTM and GRU as the composites of the IR."""

from __future__ import annotations

import re
from typing import Any

from ...ir import build as b
from ...ir.graph import Value
from ...ir.ops.activation import ACTIVATIONS
from .node import OnnxNode
from .report import Refused
from .table import op

COMPOSITES: dict[str, Any] = {"GRU": b.gru, "LSTM": b.lstm, "RNN": b.rnn}
OPERANDS = {3: "bias", 4: "lens", 5: "h0", 6: "c0", 7: "peepholes"}
"""Inputs that may be left out, by their place."""

BATCH_SECOND = ("h0", "c0")


@op(*COMPOSITES)
def recurrent(n: OnnxNode) -> list[Value]:
    x, batch_first = n.value(0), bool(n.attr("layout", 0))
    given: dict[str, Value | None] = {name: n.optional(k) for k, name in OPERANDS.items()}
    if batch_first:
        x = b.permute(x, (1, 0, 2))
        given |= {k: b.permute(v, (1, 0, 2)) for k in BATCH_SECOND if (v := given[k]) is not None}
    if _whole(n, x):
        given["lens"] = None
    for name, axis in (("lens", 0), ("h0", 1), ("c0", 1)):
        v = given[name]
        if v is not None:
            n.equal(v.type.shape[axis], x.type.shape[1], f"the batch of {name}")
    if (lens := given["lens"]) is not None:  # as onnxruntime, which refuses others
        given["lens"] = b.expect_range(lens, 0, x.type.shape[0] + 1)
    results = COMPOSITES[n.op](x, n.value(1), n.value(2), **given, **_options(n))
    if batch_first:
        y, *states = results
        results = (b.permute(y, (2, 0, 1, 3)), *(b.permute(s, (1, 0, 2)) for s in states))
    return list(results)


def _whole(n: OnnxNode, x: Value) -> bool:
    """Whether the lengths are known to be those of all steps."""
    lens = n.known(4)
    return lens is not None and all(d == x.type.shape[0] for d in lens.elements())


def _options(n: OnnxNode) -> dict[str, Any]:
    found: dict[str, Any] = {"direction": n.attr("direction", "forward"), "clip": n.attr("clip", 0.0)}
    names = [_word(a) for a in n.attr("activations", [])]
    alphas, betas = list(n.attr("activation_alpha", [])), list(n.attr("activation_beta", []))
    if names:
        for name in names:
            if name not in ACTIVATIONS:
                raise Refused(f"no activation is named {name}", f"there are {', '.join(ACTIVATIONS)}")
        found["activations"] = tuple(names)
        found["alphas"] = _consumed(names, alphas, 0)
        found["betas"] = _consumed(names, betas, 1)
    if n.op == "LSTM":
        found["input_forget"] = bool(n.attr("input_forget", 0))
    if n.op == "GRU":
        found["linear_before_reset"] = bool(n.attr("linear_before_reset", 0))
    return found


def _consumed(names: list[str], numbers: list[float], which: int) -> tuple[float, ...]:
    """One number an activation: those that have one take the next that is given, or their default."""
    left = iter(numbers)
    found: list[float] = []
    for name in names:
        default = ACTIVATIONS[name][which]
        found.append(0.0 if default is None else next(left, default))
    return tuple(found)


def _word(name: str) -> str:
    """HardSigmoid as hard_sigmoid."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
