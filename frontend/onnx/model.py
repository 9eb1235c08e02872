"""A checked ModelProto, read once: versions, functions, and initialisers as weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...ir.errors import InputError
from .check_tensors import MAX_BYTES
from .elements import array_of
from .report import Refused
from .scope import Weight, entry_name, unique

__all__ = ["OLDEST", "Model"]

OLDEST = 7
"""Older models go through onnx's own converter first."""

STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that are running statistics: state, not weights."""


class Model:
    """What an import reads of a model.

    Attributes:
        label:     the file's name, for messages and origins
        name:      the graph's, for the program
        opset:     the version of ONNX's own domain
        versions:  of each domain
        weights:   initialisers by name; one that cannot be read is None
        taken:     names of the store
        unread:    why not, by name
        functions: of the model itself, by domain and name
        max_memory: bytes that one value may take
    """

    def __init__(self, proto: Any, label: str, max_memory: int | None = None) -> None:
        self.max_memory = MAX_BYTES if max_memory is None else min(max_memory, MAX_BYTES)
        self.proto = upgraded(proto, label)
        self.label = label
        self.graph: Any = self.proto.graph
        self.name: str = word(self.graph.name or label.rpartition(".")[0] or label)
        self.versions: dict[str, int] = {
            ("" if s.domain == "ai.onnx" else s.domain): s.version for s in self.proto.opset_import
        }
        self.opset = self.versions.get("", 0)
        self.functions: dict[tuple[str, str], Any] = {(f.domain, f.name): f for f in self.proto.functions}
        self.weights: dict[str, Weight | None] = {}
        self.taken: dict[str, int] = {}
        self.unread: dict[str, str] = {}
        statistics = {
            n.input[k] for n in self.graph.node for k in STATISTICS.get(n.op_type, ()) if k < len(n.input)
        }
        for tensor in self.graph.initializer:
            try:
                array = array_of(tensor)
            except Refused as refused:
                self.weights[tensor.name], self.unread[tensor.name] = None, refused.why
                continue
            entry = unique(entry_name(tensor.name), self.taken)
            self.weights[tensor.name] = Weight(
                entry, array, "state" if tensor.name in statistics else "param"
            )

    def operators(self) -> Iterator[str]:
        """The op of each node, those of subgraphs and functions too."""
        stack = [iter(self.graph.node), *(iter(f.node) for f in self.proto.functions)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node.op_type
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    stack.append(iter(attribute.g.node))


def upgraded(proto: Any, label: str) -> Any:
    """The model at a version that the table knows."""
    version = next((s.version for s in proto.opset_import if s.domain in ("", "ai.onnx")), None)
    if version is None or version >= OLDEST:
        return proto
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, OLDEST)
    except Exception as error:
        raise InputError(
            f"{label}: opset {version} cannot be converted to {OLDEST}: {error}",
            hint="export it again, at opset 17",
        ) from error


def word(name: str) -> str:
    """A program's name."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", name).strip("_") or "model"
    return found if found[0].isalpha() else f"model_{found}"
