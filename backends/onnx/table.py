"""The one table of the ONNX backend: how each op is written, and what stock onnxruntime cannot run."""

from __future__ import annotations

from ...ir.op import Level, Op
from ...ir.ops.control import Scan
from ...ir.ops.linalg import REFERENCE_ONLY, Factorization
from ...ir.ops.nn import AvgPool
from ...ir.ops.quant import Dequantize
from ...ir.ops.recurrent import Recurrence
from ...ir.ops.window import MaxPool
from ...ir.types import DType, bf16, f64
from . import (
    boxes,
    composites,
    contract,
    control,
    elementwise,
    move,
    order,
    patches,
    pointwise,
    quant,
    recurrent,
    window,
)
from .elementwise import Emitter

__all__ = ["EMITTERS", "LACKS", "NO_BF16", "reason_against"]

NO_BF16 = "onnxruntime's Python API passes no bf16 arrays"

EMITTERS: dict[str, Emitter] = {
    **elementwise.EMITTERS,
    **move.EMITTERS,
    **boxes.EMITTERS,
    **contract.EMITTERS,
    **window.EMITTERS,
    **patches.EMITTERS,
    **composites.EMITTERS,
    **control.EMITTERS,
    **pointwise.EMITTERS,
    **order.EMITTERS,
    **quant.EMITTERS,
    **recurrent.EMITTERS,
}
"""How each op becomes ONNX nodes."""

LACKS: dict[str, tuple[str, ...]] = {
    "erf": ("f64",),
    "atan2": ("f64",),
    "fma": ("f64",),
    "conv": ("f64",),
    "avg_pool": ("f64",),
    "batch_norm": ("f64",),
    "log_softmax": ("f64",),
    "max_pool": ("i64", "u64"),
    "quantize": ("f64",),
    "dequantize": ("i32",),
    "dynamic_quantize": ("f64",),
    **dict.fromkeys(("gelu", "hard_swish", "layer_norm"), ("f64",)),
    **dict.fromkeys(("rnn", "lstm", "gru"), ("f64",)),
}
"""Element types for which onnxruntime's CPU provider has no kernel, or one that does not serve, and for which no wider
type does: batch_norm and layer_norm keep eps in f32, log_softmax loses NaN, fma would need a product of 106 bits,
the zero point of an i32 must be 0."""


def reason_against(op: Op, dtypes: tuple[DType, ...]) -> str | None:
    """Why stock onnxruntime cannot run the op on these element types, or None."""
    if isinstance(op, Factorization):
        return REFERENCE_ONLY
    if op.mnemonic not in EMITTERS:
        if op.level is Level.NN:
            return "ONNX has no such node"
        return "ONNX has no such op"
    if any(d == bf16 for d in dtypes):
        return NO_BF16
    if isinstance(op, Scan) and isinstance(op.length, int) and op.length == 0:
        return "a scan without steps is no loop"
    if isinstance(op, MaxPool) and any(max(p) >= k for p, k in zip(op.padding, op.window, strict=True)):
        return "onnxruntime takes no padding as wide as the window without its dilation"
    if isinstance(op, Dequantize) and dtypes[1] == f64:
        return "ONNX has no f64 scale"
    if isinstance(op, AvgPool) and min(min(p) for p in op.padding) < 0:
        return "ONNX's AveragePool takes no negative padding"
    if isinstance(op, Recurrence) and (reason := recurrent.reason_against(op)) is not None:
        return reason
    lacking = [d for d in dtypes[:1] if d.name in LACKS.get(op.mnemonic, ())]
    if lacking:
        return f"onnxruntime's CPU provider has no kernel that serves {lacking[0]}"
    return None
