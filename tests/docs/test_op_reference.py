"""docs/ops.md says what the ops say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nervure.ir.op import OPS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ops.md"


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_a_section(name: str) -> None:
    assert f"\n### {name}\n" in PAGE.read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "op_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"run python scripts/op_reference.py\n{run.stderr}"
