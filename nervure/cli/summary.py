"""``nervure summary``."""

from __future__ import annotations

from typing import Any

import click

from .model import find_model, input_types, model_options
from .output import json_option, print_json, print_table
from .sizes import check_sizes, sizes_of


@click.command()
@model_options
@click.option(
    "--size", "sizes", multiple=True, metavar="SYMBOL=N", help="The size of a symbol, such as B=64."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, types: tuple[str, ...], init: Any, sizes: tuple[str, ...], as_json: bool
) -> None:
    """Print one row a layer of MODEL: shapes, parameters, multiply-adds; then the totals and the peak of memory.

    Where a shape does not fit, the rows up to that layer and the error.
    """
    from ..inspect.summary import summary_of_model, summary_of_program

    found = find_model(model, init, types)
    known = sizes_of(sizes)
    if found.program is not None:
        summary = summary_of_program(found.program, known)
    else:
        summary = summary_of_model(found.source, input_types(found, types), known)
    if summary.error is None:
        check_sizes(known, summary.sizes)
    if as_json:
        print_json(summary.to_json())
    else:
        print_table(("layer", "kind", "output", "parameters", "multiply-adds"), summary.rows(), right=(3, 4))
        click.echo("")
        if summary.error is None:
            click.echo(summary.totals())
    if summary.error is not None:
        click.echo(f"error[{summary.error.code}]: {summary.error}", err=True)
        ctx.exit(2)
