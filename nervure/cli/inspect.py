"""``nervure inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from .output import json_option, print_json, print_text


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--ir", "only_ir", is_flag=True, help="Print the program alone, as text that other commands read."
)
@json_option
def command(file: Path, only_ir: bool, as_json: bool) -> None:
    """Print what a build holds: versions, target, pipeline, interface and program.

    FILE is what nervure build wrote: an object, a library or a program, for any machine. It is read, not run.
    """
    from ..native.metadata import metadata_text, read_metadata

    found = read_metadata(file)
    if as_json:
        print_json(found)
    elif only_ir:
        print_text(found["ir"])
    else:
        print_text(metadata_text(found))
