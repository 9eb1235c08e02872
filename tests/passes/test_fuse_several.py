"""Groups with several exits: gates behind one product, and maps side by side in a loop's body."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.frontend import functional as F
from nervure.ir import build as b
from nervure.ir.graph import Graph, Node, Value
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.control import Fuse, Scan
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, run_pipeline

LOOPS = "inline,decompose,canonicalize,cse,dce,merge-scans,cse,simplify-scans,hoist,canonicalize,cse,dce,fuse"


def arg(name: str, *shape: int) -> Value:
    return Value(TensorType(f32, shape), name=name)


def after(program: Program, text: str) -> Graph:
    return run_pipeline(program, Pipeline.parse(text)).program.main


def fused(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Fuse)]


def bodies(graph: Graph) -> list[Graph]:
    return [n.regions[0] for n in graph.nodes if isinstance(n.op, Scan)]


@pytest.mark.parametrize(("layer", "gates", "results"), [(nn.LSTM, 4, 2), (nn.GRU, 3, 1)])
def test_the_gates_of_a_cell_stand_behind_their_product(layer: type[nn.LSTM], gates: int, results: int):
    program = nv.trace(layer(8, 16), "f32[5,3,8]")
    (body,) = bodies(after(program, LOOPS))
    (node,) = fused(body)
    region = node.regions[0]
    assert len(node.results) == results
    product = next(n for n in region.nodes if n.op.mnemonic == "dot_general")
    assert product.results[0].type.shape == (3, gates * 16)
    assert all(v.type.shape == (3, 16) for v in region.outputs)


def test_a_step_backwards_is_one_kernel_of_maps_and_one_product():
    model = nn.LSTM(8, 16)
    program = nv.training_step(
        lambda x: model(x)[0], F.mse_loss, optim.SGD(lr=0.1), "f32[5,3,8]", "f32[5,3,16]"
    )
    _, backwards = bodies(after(program, LOOPS))
    labels = [n.op.mnemonic for n in backwards.nodes if n.op.mnemonic != "fuse"]
    assert [m for m in labels if m not in ("constant", "broadcast_in_dim")] == ["dot_general"]
    (maps,) = fused(backwards)
    assert sorted(v.type.shape for v in maps.regions[0].outputs) == [(3, 16), (3, 64)]


def test_what_only_a_reduction_reads_is_left_to_it():
    x, w = arg("x", 4, 3), arg("w", 3, 8)
    y = b.matmul(x, w)
    square, shown = b.mul(y, y), b.tanh(y)
    graph = after(Program("p", [Graph("main", [x, w], [b.reduce_sum(square, (1,)), shown])]), "fuse")
    labels = [n.op.label for n in graph.nodes if isinstance(n.op, Fuse)]
    assert labels == ["matmul+tanh", "mul+reduce_sum"]


def test_nothing_joins_that_needs_a_member_through_something_else():
    x, w = arg("x", 4, 8), arg("w", 8, 8)
    y = b.matmul(x, w)
    total = b.expand(b.reduce_sum(y, (1,)), (4, 8), (1,))
    first, second = b.exp(y), b.sub(y, total)
    program = Program("p", [Graph("main", [x, w], [first, second])])
    graph = after(program, "fuse")
    assert [n.op.label for n in graph.nodes if isinstance(n.op, Fuse)] == ["matmul+exp"]
    assert len(graph.nodes[0].results) == 2


def test_two_groups_that_need_each_other_both_ways_are_not_made():
    x, w = arg("x", 4, 4), arg("w", 4, 4)
    one, two = b.matmul(x, w), b.matmul(b.neg(x), w)
    outputs = [b.tanh(one), b.exp(two), b.mul(b.tanh(one), b.exp(two)), b.add(b.exp(two), b.tanh(one))]
    program = Program("p", [Graph("main", [x, w], outputs)])
    arrays = [np.ones((4, 4), np.float32), np.eye(4, dtype=np.float32)]
    before = evaluate_program(program, arrays)
    done = run_pipeline(program, Pipeline.parse("cse,fuse")).program
    for old, new in zip(before, evaluate_program(done, arrays), strict=True):
        np.testing.assert_array_equal(old, new)


def cell(seed: int) -> tuple[Program, list[np.ndarray]]:
    """A random body of a loop around a product whose columns are cut into blocks."""
    rng = np.random.default_rng(seed)
    blocks, width, rows = int(rng.integers(2, 6)), int(rng.choice([5, 16, 33])), int(rng.choice([1, 2, 19]))
    h, c, x, w = arg("h", rows, width), arg("c", rows, width), arg("x", rows, blocks * width), None
    w = arg("w", width, blocks * width)
    tip = b.add(b.matmul(h, w), x)
    known = [b.slice_(tip, (0, g * width), (rows, (g + 1) * width)) for g in range(blocks)]
    known += [c, b.slice_(x, (0, 0), (rows, width))]
    for _ in range(int(rng.integers(3, 12))):
        one, two = (known[int(k)] for k in rng.integers(0, len(known), 2))
        made = (b.tanh(one), b.sigmoid(one), b.mul(one, two), b.sub(one, two))
        known.append(made[int(rng.integers(4))])
    picked = [known[int(k)] for k in rng.integers(blocks, len(known), 4)]
    wide = b.concat([b.tanh(picked[2]), b.neg(picked[3])], 1)
    body = Graph("body", [h, c, x, w], [b.tanh(picked[0]), b.tanh(picked[1]), picked[2], wide])
    start = [arg("h0", rows, width), arg("c0", rows, width)]
    xs, weights = arg("xs", 3, rows, blocks * width), arg("weights", width, blocks * width)
    results = b.scan(body, start, [xs], [weights], 3)
    program = Program("p", [Graph("main", [*start, xs, weights], results)])
    shapes = [v.type.shape for v in program.main.inputs]
    return program, [rng.standard_normal(s).astype(np.float32) * np.float32(0.3) for s in shapes]  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(16))
def test_random_cells_keep_their_values(seed: int):
    program, arrays = cell(seed)
    want = evaluate_program(program, arrays)
    for text in ("fuse", "cse,fuse", "fuse{limit=4}", "fuse,unfuse,cse,dce"):
        done = run_pipeline(program, Pipeline.parse(text)).program
        for old, new in zip(want, evaluate_program(done, arrays), strict=True):
            np.testing.assert_array_equal(new, old)
    run = nv.compile(program, threads=1)
    for old, new in zip(want, run(*arrays), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
    again = nv.compile(program, threads=2)(*arrays)
    for old, new in zip(run(*arrays), again, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_product_of_vectors_has_no_columns():
    x, y = arg("x", 4), arg("y", 4)
    product = b.dot_general(x, y, (0,), (0,))
    program = Program("p", [Graph("f", [x, y], [b.tanh(product), b.exp(product)])])
    arrays = [np.linspace(-1, 1, 4, dtype=np.float32), np.ones(4, np.float32)]
    for got, want in zip(nv.compile(program)(*arrays), evaluate_program(program, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (1, 4), (2, 3, 1), (1, 3, 2)])
def test_maps_and_their_concat_along_a_last_axis_of_any_width(shape: tuple[int, ...]):
    """As a step backwards through a recurrent layer of one unit has them."""
    state, one, two = (arg(n, *shape) for n in ("state", "one", "two"))
    p, q = b.mul(state, one), b.mul(state, two)
    joined = b.concat([p, q, q], len(shape) - 1)
    body = Graph("body", [state, one, two], [b.add(p, q), joined, b.concat([p, state], len(shape) - 1)])
    first, ones, twos = arg("first", *shape), arg("ones", 5, *shape), arg("twos", 5, *shape)
    results = b.scan(body, [first], [ones, twos], [], 5)
    program = Program("p", [Graph("f", [first, ones, twos], list(results))])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.type.static_shape()).astype(np.float32) for v in program.main.inputs]
    for got, want in zip(nv.compile(program)(*arrays), evaluate_program(program, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
