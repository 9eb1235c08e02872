"""`nv.compile`: from a module, a function or a program to an executable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from .backends.base import Backend, Remembering, find_backend
from .backends.signatures import checks_of, lines_of, ranges_of
from .frontend.nn.module import Module
from .frontend.trace import trace
from .inspect.reproduce import note_fault, write_reproducer_on_failure
from .ir.errors import InputError
from .ir.program import Program
from .runtime.executable import Executable

__all__ = ["compile"]


def compile(
    model: Module | Callable[..., Any] | Program,
    *specs: Any,
    backend: str = "llvm",
    device: str = "cpu",
    opt: int = 2,
    verify: bool = False,
    compile_budget: float | None = None,
    **options: Any,
) -> Executable:
    """An executable.

    Args:
        model:   a module or a function of tensors, traced on the specs; or a program
        specs:   one type an input; none for a program
        backend: "llvm", "onnx", "reference", or one that is installed
        device:  "cpu", or "cuda" where the backend has it; never another than the one asked for
        opt:     0 to 3
        verify:  check the program after each pass
        compile_budget: seconds that writing out loops may cost, about; 1 if not given
        options: the backend's own

    Raises:
        NervureError: what cannot be traced, run on the backend, or found on this machine
        Exception: a fault of nervure; a note of the error names the folder of a reproducer
    """
    if isinstance(model, Program):
        if specs:
            raise InputError("a program has its types already; compile takes no specs beside it")
        program = model
    else:
        program = trace(model, *specs)
    chosen = find_backend(backend)
    with write_reproducer_on_failure(program, backend=backend, level=opt):
        executable = None
        if isinstance(chosen, Remembering) and not verify and compile_budget is None:
            executable = chosen.recall(program, opt, device=device, **options)
        if executable is None:
            executable = _compiled(program, chosen, opt, verify, compile_budget, device=device, **options)
    executable.signature = replace(
        executable.signature,
        ranges=ranges_of(program.main),
        lines=lines_of(program.main),
        checks=checks_of(program.main),
    )
    executable.on_fault = partial(note_fault, program, backend, opt)
    return executable


def _compiled(
    program: Program, backend: Backend, level: int, verify: bool, budget: float | None, **options: Any
) -> Executable:
    """Through the passes and the backend, and remembered where the backend does that."""
    from .passes.manager import run_pipeline
    from .passes.unroll import within_budget

    result = run_pipeline(program, within_budget(backend.pipeline(level), budget), verify=verify)
    executable = backend.compile(result.program, **options)
    executable.describe(result.program, result.notes)
    if isinstance(backend, Remembering) and budget is None:
        backend.remember(program, level, executable, **options)
    return executable
