"""Types and dims of IR text."""

from __future__ import annotations

from ..dims import MAX_DIM, Dim, make_function, symbol
from ..errors import NervureError
from ..types import DTYPES, TensorType
from .cursor import Cursor

__all__ = ["DIM_FUNCTIONS", "TypeParser"]

DIM_FUNCTIONS = ("floordiv", "ceildiv", "mod", "min", "max")


class TypeParser(Cursor):
    """Reads types.

    Args:
        symbols: known ones by name; without them the text declares its own
    """

    def __init__(self, source: str, symbols: dict[str, Dim] | None = None, file: str | None = None) -> None:
        super().__init__(source, file)
        self.symbols: dict[str, Dim] = {} if symbols is None else symbols
        self.declare = symbols is not None

    def types(self) -> list[TensorType]:
        if not self.accept("("):
            return [self.type()]
        found: list[TensorType] = []
        while not self.accept(")"):
            if found:
                self.expect(",")
            found.append(self.type())
        return found

    def type(self) -> TensorType:
        token = self.take("word", "a type such as f32[B,784]")
        dtype = DTYPES.get(token.text)
        if dtype is None:
            self.fail(f"no element type is named {token.text}", token, f"nervure has {', '.join(DTYPES)}")
        self.expect("[")
        shape: list[Dim] = []
        while not self.accept("]"):
            if shape:
                self.expect(",")
            at = self.token
            dim = self.dim()
            if isinstance(dim, int) and not 0 <= dim <= MAX_DIM:
                self.fail(f"dim {dim} is not within 0..{MAX_DIM}", at)
            shape.append(dim)
            if len(shape) > 32:
                self.fail("rank above 32", at)
        return TensorType(dtype, tuple(shape))

    def dim(self) -> Dim:
        total = self.term()
        while True:
            if self.accept("+"):
                total = total + self.term()
            elif self.accept("-"):
                total = total - self.term()
            elif self.token.kind == "int" and self.token.text.startswith("-"):
                total = total + self.term()
            else:
                return total

    def term(self) -> Dim:
        sign = -1 if self.accept("-") else 1
        value = self.factor()
        while self.accept("*"):
            value = value * self.factor()
        return sign * value

    def factor(self) -> Dim:
        token = self.token
        if token.kind == "int":
            return self.integer()
        name = self.take("word", "a dim").text
        if name in DIM_FUNCTIONS:
            self.nested()
            self.expect("(")
            a = self.dim()
            self.expect(",")
            b = self.dim()
            self.expect(")")
            self.depth -= 1
            try:
                return make_function(name, a, b)
            except NervureError as error:
                self.fail(error.message, token)
        if self.declare and self.accept(":"):
            lo = self.integer()
            self.expect("..")
            hi = self.integer()
            if not 0 <= lo <= hi <= MAX_DIM:
                wrong = "empty" if lo > hi else f"not within 0..{MAX_DIM}"
                self.fail(f"the range {lo}..{hi} is {wrong}", token)
            declared = symbol(name, lo, hi)
            if self.symbols.setdefault(name, declared) != declared:
                self.fail(f"symbol {name} has another range already", token)
        if name not in self.symbols:
            if not self.declare:
                self.keep(
                    self.error(
                        f"symbol {name} is not declared", token, f"add a line such as: sym {name} in 1..4096"
                    )
                )
            self.symbols[name] = symbol(name)
        return self.symbols[name]
