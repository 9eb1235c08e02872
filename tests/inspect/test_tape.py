# long file: the pieces with a NaN and the wrong kernels stand beside their tests
"""Tapes: every value of every backend; where NaN are born; which kernel is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import planted
import pytest
from networks import digits
from planted import Weights
from random_programs import random_program

import nervure as nv
import nervure.backends.llvm.lower.elementwise as llvm_elementwise
import nervure.backends.llvm.lower.moves as llvm_moves
import nervure.backends.llvm.lower.reduce as llvm_reduce
import nervure.backends.onnx.contract as onnx_contract
import nervure.backends.onnx.table as onnx_table
from nervure import nn, optim
from nervure.inspect.births import birth
from nervure.inspect.bisect import bisect
from nervure.inspect.movement import reference
from nervure.inspect.tape import birth_of_nan, compare_tapes, tape
from nervure.inspect.tolerance import promote_program, promoted_array
from nervure.ir import build as b
from nervure.ir.errors import UnsupportedError
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f16, f32
from nervure.passes.manager import Pipeline, run_pipeline

BACKENDS = ("reference", "llvm", "onnx")


def named(value: Value, name: str = "culprit") -> Value:
    value.name = name
    return value


def constant(x: Value, number: float) -> Value:
    return b.full(x.type, number)


# NaN and infinities
def of_log(x: Value, w: Weights) -> Value:
    return b.exp(named(b.log(b.neg(b.exp(x)))))


def of_sqrt(x: Value, w: Weights) -> Value:
    return b.mul(x, named(b.sqrt(b.sub(b.neg(b.abs(x)), constant(x, 1.0)))))


def of_division(x: Value, w: Weights) -> Value:
    return named(b.div(b.sub(x, x), b.sub(x, x)))


def of_infinities(x: Value, w: Weights) -> Value:
    large = named(b.exp(b.mul(b.abs(x), constant(x, 1e5))), "source")
    return named(b.sub(large, b.mul(large, constant(x, 2.0))))


def of_zero_times_infinity(x: Value, w: Weights) -> Value:
    zero = b.sub(x, x)
    return named(b.mul(zero, named(b.rsqrt(zero), "source")))


def of_power(x: Value, w: Weights) -> Value:
    return named(b.pow(b.neg(b.exp(x)), constant(x, 0.5)))


def of_constant(x: Value, w: Weights) -> Value:
    return b.add(
        x, b.broadcast_in_dim(named(b.constant(np.array([1, np.nan, 3, 4, 5, 6], "f"))), (4, 6), (1,))
    )


def of_weight(x: Value, w: Weights) -> Value:
    read = w(6)
    w.entries[-1].data[3] = np.nan
    return b.mul(x, b.broadcast_in_dim(read, (4, 6), (1,)))


def beside_a_mask(x: Value, w: Weights) -> Value:
    """log of a negative number, not selected; and one that is."""
    masked = named(b.log(b.neg(b.exp(x))), "masked")
    safe = b.select(b.lt(constant(x, 1.0), constant(x, 0.0)), masked, x)
    return named(b.sqrt(b.sub(b.mul(safe, constant(x, 0.0)), constant(x, 2.0))))


def of_loop(x: Value, w: Weights) -> Value:
    row = TensorType(f32, (6,))
    c, r = Value(row, name="c"), Value(row, name="r")
    less = b.sub(c, b.full(row, 1.0))
    after = named(b.sqrt(less))
    start = b.full(row, 6.0)  # sqrt 5, sqrt 1.24, sqrt 0.11, sqrt -0.66
    last, every = b.scan(Graph("", [c, r], [after, b.mul(after, r)]), [start], [x], [], length=4)
    last.node.results[0].name = "loop"  # type: ignore[union-attr]
    return b.add(every, b.broadcast_in_dim(last, (4, 6), (1,)))


def of_reverse_loop(x: Value, w: Weights) -> Value:
    row = TensorType(f32, (6,))
    c, r = Value(row, name="c"), Value(row, name="r")
    after = named(b.sqrt(b.sub(c, b.full(row, 1.0))))
    start = b.full(row, 6.0)
    (last, every) = b.scan(
        Graph("", [c, r], [after, b.mul(after, r)]), [start], [x], [], length=4, reverse=True
    )
    last.node.results[0].name = "loop"  # type: ignore[union-attr]
    return every


def of_call(x: Value, w: Weights) -> Value:
    p = Value(x.type, name="p")
    (y,) = b.remat(Graph("", [p], [b.tanh(named(b.log(b.neg(b.exp(p)))))]), [x])
    return named(y, "call")


def of_group(x: Value, w: Weights) -> Value:
    p = Value(x.type, name="p")
    (y,) = b.fuse("exp+neg+log", Graph("", [p], [named(b.log(b.neg(b.exp(p))))]), [x])
    return named(y, "group")


def overflow(x: Value, w: Weights) -> Value:
    return named(b.exp(b.add(b.abs(x), constant(x, 1e3))))


def narrow(x: Value, w: Weights) -> Value:
    return b.cast(named(b.cast(b.add(b.abs(x), constant(x, 1e5)), f16)), f32)


@dataclass(frozen=True)
class Nan:
    """A piece with a NaN or infinity; the name and kind of its birth, and of what is behind it."""

    piece: Callable[[Value, Weights], Value]
    name: str = "%culprit"
    kind: str = "nan"
    behind: str = ""


NANS = (
    Nan(of_log),
    Nan(of_sqrt),
    Nan(of_division),
    Nan(of_infinities, behind="%source"),
    Nan(of_zero_times_infinity, behind="%source"),
    Nan(of_power),
    Nan(of_constant),
    Nan(of_weight, name="@w0"),
    Nan(beside_a_mask),
    Nan(of_loop, name="%loop[3]/%culprit"),
    Nan(of_reverse_loop, name="%loop[0]/%culprit"),
    Nan(of_call, name="%call/%culprit"),
    Nan(of_group, name="%group/%culprit"),
    Nan(overflow, kind="inf"),
    Nan(narrow, kind="inf"),
)


def test_fifteen_births_are_planted() -> None:
    assert len(NANS) >= 15


def around(piece: Callable[[Value, Weights], Value]) -> tuple[Program, list[Any]]:
    """tanh, the piece, neg; from f32[4,6]."""
    w = Weights()
    x = Value(TensorType(f32, (4, 6)), name="x")
    graph = Graph("main", [x], [b.neg(piece(b.tanh(x), w))])
    inputs = [np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)]
    return Program("p", [graph], Store(w.entries)), inputs


@pytest.mark.parametrize("nan", NANS, ids=lambda n: n.piece.__name__)
def test_the_node_where_a_nan_was_born_is_named(nan: Nan) -> None:
    program, inputs = around(nan.piece)
    found = birth_of_nan(program, inputs)
    assert found is not None
    assert (found.row.name, found.kind, found.reaches) == (nan.name, nan.kind, True), str(found)
    assert (found.behind.row.name if found.behind else "") == nan.behind
    assert not np.isfinite(found.row.array[found.index])


@pytest.mark.parametrize("nan", [NANS[0], NANS[3], NANS[9]], ids=lambda n: n.piece.__name__)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_births_are_found_on_other_backends_too(nan: Nan, backend: str) -> None:
    program, inputs = around(nan.piece)
    found = birth(tape(program, inputs, backend))
    assert found is not None and found.row.name == nan.name


def test_a_nan_that_is_given_is_named_as_such() -> None:
    program, inputs = around(lambda x, w: b.exp(x))
    inputs[0][2, 1] = np.nan
    found = birth_of_nan(program, inputs)
    assert str(found) == "nan given by input %x, element [2, 1]"


def test_an_infinity_that_becomes_nan_behind_other_nodes_is_traced_back() -> None:
    program, inputs = planted.network(overflow)
    found = birth_of_nan(program, inputs)
    assert found is not None and found.kind == "nan" and found.behind is not None
    assert found.behind.row.name == "%culprit"
    assert "\n  of inf born in exp %culprit at net.py:5, element [0, 0]" in str(found)


def test_a_nan_that_reaches_no_result_is_named_last() -> None:
    def piece(x: Value, w: Weights) -> Value:
        masked = named(b.log(b.neg(b.exp(x))))
        return b.select(b.lt(constant(x, 1.0), constant(x, 0.0)), masked, x)

    found = birth_of_nan(*around(piece))
    assert found is not None and found.row.name == "%culprit" and not found.reaches
    assert str(found).endswith("; it reaches no result")


def test_constants_that_are_infinite_are_meant() -> None:
    assert birth_of_nan(*around(lambda x, w: b.max(x, constant(x, -np.inf)))) is None
    assert birth_of_nan(*around(lambda x, w: b.min(x, constant(x, -np.inf)))) is None


# rows
def test_a_tape_has_every_value_by_name() -> None:
    program, inputs = around(of_loop)
    found = tape(program, inputs)
    assert np.array_equal(found["%x"], inputs[0])
    assert np.allclose(found["%loop[1]/%culprit"], np.sqrt(np.sqrt(np.float32(5)) - 1))
    assert np.array_equal(found["%loop[2]/%r"], np.tanh(inputs[0])[2])
    inner = [row.name for row in found if row.name.startswith("%loop[")]
    assert [name.partition("/")[0] for name in inner] == sorted(name.partition("/")[0] for name in inner)
    names = [row.name for row in found]
    assert names.index("%loop[3]/%culprit") < names.index("%loop")
    assert {row["name"] for row in found.to_json()["rows"]} == set(names)
    first = str(found).split("\n")[0]
    assert re.fullmatch(r"%x = input +: f32\[4,6\] +-\S+ \.\. \S+", first)


def test_reverse_loops_run_from_the_last_step() -> None:
    program, inputs = around(of_reverse_loop)
    steps = [row.steps[0] for row in tape(program, inputs) if row.name.endswith("/%culprit")]
    assert steps == [3, 2, 1, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tape_leaves_the_store_alone(backend: str) -> None:
    state = Entry("s", TensorType(f32, (2,)), "state", False, np.ones(2, np.float32))
    read = Value(state.type, entry="s")
    program = Program(
        "p", [Graph("main", [], [], [("s", named(b.add(read, read), "twice"))])], Store([state])
    )
    found = tape(program, [], backend)
    assert np.array_equal(found["%twice"], [2, 2])
    assert np.array_equal(state.data, [1, 1])


def loops_in_loops(x: Value, w: Weights) -> Value:
    cell = TensorType(f32, ())
    row = TensorType(f32, (6,))
    c, e = Value(cell, name="c"), Value(cell, name="e")
    inner = Graph("", [c, e], [named(b.add(c, b.sin(e)), "inner")])
    start, r = Value(cell, name="start"), Value(row, name="r")
    (total,) = b.scan(inner, [start], [r], [], length=6)
    total.name = "rows"
    outer = Graph("", [start, r], [total, b.tanh(total)])
    last, every = b.scan(outer, [b.constant(0.0, f32)], [x], [], length=4)
    last.node.results[0].name = "all"  # type: ignore[union-attr]
    return b.mul(x, b.broadcast_in_dim(every, (4, 6), (0,)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_loops_in_loops_have_a_row_for_every_step(backend: str) -> None:
    program, inputs = around(loops_in_loops)
    found = tape(program, inputs, backend)
    sums = np.cumsum(np.sin(np.tanh(inputs[0].astype(np.float64))).reshape(-1)).reshape(4, 6)
    for i, j in np.ndindex(4, 6):
        assert np.allclose(found[f"%all[{i}]/%rows[{j}]/%inner"], sums[i, j], atol=1e-5)


# two tapes
@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("piece", [planted.loop, planted.calls, planted.with_batch_norm, planted.two_inputs])
def test_right_backends_agree_at_every_node(piece: Any, backend: str) -> None:
    program, inputs = planted.network(piece)
    assert compare_tapes(tape(program, inputs), tape(program, inputs, backend)) is None


@dataclass(frozen=True)
class Kernel:
    """A kernel that is wrong: what is put where, and the piece that shows it."""

    name: str
    backend: str
    table: dict[str, Any]
    op: str
    wrong: Any
    piece: Callable[[Value, Weights], Value]


def unmoved(pull: Any, node: Any, index: Any, inside: Any, element: Any) -> Any:
    return element(node.operands[0], index, inside)


def product(x: Value, w: Weights) -> Value:
    y = named(b.reduce_prod(x, (1,)))
    return b.mul(x, b.broadcast_in_dim(y, (4, 6), (0,)))


ELEMENTWISE, ONNX = llvm_elementwise.ELEMENTWISE, onnx_table.EMITTERS
SIN = planted.unary(lambda x: b.exp(named(b.sin(b.mul(x, x)))))
COS = planted.unary(lambda x: b.exp(named(b.cos(x))))
CEIL = planted.unary(lambda x: b.exp(named(b.ceil(b.mul(x, x)))))
SELECT = planted.unary(lambda x: b.exp(named(b.select(b.gt(x, constant(x, 0.0)), x, b.mul(x, x)))))
REVERSE = planted.unary(lambda x: b.exp(named(b.reverse(x, (0,)))))
ERF = planted.unary(lambda x: b.exp(named(b.erf(x))))

KERNELS = (
    Kernel("cos for sin", "llvm", ELEMENTWISE, "sin", ELEMENTWISE["cos"], SIN),
    Kernel("cos by half a percent", "llvm", ELEMENTWISE, "cos",
           lambda op, xs: ELEMENTWISE["sin"](op, [xs[0] + llvm_elementwise.k.const(1.575, xs[0].dtype)]), COS),
    Kernel("floor for ceil", "llvm", ELEMENTWISE, "ceil", ELEMENTWISE["floor"], CEIL),
    Kernel("branches exchanged", "llvm", ELEMENTWISE, "select",
           lambda op, xs: llvm_elementwise.k.select(xs[0], xs[2], xs[1]), SELECT),
    Kernel("sums for products", "llvm", llvm_reduce.MONOIDS, "reduce_prod", "add", product),
    Kernel("nothing reversed", "llvm", llvm_moves.MOVES, "reverse", unmoved, REVERSE),
    Kernel("cos for sin", "onnx", ONNX, "sin", ONNX["cos"], SIN),
    Kernel("floor for ceil", "onnx", ONNX, "ceil", ONNX["floor"], CEIL),
    Kernel("sums for products", "onnx", onnx_contract.REDUCE, "reduce_prod", "ReduceSum", product),
    Kernel("tanh for erf", "onnx", ONNX, "erf", ONNX["tanh"], ERF),
)  # fmt: skip


@pytest.fixture(autouse=True)
def without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NERVURE_CACHE", "off")


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.backend}: {k.name}")
def test_a_wrong_kernel_is_named(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = planted.network(kernel.piece)
    monkeypatch.setitem(kernel.table, kernel.op, kernel.wrong)
    found = compare_tapes(tape(program, inputs), tape(program, inputs, kernel.backend))
    assert found is not None and found.row.name == "%culprit", str(found)
    assert f"{kernel.op} %culprit at net.py:5: element [" in str(found)
    assert found.to_json()["backends"] == ["reference", kernel.backend]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.backend}: {k.name}")
def test_bisect_finds_the_passes_right_and_the_kernel_wrong(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, inputs = planted.network(kernel.piece)
    assert bisect(program, None, inputs, backend=kernel.backend).kind == "agrees"
    monkeypatch.setitem(kernel.table, kernel.op, kernel.wrong)
    verdict = bisect(program, None, inputs, backend=kernel.backend)
    assert verdict.kind == "backend", str(verdict)
    assert kernel.op in verdict.kernel.split("+")
    assert "net.py:5" in str(verdict.lines)


def test_a_wrong_pass_is_seen_between_its_tapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def piece(x: Value, w: Weights) -> Value:
        return b.exp(named(planted.softmax_of_columns(x, w)))

    (plant,) = [p for p in planted.PLANTS if p.name == "softmax along the wrong axis"]
    program, inputs = planted.network(piece)
    passes = Pipeline.parse("canonicalize,cse,decompose,unroll,fuse")
    right = run_pipeline(program, passes).program
    before = tape(program, inputs)
    assert compare_tapes(before, tape(right, inputs)) is None
    plant.plant(monkeypatch)
    wrong = run_pipeline(program, passes).program
    found = compare_tapes(before, tape(wrong, inputs))
    assert found is not None and found.row.name == "%culprit", str(found)


def test_element_types_are_compared_by_what_one_op_may_lose() -> None:
    def piece(x: Value, w: Weights) -> Value:
        large = b.add(x, constant(x, 1e7))
        return b.mul(named(b.sub(large, constant(x, 1e7))), x)

    program, inputs = around(piece)
    narrow_, wide = tape(program, inputs), tape(promote_program(program), list(map(promoted_array, inputs)))
    found = compare_tapes(wide, narrow_)
    assert found is not None and found.row.name == "%culprit"
    program, inputs = around(lambda x, w: b.exp(x))
    narrow_, wide = tape(program, inputs), tape(promote_program(program), list(map(promoted_array, inputs)))
    assert compare_tapes(wide, narrow_) is None


SEEDS = [pytest.param(k, marks=() if k < 6 else pytest.mark.long) for k in range(120)]


@pytest.mark.parametrize("seed", SEEDS)
def test_tapes_of_random_programs_agree(seed: int) -> None:
    program, inputs = random_program(seed)
    expected = tape(program, inputs)
    for row, want in zip(expected.roots, reference(program, inputs), strict=True):
        assert row.array.tobytes() == want.tobytes()
    born = birth(expected)
    assert born is None or not born.reaches
    for backend in BACKENDS[1:]:
        try:
            found = tape(program, inputs, backend)
        except UnsupportedError:
            continue
        assert compare_tapes(expected, found) is None
        assert bisect(program, None, inputs, backend=backend).kind == "agrees"


def test_a_training_step_has_a_tape_on_every_backend() -> None:
    net = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 10))
    step = nv.training_step(net, nn.cross_entropy, optim.Adam(0.1), "f32[B,20]", "i64[B]")
    inputs = list(digits((20,), 4, 0))
    kept = {name: entry.data.copy() for name, entry in step.store.items()}
    expected = tape(step, inputs)
    for backend in BACKENDS[1:]:
        assert compare_tapes(expected, tape(step, inputs, backend)) is None
    assert all(np.array_equal(kept[name], entry.data) for name, entry in step.store.items())
