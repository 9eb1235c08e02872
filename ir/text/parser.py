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

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

from ..dims import MAX_DIM, Dim, symbol
from ..errors import InputError, NervureError, ParseError
from ..graph import Graph, Node, Value, make
from ..op import OPS
from ..origin import Origin, Origins
from ..program import Program
from ..store import Entry, EntryKind, Store
from ..types import DTYPES, Array, TensorType
from .attribute_parser import AttributeParser, Data, no_data
from .cursor import Consequence
from .elided import Init, content_for
from .lexer import Token
from .type_parser import DIM_FUNCTIONS, TypeParser

__all__ = ["parse_program", "parse_type"]

ENTRY_KINDS: tuple[EntryKind, ...] = ("param", "state", "derived")


def name_of(token: Token) -> str:
    """What a value is called; a number is the printer's and no name."""
    return "" if token.text[1:].isdigit() else token.text[1:]


class Parser(AttributeParser):
    """One text, read once from front to back.

    Attributes:
        broken: names, with their marks, of what could not be read; what uses them is no error of its own
    """

    def __init__(
        self, source: str, data: Data = no_data, init: Init | None = None, file: str | None = None
    ) -> None:
        super().__init__(source, data, init=init, file=file)
        self.entries: dict[str, Entry] = {}
        self.reads: dict[str, Value] = {}
        self.broken: set[str] = set()

    # programs
    def program(self) -> Program:
        """The whole text.

        Raises:
            ParseError: the first error of the text, with the others that were found behind it
        """
        try:
            found = self._program()
        except ParseError as error:
            if not (self.errors and error is self.errors[0]):
                self.keep(error)
            raise self.all_errors() from None
        if self.errors:
            raise self.all_errors()
        return found

    def _program(self) -> Program:
        self.expect("nervure")
        version = self.next()
        if version.text != "1":
            self.fail(f"format version {version.text!r}, expected 1", version)
        self.expect("program")
        name = self.take("word", "the program's name").text
        self.expect("{")
        graphs: dict[str, Graph] = {}
        while not self.accept("}"):
            self.attempt(lambda: self.item(graphs), 1)
        self.take("end", "the end of the text")
        return Program(name, () if self.errors else graphs.values(), Store(self.entries.values()))

    def item(self, graphs: dict[str, Graph]) -> None:
        word = self.token
        if word.text == "sym":
            self.symbol()
        elif word.text in ENTRY_KINDS:
            self.entry()
        elif word.text == "graph":
            self.next()
            name = self.take("word", "the graph's name")
            if name.text in graphs:
                self.fail(f"two graphs are named {name.text}", name)
            graphs[name.text] = self.body(name.text, 1, is_region=False)
        else:
            self.fail(f"expected sym, param, state, derived, graph or '}}', found {self.found()}")

    def symbol(self) -> None:
        self.expect("sym")
        name = self.take("word", "a symbol's name")
        if name.text in self.symbols or name.text in DTYPES or name.text in DIM_FUNCTIONS:
            self.fail(f"symbol {name.text} is taken", name)
        self.symbols[name.text] = symbol(name.text)  # should its range be broken
        self.expect("in")
        lo = self.integer()
        self.expect("..")
        hi_token = self.token
        hi = self.integer()
        if not 0 <= lo <= hi <= MAX_DIM:
            wrong = "empty" if lo > hi else f"not within 0..{MAX_DIM}"
            self.fail(f"the range {lo}..{hi} is {wrong}", hi_token)
        self.symbols[name.text] = symbol(name.text, lo, hi)

    def entry(self) -> None:
        word = self.next().text
        kind = ENTRY_KINDS[[str(k) for k in ENTRY_KINDS].index(word)]
        token = self.take("entry", "an entry such as @weight")
        self.broken.add(token.text)
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
        self.broken.discard(token.text)

    # graphs
    def body(self, name: str, level: int, *, is_region: bool) -> Graph:
        """The arguments, types and lines of a graph.

        Args:
            level: blocks around its head
        """
        self.nested()
        errors = len(self.errors)
        values: dict[str, Value] = {}
        inputs: list[Value] = []
        reads = {} if is_region else self.reads
        self.expect("(")
        while not self.accept(")"):
            if inputs:
                self.expect(",")
            token = self.take("value", "an argument such as %x")
            self.expect(":")
            value = Value(self.type(), name=name_of(token))
            self.define(values, token, value)
            inputs.append(value)
        self.expect("->")
        types_token = self.token
        types = self.types()
        self.expect("{")
        nodes: list[Node] = []
        while self.token.kind == "value" or self.token.text not in ("return", "update", "}"):
            begun = self.position
            node = self.attempt(lambda: self.node(values, reads, level + 1, is_region), level + 1)
            if node is None:
                self.declare_results(values, begun)
            else:
                nodes.append(node)
        outputs: list[Value] | None = []
        if self.accept("return"):
            outputs = self.attempt(lambda: self.operands(values, reads, is_region), level + 1)
        updates: list[tuple[str, Value]] | None = []
        if self.token.text == "update":
            if is_region:
                self.fail("a region cannot update the store")
            updates = self.attempt(lambda: self.updates(values, reads), level + 1)
        self.expect("}")
        if outputs is not None and [v.type for v in outputs] != types:
            returned = ", ".join(str(v.type) for v in outputs) or "nothing"
            declared = ", ".join(map(str, types)) or "nothing"
            self.keep(
                self.error(f"returns {returned}, which differs from the declared {declared}", types_token)
            )
        self.depth -= 1
        if outputs is None or updates is None or len(self.errors) > errors:
            raise Consequence("a line of the graph is broken")
        return Graph(name, inputs, outputs, updates, nodes)

    def declare_results(self, values: dict[str, Value], begun: int) -> None:
        """After an error: the results of the node that began there, by the types that its text declares, so that what
        uses them can be read.
        """
        end = self.position
        targets: list[Token] = []
        self.position = begun
        while self.position < end and self.token.kind == "value":
            targets.append(self.next())
            if not self.accept(","):
                break
        types: list[TensorType] = []
        while self.position < end and len(types) != len(targets):
            if self.next().text == ":":
                before = self.position
                try:
                    types = self.types()
                except ParseError:
                    types = []
                if self.token.line == self.tokens[before].line and self.token.text not in ("@", "{"):
                    types = []
                self.position = before
        self.position = end
        for k, token in enumerate(targets):
            if len(types) == len(targets):
                values.setdefault(token.text, Value(types[k], name=name_of(token)))
            else:
                self.broken.add(token.text)

    def updates(self, values: Mapping[str, Value], reads: dict[str, Value]) -> list[tuple[str, Value]]:
        self.expect("update")
        updates: list[tuple[str, Value]] = []
        while True:
            token = self.take("entry", "an entry such as @weight")
            entry = self.entry_of(token)
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
        self.broken.discard(token.text)

    def unknown(self, token: Token, message: str, names: Iterable[str]) -> NoReturn:
        """Fail at a name that stands for nothing, once for each name."""
        if token.text in self.broken:
            raise Consequence(message)
        self.broken.add(token.text)
        close = get_close_matches(token.text, names, 1)
        self.fail(message, token, f"did you mean {close[0]}?" if close else None)

    def value(self, values: Mapping[str, Value], reads: dict[str, Value], is_region: bool) -> Value:
        token = self.next()
        if token.kind == "value":
            found = values.get(token.text)
            if found is None:
                self.unknown(token, f"{token.text} is not defined here", values)
            return found
        if token.kind == "entry":
            entry = self.entry_of(token)
            if is_region:
                self.fail("a region reads no store entry; pass it as an operand", token)
            return reads.setdefault(entry.name, Value(entry.type, entry=entry.name, name=entry.name))
        self.fail(f"expected a value such as %x or @w, found {token.text!r}", token)

    def entry_of(self, token: Token) -> Entry:
        entry = self.entries.get(token.text[1:])
        if entry is None:
            names = [f"@{name}" for name in self.entries]
            self.unknown(token, f"no entry is named {token.text}", names)
        return entry

    def operands(self, values: Mapping[str, Value], reads: dict[str, Value], is_region: bool) -> list[Value]:
        found: list[Value] = []
        while self.token.kind in ("value", "entry"):
            found.append(self.value(values, reads, is_region))
            if not self.accept(","):
                break
            if self.token.kind not in ("value", "entry"):
                self.fail(f"expected a value, found {self.token.text!r}")
        return found

    def node(self, values: dict[str, Value], reads: dict[str, Value], level: int, is_region: bool) -> Node:
        targets = [self.take("value", "a node such as %y = relu %x, return or '}'")]
        while self.accept(","):
            targets.append(self.take("value", "a value such as %y"))
        self.expect("=")
        mnemonic = self.take("word", "an op")
        op_class = OPS.get(mnemonic.text)
        if op_class is None:
            close = get_close_matches(mnemonic.text, OPS, 1)
            self.fail(
                f"no op is named {mnemonic.text}", mnemonic, f"did you mean {close[0]}?" if close else None
            )
        given = self.attributes(op_class, mnemonic)
        operands = self.operands(values, reads, is_region)
        op = self.op(op_class, given, operands[0].type.rank if operands else 0, mnemonic)
        self.expect(":")
        types_token = self.token
        types = self.types()
        origins = self.origins()
        regions: list[Graph] = []
        if op.num_regions:
            self.expect("{")
            regions = [self.body("", level + 1, is_region=True) for _ in range(op.num_regions)]
            self.expect("}")
        try:
            results = make(
                op, *operands, regions=regions, names=[name_of(t) for t in targets], origins=origins
            )
        except ParseError:
            raise
        except NervureError as error:
            self.fail_with(error, mnemonic)
        if [r.type for r in results] != types:
            made, declared = (", ".join(map(str, t)) for t in ([r.type for r in results], types))
            self.fail(f"{op.mnemonic} gives {made}, which differs from the declared {declared}", types_token)
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


def parse_program(
    text: str, data: Data = no_data, *, init: Init | None = None, file: str | None = None
) -> Program:
    """Read a program.

    Args:
        text: as printed by `print_program`
        data: finds the array for a content hash (or its beginning); entries without data are left empty
        init: "zeros" or "random" content where there is no data, the same for the same text
        file: its name, for messages

    Raises:
        ParseError: the first error, with line, column, the line itself and carets; `others` has those behind it
    """
    try:
        return Parser(text, data, init, file).program()
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
    parser = TypeParser(text, {} if symbols is None else symbols)
    if parser.errors:
        raise parser.all_errors()
    found = parser.type()
    parser.take("end", "the end of the type")
    return found
