"""``nervure bisect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json


@click.command()
@model_options
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option(
    "--expect", multiple=True, metavar="NAME=@FILE", help="What a result should be; else the reference says."
)
@click.option("--passes", "text", help="The pipeline that may be wrong; the backend's own if not given.")
@click.option("--backend", default="llvm", show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Write a small reproducer to this folder.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, types: tuple[str, ...], init: Any, inputs: tuple[str, ...], expect: tuple[str, ...],
    text: str | None, backend: str, save: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Say which pass, and which rewrite of it, makes a result of MODEL wrong; or which kernel. Exit code 1 if one does."""
    from ..backends.base import find_backend
    from ..backends.signatures import signature_of
    from ..inspect.bisect import bisect
    from ..inspect.reduce import reduce, same_blame
    from ..inspect.reproduce import save_reproducer
    from ..passes.manager import Pipeline
    from .values import input_arrays, named_paths, read_array

    program = program_of(model, types, init)
    signature = signature_of(program)
    arrays = input_arrays(signature, inputs)
    names = [name for name, _ in signature.outputs]
    wanted = {name: read_array(path) for name, path in named_paths("--expect", expect, names).items()}
    pipeline = Pipeline.parse(text) if text is not None else find_backend(backend).pipeline(2)
    runner = None if text is not None else backend
    verdict = bisect(program, pipeline, arrays, expect=wanted or None, backend=runner)
    if save is not None and verdict.kind in ("pass", "backend"):
        small, given = reduce(program, arrays, same_blame(pipeline, runner))
        save_reproducer(
            save, small, given, pipeline=None if runner else pipeline, backend=runner or "", what=verdict.what
        )
    if as_json:
        print_json(verdict.to_json())
    else:
        click.echo(str(verdict))
        if save is not None and verdict.kind in ("pass", "backend"):
            click.echo(f"a reproducer is in {save}; replay it with nervure replay {save}")
    ctx.exit(0 if verdict.kind == "agrees" else 1)
