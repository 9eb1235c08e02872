"""How a program is improved: rules, fusion, unrolling, autodiff, pipelines."""

from __future__ import annotations

if __name__ != "nervure.passes":
    raise ImportError(f"this folder is nervure.passes, not {__name__}: import nervure.passes")
