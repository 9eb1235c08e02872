"""Objects are loaded without LLVM; what the loader does not know goes to LLVM."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from nervure.backends.llvm.elf import LoadedElf, MissingSymbol, load_elf
from nervure.backends.llvm.jit import load_object
from nervure.backends.llvm.objects import compile_object
from nervure.backends.llvm.target import host_target

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the loader is for x86-64 Linux"
)

TEXT = """
@state = internal global i64 5
@table = internal constant [3 x i64] [i64 7, i64 11, i64 13]
@pointers = internal constant [2 x ptr] [ptr @state, ptr @table]
declare double @exp(double)
declare i64 @nv_given(i64)
define i64 @count(i64 %n) nounwind {
  %at = getelementptr [3 x i64], ptr @table, i64 0, i64 %n
  %x = load i64, ptr %at
  %slot = load ptr, ptr @pointers
  %old = load i64, ptr %slot
  %new = add i64 %old, %x
  store i64 %new, ptr @state
  ret i64 %new
}
define i64 @both(i64 %n) nounwind {
  %a = call i64 @nv_given(i64 %n)
  %b = call double @exp(double 0.0)
  %c = fptosi double %b to i64
  %d = add i64 %a, %c
  ret i64 %d
}
define ptr @where() nounwind {
  ret ptr @nv_given
}
"""


def test_code_data_and_functions_of_others_are_linked() -> None:
    import ctypes

    callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda n: 100 * n)
    given = ctypes.cast(callback, ctypes.c_void_p).value or 0
    data = compile_object(TEXT, host_target(), cached=False)
    loaded = load_object(data, ("count", "both", "where"), {"nv_given": given})
    assert isinstance(loaded, LoadedElf)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    count = kind(loaded.address("count"))
    assert [count(0), count(1), count(2)] == [12, 23, 36]
    assert kind(loaded.address("both"))(3) == 301
    assert ctypes.CFUNCTYPE(ctypes.c_void_p)(loaded.address("where"))() == given
    again = load_object(data, ("count",), {"nv_given": given})
    assert kind(again.address("count"))(0) == 12, "each object has data of its own"
    loaded.close()
    loaded.close()


def test_what_is_not_there_is_an_error_and_what_is_not_known_is_left() -> None:
    data = compile_object(TEXT, host_target(), cached=False)
    with pytest.raises(MissingSymbol, match="nv_given"):
        load_elf(data, ("count",), {})
    with pytest.raises(MissingSymbol, match="nothing"):
        load_elf(data, ("nothing",), {"nv_given": 1})
    foreign = bytearray(data)
    foreign[18] = 183  # aarch64
    assert load_elf(bytes(foreign), ("count",), {"nv_given": 1}) is None
    for size in (0, 10, 64, len(data) // 2, len(data) - 1):
        assert load_elf(data[:size], ("count",), {"nv_given": 1}) is None


def test_a_process_that_finds_all_in_the_cache_does_not_load_llvm(tmp_path: Path) -> None:
    program = """
import numpy as np, nervure as nv
from nervure import nn
nv.seed(0)
run = nv.compile(nn.Sequential(nn.Linear(8, 300), nn.GELU(), nn.Linear(300, 2)), "f32[B,8]")
print(run(np.ones((64, 8), np.float32))[0].tolist())
print("libllvmlite" in open("/proc/self/maps").read())
"""
    found: list[list[str]] = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"NERVURE_CACHE": str(tmp_path / "cache"), "PATH": ""},
        )
        found.append(done.stdout.splitlines())
    assert [lines[1] for lines in found] == ["True", "False"]
    assert found[0][0] == found[1][0]


def test_memory_is_given_back() -> None:
    data = compile_object(TEXT, host_target(), cached=False)

    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    def load_many(count: int) -> None:
        for _ in range(count):
            load_object(data, ("count",), {"nv_given": 1}).close()

    load_many(50)
    before = held()
    load_many(1000)
    assert held() - before < 100, "pages after a thousand objects"
