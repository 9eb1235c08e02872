"""``nervure import``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .model import onnx_types
from .output import json_option, print_json, print_text


@click.command()
@click.argument("file")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="[NAME=]TYPE",
    help="The type of an input in place of the file's, such as x=f32[B,3,224,224].",
)
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=SIZE",
    help="What a size is that the file leaves open: a number, or a range LOW..HIGH.",
)
@click.option(
    "--bind",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of an input that shapes or axes depend on: @FILE.npy, or JSON such as [2,3].",
)
@click.option(
    "--check", is_flag=True, help="Say what the file has and all that cannot be imported; code 1 if any."
)
@click.option(
    "--reroll", is_flag=True, help="Fold recurrences that the file has step by step into loops: they compile and run faster."
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write FILE.nv instead of printing.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, file: str, types: tuple[str, ...], dims: tuple[str, ...], bind: tuple[str, ...], check: bool,
    reroll: bool, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Read an ONNX FILE as a program and print it.

    Every command takes FILE.onnx as its MODEL too. Several things that cannot be imported are one error.
    """
    from ..frontend.onnx import check_onnx, import_onnx
    from ..ir.text import print_program, save

    given: dict[str, Any] = {"inputs": onnx_types(file, types), "bind": _bound(bind), "dims": _dims(dims)}
    if check:
        report = check_onnx(file, **given)
        if as_json:
            print_json(report.to_json())
        else:
            print_text(str(report))
        ctx.exit(0 if report.ok else 1)
    program = import_onnx(file, **given)
    if reroll:
        from ..passes.manager import Pipeline, run_pipeline

        found = run_pipeline(program, Pipeline.parse("canonicalize,cse,reroll,canonicalize,dce"))
        folded = [note for note in found.notes if note.startswith("reroll: ")]
        click.echo("\n".join(folded or ["reroll: no steps repeat"]), err=True)
        program = found.program if folded else program
    if output is not None:
        save(program, output)
    elif as_json:
        print_json({"program": print_program(program)})
    else:
        print_text(print_program(program))


def _bound(given: Sequence[str]) -> dict[str, Any]:
    """Values by name."""
    import numpy as np

    from ..ir.errors import InputError
    from .values import read_array

    found: dict[str, Any] = {}
    for name, text in _pairs("--bind", given):
        if text.startswith("@"):
            found[name] = read_array(Path(text[1:]))
            continue
        try:
            array = np.asarray(json.loads(text))
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "bif":
            raise InputError(f"--bind {name}={text}: expected @FILE.npy, a number, or a JSON list of numbers")
        found[name] = array
    return found


def _dims(given: Sequence[str]) -> dict[str, Any]:
    """Sizes and ranges by name."""
    from ..ir.errors import InputError

    found: dict[str, Any] = {}
    for name, text in _pairs("--dim", given):
        low, dots, high = text.partition("..")
        if not low.isdecimal() or (dots and not high.isdecimal()):
            raise InputError(f"--dim {name}={text}: expected a number, or a range such as 1..64")
        found[name] = (int(low), int(high)) if dots else int(low)
    return found


def _pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    from ..ir.errors import InputError

    pairs: list[tuple[str, str]] = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{option} {text}: expected NAME=VALUE")
        pairs.append((name, value))
    return pairs
