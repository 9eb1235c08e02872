"""Runs the code blocks of a page of the docs, in order, in an empty folder.

- ```python whose first line is ``# file: NAME`` writes that file; any other runs, in names shared by the page
- ```text right after a ```python that ran is what it prints
- ```console has commands behind ``$ ``, and below each what it prints, errors too; a command that fails ends in
  ``; echo $?``
- ```nv or ```c whose first line is ``// file: NAME`` writes that file; ```nv that begins with ``nervure 1``
  is a program that parses and prints to the same text

``...`` in what is printed stands for anything. ``python tests/pages.py PAGE`` writes what is printed now into a page.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nervure as nv
from nervure.ir.op import OPS

__all__ = ["Block", "Runner", "blocks_of", "matches", "run_page"]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, where its text is, and what stands between it and the one before."""

    language: str
    text: str
    start: int
    end: int
    between: str


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    last = 0
    for match in _FENCE.finditer(page):
        found.append(
            Block(match[1], match[2], match.start(2), match.end(2), page[last : match.start()].strip())
        )
        last = match.end()
    return found


def matches(expected: str, found: str) -> bool:
    """Whether what is printed is what is expected; ``...`` stands for anything, alone on a line for any lines."""
    plain = "\n".join(line.rstrip() for line in found.strip("\n").splitlines())
    wanted = "\n".join(line.rstrip() for line in expected.strip("\n").splitlines())
    pattern = re.escape(wanted).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, plain, re.DOTALL) is not None


@dataclass
class Runner:
    """The state that the blocks of a page share."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict[str, Any])

    def file(self, text: str) -> bool:
        """Write the file that a block's first line names; False where it names none."""
        head, _, rest = text.partition("\n")
        mark, _, name = head.partition(" file: ")
        if mark not in ("#", "//") or not name:
            return False
        (self.folder / name.strip()).write_text(rest)
        return True

    def python(self, text: str) -> str | None:
        """What a block prints; None where it is a file."""
        if self.file(text):
            return None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "page.py", "exec"), self.names)
        return printed.getvalue()

    def console(self, text: str) -> Iterator[tuple[str, str, str]]:
        """Each command with what should be printed and what is."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            while command.endswith("\\"):
                more, _, expected = expected.partition("\n")
                command = f"{command}\n{more}"
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
            ran = subprocess.run(
                ["sh", "-c", command], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
            )  # fmt: skip
            assert ran.returncode == 0, f"$ {command}\n{ran.stdout}\nexit code {ran.returncode}"
            yield command, expected, ran.stdout


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Files of the folder can be imported, and are forgotten afterwards, the ops that they made too."""
    before, ops = set(sys.modules), set(OPS)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(OPS) - ops:
            del OPS[name]
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def run_page(path: Path, folder: Path, update: bool = False) -> int:
    """Run a page's blocks; the number of those that had something to check.

    Args:
        update: write what is printed into the page instead of comparing

    Raises:
        AssertionError: a block prints something else, or a command fails
    """
    page, runner, checked = path.read_text("utf-8"), Runner(folder), 0
    changes: list[tuple[Block, str]] = []
    printed: str | None = None
    with contextlib.chdir(folder), _importable(folder):
        for block in blocks_of(page):
            if block.language == "text" and printed is not None and len(block.between) < 80:
                checked += 1
                if not matches(block.text, printed):
                    assert update, f"{path.name}: expected\n{block.text}\nprinted\n{printed}"
                    changes.append((block, printed))
            printed = None
            if block.language == "python":
                printed = runner.python(block.text)
                checked += 1
            elif block.language == "console":
                shown: list[str] = []
                for command, expected, out in runner.console(block.text):
                    checked += 1
                    good = matches(expected, out)
                    assert good or update, f"{path.name}: $ {command}\nexpected\n{expected}\nprinted\n{out}"
                    shown.append(f"$ {command}\n{expected if good else out.strip(chr(10)) + chr(10)}")
                changes.append((block, "".join(shown)))
            elif block.language in ("nv", "c") and runner.file(block.text):
                checked += 1
            elif block.language == "nv" and block.text.startswith("nervure 1"):
                checked += 1
                assert str(nv.parse(block.text)).strip() == block.text.strip()
    if update:
        for block, text in reversed(changes):
            page = page[: block.start] + text.strip("\n") + "\n" + page[block.end :]
        path.write_text(page, "utf-8")
    return checked


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NERVURE_CACHE"] = cache
        for name in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as place:
                print(name, run_page(Path(name).resolve(), Path(place), update=True))
