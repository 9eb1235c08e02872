"""Kernel IR to LLVM text: addresses, loads, stores, and the values of dims."""

from __future__ import annotations

from ...ir.dims import Dim, Symbol, bounds
from ...ir.types import DType, i64, u8
from . import arith
from .affine import apart
from .builder import Builder, Module, V, llvm_type, wrapped
from .kernel_ir import Buffer, Expr, Index, Load
from .target import Target

__all__ = ["MemoryEmitter", "memory_type"]


class MemoryEmitter:
    """Reads and writes memory at the end of the builder's innermost scope."""

    def __init__(
        self, module: Module, target: Target, builder: Builder, pointers: dict[int, V], symbols: dict[str, V]
    ) -> None:
        self.module = module
        self.target = target
        self.b = builder
        self.pointers = pointers
        self.symbols = symbols
        self.scratch: dict[int, Buffer] = {}
        self.lanes = 1
        self.mask: V | None = None
        self.lone = False  # whether the mask is known to hold for the first lane alone
        self.uses: dict[int, frozenset[int]] = {}
        self.loop_vars: set[int] = set()
        self.alive: list[Expr] = []
        self.apart: dict[Expr, tuple[Expr | None, int]] = {}

    def eval(self, e: Expr) -> V:
        """The value of an expression here."""
        raise NotImplementedError

    # -- dims --------------------------------------------------------------------------------------------------

    def index(self, x: Index) -> V:
        return self.eval(x) if isinstance(x, Expr) else self.dim(x)

    def dim(self, dim: Dim) -> V:
        """The run-time value of a dim."""
        if isinstance(dim, int):
            return self.b.number(dim, "i64")
        total = self.b.number(0, "i64")
        for monomial, coefficient in dim.terms:
            term = self.b.number(coefficient, "i64")
            for atom, power in monomial:
                if isinstance(atom, Symbol):
                    value = self.symbols[atom.name]
                else:
                    value = self._dim_function(atom.name, atom.a, atom.b)
                for _ in range(power):
                    term = self.b.mul(value, term)
            total = self.b.add(total, term)
        return total

    def _dim_function(self, name: str, a: Dim, b: Dim) -> V:
        x, y = self.dim(a), self.dim(b)
        if name == "ceildiv":
            minus = self.b.mul(x, self.b.number(-1, "i64"))
            return self.b.mul(arith.binary(self.b, "floordiv", minus, y, i64), self.b.number(-1, "i64"))
        if name in ("floordiv", "mod") and bounds(a)[0] >= 0 and bounds(b)[0] > 0:
            return self.udiv(name, x, y)
        return arith.binary(self.b, name, x, y, i64)  # pyright: ignore[reportArgumentType] -- floordiv, mod, min, max

    def udiv(self, op: str, x: V, y: V) -> V:
        if (x.number is not None and x.stride is None) or y.number == 1:
            return arith.binary(self.b, "floordiv" if op == "floordiv" else "mod", x, y, i64)
        return self.b.simple("udiv" if op == "floordiv" else "urem", x, y)

    # -- memory ------------------------------------------------------------------------------------------------

    def pointer(self, buffer: Buffer) -> V:
        """The address of a buffer; scratch gets its stack slot on first use."""
        if id(buffer) not in self.pointers:
            assert id(buffer) in self.scratch, f"buffer {buffer.name} is no parameter of the kernel"
            size = 1
            for dim in buffer.shape:
                assert isinstance(dim, int), f"scratch {buffer.name} has a symbolic shape"
                size *= dim
            name = self.b.fresh()
            line = f"  {name} = alloca [{size} x {memory_type(buffer.dtype)}], align 64"
            self.b.scopes[0].lines.insert(0, line)
            self.pointers[id(buffer)] = V(name, "ptr")
        return self.pointers[id(buffer)]

    def address(self, buffer: Buffer, index: tuple[Expr, ...]) -> tuple[V, int | None]:
        """A pointer and the stride in elements from lane to lane; a vector of pointers has the stride None."""
        b = self.b
        assert len(index) == len(buffer.shape), (
            f"{buffer.name} has {len(buffer.shape)} axes, {len(index)} indices"
        )
        terms, shifts = list[V](), list[V]()
        for i, dim in zip(index, buffer.steps, strict=True):
            step = self.dim(dim)
            moving, constant = apart(i, self.apart)
            if moving is not None:
                terms.append(b.mul(self.eval(moving), step))
            if (
                constant
            ):  # apart from what moves: neighbours share that, and differ in an address' displacement
                shifts.append(b.mul(b.number(constant, "i64"), step))
        stride, scalars, vectors = 0, list[V](), list[V]()
        for t in terms:
            if t.stride is not None:
                stride += t.stride
                scalars.append(V(t.text, t.ty, 1, t.level, t.number))
            elif t.lanes > 1:
                vectors.append(t)
            else:
                scalars.append(t)
        pointer, ty = self.pointer(buffer), memory_type(buffer.dtype)
        fixed = sum(int(t.number) for t in (*scalars, *shifts) if t.number is not None)
        # what moves is one distance; a constant number of steps along an axis is one of its own, so that rows share a pointer
        for group in (scalars, *([t] for t in shifts)):
            some = [t for t in group if t.number is None]
            for level in sorted({t.level for t in some}):
                total = b.number(0, "i64")
                for t in some:
                    total = b.add(total, t) if t.level == level else total
                pointer = b.pure(f"getelementptr {ty}, ptr {{0}}, i64 {{1}}", (pointer, total), "ptr")
        if fixed:
            pointer = b.pure(f"getelementptr {ty}, ptr {{0}}, i64 {wrapped(fixed)}", (pointer,), "ptr")
        if not vectors:
            return pointer, stride
        offset = vectors[0]
        for t in vectors[1:]:
            offset = b.add(offset, t)
        if stride:
            offset = b.add(offset, V("0", "i64", offset.lanes, 0, 0, stride))
        return self._spread(pointer, offset, ty), None

    def _spread(self, pointer: V, offset: V, ty: str) -> V:
        offset = self.b.widen(offset, offset.lanes)
        form = f"getelementptr {ty}, ptr {{0}}, {offset.type} {{1}}"
        return self.b.pure(form, (pointer, offset), "ptr", offset.lanes)

    def both(self, *conditions: V | None) -> V | None:
        """The conjunction of masks; None where it holds always."""
        result: V | None = None
        for c in conditions:
            if c is not None and c.number != 1:
                result = c if result is None else self.b.simple("and", result, c)
        return result

    def fetch(self, place: Load) -> None:
        """Bring the first lane's line of memory into the first cache."""
        pointer, stride = self.address(place.buffer, place.index)
        if stride is not None:
            self.module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
            self.b.effect(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 3, i32 1)")

    def load_from(self, buffer: Buffer, pointer: V, stride: int | None, inside: V | None) -> V:
        """A load by address; zero where `inside` is false."""
        b, ty, align = self.b, memory_type(buffer.dtype), buffer.dtype.bytes
        uniform = stride == 0 and (inside is None or inside.lanes == 1)
        if uniform and inside is None:
            raw = b.fixed(f"load {ty}, ptr {pointer.text}, align {align}", ty)
        elif uniform:
            assert inside is not None
            one = b.pure("insertelement <1 x i1> poison, i1 {0}, i64 0", (inside,), "i1", 1)
            got = self._masked_load(f"<1 x {ty}>", f"v1{_short(ty)}", ty, 1, pointer, one.text, align)
            raw = b.fixed(f"extractelement <1 x {ty}> {got.text}, i64 0", ty)
        else:
            lanes = self.lanes
            mask = self.both(self.mask, inside)
            vector, short = f"<{lanes} x {ty}>", f"v{lanes}{_short(ty)}"
            if stride == 1:
                if mask is None:
                    raw = b.fixed(f"load {vector}, ptr {pointer.text}, align {align}", ty, lanes)
                else:
                    raw = self._masked_load(
                        vector, short, ty, lanes, pointer, b.widen(mask, lanes).text, align
                    )
            elif stride == 2:
                raw = self._every_other(vector, short, ty, lanes, pointer, mask, align)
            else:
                if stride is not None:
                    pointer = (
                        self._spread(pointer, V("0", "i64", lanes, 0, 0, stride), ty)
                        if stride
                        else b.widen(pointer, lanes)
                    )
                on = "splat (i1 true)" if mask is None else b.widen(mask, lanes).text
                name = f"@llvm.masked.gather.{short}.v{lanes}p0"
                self.module.declare(f"{vector} {name}(<{lanes} x ptr>, <{lanes} x i1>, {vector})")
                args = f"<{lanes} x ptr> align {align} {pointer.text}, <{lanes} x i1> {on}, {vector} zeroinitializer"
                raw = b.fixed(f"call {vector} {name}({args})", ty, lanes)
        if buffer.dtype.kind == "bool":
            return b.simple("icmp ne", raw, b.number(0, "i8"), ty="i1")
        return raw

    def _every_other(
        self, vector: str, short: str, ty: str, lanes: int, pointer: V, mask: V | None, align: int
    ) -> V:
        """Elements 0, 2, 4, ...: of two stretches that overlap by one element, so that none beyond the last is touched."""
        b, half = self.b, lanes // 2
        second = b.pure(f"getelementptr {ty}, ptr {{0}}, i64 {lanes - 1}", (pointer,), "ptr")
        parts: list[V] = []
        for at, first in ((pointer, 0), (second, lanes - 1)):
            if mask is None:
                parts.append(b.fixed(f"load {vector}, ptr {at.text}, align {align}", ty, lanes))
                continue
            wide = b.widen(mask, lanes)
            picks = ", ".join(f"i32 {(first + e) // 2}" for e in range(lanes))
            form = f"shufflevector {wide.type} {{0}}, {wide.type} poison, <{lanes} x i32> <{picks}>"
            on = b.pure(form, (wide,), "i1", lanes)
            parts.append(self._masked_load(vector, short, ty, lanes, at, on.text, align))
        picks = ", ".join(f"i32 {2 * lane if lane < half else 2 * lane + 1}" for lane in range(lanes))
        form = f"shufflevector {vector} {{0}}, {vector} {{1}}, <{lanes} x i32> <{picks}>"
        return b.pure(form, tuple(parts), ty, lanes)

    def _masked_load(
        self, vector: str, short: str, ty: str, lanes: int, pointer: V, mask: str, align: int
    ) -> V:
        name = f"@llvm.masked.load.{short}.p0"
        self.module.declare(f"{vector} {name}(ptr, <{lanes} x i1>, {vector})")
        args = f"ptr align {align} {pointer.text}, <{lanes} x i1> {mask}, {vector} zeroinitializer"
        return self.b.fixed(f"call {vector} {name}({args})", ty, lanes)

    def store_to(self, buffer: Buffer, pointer: V, stride: int | None, value: V, mask: V | None) -> None:
        """A store by address, only where the mask holds."""
        b, ty, align = self.b, memory_type(buffer.dtype), buffer.dtype.bytes
        if buffer.dtype.kind == "bool":
            value = arith.cast(b, value, buffer.dtype, u8)
        if mask is not None and mask.number == 0:
            return
        lanes = self.lanes
        if lanes == 1 or (stride == 0 and value.lanes == 1 and (mask is None or mask.lanes == 1)):
            if mask is None:
                b.effect(f"store {ty} {value.text}, ptr {pointer.text}, align {align}")
                return
            mask = b.pure("insertelement <1 x i1> poison, i1 {0}, i64 0", (mask,), "i1")
            value = b.pure(f"insertelement <1 x {ty}> poison, {ty} {{0}}, i64 0", (value,), ty)
            self._masked_store(f"<1 x {ty}>", f"v1{_short(ty)}", 1, value.text, pointer, mask.text, align)
            return
        vector, short = f"<{lanes} x {ty}>", f"v{lanes}{_short(ty)}"
        if self.lone and mask is None and stride == 1:
            # LLVM (22) makes of a narrowing store under such a mask a scalar one as wide as before the narrowing
            if value.lanes > 1 and value.stride is None:
                value = b.pure(f"extractelement {value.type} {{0}}, i64 0", (value,), value.ty)
            b.effect(f"store {ty} {value.text}, ptr {pointer.text}, align {align}")
            return
        text = b.widen(value, lanes).text
        mask = self.both(self.mask, mask)
        if stride == 1:
            if mask is None:
                b.effect(f"store {vector} {text}, ptr {pointer.text}, align {align}")
            else:
                self._masked_store(vector, short, lanes, text, pointer, b.widen(mask, lanes).text, align)
            return
        if stride is not None:
            pointer = (
                self._spread(pointer, V("0", "i64", lanes, 0, 0, stride), ty)
                if stride
                else b.widen(pointer, lanes)
            )
        on = "splat (i1 true)" if mask is None else b.widen(mask, lanes).text
        name = f"@llvm.masked.scatter.{short}.v{lanes}p0"
        self.module.declare(f"void {name}({vector}, <{lanes} x ptr>, <{lanes} x i1>)")
        b.effect(
            f"call void {name}({vector} {text}, <{lanes} x ptr> align {align} {pointer.text}, <{lanes} x i1> {on})"
        )

    def _masked_store(
        self, vector: str, short: str, lanes: int, value: str, pointer: V, mask: str, align: int
    ) -> None:
        name = f"@llvm.masked.store.{short}.p0"
        self.module.declare(f"void {name}({vector}, ptr, <{lanes} x i1>)")
        self.b.effect(
            f"call void {name}({vector} {value}, ptr align {align} {pointer.text}, <{lanes} x i1> {mask})"
        )


def memory_type(dtype: DType) -> str:
    """The LLVM type of an element in memory."""
    return "i8" if dtype.kind == "bool" else llvm_type(dtype)


def _short(ty: str) -> str:
    return {"float": "f32", "double": "f64"}.get(ty, ty)
