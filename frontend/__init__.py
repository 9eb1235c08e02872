"""How a program is written: tensors that trace, modules and layers, optimisers."""

from __future__ import annotations

if __name__ != "nervure.frontend":
    raise ImportError(f"this folder is nervure.frontend, not {__name__}: import nervure.frontend")
