"""What of nervure works on this machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..ir.errors import NervureError

__all__ = ["Check", "checkup"]

NEEDED = ("numpy", "llvmlite", "onnx", "onnxruntime", "safetensors", "ml_dtypes", "click", "rich")
OPTIONAL = {
    "matplotlib": "[demo]", "mlxtend": "[demo]", "scikit-learn": "[sklearn]", "pillow": "[images]", "torch": "[torch]",
    "ziglang": "[build]",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name:  what
        ok:    True, False, or None where it is optional and missing
        found: what there is
        hint:  what helps
    """

    name: str
    ok: bool | None
    found: str
    hint: str = ""


def checkup() -> list[Check]:
    """Every check, in order: Python, the machine, packages, backends, the cache."""
    found = [Check("python", sys.version_info >= (3, 11), platform.python_version(), "")]
    found.append(Check("machine", True, f"{platform.system()} {platform.machine()}"))
    found += [_package(name, f"pip install {name}", True) for name in NEEDED]
    found += [_package(name, f"pip install 'nervure{extra}'", False) for name, extra in OPTIONAL.items()]
    found.append(_attempt("cpu", _cpu))
    for backend in ("reference", "onnx", "llvm"):
        found.append(_attempt(f"backend {backend}", lambda backend=backend: _backend(backend)))
    found.append(_attempt("onnxruntime providers", _providers))
    found.append(_cache())
    return found


def _package(name: str, hint: str, needed: bool) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False if needed else None, "not installed", hint)


def _attempt(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, True, work())
    except NervureError as error:
        return Check(name, False, str(error).replace("\n", " "))
    except (ImportError, OSError, RuntimeError) as error:
        return Check(name, False, f"{type(error).__name__}: {error}".replace("\n", " "))


def _cpu() -> str:
    from ..backends.llvm.target import host_target

    return str(host_target())


def _backend(name: str) -> str:
    """Compile a little network and compare it with numpy."""
    from ..compiling import compile as compile_
    from ..frontend import nn

    def network(x: Any) -> Any:
        return nn.tanh(x @ x.T)

    run = compile_(network, "f32[3,3]", backend=name)
    x = np.arange(9, dtype=np.float32).reshape(3, 3) / 8
    if not np.allclose(run(x), np.tanh(x @ x.T), atol=1e-6):
        raise NervureError("compiles, but computes wrong values")
    return "compiles and agrees with numpy"


def _providers() -> str:
    onnxruntime: Any = import_module("onnxruntime")
    return ", ".join(onnxruntime.get_available_providers())


def _cache() -> Check:
    from ..runtime.cache import cache_folder, cache_key, load, save

    folder = cache_folder()
    if folder is None:
        return Check("cache", None, "off (NERVURE_CACHE)")
    key = cache_key("doctor")
    ok = save(key, b"checkup") and load(key) == b"checkup"
    hint = "" if ok else "the folder must be yours alone (mode 0700) and no link"
    return Check("cache", ok, str(folder), hint)
