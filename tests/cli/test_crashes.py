"""Faults while a program runs: an error inside, and machine code that kills its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.backends.reference import ReferenceExecutable
from nervure.inspect.reproduce import load_reproducer

BACKEND = """import os
import signal

from nervure.backends.reference import ReferenceBackend


class Dying(ReferenceBackend):
    name = "dying"

    def compile(self, program, **options):
        executable = super().compile(program)
        executable.execute = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
        return executable
"""


def installed(folder: Path) -> dict[str, str]:
    """An environment in which a backend is installed whose programs die."""
    (folder / "dying.py").write_text(BACKEND)
    metadata = folder / "dying-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: dying\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[nervure.backends]\ndying = dying:Dying\n")
    paths = [str(folder), str(Path(nv.__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NERVURE_CACHE": str(folder / "cache")}


def command(folder: Path, environment: dict[str, str], *arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "nervure", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_process_that_dies_leaves_a_reproducer_that_replays(tmp_path: Path) -> None:
    environment = installed(tmp_path)
    given = ("run", "lenet", "--backend", "dying", "--input", "x=1x1x28x28:rand")
    ran = command(tmp_path, environment, *given)
    assert ran.returncode == 70, ran.stderr
    assert ran.stderr.startswith("error[NV0900]: a fault of nervure: the process died of SIGSEGV\n")
    folder = Path(ran.stderr.partition("written to ")[2].partition(";")[0])
    found = load_reproducer(folder)
    assert found.backend == "dying" and found.what == "The process died of SIGSEGV."
    assert found.inputs[0].shape == (1, 1, 28, 28)
    again = command(tmp_path, environment, "replay", str(folder))
    assert (again.returncode, again.stdout) == (
        1,
        "the process died of SIGSEGV: the fault is still there\n",
    )


def test_a_run_that_lives_ends_as_it_would_without_a_guard(tmp_path: Path) -> None:
    environment = {**installed(tmp_path), "NO_COLOR": "1"}
    given = ("run", "lenet", "--backend", "reference", "--input", "x=1x1x28x28:rand")
    guarded = command(tmp_path, environment, *given, "--output", "@y.npy")
    plain = command(tmp_path, {**environment, "NERVURE_GUARD": "off"}, *given)
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (0, plain.stdout, "")
    assert command(tmp_path, environment, *given, "--expect", "@y.npy").returncode == 0
    assert command(tmp_path, environment, "run", "lenet", "--input", "x=2x2:rand").returncode == 2


def test_an_error_inside_while_a_program_runs_notes_a_reproducer_with_its_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path))

    def broken(*_: Any) -> None:
        raise AssertionError("planted")

    run = nv.compile(lambda x: x + 1, "f32[3]", backend="reference")
    monkeypatch.setattr(ReferenceExecutable, "execute", broken)
    with pytest.raises(AssertionError, match="planted") as caught:
        run(np.array([1, 2, 3], np.float32))
    (note,) = caught.value.__notes__
    found = load_reproducer(Path(note.partition("written to ")[2].partition(";")[0]))
    assert found.inputs[0].tolist() == [1, 2, 3]
    assert found.backend == "reference" and found.what == "AssertionError: planted"
