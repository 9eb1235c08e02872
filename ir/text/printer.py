"""IR as text: deterministic, and equal to the byte after parsing and printing again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from ..dims import Expr, dim_text
from ..graph import Graph, Node, Value
from ..op import attributes
from ..ops.constant import Literal
from ..origin import Origins
from ..program import Program
from ..store import Entry
from ..types import Array, DType

__all__ = [
    "HEADER",
    "attribute_text",
    "data_digest",
    "literal_text",
    "print_graph",
    "print_program",
    "value_names",
]

HEADER = "nervure 1"
PREFIX = 12
"""Hex digits of a content hash that are shown on the screen; files hold all 64."""

_NOT_NAME = re.compile(r"[^A-Za-z0-9_.$]")


class Names:
    """Unique, readable names for values: hints where there are any, numbers where not."""

    def __init__(self) -> None:
        self._of: dict[Value, str] = {}
        self._taken: dict[str, int] = {}

    def define(self, value: Value) -> str:
        base = _NOT_NAME.sub("_", value.name)
        if not base:
            base = str(self._taken.get("", 0))
            self._taken[""] = self._taken.get("", 0) + 1
        name = base
        while name in self._taken:
            self._taken[base] += 1
            name = f"{base}_{self._taken[base]}"
        self._taken[name] = 0
        self._of[value] = f"%{name}"
        return self._of[value]

    def __getitem__(self, value: Value) -> str:
        if value.entry is not None:
            return f"@{value.entry}"
        return self._of.get(value, "%<undefined>")


def float_text(value: float) -> str:
    """Shortest text that reads back to the same float; with a point, or nan, inf, -inf."""
    if math.isnan(value):
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return repr(float(value))


def _element_text(dtype: DType) -> Callable[[Any], str]:
    if dtype.name == "bool":
        return lambda v: "true" if v else "false"
    if dtype.is_float:
        if dtype.name == "f64":
            return lambda v: float_text(float(v))
        return _short_float
    return lambda v: str(int(v))


def _short_float(value: Any) -> str:
    """The shortest decimal that rounds to the value in its own element type."""
    wide = float(value)
    if not math.isfinite(wide) or value.dtype.name == "bfloat16":
        return float_text(wide)
    text = np.format_float_positional(value, unique=True, trim="0")
    return (
        text
        if 1e-4 <= abs(wide) < 1e16 or wide == 0
        else np.format_float_scientific(value, unique=True, trim="0")
    )


def literal_text(literal: Literal, digits: int | None = PREFIX) -> str:
    """``dense<f32[2]: 1.0, 2.0>``, or a hash of the content for large literals."""
    if not literal.is_inline:
        return f"dense<{literal.type}: #{literal.digest[:digits]}>"
    text = _element_text(literal.type.dtype)
    elements = [text(v) for v in literal.array.reshape(-1)]
    return f"dense<{literal.type}: {', '.join(elements)}>" if elements else f"dense<{literal.type}>"


def attribute_text(value: Any, digits: int | None = PREFIX) -> str:
    """One attribute as it is written between braces."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return float_text(value)
        case str():
            return json.dumps(value)
        case Expr():
            return dim_text(value)
        case DType():
            return value.name
        case Literal():
            return literal_text(value, digits)
        case tuple():
            items = cast(tuple[Any, ...], value)
            return "[" + ",".join(attribute_text(v, digits) for v in items) + "]"
        case None:
            return "none"
        case _:
            raise AssertionError(f"attribute of type {type(value)}")


def origins_text(origins: Origins) -> str:
    """``@ "mlp.py":12, "mlp.py":13``, or nothing."""
    if not origins:
        return ""
    return " @ " + ", ".join(f"{json.dumps(o.file)}:{o.line}" for o in origins)


def data_digest(array: Array) -> str:
    """The content hash of an entry's data: blake2b-256 of element type, shape and bytes, as 64 hex digits."""
    return Literal(array).digest


class Printer:
    """Writes programs, graphs and nodes; `digits` is how much of each hash is shown (None: all)."""

    def __init__(self, digits: int | None = PREFIX, origins: bool = True, data: bool = True) -> None:
        self.lines: list[str] = []
        self.digits = digits
        self.origins = origins
        self.data = data

    def program(self, program: Program) -> str:
        self.lines = [HEADER, f"program {_word(program.name)} {{"]
        for s in program.symbols:
            self.lines.append(f"  sym {s.name} in {s.lo}..{s.hi}")
        for name, entry in program.store.items():
            self.lines.append("  " + self._entry(name, entry))
        for graph in program.graphs.values():
            self.graph(graph, "  ", f"graph {graph.name}")
        self.lines.append("}")
        return "\n".join(self.lines) + "\n"

    def _entry(self, name: str, entry: Entry) -> str:
        trainable = " trainable" if entry.trainable else ""
        shown = entry.has_data and self.data
        digest = f" #{data_digest(entry.data)[: self.digits]}" if shown else ""
        return f"{entry.kind} @{name} : {entry.type}{trainable}{digest}"

    def graph(self, graph: Graph, indent: str, head: str) -> None:
        names = Names()
        arguments = ", ".join(f"{names.define(v)}: {v.type}" for v in graph.inputs)
        results = _types(v.type for v in graph.outputs)
        self.lines.append(f"{indent}{head}({arguments}) -> {results} {{")
        self._body(graph, names, indent + "  ")
        self.lines.append(indent + "}")

    def _body(self, graph: Graph, names: Names, indent: str) -> None:
        for node in graph.nodes:
            self._node(node, names, indent)
        if graph.outputs or not graph.updates:
            self.lines.append(f"{indent}return {', '.join(names[v] for v in graph.outputs)}".rstrip())
        if graph.updates:
            updates = ", ".join(f"@{entry} = {names[v]}" for entry, v in graph.updates)
            self.lines.append(f"{indent}update {updates}")

    def _node(self, node: Node, names: Names, indent: str) -> None:
        operands = ", ".join(names[v] for v in node.operands)
        attrs = ", ".join(
            f"{name}={attribute_text(value, self.digits)}"
            for name, value, default in attributes(node.op)
            if not default
        )
        results = ", ".join(names.define(r) for r in node.results)
        head = f"{indent}{results} = {node.op.mnemonic}{'{' + attrs + '}' if attrs else ''}"
        tail = f" : {_types(r.type for r in node.results)}" + (
            origins_text(node.origins) if self.origins else ""
        )
        line = head + (f" {operands}" if operands else "") + tail
        if not node.regions:
            self.lines.append(line)
            return
        self.lines.append(line + " {")
        for region in node.regions:
            self.graph(region, indent + "  ", "")
        self.lines.append(indent + "}")


def _word(name: str) -> str:
    """A program's name as the text can hold it."""
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return word if word[:1].isalpha() or word[:1] == "_" else f"program{'_' if word else ''}{word}"


def value_names(graph: Graph) -> dict[Value, str]:
    """The name that each value of a graph, regions apart, has in its printed form: ``%x``, ``@fc.weight``."""
    names = Names()
    for value in graph.inputs:
        names.define(value)
    for node in graph.nodes:
        for result in node.results:
            names.define(result)
    every = [*graph.inputs, *graph.reads(), *(r for node in graph.nodes for r in node.results)]
    return {value: names[value] for value in every}


def _types(types: Iterable[Any]) -> str:
    texts = [str(t) for t in types]
    return texts[0] if len(texts) == 1 else "(" + ", ".join(texts) + ")"


def print_program(
    program: Program, *, digits: int | None = PREFIX, origins: bool = True, data: bool = True
) -> str:
    """The text of a program.

    Args:
        digits:  hex digits of each content hash; None for all, as in files
        origins: whether nodes name the user's lines
        data:    whether entries of the store have a hash of their content
    """
    return Printer(digits, origins, data).program(program)


def print_graph(graph: Graph, *, origins: bool = True) -> str:
    """The text of one graph, without its store."""
    printer = Printer(origins=origins)
    printer.graph(graph, "", f"graph {graph.name}")
    return "\n".join(printer.lines) + "\n"
