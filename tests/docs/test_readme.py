"""The README's example prints what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="tests of an installed wheel stand without the README")
def test_the_readmes_example_prints_what_the_readme_says(tmp_path: Path):
    text = README.read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    printed = re.search(r"It prints\n\n```\n(.*?)\n```", text, re.DOTALL)
    assert code is not None and printed is not None
    assert len(code.group(1).splitlines()) <= 24
    (tmp_path / "xor.py").write_text(code.group(1))
    environment = {**os.environ, "NERVURE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(README.parent)}
    run = subprocess.run(
        [sys.executable, "xor.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip() == printed.group(1)


def test_the_readme_has_no_open_places():
    if README.exists():
        assert "@@" not in README.read_text()
