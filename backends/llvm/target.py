"""The machine that code is made for: LLVM's triple, cpu and features, and the few numbers that schedules need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from ...ir.errors import BackendError
from .cpus import AARCH64, X86_AVX2, X86_AVX512, X86_FMA, X86_SSE
from .host import Facts, facts

__all__ = ["Target", "host_target", "llvm", "make_target", "runnable_target", "target_for"]


@dataclass(frozen=True, slots=True)
class Target:
    """A machine.

    Args:
        triple, cpu, features: as LLVM takes them
        vector_bytes: of one register
        registers:    how many of them
        fma:          whether fused multiply-add is one instruction
        l1, l2:       bytes of cache a core, for block sizes
        winograd:     whether 3 x 3 convolutions may be computed by Winograd's transforms, whose error is larger
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool = True
    l1: int = 32 << 10
    l2: int = 512 << 10
    winograd: bool = True

    def lanes(self, element_bytes: int) -> int:
        """Elements of a register; at least 1."""
        return max(1, self.vector_bytes // element_bytes)

    @property
    def arch(self) -> str:
        """The first part of the triple, under one name for each architecture."""
        return _ARCHITECTURES.get(self.triple.split("-")[0], self.triple.split("-")[0])

    @property
    def system(self) -> str:
        """linux, windows, macos, wasm, or other."""
        if self.arch == "wasm32":
            return "wasm"
        rest = self.triple.split("-", 1)[-1]
        for word, name in (
            ("linux", "linux"),
            ("windows", "windows"),
            ("macos", "macos"),
            ("darwin", "macos"),
        ):
            if word in rest:
                return name
        return "other"

    @property
    def pointer_bytes(self) -> int:
        return 4 if self.arch in ("wasm32", "arm") else 8

    def __str__(self) -> str:
        return f"{self.triple} {self.cpu}, {self.registers} registers of {self.vector_bytes} bytes"


@cache
def llvm() -> Any:
    """llvmlite's binding, initialised; it is untyped, so everything of it passes through here."""
    binding: Any = import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def _all_targets() -> Any:
    binding = llvm()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding


@cache
def host_target() -> Target:
    """This machine."""
    triple, cpu, features = facts(_asked)
    wanted = ",".join(sorted(f"{'+' if on else '-'}{name}" for name, on in features.items()))
    if triple.startswith("x86_64"):
        wide, fma = (
            features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"),
            bool(features.get("fma")),
        )
        size, registers = (64, 32) if wide else (32, 16) if features.get("avx2") else (16, 16)
        return Target(triple, cpu, wanted, size, registers, fma)
    return _known(triple, cpu, wanted)


def _asked() -> Facts:
    binding = llvm()
    return binding.get_process_triple(), binding.get_host_cpu_name(), dict(binding.get_host_cpu_features())


def target_for(name: str | None) -> Target:
    """The target that a person names.

    Args:
        name: ``host`` or None for this machine; a CPU of this machine's kind (``haswell``, ``x86-64-v2``); a triple, in full or
            short (``aarch64-linux``, ``x86_64-windows``, ``wasm32``); or ``TRIPLE:CPU``

    Raises:
        BackendError: there is no such triple or CPU
    """
    if name in (None, "host", "native"):
        return host_target()
    triple, colon, cpu = name.partition(":")
    if colon:
        return make_target(cpu, triple)
    if name in _CPUS.get(Target(llvm().get_process_triple(), "", "", 0, 0).arch, ()):
        return make_target(name)
    short = triple.split("-")[0] in (*_ARCHITECTURES, *_PLAIN)
    if name not in _CPU_NAMES and (short or triple.count("-") >= 2):
        return make_target(None, triple)
    for arch, known in _CPUS.items():
        if name in known:
            raise BackendError(
                f"{name} is a CPU of another kind than this machine's",
                hint=f"write {arch}-linux:{name}",
                code="NV0503",
            )
    raise BackendError(
        f"no CPU or triple is named {name}", hint=_close(name, (*_CPU_NAMES, *_EXAMPLES)), code="NV0503"
    )


def runnable_target(name: str | Target | None) -> Target:
    """The target of that name, or a given one, where its code runs here.

    Raises:
        BackendError: there is no such target, or it is another kind of machine, or this one lacks its vectors
    """
    found, host = name if isinstance(name, Target) else target_for(name), host_target()
    if found.triple != host.triple:
        raise BackendError(f"code for {found.triple} does not run here, on {host.triple}", code="NV0503")
    if found.vector_bytes > host.vector_bytes or (found.fma and not host.fma):
        raise BackendError(
            f"code for {found.cpu} does not run here: this machine lacks its vectors", code="NV0503"
        )
    return found


def make_target(cpu: str | None = None, triple: str | None = None, features: str = "") -> Target:
    """The target of that cpu and triple; this machine where neither is given.

    Raises:
        BackendError: LLVM has no such triple, or the triple's architecture no such cpu
    """
    if cpu in (None, "host", "native") and triple is None:
        return host_target()
    chosen = llvm().get_process_triple() if triple is None else _full_triple(triple)
    found = _known(chosen, cpu or "generic", features)
    if found.cpu not in _CPUS.get(found.arch, ("generic",)):
        known = _CPUS.get(found.arch, ("generic",))
        close = get_close_matches(found.cpu, known, 1)
        raise BackendError(
            f"no CPU of {found.arch} is named {cpu}",
            hint=f"did you mean {close[0]}?" if close else None,
            code="NV0503",
        )
    return found


_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_PLAIN = ("wasm32", "riscv64")
_SYSTEMS = {
    "linux": "unknown-linux-gnu",
    "windows": "pc-windows-gnu",
    "macos": "apple-macosx11.0.0",
    "freebsd": "unknown-freebsd",
    "wasi": "unknown-wasi",
    "freestanding": "unknown-unknown",
}
"""What stands behind the architecture of a short triple."""
_LLVM_SYSTEMS = (*_SYSTEMS, "darwin", "macosx", "ios", "none", "unknown", "netbsd", "openbsd", "android")
_EXAMPLES = ("aarch64-linux", "x86_64-linux", "x86_64-windows", "aarch64-macos", "wasm32", "riscv64-linux")
_CPUS: dict[str, frozenset[str]] = {
    "x86_64": frozenset((*X86_AVX512, *X86_AVX2, *X86_SSE)),
    "aarch64": frozenset(AARCH64),
}
_CPU_NAMES = tuple(sorted(frozenset[str]().union(*_CPUS.values()) - {"generic"}))


def _full_triple(triple: str) -> str:
    """The triple as LLVM writes it."""
    arch, *rest = triple.split("-")
    if arch in (*_ARCHITECTURES, *_PLAIN) and len(rest) <= 1:
        system = rest[0] if rest else "freestanding" if arch == "wasm32" else "linux"
        if system not in _SYSTEMS:
            raise BackendError(
                f"no system of a triple is named {system}", hint=_close(system, _SYSTEMS), code="NV0503"
            )
        return f"{arch}-{_SYSTEMS[system]}"
    if arch in (*_ARCHITECTURES, *_PLAIN) and not any(p.startswith(_LLVM_SYSTEMS) for p in rest):
        raise BackendError(f"triple {triple} names no system", hint=_close(triple, _EXAMPLES), code="NV0503")
    try:
        _all_targets().Target.from_triple(triple)
    except RuntimeError as error:
        raise BackendError(
            f"no code for triple {triple}: {error}", hint=_close(triple, _EXAMPLES), code="NV0503"
        ) from None
    return triple


def _close(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), 1)
    return f"did you mean {found[0]}?" if found else f"for example {', '.join(_EXAMPLES)}, haswell, x86-64-v2"


def _known(triple: str, cpu: str, features: str) -> Target:
    _all_targets()
    if triple.startswith(("x86_64", "amd64")):
        name = "x86-64" if cpu == "generic" else cpu
        if name in X86_AVX512 or "+avx512f" in features:
            return Target(triple, name, features, 64, 32)
        if name in X86_AVX2 or "+avx2" in features:
            return Target(triple, name, features, 32, 16)
        return Target(triple, name, features, 16, 16, fma=name in X86_FMA or "+fma" in features)
    if triple.startswith(("aarch64", "arm64")):
        return Target(triple, cpu, features, 16, 32)
    if triple.startswith("riscv64"):  # what every 64-bit system of it has
        return Target(triple, cpu, features or "+m,+a,+f,+d,+c", 16, 16, fma=False)
    if triple.startswith("wasm32"):
        return Target(triple, cpu, features or "+simd128,+bulk-memory", 16, 16, fma=False)
    return Target(triple, cpu, features, 16, 16, fma=False)
