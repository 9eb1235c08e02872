"""Programs that passes are tried on: symbolic dims, two results, regions in regions, loops, weights, updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nervure.backends.base import find_backend
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.graph import Graph, Value, make, make_one
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.nn import AvgPool, BatchNorm, BatchNormTrain, CrossEntropy, Dropout, Linear, Relu, Softmax
from nervure.ir.ops.rng import RngSplit
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32, i64, u32

REFERENCE = find_backend("reference")
"""Importing the backends is what lets `legalize{backend=reference}` find this one."""

B = symbol("B", 1, 64)
Sample = tuple[Program, list[np.ndarray]]


class Weights:
    """Entries of a store under construction, with their reads."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.entries: list[Entry] = []

    def __call__(self, name: str, *shape: int, kind: Any = "param", positive: bool = False) -> Value:
        data = self.rng.standard_normal(shape).astype(np.float32) * np.float32(0.3)
        data = np.abs(data) + np.float32(0.5) if positive else data
        entry = Entry(name, TensorType(f32, shape), kind, kind == "param", data)
        self.entries.append(entry)
        return Value(entry.type, entry=name)


def bias(y: Value, c: Value, axis: int = 1) -> Value:
    return b.add(y, b.broadcast_in_dim(c, y.type.shape, (axis,)))


def cnn() -> Sample:
    """conv + bias + batch norm + relu + max pool, conv + avg pool, a residual, linear, softmax; a symbolic batch."""
    w = Weights(1)
    x = Value(TensorType(f32, (B, 1, 8, 8)), name="x")
    with origins_of((Origin("cnn.py", 3),)):
        y = bias(b.conv(x, w("c1.weight", 4, 1, 3, 3), (1, 1), ((1, 1), (1, 1))), w("c1.bias", 4))
    with origins_of((Origin("cnn.py", 4),)):
        stats = w("bn.weight", 4), w("bn.bias", 4), w("bn.mean", 4, kind="state")
        y = make_one(BatchNorm(), y, *stats, w("bn.var", 4, kind="state", positive=True))
    y = make_one(Relu(), y)
    y, _ = b.max_pool(y, (2, 2), (2, 2), ((0, 0), (0, 0)))
    z = bias(b.conv(y, w("c2.weight", 4, 4, 3, 3), (1, 1), ((1, 1), (1, 1))), w("c2.bias", 4))
    zero = b.full_like(z, 0)
    s = b.add(z, y)
    z = b.select(b.lt(s, zero), zero, s)
    z = make_one(AvgPool((2, 2), (2, 2), ((0, 0), (0, 0))), z)
    z = b.reshape(z, (B, 16))
    z = make_one(Linear(), z, w("fc.weight", 10, 16), w("fc.bias", 10))
    out = make_one(Softmax(1), z, name="shares")
    program = Program("cnn", [Graph("forward", [x], [out])], Store(w.entries))
    return program, [np.random.default_rng(2).standard_normal((3, 1, 8, 8)).astype(np.float32)]


def step() -> Sample:
    """A training step written by hand: two results, indices used, updates, rng, values used twice."""
    w = Weights(3)
    key = Entry("key", TensorType(u32, (2,)), "state", False, np.array([1, 2], np.uint32))
    x, labels = (
        Value(TensorType(f32, (B, 2, 4, 4)), name="x"),
        Value(TensorType(i64, (B,)), name="labels"),
    )
    y, mean, var = make(BatchNormTrain(), x, w("g", 2), w("b", 2))
    running = w("mean", 2, kind="state")
    rate = b.full_like(mean, 0.1)
    after = b.add(b.mul(running, b.sub(b.full_like(mean, 1.0), rate)), b.mul(mean, rate))
    pooled, index = b.max_pool(y, (2, 2), (2, 2), ((0, 0), (0, 0)))
    keys = make_one(RngSplit(2), Value(key.type, entry="key"))
    dropped = make_one(Dropout(0.25), pooled, b.reshape(b.slice_(keys, (0, 0), (1, 2)), (2,)))
    weight = w("w", 3, 8)
    logits = make_one(Linear(), b.reshape(dropped, (B, 8)), weight)
    loss = make_one(CrossEntropy(), logits, labels, name="loss")
    places = b.reshape(b.mul(index, b.full_like(index, 1)), (B, 8))
    decayed = b.sub(weight, b.mul(weight, b.full_like(weight, 0.01)))
    updates = [("mean", after), ("w", decayed), ("key", b.reshape(b.slice_(keys, (1, 0), (2, 2)), (2,)))]
    graph = Graph("step", [x, labels], [loss, places, var], updates)
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal((5, 2, 4, 4)).astype(np.float32), rng.integers(0, 3, 5)]
    return Program("step", [graph], Store([*w.entries, key])), arrays


def loops() -> Sample:
    """A scan whose body holds a scan and a max pool; a reverse scan; a fused region within a body."""
    inner_c, inner_x = Value(TensorType(f32, (2,)), name="c"), Value(TensorType(f32, (2,)), name="x")
    inner_sum = b.add(b.mul(inner_c, b.full_like(inner_c, 0.5)), inner_x)
    inner = Graph("", [inner_c, inner_x], [inner_sum])
    c, x, k = (
        Value(TensorType(f32, (2,)), name="h"),
        Value(TensorType(f32, (3, 2)), name="x"),
        Value(TensorType(f32, (2,)), name="k"),
    )
    (h,) = b.scan(inner, [c], [x], [], 3)
    image = b.reshape(b.concat([b.mul(h, k), b.mul(h, k)], 0), (1, 1, 2, 2))
    best, place = b.max_pool(image, (2, 2), (1, 1), ((0, 0), (0, 0)))
    v = Value(TensorType(f32, (2,)), name="v")
    (squashed,) = b.fuse("tanh", Graph("", [v], [b.tanh(b.tanh(v))]), [h])
    body = Graph("", [c, x, k], [squashed, b.reshape(best, (1,)), b.reshape(place, (1,)), b.neg(b.neg(h))])
    h0, xs, kk = (
        Value(TensorType(f32, (2,)), name="h0"),
        Value(TensorType(f32, (4, 3, 2)), name="xs"),
        Value(TensorType(f32, (2,)), name="k"),
    )
    last, best_s, place_s, _ = b.scan(body, [h0], [xs], [kk], 4)
    back, *_ = b.scan(body, [h0], [xs], [kk], 4, reverse=True)
    same, *_ = b.scan(body, [h0], [xs], [kk], 4)
    graph = Graph("main", [h0, xs, kk], [b.add(last, back), best_s, place_s, same])
    rng = np.random.default_rng(5)
    return Program("loops", [graph]), [
        rng.standard_normal(v.type.static_shape()).astype(np.float32) for v in graph.inputs
    ]


def movement() -> Sample:
    """Permutes and reshapes between elementwise ops, constants, a product of transposed operands."""
    x = Value(TensorType(f32, (B, 3, 4)), name="x")
    y = Value(TensorType(f32, (B, 3, 4)), name="y")
    w = Value(TensorType(f32, (3, 5)), name="w")
    px, py = b.permute(x, (0, 2, 1)), b.permute(y, (0, 2, 1))
    t = b.tanh(b.add(px, py))
    t = b.mul(t, b.broadcast_in_dim(b.constant(np.arange(3, dtype=np.float32)), t.type.shape, (2,)))
    t = b.permute(b.add(t, b.full_like(t, 1.5)), (0, 2, 1))
    d = b.dot_general(b.permute(t, (0, 2, 1)), w, (2,), (0,))
    r = b.reshape(b.sigmoid(b.reshape(d, (B, 20))), (B, 4, 5))
    total = b.reduce_sum(b.permute(r, (2, 0, 1)), (2,))
    table = b.mul(b.constant(np.ones((2, 2), np.float32)), b.constant(np.full((2, 2), 3, np.float32)))
    graph = Graph("main", [x, y, w], [r, total, b.reduce_max(table, (0,))])
    rng = np.random.default_rng(6)
    shapes = ((3, 3, 4), (3, 3, 4), (3, 5))
    return Program("movement", [graph]), [rng.standard_normal(s).astype(np.float32) for s in shapes]


SAMPLES: dict[str, Callable[[], Sample]] = {"cnn": cnn, "step": step, "loops": loops, "movement": movement}


@pytest.fixture(params=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> Sample:
    """Each of the programs, with inputs."""
    return SAMPLES[request.param]()


@pytest.fixture
def samples() -> dict[str, Callable[[], Sample]]:
    """The programs by name."""
    return SAMPLES


def run_all(program: Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs and then the content of every param and state after one step; the store is put back."""
    kept = {n: e.data.copy() for n, e in program.store.items() if e.kind != "derived" and e.has_data}
    outputs = evaluate_program(program, inputs, write=True)
    state = [program.store[n].data.copy() for n in kept]
    for n, data in kept.items():
        program.store[n].assign(data)
    return [*outputs, *state]


@pytest.fixture
def run() -> Callable[[Program, Sequence[np.ndarray]], list[np.ndarray]]:
    return run_all
