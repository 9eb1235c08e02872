"""Where the time of a compilation goes: passes, lowering, text, LLVM, loading, and what the cache saves of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..backends.base import find_backend
from ..ir.program import Program
from ..passes.manager import Record, run_pipeline

__all__ = ["CompileTime", "compile_time"]

T = TypeVar("T")


@dataclass(frozen=True)
class CompileTime:
    """The stages of one compilation.

    Args:
        stages:  name and seconds of processor time of each, in order
        records: of the passes, the first stage
        bytes:   of LLVM text and of the object
        cached:  seconds to get the same from the cache
    """

    stages: tuple[tuple[str, float], ...]
    records: tuple[Record, ...]
    bytes: tuple[int, int]
    cached: float

    def __str__(self) -> str:
        total = sum(seconds for _, seconds in self.stages)
        lines = [f"{1e3 * total:9.2f} ms  100.0 %  compilation"]
        for k, (name, seconds) in enumerate(self.stages):
            branch = "└─" if k == len(self.stages) - 1 else "├─"
            lines.append(f"{1e3 * seconds:9.2f} ms  {_share(seconds, total):5.1f} %  {branch} {name}")
            if k == 0:
                for n, r in enumerate(self.records):
                    inner = "└─" if n == len(self.records) - 1 else "├─"
                    share = _share(r.seconds, total)
                    lines.append(f"{1e3 * r.seconds:9.2f} ms  {share:5.1f} %  │  {inner} {r.pass_}")
        text, size = self.bytes
        lines.append(f"{1e3 * self.cached:9.2f} ms           from the cache")
        return "\n".join([*lines, f"{text} bytes of LLVM text, an object of {size} bytes"])

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return {
            "stages": [{"stage": name, "seconds": seconds} for name, seconds in self.stages],
            "passes": [{"pass": r.pass_, "seconds": r.seconds} for r in self.records],
            "text_bytes": self.bytes[0],
            "object_bytes": self.bytes[1],
            "cached_seconds": self.cached,
        }


def _share(seconds: float, total: float) -> float:
    return 100 * seconds / total if total else 0.0


def compile_time(
    program: Program,
    level: int = 2,
    clock: Callable[[], float] = time.process_time,
    winograd: str = "auto",
) -> CompileTime:
    """Compile a program before the passes with the LLVM backend, a stage at a time, past the cache; then with it.

    Args:
        winograd: as of `compile`
    """
    from ..backends.llvm.assemble import assemble
    from ..backends.llvm.context import ENTRY_POINTS
    from ..backends.llvm.emit_program import program_text
    from ..backends.llvm.jit import load_object
    from ..backends.llvm.objects import compile_object
    from ..backends.llvm.target import host_target
    from ..compiling import compile as compile_

    backend, target = find_backend("llvm"), replace(host_target(), winograd=winograd == "auto")
    compile_(program, opt=level, winograd=winograd)  # fills the cache
    run_pipeline(program, backend.pipeline(level), verify=False)  # imports what the passes need
    stages: list[tuple[str, float]] = []

    def timed(name: str, run: Callable[[], T]) -> T:
        start = clock()
        result = run()
        stages.append((name, clock() - start))
        return result

    result = timed(
        "passes", lambda: run_pipeline(program, backend.pipeline(level), verify=False, clock=clock)
    )
    assembled = timed("lower", lambda: assemble(result.program, target))
    text = timed("emit", lambda: program_text(assembled.program, target))
    data = timed("llvm", lambda: compile_object(text, target, cached=False))
    timed("load", lambda: load_object(data, ENTRY_POINTS)).close()
    start = clock()
    compile_(program, opt=level, winograd=winograd)
    return CompileTime(tuple(stages), result.records, (len(text), len(data)), clock() - start)
