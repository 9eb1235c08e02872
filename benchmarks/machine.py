"""What this machine can do: fused multiply-adds a second, and bytes a second from each level of memory.

The loops are LLVM text, so that they say exactly which instructions run.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["ACCUMULATORS", "Machine", "Meter", "best_seconds", "peak_text"]

ACCUMULATORS = 12
"""Independent chains: enough for two units of latency 4 and some to spare."""
STREAMS = 8


def peak_text(lanes: int) -> str:
    """``peak(n)``: n rounds of one fused multiply-add in each accumulator."""
    v = f"<{lanes} x float>"
    zero, half = f"{v} zeroinitializer", f"{v} splat (float 0.5)"
    names = range(ACCUMULATORS)
    phis = "\n".join(
        f"  %a{k} = phi {zero.replace(' zero', ' [ zero')}, %entry ], [ %b{k}, %loop ]" for k in names
    )
    adds = "\n".join(f"  %b{k} = call {v} @llvm.fma.v{lanes}f32({v} %a{k}, {half}, {half})" for k in names)
    sums = ["%b0"]
    total: list[str] = []
    for k in range(1, ACCUMULATORS):
        total.append(f"  %s{k} = fadd {v} {sums[-1]}, %b{k}")
        sums.append(f"%s{k}")
    return f"""
declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})
define float @peak(i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
{adds}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
{chr(10).join(total)}
  %r = extractelement {v} {sums[-1]}, i32 0
  ret float %r
}}
"""


def read_text(lanes: int) -> str:
    """``read(p, n)``: adds up n times STREAMS vectors that lie behind each other; ``to_and_fro(p, blocks, n)``: reads as many
    blocks of n in this order, then in the other."""
    v = f"<{lanes} x float>"
    names = range(STREAMS)
    phis = "\n".join(f"  %a{k} = phi {v} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in names)
    body = "\n".join(
        f"  %q{k} = getelementptr {v}, ptr %p, i64 %o{k}\n  %x{k} = load {v}, ptr %q{k}, align 64\n"
        f"  %b{k} = fadd {v} %a{k}, %x{k}"
        for k in names
    )
    offsets = "\n".join(f"  %o{k} = add i64 %o, {k}" for k in names)
    total: list[str] = []
    last = "%b0"
    for k in range(1, STREAMS):
        total.append(f"  %s{k} = fadd {v} {last}, %b{k}")
        last = f"%s{k}"
    return f"""
define float @read(ptr %p, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
  %o = mul i64 %i, {STREAMS}
{offsets}
{body}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
{chr(10).join(total)}
  %r = extractelement {v} {last}, i32 0
  ret float %r
}}
define float @to_and_fro(ptr %p, i64 %blocks, i64 %n) {{
entry:
  %both = shl i64 %blocks, 1
  %last = add i64 %both, -1
  %size = mul i64 %n, {STREAMS * lanes * 4}
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %s = phi float [ 0.0, %entry ], [ %t, %loop ]
  %left = sub i64 %last, %i
  %back = icmp uge i64 %i, %blocks
  %at = select i1 %back, i64 %left, i64 %i
  %o = mul i64 %at, %size
  %q = getelementptr i8, ptr %p, i64 %o
  %r = call float @read(ptr %q, i64 %n)
  %t = fadd float %s, %r
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %both
  br i1 %more, label %loop, label %done
done:
  ret float %t
}}
"""


def cache_size(level: int, fallback: int) -> int:
    """Bytes of a level of cache, by Linux's account."""
    for index in range(6):
        folder = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}")
        try:
            if (
                int((folder / "level").read_text()) == level
                and (folder / "type").read_text().strip() != "Instruction"
            ):
                text = (folder / "size").read_text().strip()
                return int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return fallback


@dataclass
class Machine:
    """What was measured.

    Args:
        peak:         float32 operations a second of a core, a fused multiply-add being two
        l2, l3, dram: bytes a second that a core reads
        l2_bytes, l3_bytes: sizes
        cpu:          what it is called
        cores:        how many there are
    """

    peak: float
    l2: float
    l3: float
    dram: float
    l2_bytes: int
    l3_bytes: int
    cpu: str
    cores: int

    def bandwidth(self, size: float) -> float:
        """Of the innermost level that holds so many bytes from call to call."""
        if size <= 0.75 * self.l2_bytes:
            return self.l2
        return self.l3 if size <= 0.75 * self.l3_bytes else self.dram

    def limit(self, flops: float, moved: float, held: float) -> float:
        """Seconds that one core needs at least for work whose operands take `held` bytes."""
        return max(flops / self.peak, moved / self.bandwidth(held))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """The loops, compiled."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten() + ",-prefer-256-bit", opt=2
        )
        module = llvm.parse_assembly(peak_text(self.lanes) + read_text(self.lanes))
        self._jit = llvm.create_mcjit_compiler(module, machine)
        self._jit.finalize_object()
        address = self._jit.get_function_address
        self._peak = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)(address("peak"))
        self._read = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_int64)(address("read"))
        self._to_and_fro = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
            address("to_and_fro")
        )
        self.peak()

    def peak(self, seconds: float = 0.004) -> float:
        """Operations a second: the best of short loops."""
        rounds = 20_000
        work = 2.0 * self.lanes * ACCUMULATORS * rounds
        return work / best_seconds(lambda: self._peak(rounds), seconds)

    def peak_together(self, threads: int) -> float:
        """Operations a second of the slowest of several threads that run at once, a processor each, for some milliseconds."""
        cores = sorted(os.sched_getaffinity(0))[-threads:]
        rounds = 1_000_000
        ready = Barrier(threads)

        def run(core: int) -> float:
            os.sched_setaffinity(0, {core})  # of this thread
            ready.wait()
            return best_seconds(lambda: self._peak(rounds), 0.0)

        with ThreadPoolExecutor(threads) as pool:
            return 2.0 * self.lanes * ACCUMULATORS * rounds / max(pool.map(run, cores))

    def read(self, size: int, seconds: float = 0.05, block: int = 0) -> float:
        """Bytes a second read again and again from a buffer of that size; with blocks of so many bytes, every other time
        the last one first."""
        step = 4 * self.lanes * STREAMS
        memory = np.ones(size // 4 + 16, np.float32)
        start = -(-memory.ctypes.data // 64) * 64
        count = size // step
        if block:
            blocks, each = size // block, block // step
            call = partial(self._to_and_fro, start, blocks, each)
            return 2 * blocks * each * step / best_seconds(call, seconds)
        return count * step / best_seconds(lambda: self._read(start, count), seconds)

    def machine(self) -> Machine:
        l2, l3 = cache_size(2, 1 << 20), cache_size(3, 16 << 20)
        return Machine(
            max(self.peak(0.05) for _ in range(3)),
            self.read(l2 // 2),
            self.read(min(l3 // 2, max(4 * l2, l3 // 4))),
            self.read(max(128 << 20, 4 * l3), 0.3),
            l2,
            l3,
            _cpu_name(),
            len(os.sched_getaffinity(0)),
        )


def best_seconds(call: Callable[[], Any], seconds: float) -> float:
    """The shortest of the calls that fit into that time, and of at least one."""
    best, end = float("inf"), perf_counter() + seconds
    while True:
        start = perf_counter()
        call()
        stop = perf_counter()
        best = min(best, stop - start)
        if stop >= end:
            return best


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
