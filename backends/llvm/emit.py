"""Kernel IR to LLVM text: expressions. Statements are in emit_stmt.py.

`Emitter.eval` gives a register for an expression, a scalar or, in a vector loop, one value a lane. Index expressions
that grow by a constant from lane to lane stay symbolic (V.stride), which is how unit-stride access is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...ir.dims import bounds
from ...ir.types import DType, f32, f64, i64
from . import arith, vecmath
from .builder import V, llvm_type
from .emit_memory import MemoryEmitter
from .kernel_ir import (
    Binary,
    Bits,
    Call,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Load,
    Select,
    Size,
    Unary,
    Var,
)
from .walk import expr_children

__all__ = ["ALLOWED_EXTERNALS", "ExprEmitter"]

_LIBM = ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "pow", "atan2", "fmod", "fma")
ALLOWED_EXTERNALS = frozenset([*_LIBM, *(f"{name}f" for name in _LIBM), "memcpy", "memset", "memmove"])
"""All symbols that an object may leave undefined: C's mathematics, and what LLVM makes of block copies."""

_NOTHING: frozenset[int] = frozenset()


class ExprEmitter(MemoryEmitter):
    """Evaluates expressions at the end of the builder's innermost scope."""

    # -- expressions -------------------------------------------------------------------------------------------

    def eval(self, e: Expr) -> V:
        """The value of an expression here."""
        for scope in reversed(self.b.scopes):
            if id(e) in scope.bound:
                return scope.bound[id(e)]
        assert not isinstance(e, Var), f"{e.name} is used where it is not bound"
        value = self._compute(e)
        self.alive.append(e)
        self.b.here.bound[id(e)] = value
        used = [self.uses.get(id(x), _NOTHING) for x in expr_children(e)]
        own = frozenset((id(e.buffer),)) if isinstance(e, Load) else _NOTHING
        self.uses[id(e)] = own.union(*used) if used or own else _NOTHING
        return value

    def bind(self, var: Var, value: V) -> None:
        """Let a variable stand for a value until the scope closes; what was computed from another value of it is forgotten."""
        if id(var) in self.uses:
            self.forget({id(var)})
        self.uses[id(var)] = frozenset((id(var),))
        self.b.here.bound[id(var)] = value
        self.alive.append(var)

    def forget(self, changed: Iterable[int]) -> None:
        """Drop values computed from buffers or variables that have changed; a variable's own binding stays."""
        gone = frozenset(changed)
        for scope in self.b.scopes:
            for key in [
                k for k in scope.bound if not gone.isdisjoint(self.uses[k]) and k not in self.uses[k]
            ]:
                del scope.bound[key]

    def wide(self, e: Expr) -> V:
        """The value with all lanes of the loop."""
        return self.b.widen(self.eval(e), self.lanes)

    def _compute(self, e: Expr) -> V:
        b = self.b
        match e:
            case Const():
                return self._const(e)
            case Size():
                return self.dim(e.dim)
            case Load():
                return self._load(e)
            case Unary():
                return arith.unary(b, e.op, self.eval(e.x), e.dtype)
            case Binary():
                x, y = self.eval(e.a), self.eval(e.b)
                if e.op == "rem" and e.dtype.is_float:
                    return self._libm("fmod", (x, y), e.dtype)
                if (
                    e.op in ("floordiv", "mod")
                    and e.dtype == i64
                    and self.nonnegative(e.a)
                    and self._positive(e.b)
                ):
                    return self.udiv(e.op, x, y)
                return arith.binary(b, e.op, x, y, e.dtype)
            case Compare():
                return arith.compare(b, e.op, self.eval(e.a), self.eval(e.b), e.a.dtype)
            case Select():
                cond, x, y = self.eval(e.cond), self.eval(e.a), self.eval(e.b)
                return b.select(cond, x, y)
            case Fma():
                x, y, z = self.eval(e.a), self.eval(e.b), self.eval(e.c)
                return self._fma(x, y, z, e.dtype)
            case Cast():
                return arith.cast(b, self.eval(e.x), e.x.dtype, e.dtype)
            case Bits():
                return arith.bits(b, self.eval(e.x), e.x.dtype, e.dtype)
            case Call():
                return self._call(e)
            case _:
                raise AssertionError(f"unknown expression {type(e).__name__}")

    def _const(self, e: Const) -> V:
        ty = llvm_type(e.dtype)
        if e.dtype.is_float and e.dtype.bits == 16:
            return arith.cast(self.b, self.b.number(e.value, "double"), f64, e.dtype)
        return self.b.number(e.value, ty)

    def _fma(self, x: V, y: V, z: V, dtype: DType) -> V:
        if self.target.fma or dtype.bits == 16:
            return arith.fma(self.b, x, y, z, dtype)
        if dtype == f32:
            return arith.fma_through_f64(self.b, x, y, z)
        return self._libm("fma", (x, y, z), dtype)

    def _call(self, e: Call) -> V:
        if e.dtype.is_float and e.dtype.bits == 16:
            wide = Cast(Call(e.function, tuple(Cast(x, f32) for x in e.args)), e.dtype)
            return self.eval(wide)
        expanded = vecmath.expand(e)
        if expanded is not None:
            return self.eval(expanded)
        return self._libm(e.function, tuple(self.eval(x) for x in e.args), e.dtype)

    def _libm(self, name: str, args: Sequence[V], dtype: DType) -> V:
        """C's function, lane by lane."""
        ty = llvm_type(dtype)
        symbol = f"@{name}f" if dtype == f32 else f"@{name}"
        self.module.declare(f"{ty} {symbol}({', '.join([ty] * len(args))})")
        values, lanes = self.b.join(*args)
        if lanes > 1:
            symbol = self._lanewise(symbol, ty, len(args), lanes)
        kind = values[0].type
        form = f"call {kind} {symbol}({', '.join(f'{kind} {{{n}}}' for n in range(len(values)))})"
        return self.b.pure(form, tuple(values), ty, lanes)

    def _lanewise(self, symbol: str, ty: str, arity: int, lanes: int) -> str:
        name = f"@nv_{symbol[1:]}_x{lanes}"
        vector = f"<{lanes} x {ty}>"
        if name not in self.module.functions:
            params = ", ".join(f"{vector} %a{n}" for n in range(arity))
            take = [f"  %x{n} = extractelement {vector} %a{n}, i64 %i" for n in range(arity)]
            args = ", ".join(f"{ty} %x{n}" for n in range(arity))
            self.module.functions[name] = "\n".join([
                f"define internal {vector} {name}({params}) nounwind {{", "entry:", "  br label %next", "next:",
                "  %i = phi i64 [ 0, %entry ], [ %j, %next ]",
                f"  %r = phi {vector} [ zeroinitializer, %entry ], [ %s, %next ]",
                *take, f"  %y = call {ty} {symbol}({args})",
                f"  %s = insertelement {vector} %r, {ty} %y, i64 %i",
                "  %j = add i64 %i, 1", f"  %more = icmp ult i64 %j, {lanes}",
                "  br i1 %more, label %next, label %done", "done:", f"  ret {vector} %s", "}", "",
            ])  # fmt: skip
        return name

    def _load(self, e: Load) -> V:
        inside = None if e.inside is None else self.eval(e.inside)
        if inside is not None and inside.number is not None:
            inside = None if inside.number else inside
        pointer, stride = self.address(e.buffer, e.index)
        raw = self.load_from(e.buffer, pointer, stride, inside)
        if (
            inside is None
            or e.otherwise is None
            or (isinstance(e.otherwise, Const) and _is_zero(e.otherwise))
        ):
            return raw
        return self.b.select(inside, raw, self.eval(e.otherwise))

    def nonnegative(self, e: Expr) -> bool:
        """Whether an i64 expression is seen to be 0 or more."""
        if e.dtype != i64:
            return False
        match e:
            case Const():
                return e.value >= 0
            case Size():
                return bounds(e.dim)[0] >= 0
            case Var():
                return id(e) in self.loop_vars
            case Binary(op="floordiv" | "mod"):
                return self.nonnegative(e.a) and self._positive(e.b)
            case Binary(op="add" | "mul" | "min" | "max"):
                return self.nonnegative(e.a) and self.nonnegative(e.b)
            case _:
                return False

    def _positive(self, e: Expr) -> bool:
        return (isinstance(e, Const) and e.value > 0) or (isinstance(e, Size) and bounds(e.dim)[0] > 0)


def _is_zero(e: Const) -> bool:
    return e.value == 0 and str(e.value)[0] != "-"
