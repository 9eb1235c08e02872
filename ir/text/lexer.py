"""Tokens of IR text, each with its line and column."""

from __future__ import annotations

import re
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


def error_at(source: str, line: int, column: int, message: str, hint: str | None = None) -> ParseError:
    """A parse error with the line of text and a caret."""
    lines = source.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return ParseError(
        f"{line}:{column}: {message}", details=[text[:160], " " * (min(column, 160) - 1) + "^"], hint=hint
    )


def tokenize(source: str) -> list[Token]:
    """All tokens of a text, an ``end`` token last.

    Raises:
        ParseError: a character begins no token
    """
    tokens: list[Token] = []
    position, line, start = 0, 1, 0
    while position < len(source):
        match = _PATTERN.match(source, position)
        column = position - start + 1
        if match is None:
            raise error_at(source, line, column, f"unexpected character {source[position]!r}")
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
