"""Schedules chosen by measurement: the candidates of a kernel, and the record of what was chosen, in the cache.

A record belongs to a target; it maps the digest of a kernel's text to the text of a schedule. A choice that is no candidate of
the kernel is passed over, so that an old or damaged record costs speed at most. Given a record, code is the same every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .choices import forget_choices, load_choices, save_choices
from .contract import default_schedule
from .dot_schedule import DotSchedule, dot_variants
from .kernel_ir import Contract, For, If, Kernel, Packed, Stmt, Tile
from .program import Beside, Branch, KernelProgram, Launch, Loop, Step, While
from .schedule import ContractSchedule
from .target import Target

__all__ = [
    "Schedule",
    "TileSchedule",
    "candidates",
    "digest",
    "forget_choices",
    "load_choices",
    "save_choices",
    "with_choices",
    "with_schedules",
]

LIMIT = 5
"""Candidates of a kernel, the default among them."""


@dataclass(frozen=True, slots=True)
class TileSchedule:
    """How high the register tile of a convolution is; its width is its weights' layout.

    Args:
        rows:   of the tile
        tuned:  whether other than what the lowering chose
    """

    rows: int
    tuned: bool = True

    def __str__(self) -> str:
        return f"rows={self.rows}"


Schedule = ContractSchedule | DotSchedule | TileSchedule


def digest(kernel: Kernel) -> str:
    """What a record calls a kernel."""
    return hashlib.blake2b(str(replace(kernel, name="k", origin="")).encode(), digest_size=16).hexdigest()


def candidates(kernel: Kernel, target: Target) -> tuple[Schedule, ...]:
    """The schedules worth measuring, the default first; none where there is nothing to choose."""
    found = list(_tunable(kernel.body))
    if len(found) != 1:
        return ()
    (s,) = found
    return _of_contract(s, target) if isinstance(s, Contract) else _of_tile(s, target)


def _tunable(body: Sequence[Stmt]) -> Iterator[Contract | Tile]:
    for s in body:
        match s:
            case Contract() | Tile():
                yield s
            case For():
                yield from _tunable(s.body)
            case If():
                yield from _tunable((*s.then, *s.otherwise))
            case _:
                pass


def _of_contract(c: Contract, target: Target) -> tuple[Schedule, ...]:
    if isinstance(c.schedule, DotSchedule):
        return dot_variants(c.schedule, target)[:LIMIT]
    base = None if c.schedule is not None else default_schedule(c, target)
    if base is None:
        return ()
    rows = base.rows
    third = max(rows, base.mc // 3 // rows * rows)
    tried = [base, replace(base, mc=third), replace(base, kc=max(32, base.kc // 2))]
    if base.panels > 1 and not c.parts:
        tried.append(replace(base, panels=base.panels // 2))
    if not isinstance(c.b, Packed) and base.lanes == target.lanes(c.acc.dtype.bytes):
        for vectors in {1, 2, 3} - {base.vectors}:
            high = min((target.registers - vectors - 1) // vectors, base.mc)
            tried.append(replace(base, rows=high, vectors=vectors, mc=max(high, base.mc // high * high)))
    low = max(1, rows * 2 // 3)
    tried.append(replace(base, rows=low, mc=max(low, base.mc // low * low)))
    return tuple(dict.fromkeys(tried))[:LIMIT]


def _of_tile(tile: Tile, target: Target) -> tuple[Schedule, ...]:
    most = (target.registers - tile.vectors - 1) // tile.vectors
    tried = (tile.rows * 2 // 3, tile.rows // 2, tile.rows - 2, most)
    rows = dict.fromkeys(r for r in tried if 2 <= r <= most and r != tile.rows)
    return (TileSchedule(tile.rows, False), *(TileSchedule(r) for r in rows))[:LIMIT]


def with_choices(program: KernelProgram, target: Target, choices: Mapping[str, str]) -> KernelProgram:
    """The program with the chosen schedules in its kernels."""
    if not choices:
        return program
    known: dict[int, Kernel] = {}

    def change(kernel: Kernel) -> Kernel:
        if id(kernel) not in known:
            chosen = choices.get(digest(kernel))
            fitting = () if chosen is None else candidates(kernel, target)
            found = next((s for s in fitting if str(s) == chosen), None)
            known[id(kernel)] = kernel if found is None else _scheduled(kernel, found)
        return known[id(kernel)]

    return replace(program, prepare=_steps(program.prepare, change), run=_steps(program.run, change))


def with_schedules(program: KernelProgram, target: Target) -> KernelProgram:
    """The program, for its dump: contractions say also the schedule that they get where none was chosen."""

    def stmt(s: Stmt) -> Stmt:
        match s:
            case Contract() if s.schedule is None:
                return replace(s, schedule=default_schedule(s, target))
            case _:
                return _within(s, stmt)

    known: dict[int, Kernel] = {}

    def change(kernel: Kernel) -> Kernel:
        return known.setdefault(id(kernel), replace(kernel, body=tuple(map(stmt, kernel.body))))

    return replace(program, prepare=_steps(program.prepare, change), run=_steps(program.run, change))


def _within(s: Stmt, change: Callable[[Stmt], Stmt]) -> Stmt:
    """The statement with those inside it changed."""
    match s:
        case For():
            return replace(s, body=tuple(map(change, s.body)))
        case If():
            return replace(s, then=tuple(map(change, s.then)), otherwise=tuple(map(change, s.otherwise)))
        case _:
            return s


def _steps(steps: Sequence[Step], change: Callable[[Kernel], Kernel]) -> tuple[Step, ...]:
    found: list[Step] = []
    for s in steps:
        match s:
            case Launch():
                found.append(replace(s, kernel=change(s.kernel)))
            case Loop() | While() | Beside():
                found.append(replace(s, body=_steps(s.body, change)))
            case Branch():
                found.append(replace(s, then=_steps(s.then, change), otherwise=_steps(s.otherwise, change)))
            case _:
                found.append(s)
    return tuple(found)


def _scheduled(kernel: Kernel, schedule: Schedule) -> Kernel:
    if isinstance(schedule, TileSchedule) and not schedule.tuned:
        return kernel

    def change(s: Stmt) -> Stmt:
        match s:
            case Contract() if isinstance(schedule, (ContractSchedule, DotSchedule)):
                return replace(s, schedule=schedule)
            case Tile() if isinstance(schedule, TileSchedule):
                tails = tuple(h for h in (16, 8, 4, 2, 1) if h < schedule.rows)
                return replace(s, rows=schedule.rows, heights=(schedule.rows, *tails))
            case _:
                return _within(s, change)

    return replace(kernel, body=tuple(map(change, kernel.body)))


# -- the record ------------------------------------------------------------------------------------------------------
