"""``nervure reduce``."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json


@click.command()
@model_options
@click.option(
    "--check",
    required=True,
    metavar="COMMAND",
    help="Its exit code shows the fault; {} is the program's file.",
)
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="@FILE.npy or SHAPE:rand|zeros|ones|iota."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Programs that are checked at most.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("reduced"), show_default=True)
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, check: str, inputs: tuple[str, ...], limit: int, output: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Make MODEL as small as it can be while COMMAND still ends with the exit code that it has for MODEL, which is not 0.

    COMMAND finds the program in the file that stands for {}, its inputs in inputs.npz beside it.
    """
    from ..backends.signatures import signature_of
    from ..inspect.reduce import reduce
    from ..inspect.reproduce import save_reproducer
    from ..ir.program import Program
    from ..ir.types import Array
    from .values import input_arrays

    program = program_of(model, types, init)
    arrays = input_arrays(signature_of(program), inputs)
    with tempfile.TemporaryDirectory(prefix="nervure-") as folder:
        place = Path(folder)

        def shows(candidate: Program, given: Sequence[Array]) -> int:
            save_reproducer(place, candidate, given)
            return exit_code(check, place / "program.nv")

        small, given = reduce(program, arrays, shows, limit=limit)
    save_reproducer(output, small, given, what=f"{check} fails.", command=check.replace("{}", "program.nv"))
    before, after = (sum(1 for _ in p.main.walk()) for p in (program, small))
    if as_json:
        print_json(
            {"nodes_before": before, "nodes_after": after, "folder": str(output), "program": str(small)}
        )
    else:
        click.echo(f"{before} -> {after} nodes, in {output}\n\n{small}", nl=False)


def exit_code(command: str, program: Path) -> int:
    """How a command ends for a program; it is run without a shell, and what it prints is dropped.

    Raises:
        InputError: there is no such command
    """
    from ..ir.errors import InputError, reason_of

    words = shlex.split(command)
    given = [word.replace("{}", str(program)) for word in words]
    if given == words:
        given.append(str(program))
    try:
        return subprocess.run(given, check=False, capture_output=True).returncode
    except OSError as error:
        raise InputError(f"--check {command}: {reason_of(error)}") from error
