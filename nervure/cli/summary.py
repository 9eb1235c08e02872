"""``nervure summary``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .model import find_model, input_types, model_options
from .output import json_option, print_json, print_table


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
    known = _sizes(sizes)
    if found.program is not None:
        summary = summary_of_program(found.program, known)
    else:
        summary = summary_of_model(found.source, input_types(found, types), known)
    if summary.error is None:
        _check_sizes(known, summary.sizes)
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


def _check_sizes(given: dict[str, int], used: Mapping[str, int]) -> None:
    unknown = next((name for name in given if name not in used), None)
    if unknown is not None:
        raise click.UsageError(f"--size: no symbol is named {unknown}; there are {', '.join(used) or 'none'}")


def _sizes(given: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in given:
        name, _, size = text.partition("=")
        if not size.isdigit():
            raise click.UsageError(f"--size {text}: expected SYMBOL=N")
        found[name] = int(size)
    return found
