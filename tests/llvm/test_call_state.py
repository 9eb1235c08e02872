"""What calls share: weights, training steps, threads, references; and raw calls."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calling import Calls, Lent, array, linear, several, training

import nervure as nv
from nervure import nn
from nervure.backends.llvm import executable as executables
from nervure.ir.errors import InputError
from nervure.ir.types import dtype_of
from nervure.runtime import interpreter
from nervure.runtime.executable import Executable


def labelled(dtype: str) -> Calls:
    nv.seed(0)
    model = nn.Linear(4, 3)
    calls = Calls(lambda x, y: nn.cross_entropy(model(x), y), "f32[B,4]", f"{dtype}[B]")
    calls(array(2, 4), np.zeros(2, dtype_of(dtype).numpy), fast=False)
    return calls


@pytest.mark.parametrize(("dtype", "code"), [("i64", "i8"), ("i32", "i4")])
def test_labels_outside_their_range_are_errors(dtype: str, code: str) -> None:
    calls = labelled(dtype)
    x = array(5, 4)
    calls.run(x, np.zeros(5, code))
    good = calls(x, np.array([0, 2, 1, 2, 0], code))
    assert np.isfinite(good)
    for wrong in (3, -1, 99):
        with pytest.raises(InputError, match=rf"{wrong} at \[3\] is outside 0\.\.2"):
            calls.run(x, np.array([0, 1, 2, wrong, 0], code))
    np.testing.assert_array_equal(calls(x, np.array([0, 2, 1, 2, 0], code)), good)


def test_weights_that_changed_are_seen_at_the_next_call() -> None:
    calls = linear()
    x = array(2, 7)
    calls.run(x)
    weight, bias = calls.run.store.values()
    for scale in (1.0, 2.0, -0.5):
        new = array(*weight.data.shape, seed=5) * np.float32(scale)
        weight.assign(new)
        want = x @ new.T + bias.data
        np.testing.assert_allclose(calls(x, fast=False), want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(calls(x), want, rtol=1e-5, atol=1e-5)


def test_training_steps_take_no_frame_and_inference_sees_each() -> None:
    _, step, infer = training()
    x, y = array(8, 4), np.arange(8) % 3
    infer.run(x)  # makes what it prepares from the weights part of the store
    losses = [float(step(x, y, fast=False))]
    state = step.run.state_dict()
    for n in range(10):
        losses.append(float(step(x, y)))
        before = infer.run(x)
        if n:
            np.testing.assert_array_equal(infer(x), before)
    assert losses[-1] < losses[0]
    step.run.load_state_dict(state)
    again = [float(step(x, y, fast=n > 0)) for n in range(10)]
    assert again == losses[1:]


def test_training_in_threads_loses_no_step() -> None:
    _, step, _ = training()
    x, y = array(8, 4), np.arange(8) % 3
    step.run(x, y)
    each = step.run.store.ledger.version
    step.run(x, y)
    each = step.run.store.ledger.version - each

    def work() -> None:
        for _ in range(200):
            step.run(x, y)

    begin = step.run.store.ledger.version
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert step.run.store.ledger.version == begin + 800 * each


def test_the_same_bits_from_many_threads() -> None:
    calls = linear()
    inputs = [array(rows, 7, seed=rows) for rows in (1, 5, 64, 2)]
    wants = [calls.run(x) for x in inputs]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for n in range(1000):
            k = (n + seed) % 4
            if not (calls.run(inputs[k]) == wants[k]).all():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_other_threads_go_on_beside_a_long_kernel() -> None:
    run = nv.compile(lambda a, b: a @ b, "f32[700,700]", "f32[700,700]", threads=1)
    a = array(700, 700)
    run(a, a)
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1.0)  # the counter gets a turn only where the call gives it one
    thread.start()
    try:
        time.sleep(0.01)
        before = counted[0]
        for _ in range(3):
            run(a, a)
        assert counted[0] > before + 100
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()


def test_references_are_counted_right() -> None:
    calls = several()
    a, b, c = array(2, 3), array(2, 3, seed=1), np.arange(3)
    out = np.zeros((2, 3), "f4"), np.zeros(3, "i8"), np.zeros((), "f4")
    calls.run(a, b, c)
    dtype = a.dtype
    watched = [a, b, c, out, *out, dtype, calls.run, Executable.__call__, b"".__class__]
    gc.collect()  # what other tests left, which may hold Executable.__call__
    before = [sys.getrefcount(x) for x in watched]
    for _ in range(500):
        calls.run(a, b, c)
        calls.run(a, b, c, out=out)
        with pytest.raises(InputError):
            calls.run(a, b)
        with pytest.raises(InputError):
            calls.run(a, b, c, out=out[:2])
        with pytest.raises(InputError):
            calls.run(a, b, c, out=(a, *out[1:]))
    assert [sys.getrefcount(x) for x in watched] == before


def test_calls_leak_nothing() -> None:
    import tracemalloc

    calls = several()
    a, b, c = array(2, 3), array(2, 3, seed=1), np.arange(3)
    calls.run(a, b, c)
    tracemalloc.start()
    try:
        for _ in range(100):
            calls.run(a, b, c)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            calls.run(a, b, c)
        assert tracemalloc.get_traced_memory()[0] - first < 10_000
    finally:
        tracemalloc.stop()


def test_executables_are_given_back() -> None:
    run = nv.compile(nn.Linear(3, 2), "f32[B,3]")
    run(array(1, 3))
    run(array(1, 3))
    go = run.raw(array(1, 3))
    go()
    dead = weakref.ref(run)
    del run, go
    gc.collect()
    assert dead() is None


def test_what_is_over_max_memory_is_refused_at_each_call() -> None:
    run = nv.compile(
        nn.Sequential(nn.Linear(64, 64), nn.Softmax(-1), nn.Linear(64, 64), nn.Softmax(-1)),
        "f32[B,64]",
        max_memory=200_000,
    )
    run(array(4, 64))
    for _ in range(2):
        run(array(4, 64))
        with pytest.raises(InputError, match="max_memory is 200000"):
            run(array(4000, 64))


def test_a_new_signature_is_looked_at_again() -> None:
    calls = linear()
    calls(array(2, 7))
    calls.run.signature = calls.run.signature
    calls(array(2, 7), fast=False)
    calls(array(2, 7))


def test_executables_are_called_in_every_way_that_python_has() -> None:
    from functools import partial

    calls = linear()
    x = array(2, 7)
    want = calls.run(x)
    for got in (
        calls.run.__call__(x),
        calls.run(*[x]),
        calls.run(*[x]),
        partial(calls.run, x)(),
        next(map(calls.run, [x])),
        type(calls.run).__call__(calls.run, x),
    ):
        np.testing.assert_array_equal(got, want)
    assert callable(calls.run)
    assert isinstance(calls.run, Executable)
    assert type(calls.run).__name__ == "LLVMExecutable"


def test_checks_of_content_are_made_at_each_call() -> None:
    calls = linear()

    def refuse(x: Any, name: str) -> None:
        if x[0, 0] == 99:
            raise InputError(f"{name}: 99")

    calls.run.signature = replace(calls.run.signature, checks=((0, refuse),))
    x = array(2, 7)
    calls(x, fast=False)
    calls(x, fast=False)
    x[0, 0] = 99
    with pytest.raises(InputError, match="input x: 99"):
        calls.run(x)


def test_steps_can_be_timed_between_calls() -> None:
    calls = linear()
    x = array(2, 7)
    want = calls.run(x)
    calls.run.stamped([x], {"B": 2}, 0)
    np.testing.assert_array_equal(calls(x), want)


def test_a_raw_call_runs_again_on_what_lies_there() -> None:
    calls = linear()
    x = array(3, 7)
    go = calls.run.raw(x)
    before = calls.slow
    assert go() is None
    np.testing.assert_array_equal(go.outputs[0], calls.run(x))
    go()
    x[...] = array(3, 7, seed=9)
    go()
    np.testing.assert_array_equal(go.outputs[0], calls.run(x))
    if interpreter.refusal() is None:
        assert calls.slow <= before + 1
    y = np.zeros((3, 5), "f4")
    calls.run.raw(x, out=y)()
    np.testing.assert_array_equal(y, go.outputs[0])
    with pytest.raises(TypeError):
        go(1)


def test_a_raw_call_sees_new_weights_and_trains() -> None:
    _, step, infer = training()
    x, y = array(8, 4), np.arange(8) % 3
    go, look = step.run.raw(x, y), infer.run.raw(x)
    losses: list[float] = []
    for _ in range(5):
        go()
        losses.append(float(go.outputs[0]))
        look()
        np.testing.assert_array_equal(look.outputs[0], infer.run(x))
    assert losses[-1] < losses[0]


FORMS: dict[str, Callable[[Any], Any]] = {
    "a slice": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "lists": lambda x: x.tolist(),
    "columns first": np.asfortranarray,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_raw_call_refuses_what_it_cannot_read_in_place(form: str) -> None:
    calls = linear()
    x = array(3, 7)
    with pytest.raises(InputError, match="read where it lies"):
        calls.run.raw(FORMS[form](x))


def test_memory_that_is_not_lent_is_an_error_of_ours() -> None:
    class Gradient:
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("can't export tensors that require gradient")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    run = nv.compile(lambda x: x + 1, "f32[2]")
    with pytest.raises(nv.NervureError, match="input x: Gradient cannot lend its memory") as found:
        run(Gradient())
    assert "detach" in str(found.value)
    assert run(np.ones(2, np.float32)).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_memory", "1 MB"), ("max_memory", -1), ("max_memory", True), ("codegen", 4), ("codegen", "2")],
)
def test_a_limit_that_is_none_is_named(option: str, value: Any) -> None:
    with pytest.raises(nv.NervureError, match=f"{option} is {value!r}, expected"):
        nv.compile(lambda x: x + 1, "f32[2]", **{option: value})


def test_dlpack_is_read_where_it_lies() -> None:
    calls = linear()
    x = array(3, 7)
    go = calls.run.raw(Lent(x))
    assert go.inputs[0].ctypes.data == x.ctypes.data


def test_without_the_trampoline_everything_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = several()
    monkeypatch.setattr(executables, "trampoline", lambda: None)
    slow = Calls(lambda a, b, c: (a + b, c * 2, (a * b).sum()), "f32[N:0..9,M:0..9]", "f32[N,M]", "i64[M]")
    assert type(slow.run) is executables.LLVMExecutable
    a, b, c = array(2, 3), array(2, 3, seed=1), np.arange(3)
    for got, want in zip(slow.run(a, b, c), fast.run(a, b, c), strict=True):
        np.testing.assert_array_equal(got, want)
    go = slow.run.raw(a, b, c)
    go()
    np.testing.assert_array_equal(go.outputs[0], a + b)


def test_what_the_collector_finds_in_the_midst_of_a_load_is_no_deadlock() -> None:
    code = """
        import faulthandler, gc, sys
        faulthandler.dump_traceback_later(50, exit=True)
        import nervure as nv
        gc.set_threshold(1)
        for n in range(30):
            run = nv.compile(lambda x: x + 1.0, "f32[3]")
            run.itself = run  # nobody but the collector ends it
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
