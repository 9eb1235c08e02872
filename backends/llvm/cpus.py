"""The CPUs that LLVM knows, by the vectors they have. LLVM takes an unknown name with a warning; we refuse it by these lists."""

from __future__ import annotations

__all__ = ["AARCH64", "X86_AVX2", "X86_AVX512", "X86_FMA", "X86_SSE"]

X86_AVX512: tuple[str, ...] = (
    "x86-64-v4", "skylake-avx512", "skx", "cascadelake", "cooperlake", "cannonlake", "icelake-client", "icelake-server",
    "tigerlake", "rocketlake", "sapphirerapids", "emeraldrapids", "graniterapids", "graniterapids-d", "diamondrapids",
    "znver4", "znver5",
)  # fmt: skip
"""With AVX-512 F, VL and DQ: 32 registers of 64 bytes."""

X86_AVX2: tuple[str, ...] = (
    "x86-64-v3", "haswell", "broadwell", "skylake", "core-avx2", "alderlake", "raptorlake", "meteorlake", "arrowlake",
    "arrowlake-s", "lunarlake", "pantherlake", "wildcatlake", "novalake", "gracemont", "sierraforest", "grandridge",
    "clearwaterforest", "knl", "knm", "bdver4", "znver1", "znver2", "znver3",
)  # fmt: skip
"""With AVX2 and FMA: 16 registers of 32 bytes."""

X86_FMA: tuple[str, ...] = ("bdver2", "bdver3")
"""Without AVX2, but with FMA."""

X86_SSE: tuple[str, ...] = (
    "generic", "x86-64", "x86-64-v2", *X86_FMA, "bdver1", "btver1", "btver2", "amdfam10", "barcelona", "k8", "k8-sse3",
    "athlon64", "athlon64-sse3", "opteron", "opteron-sse3", "nocona", "core2", "penryn", "nehalem", "corei7", "westmere",
    "sandybridge", "corei7-avx", "ivybridge", "core-avx-i", "bonnell", "atom", "silvermont", "slm", "goldmont",
    "goldmont-plus", "tremont",
)  # fmt: skip
"""16 registers, of which 16 bytes are used."""

AARCH64: tuple[str, ...] = (
    "generic", "a64fx", "ampere1", "ampere1a", "ampere1b", "apple-a10", "apple-a11", "apple-a12", "apple-a13", "apple-a14",
    "apple-a15", "apple-a16", "apple-a17", "apple-a18", "apple-m1", "apple-m2", "apple-m3", "apple-m4", "carmel",
    "cobalt-100", "cortex-a34", "cortex-a35", "cortex-a53", "cortex-a55", "cortex-a57", "cortex-a65", "cortex-a72",
    "cortex-a73", "cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78", "cortex-a510", "cortex-a520", "cortex-a710",
    "cortex-a715", "cortex-a720", "cortex-a725", "cortex-x1", "cortex-x2", "cortex-x3", "cortex-x4", "cortex-x925",
    "grace", "kryo", "neoverse-512tvb", "neoverse-e1", "neoverse-n1", "neoverse-n2", "neoverse-n3", "neoverse-v1",
    "neoverse-v2", "neoverse-v3", "oryon-1", "thunderx2t99", "thunderx3t110", "tsv110",
)  # fmt: skip
"""32 registers of 16 bytes; wider vectors of some are not used."""
