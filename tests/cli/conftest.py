"""The command line in this process: what it prints, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nervure as package
from nervure.cli import main

NET = """from nervure import nn


class Net(nn.Module):
    inputs = ("f32[B,4]",)

    def __init__(self):
        self.fc = nn.Linear(4, 3)

    def __call__(self, x):
        h = self.fc(x)
        h = nn.relu(h)
        return nn.softmax(h)


class Wide(nn.Module):
    def __init__(self, width):
        self.fc = nn.Linear(4, width)


class Misfit(nn.Module):
    inputs = ("f32[B,1,8,8]",)

    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(5, 3)

    def __call__(self, x):
        return self.fc(nn.flatten(self.conv(x)))


def total(x: "f32[3]", y: "f32[3]"):
    return x + y


def pair(x):
    return x + 1, x * 2


LIMIT = 3
"""


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def nervure(monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path) -> Iterator[Callable[..., Ran]]:
    """Run ``nervure`` with arguments, in an empty folder that holds net.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("NERVURE_GUARD", "off")  # commands run in this process, which is not to be forked
    monkeypatch.setenv("PYTHONPATH", str(Path(package.__file__).parents[1]))  # for commands that commands run
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str, stdin: str = "") -> Ran:
        import io

        monkeypatch.setattr(sys, "argv", ["nervure", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        return Ran(int(end.value.code or 0), printed.out, printed.err)

    yield run
    for name, module in list(sys.modules.items()):  # another test's net.py is another module
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
