"""What is known while a Python function is traced: the graph under construction and the store entries it uses."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from ..ir.errors import NervureError, TraceError
from ..ir.graph import Value
from ..ir.origin import origin_source
from ..ir.store import Entry
from .origins import raised_at, user_lines, user_origins

__all__ = ["Frame", "LayerCall", "Tracing", "current", "is_tracing", "tracing", "user_lines", "user_origins"]


@dataclass(eq=False)
class Frame:
    """One graph under construction; a region's frame takes outer values in as operands.

    Attributes:
        parent:   the frame around a region, None for the program's graph
        captured: outer values used inside, with the region inputs that stand for them
        of:       the op that holds the region
        updates:  new contents of entries, where the op hands them out; None where it cannot
        held:     where the op hands updates out, the region inputs that stand for entries' contents before it
    """

    parent: Frame | None = None
    captured: dict[Value, Value] = field(default_factory=dict[Value, Value])
    of: str = ""
    updates: dict[Entry, Value] | None = None
    held: dict[Entry, Value] = field(default_factory=dict[Entry, Value])

    @property
    def written(self) -> dict[Entry, Value]:
        """The updates of a region that hands them out."""
        assert self.updates is not None
        return self.updates


@dataclass(eq=False)
class LayerCall:
    """One call of a module while it is traced.

    Attributes:
        module:  the module
        depth:   how many other modules' calls are around it
        inputs:  the tensors it was given
        outputs: the tensors it gave; none while it runs, or where it failed
    """

    module: object
    depth: int
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()


@dataclass(eq=False)
class Tracing:
    """One program under construction.

    Attributes:
        names:    the names of known store entries
        entries:  those that were read or updated, in order
        reads:    the value of each at entry
        updates:  their new contents
        training: whether batch norm and dropout behave as in training
        layers:   calls of modules, outer ones before inner ones
        inside:   those that are going on
    """

    names: dict[Entry, str] = field(default_factory=dict[Entry, str])
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    reads: dict[Entry, Value] = field(default_factory=dict[Entry, Value])
    updates: dict[Entry, Value] = field(default_factory=dict[Entry, Value])
    training: bool = False
    layers: list[LayerCall] = field(default_factory=list[LayerCall])
    inside: list[LayerCall] = field(default_factory=list[LayerCall])
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
        """The entry's content as the current frame sees it: what was written while tracing, else what it holds at entry."""
        frame: Frame | None = self.frame
        while frame is not None:
            written = self.updates if frame is self.root else frame.updates
            if written is not None and entry in written:
                return self.enter(written[entry], frame)
            if frame.updates is not None:
                return self.enter(self.hold(entry, frame), frame)
            frame = frame.parent
        if entry not in self.reads:
            name = self.name(entry)
            self.reads[entry] = Value(entry.type, entry=name, name=name)
        return self.enter(self.reads[entry], self.root)

    def hold(self, entry: Entry, frame: Frame) -> Value:
        """The input of the region that stands for the entry's content before it."""
        if entry not in frame.held:
            frame.held[entry] = Value(entry.type, name=self.name(entry))
        return frame.held[entry]

    def update(self, entry: Entry, value: Value) -> None:
        """Give the entry a new content when the program has run.

        Raises:
            TraceError: inside a region that cannot hand it out, or with a value of another type
        """
        name = self.name(entry)
        written = self.updates if self.frame is self.root else self.frame.updates
        if written is None:
            raise TraceError(
                f"@{name} cannot be updated inside the body of a {self.frame.of}",
                where=user_lines(),
                hint="put the layer into eval()",
            )
        if value.type != entry.type:
            raise TraceError(f"@{name} is {entry.type}, its update is {value.type}", where=user_lines())
        written[entry] = value

    def enter(self, value: Value, owner: Frame) -> Value:
        """The value as seen from the current frame: itself, or a region input that stands for it."""
        chain: list[Frame] = []
        frame: Frame | None = self.frame
        while frame is not None and frame is not owner:
            chain.append(frame)
            frame = frame.parent
        if frame is None:
            inside = f"a value made in the body of a {owner.of}" if owner.of else "a traced value"
            place = "of it" if owner.of else "the function it was made in"
            hint = "return it from the body" if owner.of else "pass it as an argument, or return it"
            raise TraceError(f"{inside} is used outside {place}", where=user_lines(), hint=hint)
        for inner in reversed(chain):
            if value not in inner.captured:
                inner.captured[value] = Value(value.type, name=value.name)
            value = inner.captured[value]
        return value

    @contextmanager
    def region(self, of: str = "scan", *, updates: bool = False) -> Generator[Frame]:
        """Trace a body: values made inside belong to it.

        Args:
            of:      the op that holds it
            updates: whether entries may be updated inside; the frame then has their new contents
        """
        outer = self.frame
        self.frame = Frame(outer, of=of, updates={} if updates else None)
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
        raise TraceError(
            "tensors exist only while a function is traced",
            where=user_lines(),
            hint="give the module or function to nv.trace or nv.compile and call what that returns",
        )
    return found


def is_tracing() -> bool:
    """Whether a trace is going on."""
    return _current.get() is not None


@contextmanager
def tracing(state: Tracing) -> Generator[Tracing]:
    """Trace inside; nodes take their origins from the user's lines, and so do errors that know none."""
    token = _current.set(state)
    try:
        with origin_source(user_origins):
            yield state
    except NervureError as error:
        error.where = error.where or tuple(raised_at(error))
        raise
    finally:
        _current.reset(token)
