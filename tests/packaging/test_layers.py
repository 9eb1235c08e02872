"""Who may import whom: ARCHITECTURE.md's table, held over every import statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

# a layer may import itself and what stands here
MAY_IMPORT = {
    "ir": (),
    "frontend": ("ir",),
    "passes": ("ir",),
    "runtime": ("ir.dims", "ir.types", "ir.errors"),
    "backends": ("ir", "passes", "runtime"),
}


def imported(path: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Line, full name and whether it was written relative, of all that a file imports, in functions too."""
    location = PurePosixPath(path).parts[:-1]
    package = location if location[0] == "nervure" else ("nervure", *location)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            stem = (*start, *(node.module or "").split(".")) if node.module else start
            for alias in node.names:
                yield node.lineno, ".".join((*stem, alias.name)), node.level > 0


def violations(path: str, text: str) -> list[str]:
    """What a file of the package imports against the rules."""
    layer = PurePosixPath(path).parts[0]
    allowed = [f"nervure.{name}" for name in (layer, *MAY_IMPORT.get(layer, ()))]
    found: list[str] = []
    for line, name, relative in imported(path, text):
        top = name.partition(".")[0]
        if not relative and (top in MAY_IMPORT or top == "nervure"):
            found.append(f"{path}:{line}: imports {name} by its full name, expected a relative import")
        elif relative and layer != "nervure" and not any(f"{name}.".startswith(f"{a}.") for a in allowed):
            found.append(f"{path}:{line}: {layer} imports {name}, expected one of {', '.join(allowed)}")
    return found


def test_every_import_keeps_to_the_layer_table(sources: dict[str, str]) -> None:
    package = {path: text for path, text in sources.items() if path.split("/")[0] in {"nervure", *MAY_IMPORT}}
    assert {path.split("/")[0] for path in package} == {"nervure", *MAY_IMPORT}
    assert [line for path, text in package.items() for line in violations(path, text)] == []


def test_architecture_states_the_same_table(checkout: Path) -> None:
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in (checkout / "ARCHITECTURE.md").read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    stated = {row[0].rstrip("/"): row[2] for row in rows if row[0] != "nervure/"}
    assert set(stated) == set(MAY_IMPORT)
    assert stated.pop("ir") == "nothing else"
    for layer, names in stated.items():
        assert set(names.split(", ")) == set(MAY_IMPORT[layer])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ir/graph.py", "from ..passes.manager import Pass"),
        ("ir/ops/nn.py", "from ...frontend import nn"),
        ("ir/types.py", "def f():\n    from ..runtime import call"),
        ("frontend/trace.py", "from ..passes.autodiff import gradients"),
        ("frontend/nn/module.py", "from ...backends.base import find_backend"),
        ("passes/fuse.py", "from ..frontend.trace import trace"),
        ("passes/fuse.py", "if TYPE_CHECKING:\n    from ..backends.base import Backend"),
        ("runtime/call.py", "from ..ir.graph import Graph"),
        ("runtime/call.py", "from ..ir import graph"),
        ("runtime/call.py", "from .. import ir"),
        ("backends/llvm/jit.py", "from ...frontend.trace import trace"),
        ("backends/base.py", "from .. import compile"),
        ("backends/base.py", "from ..compile import compile"),
        ("passes/cse.py", "from nervure.ir.graph import Graph"),
        ("passes/cse.py", "import ir.graph"),
        ("nervure/cli.py", "import nervure.ir.text"),
    ],
)
def test_a_planted_import_is_found(path: str, text: str) -> None:
    assert len(violations(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ir/ops/nn.py", "from ..types import Dim\nfrom . import core\nimport numpy as np"),
        ("frontend/nn/module.py", "from ...ir import build as b\nfrom ..tensor import Tensor"),
        ("runtime/call.py", "from ..ir.types import Dim\nfrom ..ir import errors"),
        ("backends/llvm/jit.py", "from ...passes.manager import Pass\nfrom ...runtime.call import call"),
        (
            "nervure/compiling.py",
            "from .frontend.trace import trace\nfrom .backends.base import find_backend",
        ),
    ],
)
def test_an_allowed_import_is_not(path: str, text: str) -> None:
    assert violations(path, text) == []
