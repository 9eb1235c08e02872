"""``nervure opt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .model import model_options, program_of
from .output import json_option, print_json, print_text


@click.command()
@model_options
@click.option("--passes", "text", help="The pipeline to run, such as 'canonicalize,fuse{kinds=conv}'.")
@click.option(
    "-O",
    "level",
    metavar="0..3",
    type=click.IntRange(0, 3),
    help="A standard pipeline instead; -O2 if none is given.",
)
@click.option("--backend", help="With -O, that backend's whole pipeline.")
@click.option(
    "--print-after", metavar="changed|all|NAME", help="Print graphs after passes, to standard error."
)
@click.option(
    "--dump-dir",
    type=click.Path(path_type=Path),
    help="One numbered file for each pass that changed something.",
)
@click.option("--stop-after", type=click.IntRange(0), help="Stop after so many rewrites.")
@click.option("--timing", is_flag=True, help="Print how long each pass took, to standard error.")
@click.option("--stats", is_flag=True, help="Print what each pass did, to standard error.")
@click.option("--verify-each/--no-verify-each", default=True, help="Check the program after each pass.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write FILE.nv instead of printing.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, text: str | None, level: int | None, backend: str | None,
    print_after: str | None, dump_dir: Path | None, stop_after: int | None, timing: bool, stats: bool,
    verify_each: bool, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run passes over MODEL and print the result."""
    from ..inspect.timing import records_json, statistics, timings
    from ..ir.text import print_program, save
    from ..passes.manager import Pipeline, run_pipeline

    if text is not None and level is not None:
        raise click.UsageError("give --passes TEXT or -O LEVEL, not both")
    pipeline = Pipeline.parse(text) if text is not None else _standard(2 if level is None else level, backend)
    result = run_pipeline(
        program_of(model, types, init), pipeline, verify=verify_each, dump_dir=dump_dir, print_after=print_after,
        echo=lambda graph: click.echo(graph, err=True), stop_after=stop_after,
    )  # fmt: skip
    if timing:
        click.echo(timings(result.records), err=True)
    if stats:
        click.echo(statistics(result.records), err=True)
    if output is not None:
        save(result.program, output)
    if as_json:
        program = None if output is not None else print_program(result.program)
        print_json({"pipeline": str(pipeline), "passes": records_json(result.records), "program": program})
    elif output is None:
        print_text(print_program(result.program))


def _standard(level: int, backend: str | None) -> Any:
    from ..backends.base import find_backend
    from ..passes.levels import standard_pipeline

    return standard_pipeline(level) if backend is None else find_backend(backend).pipeline(level)
