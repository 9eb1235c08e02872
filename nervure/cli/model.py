"""From the argument MODEL to a program."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from ..frontend.nn.module import Module
    from ..ir.program import Program
    from ..ir.text.elided import Init

__all__ = ["Model", "find_model", "model_options", "module_of", "onnx_types", "program_of"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Model:
    """What MODEL stands for.

    Args:
        name:    for messages and file names
        program: the program, where MODEL is one
        source:  a module or a function, where MODEL is Python
    """

    name: str
    program: Program | None = None
    source: Any = None


def model_options(command: F) -> F:
    """The argument MODEL with the options that say how it becomes a program: ``model``, ``types``, ``init``."""
    for add in (
        click.option(
            "--init",
            type=click.Choice(["zeros", "random"]),
            help="Make up data that a dump lacks, the same for the same dump.",
        ),
        click.option(
            "--type",
            "types",
            multiple=True,
            metavar="[NAME=]TYPE",
            help="The type of an input, such as x=f32[B,784]; in order where they have no names.",
        ),
        click.argument("model"),
    ):
        command = add(command)
    return command


def program_of(model: str, types: Sequence[str] = (), init: Init | None = None) -> Program:
    """The program that MODEL stands for, traced where it is Python.

    Raises:
        NervureError: it is not there, cannot be read, or lacks types of inputs
    """
    from ..ir.errors import InputError

    found = find_model(model, init, types)
    if found.program is not None:
        if types and not model.endswith(".onnx"):
            raise InputError(f"{model} is a program and has its types already", code="NV0701")
        return found.program
    from ..frontend.trace import trace

    return trace(found.source, *input_types(found, types))


def module_of(model: str, types: Sequence[str] = (), init: Init | None = None) -> tuple[Module, list[Any]]:
    """The module that MODEL stands for, with the types of its inputs; a program becomes one.

    Raises:
        NervureError: it is not there, cannot be read, is a function, or lacks types of inputs
    """
    from ..frontend.nn.imported import ProgramModule
    from ..frontend.nn.module import Module
    from ..ir.errors import InputError

    found = find_model(model, init, types)
    if found.program is not None:
        module = ProgramModule(found.program)
        return module, list(module.inputs)
    if not isinstance(found.source, Module):
        raise InputError(f"{model} is a function, expected a module with weights", code="NV0701")
    return found.source, list(input_types(found, types))


def find_model(text: str, init: Init | None = None, types: Sequence[str] = ()) -> Model:
    """What MODEL stands for; types are for inputs of an ONNX file alone.

    Raises:
        InputError: there is no such file, name in the file, or model
    """
    from ..ir.errors import InputError
    from ..ir.text import load, parse_program

    if text == "-":
        return Model(
            "standard input", program=parse_program(sys.stdin.read(), init=init, file="standard input")
        )
    path, _, name = text.rpartition(":")
    if path.endswith(".py"):
        return from_python(Path(path), name)
    if text.endswith(".py"):
        raise InputError(
            f"{text}: which model?", hint=f"write {text}:NAME; it has {_names_in(Path(text))}", code="NV0701"
        )
    if text.endswith(".nv"):
        return Model(Path(text).stem, program=load(text, init=init))
    if text.endswith(".onnx"):
        from ..frontend.onnx import import_onnx

        return Model(Path(text).stem, program=import_onnx(text, inputs=onnx_types(text, types)))
    from .. import zoo

    if text in zoo.MODELS:
        return Model(text, source=zoo.MODELS[text]())
    close = get_close_matches(text, zoo.MODELS, 1)
    hint = f"did you mean {close[0]}?" if close else f"models that come with nervure: {', '.join(zoo.MODELS)}"
    hint = OTHERS.get(Path(text).suffix, hint)
    raise InputError(
        f"no model is {text}: expected file.py:Name, file.nv, file.onnx, - or a model's name",
        hint=hint,
        code="NV0701",
    )


OTHERS = {
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt"), "write it as ONNX with torch.onnx.export, or see nv.from_torch"
    ),
    **dict.fromkeys((".h5", ".keras", ".pb", ".tflite"), "convert it with tf2onnx"),
    ".safetensors": "these are weights without a model: load them into a module with load_state_dict",
}
"""What helps with files of other libraries."""


def onnx_types(path: str, given: Sequence[str]) -> dict[str, str]:
    """Types of inputs of an ONNX file, by name; those without a name are of the inputs in order.

    Raises:
        InputError: the file cannot be read, or there are more types than inputs
    """
    from ..frontend.onnx.load import load_model
    from ..ir.errors import InputError

    named, in_order = _by_name(given)
    if in_order:
        graph = load_model(path).graph
        stored = {t.name for t in graph.initializer}
        free = [i.name for i in graph.input if i.name not in stored and i.name not in named]
        if len(in_order) > len(free):
            raise InputError(
                f"{path} has {len(free)} inputs without a type by name, found {len(in_order)} types"
            )
        named |= dict(zip(free, in_order, strict=False))
    return named


def from_python(path: Path, name: str) -> Model:
    """A name of a Python file; a module class is made without arguments."""
    from ..frontend.nn.module import Module
    from ..ir.errors import InputError
    from ..ir.program import Program

    members = cast(dict[str, Any], vars(_executed(path)))
    if name not in members:
        close = get_close_matches(name, members, 1)
        hint = f"did you mean {close[0]}?" if close else f"it has {_names_in(path)}"
        raise InputError(f"{path} has nothing named {name}", hint=hint, code="NV0701")
    found: Any = members[name]
    if inspect.isclass(found) and issubclass(found, Module):
        return Model(name, source=_made(found, f"{path}:{name}"))
    if isinstance(found, Program):
        return Model(name, program=found)
    if not callable(found):
        raise InputError(
            f"{path}:{name} is a {type(found).__name__}, expected a module, a function or a program",
            code="NV0701",
        )
    return Model(name, source=found)


def _made(module: type[Module], where: str) -> Module:
    from ..ir.errors import InputError

    try:
        inspect.signature(module).bind()
    except TypeError as error:
        raise InputError(
            f"{where} cannot be made without arguments: {error}",
            hint="name a module instead of the class, such as net = Net(10)",
            code="NV0701",
        ) from error
    return module()


def _executed(path: Path) -> Any:
    """The Python file as a module; its folder is searched for its own imports."""
    from ..ir.errors import InputError

    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file", code="NV0701")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {error.msg}") from error
    return module


def _names_in(path: Path) -> str:
    """The classes and functions that a Python file defines, for a hint."""
    import ast

    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return "nothing that can be read"
    kinds = (ast.ClassDef, ast.FunctionDef)
    return (
        ", ".join(n.name for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_"))
        or "nothing"
    )


def input_types(model: Model, given: Sequence[str]) -> list[str]:
    """The types of a model's inputs: given ones by name or in order, then those of its attribute ``inputs``, a tuple of
    types, then string annotations of the parameters.

    Raises:
        InputError: a parameter has no type, or a name belongs to none
    """
    from ..ir.errors import InputError

    parameters = _parameters(model.source)
    named, in_order = _by_name(given)
    types: list[str] = []
    for name, (annotation, required) in parameters.items():
        found = named.pop(name, None) or (in_order.pop(0) if in_order else annotation)
        if found is None and required:
            raise InputError(
                f"{model.name}: the input {name} has no type",
                hint=f'pass --type {name}=f32[B,...], or give the model an attribute inputs = ("f32[B,...]",)',
                code="NV0701",
            )
        if found is None:
            break
        types.append(found)
    if named:
        unknown = next(iter(named))
        raise InputError(
            f"{model.name} has no input {unknown}",
            hint=f"it has {', '.join(parameters) or 'none'}",
            code="NV0701",
        )
    return types + in_order


def _by_name(given: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    named: dict[str, str] = {}
    in_order: list[str] = []
    for text in given:
        name, equals, type_ = text.partition("=")
        if equals:
            named[name.strip()] = type_.strip()
        else:
            in_order.append(text)
    return named, in_order


def _parameters(source: Any) -> Mapping[str, tuple[str | None, bool]]:
    """The positional parameters of a model: the type its annotation gives, and whether it needs one."""
    target = source if inspect.isfunction(source) else type(source).__call__
    signature = inspect.signature(inspect.unwrap(target))
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p for p in signature.parameters.values() if p.kind in positional]
    if found and found[0].name == "self":
        found = found[1:]
    stated = dict(zip([p.name for p in found], getattr(source, "inputs", ()), strict=False))
    return {p.name: (stated.get(p.name) or _type_text(p.annotation), p.default is p.empty) for p in found}


def _type_text(annotation: Any) -> str | None:
    """The type that a string annotation gives; with postponed annotations it comes in quotes of its own."""
    from ..ir.errors import NervureError
    from ..ir.text import parse_type

    if not isinstance(annotation, str):
        return None
    text = annotation.strip("'\"")
    try:
        parse_type(text, {})
    except NervureError:
        return None
    return text
