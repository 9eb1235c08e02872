"""Where the checkout is, and the Python files in it."""

from __future__ import annotations

from pathlib import Path

import pytest

# nervure/ holds links to the layers: its own folders are named one by one
FOLDERS = {
    "ir": "**/*.py",
    "frontend": "**/*.py",
    "passes": "**/*.py",
    "runtime": "**/*.py",
    "backends": "**/*.py",
    "nervure": "*.py",
    "nervure/cli": "**/*.py",
    "nervure/inspect": "**/*.py",
    "nervure/native": "**/*.py",
    "nervure/train": "**/*.py",
    "nervure/view": "**/*.py",
    "examples": "**/*.py",
    "benchmarks": "**/*.py",
    "scripts": "**/*.py",
    "tests": "**/*.py",
}


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def sources(checkout: Path) -> dict[str, str]:
    """The text of every Python file, by its path from the root."""
    paths = [path for folder, files in FOLDERS.items() for path in (checkout / folder).glob(files)]
    return {path.relative_to(checkout).as_posix(): path.read_text("utf-8") for path in sorted(paths)}
