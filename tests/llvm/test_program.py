# long file: the promises of one object: entry points, memory, control flow, cache, C
"""Programs of kernels: entry points, memory, control flow, the object, the cache, and a C program that needs no Python."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nervure.backends.llvm.context import ENTRY_POINTS
from nervure.backends.llvm.emit import ALLOWED_EXTERNALS
from nervure.backends.llvm.emit_program import program_text
from nervure.backends.llvm.jit import load_object
from nervure.backends.llvm.kernel_ir import (
    Buffer,
    Contract,
    For,
    Kernel,
    LoopDim,
    Packed,
    Select,
    Var,
    call,
    zero,
)
from nervure.backends.llvm.objects import CodegenOptions, compile_object, undefined_symbols
from nervure.backends.llvm.program import (
    Arg,
    Branch,
    Copy,
    KernelProgram,
    Launch,
    Loop,
    Memory,
    While,
    arena_uses,
)
from nervure.backends.llvm.schedule import choose_schedule
from nervure.backends.llvm.target import host_target, make_target
from nervure.ir.dims import Dim, Symbol, symbol
from nervure.ir.errors import BackendError, InputError
from nervure.ir.types import bool_, f32, i64
from nervure.runtime import cache
from nervure.runtime.native import NativeProgram

B = symbol("B", 0, 1024)
INNER, HIDDEN, OUTER = 20, 48, 10


def linear(n: int, k: int, packed: int, relu: bool) -> Kernel:
    a, c = Buffer("a", f32, (B, k)), Buffer("c", f32, (B, n))
    b = Buffer("b", f32, (-(-n // packed), k, packed) if packed else (k, n))
    i, j, p, acc = Var("i"), Var("j"), Var("p"), Var("acc", f32)
    value = Select(acc < 0.0, zero(f32), acc) if relu else call("tanh", acc)
    s = Contract(
        (LoopDim(i, B),),
        LoopDim(j, n),
        (LoopDim(p, k),),
        a[i, p],
        Packed(b) if packed else b[p, j],
        acc,
        (c.store((i, j), value),),
    )
    return Kernel("linear", (a, b, c), (s,))


def mlp() -> KernelProgram:
    """tanh(relu(x w0) w1), w0 packed by prepare."""
    width = choose_schedule(host_target(), f32, None, HIDDEN, INNER, in_place=True).columns
    panels = -(-HIDDEN // width)
    x, y = Memory("x", B * INNER * 4, "input", 0), Memory("y", B * OUTER * 4, "output", 0)
    w0, w1 = Memory("w0", INNER * HIDDEN * 4, "store", 0), Memory("w1", HIDDEN * OUTER * 4, "store", 1)
    packed, h = Memory("packed", panels * INNER * width * 4, "prepared"), Memory("h", B * HIDDEN * 4, "arena")
    w, q = Buffer("w", f32, (INNER, HIDDEN)), Buffer("q", f32, (panels, INNER, width))
    p, k, j = Var("p"), Var("k"), Var("j")
    n = p * width + j
    fill = q.store((p, k, j), w.at(k, n, inside=n < HIDDEN))
    pack = Kernel("pack", (w, q), (For(p, panels, (For(k, INNER, (For(j, width, (fill,), "vector"),)),)),))
    return KernelProgram(
        ("B",), (x,), (y,), (w0, w1),
        (Launch(pack, (Arg(w0), Arg(packed))),),
        (
            Launch(linear(HIDDEN, INNER, width, True), (Arg(x), Arg(packed), Arg(h))),
            Launch(linear(OUTER, HIDDEN, 0, False), (Arg(h), Arg(w1), Arg(y))),
        ),
    )  # fmt: skip


def load(program: KernelProgram, **options: Any) -> NativeProgram:
    data = compile_object(program_text(program, host_target()), host_target(), cached=False)
    loaded = load_object(data, ENTRY_POINTS)
    return NativeProgram(loaded.address, len(program.symbols), keep=loaded, **options)


def weights() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((INNER, HIDDEN)).astype("f4"), rng.standard_normal((HIDDEN, OUTER)).astype(
        "f4"
    ) / 9


def test_an_mlp_runs_for_every_batch_and_after_new_weights() -> None:
    native = load(mlp())
    w0, w1 = weights()
    for turn in range(2):
        native.prepare([w0.ctypes.data, w1.ctypes.data])
        for n in (0, 1, 3, 64):
            x, y = (
                np.random.default_rng(n).standard_normal((n, INNER)).astype("f4"),
                np.full((n, OUTER), 9, "f4"),
            )
            native.run([x.ctypes.data], [y.ctypes.data], [n])
            np.testing.assert_allclose(y, np.tanh(np.maximum(x @ w0, 0) @ w1), atol=1e-5)
        w0 *= -1 - turn


def test_threads_share_a_program_and_not_its_arena() -> None:
    native = load(mlp())
    w0, w1 = weights()
    native.prepare([w0.ctypes.data, w1.ctypes.data])
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal((40 + seed, INNER)).astype("f4")
        want = np.tanh(np.maximum(x @ w0, 0) @ w1)
        y = np.empty((len(x), OUTER), "f4")
        for _ in range(50):
            native.run([x.ctypes.data], [y.ctypes.data], [len(x)])
            if not np.allclose(y, want, atol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_max_memory_is_refused_before_anything_is_allocated() -> None:
    native = load(mlp(), max_memory=100_000)
    w0, w1 = weights()
    native.prepare([w0.ctypes.data, w1.ctypes.data])
    arena, prepared = native.plan([100])
    assert arena == 100 * HIDDEN * 4 and prepared > 0
    with pytest.raises(InputError, match="max_memory is 100000"):
        native.run([0], [0], [10_000])


def test_buffers_that_do_not_live_together_share_memory() -> None:
    def step(size: Dim) -> tuple[Kernel, Memory]:
        return Kernel("copy", (Buffer("a", f32, (B,)), Buffer("b", f32, (B,))), copying(B)), Memory(
            "m", size, "arena"
        )

    def copying(n: Dim) -> tuple[For, ...]:
        return ()

    for size in (4096, B * 4):
        memories = [step(size)[1] for _ in range(5)]
        kernel = step(size)[0]
        launches = [Launch(kernel, (Arg(a), Arg(b))) for a, b in pairwise(memories)]
        program = KernelProgram(("B",), (), (), run=tuple(launches))
        assert [(first, last) for _, first, last in arena_uses(launches)] == [
            (0, 0),
            (0, 1),
            (1, 2),
            (2, 3),
            (3, 3),
        ]
        assert load(program).plan([1024])[0] == 2 * 4096


def scale(by: float) -> Kernel:
    a = Buffer("a", f32, (8,))
    i = Var("i")
    return Kernel("scale", (a,), (For(i, 8, (a.store(i, a[i] * by),), "vector"),))


def test_loops_copies_branches_and_whiles_run_steps() -> None:
    t = Symbol("t", 0, 100)
    step = symbol("t", 0, 100)
    x, y, flag = (
        Memory("x", B * 32, "input", 0),
        Memory("y", B * 32, "output", 0),
        Memory("flag", 1, "input", 1),
    )
    state, count, go = Memory("state", 32, "arena"), Memory("count", 8, "arena"), Memory("go", 1, "arena")
    c, g, n = Buffer("c", i64, ()), Buffer("g", bool_, ()), Buffer("n", i64, ())
    start = Kernel("start", (c, g), (c.store((), zero(i64)), g.store((), zero(i64).eq(0))))
    tick = Kernel("tick", (c, g, n), (c.store((), c[()] + 1), g.store((), c[()] < 5), n.store((), c[()])))
    turns = Memory("turns", 8, "output", 1)
    accumulate = Buffer("s", f32, (8,)), Buffer("v", f32, (8,))
    i = Var("i")
    add = Kernel(
        "add", accumulate, (For(i, 8, (accumulate[0].store(i, accumulate[1][i], combine="add"),), "vector"),)
    )
    clear = Kernel("clear", (accumulate[0],), (For(i, 8, (accumulate[0].store(i, zero(f32)),), "vector"),))
    program = KernelProgram(
        ("B",), (x, flag), (y, turns), (), (),
        (
            Launch(clear, (Arg(state),)),
            Loop(t, B, (
                Launch(add, (Arg(state), Arg(x, step * 32))),
                Branch(Arg(flag), (Launch(scale(2.0), (Arg(state),)),), (Launch(scale(3.0), (Arg(state),)),)),
                Copy(Arg(y, step * 32), Arg(state), 32),
            )),
            Launch(start, (Arg(count), Arg(go))),
            While(Arg(go), (Launch(tick, (Arg(count), Arg(go), Arg(turns))),), limit=100),
        ),
    )  # fmt: skip
    native = load(program)
    native.prepare([])
    for n_rows in (0, 1, 6):
        for on in (0, 1):
            a = np.random.default_rng(n_rows).standard_normal((n_rows, 8)).astype("f4")
            got, ticks, byte = np.zeros((n_rows, 8), "f4"), np.zeros((), "i8"), np.array(on, "u1")
            native.run([a.ctypes.data, byte.ctypes.data], [got.ctypes.data, ticks.ctypes.data], [n_rows])
            s, want = np.zeros(8, "f4"), []
            for row in a:
                s = (s + row) * np.float32(2 if on else 3)
                want.append(s)
            np.testing.assert_array_equal(got, np.array(want, "f4").reshape(n_rows, 8))
            assert ticks == 5
    seen: list[int] = []
    native.run_traced(
        [a.ctypes.data, byte.ctypes.data], [got.ctypes.data, ticks.ctypes.data], [6], seen.append
    )
    assert seen == [-1, 0, 1, 2, 3]
    assert "for t in B {" in str(program) and "while go at most 100 {" in str(program)


def test_equal_kernels_are_one_function() -> None:
    m = Memory("m", 32, "arena")
    text = program_text(
        KernelProgram((), (), (), run=tuple(Launch(scale(2.0), (Arg(m),)) for _ in range(9))), host_target()
    )
    assert text.count("define internal") == 1


def test_objects_are_deterministic_and_need_only_c() -> None:
    texts = [program_text(mlp(), host_target()) for _ in range(2)]
    assert texts[0] == texts[1]
    objects = [compile_object(t, host_target(), cached=False) for t in texts]
    assert objects[0] == objects[1]
    assert set(undefined_symbols(texts[0])) <= ALLOWED_EXTERNALS
    nm = shutil.which("nm")
    if nm is not None:
        found = subprocess.run([nm, "-u", "-"], input=objects[0], capture_output=True, check=False)
        if found.returncode == 0:
            assert {line.split()[-1] for line in found.stdout.decode().splitlines()} <= ALLOWED_EXTERNALS


@pytest.mark.parametrize(
    ("cpu", "triple"),
    [
        (None, "aarch64-unknown-linux-gnu"),
        ("haswell", "x86_64-unknown-linux-gnu"),
        (None, "riscv64-unknown-linux-gnu"),
        (None, "arm64-apple-macosx"),
    ],
)
def test_objects_for_other_machines_are_made(cpu: str | None, triple: str) -> None:
    target = make_target(cpu, triple)
    assert len(compile_object(program_text(mlp(), target), target, cached=False)) > 1000


def test_an_unknown_triple_and_a_missing_symbol_are_errors() -> None:
    with pytest.raises(BackendError, match="no code for triple"):
        make_target(None, "nonsense-none-none")
    text = "declare void @nv_nowhere()\ndefine void @f() {\n call void @nv_nowhere()\n ret void\n}\n"
    with pytest.raises(BackendError, match="does not link"):
        load_object(compile_object(text, host_target(), cached=False), ("f",)).address("f")
    with pytest.raises(BackendError, match="llvm refuses"):
        compile_object("nonsense", host_target(), cached=False)


MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct nv_context { void (*parallel_for)(struct nv_context *, void (*)(void *, int64_t, int64_t), void *, int64_t);
  void **store; void *prepared; void *arena; void *user; void (*trace)(struct nv_context *, int64_t); } nv_context;
int32_t nv_run(nv_context *, void *const *, void *const *, const int64_t *);
int32_t nv_prepare(nv_context *);
void nv_plan(const int64_t *, int64_t *);
void nv_prepare_plan(int64_t *);
void nv_serial(nv_context *, void (*)(void *, int64_t, int64_t), void *, int64_t);
static void *read_all(const char *path, size_t bytes) {
  void *p = malloc(bytes); FILE *f = fopen(path, "rb");
  if (!f || fread(p, 1, bytes, f) != bytes) exit(3);
  fclose(f); return p;
}
int main(int argc, char **argv) {
  int64_t n = atoi(argv[1]), dims[1] = {n}, sizes[2];
  void *store[2] = {read_all("w0", 20 * 48 * 4), read_all("w1", 48 * 10 * 4)};
  void *x = read_all("x", n * 20 * 4); float *y = malloc(n * 10 * 4);
  nv_prepare_plan(sizes);
  if (sizes[0] != 0) return 5;
  nv_plan(dims, sizes);
  nv_context c = {nv_serial, store, aligned_alloc(64, sizes[1]), aligned_alloc(64, sizes[0]), 0, 0};
  void *in[1] = {x}, *out[1] = {y};
  if (nv_prepare(&c) || nv_run(&c, in, out, dims)) return 4;
  FILE *f = fopen("y", "wb"); fwrite(y, 4, n * 10, f); fclose(f); return 0;
}
"""


def test_an_object_runs_from_a_c_program(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    w0, w1 = weights()
    x = np.random.default_rng(2).standard_normal((33, INNER)).astype("f4")
    (tmp_path / "mlp.o").write_bytes(
        compile_object(program_text(mlp(), host_target()), host_target(), cached=False)
    )
    (tmp_path / "main.c").write_text(MAIN)
    for name, array in (("w0", w0), ("w1", w1), ("x", x)):
        (tmp_path / name).write_bytes(array.tobytes())
    subprocess.run([compiler, "main.c", "mlp.o", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main", "33"], cwd=tmp_path, check=True)
    y = np.fromfile(tmp_path / "y", "f4").reshape(33, OUTER)
    native, same = load(mlp()), np.empty((33, OUTER), "f4")
    native.prepare([w0.ctypes.data, w1.ctypes.data])
    native.run([x.ctypes.data], [same.ctypes.data], [33])
    np.testing.assert_array_equal(y, same)


# -- the cache -------------------------------------------------------------------------------------------------------


def test_the_cache_gives_back_what_was_saved_and_nothing_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    key = cache.cache_key("a", b"b")
    assert key != cache.cache_key("ab", b"") and cache.load(key, folder) is None
    assert cache.save(key, b"object", folder) and cache.load(key, folder) == b"object"
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    data = (folder / key).read_bytes()
    for damaged in (
        data[:-1],
        data + b"x",
        data[:-1] + bytes([data[-1] ^ 1]),
        b"",
        data.replace(b"object", b"0bject"),
    ):
        (folder / key).write_bytes(damaged)
        assert cache.load(key, folder) is None
    other = cache.cache_key("other")
    cache.save(other, b"object", folder)
    (folder / key).write_bytes((folder / other).read_bytes())
    assert cache.load(key, folder) is None, "an entry under another name"


def test_the_cache_refuses_links_and_folders_that_others_can_enter(tmp_path: Path) -> None:
    folder, key = tmp_path / "cache", cache.cache_key("k")
    assert cache.save(key, b"object", folder)
    (tmp_path / "link").symlink_to(folder)
    assert cache.load(key, tmp_path / "link") is None and not cache.save(key, b"x", tmp_path / "link")
    (folder / "moved").write_bytes((folder / key).read_bytes())
    (folder / key).unlink()
    (folder / key).symlink_to(folder / "moved")
    assert cache.load(key, folder) is None
    folder.chmod(0o755)
    assert not cache.save(key, b"object", folder) and cache.load("moved", folder) is None
    (tmp_path / "file").write_text("")
    assert not cache.save(key, b"object", tmp_path / "file")


def test_a_second_compilation_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "c"))
    text = program_text(
        KernelProgram((), (), (), run=(Launch(scale(4.0), (Arg(Memory("m", 32, "arena")),)),)), host_target()
    )
    first = compile_object(text, host_target())
    (entry,) = (tmp_path / "c").iterdir()
    cache.save(entry.name, b"from the cache", tmp_path / "c")
    assert compile_object(text, host_target()) == b"from the cache"
    entry.write_bytes(b"damaged")
    assert compile_object(text, host_target()) == first
    monkeypatch.setenv("NERVURE_CACHE", "off")
    assert cache.cache_folder() is None and not cache.save("k", b"")


def test_what_code_generation_sets_for_a_moment_is_put_back() -> None:
    """LLVM's command line is the process's: others who use it see nothing of ours."""
    host, text = host_target(), program_text(mlp(), host_target())

    def made(strength: bool) -> bytes:
        return compile_object(text, host, CodegenOptions(strength=strength), cached=False)

    before, ours = made(True), made(False)
    assert before != ours
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(made, [True, False] * 8))
    assert found == [before, ours] * 8


# -- gates -----------------------------------------------------------------------------------------------------------


def test_an_mlp_with_a_symbolic_batch_stays_within_the_compile_budget() -> None:
    import time

    best, lines = float("inf"), 0
    for _ in range(3):
        start = time.process_time()
        text = program_text(mlp(), host_target())
        compile_object(text, host_target(), cached=False)
        best, lines = min(best, time.process_time() - start), len(text.splitlines())
    assert lines < 2500, f"{lines} lines"
    assert best < 0.4, f"{best * 1000:.0f} ms"


def test_compiling_and_loading_again_does_not_leak() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    text = program_text(
        KernelProgram((), (), (), run=(Launch(scale(5.0), (Arg(Memory("m", 32, "arena")),)),)), host_target()
    )

    def turn() -> None:
        load_object(compile_object(text, host_target(), cached=False), ENTRY_POINTS).close()

    for _ in range(40):
        turn()
    before = resident()
    for _ in range(60):
        turn()
    assert (resident() - before) / 60 < 24 << 10
