"""What an import costs: nothing heavy comes with the door, and the help text is there at once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import nervure

HEAVY = {"onnx", "onnxruntime", "llvmlite"}
HELP = """
from nervure.cli import main
sys.argv = ["nervure", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def environment(*more: Path) -> dict[str, str]:
    """The environment in which a new process finds this nervure."""
    paths = [Path(nervure.__file__).parents[1], *more]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def imported_by(code: str, *more: Path) -> set[str]:
    """The modules that a piece of code imports, in a process of its own."""
    text = (
        f"import sys\nbefore = set(sys.modules)\n{code}\nprint(end='@@')\nprint(*(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", text], env=environment(*more), capture_output=True, text=True, check=True
    )
    return set(run.stdout.partition("@@")[2].split())


def packages(modules: set[str]) -> set[str]:
    """The packages that modules belong to, without those of Python itself."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def cpu_seconds_of_help() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "nervure", "--help"], env=environment(), stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_the_door_imports_itself_alone() -> None:
    modules = imported_by("import nervure")
    assert packages(modules) == {"nervure"}
    assert modules.isdisjoint(HEAVY)


def test_tracing_imports_no_backend() -> None:
    modules = imported_by("import nervure\nnervure.trace, nervure.nn, nervure.optim, nervure.compile")
    assert "nervure.frontend.trace" in modules
    assert modules.isdisjoint(HEAVY)


def test_help_imports_click_alone() -> None:
    modules = imported_by(HELP)
    assert packages(modules) == {"nervure", "click"}
    assert {name for name in modules if name.startswith("nervure.")} == {"nervure.cli"}


def test_help_takes_less_than_150_ms() -> None:
    # seconds of the processor, so that neighbours do not count; the best of a few
    assert min(cpu_seconds_of_help() for _ in range(5)) < 0.15


@pytest.mark.parametrize("name", sorted(HEAVY))
def test_a_planted_heavy_import_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "planted.py").write_text(f"import {name}")
    path = f"sys.path.insert(0, {str(tmp_path)!r})"
    assert packages(imported_by(f"{path}\nimport nervure, planted")) == {"nervure", "planted", name}
