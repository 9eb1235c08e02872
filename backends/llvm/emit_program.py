"""A KernelProgram to LLVM text: the kernels, nv_run, nv_prepare, nv_plan, nv_sizes and nv_serial."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import assert_never

from ...ir.dims import Dim, evaluate_dim, free_symbols
from . import context
from .builder import Builder, Module, V
from .emit_stmt import Emitter, emit_kernel
from .places import fixed_offsets
from .program import (
    Arg,
    Branch,
    Copy,
    KernelProgram,
    Launch,
    Loop,
    Memory,
    Step,
    While,
    arena_uses,
    kernel_names,
    prepared_offsets,
)
from .structure import structure
from .target import Target
from .walk import kernel_symbols

__all__ = ["SERIAL", "constant_arena", "program_module", "program_text"]

SERIAL = """define void @nv_serial(ptr %ctx, ptr %task, ptr %arg, i64 %n) nounwind {
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %work, label %done
work:
  call void %task(ptr %arg, i64 0, i64 %n)
  br label %done
done:
  ret void
}
"""


def program_text(program: KernelProgram, target: Target) -> str:
    """The text of a program's module."""
    return program_module(program, target).text()


def program_module(program: KernelProgram, target: Target) -> Module:
    """The module of a program: its kernels and ENTRY_POINTS."""
    module = Module(target.fma)
    names: dict[Hashable, str] = {}
    for key, (name, kernel) in kernel_names(program).items():
        names[key] = emit_kernel(module, replace(kernel, name=name), target)
    for title, steps in (("nv_prepare", program.prepare), ("nv_run", program.run)):
        params = "ptr %ctx" if title == "nv_prepare" else "ptr %ctx, ptr %inputs, ptr %outputs, ptr %dims"
        writer = _Writer(module, target, program, names, symbols=title == "nv_run")
        writer.place(steps)
        writer.steps(steps, trace=title == "nv_run")
        module.functions[f"@{title}"] = writer.b.finish(
            f"define i32 @{title}({params}) nounwind", "ret i32 0"
        )
    module.functions["@nv_plan"] = _plan(
        module, target, program, names, "nv_plan(ptr %dims, ptr %sizes)", True
    )
    module.functions["@nv_prepare_plan"] = _plan(
        module, target, program, names, "nv_prepare_plan(ptr %sizes)", False
    )
    module.functions["@nv_sizes"] = _sizes(module, target, program, names)
    module.functions["@nv_serial"] = SERIAL
    return module


def constant_arena(program: KernelProgram, target: Target) -> int | None:
    """The bytes of nv_run's arena where no symbol decides them."""
    found = _Writer(Module(target.fma), target, program, {}, symbols=True).place(program.run)
    return None if found.number is None else int(found.number)


def _plan(
    module: Module,
    target: Target,
    program: KernelProgram,
    names: dict[Hashable, str],
    head: str,
    symbols: bool,
) -> str:
    writer = _Writer(module, target, program, names, symbols=symbols)
    arena = writer.place(program.run if symbols else program.prepare)
    assert symbols or arena.number is not None, "the memory of prepare has a symbolic size"
    b = writer.b
    b.effect(f"store i64 {arena.text}, ptr %sizes, align 8")
    second = b.pure("getelementptr i64, ptr %sizes, i64 1", (), "ptr")
    b.effect(f"store i64 {prepared_offsets(program)[1]}, ptr {second.text}, align 8")
    return b.finish(f"define void @{head} nounwind")


def _sizes(module: Module, target: Target, program: KernelProgram, names: dict[Hashable, str]) -> str:
    writer = _Writer(module, target, program, names, symbols=True)
    b = writer.b
    for n, size in enumerate(program.sizes):
        slot = b.pure(f"getelementptr i64, ptr %values, i64 {n}", (), "ptr")
        b.effect(f"store i64 {writer.dim(size).text}, ptr {slot.text}, align 8")
    return b.finish("define void @nv_sizes(ptr %dims, ptr %values) nounwind")


def _usual(dim: Dim) -> int:
    """A size to compare slots by; it decides no correctness."""
    return evaluate_dim(dim, {s.name: min(max(s.lo, 32), s.hi) for s in free_symbols(dim)})


class _Writer:
    """Writes one entry point."""

    def __init__(
        self,
        module: Module,
        target: Target,
        program: KernelProgram,
        names: dict[Hashable, str],
        symbols: bool,
    ) -> None:
        self.b = Builder(module)
        self.names = names
        self.prepared, _ = prepared_offsets(program)
        self.arena: dict[int, V] = {}
        self.emitter = Emitter(module, target, self.b, {}, {})
        if symbols:
            for n, name in enumerate(program.symbols):
                slot = self.b.pure(f"getelementptr i64, ptr %dims, i64 {n}", (), "ptr")
                self.emitter.symbols[name] = self.b.fixed(f"load i64, ptr {slot.text}, align 8", "i64")

    def dim(self, dim: Dim) -> V:
        return self.emitter.dim(dim)

    def max(self, a: V, b: V) -> V:
        if a.number is not None and b.number is not None:
            return self.b.number(max(int(a.number), int(b.number)), "i64")
        return self.b.intrinsic("umax", a, b)

    def _aligned(self, size: V) -> V:
        if size.number is not None:
            return self.b.number(-(-int(size.number) // context.ALIGNMENT) * context.ALIGNMENT, "i64")
        up = self.b.add(size, self.b.number(context.ALIGNMENT - 1, "i64"))
        return self.b.simple("and", up, self.b.number(-context.ALIGNMENT, "i64"))

    def place(self, steps: Sequence[Step]) -> V:
        """The offsets of arena memory; gives the bytes of all."""
        uses = arena_uses(steps)
        sizes = [self._aligned(self.dim(m.nbytes)) for m, _, _ in uses]
        if all(s.number is not None for s in sizes):
            return self._place_fixed(uses, [int(s.number or 0) for s in sizes])
        return self._place_slots(uses, sizes)

    def _place_fixed(self, uses: list[tuple[Memory, int, int]], sizes: list[int]) -> V:
        offsets = fixed_offsets([(first, last) for _, first, last in uses], sizes)
        for (memory, _, _), at in zip(uses, offsets, strict=True):
            self.arena[id(memory)] = self.b.number(at, "i64")
        return self.b.number(max(map(sum, zip(offsets, sizes, strict=True)), default=0), "i64")

    def _place_slots(self, uses: list[tuple[Memory, int, int]], sizes: list[V]) -> V:
        """Each in the free slot whose usual size is nearest; a slot is as large as the largest in it, slots follow each other."""
        slots: list[tuple[int, int, V, list[int]]] = []
        for n, (memory, first, last) in enumerate(uses):
            usual = _usual(memory.nbytes)
            free = [k for k, slot in enumerate(slots) if slot[0] < first]
            if free:
                k = min(free, key=lambda k: (abs(slots[k][1] - usual), k))
                _, largest, size, members = slots[k]
                slots[k] = (last, max(largest, usual), self.max(size, sizes[n]), [*members, n])
            else:
                slots.append((last, usual, sizes[n], [n]))
        offset = self.b.number(0, "i64")
        for _, _, size, members in slots:
            for n in members:
                self.arena[id(uses[n][0])] = offset
            offset = self.b.add(offset, size)
        return offset

    def _word(self, base: str, index: int) -> V:
        slot = self.b.pure(f"getelementptr ptr, ptr {base}, i64 {index}", (), "ptr")
        return self.b.pure("load ptr, ptr {0}, align 8", (slot,), "ptr")

    def _base(self, memory: Memory) -> tuple[V, V]:
        """A pointer and an offset in bytes."""
        nothing = self.b.number(0, "i64")
        match memory.place:
            case "input":
                return self._word("%inputs", memory.index), nothing
            case "output":
                return self._word("%outputs", memory.index), nothing
            case "store":
                return self._word(self._word("%ctx", context.STORE).text, memory.index), nothing
            case "prepared":
                return self._word("%ctx", context.PREPARED), self.b.number(self.prepared[id(memory)], "i64")
            case "arena":
                return self._word("%ctx", context.ARENA), self.arena[id(memory)]
            case _:
                assert_never(memory.place)

    def pointer(self, arg: Arg) -> V:
        base, offset = self._base(arg.memory)
        offset = self.b.add(offset, self.dim(arg.offset))
        if offset.number == 0:
            return base
        return self.b.pure("getelementptr i8, ptr {0}, i64 {1}", (base, offset), "ptr")

    def steps(self, steps: Sequence[Step], trace: bool = False) -> None:
        if trace:
            self._trace(-1)
        for n, s in enumerate(steps):
            self._step(s)
            if trace:
                self._trace(n)

    def _trace(self, step: int) -> None:
        hook = self._word("%ctx", context.TRACE)
        cond = self.b.pure("icmp ne ptr {0}, null", (hook,), "i1")
        self.emitter.branch(cond, lambda: self.b.effect(f"call void {hook.text}(ptr %ctx, i64 {step})"), None)

    def _step(self, s: Step) -> None:
        b = self.b
        match s:
            case Launch():
                assert len(s.args) == len(s.kernel.buffers), f"{s.kernel.name}: {len(s.args)} arguments"
                args = [f"ptr {self.pointer(a).text}" for a in s.args]
                for name in kernel_symbols(s.kernel):
                    value = self.dim(s.symbols[name]) if name in s.symbols else self.emitter.symbols[name]
                    args.append(f"i64 {value.text}")
                b.effect(f"call void @{self.names[structure(s.kernel)]}({', '.join(['ptr %ctx', *args])})")
            case Copy():
                target, source, size = self.pointer(s.target), self.pointer(s.source), self.dim(s.nbytes)
                b.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
                b.effect(
                    f"call void @llvm.memcpy.p0.p0.i64(ptr {target.text}, ptr {source.text}, i64 {size.text}, i1 false)"
                )
            case Loop():

                def body(i: V, carried: Sequence[V]) -> Sequence[V]:
                    del carried
                    self.emitter.symbols[s.symbol.name] = i
                    self.steps(s.body)
                    return []

                self.emitter.loop(
                    b.number(0, "i64"),
                    self.dim(s.extent),
                    1,
                    [],
                    lambda i, c: self.emitter.scoped(body, i, c),
                )
                self.emitter.symbols.pop(s.symbol.name, None)
            case Branch():
                cond = self._flag(s.cond)
                self.emitter.branch(cond, lambda: self.steps(s.then), lambda: self.steps(s.otherwise))
            case While():
                self._while(s)
            case _:
                assert_never(s)

    def _flag(self, arg: Arg) -> V:
        byte = self.b.fixed(f"load i8, ptr {self.pointer(arg).text}, align 1", "i8")
        return self.b.fixed(f"icmp ne i8 {byte.text}, 0", "i1")

    def _while(self, s: While) -> None:
        b = self.b
        head, inside, after, before = b.label(), b.label(), b.label(), b.here.label
        limit = b.number((1 << 63) - 1, "i64") if s.limit is None else self.dim(s.limit)
        b.open(head)
        turn = V(b.fresh(), "i64", 1, b.depth)
        flag = self._flag(s.cond)
        left = b.fixed(f"icmp slt i64 {turn.text}, {limit.text}", "i1")
        both = b.fixed(f"and i1 {flag.text}, {left.text}", "i1")
        b.effect(f"br i1 {both.text}, label %{inside}, label %{after}")
        b.here.lines.append(f"{inside}:")
        b.here.label = inside
        self.steps(s.body)
        following = b.fixed(f"add i64 {turn.text}, 1", "i64")
        b.effect(f"br label %{head}")
        scope = b.close()
        b.here.lines += [f"  br label %{head}", f"{head}:"]
        b.here.lines.append(f"  {turn.text} = phi i64 [ 0, %{before} ], [ {following.text}, %{scope.label} ]")
        b.here.lines += [*scope.lines, f"{after}:"]
        b.here.label = after
