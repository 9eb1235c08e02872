"""The machine that code is made for: LLVM's triple, cpu and features, and the few numbers that schedules need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from ...ir.errors import BackendError

__all__ = ["Target", "host_target", "llvm", "make_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A machine.

    Args:
        triple, cpu, features: as LLVM takes them
        vector_bytes: of one register
        registers:    how many of them
        fma:          whether fused multiply-add is one instruction
        l1, l2:       bytes of cache a core, for block sizes
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool = True
    l1: int = 32 << 10
    l2: int = 512 << 10

    def lanes(self, element_bytes: int) -> int:
        """Elements of a register; at least 1."""
        return max(1, self.vector_bytes // element_bytes)

    def __str__(self) -> str:
        return f"{self.triple} {self.cpu}, {self.registers} registers of {self.vector_bytes} bytes"


@cache
def llvm() -> Any:
    """llvmlite's binding, initialised; it is untyped, so everything of it passes through here."""
    binding: Any = import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


_AVX512 = ("znver4", "znver5", "skylake-avx512", "skx", "cascadelake", "cooperlake", "icelake", "sapphirerapids",
           "emeraldrapids", "graniterapids", "rocketlake", "tigerlake", "x86-64-v4")  # fmt: skip
_AVX2 = (
    "znver",
    "haswell",
    "broadwell",
    "skylake",
    "alderlake",
    "raptorlake",
    "meteorlake",
    "arrowlake",
    "lunarlake",
    "x86-64-v3",
)


@cache
def host_target() -> Target:
    """This machine."""
    binding = llvm()
    features = binding.get_host_cpu_features()
    wanted = ",".join(sorted(f"{'+' if on else '-'}{name}" for name, on in features.items()))
    triple = binding.get_process_triple()
    if triple.startswith("x86_64"):
        wide, fma = (
            features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"),
            bool(features.get("fma")),
        )
        size, registers = (64, 32) if wide else (32, 16) if features.get("avx2") else (16, 16)
        return Target(triple, binding.get_host_cpu_name(), wanted, size, registers, fma)
    return _known(triple, binding.get_host_cpu_name(), wanted)


def make_target(cpu: str | None = None, triple: str | None = None, features: str = "") -> Target:
    """The target of that cpu and triple; this machine where neither is given.

    Raises:
        BackendError: LLVM has no such triple
    """
    if cpu in (None, "host", "native") and triple is None:
        return host_target()
    binding = llvm()
    if triple is not None:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        try:
            binding.Target.from_triple(triple)
        except RuntimeError as error:
            raise BackendError(f"no code for triple {triple}: {error}") from None
    return _known(triple or binding.get_process_triple(), cpu or "generic", features)


def _known(triple: str, cpu: str, features: str) -> Target:
    if triple.startswith(("x86_64", "amd64")):
        name = "x86-64" if cpu == "generic" else cpu
        if name.startswith(_AVX512) or "+avx512f" in features:
            return Target(triple, name, features, 64, 32)
        if name.startswith(_AVX2) or "+avx2" in features:
            return Target(triple, name, features, 32, 16)
        return Target(triple, name, features, 16, 16, fma="+fma" in features)
    if triple.startswith(("aarch64", "arm64")):
        return Target(triple, cpu, features, 16, 32)
    return Target(triple, cpu, features, 16, 16, fma=False)
