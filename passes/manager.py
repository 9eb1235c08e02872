"""Pipelines: their text, and running them with verification, timing, dumps and bisection."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..ir.errors import InputError, NervureError
from ..ir.program import Program
from ..ir.text import print_program, save
from ..ir.verify import verify_program
from .base import Pass, Remarks

__all__ = ["PipelineResult", "Pipeline", "Record", "passes_by_name", "run_pipeline"]


def passes_by_name() -> Mapping[str, type[Pass]]:
    """Every pass that can stand in a pipeline's text."""
    from . import registry

    return registry.PASSES


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of passes; its text is ``canonicalize,fuse{kinds=conv},unroll{max=64}``."""

    passes: tuple[Pass, ...]

    @staticmethod
    def parse(text: str) -> Pipeline:
        """The pipeline of a text.

        Raises:
            InputError: an unknown pass or option, or a value of another type
        """
        found = [_parse_pass(part) for part in _split(text) if part]
        return Pipeline(tuple(found))

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.passes + other.passes)

    def __str__(self) -> str:
        return ",".join(map(_pass_text, self.passes))


_PASS = re.compile(r"\s*([a-z][a-z0-9-]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)


def _split(text: str) -> list[str]:
    """Parts between commas outside braces."""
    parts, depth, current = [""], 0, 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
            current += 1
        else:
            parts[current] += character
    return [part.strip() for part in parts]


def _suggest(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]}?" if close else None


def _parse_pass(text: str) -> Pass:
    match = _PASS.fullmatch(text)
    if match is None:
        raise InputError(f"pipeline: {text!r} is no pass", hint="write name or name{option=value,...}")
    name, body = match.groups()
    known = passes_by_name()
    if name not in known:
        raise InputError(f"pipeline: no pass is named {name}", hint=_suggest(name, known))
    options: dict[str, Any] = {}
    declared = {f.name: f for f in fields(known[name])}
    for part in _split(body or ""):
        if not part:
            continue
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in declared:
            raise InputError(f"pipeline: {name} has no option {key}", hint=_suggest(key, declared) or f"it has {', '.join(declared) or 'none'}")
        options[key] = _option(name, key, value.strip(), str(declared[key].type))
    return known[name](**options)


def _option(name: str, key: str, text: str, annotation: str) -> Any:
    if annotation == "bool" and text in ("true", "false"):
        return text == "true"
    if annotation == "int" and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if annotation == "str":
        return text
    if annotation == "tuple[str, ...]":
        return tuple(part for part in text.split("+") if part)
    raise InputError(f"pipeline: {name}{{{key}}} is {text!r}, expected {annotation}")


def _pass_text(pass_: Pass) -> str:
    options: list[str] = []
    for f in fields(pass_):
        value = getattr(pass_, f.name)
        if f.default is not MISSING and value == f.default:
            continue
        text = str(value).lower() if isinstance(value, bool) else "+".join(value) if isinstance(value, tuple) else str(value)
        options.append(f"{f.name}={text}")
    return pass_.name + (f"{{{','.join(options)}}}" if options else "")


@dataclass(frozen=True)
class Record:
    """What one pass did.

    Args:
        pass_:         the pass, as text
        seconds:       how long it took, verification apart
        changed:       whether the program is another one
        before, after: nodes of all graphs
        rewrites:      how many by name
        notes:         what the pass has to say
    """

    pass_: str
    seconds: float
    changed: bool
    before: int
    after: int
    rewrites: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PipelineResult:
    """The improved program, and a record a pass."""

    program: Program
    records: tuple[Record, ...] = field(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """What all passes have to say, in order."""
        return tuple(note for record in self.records for note in record.notes)


def run_pipeline(
    program: Program,
    pipeline: Pipeline,
    *,
    verify: bool = True,
    dump_dir: Path | None = None,
    stop_after: int | None = None,
) -> PipelineResult:
    """Run the passes in order.

    Args:
        verify:     check the program before the first pass and after each
        dump_dir:   write one numbered ``.nv`` for the input and for each pass that changed something
        stop_after: apply at most so many rewrites, for bisection of a wrong result

    Raises:
        VerifyError: a pass broke the program; the error names the pass
    """
    if verify:
        verify_program(program)
    if dump_dir is not None:
        dump_dir.mkdir(parents=True, exist_ok=True)
        save(program, dump_dir / "00_input.nv")
    budget = stop_after
    records: list[Record] = []
    for number, pass_ in enumerate(pipeline.passes, start=1):
        remarks = Remarks(budget=budget)
        before = count_nodes(program)
        start = time.perf_counter()
        result = pass_.run_program(program, remarks)
        seconds = time.perf_counter() - start
        changed = result is not program
        if changed and verify:
            _verify_after(result, pass_)
        budget = remarks.budget
        records.append(
            Record(str(Pipeline((pass_,))), seconds, changed, before, count_nodes(result), remarks.rewrites, tuple(remarks.notes))
        )
        program = result
        if changed and dump_dir is not None:
            save(program, dump_dir / f"{number:02d}_{pass_.name}.nv")
    return PipelineResult(program, tuple(records))


def _verify_after(program: Program, pass_: Pass) -> None:
    try:
        verify_program(program)
    except NervureError as error:
        error.message = f"after pass {pass_.name}: {error.message}"
        error.details = (*error.details, *print_program(program).splitlines()[:40])
        raise


def count_nodes(program: Program) -> int:
    """Nodes of all graphs, regions included."""
    return sum(1 for graph in program.graphs.values() for _ in graph.walk())
