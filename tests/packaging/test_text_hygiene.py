"""No code that runs what a file says, and nothing in the repository that names a person's own folders."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNS_DATA = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "__import__"}
# put together here, so that this file does not hold what it looks for
HOME = re.compile(r"(?<![\w.~$}])(?:/(?:home|Users)/|/ro" r"ot/|[A-Z]:\\Users\\)\w")


def dangers(path: str, text: str) -> Iterator[str]:
    """Where a Python file reads pickles, runs text as code, or starts a shell."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module or "").partition(".")[0]]
        for name in RUNS_DATA.intersection(names):
            yield f"{path}:{node.lineno}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in RUNS_TEXT:
            yield f"{path}:{node.lineno}: calls {node.func.id}"
        for keyword in node.keywords:
            if keyword.arg in {"allow_pickle", "shell"} and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                yield f"{path}:{node.lineno}: passes {keyword.arg}"


def homes(path: str, text: str) -> Iterator[str]:
    """Where a file names a folder under somebody's home."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := HOME.search(line):
            yield f"{path}:{number}: names {found.group()}..."


def test_nothing_runs_what_a_file_says(sources: dict[str, str]) -> None:
    ours = {path: text for path, text in sources.items() if not path.startswith("tests/")}
    assert len(ours) > 50
    assert [found for path, text in ours.items() for found in dangers(path, text)] == []


def test_no_tracked_file_names_a_home(checkout: Path) -> None:
    if not (checkout / ".git").exists():
        pytest.skip("no git here: an exported tree says nothing of what is tracked")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={checkout}", "ls-files", "-z"],
        cwd=checkout,
        capture_output=True,
        check=True,
    )
    paths = [checkout / name for name in listed.stdout.decode().split("\0") if name]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    assert len(files) > 50
    found: list[str] = []
    for path in files:
        data = path.read_bytes()
        if b"\0" not in data:
            found += homes(path.relative_to(checkout).as_posix(), data.decode("utf-8"))
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import marshal",
        "import os, shelve",
        "eval('1')",
        "exec(open('a').read())",
        "__import__('os')",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=trusted)",
        "subprocess.run(c, shell=True)",
    ],
)
def test_planted_code_is_found(text: str) -> None:
    assert len(list(dangers("planted.py", text))) == 1


@pytest.mark.parametrize("text", ["model.eval()", "from .pickle import x", "np.load(f, allow_pickle=False)"])
def test_harmless_code_is_not(text: str) -> None:
    assert list(dangers("planted.py", text)) == []


@pytest.mark.parametrize(
    "home", ["/ho" + "me/ann/x", "/Us" + "ers/ann/x", "/ro" + "ot/x", "C:\\Us" + "ers\\ann"]
)
def test_a_planted_home_is_found(home: str) -> None:
    assert list(homes("planted.py", f"fine\npath = '{home}'\n"))
    assert list(homes("planted.md", f"see {home}"))


@pytest.mark.parametrize("text", ["a/home/b", "~/.cache/nervure", "$HOME/x", "the /home page"])
def test_another_path_is_not(text: str) -> None:
    assert list(homes("planted.md", text)) == []
