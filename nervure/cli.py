"""The command line. Only click is imported until a command runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import __version__

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nervure")
def cli() -> None:
    """nervure: a compiler for neural networks."""


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passes", "text", help="The pipeline to run, such as 'canonicalize,cse,dce'.")
@click.option("-O", "level", type=click.IntRange(0, 3), help="A standard pipeline instead.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), help="Write the program here instead of printing it."
)
@click.option(
    "--dump-dir",
    type=click.Path(path_type=Path),
    help="One numbered file for each pass that changed something.",
)
@click.option("--stop-after", type=click.IntRange(0), help="Stop after so many rewrites.")
def opt(
    file: Path,
    text: str | None,
    level: int | None,
    output: Path | None,
    dump_dir: Path | None,
    stop_after: int | None,
) -> None:
    """Run passes over the program in FILE (.nv) and print the result."""
    from .ir.text import load, print_program, save
    from .passes.levels import standard_pipeline
    from .passes.manager import Pipeline, run_pipeline

    if (text is None) == (level is None):
        raise click.UsageError("give either --passes TEXT or -O LEVEL")
    pipeline = Pipeline.parse(text) if text is not None else standard_pipeline(level or 0)
    result = run_pipeline(load(file), pipeline, dump_dir=dump_dir, stop_after=stop_after)
    if output is None:
        click.echo(print_program(result.program), nl=False)
    else:
        save(result.program, output)


def main() -> None:
    """Run the command line; an error of nervure is one message and exit code 2."""
    try:
        cli(standalone_mode=True)
    except Exception as error:
        from .ir.errors import NervureError

        if not isinstance(error, NervureError):
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
