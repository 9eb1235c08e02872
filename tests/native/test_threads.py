"""Libraries with a pool: the same bits for any number of threads, over forks, and after they are unloaded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from networks import lenet

import nervure as nv
from nervure import nn
from nervure.backends.llvm.pool_text import pool_text
from nervure.backends.llvm.target import host_target

from .conftest import batch

pytestmark = pytest.mark.skipif(pool_text(host_target()) is None, reason="no thread pool for this machine")

SPEC = "f32[B,1,28,28]"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_any_number_of_threads_gives_the_same_bits(tmp_path: Path, cc: str) -> None:
    nv.seed(3)
    model, x = lenet(nn), batch((1, 28, 28), 150)
    nv.build(model, SPEC, output=tmp_path / "net.so", threads=True)
    want = nv.compile(model, SPEC, threads=1)(x)
    library = nv.load_native(tmp_path / "net.so")
    for threads in (1, 2, 3, 8):
        np.testing.assert_array_equal(nv.load_native(tmp_path / "net.so", threads=threads)(x), want)
    found: list[bool] = []
    callers = [
        threading.Thread(target=lambda: found.append(np.array_equal(library(x), want))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [True] * 4
    child = os.fork()
    if child == 0:
        os._exit(0 if all(np.array_equal(library(x), want) for _ in range(5)) else 1)
    assert os.waitpid(child, 0)[1] == 0


UNLOAD = """
import ctypes, sys, _ctypes, numpy as np
x, y = np.ones((300, 784), "f"), np.zeros((300, 10), "f")
for _ in range(20):
    library = ctypes.CDLL(sys.argv[1])
    arena = np.zeros(1 << 24, np.uint8)
    p = ctypes.c_void_p
    code = library.net_run(p(x.ctypes.data), p(y.ctypes.data), ctypes.c_int64(300), p(arena.ctypes.data),
                           ctypes.c_int64(arena.size), ctypes.c_int32(4))
    assert code == 0, code
    assert library.net_run(*[p(x.ctypes.data), p(y.ctypes.data), ctypes.c_int64(300), p(arena.ctypes.data),
                           ctypes.c_int64(arena.size), ctypes.c_int32(0)]) == 7
    _ctypes.dlclose(library._handle)
    assert sys.argv[1] not in open("/proc/self/maps").read()
print("unloaded")
"""


def test_a_library_can_be_unloaded_while_its_threads_sleep(tmp_path: Path, cc: str) -> None:
    nv.build(lenet(nn), SPEC, output=tmp_path / "net.so", threads=True)
    done = subprocess.run(
        [sys.executable, "-c", UNLOAD, str(tmp_path / "net.so")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "unloaded\n", done.stderr
