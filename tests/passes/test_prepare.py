"""split-prepare, freeze and fold-batchnorm: what becomes of weights, and that nothing goes stale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.graph import Graph, Value, make_one
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.nn import BatchNorm, Linear, Relu
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, bf16, f32
from nervure.passes.manager import Pipeline, PipelineResult, run_pipeline

B = symbol("B", 1, 16)
Samples = dict[str, Callable[[], Any]]


def entry(name: str, *shape: int, dtype: Any = f32) -> Entry:
    data = np.random.default_rng(len(name)).uniform(0.5, 1.5, shape).astype(dtype.numpy)
    return Entry(name, TensorType(dtype, shape), "param", True, data)


def read(e: Entry) -> Value:
    return Value(e.type, entry=e.name)


def passes(program: Program, text: str) -> PipelineResult:
    return run_pipeline(program, Pipeline.parse(text))


def transposed(updates: bool = False) -> tuple[Program, Entry]:
    """x times w transposed, plus a bias that is only read; w is updated where asked."""
    w, c = entry("w", 4, 3), entry("c", 4)
    x = Value(TensorType(f32, (B, 3)), name="x")
    weight = read(w)
    y = b.matmul(x, b.mul(b.permute(weight, (1, 0)), b.full(TensorType(f32, (3, 4)), 2)))
    y = b.add(y, b.broadcast_in_dim(read(c), y.type.shape, (1,)))
    new = [("w", b.neg(weight))] if updates else []
    return Program("p", [Graph("main", [x], [y], new)], Store([w, c])), w


def test_what_weights_alone_decide_moves_to_prepare_and_plain_reads_stay():
    program, _ = transposed()
    result = passes(program, "split-prepare")
    after = result.program
    assert list(after.graphs) == ["prepare", "main"]
    assert [n for n, _ in after.graphs["prepare"].updates] == ["prepared.0"]
    assert [r.entry for r in after.main.reads()] == ["prepared.0", "c"]
    assert [n.op.mnemonic for n in after.main.nodes] == ["dot_general", "broadcast_in_dim", "add"]
    assert (after.store["prepared.0"].kind, after.store["w"]) == ("derived", program.store["w"])
    assert result.notes == ("split-prepare: f32[3,4] of mul becomes @prepared.0",)


def test_what_is_prepared_follows_the_weights():
    program, w = transposed()
    after = passes(program, "split-prepare").program
    x = np.ones((2, 3), np.float32)
    first = evaluate_program(after, [x])[0]
    version = after.store.ledger.version
    w.assign(w.data * 3)
    assert after.store.ledger.version > version
    np.testing.assert_array_equal(evaluate_program(after, [x])[0], evaluate_program(program, [x])[0])
    assert not np.array_equal(evaluate_program(after, [x])[0], first)


def test_a_program_that_updates_a_weight_prepares_nothing_of_it():
    program, _ = transposed(updates=True)
    assert passes(program, "split-prepare").program is program


def test_a_second_run_adds_to_prepare_and_reads_no_entry_before_it_is_made():
    w = entry("w", 3, 3)
    x = Value(TensorType(f32, (B, 3)), name="x")
    turned = b.permute(read(w), (1, 0))
    first = passes(
        Program("p", [Graph("main", [x], [b.matmul(x, turned)])], Store([w])), "split-prepare"
    ).program
    main = first.main
    scaled = b.mul(Value(turned.type, entry="prepared.0"), b.full_like(turned, 2))
    second = first.with_graphs(main.replace(outputs=[b.matmul(*main.inputs, scaled)]))
    after = passes(second, "split-prepare").program
    prepare = after.graphs["prepare"]
    assert [n for n, _ in prepare.updates] == ["prepared.0", "prepared.1"]
    assert [r.entry for r in prepare.reads()] == ["w"]
    arrays = [np.ones((2, 3), np.float32)]
    np.testing.assert_array_equal(evaluate_program(after, arrays)[0], 2 * evaluate_program(first, arrays)[0])
    assert passes(after, "split-prepare").program is after


def test_names_of_prepared_entries_do_not_meet_the_users():
    w, taken = entry("w", 3, 3), entry("prepared.0", 3)
    x = Value(TensorType(f32, (B, 3)), name="x")
    y = b.matmul(x, b.permute(read(w), (1, 0)))
    y = b.add(y, b.broadcast_in_dim(read(taken), y.type.shape, (1,)))
    after = passes(Program("p", [Graph("main", [x], [y])], Store([w, taken])), "split-prepare").program
    assert list(after.store) == ["w", "prepared.0", "prepared.1"]


@pytest.mark.parametrize("text", ["freeze", "fold-batchnorm,split-prepare,freeze"])
def test_a_frozen_program_reads_no_store_and_computes_the_same(text: str, samples: Samples):
    program, arrays = samples["cnn"]()
    frozen = passes(program, text).program
    assert (list(frozen.graphs), list(frozen.store), frozen.main.reads()) == (["forward"], [], ())
    np.testing.assert_allclose(
        evaluate_program(frozen, arrays)[0], evaluate_program(program, arrays)[0], rtol=1e-5
    )
    assert passes(frozen, "freeze").program is frozen


def test_freeze_leaves_what_the_program_updates(samples: Samples):
    program, _ = samples["step"]()
    frozen = passes(program, "freeze").program
    assert sorted(frozen.store) == ["key", "mean", "w"]
    assert frozen.store["w"] is program.store["w"]
    assert sorted(r.entry or "" for r in frozen.main.reads()) == ["key", "mean", "w"]


def normed(*, kind: str = "conv", users: int = 1, updated: bool = False, dtype: Any = f32) -> Program:
    stats = [entry(n, 4, dtype=dtype) for n in ("scale", "shift", "mean", "var")]
    w = entry("w", 4, 2, 3, 3, dtype=dtype) if kind == "conv" else entry("w", 4, 6, dtype=dtype)
    c = entry("c", 4, dtype=dtype)
    x = Value(TensorType(dtype, (B, 2, 5, 5) if kind == "conv" else (B, 6)), name="x")
    if kind == "conv":
        y = b.conv(x, read(w), (1, 1), ((0, 0), (0, 0)))
        y = b.add(b.broadcast_in_dim(read(c), y.type.shape, (1,)), y)
    elif kind == "linear":
        y = make_one(Linear(), x, read(w), read(c))
    else:
        y = make_one(Relu(), b.matmul(x, b.permute(read(w), (1, 0))))
    out = make_one(BatchNorm(1e-3), y, *map(read, stats))
    more = [y] if users == 2 else []
    new = [("mean", b.neg(read(stats[2])))] if updated else []
    return Program("p", [Graph("main", [x], [out, *more], new)], Store([*stats, w, c]))


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_a_batch_norm_goes_into_the_layer_before_it(kind: str):
    program = normed(kind=kind)
    after = passes(program, "fold-batchnorm,split-prepare").program
    ops = [n.op.mnemonic for n in after.main.nodes]
    assert ops == (["conv", "broadcast_in_dim", "add"] if kind == "conv" else ["linear"])
    shape = tuple(2 if d == B else d for d in program.main.inputs[0].type.shape)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(
        evaluate_program(after, [x])[0], evaluate_program(program, [x])[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"users": 2}, "add has 2 users"),
        ({"updated": True}, "the program updates @mean"),
        ({"kind": "relu"}, "no conv or linear stands before it"),
    ],
)
def test_a_batch_norm_that_must_stay_says_why(options: dict[str, Any], reason: str):
    program = normed(**options)
    result = passes(program, "fold-batchnorm")
    assert result.program is program
    assert result.notes == (f"fold-batchnorm: refused: {reason}",)


def test_a_batch_norm_of_16_bits_stays():
    result = passes(normed(dtype=bf16), "fold-batchnorm")
    assert result.notes == ("fold-batchnorm: refused: scaled weights would round to bf16",)


def test_a_broadcast_of_prepared_values_stays_where_it_is_used():
    """MobileNet's bias that fold-affine had moved was kept as an image of 112 x 112 for each channel."""
    w, c = entry("w", 4, 3), entry("c", 4)
    x = Value(TensorType(f32, (2, 3)), name="x")
    y = b.matmul(x, b.permute(read(w), (1, 0)))
    y = b.add(y, b.broadcast_in_dim(b.exp(read(c)), y.type.shape, (1,)))
    program = Program("p", [Graph("main", [x], [y])], Store([w, c]))
    after = passes(program, "split-prepare").program
    assert {n: str(e.type) for n, e in after.store.items() if e.kind == "derived"} == {
        "prepared.0": "f32[3,4]",
        "prepared.1": "f32[4]",
    }
    assert [n.op.mnemonic for n in after.main.nodes] == ["dot_general", "broadcast_in_dim", "add"]
    given = np.random.default_rng(0).standard_normal((2, 3), np.float32)
    (expected,), (found,) = (evaluate_program(p, [given]) for p in (program, after))
    np.testing.assert_array_equal(found, expected)
