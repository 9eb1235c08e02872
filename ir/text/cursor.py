"""A place in the tokens of a text: what stands there, what is expected, and how reading goes on behind an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from ..errors import NervureError, ParseError
from .lexer import Token, error_at, tokenize

__all__ = ["MAX_DEPTH", "Consequence", "Cursor"]

MAX_DEPTH = 64
"""Regions within regions, lists within lists and functions within dims; deeper text is refused."""

MAX_ERRORS = 20
"""Errors that are told of one text; what is behind them is not read."""

T = TypeVar("T")


class Consequence(ParseError):
    """What cannot be read because of an error that is told already."""


class Cursor:
    """One text, read once from front to back.

    An error in a line is kept, and reading goes on at the next line of the same block, so that one run tells
    all of them.
    """

    def __init__(self, source: str, file: str | None = None) -> None:
        self.source = source
        self.file = file
        self.errors: list[ParseError] = []
        self.tokens = tokenize(source, self.unexpected)
        self.position = 0
        self.depth: int = 0
        self._levels: list[int] = []

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def next(self) -> Token:
        token = self.token
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def accept(self, text: str) -> bool:
        if self.token.text == text and self.token.kind in ("mark", "word"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        if self.token.text != text or self.token.kind not in ("mark", "word", "int"):
            self.fail(f"expected {text!r}, found {self.found()}")
        return self.next()

    def take(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            self.fail(f"expected {what}, found {self.found()}")
        return self.next()

    def found(self) -> str:
        return repr(self.token.text) if self.token.kind != "end" else "the end of the text"

    def integer(self) -> int:
        token = self.take("int", "an integer")
        if len(token.text) > 20:
            self.fail("integer out of range", token)
        return int(token.text)

    def nested(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")

    # errors
    def fail(self, message: str, token: Token | None = None, hint: str | None = None) -> NoReturn:
        at = token or self.token
        if at.kind == "unexpected":  # told by the lexer
            raise Consequence(message)
        raise self.error(message, at, hint)

    def fail_with(self, error: NervureError, token: Token) -> NoReturn:
        """Fail at a token with another error's message, details and hint."""
        raise self.error(error.message, token, error.hint, error.details, error.where)

    def error(
        self,
        message: str,
        at: Token,
        hint: str | None = None,
        details: Iterable[str] = (),
        where: Iterable[str] = (),
    ) -> ParseError:
        return error_at(self.source, at, message, hint, self.file, details, where)

    def unexpected(self, at: Token) -> None:
        """Keep the error of a character that begins no token."""
        self.keep(self.error(f"unexpected character {at.text!r}", at))

    def keep(self, error: ParseError) -> None:
        """Remember an error; the reader goes on behind it."""
        if isinstance(error, Consequence):
            return
        self.errors.append(error)
        if len(self.errors) >= MAX_ERRORS:
            raise self.all_errors()

    def all_errors(self) -> ParseError:
        """All errors that were kept, in the order of the text, as one."""
        first, *others = sorted(self.errors, key=lambda e: (e.line, e.column))
        first.others = tuple(others)
        return first

    def attempt(self, read: Callable[[], T], level: int) -> T | None:
        """What `read` reads; where that fails, None, the error kept and the reader at the block's next line.

        Args:
            level: blocks around that line
        """
        depth, begun = self.depth, self.position
        try:
            return read()
        except ParseError as error:
            if self.errors and error is self.errors[0]:
                raise  # there are too many
            self.keep(error)
            self.depth = depth
            self.skip(begun, level)
            return None

    def skip(self, begun: int, level: int) -> None:
        """Go to the next line of a block that begins with a name or a word, or to its closing brace.

        Raises:
            ParseError: there is none; what comes behind belongs to nothing
        """
        levels = self.levels()
        self.position = max(self.position, begun + 1)
        while self.position < len(self.tokens) - 1:
            token, now = self.token, levels[self.position]
            if token.line != self.tokens[self.position - 1].line:
                if now == level and token.kind in ("value", "word"):
                    return
                if now == level - 1 and token.text == "}":
                    return
            if now < level - 1:
                break
            self.position += 1
        raise self.all_errors() if self.errors else Consequence("the end of a block is missing")

    def levels(self) -> list[int]:
        """For each token the blocks around it, by the braces that end and begin lines."""
        if not self._levels:
            level, last = 0, 0
            for k, token in enumerate(self.tokens):
                if token.text == "}" and token.line != last:
                    level -= 1
                self._levels.append(level)
                if token.text == "{" and k + 1 < len(self.tokens) and self.tokens[k + 1].line != token.line:
                    level += 1
                last = token.line
        return self._levels
