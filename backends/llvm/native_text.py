"""The LLVM text of a native library: the kernels, the functions of its C interface, its weights and its metadata.

Everything but the interface is internal. Each mistake of a caller is a code, found before anything is written. The
interface is in docs/design/build.md; nervure/native/header.py writes it as a C header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from ...ir.dims import Dim
from ...ir.types import DType
from ...runtime.threads import MAX_THREADS
from . import context
from .builder import Builder, Module, V
from .context import ENTRY_POINTS
from .emit_program import program_module
from .emit_stmt import Emitter
from .native_pool import add_pool
from .native_weights import HEAD_BYTES, Weights
from .program import KernelProgram
from .target import Target

__all__ = ["Code", "Library", "Range", "aligned_arena", "library_text", "with_weights"]


class Code(IntEnum):
    """What a function of a library returns."""

    OK = 0
    NULL = 1
    SIZE = 2
    ARENA = 3
    ALIGNMENT = 4
    WEIGHTS = 5
    VALUE = 6
    THREADS = 7
    CHECK = 8


@dataclass(frozen=True)
class Range:
    """The integers that an input may hold: lowest, first beyond the highest."""

    place: int
    dtype: DType
    elements: Dim
    low: int
    high: int


@dataclass(frozen=True)
class Library:
    """What a library is made of.

    Args:
        prefix:    of every exported name, a C identifier
        program:   the kernels
        sizes:     lowest and highest value of each symbol
        aligned:   element bytes of each input and each output
        ranges:    of inputs that hold indices
        weights:   frozen
        side_file: whether the caller brings the weights, else they lie in the object
        threads:   whether a call takes a number of threads
        metadata:  what NAME_metadata holds
    """

    prefix: str
    program: KernelProgram
    sizes: tuple[tuple[int, int], ...]
    aligned: tuple[tuple[int, ...], tuple[int, ...]]
    ranges: tuple[Range, ...]
    weights: Weights
    side_file: bool
    threads: bool
    metadata: bytes


def library_text(library: Library, target: Target) -> str:
    """The module. Weights in the object are zeros behind their head, for `with_weights` to fill.

    Raises:
        BackendError: threads are wanted where the target has no pool
    """
    module = program_module(replace(library.program, prepare=()), target)
    for name in ENTRY_POINTS:
        module.functions[f"@{name}"] = module.functions[f"@{name}"].replace("define ", "define internal ", 1)
    for name in ("nv_prepare", "nv_prepare_plan"):
        del module.functions[f"@{name}"]
    data = [_constant(f"@{library.prefix}_metadata", "constant", library.metadata)]
    head = library.weights.head
    if library.side_file:
        data.append(_constant("@nv_head", "internal constant", head))
    else:
        # LLVM must not take the zeros for the content, as it would where it copies a short state
        kind = f"{{ [{HEAD_BYTES} x i8], [{library.weights.block.size} x i8] }}"
        data.append(
            f'@nv_weights = internal externally_initialized constant {kind} {{ [{HEAD_BYTES} x i8] c"{_escaped(head)}", '
            f"[{library.weights.block.size} x i8] zeroinitializer }}, align {context.ALIGNMENT}"
        )
    if library.threads:
        data.append(add_pool(module, target))
    for write in (_Run, _ArenaBytes, *((_Init, _Entry) if library.weights.state else ())):
        function = write(library, module, target)
        module.functions[f"@{library.prefix}_{function.name}"] = function.text()
    return "\n".join([*data, module.text()])


def aligned_arena(size: int) -> int:
    """The bytes that a caller gives for an arena of that size, as its address may be any."""
    return size + context.ALIGNMENT - 1 if size else 0


def with_weights(data: bytes, weights: Weights) -> bytes:
    """An object of `library_text` with the weights in place of the zeros behind their head."""
    head = weights.head
    at = data.find(head)
    size = weights.block.size
    assert at >= 0 and data.find(head, at + 1) < 0, "the head of the weights is not there once"
    start = at + len(head)
    assert not any(data[start : start + size]), "the weights' place is taken"
    return b"".join([data[:start], weights.block.tobytes(), data[start + size :]])


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02X}" for byte in data)


def _constant(name: str, kind: str, data: bytes) -> str:
    return f'{name} = {kind} [{len(data)} x i8] c"{_escaped(data)}", align {context.ALIGNMENT}'


class _Function:
    """One exported function, written check by check."""

    name = ""

    def __init__(self, library: Library, module: Module, target: Target) -> None:
        self.library = library
        self.b = Builder(module)
        self.emitter = Emitter(module, target, self.b, {}, {})
        self.pointer = f"i{target.pointer_bytes * 8}"
        self.params: list[str] = []

    def text(self) -> str:
        raise NotImplementedError

    def finish(self, returns: str, result: str) -> str:
        head = f"define {returns} @{self.library.prefix}_{self.name}({', '.join(self.params)}) nounwind"
        return self.b.finish(head, f"ret {returns} {result}")

    # -- parameters --------------------------------------------------------------------------------------------

    def param(self, ty: str, name: str) -> V:
        self.params.append(f"{ty} %{name}")
        return V(f"%{name}", ty)

    def dims(self) -> list[V]:
        found = [self.param("i64", f"d{k}") for k in range(len(self.library.sizes))]
        self.emitter.symbols.update(zip(self.library.program.symbols, found, strict=True))
        return found

    def weights_params(self) -> tuple[V, V] | None:
        if not self.library.side_file:
            return None
        return self.param("ptr", "weights"), self.param("i64", "weights_bytes")

    # -- checks ------------------------------------------------------------------------------------------------

    def fail_if(self, cond: V, result: str) -> None:
        """Return where the condition holds."""
        bad, good = self.b.label(), self.b.label()
        self.b.effect(f"br i1 {cond.text}, label %{bad}, label %{good}")
        self.b.here.lines += [f"{bad}:", f"  ret {result}", f"{good}:"]
        self.b.here.label = good

    def icmp(self, how: str, a: V, number: int | V) -> V:
        other = number.text if isinstance(number, V) else str(number)
        return self.b.pure(f"icmp {how} {a.ty} {{0}}, {other}", (a,), "i1")

    def check_null(self, pointers: Sequence[V]) -> None:
        for p in pointers:
            self.fail_if(self.b.pure("icmp eq ptr {0}, null", (p,), "i1"), f"i32 {Code.NULL}")

    def check_aligned(self, p: V, size: int) -> None:
        if size > 1:
            address = self.b.pure(f"ptrtoint ptr {{0}} to {self.pointer}", (p,), self.pointer)
            low = self.b.pure(f"and {self.pointer} {{0}}, {size - 1}", (address,), self.pointer)
            self.fail_if(self.icmp("ne", low, 0), f"i32 {Code.ALIGNMENT}")

    def check_sizes(self, dims: Sequence[V], result: str) -> None:
        for d, (lo, hi) in zip(dims, self.library.sizes, strict=True):
            self.fail_if(self.icmp("slt", d, lo), result)
            self.fail_if(self.icmp("sgt", d, hi), result)

    def weights(self, given: tuple[V, V] | None) -> V:
        """Where the block begins; the caller's weights are checked."""
        if given is None:
            return self.b.pure(f"getelementptr i8, ptr @nv_weights, i64 {HEAD_BYTES}", (), "ptr")
        base, size = given
        self.check_null([base])
        self.check_aligned(base, context.ALIGNMENT)
        whole = HEAD_BYTES + self.library.weights.block.size
        self.fail_if(self.icmp("slt", size, whole), f"i32 {Code.WEIGHTS}")
        for at in range(0, HEAD_BYTES, 8):
            word = self.b.pure(f"getelementptr i8, ptr {{0}}, i64 {at}", (base,), "ptr")
            own = self.b.pure(f"getelementptr i8, ptr @nv_head, i64 {at}", (), "ptr")
            got = self.b.fixed(f"load i64, ptr {word.text}, align 8", "i64")
            want = self.b.fixed(f"load i64, ptr {own.text}, align 8", "i64")
            self.fail_if(self.icmp("ne", got, want), f"i32 {Code.WEIGHTS}")
        return self.b.pure(f"getelementptr i8, ptr {{0}}, i64 {HEAD_BYTES}", (base,), "ptr")

    def array(self, ty: str, values: Sequence[V]) -> V:
        """An array on the stack."""
        found = self.b.fixed(f"alloca [{max(1, len(values))} x {ty}], align 8", "ptr")
        for k, v in enumerate(values):
            slot = self.b.pure(f"getelementptr {ty}, ptr {{0}}, i64 {k}", (found,), "ptr")
            self.b.effect(f"store {ty} {v.text}, ptr {slot.text}")
        return found

    def arena(self, dims: V) -> V:
        """The bytes that a call needs: nv_plan's, and what it takes to align them."""
        sizes = self.b.fixed("alloca [2 x i64], align 8", "ptr")
        self.b.effect(f"call void @nv_plan(ptr {dims.text}, ptr {sizes.text})")
        plain = self.b.fixed(f"load i64, ptr {sizes.text}, align 8", "i64")
        some = self.icmp("sgt", plain, 0)
        more = self.b.pure(f"add i64 {{0}}, {context.ALIGNMENT - 1}", (plain,), "i64")
        return self.b.select(some, more, self.b.number(0, "i64"))


class _ArenaBytes(_Function):
    """int64_t NAME_arena_bytes(dims...): -1 where a size is outside its range."""

    name = "arena_bytes"

    def text(self) -> str:
        dims = self.dims()
        self.check_sizes(dims, "i64 -1")
        return self.finish("i64", self.arena(self.array("i64", dims)).text)


class _Run(_Function):
    """int32_t NAME_run(inputs..., outputs..., dims..., [weights], [state], arena, [threads])."""

    name = "run"

    def text(self) -> str:
        library = self.library
        inputs = [self.param("ptr", f"i{k}") for k in range(len(library.aligned[0]))]
        outputs = [self.param("ptr", f"o{k}") for k in range(len(library.aligned[1]))]
        dims = self.dims()
        given = self.weights_params()
        state = self.param("ptr", "state") if library.weights.state else None
        arena, arena_bytes = self.param("ptr", "arena"), self.param("i64", "arena_bytes")
        threads = self.param("i32", "threads") if library.threads else None
        self.check_null([*inputs, *outputs, *([] if state is None else [state])])
        for p, size in zip([*inputs, *outputs], [s for part in library.aligned for s in part], strict=True):
            self.check_aligned(p, size)
        self.check_sizes(dims, f"i32 {Code.SIZE}")
        if threads is not None:
            for how, bound in (("slt", 1), ("sgt", MAX_THREADS)):
                self.fail_if(self.icmp(how, threads, bound), f"i32 {Code.THREADS}")
        block = self.weights(given)
        if state is not None:
            self.check_aligned(state, context.ALIGNMENT)
        sizes = self.array("i64", dims)
        needed = self.arena(sizes)
        self.fail_if(
            self.b.simple(
                "and", self.icmp("sgt", needed, 0), self.b.pure("icmp eq ptr {0}, null", (arena,), "i1")
            ),
            f"i32 {Code.NULL}",
        )
        self.fail_if(self.icmp("slt", arena_bytes, needed), f"i32 {Code.ARENA}")
        for r in library.ranges:
            self._check_values(inputs[r.place], r)
        code = self._call(inputs, outputs, sizes, block, state, arena, threads)
        failed = self.icmp("ne", code, 0)
        return self.finish(
            "i32",
            self.b.select(failed, self.b.number(Code.CHECK, "i32"), self.b.number(Code.OK, "i32")).text,
        )

    def _check_values(self, pointer: V, r: Range) -> None:
        """All integers of an input within their range."""
        wide = "sext" if r.dtype.kind == "int" else "zext"
        ty = f"i{r.dtype.bits}"

        def body(i: V, carried: Sequence[V]) -> Sequence[V]:
            at = self.b.pure(f"getelementptr {ty}, ptr {pointer.text}, i64 {{0}}", (i,), "ptr")
            value = self.b.fixed(f"load {ty}, ptr {at.text}", ty)
            if r.dtype.bits < 64:
                value = self.b.fixed(f"{wide} {ty} {value.text} to i64", "i64")
            low = self.b.fixed(f"icmp slt i64 {value.text}, {r.low}", "i1")
            high = self.b.fixed(f"icmp sge i64 {value.text}, {r.high}", "i1")
            either = self.b.fixed(f"or i1 {low.text}, {high.text}", "i1")
            return [V(self.b.fixed(f"or i1 {carried[0].text}, {either.text}", "i1").text, "i1", 1, i.level)]

        (bad,) = self.emitter.loop(
            self.b.number(0, "i64"), self.emitter.dim(r.elements), 1, [V("false", "i1")], body
        )
        self.fail_if(bad, f"i32 {Code.VALUE}")

    def _call(
        self, inputs: Sequence[V], outputs: Sequence[V], sizes: V, block: V, state: V | None, arena: V,
        threads: V | None,
    ) -> V:  # fmt: skip
        b = self.b
        null = V("null", "ptr")
        slots: list[V] = []
        for slot in self.library.weights.slots:
            base = None if slot is None else state if slot.state else block
            at = 0 if slot is None else slot.offset
            slots.append(
                null if base is None else b.pure(f"getelementptr i8, ptr {{0}}, i64 {at}", (base,), "ptr")
            )
        address = b.pure(f"ptrtoint ptr {{0}} to {self.pointer}", (arena,), self.pointer)
        up = b.pure(f"add {self.pointer} {{0}}, {context.ALIGNMENT - 1}", (address,), self.pointer)
        whole = b.pure(f"and {self.pointer} {{0}}, {-context.ALIGNMENT}", (up,), self.pointer)
        placed = b.pure(f"inttoptr {self.pointer} {{0}} to ptr", (whole,), "ptr")
        words = [null] * 6
        words[context.PARALLEL_FOR] = V("@nv_serial", "ptr")
        if threads is not None:
            words[context.PARALLEL_FOR] = V("@nv_pool_for", "ptr")
            words[context.USER] = b.fixed("alloca [3 x i64], align 8", "ptr")
            b.effect(f"call void @nv_team(ptr {words[context.USER].text}, i32 {threads.text})")
        words[context.STORE] = self.array("ptr", slots)
        words[context.PREPARED] = block
        words[context.ARENA] = placed
        run = self.array("ptr", words)
        ins, outs = self.array("ptr", inputs), self.array("ptr", outputs)
        return b.fixed(
            f"call i32 @nv_run(ptr {run.text}, ptr {ins.text}, ptr {outs.text}, ptr {sizes.text})", "i32"
        )


class _Init(_Function):
    """int32_t NAME_init(state, [weights]): the first content of the state."""

    name = "init"

    def text(self) -> str:
        state = self.param("ptr", "state")
        given = self.weights_params()
        self.check_null([state])
        self.check_aligned(state, context.ALIGNMENT)
        weights = self.library.weights
        block = self.weights(given)
        first = self.b.pure(f"getelementptr i8, ptr {{0}}, i64 {weights.state_at}", (block,), "ptr")
        self.b.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.b.effect(
            f"call void @llvm.memcpy.p0.p0.i64(ptr {state.text}, ptr {first.text}, i64 {weights.state_bytes}, i1 false)"
        )
        return self.finish("i32", str(int(Code.OK)))


class _Entry(_Function):
    """void *NAME_entry(state, index): where an entry lies; null where there is none."""

    name = "entry"

    def text(self) -> str:
        state, index = self.param("ptr", "state"), self.param("i64", "index")
        self.fail_if(self.b.pure("icmp eq ptr {0}, null", (state,), "i1"), "ptr null")
        found = V("null", "ptr")
        for k, (_, at) in enumerate(self.library.weights.state):
            here = self.b.pure(f"getelementptr i8, ptr {{0}}, i64 {at}", (state,), "ptr")
            found = self.b.select(self.icmp("eq", index, k), here, found)
        return self.finish("ptr", found.text)
