"""No file above 600 lines; above 400 it says why, near the top."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CEILING = 600
LONG = 400
NEAR_THE_TOP = 20
REASON = re.compile(r"^# long file: \S", re.MULTILINE)


def complaint(path: str, text: str) -> str | None:
    """What is wrong with the length of a file."""
    lines = text.splitlines()
    if len(lines) > CEILING:
        return f"{path}: {len(lines)} lines, the ceiling is {CEILING}"
    if len(lines) > LONG and not REASON.search("\n".join(lines[:NEAR_THE_TOP])):
        return f"{path}: {len(lines)} lines, expected a line '# long file: the reason' near the top"
    return None


def test_no_file_is_too_long(sources: dict[str, str]) -> None:
    assert len(sources) > 50
    assert [found for path, text in sources.items() if (found := complaint(path, text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n" * (CEILING + 1),
        "# long file: one grammar\n" + "x = 1\n" * CEILING,
        "x = 1\n" * (LONG + 1),
        "# long file:\n" + "x = 1\n" * LONG,
        "x = 1\n" * LONG + "# long file: one grammar\n",
    ],
)
def test_a_planted_long_file_is_found(text: str) -> None:
    assert complaint("planted.py", text)


@pytest.mark.parametrize(
    "text", ["x = 1\n" * LONG, '"""A parser."""\n# long file: one grammar\n' + "x = 1\n" * LONG]
)
def test_a_file_that_is_short_or_says_why_is_not(text: str) -> None:
    assert complaint("planted.py", text) is None


def test_no_folder_of_the_package_escapes_the_tests_over_its_files(
    checkout: Path, sources: dict[str, str]
) -> None:
    own = {p.name for p in (checkout / "nervure").iterdir() if p.is_dir() and not p.is_symlink()}
    assert own - {"__pycache__"} == {
        path.split("/")[1] for path in sources if path.count("/") > 1 and path.startswith("nervure/")
    }
