"""A program that returns all of its values, those of every step of its loops too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from ..ir.graph import Graph, Node, Value, make
from ..ir.ops.constant import Constant
from ..ir.ops.control import Scan
from ..ir.program import Program
from ..ir.store import Entry, Store
from ..ir.text.printer import value_names
from ..passes.inline import HELD

__all__ = ["Exposure", "Path", "Slot", "exposed", "with_own_store"]


@dataclass(frozen=True)
class Level:
    """A node with a region on the way to a value.

    Args:
        name: of its first result
        scan: the loop's op, where it is one
    """

    name: str
    scan: Scan | None = None


Path = tuple[Level, ...]
Key = tuple[Path, Value]


@dataclass(frozen=True)
class Slot:
    """A value of the program and where its content is.

    Args:
        path:  the nodes whose regions hold the value, outermost first
        value: in the program as it was given
        name:  within its own graph
        place: which output of the exposed program, with an axis in front for each loop of the path; -1 for leaves and
               constants of the main graph, whose content is known without running
        order: sorts slots as a run reaches them; infinity stands for the end of a node, None for a loop's step
    """

    path: Path
    value: Value
    name: str
    place: int
    order: tuple[float | None, ...]

    @property
    def loops(self) -> tuple[Scan, ...]:
        return tuple(level.scan for level in self.path if level.scan is not None)


@dataclass
class Exposure:
    """A program that returns all values of another.

    Attributes:
        program: the one that returns them
        slots:   each value of the one that was given
        same_as: inputs of regions that stand for an outer value
        makers:  results of nodes with a region: the region's output
    """

    program: Program
    slots: list[Slot] = field(default_factory=list[Slot])
    same_as: dict[Key, Key] = field(default_factory=dict[Key, Key])
    makers: dict[Key, Key] = field(default_factory=dict[Key, Key])


def exposed(program: Program) -> Exposure:
    """A program whose outputs are the values of the main graph and of its regions; the updates stay.

    Fused groups and calls are taken apart, loops return every step. It has the store of the one that is given.
    """
    work = _Exposing(program)
    main = program.main
    names = value_names(main)
    for value in (*main.inputs, *main.reads()):
        work.leaf((), value, names[value])
    mapping = work.expand(main, {}, (), ())
    outputs = [mapping.get(v, v) for v in work.outputs]
    updates = [(name, mapping.get(v, v)) for name, v in main.updates]
    graph = Graph(main.name, main.inputs, outputs, updates)
    work.exposure.program = program.with_graphs(graph)
    return work.exposure


def with_own_store(program: Program) -> Program:
    """The program on a copy of its store, so that running it changes nothing."""
    entries = {
        name: Entry(e.name, e.type, e.kind, e.trainable, e.data if e.has_data else None)
        for name, e in program.store.items()
    }
    return program.with_store(Store(entries))


class _Exposing:
    def __init__(self, program: Program) -> None:
        self.exposure = Exposure(program)
        self.outputs: list[Value] = []

    def leaf(self, path: Path, value: Value, name: str) -> None:
        self.exposure.slots.append(Slot(path, value, name, -1, (-1,)))

    def expand(
        self, graph: Graph, mapping: Mapping[Value, Value], path: Path, order: tuple[float | None, ...]
    ) -> dict[Value, Value]:
        """New nodes for those of a graph; what stands for each of its values. New values become outputs."""
        found = dict(mapping)
        names = value_names(graph)
        for number, node in enumerate(graph.nodes):
            operands = [found.get(o, o) for o in node.operands]
            at = (*order, float(number))
            if isinstance(node.op, HELD):
                results = self._inlined(node, operands, names[node.results[0]], path, at)
            elif isinstance(node.op, Scan):
                results = self._looped(node, operands, names[node.results[0]], path, at)
            elif operands == list(node.operands):
                results = node.results
            else:
                given = [r.name for r in node.results]
                results = make(node.op, *operands, regions=node.regions, names=given, origins=node.origins)
            found.update(zip(node.results, results, strict=True))
            for old, new in zip(node.results, results, strict=True):
                self._slot(path, old, names[old], new, (*at, inf))
        return found

    def _slot(self, path: Path, old: Value, name: str, new: Value, order: tuple[float | None, ...]) -> None:
        known = not path and isinstance(old.op, Constant)
        self.exposure.slots.append(Slot(path, old, name, -1 if known else len(self.outputs), order))
        if not known:
            self.outputs.append(new)

    def _inlined(
        self, node: Node, operands: Sequence[Value], name: str, path: Path, order: tuple[float | None, ...]
    ) -> tuple[Value, ...]:
        body, inner = node.regions[0], (*path, Level(name))
        for value, operand in zip(body.inputs, node.operands, strict=True):
            self.exposure.same_as[inner, value] = (path, operand)
        found = self.expand(body, dict(zip(body.inputs, operands, strict=True)), inner, order)
        for result, output in zip(node.results, body.outputs, strict=True):
            self.exposure.makers[path, result] = (inner, output)
        return tuple(found[v] for v in body.outputs)

    def _looped(
        self, node: Node, operands: Sequence[Value], name: str, path: Path, order: tuple[float | None, ...]
    ) -> tuple[Value, ...]:
        """A loop whose body returns all of its values; its results first are those of the one that is given."""
        op = node.op
        assert isinstance(op, Scan)
        (body,) = node.regions
        inner = (*path, Level(name, op))
        fresh = {v: Value(v.type, name=v.name) for v in body.inputs}
        before = len(self.outputs)
        names = value_names(body)
        for value in body.inputs:
            self._slot(inner, value, names[value], fresh[value], (*order, None, -1.0))
        found = self.expand(body, fresh, inner, (*order, None))
        outputs = [found[v] for v in body.outputs] + self.outputs[before:]
        region = Graph(body.name, fresh.values(), outputs)
        given = [r.name for r in node.results]
        results = make(op, *operands, regions=(region,), names=given, origins=node.origins)
        self.outputs[before:] = results[len(node.results) :]
        for result, output in zip(node.results, body.outputs, strict=True):
            self.exposure.makers[path, result] = (inner, output)
        return results[: len(node.results)]
