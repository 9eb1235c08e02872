# long file: one grammar, read from front to back
"""IR text to programs: recursive descent with positions.

file      = "nervure" "1" program
program   = "program" NAME "{" symbol* entry* graph* "}"
symbol    = "sym" NAME "in" INT ".." INT
entry     = ("param" | "state" | "derived") @NAME ":" type ["trainable"] [#DIGEST]
graph     = "graph" NAME body          region = body
body      = "(" [%NAME ":" type ("," ...)*] ")" "->" types "{" node* ["return" ...] ["update" @NAME "=" value, ...] "}"
node      = %NAME ("," %NAME)* "=" OP ["{" NAME "=" attribute, ... "}"] [value ("," value)*] ":" types
            ["@" STRING ":" INT ("," ...)*] ["{" region* "}"]
types     = type | "(" [type ("," type)*] ")"
type      = DTYPE "[" [dim ("," dim)*] "]"         dim = sums and products of INT, NAME, FUNC "(" dim "," dim ")"
attribute = INT | FLOAT | STRING | "true" | "false" | "none" | DTYPE | dim | "[" ... "]" | "dense" "<" type [":" ...] ">"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..dims import MAX_DIM, Dim, make_function, symbol
from ..errors import InputError, NervureError, ParseError
from ..graph import Graph, Node, Value, make
from ..op import OPS, Op
from ..ops.constant import Literal
from ..origin import Origin, Origins
from ..program import Program
from ..store import Entry, EntryKind, Store
from ..types import DTYPES, Array, TensorType
from .attributes import fits
from .elided import Init, content_for
from .lexer import Token, error_at, tokenize

__all__ = ["parse_program", "parse_type"]

MAX_DEPTH = 64
"""Regions within regions, lists within lists and functions within dims; deeper text is refused."""

DIM_FUNCTIONS = ("floordiv", "ceildiv", "mod", "min", "max")
ENTRY_KINDS: tuple[EntryKind, ...] = ("param", "state", "derived")
Data = Callable[[str], Array | None]
"""Finds the array for the beginning of a content hash."""


class Parser:
    """One text, read once from front to back."""

    def __init__(
        self, source: str, data: Data, symbols: dict[str, Dim] | None = None, init: Init | None = None
    ) -> None:
        self.source = source
        self.init: Init | None = init
        self.tokens = tokenize(source)
        self.position = 0
        self.data = data
        self.symbols: dict[str, Dim] = {} if symbols is None else symbols
        self.declare = symbols is not None
        self.entries: dict[str, Entry] = {}
        self.reads: dict[str, Value] = {}
        self.depth = 0

    # tokens
    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    def fail(self, message: str, token: Token | None = None, hint: str | None = None) -> NoReturn:
        at = token or self.token
        raise error_at(self.source, at.line, at.column, message, hint)

    def next(self) -> Token:
        token = self.token
        self.position += 1
        return token

    def accept(self, text: str) -> bool:
        if self.token.text == text and self.token.kind in ("mark", "word"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        if self.token.text != text or self.token.kind not in ("mark", "word", "int"):
            found = self.token.text or "the end of the text"
            self.fail(f"expected {text!r}, found {found!r}")
        return self.next()

    def take(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            found = self.token.text or "the end of the text"
            self.fail(f"expected {what}, found {found!r}")
        return self.next()

    def integer(self) -> int:
        token = self.take("int", "an integer")
        if len(token.text) > 20:
            self.fail("integer out of range", token)
        return int(token.text)

    def nested(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")

    # programs
    def program(self) -> Program:
        self.expect("nervure")
        version = self.next()
        if version.text != "1":
            self.fail(f"format version {version.text!r}, expected 1", version)
        self.expect("program")
        name = self.take("word", "the program's name").text
        self.expect("{")
        graphs: dict[str, Graph] = {}
        while not self.accept("}"):
            word = self.token
            if word.text == "sym":
                self.symbol()
            elif word.text in ENTRY_KINDS:
                self.entry()
            elif word.text == "graph":
                self.next()
                graph_name = self.take("word", "the graph's name")
                if graph_name.text in graphs:
                    self.fail(f"two graphs are named {graph_name.text}", graph_name)
                graphs[graph_name.text] = self.body(graph_name.text, is_region=False)
            else:
                self.fail(f"expected sym, param, state, derived, graph or '}}', found {word.text!r}")
        self.take("end", "the end of the text")
        return Program(name, graphs.values(), Store(self.entries.values()))

    def symbol(self) -> None:
        self.expect("sym")
        name = self.take("word", "a symbol's name")
        self.expect("in")
        lo = self.integer()
        self.expect("..")
        hi_token = self.token
        hi = self.integer()
        if not 0 <= lo <= hi <= MAX_DIM:
            self.fail(f"range {lo}..{hi} is not within 0..{MAX_DIM}", hi_token)
        if name.text in self.symbols or name.text in DTYPES or name.text in DIM_FUNCTIONS:
            self.fail(f"symbol {name.text} is taken", name)
        self.symbols[name.text] = symbol(name.text, lo, hi)

    def entry(self) -> None:
        word = self.next().text
        kind = ENTRY_KINDS[[str(k) for k in ENTRY_KINDS].index(word)]
        token = self.take("entry", "an entry such as @weight")
        self.expect(":")
        type_ = self.type()
        trainable = self.accept("trainable")
        name = token.text[1:]
        if name in self.entries:
            self.fail(f"two entries are named @{name}", token)
        if not type_.is_static:
            self.fail(f"entry @{name}: {type_} is not static", token)
        data: Array | None = None
        if self.token.kind == "digest":
            data = self.content(self.next(), type_)
        if data is None and self.init is not None:
            data = content_for(name, type_, self.init)
        self.entries[name] = Entry(name, type_, kind, trainable, data)

    def content(self, token: Token, type_: TensorType) -> Array | None:
        data = self.data(token.text[1:])
        if data is not None and (data.shape != type_.static_shape() or data.dtype != type_.dtype.numpy):
            self.fail(f"data {token.text} is {data.dtype}{list(data.shape)}, expected {type_}", token)
        return data

    # graphs
    def body(self, name: str, *, is_region: bool) -> Graph:
        self.nested()
        values: dict[str, Value] = {}
        inputs: list[Value] = []
        reads = {} if is_region else self.reads
        self.expect("(")
        while not self.accept(")"):
            if inputs:
                self.expect(",")
            token = self.take("value", "an argument such as %x")
            self.expect(":")
            value = Value(self.type(), name=token.text[1:])
            self.define(values, token, value)
            inputs.append(value)
        self.expect("->")
        types_token = self.token
        types = self.types()
        self.expect("{")
        nodes: list[Node] = []
        while self.token.kind == "value":
            nodes.append(self.node(values, reads, is_region))
        outputs: list[Value] = []
        if self.accept("return"):
            outputs = self.operands(values, reads, is_region)
        updates: list[tuple[str, Value]] = []
        if self.token.text == "update":
            if is_region:
                self.fail("a region cannot update the store")
            updates = self.updates(values, reads)
        self.expect("}")
        if [v.type for v in outputs] != types:
            self.fail(
                f"returns {', '.join(str(v.type) for v in outputs) or 'nothing'}, which differs from the declared",
                types_token,
            )
        self.depth -= 1
        return Graph(name, inputs, outputs, updates, nodes)

    def updates(self, values: Mapping[str, Value], reads: dict[str, Value]) -> list[tuple[str, Value]]:
        self.expect("update")
        updates: list[tuple[str, Value]] = []
        while True:
            token = self.take("entry", "an entry such as @weight")
            entry = self.entries.get(token.text[1:])
            if entry is None:
                self.fail(f"no entry is named {token.text}", token)
            self.expect("=")
            value = self.value(values, reads, is_region=False)
            if value.type != entry.type:
                self.fail(f"{token.text} is {entry.type}, its update is {value.type}", token)
            if any(name == entry.name for name, _ in updates):
                self.fail(f"{token.text} is updated twice", token)
            updates.append((entry.name, value))
            if not self.accept(","):
                return updates

    def define(self, values: dict[str, Value], token: Token, value: Value) -> None:
        if token.text in values:
            self.fail(f"{token.text} is defined twice", token)
        values[token.text] = value

    def value(self, values: Mapping[str, Value], reads: dict[str, Value], is_region: bool) -> Value:
        token = self.next()
        if token.kind == "value":
            found = values.get(token.text)
            if found is None:
                self.fail(f"{token.text} is not defined here", token)
            return found
        if token.kind == "entry":
            entry = self.entries.get(token.text[1:])
            if entry is None:
                self.fail(f"no entry is named {token.text}", token)
            if is_region:
                self.fail("a region reads no store entry; pass it as an operand", token)
            return reads.setdefault(entry.name, Value(entry.type, entry=entry.name, name=entry.name))
        self.fail(f"expected a value such as %x or @w, found {token.text!r}", token)

    def operands(self, values: Mapping[str, Value], reads: dict[str, Value], is_region: bool) -> list[Value]:
        found: list[Value] = []
        while self.token.kind in ("value", "entry"):
            found.append(self.value(values, reads, is_region))
            if not self.accept(","):
                break
            if self.token.kind not in ("value", "entry"):
                self.fail(f"expected a value, found {self.token.text!r}")
        return found

    def node(self, values: dict[str, Value], reads: dict[str, Value], is_region: bool) -> Node:
        targets = [self.take("value", "a value")]
        while self.accept(","):
            targets.append(self.take("value", "a value such as %y"))
        self.expect("=")
        mnemonic = self.take("word", "an op")
        op_class = OPS.get(mnemonic.text)
        if op_class is None:
            import difflib

            close = difflib.get_close_matches(mnemonic.text, OPS, 1)
            self.fail(
                f"no op is named {mnemonic.text}", mnemonic, f"did you mean {close[0]}?" if close else None
            )
        op = self.attributes(op_class, mnemonic)
        operands = self.operands(values, reads, is_region)
        self.expect(":")
        types_token = self.token
        types = self.types()
        origins = self.origins()
        regions: list[Graph] = []
        if op.num_regions:
            self.expect("{")
            regions = [self.body("", is_region=True) for _ in range(op.num_regions)]
            self.expect("}")
        try:
            results = make(
                op, *operands, regions=regions, names=[t.text[1:] for t in targets], origins=origins
            )
        except ParseError:
            raise
        except NervureError as error:
            self.fail(str(error), mnemonic)
        if [r.type for r in results] != types:
            self.fail(
                f"{op.mnemonic} gives {', '.join(str(r.type) for r in results)}, which differs from the declared",
                types_token,
            )
        if len(results) != len(targets):
            self.fail(f"{op.mnemonic} has {len(results)} results, {len(targets)} are named", targets[0])
        for target, result in zip(targets, results, strict=True):
            self.define(values, target, result)
        node = results[0].node if results else None
        if node is None:
            self.fail(f"{op.mnemonic} has no results", mnemonic)
        return node

    def origins(self) -> Origins:
        found: list[Origin] = []
        if self.accept("@"):
            while True:
                file = self.string()
                self.expect(":")
                found.append(Origin(file, self.integer()))
                if not self.accept(","):
                    break
        return tuple(found)

    # attributes
    def attributes(self, op_class: type[Op], mnemonic: Token) -> Op:
        from dataclasses import MISSING, fields

        given: dict[str, Any] = {}
        known = {f.name: f for f in fields(op_class)}  # type: ignore[arg-type]
        if self.accept("{"):
            while True:
                name = self.take("word", "an attribute's name")
                if name.text not in known:
                    self.fail(
                        f"{op_class.mnemonic} has no attribute {name.text}",
                        name,
                        f"it has {', '.join(known) or 'none'}",
                    )
                if name.text in given:
                    self.fail(f"{name.text} is given twice", name)
                self.expect("=")
                at = self.token
                value = self.attribute()
                if not fits(value, str(known[name.text].type)):
                    self.fail(f"{name.text} is no {known[name.text].type}", at)
                given[name.text] = value
                if not self.accept(","):
                    break
            self.expect("}")
        missing = [n for n, f in known.items() if f.default is MISSING and n not in given]
        if missing:
            self.fail(f"{op_class.mnemonic} needs {', '.join(missing)}", mnemonic)
        return op_class(**given)

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
                self.fail(
                    f"the data of constant {token.text} is missing",
                    token,
                    "load the .nv file with its side file, or make data with init='random'",
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

    # types
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
                self.fail(f"range {lo}..{hi} is not within 0..{MAX_DIM}", token)
            declared = symbol(name, lo, hi)
            if self.symbols.setdefault(name, declared) != declared:
                self.fail(f"symbol {name} has another range already", token)
        if name not in self.symbols:
            if not self.declare:
                self.fail(
                    f"symbol {name} is not declared", token, f"add a line such as: sym {name} in 1..4096"
                )
            self.symbols[name] = symbol(name)
        return self.symbols[name]


def _no_data(digest: str) -> Array | None:
    return None


def parse_program(text: str, data: Data = _no_data, *, init: Init | None = None) -> Program:
    """Read a program.

    Args:
        text: as printed by `print_program`
        data: finds the array for a content hash (or its beginning); entries without data are left empty
        init: "zeros" or "random" content where there is no data, the same for the same text

    Raises:
        ParseError: with line, column, the line itself and a caret
    """
    try:
        return Parser(text, data, init=init).program()
    except (ParseError, InputError):
        raise
    except NervureError as error:
        raise ParseError(str(error)) from error


def parse_type(text: str, symbols: dict[str, Dim] | None = None) -> TensorType:
    """Read a type such as ``f32[B,784]`` or ``f32[B:1..64,784]``.

    Args:
        symbols: those known already, by name; new ones are added, with the range 1..4096 unless one is given

    Raises:
        ParseError: the text is no type
    """
    parser = Parser(text, _no_data, {} if symbols is None else symbols)
    found = parser.type()
    parser.take("end", "the end of the type")
    return found
