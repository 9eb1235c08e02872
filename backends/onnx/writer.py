"""Writes the nodes of one ONNX graph: names, constants, casts, and dims as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dims import Dim, Expr, Func, Symbol, dim_text, scaled_symbol
from ...ir.errors import UnsupportedError
from ...ir.graph import Graph, Node, Value
from ...ir.ops.constant import Constant, Literal
from ...ir.ops.move import BroadcastInDim
from ...ir.types import Array, DType, f32

__all__ = ["NeedsOpset", "Writer", "onnx_type"]

_TYPES = {
    "f64": 11, "f32": 1, "f16": 10, "bf16": 16, "i64": 7, "i32": 6, "i16": 5, "i8": 3, "u64": 13, "u32": 12, "u8": 2,
    "bool": 9,
}  # fmt: skip
LAZY = ("constant", "iota", "broadcast_in_dim")
"""Ops whose nodes are written when somebody reads them as a tensor of full shape."""


class NeedsOpset(Exception):
    """The graph holds something that a later opset has; export starts again with it."""

    def __init__(self, opset: int) -> None:
        super().__init__(opset)
        self.opset = opset


def onnx_type(dtype: DType) -> int:
    """The number of an element type in onnx.TensorProto."""
    return _TYPES[dtype.name]


class Writer:
    """One graph under construction; a body's writer shares names and constants with the one around it.

    Args:
        opset: of the standard domain
        outer: the writer around a body
    """

    def __init__(self, opset: int, outer: Writer | None = None) -> None:
        self.opset = opset
        self.outer = outer
        self.nodes: list[Any] = []
        self.names: dict[Value, str] = {}
        self._bound: set[str] = set()
        self.taken: dict[str, int] = outer.taken if outer is not None else {}
        self.constants: dict[str, tuple[str, Array]] = outer.constants if outer is not None else {}
        self.symbols: dict[str, tuple[str, int, int, int]] = outer.symbols if outer is not None else {}
        self._dims: dict[object, str] = {}
        self.origins: list[str] = []
        self._users: dict[Value, list[Node | None]] = {}
        self._absorbed: dict[Node, None] = {}

    def need(self, opset: int) -> None:
        """Say that what is written needs at least this opset."""
        if self.opset < opset:
            raise NeedsOpset(opset)

    # names
    def fresh(self, hint: str) -> str:
        """A name that no tensor has yet: the hint, or the hint and the first number that is free."""
        base = hint or "t"
        name, count = base, self.taken.get(base, 0)
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken[base] = count
        self.taken.setdefault(name, 0)
        return name

    def rename(self, name: str, hint: str) -> str:
        """The new name of a tensor that the last node made and that is nobody's yet; the old one of any other."""
        made = self.nodes[-1] if self.nodes else None
        if not hint or made is None or name in self._bound or name not in made.output:
            return name
        found = self.fresh(hint)
        made.output[list(made.output).index(name)] = found
        made.name = self.fresh(f"{made.op_type}.{found}")
        return found

    def bind(self, value: Value, name: str) -> None:
        self.names[value] = name
        self._bound.add(name)

    def find(self, value: Value) -> str | None:
        """The tensor of a value that is written already, here or around."""
        writer: Writer | None = self
        while writer is not None:
            if value in writer.names:
                return writer.names[value]
            writer = writer.outer
        return None

    def tensor(self, value: Value) -> str:
        """The tensor of a value, of its full shape; what was put off is written now."""
        found = self.find(value)
        if found is not None:
            return found
        from .table import EMITTERS

        assert value.node is not None and value.node.op.mnemonic in LAZY, f"{value!r} is not written"
        EMITTERS[value.node.op.mnemonic](self, value.node)
        return self.names[value]

    def thin(self, value: Value) -> str:
        """A tensor that broadcasts to the value in an elementwise node: before its broadcast where there was one."""
        node = value.node
        if self.find(value) is None and node is not None and isinstance(node.op, BroadcastInDim):
            source, rank = node.operands[0], value.type.rank
            name = self.tensor(source)
            first = min(node.op.axes, default=rank)
            missing = [a - first for a in range(first, rank) if a not in node.op.axes]
            return self.node("Unsqueeze", [name, self.vector(missing)]) if missing else name
        return self.tensor(value)

    def operands(self, values: Sequence[Value]) -> list[str]:
        """Tensors for an elementwise node whose result has the values' shape: one at least is of full shape."""

        def is_thin(v: Value) -> bool:
            return self.find(v) is None and v.node is not None and isinstance(v.node.op, BroadcastInDim)

        names = [self.thin(v) for v in values]
        if all(map(is_thin, values)):
            names[0] = self.tensor(values[0])
        return names

    def only_user(self, value: Value) -> Node | None:
        """The node that uses the value, where nothing else does and it uses it once."""
        users = self._users.get(value, [])
        return users[0] if len(users) == 1 else None

    def is_used(self, value: Value) -> bool:
        """Whether a node, an output or an update of the graph takes the value."""
        return value in self._users

    def absorb(self, node: Node) -> None:
        """Say that the node is written already, as part of another; its origins join those of the last one written."""
        self._absorbed[node] = None
        self.origins = list(dict.fromkeys([*self.origins, *(f"{o.file}:{o.line}" for o in node.origins)]))
        self.nodes[-1].doc_string = ", ".join(self.origins)

    # nodes
    def node(self, op: str, inputs: Sequence[str], hint: str = "", **attributes: Any) -> str:
        """Write a node with one result; its tensor."""
        return self.multi(op, inputs, [hint], **attributes)[0]

    def multi(self, op: str, inputs: Sequence[str], hints: Sequence[str], **attributes: Any) -> list[str]:
        """Write a node with several results."""
        from onnx import helper

        outputs = [self.fresh(h or op.lower()) for h in hints]
        node = helper.make_node(
            op, list(inputs), outputs, name=self.fresh(f"{op}.{outputs[0]}"), **attributes
        )
        if self.origins:
            node.doc_string = ", ".join(self.origins)
        self.nodes.append(node)
        return outputs

    def copy(self, source: str, name: str) -> None:
        """Write a tensor once more, under a name that is kept for it."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [source], [name], name=self.fresh(f"Identity.{name}")))

    def constant(self, value: Any, dtype: DType | None = None) -> str:
        """An initializer; equal ones are one."""
        literal = Literal(value, dtype)
        if literal.digest not in self.constants:
            self.constants[literal.digest] = (self.fresh("c"), literal.array)
        return self.constants[literal.digest][0]

    def scalar(self, value: float | bool, dtype: DType) -> str:
        return self.constant(np.asarray(value).astype(dtype.numpy))

    def vector(self, values: Sequence[int]) -> str:
        """An i64 vector."""
        return self.constant(np.asarray(list(values), dtype=np.int64))

    def cast(self, name: str, source: DType, target: DType) -> str:
        """The plain ONNX cast; the tensor itself where the types are equal."""
        return name if source == target else self.node("Cast", [name], to=onnx_type(target))

    def widened(self, names: Sequence[str], dtype: DType, compute: DType) -> list[str]:
        return [self.cast(n, dtype, compute) for n in names]

    def where(self, condition: str, x: str, y: str, dtype: DType) -> str:
        """Where, for the element types that onnxruntime's lacks too."""
        from ...ir.types import i32, i64

        if dtype.name == "bool":
            left = self.node("And", [condition, x])
            return self.node("Or", [left, self.node("And", [self.node("Not", [condition]), y])])
        through = {"i16": i32, "bf16": f32, "u64": i64}.get(dtype.name)
        if through is None:
            return self.node("Where", [condition, x, y])
        picked = self.node("Where", [condition, *self.widened([x, y], dtype, through)])
        return self.cast(picked, through, dtype)

    # dims
    def bind_symbols(self, graph: Graph) -> None:
        """Find for each symbol an input one of whose dims it is, alone or, where there is none, as in 32*H."""
        for value in graph.inputs:
            for axis, dim in enumerate(value.type.shape):
                found = scaled_symbol(dim)
                if found is None:
                    continue
                place = (self.names[value], axis, *found[1:])
                if self.symbols.setdefault(found[0].name, place)[2:] != (1, 0) and place[2:] == (1, 0):
                    self.symbols[found[0].name] = place

    def dim(self, dim: Dim) -> str:
        """A dim as an i64 vector of one element."""
        if isinstance(dim, int):
            return self.vector([dim])
        if dim not in self._dims:
            self._dims[dim] = self._write_dim(dim)
        return self._dims[dim]

    def _write_dim(self, dim: Expr) -> str:
        total: str | None = None
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom, power in monomial for _ in range(power)]
            if coefficient != 1 or not factors:
                factors.append(self.vector([coefficient]))
            product = factors[0]
            for factor in factors[1:]:
                product = self.node("Mul", [product, factor])
            total = product if total is None else self.node("Add", [total, product])
        assert total is not None
        return total

    def _atom(self, atom: Symbol | Func) -> str:
        if isinstance(atom, Symbol):
            if atom.name not in self.symbols:
                raise UnsupportedError(
                    f"onnx: symbol {atom.name} is no dim of an input by itself",
                    hint=f"give an input an axis of size {atom.name}",
                )
            key = ("symbol", atom.name)
            if key not in self._dims:
                name, axis, scale, added = self.symbols[atom.name]
                size = self.node("Gather", [self.node("Shape", [name]), self.vector([axis])], axis=0)
                size = self.node("Sub", [size, self.vector([added])]) if added else size
                self._dims[key] = self.node("Div", [size, self.vector([scale])]) if scale != 1 else size
            return self._dims[key]
        a, b = self.dim(atom.a), self.dim(atom.b)
        match atom.name:
            case "min":
                return self.node("Min", [a, b])
            case "max":
                return self.node("Max", [a, b])
            case "mod":
                return self.node("Mod", [a, b])
            case "floordiv":
                return self._floordiv(a, b)
            case _:
                zero = self.vector([0])
                return self.node("Sub", [zero, self._floordiv(self.node("Sub", [zero, a]), b)])

    def _floordiv(self, a: str, b: str) -> str:
        return self.node("Div", [self.node("Sub", [a, self.node("Mod", [a, b])]), b])

    def shape(self, shape: Sequence[Dim]) -> str:
        """A shape as an i64 vector: a constant, or put together at run time."""
        if all(isinstance(d, int) for d in shape):
            return self.vector([d for d in shape if isinstance(d, int)])
        return self.node("Concat", [self.dim(d) for d in shape], axis=0)

    def reshape(self, name: str, shape: Sequence[Dim], hint: str = "") -> str:
        """Reshape; -1 stands for a lone symbolic dim where the others are not 0."""
        symbolic = [d for d in shape if not isinstance(d, int)]
        fixed = [d for d in shape if isinstance(d, int)]
        if len(symbolic) == 1 and all(fixed):
            return self.node(
                "Reshape", [name, self.vector([d if isinstance(d, int) else -1 for d in shape])], hint
            )
        return self.node("Reshape", [name, self.shape(shape)], hint, allowzero=1)

    def write(self, graph: Graph) -> None:
        """All nodes of a graph whose inputs are bound."""
        from .table import EMITTERS

        self._users = graph.uses()
        for node in graph.nodes:
            if node in self._absorbed or (node.op.mnemonic in LAZY and not isinstance(node.op, Constant)):
                continue
            self.origins = [f"{o.file}:{o.line}" for o in node.origins]
            EMITTERS[node.op.mnemonic](self, node)
        self.origins = []


def dim_parameter(dim: Dim) -> int | str:
    """A dim as it stands in an ONNX value's shape."""
    return dim if isinstance(dim, int) else dim_text(dim)


def result(writer: Writer, node: Node, name: str, index: int = 0) -> None:
    """Say that a tensor is a result of the node; it takes the value's name where it may."""
    value = node.results[index]
    writer.bind(value, writer.rename(name, value.name))
