"""Fuse: which nodes become one region, what it is called, why others do not; unfuse is its inverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.graph import Graph, Node, Value, make_one
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.control import Fuse
from nervure.ir.ops.nn import LogSoftmax, Softmax
from nervure.ir.ops.reduce import Reduction
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32
from nervure.passes.manager import Pipeline, PipelineResult, run_pipeline
from nervure.passes.regions import fingerprint

B = symbol("B", 1, 16)
FREE = ("constant", "iota", "broadcast_in_dim")


def arg(name: str, *shape: object) -> Value:
    return Value(TensorType(f32, tuple(shape)), name=name)  # type: ignore[arg-type]


def fuse(inputs: Sequence[Value], outputs: Sequence[Value], text: str = "fuse") -> PipelineResult:
    return run_pipeline(Program("p", [Graph("main", inputs, outputs)]), Pipeline.parse(text))


def shown(result: PipelineResult) -> list[str]:
    """Labels of fused nodes and mnemonics of the others, without what is copied anyway."""
    nodes = result.program.main.nodes
    return [
        n.op.label if isinstance(n.op, Fuse) else n.op.mnemonic for n in nodes if n.op.mnemonic not in FREE
    ]


def relu(x: Value) -> Value:
    zero = b.full_like(x, 0)
    return b.select(b.lt(x, zero), zero, x)


def with_bias(y: Value, c: Value, axis: int) -> Value:
    return b.add(y, b.broadcast_in_dim(c, y.type.shape, (axis,)))


def convolution() -> tuple[list[Value], Value]:
    x, w, c = arg("x", B, 2, 6, 6), arg("w", 4, 2, 3, 3), arg("c", 4)
    return [x, w, c], with_bias(b.conv(x, w, (1, 1), ((1, 1), (1, 1))), c, 1)


def test_a_transposed_convolution_by_hand_takes_its_order_bias_and_relu_along():
    columns, c = arg("columns", B, 3, 3, 8), arg("c", 2)
    turned = b.permute(columns, (0, 3, 1, 2))
    folded = b.fold_patches(turned, (4, 4), (2, 2), (1, 1), ((0, 0), (0, 0)))
    result = fuse([columns, c], [relu(with_bias(folded, c, 1))])
    assert shown(result) == ["permute+fold_patches+add+relu"]
    data = [np.random.default_rng(0).normal(size=s).astype(np.float32) for s in ((3, 3, 3, 8), (2,))]
    (want,) = evaluate_program(
        Program("p", [Graph("main", [columns, c], [relu(with_bias(folded, c, 1))])]), data
    )
    (fused,) = evaluate_program(result.program, data)
    np.testing.assert_array_equal(fused, want)
    compiled = find_backend("llvm").compile(result.program)
    np.testing.assert_allclose(compiled(*data), want, rtol=1e-6)


def test_a_convolution_takes_bias_relu_and_a_max_pool_along():
    inputs, y = convolution()
    pooled, _ = b.max_pool(relu(y), (2, 2), (2, 2), ((0, 0), (0, 0)))
    result = fuse(inputs, [pooled])
    assert shown(result) == ["conv+bias+relu+max_pool"]
    (node,) = result.program.main.nodes
    assert [v.name for v in node.regions[0].inputs] == ["x", "w", "c"]
    assert result.notes == ("fuse: conv+bias+relu+max_pool: 5 nodes, 4320*B bytes less through memory",)


def test_a_convolution_takes_a_residual_and_an_average_pool_along():
    inputs, y = convolution()
    other = arg("r", B, 4, 6, 6)
    z = relu(b.add(y, other))
    op = b.window_sum(z, (2, 2), (2, 2), ((0, 0), (0, 0)))
    mean = b.div(op, b.full_like(op, 4))
    assert shown(fuse([*inputs, other], [mean])) == ["conv+bias+add+relu+avg_pool"]


def test_a_product_with_a_bias_is_linear_and_one_without_is_matmul():
    x, w, c = arg("x", B, 3), arg("w", 3, 4), arg("c", 4)
    assert shown(fuse([x, w, c], [relu(with_bias(b.matmul(x, w), c, 1))])) == ["linear+relu"]
    assert shown(fuse([x, w], [b.tanh(b.matmul(x, w))])) == ["matmul+tanh"]
    assert shown(fuse([x, w], [b.matmul(x, w)])) == ["dot_general"]


def test_branches_that_meet_again_stay_in_one_region():
    x, w = arg("x", B, 3), arg("w", 3, 3)
    y = b.matmul(x, w)
    swish = b.mul(y, b.sigmoid(y))
    assert shown(fuse([x, w], [swish])) == ["matmul+sigmoid+mul"]


def test_a_chain_absorbs_scalars_and_broadcasts():
    x, c = arg("x", B, 3), arg("c", 3)
    y = b.tanh(with_bias(b.mul(x, b.full_like(x, 2.0)), c, 1))
    result = fuse([x, c], [y])
    assert shown(result) == ["mul+add+tanh"]
    (node,) = result.program.main.nodes
    assert [str(v.type) for v in node.regions[0].inputs] == ["f32[B,3]", "f32[3]"]
    assert [n.op.mnemonic for n in node.regions[0].nodes].count("broadcast_in_dim") == 2


def test_a_reduction_takes_what_it_alone_reads_and_what_follows():
    x, y = arg("x", B, 3), arg("y", B, 3)
    d = b.sub(x, y)
    loss = b.sqrt(b.reduce_sum(b.mul(d, d), (1,)))
    assert shown(fuse([x, y], [loss])) == ["sub+mul+reduce_sum+sqrt"]


@pytest.mark.parametrize(("op", "label"), [(Softmax(1), "softmax"), (LogSoftmax(1), "log_softmax")])
def test_a_softmax_written_out_is_found(op: Softmax | LogSoftmax, label: str):
    x = arg("x", B, 5)
    y = make_one(op, x)
    assert shown(fuse([x], [y], "decompose,canonicalize,cse,fuse")) == [label]
    assert shown(fuse([x], [y, b.neg(x)], "decompose,fuse")) == [label, "neg"]


def test_a_softmax_whose_inside_is_read_elsewhere_is_refused_with_the_reason():
    x = arg("x", B, 5)
    s = b.sub(x, b.expand(b.reduce_max(x, (1,)), x.type.shape, (1,)))
    e = b.exp(s)
    e.name = "e"
    y = b.div(e, b.expand(b.reduce_sum(e, (1,)), x.type.shape, (1,)))
    result = fuse([x], [y, e])
    assert "softmax" not in shown(result)
    assert "fuse: refused: exp %e: it is a result of the graph" in result.notes


def test_a_value_with_two_users_is_refused_by_their_names():
    x = arg("x", B, 3)
    y = b.tanh(b.reduce_max(x, (1,)))
    y.name = "h"
    first, second = b.reverse(y, (0,)), b.neg(y)
    first.name, second.name = "a", "b"
    result = fuse([x], [first, second])
    assert shown(result) == ["reduce_max+tanh", "reverse", "neg"]
    assert "fuse: refused: tanh %h has 2 users (reverse %a, neg %b)" in result.notes


def test_a_pool_whose_index_is_read_stays_outside():
    inputs, y = convolution()
    pooled, index = b.max_pool(y, (2, 2), (2, 2), ((0, 0), (0, 0)))
    result = fuse(inputs, [pooled, index])
    assert shown(result) == ["conv+bias", "max_pool"]
    assert "fuse: refused: the index of max_pool is read too" in result.notes


def test_two_contractions_never_share_a_region():
    x, w = arg("x", B, 3), arg("w", 3, 3)
    y = b.add(b.matmul(x, w), b.matmul(b.neg(x), w))
    result = fuse([x, w], [y])
    assert shown(result) == ["neg", "dot_general", "matmul+add"]


def test_only_the_kinds_that_are_asked_for_are_made():
    x, w = arg("x", B, 3), arg("w", 3, 3)
    y = b.reduce_sum(b.exp(b.tanh(b.matmul(x, w))), (1,))
    assert shown(fuse([x, w], [y], "fuse{kinds=dot}")) == ["matmul+tanh+exp", "reduce_sum"]
    assert shown(fuse([x, w], [y], "fuse{kinds=reduce}")) == ["dot_general", "tanh+exp+reduce_sum"]
    assert shown(fuse([x, w], [y], "fuse{kinds=map}")) == ["dot_general", "tanh+exp", "reduce_sum"]
    assert shown(fuse([x, w], [y], "fuse{kinds=conv}")) == ["dot_general", "tanh", "exp", "reduce_sum"]


def test_a_region_knows_every_line_it_comes_from():
    x = arg("x", 3)
    with origins_of((Origin("net.py", 1),)):
        y = b.tanh(x)
    with origins_of((Origin("net.py", 2),)):
        y = b.exp(y)
    (node,) = fuse([x], [y]).program.main.nodes
    assert node.origins == (Origin("net.py", 1), Origin("net.py", 2))
    assert [n.origins for n in node.regions[0].nodes] == [(Origin("net.py", 1),), (Origin("net.py", 2),)]


def test_regions_of_loops_are_fused_and_fused_regions_left_alone():
    c, x = arg("c", 3), arg("x", 3)
    body = Graph("", [c, x], [b.tanh(b.add(c, x))])
    start, xs = arg("start", 3), arg("xs", 4, 3)
    result = fuse([start, xs], list(b.scan(body, [start], [xs], [], 4)))
    (scan,) = result.program.main.nodes
    assert [n.op for n in scan.regions[0].nodes] == [Fuse("add+tanh")]
    again = run_pipeline(result.program, Pipeline.parse("fuse"))
    assert again.program is result.program


def test_long_labels_are_cut_in_the_middle():
    x = arg("x", 3)
    y = x
    for _ in range(10):
        y = b.exp(b.tanh(y))
    assert shown(fuse([x], [y])) == ["tanh+exp+tanh+exp+14 more+tanh+exp"]


def random_graph(seed: int) -> tuple[Program, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    x, y, w, c = arg("x", B, 4), arg("y", B, 4), arg("w", 4, 4), arg("c", 4)
    full, rows = [x, y], [b.reduce_sum(x, (1,))]

    def pick() -> Value:
        return full[int(rng.integers(max(0, len(full) - 4), len(full)))]

    for _ in range(int(rng.integers(5, 30))):
        kind = int(rng.integers(0, 10))
        if kind < 2:
            full.append([b.add, b.mul][kind](pick(), pick()))
        elif kind == 2:
            full.append(relu(pick()))
        elif kind == 3:
            full.append(b.matmul(b.tanh(pick()), w))
        elif kind == 4:
            full.append(with_bias(pick(), c, 1))
        elif kind == 5:
            rows.append(b.reduce_max(pick(), (1,)))
        elif kind == 6:
            row = rows[int(rng.integers(len(rows)))]
            full.append(b.mul(pick(), b.broadcast_in_dim(row, (B, 4), (0,))))
        elif kind == 7:
            full.append(Softmax(1).decompose(pick()))
        else:
            full.append([b.tanh(pick()), b.reverse(pick(), (1,))][kind - 8])
    outputs = [full[-1], rows[-1], full[int(rng.integers(2, len(full)))] if len(full) > 2 else x]
    program = Program("p", [Graph("main", [x, y, w, c], outputs)])
    shapes = ((3, 4), (3, 4), (4, 4), (4,))
    return program, [rng.standard_normal(s).astype(np.float32) * np.float32(0.5) for s in shapes]


def contractions_and_axes(node: Node) -> tuple[int, int]:
    nodes = node.regions[0].nodes
    axes = {n.op.axes for n in nodes if isinstance(n.op, Reduction)}
    return sum(n.op.mnemonic in ("dot_general", "conv") for n in nodes), len(axes)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_keep_their_values_and_regions_their_form(seed: int):
    program, arrays = random_graph(seed)
    want = evaluate_program(program, arrays)
    for text in ("fuse", "fuse{limit=3}", "cse,fuse", "fuse{kinds=map},unfuse,cse,fuse"):
        after = run_pipeline(program, Pipeline.parse(text)).program
        for old, new in zip(want, evaluate_program(after, arrays), strict=True):
            np.testing.assert_array_equal(new, old)
        for node in after.main.nodes:
            if isinstance(node.op, Fuse):
                contractions, axes = contractions_and_axes(node)
                assert contractions <= 1 and axes <= 1 and contractions + axes <= 1
                assert len(node.results) == 1 or contractions == 1


@pytest.mark.parametrize("seed", range(20))
def test_unfuse_is_the_inverse_of_fuse(seed: int):
    program, _ = random_graph(seed)
    plain = run_pipeline(program, Pipeline.parse("cse")).program
    back = run_pipeline(plain, Pipeline.parse("fuse,unfuse,cse")).program
    assert fingerprint(back.main) == fingerprint(plain.main)
