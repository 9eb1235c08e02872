"""Tokens of IR text, each with its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import ParseError

__all__ = ["Token", "error_at", "tokenize"]

_PATTERN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|//[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<value>%[A-Za-z0-9_.$]+)
  | (?P<entry>@[A-Za-z0-9_.$]+)
  | (?P<digest>\#[0-9a-f]+)
  | (?P<float>-?(?:\d+\.(?!\.)\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf\b)|nan\b)
  | (?P<int>-?\d+(?![\w.])|-?\d+(?=\.\.))
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>->|\.\.|[{}()\[\]<>,:=@+\-*])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its kind, its text, and where it begins (1-based)."""

    kind: str
    text: str
    line: int
    column: int


WIDTH = 120
"""Characters of a line that an error shows, around its column."""


def error_at(
    source: str,
    at: Token,
    message: str,
    hint: str | None = None,
    file: str | None = None,
    details: Iterable[str] = (),
    where: Iterable[str] = (),
) -> ParseError:
    """A parse error with the line of text and carets below the token."""
    lines = source.split("\n")
    text = lines[at.line - 1].rstrip().replace("\t", " ") if 0 < at.line <= len(lines) else ""
    place = f"{file}:{at.line}:{at.column}" if file else f"{at.line}:{at.column}"
    start = 0 if at.column < WIDTH - 20 else at.column - WIDTH // 2
    shown = text[start : start + WIDTH]
    column = at.column - 1 - start
    if start:
        shown, column = "..." + shown, column + 3
    carets = "^" * max(1, min(len(at.text), len(shown) - column))
    error = ParseError(
        f"{place}: {message}", details=[shown, " " * column + carets, *details], where=where, hint=hint
    )
    error.line, error.column = at.line, at.column
    return error


def tokenize(source: str, unexpected: Callable[[Token], None]) -> list[Token]:
    """All tokens of a text, an ``end`` token last.

    Args:
        unexpected: told of each run of characters that begins no token
    """
    tokens: list[Token] = []
    position, line, start = 0, 1, 0
    while position < len(source):
        match = _PATTERN.match(source, position)
        column = position - start + 1
        if match is None:
            token = Token("unexpected", source[position], line, column)
            unexpected(token)
            tokens.append(token)
            position += 1
            continue
        kind, text = match.lastgroup or "", match.group()
        if kind != "space":
            tokens.append(Token(kind, text, line, column))
        breaks = text.count("\n")
        if breaks:
            line += breaks
            start = position + text.rindex("\n") + 1
        position = match.end()
    tokens.append(Token("end", "", line, position - start + 1))
    return tokens
