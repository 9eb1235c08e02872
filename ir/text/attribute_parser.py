"""Attributes of ops in IR text, literals among them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import NervureError
from ..op import Op
from ..ops.constant import Literal
from ..types import DTYPES, Array, TensorType
from .attributes import described, fits
from .cursor import Consequence
from .elided import Init, content_for
from .lexer import Token
from .type_parser import TypeParser

__all__ = ["AttributeParser", "Data", "no_data"]

Data = Callable[[str], Array | None]
"""Finds the array for the beginning of a content hash."""


def no_data(digest: str) -> Array | None:
    return None


class AttributeParser(TypeParser):
    """Reads what stands between the braces of an op.

    Args:
        data: finds the array for a content hash (or its beginning)
        init: content where there is no data
    """

    def __init__(
        self,
        source: str,
        data: Data = no_data,
        symbols: dict[str, Dim] | None = None,
        init: Init | None = None,
        file: str | None = None,
    ) -> None:
        super().__init__(source, symbols, file)
        self.data = data
        self.init: Init | None = init
        self.lacks_data = False

    def attributes(self, op_class: type[Op], mnemonic: Token) -> dict[str, Any]:
        """The attributes that are written, by name."""
        given: dict[str, Any] = {}
        known = {f.name: f for f in fields(op_class)}  # type: ignore[arg-type]
        if self.accept("{"):
            while True:
                name = self.take("word", "an attribute's name")
                if name.text not in known:
                    close = get_close_matches(name.text, known, 1)
                    self.fail(
                        f"{op_class.mnemonic} has no attribute {name.text}",
                        name,
                        f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}",
                    )
                if name.text in given:
                    self.fail(f"{name.text} is given twice", name)
                self.expect("=")
                at = self.token
                value = self.attribute()
                annotation = str(known[name.text].type)
                if not fits(value, annotation):
                    self.fail(f"{name.text} of {op_class.mnemonic} takes {described(annotation)}", at)
                given[name.text] = value
                if not self.accept(","):
                    break
            self.expect("}")
        needed = [n for n, f in known.items() if f.default is MISSING and n not in op_class.neutral]
        missing = [n for n in needed if n not in given]
        if missing:
            self.fail(f"{op_class.mnemonic} needs {', '.join(missing)}", mnemonic)
        return given

    def op(self, op_class: type[Op], given: dict[str, Any], rank: int, mnemonic: Token) -> Op:
        """The op with its attributes; those left out that change nothing get an item a spatial axis.

        Args:
            rank: of the first operand
        """
        axes = len(given["window"]) if "window" in given else max(rank - 2, 0)
        idle = {name: (item,) * axes for name, item in op_class.neutral.items()}
        known = [f.name for f in fields(op_class) if f.name in idle]  # type: ignore[arg-type]
        try:
            return op_class(**{**{name: idle[name] for name in known}, **given})
        except NervureError as error:
            self.fail_with(error, mnemonic)

    def attribute(self) -> Any:
        token = self.token
        if token.kind == "float":
            return float(self.next().text)
        if token.kind == "string":
            return self.string()
        if token.text in ("true", "false", "none"):
            self.next()
            return {"true": True, "false": False, "none": None}[token.text]
        if token.text in DTYPES:
            return DTYPES[self.next().text]
        if token.text == "dense":
            return self.dense()
        if self.accept("["):
            self.nested()
            items: list[Any] = []
            while not self.accept("]"):
                if items:
                    self.expect(",")
                items.append(self.attribute())
            self.depth -= 1
            return tuple(items)
        return self.dim()

    def string(self) -> str:
        token = self.take("string", "a string")
        try:
            return json.loads(token.text)
        except ValueError:
            self.fail("broken escape in string", token)

    def dense(self) -> Literal:
        start = self.expect("dense")
        self.expect("<")
        type_ = self.type()
        if not type_.is_static:
            self.fail(f"{type_} is not static", start)
        shape = type_.static_shape()
        count = 1
        for d in shape:
            count *= d
        if not self.accept(":"):
            self.expect(">")
            if count:
                self.fail(f"{type_} has {count} elements, none given", start)
            return Literal(np.zeros(shape, type_.dtype.numpy))
        if self.token.kind == "digest":
            token = self.next()
            data = self.content(token, type_)
            self.expect(">")
            if data is None and self.init is not None:
                data = content_for(token.text, type_, self.init)
            if data is None:
                if self.lacks_data:
                    raise Consequence("told before")
                self.lacks_data = True
                self.fail(
                    f"the data of constant {token.text} is missing",
                    token,
                    "put the .safetensors file beside the .nv, or make data up: --init random, in Python init='random'",
                )
            return Literal(data)
        elements: list[Any] = []
        while True:
            token = self.next()
            elements.append(self.element(token, type_))
            if not self.accept(","):
                break
        self.expect(">")
        if len(elements) != count:
            self.fail(f"{type_} has {count} elements, found {len(elements)}", start)
        return Literal(np.array(elements, dtype=type_.dtype.numpy).reshape(shape))

    def element(self, token: Token, type_: TensorType) -> Any:
        dtype = type_.dtype
        if dtype.kind == "bool" and token.text in ("true", "false"):
            return token.text == "true"
        if dtype.is_float and token.kind in ("float", "int"):
            with np.errstate(over="ignore"):
                return (
                    np.asarray(token.text, dtype=np.float64).astype(dtype.numpy)
                    if dtype.name == "bf16"
                    else dtype.numpy.type(token.text)
                )
        if dtype.is_integer and token.kind == "int" and len(token.text) <= 20:
            info = np.iinfo(dtype.numpy)
            if info.min <= int(token.text) <= info.max:
                return int(token.text)
        self.fail(f"{token.text!r} is no {dtype}", token)

    def content(self, token: Token, type_: TensorType) -> Array | None:
        data = self.data(token.text[1:])
        if data is not None and (data.shape != type_.static_shape() or data.dtype != type_.dtype.numpy):
            self.fail(f"data {token.text} is {data.dtype}{list(data.shape)}, expected {type_}", token)
        return data
