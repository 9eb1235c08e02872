"""What differs between two programs: structural, however their nodes are ordered and named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..ir.program import Program
from ..ir.store import Entry
from ..ir.text.printer import data_digest
from .edits import Edit, GraphDiff, Line, diff_graphs
from .matching import Numbers

__all__ = ["Diff", "Edit", "EntryEdit", "GraphDiff", "diff"]

CONTEXT = 2
"""Lines that stay the same and are shown around one that does not."""


@dataclass(frozen=True)
class EntryEdit:
    """A store entry that is not the same.

    Args:
        kind:          deleted, inserted, changed or renamed
        name:          in b where it is there, else in a
        before, after: as text; empty where it is not there
    """

    kind: Literal["deleted", "inserted", "changed", "renamed"]
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Diff:
    """What differs.

    Args:
        a, b:    the names of the two programs
        symbols: those of another range, before and after
        entries: of the store
        graphs:  one each, in the order of b; those of a alone behind
    """

    a: str
    b: str
    symbols: tuple[tuple[str, str], ...]
    entries: tuple[EntryEdit, ...]
    graphs: tuple[GraphDiff, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.symbols and not self.entries and all(g.same for g in self.graphs)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Of all graphs."""
        return tuple(edit for graph in self.graphs for edit in graph.edits)

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "same": self.same,
            "symbols": [list(pair) for pair in self.symbols],
            "entries": [vars(e) for e in self.entries],
            "graphs": [g.to_json() for g in self.graphs],
        }

    def lines(self) -> Iterator[Line]:
        """The listing, whole: a sign, an indentation and a text each."""
        for before, after in self.symbols:
            yield Line("-", 0, f"sym {before}")
            yield Line("+", 0, f"sym {after}")
        for entry in self.entries:
            if entry.before:
                yield Line("-", 0, entry.before)
            if entry.after:
                yield Line("+", 0, entry.after)
        for graph in self.graphs:
            yield from graph.lines

    def __str__(self) -> str:
        if self.same:
            return f"{self.a} and {self.b} are the same program"
        parts = [f"--- {self.a}", f"+++ {self.b}"]
        parts += [str(line) for line in shortened(list(self.lines()))]
        return "\n".join([*parts, self.summary()])

    def summary(self) -> str:
        """How many of each kind: ``1 node changed, 2 inserted; 1 entry changed``."""
        counts = {
            k: sum(e.kind == k for e in self.edits) for k in ("changed", "rewired", "inserted", "deleted")
        }
        nodes = [f"{n} {kind}" for kind, n in counts.items() if n]
        parts = [f"nodes: {', '.join(nodes)}"] if nodes else []
        entries = len(self.entries)
        parts += [f"{entries} {'entry differs' if entries == 1 else 'entries differ'}"] if entries else []
        parts += [f"{len(self.symbols)} of another range"] if self.symbols else []
        heads = sum(bool(g.head) for g in self.graphs)
        parts += [f"{heads} {'graph takes or returns' if heads == 1 else 'graphs take or return'} something else"] if heads else []  # fmt: skip
        retyped = sum(g.retyped for g in self.graphs)
        parts += [f"{retyped} more of another type"] if retyped else []
        return "; ".join(parts) or "no difference"

    def to_html(self) -> str:
        """A page of its own, without scripts."""
        from ..view.listing import diff_page

        return diff_page(self)


def shortened(lines: Sequence[Line], context: int = CONTEXT) -> list[Line]:
    """The lines with long stretches that stay the same replaced by their number; heads of graphs stay."""
    near = [False] * len(lines)
    for k, line in enumerate(lines):
        if line.sign != " " or line.head:
            reach = 0 if line.sign == " " else context
            for j in range(max(k - reach, 0), min(k + reach + 1, len(lines))):
                near[j] = True
    found: list[Line] = []
    skipped = 0
    for k, line in enumerate(lines):
        if not near[k]:
            skipped += 1
        if skipped and (near[k] or k == len(lines) - 1):
            found.append(Line("@", line.depth, f"{skipped} the same"))
            skipped = 0
        if near[k]:
            found.append(line)
    return found


def diff(a: Program, b: Program) -> Diff:
    """What differs between two programs.

    Graphs are compared by name; where each has a single one, whatever its name. Names of values, the order of nodes and
    the lines they come from do not count; a renamed entry does.
    """
    entries, renamed = _entries(a, b)
    numbers = Numbers()
    graphs: list[GraphDiff] = []
    pairs = _pairs(a, b)
    for x, y in pairs:
        one, other = a.graphs.get(x), b.graphs.get(y)
        graphs.append(diff_graphs(one, other, numbers, renamed))
    return Diff(a.name or "a", b.name or "b", _symbols(a, b), tuple(entries), tuple(graphs))


def _symbols(a: Program, b: Program) -> tuple[tuple[str, str], ...]:
    there = {s.name: s for s in b.symbols}
    pairs = [(s, there[s.name]) for s in a.symbols if s.name in there and s != there[s.name]]
    return tuple((f"{s.name} in {s.lo}..{s.hi}", f"{t.name} in {t.lo}..{t.hi}") for s, t in pairs)


def _pairs(a: Program, b: Program) -> list[tuple[str, str]]:
    """Names of graphs to compare; an empty one for none."""
    left, right = list(a.graphs), list(b.graphs)
    pairs = [(name if name in a.graphs else "", name) for name in right]
    alone = [name for name in left if name not in b.graphs]
    lonely = [k for k, (x, _) in enumerate(pairs) if not x]
    if len(alone) == 1 and len(lonely) == 1 and "prepare" not in (alone[0], pairs[lonely[0]][1]):
        pairs[lonely[0]] = (alone.pop(), pairs[lonely[0]][1])
    return pairs + [(name, "") for name in alone]


def _entries(a: Program, b: Program) -> tuple[list[EntryEdit], dict[str, str]]:
    """The entries that differ, and the name in b of each entry of a that was renamed."""
    left, right = dict(a.store.items()), dict(b.store.items())
    gone = {name: e for name, e in left.items() if name not in right}
    new = {name: e for name, e in right.items() if name not in left}
    edits = [
        EntryEdit("changed", name, _text(name, left[name]), _text(name, right[name]))
        for name in left
        if name in right and not _same_entry(left[name], right[name])
    ]
    contents: dict[tuple[str, ...], list[str]] = {}
    for name, entry in new.items():
        if entry.has_data:
            contents.setdefault(_content(entry), []).append(name)
    renamed: dict[str, str] = {}
    for name, entry in gone.items():
        names = contents.get(_content(entry)) if entry.has_data and contents else None
        if names:
            renamed[name] = names.pop(0)
    for name, other in renamed.items():
        edits.append(EntryEdit("renamed", other, _text(name, gone[name]), _text(other, new[other])))
    taken = set(renamed.values())
    edits += [EntryEdit("deleted", n, _text(n, e), "") for n, e in gone.items() if n not in renamed]
    edits += [EntryEdit("inserted", n, "", _text(n, e)) for n, e in new.items() if n not in taken]
    return edits, renamed


def _content(entry: Entry) -> tuple[str, ...]:
    return entry.kind, str(entry.type), data_digest(entry.data)


def _same_entry(x: Entry, y: Entry) -> bool:
    if x is y:
        return True
    if (x.kind, x.type, x.trainable, x.has_data) != (y.kind, y.type, y.trainable, y.has_data):
        return False
    return not x.has_data or np.array_equal(_bits(x), _bits(y))


def _bits(entry: Entry) -> Any:
    return np.ascontiguousarray(entry.data).reshape(-1).view(np.uint8)


def _text(name: str, entry: Entry) -> str:
    trainable = " trainable" if entry.trainable else ""
    digest = f" #{data_digest(entry.data)[:12]}" if entry.has_data else ""
    return f"{entry.kind} @{name} : {entry.type}{trainable}{digest}"
