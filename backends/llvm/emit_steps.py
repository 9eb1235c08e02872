"""The steps of a program as LLVM text: launches, copies, loops and branches, where memory lies, and the tasks of loops that
threads run together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import assert_never

from ...ir.dims import Dim, evaluate_dim, floordiv, free_symbols, substitute
from . import context
from .builder import Builder, Module, V
from .emit_parallel import TASK
from .emit_stmt import Emitter, emit_kernel
from .emit_together import BOARD_BYTES, add_meeting, phase
from .grain import GRAIN, program_cost
from .kernel_ir import Kernel
from .places import fixed_offsets
from .program import (
    Arg,
    Beside,
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
    kernels_of,
    prepared_offsets,
)
from .structure import structure
from .target import Target
from .walk import kernel_symbols

__all__ = ["Functions", "Writer"]

LEAST_WORK = 20
"""Units of work (grain.py) of a loop that threads enter together."""


class Functions:
    """The functions of kernels, each emitted when it is called for the first time."""

    def __init__(self, module: Module, target: Target, program: KernelProgram) -> None:
        self.module, self.target = module, target
        self.kernels = kernel_names(program)
        self.emitted: dict[tuple[Hashable, bool], str] = {}
        loops = [s for s in (*program.prepare, *program.run) if not isinstance(s, Launch | Copy)]
        self.repeated = {structure(kernel) for kernel in kernels_of(loops)}

    def name(self, kernel: Kernel, shares: bool) -> str:
        key = structure(kernel), shares
        if key not in self.emitted:
            name, kernel = self.kernels[key[0]]
            name += "_share" if shares else ""
            self.emitted[key] = emit_kernel(
                self.module,
                replace(kernel, name=name),
                self.target,
                shares=shares,
                once=key[0] not in self.repeated,
            )
        return self.emitted[key]


def _usual(dim: Dim) -> int:
    """A size to compare slots by; it decides no correctness."""
    return evaluate_dim(dim, {s.name: min(max(s.lo, 32), s.hi) for s in free_symbols(dim)})


class Writer:
    """Writes one entry point."""

    def __init__(
        self, module: Module, target: Target, program: KernelProgram, names: Functions, symbols: bool
    ) -> None:
        self.b = Builder(module)
        self.module, self.target, self.program, self.names = module, target, program, names
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
        if isinstance(s, Beside):
            self._together(s, 1, program_cost(s.body, self.target), lambda: self.steps(s.body))
        elif isinstance(s, Loop) and isinstance(s.gain, int) and s.gain <= 0:
            self._loop(s)
        elif isinstance(s, Loop):
            cost = s.extent * substitute(program_cost(s.body, self.target), {s.symbol.name: s.extent})
            self._together(s, s.gain, cost, lambda: self._loop(s))
        else:
            self._do(s, V("0", "i64", number=0), V("1", "i64", number=1))

    def _do(self, s: Launch | Copy | Branch | While, share: V, shares: V) -> None:
        """A step that is no loop, or a share of it."""
        b = self.b
        match s:
            case Launch():
                self._launch(s, share, shares)
            case Copy():
                target, source, size = self.pointer(s.target), self.pointer(s.source), self.dim(s.nbytes)
                b.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
                b.effect(
                    f"call void @llvm.memcpy.p0.p0.i64(ptr {target.text}, ptr {source.text}, i64 {size.text}, i1 false)"
                )
            case Branch():
                if isinstance(s.cond, Arg):
                    cond = self._flag(s.cond)
                else:
                    cond = b.simple("icmp sgt", self.dim(s.cond), b.number(0, "i64"), ty="i1")
                self.emitter.branch(cond, lambda: self.steps(s.then), lambda: self.steps(s.otherwise))
            case While():
                self._while(s)
            case _:
                assert_never(s)

    def _launch(self, s: Launch, share: V, shares: V) -> None:
        assert len(s.args) == len(s.kernel.buffers), f"{s.kernel.name}: {len(s.args)} arguments"
        args = [f"ptr {self.pointer(a).text}" for a in s.args]
        for name in kernel_symbols(s.kernel):
            value = self.dim(s.symbols[name]) if name in s.symbols else self.emitter.symbols[name]
            args.append(f"i64 {value.text}")
        if s.shares:
            args += [f"i64 {share.text}", f"i64 {shares.text}"]
        name = self.names.name(s.kernel, s.shares)
        self.b.effect(f"call void @{name}({', '.join(['ptr %ctx', *args])})")

    def _loop(self, s: Loop) -> None:
        def body(i: V, carried: Sequence[V]) -> Sequence[V]:
            del carried
            self.emitter.symbols[s.symbol.name] = i
            self.steps(s.body)
            return []

        b = self.b
        self.emitter.loop(
            b.number(0, "i64"), self.dim(s.extent), 1, [], lambda i, c: self.emitter.scoped(body, i, c)
        )
        self.emitter.symbols.pop(s.symbol.name, None)

    def _together(self, s: Loop | Beside, gain: Dim, cost: Dim, alone: Callable[[], None]) -> None:
        """What threads run together where there are several and it pays, else the caller alone."""
        b = self.b
        add_meeting(self.module, self.target)
        task = f"@nv_run_t{len(self.module.functions)}"
        count = b.fixed("call i64 @nv_threads(ptr %ctx)", "i64")
        several = b.fixed(f"icmp sgt i64 {count.text}, 1", "i1")
        if not isinstance(gain, int):
            pays = b.simple("icmp sgt", self.dim(gain), b.number(0, "i64"), ty="i1")
            several = b.simple("and", several, pays)
        work = floordiv(cost, GRAIN)
        enough = b.simple("icmp sge", self.dim(work), b.number(LEAST_WORK, "i64"), ty="i1")
        several = b.simple("and", several, enough)
        outer = dict(self.emitter.symbols)
        symbols = [name for name in outer if name not in self.program.symbols]
        words = ["%ctx", "%inputs", "%outputs", "%dims"]

        def shared() -> None:
            board = self._stack(f"[{BOARD_BYTES} x i8]", 64)
            frame = self._stack(f"[{len(words) + 2 + len(symbols)} x i64]", 8)
            b.module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            size = b.add(b.mul(count, b.number(64, "i64")), b.number(64, "i64"))
            b.effect(f"call void @llvm.memset.p0.i64(ptr {board.text}, i8 0, i64 {size.text}, i1 false)")
            given = [("ptr", w) for w in (board.text, *words)] + [("i64", count.text)]
            for n, (ty, text) in enumerate([*given, *(("i64", outer[name].text) for name in symbols)]):
                slot = b.pure(f"getelementptr i64, ptr {frame.text}, i64 {n}", (), "ptr")
                b.effect(f"store {ty} {text}, ptr {slot.text}, align 8")
            units = b.intrinsic("smax", self.dim(work), b.mul(count, b.number(2, "i64")))
            function = b.fixed("load ptr, ptr %ctx, align 8", "ptr")
            b.effect(f"call void {function.text}(ptr %ctx, ptr {task}, ptr {frame.text}, i64 {units.text})")

        self.emitter.branch(several, shared, alone)
        _Task(self, words, symbols).write(s, task)

    def _stack(self, ty: str, align: int) -> V:
        """Memory of the function's frame."""
        name = self.b.fresh()
        self.b.scopes[0].lines.insert(0, f"  {name} = alloca {ty}, align {align}")
        return V(name, "ptr")

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


class _Task(Writer):
    """Writes the task of what threads run together: each step of a loop is a phase, and so are two steps beside each other.

    Args:
        words:   the names of what its frame holds behind the board
        symbols: those of the loops around, behind the number of threads
    """

    def __init__(self, outer: Writer, words: Sequence[str], symbols: Sequence[str]) -> None:
        super().__init__(outer.module, outer.target, outer.program, outer.names, symbols=True)
        self.place(outer.program.run)
        self.alone = False
        slots = [("ptr", "%board"), *(("ptr", w) for w in words), ("i64", "%threads")]
        slots += [("i64", f"%outer{n}") for n in range(len(symbols))]
        lines: list[str] = []
        for n, (ty, name) in enumerate(slots):
            lines.append(f"  {name}.at = getelementptr i64, ptr %arg, i64 {n}")
            lines.append(f"  {name} = load {ty}, ptr {name}.at, align 8")
        self.b.here.lines[:0] = lines
        self.emitter.symbols |= {name: V(f"%outer{n}", "i64") for n, name in enumerate(symbols)}
        self.board, self.threads = V("%board", "ptr"), V("%threads", "i64")

    def write(self, s: Loop | Beside, name: str) -> None:
        """The function of the task."""
        b = self.b
        self.at = self._stack("i32", 4)
        b.effect(f"store i32 0, ptr {self.at.text}, align 4")
        self.who = b.fixed("call i64 @nv_enter(ptr %board, i64 %threads)", "i64")
        entered = b.fixed(f"icmp sge i64 {self.who.text}, 0", "i1")

        def run() -> None:
            self._step(s)
            b.effect("call void @nv_leave(ptr %board)")

        self.emitter.branch(entered, run, None)
        self.module.functions[name] = b.finish(f"define internal void {name}{TASK} nounwind")

    def _step(self, s: Step) -> None:
        if self.alone:
            super()._step(s)
        elif isinstance(s, Loop):
            self._loop(s)
        else:
            phase(
                self.emitter, self.board, self.threads, self.who, self.at, lambda share: self._share(s, share)
            )

    def _share(self, s: Launch | Copy | Branch | While | Beside, share: V) -> None:
        """A share of a step; the first is all of it, where it cannot be cut."""
        if isinstance(s, Launch) and s.shares:
            self._do(s, share, self.threads)
            return
        for n, part in enumerate(s.body if isinstance(s, Beside) else (s,)):
            mine = self.b.simple("icmp eq", share, self.b.number(n, "i64"), ty="i1")
            self.emitter.branch(mine, lambda part=part: self._whole(part), None)

    def _whole(self, s: Step) -> None:
        self.alone = True
        super()._step(s)
        self.alone = False
