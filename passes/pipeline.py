"""Pipelines as text: ``canonicalize,fuse{kinds=conv+map},unroll{max=64}``.

pipeline = [pass {"," pass}]
pass     = name ["{" [option {"," option}] "}"]
option   = name "=" value          an integer, true or false, a word, or words joined by "+"
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from ..ir.errors import InputError
from .base import Pass

__all__ = ["Pipeline", "passes_by_name"]


def passes_by_name() -> Mapping[str, type[Pass]]:
    """Every pass that can stand in a pipeline's text."""
    from .registry import PASSES

    return PASSES


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of passes; its text leaves out options that have their default."""

    passes: tuple[Pass, ...] = ()

    @staticmethod
    def parse(text: str) -> Pipeline:
        """The pipeline of a text.

        Raises:
            InputError: an unknown pass or option, or a value of another type
        """
        return Pipeline(tuple(_parse_pass(part) for part in _split(text)))

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.passes + other.passes)

    def __str__(self) -> str:
        return ",".join(map(pass_text, self.passes))


_PASS = re.compile(r"([a-z][a-z0-9-]*)\s*(?:\{(.*)\})?", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_WORD = re.compile(r"[A-Za-z0-9_.-]+")


def _split(text: str) -> list[str]:
    """The parts between commas outside braces; none for an empty text."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth not in (0, 1):
            raise InputError(f"pipeline: braces do not match in {text!r}", code="NV0402")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise InputError(f"pipeline: a brace is not closed in {text!r}", code="NV0402")
    stripped = [part.strip() for part in parts]
    if stripped == [""]:
        return []
    if "" in stripped:
        raise InputError(f"pipeline: nothing stands between two commas in {text!r}", code="NV0402")
    return stripped


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(names)}" if names else "there are none"


def _parse_pass(text: str) -> Pass:
    match = _PASS.fullmatch(text)
    if match is None:
        raise InputError(
            f"pipeline: {text!r} is no pass", hint="write name or name{option=value,...}", code="NV0402"
        )
    name, body = match.groups()
    known = passes_by_name()
    if name not in known:
        raise InputError(f"pipeline: no pass is named {name}", hint=suggest(name, known), code="NV0402")
    declared = {f.name.replace("_", "-"): f for f in _options(known[name])}
    given: dict[str, Any] = {}
    for part in _split(body or ""):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in declared:
            raise InputError(
                f"pipeline: {name} has no option {key!r}", hint=suggest(key, declared), code="NV0402"
            )
        field = declared[key]
        if field.name in given:
            raise InputError(f"pipeline: {name} is given {key} twice", code="NV0402")
        given[field.name] = _value(name, key, value, str(field.type))
    try:
        return known[name](**given)
    except InputError as error:
        place = f"in the pipeline's {text!r}"
        raise InputError(error.message, details=[place], hint=error.hint, code=error.code) from None


def _options(kind: type[Pass] | Pass) -> list[Field[Any]]:
    """The fields that can be written; one that is not shown, such as a function, cannot."""
    return [f for f in fields(kind) if f.repr]


def _value(name: str, key: str, text: str, annotation: str) -> Any:
    if annotation == "bool" and text in ("true", "false"):
        return text == "true"
    if annotation == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if annotation == "str" and _WORD.fullmatch(text):
        return text
    words = text.split("+") if text else []
    if annotation == "tuple[str, ...]" and all(map(_WORD.fullmatch, words)):
        return tuple(words)
    expected = {
        "bool": "true or false",
        "int": "an integer",
        "str": "a word",
        "tuple[str, ...]": "words joined by +",
    }[annotation]
    raise InputError(f"pipeline: {name}{{{key}}} is {text!r}, expected {expected}", code="NV0402")


def pass_text(pass_: Pass) -> str:
    """A pass as it stands in a pipeline's text."""
    options = [
        f"{f.name.replace('_', '-')}={_value_text(getattr(pass_, f.name))}"
        for f in _options(pass_)
        if f.default is MISSING or getattr(pass_, f.name) != f.default
    ]
    return pass_.name + (f"{{{','.join(options)}}}" if options else "")


def _value_text(value: bool | int | str | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "+".join(value) if isinstance(value, tuple) else str(value)
