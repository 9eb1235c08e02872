"""``nervure explain``."""

from __future__ import annotations

import re
from typing import Any

import click

from .model import model_options, program_of
from .options import level_option
from .output import json_option, print_json


@click.command()
@model_options
@click.option("--backend", default="llvm", show_default=True)
@level_option
@click.option(
    "--line", metavar="FILE.py:N", help="Only what this line has a part in, with rewrites and kernels."
)
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, backend: str, level: int, line: str | None, as_json: bool
) -> None:
    """Say for every value of MODEL whether it stays out of memory, and if not, why.

    MODEL may be the code of an error instead, such as NV0601.
    """
    if re.fullmatch(r"(?i)nv\d{4}", model):
        from ..ir.codes import code_named, explain_code

        if as_json:
            print_json(code_named(model).to_json())
        else:
            click.echo(explain_code(model), nl=False)
        return
    program = program_of(model, types, init)
    if line is not None:
        from ..inspect.why import why

        found: Any = why(program, line, backend, level)
    else:
        from ..inspect.explain import explain

        found = explain(program, backend, level)
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(str(found))
