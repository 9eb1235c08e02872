"""``nervure diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import program_of
from .output import json_option, print_json, print_text, write_file


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--init", type=click.Choice(["zeros", "random"]), help="Make up data that dumps lack.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write FILE.html, or text, instead of printing."
)
@json_option
@click.pass_context
def command(ctx: click.Context, a: str, b: str, init: Any, output: Path | None, as_json: bool) -> None:
    """Say which nodes two programs A and B have otherwise, whatever their order and names. Exit code 1 if any."""
    from ..inspect.diff import diff

    found = diff(program_of(a, (), init), program_of(b, (), init))
    if output is not None:
        write_file(output, found.to_html() if output.suffix == ".html" else f"{found}\n")
    elif as_json:
        print_json(found.to_json())
    else:
        print_text(str(found))
    ctx.exit(0 if found.same else 1)
