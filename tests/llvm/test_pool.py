"""The thread pool: every unit once, the same bits for any number of threads, forks, many callers, and the end of the process."""

# long file: one pool, and everything that may happen to its threads
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest
from stress import beside_busy_processes, callers, forks

import nervure as nv
from nervure import nn
from nervure.backends.llvm import grain
from nervure.backends.llvm.kernel_ir import Buffer, Call, For, Kernel, Let, Var
from nervure.backends.llvm.pool import join_pool, pool
from nervure.backends.llvm.pool_text import pool_text
from nervure.backends.llvm.target import make_target
from nervure.ir.dims import symbol
from nervure.ir.errors import InputError
from nervure.ir.types import f32
from nervure.runtime.native import ContextStruct

N, M, L = symbol("N", 0), symbol("M", 0), symbol("L", 0)
TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
CUT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, TASK, ctypes.c_void_p, ctypes.c_int64)

pytestmark = pytest.mark.skipif(pool() is None, reason="this platform has no pool")


def mlp(**options: Any) -> tuple[Any, np.ndarray[Any, Any]]:
    """A net whose every kernel is worth sharing."""
    nv.seed(0)
    layers = nn.Sequential(nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 150), nn.Softmax(-1))
    run = nv.compile(layers, "f32[B,300]", **options)
    return run, np.random.default_rng(0).standard_normal((150, 300)).astype("f4")


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_unit_is_done_once(threads: int) -> None:
    function, team = join_pool(threads)
    assert team is not None
    context = ContextStruct(parallel_for=function, user=ctypes.addressof(team))
    seen: list[int] = []
    task = TASK(lambda _, begin, end: seen.extend(range(begin, end)))
    for n in (0, 1, 2, 5, 31, 1000):
        seen.clear()
        FOR(function)(ctypes.addressof(context), task, None, n)
        assert sorted(seen) == list(range(n))


@pytest.mark.parametrize("threads", [2, 3, 8, 64, 100])
def test_each_share_is_halved_down_to_a_single_unit(threads: int) -> None:
    """The chunks are these, whoever runs them: contiguous shares that differ by one unit, and few chunks of each."""
    function, team = join_pool(threads)
    assert team is not None
    context = ContextStruct(parallel_for=function, user=ctypes.addressof(team))
    chunks: list[tuple[int, int]] = []
    task = TASK(lambda _, begin, end: chunks.append((begin, end)))
    shares = min(threads, 64)
    for n in (2, 3, 32, 100, 12_345, 1 << 40):
        want: list[tuple[int, int]] = []
        begin = 0
        for share in range(shares):
            end = begin + n // shares + (share < n % shares)
            while begin < end:
                want.append((begin, end - (end - begin) // 2))
                begin = want[-1][1]
        for _ in range(20):
            chunks.clear()
            FOR(function)(ctypes.addressof(context), task, None, n)
            assert sorted(chunks) == want


def all_asleep() -> None:
    """Wait until every worker that has started sleeps: its page says how many there are of each."""
    page = pool().page  # type: ignore[union-attr]
    sleepers, started = (ctypes.c_int32.from_address(page + place) for place in (128, 260))
    end = time.monotonic() + 60
    while sleepers.value < started.value:
        assert time.monotonic() < end
        time.sleep(0.001)


def first_chunks(threads: int, n: int) -> dict[int, int]:
    """Where each thread begins in a loop in which nobody goes on before all are there."""
    function, team = join_pool(threads)
    context = ContextStruct(parallel_for=function, user=ctypes.addressof(team))  # type: ignore[arg-type]
    all_here, first = threading.Barrier(threads), dict[int, int]()

    def begin_together(_: int, begin: int, end: int) -> None:
        del end
        if threading.get_ident() not in first:
            first[threading.get_ident()] = begin
            all_here.wait(timeout=60)

    all_asleep()
    FOR(function)(ctypes.addressof(context), TASK(begin_together), None, n)
    assert not all_here.broken, f"{len(first)} of {threads} threads came"
    return first


@pytest.mark.parametrize("threads", [2, 3])
def test_each_thread_begins_with_its_own_share_every_time(threads: int) -> None:
    """Where all come, a unit is run by the same thread in each loop; the caller has the first share."""
    owners: set[tuple[int, ...]] = set()
    for n in (96, 300, 900, 3000):  # as many as wake those that sleep
        first = first_chunks(threads, n)
        assert sorted(first.values()) == [n // threads * share for share in range(threads)]
        owners.add(tuple(sorted(first, key=first.__getitem__)))
    assert len(owners) == 1
    assert next(iter(owners))[0] == threading.get_ident()


def test_those_are_woken_who_have_a_share() -> None:
    """Workers that a larger team has started sleep as well."""
    first_chunks(8, 96)
    for _ in range(5):
        for threads in (2, 3):
            first_chunks(threads, 96)


def test_other_threads_help() -> None:
    """A task that waits until two threads are in it ends only if a worker comes."""
    function, team = join_pool(2)
    context = ContextStruct(parallel_for=function, user=ctypes.addressof(team))  # type: ignore[arg-type]
    both = threading.Barrier(2)
    who: set[int] = set()
    all_asleep()

    def meet(_: int, begin: int, end: int) -> None:
        del begin, end
        who.add(threading.get_ident())
        if len(who) < 2 or not both.broken:
            try:
                both.wait(timeout=20)
            except threading.BrokenBarrierError:
                return
        both.abort()

    FOR(function)(ctypes.addressof(context), TASK(meet), None, 100)
    assert len(who) == 2


def tanh_rows(shape: tuple[Any, Any], kinds: tuple[Any, Any]) -> Kernel:
    x, y = Buffer("x", f32, shape), Buffer("y", f32, shape)
    i, j, v = Var("i"), Var("j"), Var("v", f32)
    body = (Let(v, Call("tanh", (x[i, j],))), y.store((i, j), v * 2.0))
    return Kernel("k", (x, y), (For(i, shape[0], (For(j, shape[1], body, kinds[1]),), kinds[0]),))


@pytest.mark.parametrize("symbolic", [True, False])
def test_nested_parallel_loops_are_one_range(compiled: Any, symbolic: bool) -> None:
    shape = (N, M) if symbolic else (130, 700)
    both = compiled(tanh_rows(shape, ("parallel", "parallel")))
    assert "(ptr %arg, i64 %begin, i64 %end)" in both.text
    plain = compiled(tanh_rows(shape, ("serial", "serial")))
    for n, m in [(130, 700), *([(0, 5), (5, 0), (1, 1), (3, 7)] if symbolic else [])]:
        x = np.random.default_rng(n).standard_normal((n, m)).astype("f4")
        got, want = np.zeros_like(x), np.ones_like(x)
        symbols = {"N": n, "M": m} if symbolic else {}
        both(x, got, **symbols)
        plain(x, want, **symbols)
        np.testing.assert_array_equal(got, want)


def vector_map(kind: Any) -> Kernel:
    x, y = Buffer("x", f32, (N,)), Buffer("y", f32, (N,))
    i = Var("i")
    return Kernel("k", (x, y), (For(i, N, (y.store((i,), Call("exp", (x[i],))),), kind),))


@pytest.mark.parametrize("units", [1, 3, 14, 1 << 40])
def test_chunks_of_any_size_give_the_same_bits(
    compiled: Any, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 14: units of 1, 3, 14 times the usual size, and all at once."""
    plain = compiled(vector_map("vector"))
    monkeypatch.setattr(grain, "GRAIN", grain.GRAIN * units)
    monkeypatch.setattr("nervure.backends.llvm.emit_parallel.GRAIN", grain.GRAIN)
    shared = compiled(vector_map("parallel vector"))
    for n in (0, 1, 17, 64, 65, 40_001):
        x = np.random.default_rng(n).standard_normal(n).astype("f4")
        got, want = np.zeros_like(x), np.ones_like(x)
        shared(x, got, N=n)
        plain(x, want, N=n)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("symbolic", [True, False])
def test_long_iterations_are_many_units_and_run_once(compiled: Any, symbolic: bool) -> None:
    """A few iterations of many microseconds are shared, whichever way their units are cut, and say how long they take."""
    shape = (N, M) if symbolic else (3, 20_000)
    x, y = Buffer("x", f32, shape), Buffer("y", f32, shape)
    i, j = Var("i"), Var("j")
    add = y.store((i, j), y[i, j] + Call("tanh", (x[i, j],)))
    shared = compiled(
        Kernel("k", (x, y), (For(i, shape[0], (For(j, shape[1], (add,), "vector"),), "parallel"),))
    )
    counts: list[int] = []
    width = [1]

    def cut(_: int, task: int, arg: int, n: int) -> None:
        counts.append(n)
        for begin in range(0, n, width[0]):
            TASK(task)(arg, begin, min(begin + width[0], n))

    function = CUT(cut)
    shared.context.parallel_for = ctypes.cast(function, ctypes.c_void_p).value
    given = np.random.default_rng(0).standard_normal((3, 20_000)).astype("f4")
    first: np.ndarray[Any, Any] | None = None
    for width[0] in (1, 2, 7, 64, 10_000):
        got = np.zeros_like(given)
        shared(given, got, **({"N": 3, "M": 20_000} if symbolic else {}))
        first = got if first is None else first
        np.testing.assert_array_equal(got, first)
    np.testing.assert_allclose(first, np.tanh(given), rtol=1e-5)
    assert len(counts) == 5
    assert len(set(counts)) == 1
    assert counts[0] > 20
    if symbolic:  # one iteration is nobody's to share
        shared(given, np.zeros_like(given), N=1, M=20_000)
        shared(given, np.zeros_like(given), N=0, M=20_000)
        assert len(counts) == 5


@pytest.mark.parametrize("symbolic", [True, False])
def test_light_iterations_run_once_wherever_a_nest_is_cut(
    compiled: Any, symbolic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The innermost axis is a loop of its own, whose first run and last may be parts of one."""
    monkeypatch.setattr("nervure.backends.llvm.emit_parallel.GRAIN", 8_000)  # a unit of a few iterations
    shape = (N, M, L) if symbolic else (5, 3, 11)
    x, y = Buffer("x", f32, shape), Buffer("y", f32, shape)
    place = Var("i"), Var("j"), Var("k")
    body: Any = y.store(place, y[place] + x[place])
    for var, extent in reversed(list(zip(place, shape, strict=True))):
        body = For(var, extent, (body,), "parallel")
    shared = compiled(Kernel("k", (x, y), (body,)))
    assert "%begin" in shared.text
    width = [1]

    def cut(_: int, task: int, arg: int, n: int) -> None:
        for begin in range(0, n, width[0]):
            TASK(task)(arg, begin, min(begin + width[0], n))

    function = CUT(cut)
    shared.context.parallel_for = ctypes.cast(function, ctypes.c_void_p).value
    sizes = [(5, 3, 11), (4, 1, 9), (1, 1, 64), (9, 7, 1), (0, 3, 3), (3, 0, 3), (3, 3, 0), (2, 2, 100)]
    for size in sizes if symbolic else sizes[:1]:
        given = np.random.default_rng(0).standard_normal(size).astype("f4")
        for width[0] in (1, 2, 7, 10_000):
            got = np.zeros_like(given)
            shared(given, got, **(dict(zip("NML", size, strict=True)) if symbolic else {}))
            np.testing.assert_array_equal(got, given)


def test_small_loops_have_no_task(compiled: Any) -> None:
    text = compiled(tanh_rows((4, 8), ("parallel", "vector"))).text
    assert "%begin" not in text


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    serial, x = mlp(threads=1)
    shared, _ = mlp(threads=threads)
    want = serial(x)
    for _ in range(50):
        np.testing.assert_array_equal(shared(x), want)


def test_maps_whose_rows_threads_share_have_the_same_bits() -> None:
    """Rows that no number of parts divides; windows whose rim another thread writes; a product over all channels."""

    def results(threads: int) -> list[np.ndarray[Any, Any]]:
        nv.seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU6(),
            nn.Conv2d(32, 96, 1),
            nn.ReLU6(),
            nn.Conv2d(96, 96, 3, padding=1, groups=96),
            nn.Conv2d(96, 40, 1),
        )
        run = nv.compile(layers, "f32[1,3,57,43]", threads=threads)
        x = np.random.default_rng(0).standard_normal((1, 3, 57, 43)).astype("f4")
        return [run(x) for _ in range(30)]

    want = results(1)[0]
    for threads in (2, 3, 4, 8):
        for got in results(threads):
            np.testing.assert_array_equal(got, want)


def test_a_thousand_runs_give_the_same_bits() -> None:
    run, x = mlp(threads=4)
    want = run(x)
    assert all((run(x) == want).all() for _ in range(1000))


def test_training_gives_the_same_bits_for_any_number_of_threads() -> None:
    def trained(threads: int) -> dict[str, Any]:
        nv.seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 144, 10))
        program = nv.training_step(
            model,
            nn.CrossEntropyLoss(),
            nv.optim.SGD(0.1),
            "f32[B,1,12,12]",
            "i64[B]",
        )
        step = nv.compile(program, threads=threads)
        rng = np.random.default_rng(1)
        for _ in range(3):
            step(rng.standard_normal((64, 1, 12, 12)).astype("f4"), rng.integers(0, 10, 64))
        return step.state_dict()

    one, four = trained(1), trained(4)
    for name, array in one.items():
        np.testing.assert_array_equal(array, four[name], err_msg=name)


def test_many_callers_at_once() -> None:
    run, x = mlp(threads=3)
    callers(run, x, 12, 30)


@pytest.mark.long
def test_eight_threads_call_ten_thousand_times() -> None:
    run, _ = mlp(threads=2)
    callers(run, np.random.default_rng(0).standard_normal((32, 300)).astype("f4"), 8, 10_000)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_two_hundred_forks_after_use() -> None:
    forks(*mlp(threads=3), 200)


def test_beside_busy_processes_nothing_hangs() -> None:
    run, x = mlp(threads=4)
    with beside_busy_processes():
        callers(run, x, 2, 200)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinities here")
def test_a_worker_that_moved_aside_may_run_where_it_could_before() -> None:
    """In a process of its own, since it is held to processors; on one processor a worker stays where it is."""
    code = """
        import os, time
        import numpy as np
        import nervure as nv
        from nervure import nn
        import test_pool
        given = os.sched_getaffinity(0)
        for allowed in (given, {min(given)}):
            os.sched_setaffinity(0, allowed)
            run, x = test_pool.mlp(threads=3)
            for task in map(int, os.listdir("/proc/self/task")):
                os.sched_setaffinity(task, allowed)
            want = run(x)
            for pause in (0, 0.001) * 50:
                time.sleep(pause)
                assert (run(x) == want).all()
            time.sleep(0.05)
            found = [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")]
            assert len(found) >= 3 and all(mask == allowed for mask in found), found
        print("well")
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "well\n", done.stderr


def test_the_process_ends_while_workers_spin_and_calls_after_the_end_run_alone() -> None:
    code = """
        import atexit, threading
        import numpy as np
        import nervure as nv
        from nervure import nn
        later = []
        atexit.register(lambda: print("late", float(later[0](later[1]).sum()) == later[2]))
        run = nv.compile(nn.Sequential(nn.Linear(300, 200), nn.ReLU()), "f32[B,300]", threads=4)
        x = np.ones((300, 300), "f4")
        later += [run, x, float(run(x).sum())]
        assert threading.active_count() == 1
        threading.Thread(target=lambda: [run(x) for _ in range(10**9)], daemon=True).start()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "late True\n"), done.stderr


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True, "two"])
def test_numbers_of_threads_out_of_range_are_refused(threads: Any) -> None:
    with pytest.raises(InputError, match=r"expected an integer in 1\.\.256"):
        mlp(threads=threads)
    with pytest.raises(InputError, match=r"set_num_threads: threads is"):
        nv.set_num_threads(threads)


def test_the_number_for_the_process() -> None:
    before = nv.get_num_threads()
    try:
        run, x = mlp()
        nv.set_num_threads(1)
        assert nv.get_num_threads() == 1
        want = run(x)
        nv.set_num_threads(5)
        np.testing.assert_array_equal(run(x), want)
    finally:
        nv.set_num_threads(before)


@pytest.mark.parametrize(
    ("given", "printed"), [("3", "3"), ("0", "NERVURE_NUM_THREADS: threads is 0"), ("x", "is 'x'")]
)
def test_the_environment_gives_a_number(given: str, printed: str) -> None:
    code = "import nervure as nv\ntry: print(nv.get_num_threads())\nexcept nv.NervureError as e: print(e)"
    env = {**os.environ, "NERVURE_NUM_THREADS": given}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert printed in done.stdout


def test_other_targets_have_a_pool_or_none() -> None:
    from nervure.backends.llvm.objects import compile_object

    arm = make_target("generic", "aarch64-unknown-linux-gnu")
    text = pool_text(arm)
    assert text is not None and compile_object(text, arm, cached=False)
    assert pool_text(make_target("generic", "x86_64-pc-windows-msvc")) is None
