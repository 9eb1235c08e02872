"""Where a node comes from: the user's file and line, kept through every pass."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Origin", "Origins", "current_origins", "merge_origins", "origin_source", "origins_of"]


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """A line of a user's file.

    Args:
        file:     path, relative to the project's root where it lies below it
        line:     1-based
        function: the name of the function or method, for error messages; not part of the text form
    """

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f", in {self.function}" if self.function else "")


Origins = tuple[Origin, ...]

_source: ContextVar[Callable[[], Origins]] = ContextVar("origin_source", default=lambda: ())


def current_origins() -> Origins:
    """The origins that a node made now gets."""
    return _source.get()()


@contextmanager
def origin_source(source: Callable[[], Origins]) -> Generator[None]:
    """Nodes made inside take their origins from the callable: the tracer walks the Python stack with it."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


class origins_of:
    """Nodes made inside inherit these origins: a rewrite speaks for the node it replaces.

    A class, since a pass enters it for each node of a graph.
    """

    __slots__ = ("_origins", "_token")

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def __call__(self) -> Origins:
        return self._origins

    def __enter__(self) -> None:
        self._token = _source.set(self)

    def __exit__(self, *_: object) -> None:
        _source.reset(self._token)


def merge_origins(*groups: Origins) -> Origins:
    """The origins of a fused node: each once, in the order met."""
    return tuple(dict.fromkeys(o for group in groups for o in group))
