"""A program of kernels: memory, launches and loops around them, and its LLVM text with the entry points of context.py.

    program = KernelProgram(symbols, inputs, outputs, store, prepare, run)
    text    = program_text(program, target)         # for objects.compile_object
    print(program)                                  # memory, steps and kernels, for people

Arena memory is placed here: buffers whose steps overlap do not share bytes. Offsets are the program's `nv_plan`: constants where
sizes are, else computed from the dims at entry. Equal kernels are emitted once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from ...ir.dims import Dim, Symbol, dim_text
from .kernel_ir import Kernel
from .structure import structure

__all__ = [
    "Arg",
    "Beside",
    "Branch",
    "Copy",
    "KernelProgram",
    "Launch",
    "Loop",
    "Memory",
    "Step",
    "While",
    "arena_uses",
    "kernels_of",
    "with_args",
]

Place = Literal["input", "output", "store", "prepared", "arena"]


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """A stretch of bytes.

    Args:
        name:   for dumps
        nbytes: its size; of prepared memory, a constant
        place:  input, output, store: the caller's, by `index`; prepared: made by the prepare steps, kept between runs;
                arena: scratch of one run (or of one prepare), placed by the program
        index:  which input, output or store slot
    """

    name: str
    nbytes: Dim
    place: Place
    index: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Arg:
    """Where a buffer of a kernel lies: a memory and an offset in bytes, which may use symbols of loops around."""

    memory: Memory
    offset: Dim = 0


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """Run a kernel; one argument a buffer. `symbols` gives the kernel's symbols where they are not the program's own.
    Within a loop that threads run together, `shares` says that each takes a share of it."""

    kernel: Kernel
    args: tuple[Arg, ...]
    symbols: Mapping[str, Dim] = field(default_factory=dict[str, Dim])
    shares: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Copy bytes between memories that do not overlap, or are the same."""

    target: Arg
    source: Arg
    nbytes: Dim


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Run steps for symbol = 0 .. extent - 1; the symbol's name is unique in the program. Threads run it together where
    `gain`, the picoseconds of a step that two of them save, is positive (together.py)."""

    symbol: Symbol
    extent: Dim
    body: tuple[Step, ...]
    gain: Dim = 0


@dataclass(frozen=True, slots=True, eq=False)
class While:
    """Run steps as long as the byte at cond is not 0, tested before each turn; at most `limit` turns."""

    cond: Arg
    body: tuple[Step, ...]
    limit: Dim | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Run one of two lists of steps: the first where the byte at cond is not 0, or the dim is positive."""

    cond: Arg | Dim
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Two steps of which neither touches what the other writes: threads run one each (together.py)."""

    body: tuple[Step, ...]


Step = Launch | Copy | Loop | While | Branch | Beside


@dataclass(frozen=True, slots=True, eq=False)
class KernelProgram:
    """Everything an object holds.

    Args:
        symbols: the order of `dims`
        inputs, outputs, store: the caller's memories by index
        prepare: steps from store to prepared memory
        run:     steps from inputs, store and prepared memory to outputs and store
        sizes:   what `nv_sizes` computes: picoseconds of a run, and extents for the call to check or allocate
    """

    symbols: tuple[str, ...]
    inputs: tuple[Memory, ...]
    outputs: tuple[Memory, ...]
    store: tuple[Memory, ...] = ()
    prepare: tuple[Step, ...] = ()
    run: tuple[Step, ...] = ()
    sizes: tuple[Dim, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_text(self))


def args_of(step: Step) -> Iterator[Arg]:
    """The memories that a step touches, inner steps included."""
    match step:
        case Launch():
            yield from step.args
        case Copy():
            yield from (step.target, step.source)
        case Loop() | Beside():
            for s in step.body:
                yield from args_of(s)
        case While() | Branch():
            if isinstance(step.cond, Arg):
                yield step.cond
            for s in step.body if isinstance(step, While) else (*step.then, *step.otherwise):
                yield from args_of(s)
        case _:
            assert_never(step)


def with_args(step: Step, change: Callable[[Arg], Arg]) -> Step:
    """The step with every argument changed, inner ones too."""

    def inner(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(with_args(s, change) for s in steps)

    match step:
        case Launch():
            return replace(step, args=tuple(map(change, step.args)))
        case Copy():
            return replace(step, target=change(step.target), source=change(step.source))
        case Loop() | Beside():
            return replace(step, body=inner(step.body))
        case While():
            return replace(step, cond=change(step.cond), body=inner(step.body))
        case Branch():
            cond = change(step.cond) if isinstance(step.cond, Arg) else step.cond
            return replace(step, cond=cond, then=inner(step.then), otherwise=inner(step.otherwise))


def arena_uses(steps: Sequence[Step]) -> list[tuple[Memory, int, int]]:
    """Arena memories in order of first use, with the first and last top-level step that touches them."""
    found: dict[int, tuple[Memory, int, int]] = {}
    for n, step in enumerate(steps):
        for arg in args_of(step):
            if arg.memory.place == "arena":
                first = found.get(id(arg.memory), (arg.memory, n, n))[1]
                found[id(arg.memory)] = (arg.memory, first, n)
    return list(found.values())


def prepared_offsets(program: KernelProgram) -> tuple[dict[int, int], int]:
    """Offsets of prepared memories, and the bytes of all."""
    offsets: dict[int, int] = {}
    end = 0
    for step in (*program.prepare, *program.run):
        for arg in args_of(step):
            memory = arg.memory
            if memory.place == "prepared" and id(memory) not in offsets:
                assert isinstance(memory.nbytes, int), f"prepared memory {memory.name} has a symbolic size"
                offsets[id(memory)] = end
                end += -(-memory.nbytes // 64) * 64
    return offsets, end


def kernels_of(steps: Sequence[Step]) -> Iterator[Kernel]:
    """The kernels of all launches, in order, with repetitions."""
    for step in steps:
        match step:
            case Launch():
                yield step.kernel
            case Loop() | While() | Beside():
                yield from kernels_of(step.body)
            case Branch():
                yield from kernels_of((*step.then, *step.otherwise))
            case Copy():
                pass


def _arg(arg: Arg) -> str:
    plus = "" if isinstance(arg.offset, int) and arg.offset == 0 else f"+{dim_text(arg.offset)}"
    return f"{arg.memory.name}{plus}"


def _steps(steps: Sequence[Step], names: Mapping[Hashable, str], indent: str) -> Iterator[str]:
    for s in steps:
        match s:
            case Launch():
                given = "".join(f" {k}={dim_text(v)}" for k, v in sorted(s.symbols.items()))
                shares = " in shares" if s.shares else ""
                yield f"{indent}{names[structure(s.kernel)]}({', '.join(map(_arg, s.args))}){given}{shares}"
            case Copy():
                yield f"{indent}copy {_arg(s.target)} = {_arg(s.source)} bytes {dim_text(s.nbytes)}"
            case Loop():
                together = "" if isinstance(s.gain, int) and s.gain <= 0 else " together"
                yield f"{indent}for {s.symbol.name} in {dim_text(s.extent)}{together} {{"
                yield from _steps(s.body, names, indent + "  ")
                yield f"{indent}}}"
            case Beside():
                yield f"{indent}beside each other {{"
                yield from _steps(s.body, names, indent + "  ")
                yield f"{indent}}}"
            case While():
                limit = "" if s.limit is None else f" at most {dim_text(s.limit)}"
                yield f"{indent}while {_arg(s.cond)}{limit} {{"
                yield from _steps(s.body, names, indent + "  ")
                yield f"{indent}}}"
            case Branch():
                cond = _arg(s.cond) if isinstance(s.cond, Arg) else f"{dim_text(s.cond)} > 0"
                yield f"{indent}if {cond} {{"
                yield from _steps(s.then, names, indent + "  ")
                yield f"{indent}}} else {{"
                yield from _steps(s.otherwise, names, indent + "  ")
                yield f"{indent}}}"
            case _:
                assert_never(s)


def kernel_names(program: KernelProgram) -> dict[Hashable, tuple[str, Kernel]]:
    """Each different kernel by its structure, with the name of its function."""
    found: dict[Hashable, tuple[str, Kernel]] = {}
    for kernel in kernels_of((*program.prepare, *program.run)):
        found.setdefault(structure(kernel), (f"k{len(found)}_{kernel.name}", kernel))
    return found


def _text(program: KernelProgram) -> Iterator[str]:
    kernels = kernel_names(program)
    names = {key: name for key, (name, _) in kernels.items()}
    yield f"symbols {', '.join(program.symbols) or '-'}"
    for kind in ("inputs", "outputs", "store"):
        for m in getattr(program, kind):
            yield f"{m.place} {m.index} {m.name}: {dim_text(m.nbytes)} bytes"
    offsets, _ = prepared_offsets(program)
    memories = {id(a.memory): a.memory for s in (*program.prepare, *program.run) for a in args_of(s)}
    for key, offset in offsets.items():
        yield f"prepared {memories[key].name}: {dim_text(memories[key].nbytes)} bytes at {offset}"
    for title, steps in (("prepare", program.prepare), ("run", program.run)):
        yield f"{title} {{"
        for memory, first, last in arena_uses(steps):
            yield f"  arena {memory.name}: {dim_text(memory.nbytes)} bytes, steps {first}..{last}"
        yield from _steps(steps, names, "  ")
        yield "}"
    for name, kernel in kernels.values():
        yield ""
        yield str(replace(kernel, name=name))
