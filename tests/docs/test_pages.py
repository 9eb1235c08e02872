"""Every code block of the docs runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks_of, matches, run_page

ROOT = Path(__file__).parents[2]
MADE = ("ops.md", "passes.md", "errors.md", "commands.md")
"""Pages that scripts make, with tests of their own."""
PAGES = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in MADE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_blocks_of_a_page_print_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    place = tmp_path / "page"
    place.mkdir()
    fenced = [b for b in blocks_of(page.read_text("utf-8")) if b.language in ("python", "console")]
    assert run_page(page, place) >= len(fenced)


def test_made_pages_are_up_to_date():
    script = [sys.executable, str(ROOT / "scripts" / "references.py"), "--check"]
    ran = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"run python scripts/references.py\n{ran.stderr}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+\.md)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_page_that_says_something_else_fails(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md: expected"):
        run_page(page, tmp_path)
    page.write_text("```console\n$ echo one; echo two\none\n```\n")
    with pytest.raises(AssertionError, match="echo one"):
        run_page(page, tmp_path)


def test_an_ellipsis_stands_for_anything():
    assert matches("a\n...\nz", "a\nb\nc\nz")
    assert matches("loss ... end", "loss 0.5 end") and not matches("loss ... end", "loss 0.5")
