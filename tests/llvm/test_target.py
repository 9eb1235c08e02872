"""Targets by name: CPUs, triples in full and short, and names that stand for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nervure as nv
from nervure.backends.llvm import cpus
from nervure.backends.llvm.target import host_target, make_target, runnable_target, target_for
from nervure.ir.errors import BackendError


@pytest.mark.parametrize("name", ["host", "native", None])
def test_the_host_has_three_names(name: str | None) -> None:
    assert target_for(name) == host_target()


@pytest.mark.parametrize(
    ("name", "triple", "cpu", "vector_bytes", "registers"),
    [
        ("aarch64-linux", "aarch64-unknown-linux-gnu", "generic", 16, 32),
        ("aarch64-linux:cortex-a72", "aarch64-unknown-linux-gnu", "cortex-a72", 16, 32),
        ("arm64-macos", "arm64-apple-macosx11.0.0", "generic", 16, 32),
        ("x86_64-linux:haswell", "x86_64-unknown-linux-gnu", "haswell", 32, 16),
        ("x86_64-linux:skylake-avx512", "x86_64-unknown-linux-gnu", "skylake-avx512", 64, 32),
        ("x86_64-windows", "x86_64-pc-windows-gnu", "x86-64", 16, 16),
        ("wasm32", "wasm32-unknown-unknown", "generic", 16, 16),
        ("wasm32-wasi", "wasm32-unknown-wasi", "generic", 16, 16),
        ("armv7-linux-gnueabihf", "armv7-linux-gnueabihf", "generic", 16, 16),
    ],
)
def test_a_name_gives_triple_cpu_and_registers(
    name: str, triple: str, cpu: str, vector_bytes: int, registers: int
) -> None:
    found = target_for(name)
    assert (found.triple, found.cpu) == (triple, cpu)
    assert (found.vector_bytes, found.registers) == (vector_bytes, registers)


@pytest.mark.skipif(
    host_target().arch != "x86_64", reason="CPU names of x86-64 alone need no triple there only"
)
def test_a_cpu_alone_is_one_of_this_machine_s_kind() -> None:
    assert target_for("haswell") == make_target("haswell")
    with pytest.raises(BackendError, match="another kind") as caught:
        target_for("cortex-a72")
    assert caught.value.hint == "write aarch64-linux:cortex-a72"


def test_code_for_another_machine_is_not_run_here() -> None:
    assert runnable_target(None) == host_target()
    other = "aarch64-linux" if host_target().arch == "x86_64" else "x86_64-linux"
    with pytest.raises(BackendError, match="does not run here"):
        nv.compile(lambda x: x + 1, "f32[3]", target=other)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("hasswell", "no CPU or triple is named hasswell", "did you mean haswell"),
        ("aarch64-lunix", "no system of a triple is named lunix", "did you mean linux"),
        ("aarch64-linux:cortex-a73x", "no CPU of aarch64", "did you mean cortex-a73"),
        ("nonsense-none-none", "no code for triple", "for example"),
        ("aarch64-foo-bar", "names no system", "aarch64"),
        ("riscv64-linux:rocket-science", "no CPU of riscv64", None),
        ("", "no CPU or triple is named", "for example"),
    ],
)
def test_an_unknown_name_is_an_error_with_what_is_close(name: str, message: str, hint: str | None) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        target_for(name)
    assert (caught.value.hint is None) if hint is None else (hint in str(caught.value.hint))


def test_llvm_knows_every_cpu_of_the_lists() -> None:
    """LLVM warns on standard error of a name that it does not know."""
    code = """
import sys
from nervure.backends.llvm.target import llvm, target_for
for pair in sys.argv[1:]:
    t = target_for(pair)
    llvm().Target.from_triple(t.triple).create_target_machine(cpu=t.cpu, features=t.features)
"""
    x86 = (*cpus.X86_AVX512, *cpus.X86_AVX2, *cpus.X86_SSE)
    names = [f"x86_64-linux:{c}" for c in x86] + [f"aarch64-linux:{c}" for c in cpus.AARCH64]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert done.stderr == ""
