"""A program that runs asks for no memory: malloc, its kin and mmap are counted between two marks, in all threads of a process."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNTER = r"""
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static volatile int counting;
static long calls;

static void one(void) {
    if (counting) __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
}
void count_begin(void) { calls = 0; counting = 1; }
long count_end(void) { counting = 0; return calls; }

void *malloc(size_t n) { one(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { one(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { one(); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { one(); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { one(); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    one();
    *p = __libc_memalign(a, n);
    return *p ? 0 : ENOMEM;
}
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    one();
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}
"""

PROGRAM = """
import ctypes, os, sys
import numpy as np
import nervure as nv
from nervure import nn, optim, zoo

kind, threads = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
if kind == "inference":
    run = nv.compile(zoo.LeNet5(), "f32[B,1,28,28]", threads=threads, cache=False)
    given = (rng.standard_normal((64, 1, 28, 28)).astype("f4"),)
elif kind == "recurrent":
    run = nv.compile(nn.LSTM(16, 128, batch_first=True), "f32[B,20,16]", threads=threads, cache=False)
    given = (rng.standard_normal((32, 20, 16)).astype("f4"),)
else:
    step = nv.training_step(
        zoo.LeNet5(), nn.cross_entropy, optim.SGD(lr=0.01, momentum=0.9), "f32[B,1,28,28]", "i64[B]"
    )
    run = nv.compile(step, threads=threads, cache=False)
    given = (rng.standard_normal((64, 1, 28, 28)).astype("f4"), rng.integers(0, 10, 64))

counter = ctypes.CDLL(os.environ["LD_PRELOAD"])
begin, end = counter.count_begin, counter.count_end
results = run(*given)
out = results if isinstance(results, tuple) else (results,)
call = run.raw(*given, out=results)
for _ in range(20):
    call()

def count(calls):
    begin()
    for _ in range(calls):
        call()
    return end()

count(2)
begin()
kept = np.empty(1 << 20)
print("an array", end())
print("calls", count(100))
"""


@pytest.fixture(scope="module", name="counter")
def counter_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        pytest.skip("counting allocations needs a C compiler and glibc")
    folder = tmp_path_factory.mktemp("counter")
    (folder / "counter.c").write_text(COUNTER)
    library = folder / "counter.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", str(folder / "counter.c"), "-o", str(library)], check=True
    )
    return library


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["inference", "recurrent", "training"])
def test_a_warm_run_asks_for_no_memory(counter: Path, kind: str, threads: int) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(threads)],
        env={**os.environ, "LD_PRELOAD": str(counter)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    counts = dict(line.rsplit(" ", 1) for line in found.stdout.splitlines())
    assert int(counts["an array"]) > 0, "the counter counts nothing"
    assert int(counts["calls"]) == 0
