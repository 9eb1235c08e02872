"""``nervure explain-grad``."""

from __future__ import annotations

from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json


@click.command("explain-grad")
@model_options
@json_option
def command(model: str, types: tuple[str, ...], init: Any, as_json: bool) -> None:
    """Print the chain rule of MODEL op by op: each value's derivative as an equation, with the shapes filled in.

    A result that is no scalar is summed.
    """
    from ..gradient import explain_grad

    found = explain_grad(program_of(model, types, init))
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(str(found), nl=False)
