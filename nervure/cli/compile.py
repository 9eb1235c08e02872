"""``nervure compile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .model import model_options, program_of
from .options import level_option, winograd_option
from .output import json_option, print_json, print_text, write_file
from .sizes import check_sizes, sizes_of

if TYPE_CHECKING:
    from ..ir.program import Program

STAGES = ("ir", "kernels", "plan", "llvm", "asm", "obj", "onnx")


@click.command()
@model_options
@click.option("--backend", help="llvm if not given; onnx with --emit onnx.")
@level_option
@click.option(
    "--emit", type=click.Choice(STAGES), default="ir", show_default=True, help="The stage to print."
)
@click.option(
    "--target",
    metavar="CPU|TRIPLE|TRIPLE:CPU",
    help="Another machine's kernels, llvm, asm or obj: haswell, aarch64-linux, x86_64-windows:znver4.",
)
@winograd_option
@click.option(
    "--compile-budget",
    "budget",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="What writing out loops may cost; 1 if not given.",
)
@click.option(
    "--size", "sizes", multiple=True, metavar="SYMBOL=N", help="With --emit plan: bytes for these sizes."
)
@click.option("--timing", is_flag=True, help="Print where compilation spends its time, to standard error.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the stage to FILE.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, backend: str | None, level: int, emit: str, target: str | None,
    winograd: str, budget: float | None, sizes: tuple[str, ...], timing: bool, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compile MODEL, and print or write one stage of it.

    ir is the program after the passes; kernels, plan, llvm, asm and obj are the LLVM backend's; onnx is a file.

    \b
    nervure compile lenet --emit kernels
    nervure compile lenet --emit obj --target aarch64-linux -o lenet.o
    """
    backend = backend or ("onnx" if emit == "onnx" else "llvm")
    if emit in ("obj", "onnx") and output is None:
        raise click.UsageError(f"--emit {emit} is binary: give a file with -o FILE")
    if timing and (backend != "llvm" or target is not None):
        raise click.UsageError("--timing is for the llvm backend and this machine")
    if winograd != "auto" and backend != "llvm":
        raise click.UsageError(f"--winograd is for the llvm backend, not for {backend}")
    program = program_of(model, types, init)
    known = sizes_of(sizes)
    if known and (emit != "plan" or target is not None):
        raise click.UsageError("--size is for --emit plan on this machine")
    check_sizes(known, [s.name for s in program.symbols])
    found, machine = _stage(program, backend, level, emit, target, winograd, budget, known)
    spent = None
    if timing:
        from ..inspect.compile_time import compile_time

        spent = compile_time(program, level, winograd=winograd)
        click.echo(str(spent), err=True)
    if output is not None:
        write_file(output, found)
    if as_json:
        text = found if isinstance(found, str) and output is None else None
        file = None if output is None else str(output)
        size = len(found.encode() if isinstance(found, str) else found)
        more = {} if spent is None else {"timing": spent.to_json()}
        facts = {**more, "backend": backend, "level": level, "target": machine, "emit": emit}
        print_json({**facts, "bytes": size, "file": file, "text": text})
    elif output is None:
        assert isinstance(found, str)
        print_text(found)


def _stage(
    program: Program,
    backend: str,
    level: int,
    emit: str,
    target: str | None,
    winograd: str,
    budget: float | None,
    sizes: dict[str, int],
) -> tuple[str | bytes, str | None]:
    """The stage, and the machine it is for where that matters."""
    from ..compiling import compile as compile_
    from ..inspect.stages import stage, translated_stage

    if target is None:
        options: dict[str, Any] = {} if winograd == "auto" else {"winograd": winograd}
        executable = compile_(program, backend=backend, opt=level, compile_budget=budget, **options)
        return stage(executable, emit, sizes), None
    if backend != "llvm":
        raise click.UsageError(f"--target is for the llvm backend; {backend} makes no code for a machine")
    return translated_stage(program, target, level, emit, winograd == "auto")
