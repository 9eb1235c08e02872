"""The names of the door: each is there, and the type checker sees the same ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nervure


def checked_names(text: str) -> set[str]:
    """What a module imports under TYPE_CHECKING."""
    blocks = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


@pytest.mark.parametrize("name", nervure.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(nervure, name) is not None
    assert name in dir(nervure)


def test_the_type_checker_sees_the_names_that_are_there() -> None:
    assert checked_names(Path(nervure.__file__).read_text("utf-8")) == set(nervure.__all__)


def test_a_planted_difference_is_found() -> None:
    text = "if TYPE_CHECKING:\n    from .compile import compile\n    from .ir.text import parse_program as parse\n"
    assert checked_names(text) == {"compile", "parse"}


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nervure has no complie"):
        nervure.complie  # noqa: B018  the access is what is tested


def test_no_module_of_the_package_has_the_name_of_a_function() -> None:
    # importing such a module would put it in the function's place
    folder = Path(nervure.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    functions = {name for name in nervure.__all__ if callable(getattr(nervure, name))}
    assert modules & functions == set()
