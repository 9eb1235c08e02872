"""The command line. Only click is imported until a command runs; each command is a module of this package."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from importlib import import_module
from keyword import iskeyword
from typing import NoReturn

import click

from .. import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, str] = {
    "trace": "Trace a Python model into a program.",
    "import": "Read an ONNX file as a program.",
    "opt": "Run passes over a program.",
    "compile": "Compile a program; print or write any stage of it.",
    "build": "Write a model as an object, a library with a C header, or a program.",
    "inspect": "What a build holds: versions, target, pipeline, program.",
    "run": "Run a program on given or random inputs.",
    "export": "Write a program as an ONNX file.",
    "train": "Train a model on labelled data.",
    "predict": "Predict with a model.",
    "summary": "One row a layer: shapes, parameters, operations.",
    "bench": "Time a program on several backends.",
    "tune": "Measure schedules of a program's kernels and remember the quickest.",
    "profile": "Time every kernel of a program.",
    "explain": "Why each value is or is not fused; what an error code means.",
    "view": "A program as a page, or a picture of its graph.",
    "diff": "What differs between two programs.",
    "explain-grad": "The chain rule of a model, op by op.",
    "tape": "Every value on the way through a program; where a NaN was born.",
    "bisect": "Which pass, rewrite or kernel makes a result wrong.",
    "reduce": "The smallest program that still fails a check.",
    "replay": "What is to blame for a saved fault.",
    "doctor": "What of nervure works on this machine.",
    "cache": "Look at the cache of compiled objects, or clear it.",
}
"""Every command, with its line in the list; `nervure.cli.<name>` has a click command of the name ``command``; a name that is a
word of Python has a _ behind it there."""


class Commands(click.Group):
    """Commands that are imported when they run, so that the help text costs click alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_") + "_" * iskeyword(cmd_name)
        return import_module(f".{module}", __name__).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"No command is named {args[0]}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nervure")
@click.option("--debug", is_flag=True, help="Show Python's traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """nervure: a compiler for neural networks.

    MODEL is file.py:Name (a module class, a module, a function or a program), file.nv, file.onnx, - for text on standard
    input, or the name of a model that comes with nervure.
    """
    ctx.obj["debug"] = debug


def main() -> NoReturn:
    """Run the command line.

    Exit codes: 0; 1 a comparison or a check failed; 2 wrong use or input; 70 a fault of nervure itself; 130
    interrupted.
    """
    settings: dict[str, bool] = {"debug": False}
    try:
        result = cli.main(standalone_mode=False, obj=settings, prog_name="nervure")
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    except click.ClickException as error:
        _misused(error)
        code = error.exit_code
    except BrokenPipeError:
        code = _closed_pipe()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = _closed_pipe()
    except Exception as error:
        code = _failed(error, settings["debug"])
    sys.exit(code)


def _misused(error: click.ClickException) -> None:
    """Tell the user about wrong use of a command, as about any other error."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    message, meant = _with_hint(error.format_message())
    text = message.rstrip(".")
    click.echo(f"error[NV0702]: {text[:1].lower()}{text[1:]}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if meant or context is not None:
        path = context.command_path if context is not None else "nervure"
        click.echo(f"  hint: {f'did you mean {meant}?' if meant else f'{path} --help'}", err=True)


def _with_hint(message: str) -> tuple[str, str]:
    """A message of click without the names that it suggests, and those."""
    for mark in (" Did you mean ", " (Did you mean one of: "):
        before, found, after = message.partition(mark)
        if found:
            return before, after.strip("?()").replace(", ", " or ")
    return message, ""


def _failed(error: Exception, debug: bool) -> int:
    """Tell the user about an error: one message with code, cause and fix; the exit code."""
    from ..ir.errors import CompareError, NervureError

    if debug:
        traceback.print_exception(error)
    if isinstance(error, NervureError):
        for one in (error, *error.others):
            click.echo(f"error[{one.code}]: {one.alone()}", err=True)
        if error.others:
            click.echo(f"{len(error.others) + 1} errors", err=True)
        return 1 if isinstance(error, CompareError) else 2
    from ..ir.codes import INTERNAL

    click.echo(f"error[{INTERNAL}]: a fault of nervure: {type(error).__name__}: {error}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"  {note}", err=True)
    if not debug:
        click.echo("  hint: nervure --debug ... shows where", err=True)
    return 70


def _closed_pipe() -> int:
    """Whoever read the output went away, as `head` does: no error, and nothing more to flush."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
