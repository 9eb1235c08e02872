"""Differences of two programs: one edit is one node, wherever it is; order and names do not count."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pytest

import nervure as nv
from nervure.backends.base import find_backend
from nervure.inspect.diff import diff, shortened
from nervure.inspect.edits import Line
from nervure.ir import build as b
from nervure.ir.graph import Graph, Node, Value, collect, make, rebuild
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, run_pipeline
from nervure.zoo import CharRNN, LeNet5

T = TensorType(f32, (4, 6))
UNARY = (b.neg, b.exp, b.tanh, b.abs, b.sin, b.cos)
BINARY = (b.add, b.mul, b.sub, b.div)


def tangle(seed: int, count: int, near: int = 12) -> Program:
    """A random graph whose nodes take values made a little before; the last of them are summed up."""
    rng = np.random.default_rng(seed)
    inputs = [Value(T, name=f"x{k}") for k in range(3)]
    store = Store({"w": Entry("w", T, data=np.ones((4, 6), "f"))})
    values = [*inputs, Value(T, entry="w")]
    while len(values) < count:
        pool = values[-near:]
        x, y = (pool[int(rng.integers(len(pool)))] for _ in range(2))
        op = (*UNARY, *BINARY)[int(rng.integers(10))]
        values.append(op(x) if op in UNARY else op(x, y))  # type: ignore[operator, call-arg, arg-type]
    used = {o for v in values if v.node for o in v.node.operands}
    ends = [v for v in values if v.node is not None and v not in used]
    total = ends[0]
    for end in ends[1:]:
        total = b.add(total, end)
    return Program("tangle", [Graph("forward", inputs, [total])], store)


def edited(program: Program, k: int, kind: str) -> Program:
    """The program with its k-th node changed, deleted, or followed by a new one."""
    target = program.main.nodes[k]

    def edit(node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if node is not target:
            return None
        if kind == "deleted":
            return [operands[0]]
        if kind == "inserted":
            return [b.floor(make(node.op, *operands)[0])]
        return [b.atan2(*operands) if len(operands) == 2 else b.floor(operands[0])]

    return program.with_graphs(rebuild(program.main, edit))


def shuffled(program: Program, seed: int) -> Program:
    """The same with nodes in another order, other names, and operands made anew."""
    graph = program.main
    rng = np.random.default_rng(seed)
    waiting, done, order = list(graph.nodes), set[Node](), list[Node]()
    while waiting:
        ready = [n for n in waiting[:40] if all(o.node is None or o.node in done for o in n.operands)]
        node = ready[int(rng.integers(len(ready)))]
        waiting.remove(node)
        done.add(node)
        order.append(node)
    fresh = {v: Value(v.type, name=f"y{k}") for k, v in enumerate(graph.inputs)}
    for node in order:
        results = make(node.op, *(fresh.get(o, o) for o in node.operands), regions=node.regions)
        fresh.update(zip(node.results, results, strict=True))
    nodes = [fresh[n.results[0]].node for n in order]
    inputs = [fresh[v] for v in graph.inputs]
    outputs = [fresh[v] for v in graph.outputs]
    return program.with_graphs(Graph(graph.name, inputs, outputs, (), [n for n in nodes if n is not None]))


def lenet() -> Program:
    return nv.trace(LeNet5(), *LeNet5.inputs)


def test_a_program_is_the_same_as_itself_and_as_its_text_read_back() -> None:
    program = lenet()
    assert diff(program, program).same
    again = nv.parse(str(program), init="zeros")
    assert {e.kind for e in diff(program, again).entries} == {"changed"}
    assert not diff(program, again).edits


@pytest.mark.parametrize("seed", range(4))
def test_order_and_names_do_not_count(seed: int) -> None:
    program = tangle(seed, 300)
    other = shuffled(program, seed)
    assert str(other) != str(program)
    found = diff(program, other)
    assert found.same, str(found)
    assert str(found) == "tangle and tangle are the same program"


@pytest.mark.parametrize("kind", ["changed", "deleted", "inserted"])
@pytest.mark.parametrize("seed", range(6))
def test_one_edit_anywhere_is_one_node(kind: str, seed: int) -> None:
    program = tangle(seed, 200)
    rng = np.random.default_rng(seed)
    for k in rng.integers(len(program.main.nodes), size=8):
        other = shuffled(edited(program, int(k), kind), seed)
        found = diff(program, other)
        # a deleted node takes along what it alone used
        count = len(program.main.nodes) - len(other.main.nodes) if kind == "deleted" else 1
        assert [e.kind for e in found.edits] == [kind] * count, f"node {k}: {found}"
        assert not found.graphs[0].head


@pytest.mark.parametrize("kind", ["changed", "deleted", "inserted"])
def test_one_edit_among_a_thousand_nodes_takes_less_than_two_seconds(kind: str) -> None:
    program = tangle(7, 1000, near=40)
    other = shuffled(edited(program, 500, kind), 7)
    start = time.process_time()
    found = diff(program, other)
    assert time.process_time() - start < 2
    assert len(found.edits) == 1


def test_edits_far_apart_are_each_found() -> None:
    program = tangle(3, 400)
    other = program
    for k in (390, 200, 10):
        other = edited(other, k, "changed")
    assert [e.kind for e in diff(program, shuffled(other, 3)).edits] == ["changed"] * 3


def test_an_attribute_is_named_with_both_values() -> None:
    x = Value(T, name="x")
    one = Program("p", [Graph("main", [x], [b.reduce_sum(x, (0,))])])
    other = Program("p", [Graph("main", [x], [b.reduce_sum(x, (1,))])])
    (edit,) = diff(one, other).edits
    assert (edit.kind, edit.what) == ("changed", ("axes: [0] -> [1]",))


def test_swapped_operands_are_rewired() -> None:
    x, y = Value(T, name="x"), Value(T, name="y")
    one = Program("p", [Graph("main", [x, y], [b.sub(x, y)])])
    other = Program("p", [Graph("main", [x, y], [b.sub(y, x)])])
    (edit,) = diff(one, other).edits
    assert (edit.kind, edit.what) == ("rewired", ("operands: %x -> %y", "operands: %y -> %x"))


def test_another_batch_size_changes_no_node_but_the_input() -> None:
    def program(rows: int) -> Program:
        x = Value(TensorType(f32, (rows, 6)), name="x")
        return Program("p", [Graph("main", [x], [b.tanh(b.exp(x))])])

    found = diff(program(4), program(8))
    assert not found.edits
    assert found.graphs[0].head == ("input %x: f32[4,6] -> f32[8,6]",)
    assert found.graphs[0].retyped == 2


def test_another_range_of_a_symbol_is_a_difference() -> None:
    program = lenet()
    other = nv.parse(str(program).replace("B in 1..4096", "B in 1..64"), init="zeros")
    found = diff(nv.parse(str(program), init="zeros"), other)
    assert found.symbols == (("B in 1..4096", "B in 1..64"),)
    assert not found.same and "+ sym B in 1..64" in str(found)


def test_one_edit_in_the_body_of_a_scan_is_one_node() -> None:
    program = nv.trace(CharRNN(), *CharRNN.inputs)
    pipeline = Pipeline.parse("decompose")
    program = run_pipeline(program, pipeline).program
    text = str(program)
    assert "scan" in text and "= tanh " in text
    other = nv.parse(text.replace("= tanh ", "= sin ", 1), init="zeros")
    same = nv.parse(text, init="zeros")
    found = diff(same, other)
    assert [(e.kind, e.what) for e in found.edits] == [("changed", ("op: tanh -> sin",))]
    assert "-       " in str(found)


def test_entries_are_compared_by_content() -> None:
    def program(**arrays: float) -> Program:
        store = Store({n: Entry(n, T, data=np.full((4, 6), v, "f")) for n, v in arrays.items()})
        reads = [Value(T, entry=name) for name in arrays]
        return Program("p", [Graph("main", [], [b.add(reads[0], b.exp(reads[1]))])], store)

    assert diff(program(a=1, b=2), program(a=1, b=2)).same
    (changed,) = diff(program(a=1, b=2), program(a=1, b=3)).entries
    assert (changed.kind, changed.name) == ("changed", "b")
    renamed = diff(program(a=1, b=2), program(a=1, c=2))
    assert [(e.kind, e.name) for e in renamed.entries] == [("renamed", "c")]
    assert not renamed.edits
    kinds = [e.kind for e in diff(program(a=1, b=2), program(a=1, c=3)).entries]
    assert kinds == ["deleted", "inserted"]


def test_graphs_that_one_side_lacks_are_deleted_or_inserted_whole() -> None:
    x = Value(T, name="x")
    one = Program("p", [Graph("main", [x], [b.exp(x)])])
    both = one.with_graphs(Graph("other", [x], [b.tanh(b.exp(x))]))
    assert [e.kind for e in diff(one, both).edits] == ["inserted", "inserted"]
    assert [e.kind for e in diff(both, one).edits] == ["deleted", "deleted"]
    renamed = Program("p", [Graph("forward", [x], [b.exp(x)])])
    assert not diff(one, renamed).edits


def test_the_listing_shows_the_edit_with_lines_around_it() -> None:
    x = Value(T, name="x")
    value = x
    for _ in range(40):
        value = b.tanh(value)
    program = Program("chain", [Graph("main", [x], [value])])
    text = str(diff(program, edited(program, 20, "changed"))).splitlines()
    assert text[:2] == ["--- chain", "+++ chain"]
    assert [line for line in text[2:] if line[0] in "-+"] == [
        "-   %20 = tanh %19 : f32[4,6]",
        "+   %20 = floor %19 : f32[4,6]",
    ]
    assert len(text) == 12
    assert text[-1] == "nodes: 1 changed"


def test_a_listing_keeps_heads_and_says_how_many_lines_it_leaves_out() -> None:
    lines = [Line(" ", 0, "graph", head=True), *(Line(" ", 1, str(k)) for k in range(9)), Line("+", 1, "new")]
    assert [str(line) for line in shortened(lines, 1)] == ["  graph", "@   8 the same", "    8", "+   new"]


def test_the_json_is_plain_and_whole() -> None:
    program = lenet()
    compiled = run_pipeline(program, find_backend("llvm").pipeline(2)).program
    found = diff(program, compiled)
    data = json.loads(json.dumps(found.to_json()))
    assert data["same"] is False
    assert len(data["graphs"][0]["edits"]) == len(found.edits)
    assert all(e["lines_before"] or e["lines_after"] for e in data["graphs"][0]["edits"])


def test_both_directions_have_as_many_edits() -> None:
    program = lenet()
    compiled = run_pipeline(program, find_backend("llvm").pipeline(2)).program
    there, back = diff(program, compiled), diff(compiled, program)
    opposite = {"deleted": "inserted", "inserted": "deleted"}
    kinds = sorted(opposite.get(e.kind, e.kind) for e in back.edits)
    assert sorted(e.kind for e in there.edits) == kinds
    assert len(collect(compiled.main.roots)) == len(compiled.main.nodes)


def test_a_chain_of_twenty_thousand_nodes_is_compared_without_recursion() -> None:
    x = Value(T, name="x")
    value = x
    for _ in range(20_000):
        value = b.tanh(value)
    program = Program("chain", [Graph("main", [x], [value])])
    assert len(diff(program, edited(program, 10_000, "inserted")).edits) == 1


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_of_a_difference_runs_nothing() -> None:
    name = "<script>alert(1)</script>\"'&\x00\u202e"
    x = Value(T, name="x")
    one = Program(name, [Graph("main", [x], [b.exp(x)])])
    other = Program(name, [Graph("main", [x], [b.tanh(x)])])
    page = diff(one, other).to_html()
    tags = Tags(page)
    assert "script" not in tags.tags
    assert "%0 = tanh %x" in tags.text and "<script>alert(1)" in tags.text
    assert "\x00" not in page and "\u202e" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("seed", range(4))
def test_every_node_is_paired_deleted_or_inserted(seed: int) -> None:
    a, b_ = tangle(seed, 150), tangle(seed + 10, 200)
    found = diff(a, b_)
    (graph,) = found.graphs
    counts = {kind: sum(e.kind == kind for e in found.edits) for kind in ("deleted", "inserted")}
    assert len(graph.pairs) + counts["deleted"] == len(a.main.nodes)
    assert len(graph.pairs) + counts["inserted"] == len(b_.main.nodes)
    assert len(set(graph.pairs.values())) == len(graph.pairs)
    assert all(x.op.mnemonic == y.op.mnemonic or y in graph.touched for x, y in graph.pairs.items())


def test_a_group_does_not_stand_for_one_of_its_nodes() -> None:
    program = lenet()
    compiled = run_pipeline(program, find_backend("llvm").pipeline(2)).program
    assert not any(
        bool(x.regions) != bool(y.regions) for g in diff(program, compiled).graphs for x, y in g.pairs.items()
    )
