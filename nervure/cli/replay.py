"""``nervure replay``."""

from __future__ import annotations

from pathlib import Path

import click

from .output import json_option, print_json


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--reduce", is_flag=True, help="Write a smaller program to FOLDER/reduced as well.")
@json_option
@click.pass_context
def command(ctx: click.Context, folder: Path, reduce: bool, as_json: bool) -> None:
    """Say what is to blame for the fault that a reproducer in FOLDER holds. Exit code 1 while it is still there."""
    from ..inspect.crash import guard
    from ..inspect.reproduce import reduce_reproducer, replay

    def died(signal: str) -> int:
        click.echo(f"the process died of {signal}: the fault is still there")
        return 1

    guard(died)
    verdict = replay(folder)
    if reduce and verdict.kind in ("pass", "backend"):
        click.echo(f"reduced to {reduce_reproducer(folder)}", err=True)
    if as_json:
        print_json(verdict.to_json())
    else:
        click.echo(str(verdict))
    ctx.exit(0 if verdict.kind == "agrees" else 1)
