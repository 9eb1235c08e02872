"""IR text: prints, parses, prints to the same bytes; broken text ends in one error with a position."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import InputError, NervureError, ParseError
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.nn import CrossEntropy, Linear, Relu
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.text import load, parse_program, print_program, save
from nervure.ir.types import DTYPES, TensorType, bool_, f32, i64


def sample_program() -> Program:
    """Two results, a nested region, an update, origins, literals inline and by hash."""
    rng = np.random.default_rng(0)
    batch = symbol("B", 1, 64)
    x = Value(TensorType(f32, (batch, 1, 8, 8)), name="x")
    labels = Value(TensorType(i64, (batch,)), name="labels")
    weight = Entry(
        "conv.weight",
        TensorType(f32, (4, 1, 3, 3)),
        "param",
        True,
        rng.standard_normal((4, 1, 3, 3)).astype(np.float32),
    )
    head = Entry(
        "head.weight",
        TensorType(f32, (3, 64)),
        "param",
        False,
        rng.standard_normal((3, 64)).astype(np.float32),
    )
    with origins_of((Origin("net.py", 12), Origin('odd "name".py', 3))):
        y = b.conv(x, Value(weight.type, entry="conv.weight"), (1, 1), ((1, 1), (1, 1)))
    values, indices = b.max_pool(y, (2, 2), (2, 2), ((0, 0), (0, 0)))
    features = make_one(Relu(), b.reshape(values, (batch, 64)), name="features")
    table = b.constant(rng.standard_normal((64,)).astype(np.float32))
    shifted = b.add(features, b.broadcast_in_dim(table, (batch, 64), (1,)))
    carry, step = Value(TensorType(f32, (batch,)), name="c"), Value(TensorType(f32, (batch,)), name="s")
    inner_in = Value(TensorType(f32, (batch,)), name="v")
    inner = Graph("", [inner_in], [b.neg(inner_in)])
    total = b.add(carry, *b.fuse("neg", inner, [step]))
    body = Graph("", [carry, step], [total, total])
    start = b.full(TensorType(f32, (batch,)), -0.0)
    last, _ = b.scan(body, [start], [b.permute(shifted, (1, 0))], [], 64)
    logits = make_one(Linear(), shifted, Value(head.type, entry="head.weight"))
    loss = make_one(CrossEntropy(), logits, labels, name="loss")
    graph = Graph(
        "forward",
        [x, labels],
        [loss, last, indices],
        [("head.weight", b.neg(Value(head.type, entry="head.weight")))],
    )
    return Program("sample", [graph], Store([weight, head]))


def test_a_program_prints_the_same_bytes_after_parsing():
    program = sample_program()
    text = print_program(program)
    data = {e.data.tobytes(): e.data for e in program.store.values()}
    assert text.startswith(
        "nervure 1\nprogram sample {\n  sym B in 1..64\n  param @conv.weight : f32[4,1,3,3] trainable #"
    )
    with pytest.raises(ParseError, match="the data of constant"):
        parse_program(text)
    assert len(data) == 2


def test_a_saved_program_loads_with_the_same_text_and_meaning(tmp_path: Path):
    program = sample_program()
    save(program, tmp_path / "p.nv")
    loaded = load(tmp_path / "p.nv")
    assert print_program(loaded, digits=None) == print_program(program, digits=None)
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((3, 1, 8, 8)).astype(np.float32), np.array([0, 2, 1])]
    for mine, theirs in zip(evaluate_program(program, inputs), evaluate_program(loaded, inputs), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path):
    save(sample_program(), tmp_path / "a.nv")
    save(load(tmp_path / "a.nv"), tmp_path / "b.nv")
    assert (tmp_path / "a.nv").read_bytes() == (tmp_path / "b.nv").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_an_altered_side_file_is_refused(tmp_path: Path):
    save(sample_program(), tmp_path / "p.nv")
    content = bytearray((tmp_path / "p.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "p.safetensors").write_bytes(bytes(content))
    with pytest.raises(InputError, match="was altered"):
        load(tmp_path / "p.nv")


def test_writing_below_a_regular_file_is_one_error(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        save(sample_program(), tmp_path / "file" / "p.nv")


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_inline_literals_of_each_element_type_keep_their_bits(name: str):
    dtype = DTYPES[name]
    if dtype.is_float:
        values = np.array([0.0, -0.0, 1.0, -2.5, 0.1, 1e-7, 6e4, np.nan, np.inf, -np.inf, 1 / 3]).astype(
            dtype.numpy
        )
    elif dtype == bool_:
        values = np.array([True, False])
    else:
        info = np.iinfo(dtype.numpy)
        values = np.array([info.min, info.max, 0, 1], dtype=dtype.numpy)
    graph = Graph("f", [], [b.constant(values)])
    text = print_program(Program("p", [graph]))
    again = parse_program(text)
    (constant,) = again.main.nodes
    assert constant.op == graph.nodes[0].op
    assert print_program(again) == text


BROKEN = [
    ("nervure 2\nprogram p {}", "1:9: format version"),
    ("nervure 1\nprogram p {", "2:12: expected sym, param"),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { %y = reluu %x : f32[3] return %y } }",
        "no op is named reluu",
    ),
    ("nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { return %z } }", "%z is not defined here"),
    ("nervure 1\nprogram p { graph f(%x: f32[N]) -> f32[N] { return %x } }", "symbol N is not declared"),
    ("nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[4] { return %x } }", "differs from the declared"),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { %y = add %x, %x : f32[4] return %y } }",
        "differs from the declared",
    ),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { %y = add %x : f32[3] return %y } }",
        "another number of operands",
    ),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { %y = permute{axes=[0.5]} %x : f32[3] return %y } }",
        "axes of permute takes a list of integers",
    ),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { %y = permute %x : f32[3] return %y } }",
        "permute needs axes",
    ),
    (
        "nervure 1\nprogram p { graph f(%x: f32[3]) -> f32[3] { return %x update @w = %x } }",
        "no entry is named @w",
    ),
    ("nervure 1\nprogram p { param @w : f32[3] param @w : f32[3] }", "two entries are named @w"),
    ("nervure 1\nprogram p { graph f(%x: f99[3]) -> f32[3] { return %x } }", "no element type is named f99"),
    (
        "nervure 1\nprogram p { graph f(%x: f32[99999999999999999999999]) -> f32[3] { return %x } }",
        "integer out of range",
    ),
    ("nervure 1\nprogram p { graph f(%x: f32[-1]) -> f32[3] { return %x } }", "dim -1 is not within"),
    ("nervure 1\nprogram p { ? }", "unexpected character"),
]


def test_several_errors_of_one_text_are_told_together_and_none_follows_from_another():
    text = """nervure 1
program net {
  sym B in 9..4
  param @w : g32[8,2] trainable
  param @bias : f32[8] trainable
  graph forward(%x: f32[B,2]) -> f32[B,8] {
    %h = linear %x, @w, @bias : f32[B,8]
    %0 = tanhh %h : f32[B,8]
    %1 = add %0, @biass : f32[B,8]
    %2 = add %1, @biass : f32[B,8]
    %3 = permute{axis=[1,0]} %2 : f32[8,B]
    %4 = add %2 ? %2 : f32[B,8]
    %5 = fuse<"relu"> %2 : f32[B,8]
    %6 = scan{length=3, carries=1, xs=0} %2 : f32[B,8] {
      (%c: f32[B,8]) -> f32[B,8] {
        %u = relux %c : f32[B,8]
        %v = relu %u : f32[B,8]
        return %v
      }
    }
    %7 = add %6, %4 : f32[B,8]
    return %7, %8
  }
  grph second() -> () {
  }
}
"""
    with pytest.raises(ParseError) as caught:
        parse_program(text)
    errors = [caught.value, *caught.value.others]
    assert [str(e).split("\n")[0] for e in errors] == [
        "3:15: the range 9..4 is empty",
        "4:14: no element type is named g32",
        "8:10: no op is named tanhh",
        "9:18: no entry is named @biass",
        "11:18: permute has no attribute axis",
        "12:17: unexpected character '?'",
        "13:10: fuse needs label",
        "16:14: no op is named relux",
        "22:16: %8 is not defined here",
        "24:3: expected sym, param, state, derived, graph or '}', found 'grph'",
    ]
    assert errors[2].hint == "did you mean tanh?" and errors[3].hint == "did you mean @bias?"
    assert "          ^^^^^" in errors[2].alone()
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and len(again.others) == 9


def test_reading_a_text_ends_at_twenty_errors():
    lines = "".join(f"    %{k} = relux %x : f32[3]\n" for k in range(100))
    text = f"nervure 1\nprogram p {{\n  graph f(%x: f32[3]) -> f32[3] {{\n{lines}    return %9\n  }}\n}}\n"
    with pytest.raises(ParseError) as caught:
        parse_program(text)
    assert len(caught.value.others) == 19


def test_an_error_far_to_the_right_shows_its_part_of_the_line():
    text = "nervure 1\nprogram p {" + " " * 5000 + "grph f }"
    with pytest.raises(ParseError) as caught:
        parse_program(text)
    _, shown, carets = str(caught.value).split("\n")
    assert shown.index("grph") == carets.index("^") and len(shown) < 140


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_text_ends_in_one_error_with_a_position(text: str, message: str):
    with pytest.raises(ParseError) as caught:
        parse_program(text)
    assert message in str(caught.value)
    assert caught.value.message.split(":")[0].isdigit()


def test_damaged_text_never_ends_in_anything_but_a_nervure_error(tmp_path: Path):
    save(sample_program(), tmp_path / "p.nv")
    text = (tmp_path / "p.nv").read_text()
    rng = random.Random(0)
    refused = 0
    for _ in range(600):
        damaged = list(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randint(0, 5)] = rng.choice(
                ["", "{", "%x", "9", '"', "[", "f32", "-", "\n", "@"]
            )
        try:
            parse_program("".join(damaged), lambda _: None)
        except NervureError:
            refused += 1
    assert refused > 300


def test_deeply_nested_text_is_refused_not_a_recursion_error():
    for piece in ("min(1," * 5000, "[" * 5000):
        with pytest.raises(ParseError):
            parse_program(
                f"nervure 1\nprogram p {{ graph f() -> f32[] {{ %x = reshape{{shape={piece}}} : f32[] return %x }} }}"
            )


@pytest.mark.parametrize("kind", ["param", "state", "derived"])
def test_entries_of_every_kind_read_back(kind: Any):
    program = Program("p", [], Store([Entry("e", TensorType(f32, (2,)), kind)]))
    again = parse_program(print_program(program))
    assert again.store["e"].kind == kind
    assert print_program(again) == print_program(program)


@pytest.mark.parametrize("name", ["a/b", "", "9lives", "né", "sym {", "_ok", "x.y"])
def test_any_program_name_prints_as_a_word_that_parses(name: str):
    x = Value(TensorType(f32, (2,)), name="x")
    text = print_program(Program(name, [Graph("f", [x], [x])]))
    assert print_program(parse_program(text)) == text
