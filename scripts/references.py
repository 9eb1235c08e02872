"""Writes docs/passes.md, docs/errors.md and docs/commands.md from what they describe.

python scripts/references.py            # write them
python scripts/references.py --check    # exit code 1 if one is not up to date
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from nervure.cli import COMMANDS, cli  # noqa: E402
from nervure.ir.codes import CODES, Code  # noqa: E402
from nervure.ir.errors import NervureError  # noqa: E402
from nervure.passes.base import Pass  # noqa: E402
from nervure.passes.levels import LEVELS  # noqa: E402
from nervure.passes.registry import PASSES  # noqa: E402

WIDTH = 100


def main() -> int:
    stale = 0
    for name, page in PAGES.items():
        target, text = ROOT / "docs" / name, page()
        if "--check" not in sys.argv:
            target.write_text(text, "utf-8")
        elif not target.exists() or target.read_text("utf-8") != text:
            print(f"{name} is not up to date", file=sys.stderr)
            stale = 1
    return stale


def passes() -> str:
    """Every pass with its options and levels, and every rule of canonicalize with its line of algebra."""
    from nervure.backends.base import find_backend

    lines = [
        "# Passes\n",
        "Made by `python scripts/references.py` from the passes themselves; a test holds it up to date.\n",
        "A pipeline is written as `name,name{option=value,...}`: for `nervure opt --passes`, and in Python for"
        " `Pipeline.parse`. The text of a pipeline parses back to it. [Add a pass](pass.md) shows how one is made.\n",
        "## Levels\n",
        "| level | the standard pipeline |\n|---|---|",
        *(f"| `-O{level}` | {f'`{text}`' if text else 'nothing'} |" for level, text in LEVELS.items()),
        "\nA backend appends what it needs; at `-O2`:\n",
        "| backend | its whole pipeline |\n|---|---|",
        *(f"| {name} | `{find_backend(name).pipeline(2)}` |" for name in ("llvm", "onnx", "reference")),
        "",
    ]
    lines += [section(PASSES[name]) for name in sorted(PASSES)]
    lines += [
        "## Rules of canonicalize\n",
        "The algebra stands above the rule in `passes/rules/`. *Accuracy*: exact keeps every bit; a looser rule"
        " applies only to ops that are as loose.\n",
        "| rule | what it says | accuracy |\n|---|---|---|",
        *rules(),
    ]
    return "\n".join(lines) + "\n"


def section(kind: type[Pass]) -> str:
    """One pass."""
    doc = inspect.cleandoc(kind.__doc__ or "")
    levels = [f"-O{n}" for n, text in LEVELS.items() if re.search(rf"(?<![\w-]){kind.name}(?![\w-])", text)]
    given = [f for f in fields(kind) if f.repr and f.default is not MISSING]
    options = ", ".join(f"`{f.name.replace('_', '-')}={_value(f.default)}`" for f in given)
    lines = [f"### {kind.name}\n", "```text", doc, "```\n"]
    lines.append(f"- options, with their defaults: {options or 'none'}")
    lines.append(f"- stands in: {', '.join(levels) or 'no level; a backend or a user names it'}\n")
    return "\n".join(lines)


def _value(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return "+".join(map(str, default)) or "..."
    return "..." if default is None else str(default)


def rules() -> list[str]:
    """A row for each rule: its name, the comment above it, its accuracy."""
    from nervure.passes.rules import RULES

    said: dict[str, str] = {}
    for path in sorted((ROOT / "passes" / "rules").glob("*.py")):
        comment, before = "", ""
        for line in path.read_text("utf-8").splitlines():
            stripped = line.strip()
            if stripped.startswith("# ") and not before.startswith("# "):
                comment = re.sub(r"\s{2,}", " ", re.sub(r"\s{5,}", " -- ", stripped[2:].strip()))
            before = stripped
            for pattern in re.findall(r'Rule\(f?"([^"]+)"', line):
                said[re.sub(r"\{[^}]*\}", "*", pattern)] = comment
    found: list[str] = []
    for rule in RULES:
        text = said.get(rule.name) or next(
            (t for p, t in said.items() if "*" in p and re.fullmatch(p.replace("*", ".+"), rule.name)), ""
        )
        shown = text.replace("|", "\\|")
        found.append(
            f"| {rule.name} | `{shown}` | {rule.accuracy.name.lower()} |" if text else f"| {rule.name} | | |"
        )
    return found


def errors() -> str:
    """Every code with cause, fix, an example and what it says."""
    lines = [
        "# Errors by code\n",
        "Made by `python scripts/references.py`; a test holds it up to date and runs every example.\n",
        "An error on the command line is one message: `error[NV0101]: ...` with what was found and expected, your line,"
        " and at most one hint. `nervure explain NV0101` prints an entry of this page; `nervure --debug ...` adds"
        " Python's traceback. In Python the code is `error.code`.\n",
        "| exit code | |\n|---|---|\n| 0 | all is well |\n| 1 | a comparison or a check failed |",
        "| 2 | wrong use or input |\n| 70 | a fault of nervure; a reproducer is written |\n| 130 | interrupted |\n",
    ]
    return "\n".join([*lines, *map(entry, CODES.values())])


def entry(code: Code) -> str:
    lines = [f"## {code.code}: {code.title}\n", f"{code.cause}\n", f"**What helps.** {code.fix}\n"]
    if code.example:
        lines += ["```python", code.example, "```\n", "```text", said(code), "```\n"]
    return "\n".join(lines)


def said(code: Code) -> str:
    """What the example of a code says."""
    import nervure as nv
    from nervure import nn

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        nv.seed(0)
        Path("example.py").write_text(code.example, "utf-8")
        try:
            runpy.run_path("example.py", {"nv": nv, "nn": nn})
        except NervureError as error:
            return f"error[{error.code}]: {error}"
    raise AssertionError(f"the example of {code.code} raises nothing")


def commands() -> str:
    """What each command says with --help."""
    lines = [
        "# Commands\n",
        "Made by `python scripts/references.py` from the commands' own help; a test holds it up to date.\n",
        "```text",
        _help(cli, "nervure"),
        "```\n",
    ]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        lines += [f"## nervure {name}\n", "```text", _help(command, f"nervure {name}"), "```\n"]
    return "\n".join(lines)


def _help(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH)
    text = io.StringIO()
    text.write(command.get_help(context))
    return text.getvalue().rstrip()


PAGES: dict[str, Callable[[], str]] = {"passes.md": passes, "errors.md": errors, "commands.md": commands}

if __name__ == "__main__":
    os.environ["NERVURE_CACHE"] = "off"
    sys.exit(main())
