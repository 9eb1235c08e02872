"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["level_option", "winograd_option"]

F = TypeVar("F", bound=Callable[..., Any])


def level_option(command: F) -> F:
    """The option ``-O``, as the argument ``level``."""
    return click.option(
        "-O",
        "level",
        metavar="0..3",
        type=click.IntRange(0, 3),
        default=2,
        show_default=True,
        help="How much to optimise.",
    )(command)


def winograd_option(command: F) -> F:
    """The option ``--winograd``."""
    return click.option(
        "--winograd",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="Whether 3 x 3 convolutions may take Winograd's transforms: faster, an error of about 1e-5 of the largest value.",
    )(command)
