"""Errors by code: what each kind means and what to do. `nervure explain NV0301` prints an entry."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

__all__ = ["CODES", "INTERNAL", "Code", "explain_code"]

INTERNAL = "NV0900"


@dataclass(frozen=True)
class Code:
    """One kind of error.

    Args:
        title: in a few words
        cause: what leads to it
        fix:   what helps
    """

    title: str
    cause: str
    fix: str


CODES: dict[str, Code] = {
    "NV0001": Code(
        "wrong argument",
        "A function of nervure was given a value that it cannot use: a learning rate below 0, an unknown option.",
        "The message names the function, the value and what is expected.",
    ),
    "NV0101": Code(
        "types do not fit an op",
        "An op met operands whose shapes or element types do not fit it. nervure promotes no element type and"
        " broadcasts only in `nn` functions and operators.",
        "The message gives the formula with its numbers and the line that made the op. Change the layer's sizes, use"
        " .reshape, .astype, or narrow a symbol's range such as f32[B:1..64,10].",
    ),
    "NV0201": Code(
        "a function cannot be traced",
        "While it was traced, a function did what no graph can hold: it asked a tensor for its value (bool, int, float,"
        " iteration), returned no tensor, or was given no type for an input.",
        "Use nv.where, nv.scan or nv.cond instead of Python control flow over values.",
    ),
    "NV0301": Code(
        "text that is no program",
        "A .nv text breaks the grammar, names something unknown, or gives an op operands that do not fit.",
        "The message gives line and column and shows the line. Write the text anew with nervure opt, or mend it by hand.",
    ),
    "NV0401": Code(
        "a graph breaks a rule of the IR",
        "A value is used before it is made, a region names an outer value, a result has another type than its op infers.",
        "After a pass this is a fault of nervure: nervure bisect finds the rewrite. In a text of your own, mend the line.",
    ),
    "NV0501": Code(
        "a backend has no way to run an op",
        "The backend that was asked for lacks the op, or the op for these element types. Nothing falls back in silence.",
        "The message lists each op with its reason. Choose another backend or element type; docs/ops.md has the table.",
    ),
    "NV0502": Code(
        "a backend cannot run here",
        "The backend or device that was asked for is not installed, or failed while it compiled or ran.",
        "nervure doctor says what works here and what to install.",
    ),
    "NV0601": Code(
        "data does not fit",
        "An array has another shape, element type or range than the input of the program; a file is missing, damaged or"
        " cannot be written.",
        "The message names the input and what it expects, or the file. Nothing was written.",
    ),
    "NV0602": Code(
        "results differ",
        "Two results that were compared differ by more than the tolerance.",
        "The message says where and by how much. nervure bisect finds the pass, nervure run --tape the first node.",
    ),
    INTERNAL: Code(
        "a fault of nervure",
        "Something that nervure holds to be impossible happened. It is not your program's fault.",
        "nervure --debug shows where. A reproducer was written where the message says so: please send it.",
    ),
}


def explain_code(code: str) -> str:
    """The entry of a code, as text.

    Raises:
        InputError: there is no such code; it lists those there are
    """
    found = CODES.get(code.upper())
    if found is None:
        raise InputError(f"no error has the code {code}", hint=f"there are {', '.join(CODES)}")
    return f"{code.upper()}: {found.title}\n\ncause: {found.cause}\nfix:   {found.fix}\n"
