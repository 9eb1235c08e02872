"""What is known while a Python function is traced: the graph under construction and where the user's code stands."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType

from ..ir.errors import TraceError
from ..ir.graph import Value
from ..ir.origin import Origin, Origins, origin_source
from ..ir.store import Entry

__all__ = ["Frame", "Tracing", "current", "is_tracing", "tracing", "user_origins"]

PACKAGE = Path(__file__).resolve().parent.parent
OWN = tuple(str(PACKAGE / room) for room in ("ir", "frontend", "passes", "runtime", "backends", "nervure")) + tuple(
    str(PACKAGE / "nervure" / room) for room in ("ir", "frontend", "passes", "runtime", "backends")
)
ROOT_MARKS = ("pyproject.toml", ".git", "setup.py")


@dataclass(eq=False)
class Frame:
    """One graph under construction; a region's frame takes outer values in as operands.

    Attributes:
        parent:   the frame around a region, None for the program's graph
        captured: outer values used inside, with the region inputs that stand for them
    """

    parent: Frame | None = None
    captured: dict[Value, Value] = field(default_factory=dict[Value, Value])


@dataclass(eq=False)
class Tracing:
    """One program under construction.

    Attributes:
        names:    the names of known store entries
        entries:  those that were read or updated, in order
        reads:    the value of each at entry
        updates:  their new contents
        training: whether batch norm and dropout behave as in training
    """

    names: dict[Entry, str] = field(default_factory=dict[Entry, str])
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    reads: dict[Entry, Value] = field(default_factory=dict[Entry, Value])
    updates: dict[Entry, Value] = field(default_factory=dict[Entry, Value])
    training: bool = False
    root: Frame = field(default_factory=Frame)
    frame: Frame = field(default_factory=Frame)

    def __post_init__(self) -> None:
        self.frame = self.root

    def name(self, entry: Entry) -> str:
        """The entry's name in this program; one that no module names gets its own, made unique."""
        if entry not in self.names:
            taken, base = set(self.names.values()), entry.name or "param"
            name, count = base, 0
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            self.names[entry] = name
        self.entries.setdefault(self.names[entry], entry)
        return self.names[entry]

    def read(self, entry: Entry) -> Value:
        """The entry's content: what was written to it while tracing, else what it holds at entry."""
        if entry in self.updates:
            return self.updates[entry]
        if entry not in self.reads:
            name = self.name(entry)
            self.reads[entry] = Value(entry.type, entry=name, name=name)
        return self.reads[entry]

    def update(self, entry: Entry, value: Value) -> None:
        """Give the entry a new content when the program has run."""
        self.name(entry)
        self.updates[entry] = value

    def enter(self, value: Value, owner: Frame) -> Value:
        """The value as seen from the current frame: itself, or a region input that stands for it."""
        chain: list[Frame] = []
        frame: Frame | None = self.frame
        while frame is not None and frame is not owner:
            chain.append(frame)
            frame = frame.parent
        if frame is None:
            raise TraceError("a traced value is used outside the function it was made in", where=[str(o) for o in user_origins()])
        for inner in reversed(chain):
            if value not in inner.captured:
                inner.captured[value] = Value(value.type, name=value.name)
            value = inner.captured[value]
        return value

    @contextmanager
    def region(self) -> Generator[Frame]:
        """Trace a body: values made inside belong to it."""
        outer = self.frame
        self.frame = Frame(outer)
        try:
            yield self.frame
        finally:
            self.frame = outer


_current: ContextVar[Tracing | None] = ContextVar("tracing", default=None)


def current() -> Tracing:
    """The trace that is going on.

    Raises:
        TraceError: there is none
    """
    found = _current.get()
    if found is None:
        raise TraceError("this works on traced values only", hint="call it in a function given to nv.trace or nv.compile")
    return found


def is_tracing() -> bool:
    """Whether a trace is going on."""
    return _current.get() is not None


@contextmanager
def tracing(state: Tracing) -> Generator[Tracing]:
    """Trace inside; nodes take their origins from the user's lines."""
    token = _current.set(state)
    try:
        with origin_source(user_origins):
            yield state
    finally:
        _current.reset(token)


def user_origins() -> Origins:
    """The innermost line on the Python stack that is not nervure's own."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not _is_own(code):
            return (Origin(_relative(code.co_filename), frame.f_lineno, code.co_name),)
        frame = frame.f_back
    return ()


@cache
def _is_own(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith("<frozen") or any(name.startswith(own) for own in OWN) or name == contextmanager.__code__.co_filename


@cache
def _relative(file: str) -> str:
    """The path below the nearest folder that looks like a project's root, else the file's name."""
    path = Path(file)
    for folder in path.parents:
        if any((folder / mark).exists() for mark in ROOT_MARKS):
            return path.relative_to(folder).as_posix()
    return path.name
