"""What runs: signatures, the call, the object cache, native contexts."""

from __future__ import annotations

if __name__ != "nervure.runtime":
    raise ImportError(f"this folder is nervure.runtime, not {__name__}: import nervure.runtime")
