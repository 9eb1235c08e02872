"""Writes LLVM text as SSA, with scopes: a pure instruction goes to the outermost loop level where its operands are known.

A scope holds the lines of one loop body or branch. An inner scope's lines reach the outer one when it closes, so
that whatever was appended to the outer one meanwhile stands before it: hoisting is a choice of list. Within the scopes in
sight equal instructions are written once (value numbering).
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from dataclasses import dataclass, field

from ...ir.types import DType

__all__ = ["Builder", "Module", "Scope", "V", "llvm_type", "vector_type"]


@dataclass(slots=True, eq=False)
class V:
    """A value in registers.

    Args:
        text:   an SSA name or a literal; of the base, where stride is set
        ty:     LLVM type of one lane
        lanes:  1 for a scalar, which stands for any number of equal lanes
        level:  the scope that defines it
        number: the value, where it is a literal
        stride: lane l is text + l * stride (i64 only), not yet a vector
    """

    text: str
    ty: str
    lanes: int = 1
    level: int = 0
    number: int | float | None = None
    stride: int | None = None

    @property
    def type(self) -> str:
        return vector_type(self.ty, self.lanes)

    @property
    def fixed(self) -> int | float | None:
        """The number that every lane is, where it is a literal."""
        return self.number if self.stride is None else None


@dataclass(slots=True, eq=False)
class Scope:
    """The lines of one level, the block they are in, and what is known there."""

    label: str
    lines: list[str] = field(default_factory=list[str])
    known: dict[object, V] = field(default_factory=dict[object, V])
    bound: dict[int, V] = field(default_factory=dict[int, V])


class Module:
    """What the functions of one object share: declarations, helper functions, the names of those that outline.py makes, and whether
    the target has fma."""

    def __init__(self, fma: bool = True) -> None:
        self.fma = fma
        self.declarations: dict[str, None] = {}
        self.functions: dict[str, str] = {}
        self.parts: dict[Hashable, str] = {}

    def declare(self, text: str) -> None:
        self.declarations[f"declare {text}"] = None

    def text(self) -> str:
        """The whole module."""
        return "\n".join([*self.functions.values(), *sorted(self.declarations), ""])


def llvm_type(dtype: DType) -> str:
    """The register type: f16 and bf16 are held as bits, bool as i1."""
    if dtype.kind == "bool":
        return "i1"
    if dtype.is_float:
        return {64: "double", 32: "float", 16: "i16"}[dtype.bits]
    return f"i{dtype.bits}"


def vector_type(ty: str, lanes: int) -> str:
    return ty if lanes == 1 else f"<{lanes} x {ty}>"


def literal(value: int | float, ty: str) -> str:
    """A number as LLVM writes it; floats by their bits."""
    if ty == "float":
        return f"0x{struct.unpack('<Q', struct.pack('<d', _round32(float(value))))[0]:016X}"
    if ty == "double":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"
    if ty == "i1":
        return "true" if value else "false"
    bits = int(ty[1:])
    value = int(value) & ((1 << bits) - 1)
    return str(value - (1 << bits) if value >> (bits - 1) else value)


def _round32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


class Builder:
    """The text of one function."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.scopes = [Scope("entry")]
        self.count = 0

    @property
    def depth(self) -> int:
        return len(self.scopes) - 1

    @property
    def here(self) -> Scope:
        return self.scopes[-1]

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def number(self, value: int | float, ty: str) -> V:
        """A literal."""
        return V(literal(value, ty), ty, number=value)

    # -- instructions ------------------------------------------------------------------------------------------

    def pure(self, form: str, operands: tuple[V, ...], ty: str, lanes: int = 1) -> V:
        """An instruction without effects; `{0}`, `{1}` in the form are the operands' texts."""
        level = max((v.level for v in operands), default=0)
        text = form.format(*(v.text for v in operands))
        for scope in self.scopes[: level + 1]:
            if text in scope.known:
                return scope.known[text]
        scope = self.scopes[level]
        name = self.fresh()
        scope.lines.append(f"  {name} = {text}")
        value = V(name, ty, lanes, level)
        scope.known[text] = value
        return value

    def effect(self, text: str) -> None:
        """An instruction that must stay where it is and gives nothing."""
        self.here.lines.append(f"  {text}")

    def fixed(self, text: str, ty: str, lanes: int = 1) -> V:
        """An instruction that must stay where it is and gives a value."""
        name = self.fresh()
        self.here.lines.append(f"  {name} = {text}")
        return V(name, ty, lanes, self.depth)

    # -- lanes -------------------------------------------------------------------------------------------------

    def widen(self, v: V, lanes: int) -> V:
        """The value as a vector of that many lanes, or as a scalar where lanes is 1."""
        if v.stride is not None:
            assert lanes == v.lanes
            base = self.widen(V(v.text, v.ty, 1, v.level, v.number), lanes)
            steps = ", ".join(f"i64 {lane * v.stride}" for lane in range(lanes))
            return self.pure(f"add <{lanes} x i64> {{0}}, <{steps}>", (base,), "i64", lanes)
        if v.lanes == lanes:
            return v
        assert v.lanes == 1, f"{v.lanes} lanes where {lanes} are wanted"
        if v.number is not None:
            return V(f"splat ({v.ty} {v.text})", v.ty, lanes, 0)
        vector = vector_type(v.ty, lanes)
        first = self.pure(f"insertelement {vector} poison, {v.ty} {{0}}, i64 0", (v,), v.ty, lanes)
        return self.pure(
            f"shufflevector {vector} {{0}}, {vector} poison, <{lanes} x i32> zeroinitializer",
            (first,),
            v.ty,
            lanes,
        )

    def join(self, *values: V) -> tuple[tuple[V, ...], int]:
        """The values with one number of lanes."""
        lanes = max(v.lanes for v in values)
        return tuple(self.widen(v, lanes) for v in values), lanes

    def simple(self, op: str, *values: V, ty: str | None = None) -> V:
        """`op <type> a, b`, lane by lane."""
        values, lanes = self.join(*values)
        form = f"{op} {values[0].type} " + ", ".join(f"{{{n}}}" for n in range(len(values)))
        return self.pure(form, values, ty or values[0].ty, lanes)

    def intrinsic(self, name: str, *values: V, ty: str | None = None, extra: str = "") -> V:
        """A call of llvm.<name>.<type>, lane by lane; `extra` are immediate arguments, as `i1 false`."""
        values, lanes = self.join(*values)
        result = ty or values[0].ty
        full = f"@llvm.{name}.{mangle(result, lanes)}"
        if ty is not None and ty != values[0].ty:
            full += f".{mangle(values[0].ty, lanes)}"
        types = [v.type for v in values]
        immediate = f", {extra}" if extra else ""
        declared = f", {extra.split()[0]}" if extra else ""
        self.module.declare(f"{vector_type(result, lanes)} {full}({', '.join(types)}{declared})")
        args = ", ".join(f"{t} {{{n}}}" for n, t in enumerate(types))
        return self.pure(
            f"call {vector_type(result, lanes)} {full}({args}{immediate})", values, result, lanes
        )

    def select(self, cond: V, a: V, b: V) -> V:
        if cond.number is not None:
            return a if cond.number else b
        lanes = max(cond.lanes, a.lanes, b.lanes)
        a, b = self.widen(a, lanes), self.widen(b, lanes)
        if a.text == b.text:
            return a
        form = f"select {cond.type} {{0}}, {a.type} {{1}}, {b.type} {{2}}"
        return self.pure(form, (cond, a, b), a.ty, lanes)

    # -- i64, with literals folded and lanes of constant stride kept symbolic --------------------------------------

    def add(self, a: V, b: V) -> V:
        if a.fixed is not None and b.fixed is not None:
            return self.number(wrapped(int(a.fixed) + int(b.fixed)), "i64")
        if b.fixed == 0:
            return a
        if a.fixed == 0:
            return b
        if (a.stride is not None or b.stride is not None) and self._linear(a) and self._linear(b):
            stride = (a.stride or 0) + (b.stride or 0)
            base = self.add(_base(a), _base(b))
            return _with_stride(base, stride, max(a.lanes, b.lanes))
        return self.simple("add", a, b)

    def sub(self, a: V, b: V) -> V:
        return self.add(a, self.mul(b, self.number(-1, "i64")))

    def mul(self, a: V, b: V) -> V:
        if a.fixed is not None:
            a, b = b, a
        if b.fixed is not None:
            factor = int(b.fixed)
            if factor == 0:
                return self.number(0, "i64")
            if factor == 1:
                return a
            if a.fixed is not None:
                return self.number(wrapped(int(a.fixed) * factor), "i64")
            if a.stride is not None:
                return _with_stride(self.mul(_base(a), b), wrapped(a.stride * factor), a.lanes)
        return self.simple("mul", a, b)

    @staticmethod
    def _linear(v: V) -> bool:
        return v.lanes == 1 or v.stride is not None

    # -- control -----------------------------------------------------------------------------------------------

    def open(self, label: str) -> Scope:
        scope = Scope(label)
        self.scopes.append(scope)
        return scope

    def close(self) -> Scope:
        return self.scopes.pop()

    def finish(self, head: str, result: str = "ret void", once: bool = False) -> str:
        """The function's text. What runs once a call and has no loop is worth no work of the code generator's."""
        assert len(self.scopes) == 1
        if once and not any(" = phi " in line for line in self.here.lines):
            head += " noinline optnone"
        return "\n".join([f"{head} {{", "entry:", *self.here.lines, f"  {result}", "}", ""])


def wrapped(number: int) -> int:
    """The number as i64 arithmetic leaves it."""
    return (number + 2**63) % 2**64 - 2**63


def mangle(ty: str, lanes: int) -> str:
    short = {"float": "f32", "double": "f64", "ptr": "p0"}.get(ty, ty)
    return short if lanes == 1 else f"v{lanes}{short}"


def _base(v: V) -> V:
    return v if v.stride is None else V(v.text, v.ty, 1, v.level, v.number)


def _with_stride(base: V, stride: int, lanes: int) -> V:
    if stride == 0:
        return base
    return V(base.text, base.ty, lanes, base.level, base.number, stride)
