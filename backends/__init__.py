"""How a program becomes something that runs: reference, onnx, llvm."""

from __future__ import annotations

if __name__ != "nervure.backends":
    raise ImportError(f"this folder is nervure.backends, not {__name__}: import nervure.backends")
