"""Large results lie on 64-byte boundaries, and are arrays like any other."""

from __future__ import annotations

import copy
import ctypes
import gc
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from calling import Calls, array

from nervure.backends.llvm.call.trampoline import trampoline
from nervure.runtime import interpreter, placing

pytestmark = pytest.mark.skipif(interpreter.refusal() is not None, reason="calls go through ctypes here")
get_handler_name: Any = np._core.multiarray.get_handler_name  # type: ignore[attr-defined]
OURS = "nervure_lines_of_64_bytes"


def doubled() -> Calls:
    calls = Calls(lambda x: x + x, "f32[N:0..100000]")
    calls(array(1), fast=False)
    return calls


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 5000, 99_999])
def test_large_results_lie_on_a_boundary_and_own_their_memory(size: int) -> None:
    calls = doubled()
    x = array(size)
    plain = np.empty(size, "f4")
    for y in (calls.run(x), calls(x), calls(x), calls.run.raw(x).outputs[0]):
        large = y.nbytes >= placing.LEAST
        assert get_handler_name(y) == (OURS if large else get_handler_name(plain))
        assert y.ctypes.data % (64 if large else 16) == 0
        assert y.flags.num == plain.flags.num
        assert y.base is None
        assert y.strides == plain.strides
    np.testing.assert_array_equal(calls(x), x + x)


def test_results_of_several_axes_look_as_numpys() -> None:
    calls = Calls(lambda x: (x.transpose(1, 0), x * 2), "f64[50,60]")
    x = np.random.default_rng(0).standard_normal((50, 60))
    calls(x, fast=False)
    for y, want in zip(calls(x), (x.T, x * 2), strict=True):
        np.testing.assert_array_equal(y, want)
        assert y.flags.num == np.empty(want.shape).flags.num
        assert y.ctypes.data % 64 == 0


def test_results_grow_and_shrink_in_place() -> None:
    calls = doubled()
    x = array(50_000)
    for sizes in ((60_000, 4_096, 7, 30_000), (50_001, 49_999, 99_999), (1, 1_000_000, 0, 5)):
        y, want = calls(x), x + x
        for size in sizes:
            kept = min(size, len(want))
            y.resize(size, refcheck=False)
            want = np.concatenate([want[:kept], np.zeros(size - kept, "f4")])
            np.testing.assert_array_equal(y, want)
        y += 1
        del y


def test_results_are_lent_copied_and_freed_anywhere() -> None:
    calls = doubled()
    x = array(20_000)
    want = x + x
    y = calls(x)
    lent, view, seen = np.from_dlpack(y), y[5:].reshape(5, -1)[1:], memoryview(y)
    again = copy.deepcopy(y)
    del y
    gc.collect()
    others = [calls(x) for _ in range(20)]
    for got, expected in (
        (lent, want),
        (view, want[5:].reshape(5, -1)[1:]),
        (np.asarray(seen), want),
        (again, want),
    ):
        np.testing.assert_array_equal(got, expected)
    worker = threading.Thread(target=others.clear)
    worker.start()
    worker.join()
    np.testing.assert_array_equal(calls(x), want)


def test_tracemalloc_sees_results_come_and_go() -> None:
    calls = doubled()
    x = array(100_000)
    calls(x)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [calls(x) for _ in range(10)]
        assert tracemalloc.get_traced_memory()[0] - before >= 10 * x.nbytes
        kept.clear()
        assert tracemalloc.get_traced_memory()[0] - before < x.nbytes
    finally:
        tracemalloc.stop()


@contextmanager
def handler(capsule: Any) -> Iterator[None]:
    """NumPy asks this allocator."""
    address = interpreter.array_functions(305)[304]
    change: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
    before = change(capsule)
    try:
        yield
    finally:
        change(before)


def test_an_allocator_of_the_programs_own_is_asked() -> None:
    calls = doubled()
    x = array(20_000)
    found = trampoline()
    assert found is not None
    usual = ctypes.string_at(found.memory.plain, 168)
    theirs = ctypes.create_string_buffer(b"theirs".ljust(127, b"\0") + usual[127:])
    make: Any = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule = make(ctypes.addressof(theirs), placing._NAME, None)  # pyright: ignore[reportPrivateUsage]
    with handler(capsule):
        assert get_handler_name(calls(x)) == "theirs"
    assert get_handler_name(calls(x)) == OURS


def test_the_allocator_serves_numpy_itself() -> None:
    found = trampoline()
    assert found is not None
    with handler(ctypes.cast(found.memory.handler, ctypes.py_object).value):
        for size in (0, 1, 100, 1_000, 100_000):
            zeros, fresh = np.zeros(size), np.empty(size, "f4")
            assert zeros.ctypes.data % 64 == fresh.ctypes.data % 64 == 0
            assert get_handler_name(zeros) in (OURS, None)
            assert not zeros.any()
            fresh[:] = 1
            zeros.resize(3 * size, refcheck=False)
            assert not zeros.any()
            del zeros, fresh


def test_other_structures_leave_arrays_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "_OWNER", 80)
    found = trampoline()
    assert found is not None
    table = placing.memory_table(dict.fromkeys(placing.ALLOCATOR, 0))
    monkeypatch.setattr(found, "memory", table)
    assert get_handler_name(found.empty((5000,), np.dtype("f8"))) == get_handler_name(np.empty(5000))


def test_results_without_number_take_no_memory() -> None:
    calls = doubled()
    x = array(100_000)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(50):
        calls(x)
    before = resident()
    for _ in range(3000):
        calls(x)
    assert resident() - before < 4 * x.nbytes
