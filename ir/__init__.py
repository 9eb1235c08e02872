"""What a program is: types, ops, values, graphs, the store, text, and the reference evaluator."""

from __future__ import annotations

if __name__ != "nervure.ir":
    raise ImportError(f"this folder is nervure.ir, not {__name__}: import nervure.ir")

from . import ops

__all__ = ["ops"]
