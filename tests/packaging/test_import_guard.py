"""A layer refuses to be imported under any name but nervure.<layer>."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import nervure

LAYERS = ["ir", "frontend", "passes", "runtime", "backends"]


def refusal(init: Path, name: str) -> str | None:
    """The message with which a package's `__init__.py` refuses a name; None where it lets itself be imported."""
    spec = spec_from_file_location(name, init)
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module_from_spec(spec))
    except ImportError as error:
        # a refusal comes before the first import of something that is not there
        return None if isinstance(error, ModuleNotFoundError) else str(error)
    return None


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_refuses_another_name_and_says_its_own(layer: str) -> None:
    init = Path(nervure.__file__).parent / layer / "__init__.py"
    for name in (layer, f"main.{layer}", "other"):
        message = refusal(init, name)
        assert message is not None, f"{layer} lets itself be imported as {name}"
        assert f"nervure.{layer}" in message
        assert name in message


@pytest.mark.parametrize("text", ["", '"""A layer."""\n\nfrom .absent import x\n'])
def test_a_planted_layer_without_a_guard_is_found(tmp_path: Path, text: str) -> None:
    init = tmp_path / "__init__.py"
    init.write_text(text)
    assert refusal(init, "planted") is None
