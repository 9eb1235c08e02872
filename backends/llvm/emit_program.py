"""A KernelProgram to LLVM text: the kernels, nv_run, nv_prepare, nv_plan, nv_sizes and nv_serial."""

from __future__ import annotations

from .builder import Module
from .emit_steps import Functions, Writer
from .program import KernelProgram, prepared_offsets
from .target import Target

__all__ = ["SERIAL", "constant_arena", "program_module", "program_text"]

MANY = 16
"""Steps from which on their calls cost much less than what they call."""

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
    names = Functions(module, target, program)
    for title, steps in (("nv_prepare", program.prepare), ("nv_run", program.run)):
        params = "ptr %ctx" if title == "nv_prepare" else "ptr %ctx, ptr %inputs, ptr %outputs, ptr %dims"
        writer = Writer(module, target, program, names, symbols=title == "nv_run")
        writer.place(steps)
        writer.steps(steps, trace=title == "nv_run")
        module.functions[f"@{title}"] = writer.b.finish(
            f"define i32 @{title}({params}) nounwind", "ret i32 0", once=len(steps) >= MANY
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
    module = Module(target.fma)
    names = Functions(module, target, program)
    found = Writer(module, target, program, names, symbols=True).place(program.run)
    return None if found.number is None else int(found.number)


def _plan(
    module: Module, target: Target, program: KernelProgram, names: Functions, head: str, symbols: bool
) -> str:
    writer = Writer(module, target, program, names, symbols=symbols)
    arena = writer.place(program.run if symbols else program.prepare)
    assert symbols or arena.number is not None, "the memory of prepare has a symbolic size"
    b = writer.b
    b.effect(f"store i64 {arena.text}, ptr %sizes, align 8")
    second = b.pure("getelementptr i64, ptr %sizes, i64 1", (), "ptr")
    b.effect(f"store i64 {prepared_offsets(program)[1]}, ptr {second.text}, align 8")
    return b.finish(f"define void @{head} nounwind")


def _sizes(module: Module, target: Target, program: KernelProgram, names: Functions) -> str:
    writer = Writer(module, target, program, names, symbols=True)
    b = writer.b
    for n, size in enumerate(program.sizes):
        slot = b.pure(f"getelementptr i64, ptr %values, i64 {n}", (), "ptr")
        b.effect(f"store i64 {writer.dim(size).text}, ptr {slot.text}, align 8")
    return b.finish("define void @nv_sizes(ptr %dims, ptr %values) nounwind")
