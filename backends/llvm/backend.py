"""The LLVM backend: programs to machine code for this CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...ir.dims import dim_text
from ...ir.op import Level, Op
from ...ir.ops.linalg import REFERENCE_ONLY, Factorization
from ...ir.program import Program
from ...ir.store import Store
from ...ir.types import DType
from ...runtime.executable import Executable
from ...runtime.native import NativeProgram
from ..results import refuse_large_results
from ..signatures import signature_of
from .context import ENTRY_POINTS
from .options import Options

if TYPE_CHECKING:
    from ...passes.manager import Pipeline
    from ...runtime.signature import Signature
    from .executable import Made
    from .recipe import Recipe

__all__ = ["LLVMBackend"]


class LLVMBackend:
    """Kernels for the CPU, made by LLVM."""

    name = "llvm"

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        from .lower import BARRIERS
        from .lower.pull import MAPS

        if op.mnemonic in MAPS or op.mnemonic in BARRIERS or op.mnemonic == "fuse":
            return None
        if isinstance(op, Factorization):
            return REFERENCE_ONLY
        if op.level is Level.NN:
            return "it is a composite"
        return "it has no kernel"

    def pipeline(self, level: int) -> Pipeline:
        from ...passes.levels import CLEAN, standard_pipeline
        from ...passes.manager import Pipeline

        legal = Pipeline.parse("decompose{keep=relu},legalize{backend=llvm}")
        if level == 0:
            return legal
        return (
            standard_pipeline(level)
            + legal
            + Pipeline.parse(
                f"join-products,subpixel,thin-inputs,{CLEAN},simplify-scans,sink-transposes,{CLEAN},split-prepare,fuse,dce,order"
            )
        )

    def compile(self, program: Program, **options: Any) -> Executable:
        """Machine code for this CPU, with the options of options.py."""
        from .emit_parallel import TASK
        from .executable import Made
        from .recipe import Recipe
        from .translate import translate

        chosen = Options.of(options)
        if chosen.max_memory is not None:
            refuse_large_results(program.main, chosen.max_memory)
        found = translate(program, chosen.machine, chosen.choices)
        signature = signature_of(program)
        recipe = Recipe(
            symbols=tuple(s.name for s in program.symbols),
            outputs=tuple(name for name, _ in signature.outputs),
            updates=tuple(name for name, _ in program.main.updates),
            entries=found.assembled.entries,
            derived=(),
            extents=tuple(map(dim_text, signature.extents)),
            threads=TASK in found.text,
            constants=found.assembled.constants,
            object=found.object(chosen.codegen, cached=chosen.cache),
        )
        made = Made(program, (), found.assembled, found.text)
        return _executable(program.name, signature, program.store, recipe, chosen, lambda: made)

    def recall(self, program: Program, level: int, **options: Any) -> Executable | None:
        """The executable of a program before the passes that was compiled before, here or in another process; else None.

        What its compilation went through is made again when somebody asks for it.
        """
        from .recipe import recall, recipe_key

        chosen = Options.of(options)
        if chosen.max_memory is not None:
            refuse_large_results(program.main, chosen.max_memory)
        key = recipe_key(program, level, chosen) if chosen.cache else None
        signature = signature_of(program)
        recipe = None if key is None else recall(key, signature)
        if recipe is None:
            return None

        def make() -> Made:
            from ...passes.manager import run_pipeline
            from .executable import Made
            from .translate import translate

            result = run_pipeline(program, self.pipeline(level), verify=False)
            found = translate(result.program, chosen.machine, chosen.choices)
            return Made(result.program, result.notes, found.assembled, found.text)

        named = recipe.signature(signature)
        return _executable(program.name, named, recipe.store(program), recipe, chosen, make)

    def remember(self, program: Program, level: int, executable: Executable, **options: Any) -> None:
        """Keep what `recall` needs, for a program before the passes and what became of it with these options."""
        from .executable import LLVMExecutable
        from .recipe import keep, recipe_key

        chosen = Options.of(options)
        if not chosen.cache or not isinstance(executable, LLVMExecutable):
            return
        key = recipe_key(program, level, chosen)
        added = tuple(
            (name, entry.type.dtype.name, entry.type.static_shape())
            for name, entry in executable.store.items()
            if name not in program.store
        )
        if key is not None:
            keep(key, replace(executable.recipe, derived=added))


def _executable(
    name: str,
    signature: Signature,
    store: Store,
    recipe: Recipe,
    options: Options,
    make: Callable[[], Made],
) -> Executable:
    """The object loaded into this process, and what calls it."""
    from .executable import executable_type
    from .jit import load_object
    from .pool import join_pool

    loaded = load_object(recipe.object, ENTRY_POINTS)
    function, team = join_pool(options.threads) if recipe.threads else (0, None)
    native = NativeProgram(
        loaded.address,
        len(recipe.symbols),
        parallel_for=function,
        team=team,
        max_memory=options.max_memory,
        keep=loaded,
    )
    made = executable_type()(name, signature, store, recipe, native, make)
    made.max_memory = options.max_memory
    return made
