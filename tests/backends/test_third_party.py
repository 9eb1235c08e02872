"""A backend that nervure knows nothing of is found by its entry point, and passes the suite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nervure

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "examples" / "backend"

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs Python lines where the package looks installed: its folder and its metadata are on the path."""
    metadata = tmp_path / "nervure_stack-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: nervure-stack\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[nervure.backends]\nstack = nervure_stack:StackBackend\n")
    paths = [str(tmp_path), str(PACKAGE), str(TESTS), str(Path(nervure.__file__).parents[1])]

    def python(lines: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", lines],
            check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return python


def test_a_backend_with_an_entry_point_passes_the_suite(run: Run) -> None:
    found = run("from backend_suite import CASES, run_suite; run_suite('stack'); print(len(CASES), 'cases')")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert "stack: training step agrees with the reference" in lines
    assert lines[-1] == f"{len(lines) - 1} cases"


def test_it_runs_core_instructions_and_no_composites(run: Run) -> None:
    found = run(
        "from backend_suite import CASES\n"
        "import nervure as nv\n"
        "by_name = {case.name: case for case in CASES}\n"
        "case = by_name['scan']\n"
        "machine = nv.compile(case.build(), backend='stack')\n"
        "machine(*case.calls[0])\n"
        "names = [what.op.mnemonic for kind, what in machine.code if kind == 'call']\n"
        "print(machine.backend, machine.calls == len(names), 'scan' in names, names.count('dot_general'))\n"
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["stack", "True", "False", "7"]


def test_its_name_is_listed_and_it_refuses_devices_that_it_lacks(run: Run) -> None:
    found = run(
        "import nervure as nv\n"
        "from nervure.backends.base import backend_names\n"
        "print(*backend_names())\n"
        "try:\n"
        "    nv.compile(lambda x: x + x, 'f32[3]', backend='stack', device='cuda')\n"
        "except nv.NervureError as error:\n"
        "    print(error)\n"
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0] == "llvm onnx reference stack"
    assert "backend stack has no device cuda" in found.stdout


def test_without_its_metadata_the_backend_is_not_there() -> None:
    import nervure as nv

    with pytest.raises(nv.NervureError, match="no backend is named stack"):
        nv.compile(lambda x: x + x, "f32[3]", backend="stack")
