"""How notebooks show programs and graphs: who can draw registers here, since this room cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DRAWN_BY", "shown"]

DRAWN_BY: dict[str, Callable[[Any], str]] = {}
"""By what is made: ``html`` of programs, ``svg`` of graphs."""


def shown(kind: str, thing: Any) -> str | None:
    """The picture of a thing, or None where nobody draws; a notebook then shows its `repr`."""
    draw = DRAWN_BY.get(kind)
    return None if draw is None else draw(thing)
