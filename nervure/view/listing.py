"""A difference as a page without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .escape import asset, document, mark_up

if TYPE_CHECKING:
    from ..inspect.diff import Diff
    from ..inspect.edits import Line

__all__ = ["diff_page"]


def diff_page(diff: Diff) -> str:
    """The listing of a difference, what was deleted and inserted marked by elements as well as colours."""
    from ..inspect.diff import shortened

    lines = "".join(map(_line, shortened(list(diff.lines()))))
    title = f"{diff.a} and {diff.b}"
    body = f"<main>\n<h1>{mark_up(diff.a)} &rarr; {mark_up(diff.b)}</h1>\n<p>{mark_up(diff.summary())}</p>\n"
    listing = f'<pre tabindex="0" aria-label="listing">{lines}</pre>\n' if lines else ""
    return document(title, f"{body}{listing}</main>", asset("plain.css"))


def _line(line: Line) -> str:
    text = mark_up(str(line))
    match line.sign:
        case "-":
            return f"<del>{text}</del>"
        case "+":
            return f"<ins>{text}</ins>"
        case "@":
            return f'<span class="skip">{text}</span>'
        case _:
            return f'<span class="head">{text}</span>' if line.head else f"<span>{text}</span>"
