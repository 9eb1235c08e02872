"""Peace on a machine that others use too: a file that they lock as well, shared while contestants are built, exclusively
while they are timed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["Turns"]


class Turns:
    """Locks in the order in which they are taken; none for a machine of one's own.

    Args:
        paths: files, made where they are missing; building locks the last alone
    """

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        self.paths = tuple(paths)

    @contextmanager
    def building(self) -> Generator[None]:
        """Others may work, nobody times."""
        with self._held(self.paths[-1:], fcntl.LOCK_SH):
            yield

    @contextmanager
    def timing(self) -> Generator[None]:
        """Nobody else works."""
        with self._held(self.paths, fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, paths: Sequence[Path], how: int) -> Generator[None]:
        with ExitStack() as stack:
            for path in paths:
                file: IO[Any] = stack.enter_context(path.open("a"))
                fcntl.flock(file, how)
            yield
