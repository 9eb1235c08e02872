"""Programs and libraries for other machines: linked by zig where there is no cross compiler, run under qemu-user.

Wants qemu-user (qemu-aarch64, qemu-x86_64, qemu-riscv64 on the PATH) and the wheel ziglang; zig's first link of a target takes
over a minute.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from networks import NETWORKS

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm.target import target_for
from nervure.native.linker import find_linker

from .conftest import batch

pytestmark = pytest.mark.long

LIBRARIES = ("-L", "/usr/aarch64-linux-gnu")
"""Where Debian's cross compiler for aarch64, if it is there, keeps what its programs load; zig's load nothing."""
MACHINES = {
    "aarch64-linux": ("qemu-aarch64", *LIBRARIES),
    "aarch64-linux:cortex-a72": ("qemu-aarch64", *LIBRARIES, "-cpu", "cortex-a72"),
    "riscv64-linux": ("qemu-riscv64",),
    "x86-64": ("qemu-x86_64", "-cpu", "qemu64"),
    "x86-64-v2": ("qemu-x86_64", "-cpu", "Nehalem"),
    "haswell": ("qemu-x86_64", "-cpu", "Haswell"),
}


@pytest.fixture(params=MACHINES, ids=str)
def machine(request: pytest.FixtureRequest) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A target and what runs its programs."""
    target, emulator = request.param, MACHINES[request.param]
    if shutil.which(emulator[0]) is None:
        pytest.skip(f"{emulator[0]} is not installed")
    try:
        find_linker(target_for(target))
    except nv.NervureError as error:
        pytest.skip(str(error))
    yield target, emulator


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_gives_the_results_of_this_machine(
    tmp_path: Path, machine: tuple[str, tuple[str, ...]], name: str
) -> None:
    target, emulator = machine
    nv.seed(3)
    make, shape = NETWORKS[name]
    model, spec = make(nn), f"f32[B,{','.join(map(str, shape))}]"
    threads = "linux" in target_for(target).triple and "riscv" not in target
    nv.build(model, spec, output=tmp_path / "net", target=target, threads=threads)
    x = batch(shape, 7)
    np.save(tmp_path / "x.npy", x)
    want = nv.compile(model, spec)(x)
    for options in ([], ["--threads", "3"]) if threads else ([],):
        done = subprocess.run(
            [*emulator, "./net", "x.npy", *options], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        found = np.load(io.BytesIO(done.stdout))
        np.testing.assert_allclose(found, want, rtol=0, atol=2e-6 * float(np.abs(want).max() + 1))


def test_a_training_step_learns_there(tmp_path: Path, machine: tuple[str, tuple[str, ...]]) -> None:
    target, emulator = machine
    nv.seed(3)
    make, shape = NETWORKS["vgg"]
    spec = f"f32[B,{','.join(map(str, shape))}]"
    step = nv.training_step(make(nn), nn.cross_entropy, optim.Adam(0.01), spec, "i64[B]")
    nv.build(step, output=tmp_path / "step", target=target)
    run = nv.compile(step)
    x, labels = batch(shape, 8), np.arange(8) % 10
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", labels)
    for _ in range(3):
        command = [*emulator, "./step", "x.npy", "labels.npy", "--state", "state"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        assert float(np.load(io.BytesIO(done.stdout))) == pytest.approx(float(run(x, labels)), rel=1e-4)


def test_a_program_says_that_the_machine_lacks_its_vectors(tmp_path: Path) -> None:
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("qemu-x86_64 is not installed")
    nv.build(lambda x: x + 1, "f32[3]", output=tmp_path / "net", target="haswell")
    np.save(tmp_path / "x.npy", np.ones(3, np.float32))
    done = subprocess.run(
        ["qemu-x86_64", "-cpu", "Nehalem", "./net", "x.npy"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 2 and b"this CPU lacks instructions" in done.stderr


@pytest.mark.skipif(find_spec("ziglang") is None, reason="the wheel ziglang is not installed")
@pytest.mark.parametrize(
    ("target", "magic"),
    [
        ("x86_64-windows", b"MZ"),
        ("aarch64-macos", b"\xcf\xfa\xed\xfe"),
        ("aarch64-linux", b"\x7fELF"),
        ("wasm32", b"\0asm"),
    ],
)
def test_zig_links_libraries_for_others_twice_the_same(tmp_path: Path, target: str, magic: bytes) -> None:
    nv.seed(3)
    make, shape = NETWORKS["lenet"]
    model, spec = make(nn), f"f32[B,{','.join(map(str, shape))}]"
    files = [tmp_path / folder / "net.so" for folder in ("first", "second")]
    for file in files:
        file.parent.mkdir()
        nv.build(model, spec, output=file, target=target)
    first, second = (file.read_bytes() for file in files)
    assert first.startswith(magic) and b"net_run" in first
    assert first == second


@pytest.mark.skipif(find_spec("ziglang") is None, reason="the wheel ziglang is not installed")
@pytest.mark.parametrize("target", ["x86_64-windows", "aarch64-macos", "wasm32-wasi"])
def test_zig_links_programs_for_others(tmp_path: Path, target: str) -> None:
    make, shape = NETWORKS["mlp"]
    nv.build(make(nn), f"f32[B,{','.join(map(str, shape))}]", output=tmp_path / "net.exe", target=target)
    assert (tmp_path / "net.exe").stat().st_size > 10000


@pytest.mark.skipif(find_spec("ziglang") is None, reason="the wheel ziglang is not installed")
def test_a_wasm_library_gives_the_results_of_this_machine(tmp_path: Path) -> None:
    """Sizes are 64 bits in the interface, pointers 32; the module wants nothing of its host."""
    wasmtime = pytest.importorskip("wasmtime")
    nv.seed(3)
    make, shape = NETWORKS["lenet"]
    model, spec = make(nn), f"f32[B,{','.join(map(str, shape))}]"
    nv.build(model, spec, output=tmp_path / "net.wasm", target="wasm32")
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    instance = wasmtime.Instance(store, wasmtime.Module.from_file(engine, str(tmp_path / "net.wasm")), [])
    call = instance.exports(store)
    memory = call["memory"]
    base = memory.size(store) << 16
    memory.grow(store, 200)
    x = batch(shape, 3)
    memory.write(store, x.tobytes(), base)
    y = base + x.nbytes
    arena = y + 4096
    size = call["net_arena_bytes"](store, 3)
    assert call["net_run"](store, base, y, 3, arena, size - 1) == 3
    assert call["net_run"](store, 0, y, 3, arena, size) == 1
    assert call["net_run"](store, base, y, 3, arena, size) == 0
    found = np.frombuffer(memory.read(store, y, y + 120), np.float32).reshape(3, 10)
    np.testing.assert_allclose(found, nv.compile(model, spec)(x), rtol=0, atol=2e-6)
