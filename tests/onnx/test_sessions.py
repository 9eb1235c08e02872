"""Executables: sessions that serve every batch, write updates back, follow the weights, and never change device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.backends.base import find_backend
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import BackendError, InputError, NervureError
from nervure.ir.graph import Graph, Value, make
from nervure.ir.interpret import evaluate_graph
from nervure.ir.ops.control import Scan
from nervure.ir.ops.rng import KEY, RngBits, RngNormal, RngSplit, RngUniform
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import Array, TensorType, f32
from nervure.passes.manager import Pipeline, run_pipeline

F32 = np.float32
B = symbol("B", 1, 64)


def compiled(program: Program, level: int = 0, **options: Any) -> Any:
    backend = find_backend("onnx")
    return backend.compile(run_pipeline(program, backend.pipeline(level)).program, **options)


def step_program() -> Program:
    """loss = mean of (x w - y)^2; the step moves w along its slope and counts, written out by hand."""
    rng = np.random.default_rng(0)
    store = Store(
        [
            Entry("w", TensorType(f32, (3, 2)), trainable=True, data=rng.standard_normal((3, 2)).astype(F32)),
            Entry("count", TensorType(f32), "state", data=F32(0)),
        ]
    )
    x, y = Value(TensorType(f32, (B, 3)), name="x"), Value(TensorType(f32, (B, 2)), name="y")
    w, count = (Value(store[n].type, entry=n, name=n) for n in store)
    error = b.sub(b.dot_general(x, w, (1,), (0,)), y)
    loss = b.reduce_sum(b.mul(error, error), (0, 1))
    slope = b.dot_general(x, error, (0,), (0,))
    moved = b.sub(w, b.mul(slope, b.full_like(slope, 0.01)))
    counted = b.add(count, b.full_like(count, 1))
    return Program("step", [Graph("step", [x, y], [loss], [("w", moved), ("count", counted)])], store)


def batches(count: int) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(1)
    return [
        (rng.standard_normal((4, 3)).astype(F32), rng.standard_normal((4, 2)).astype(F32))
        for _ in range(count)
    ]


def test_a_step_written_by_hand_updates_its_store_as_the_reference_does():
    program = step_program()
    step = compiled(program)
    for k, (x, y) in enumerate(batches(5)):
        reads = {name: entry.data.copy() for name, entry in program.store.items()}
        (loss,), updates = evaluate_graph(program.main, (x, y), reads)
        np.testing.assert_allclose(step(x, y), loss, rtol=1e-5)
        np.testing.assert_allclose(program.store["w"].data, updates["w"], rtol=1e-5, atol=1e-6)
        assert program.store["count"].data == k + 1


def test_an_exported_step_trains_on_a_stock_onnxruntime(tmp_path: Path):
    program = step_program()
    nv.export_onnx(program, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x", "y", "w", "count"]
    assert [o.name for o in session.get_outputs()][1:] == ["w.next", "count.next"]
    state = {name: entry.data.copy() for name, entry in program.store.items()}
    step, found = compiled(program), []
    for x, y in batches(20):
        loss, *after = session.run(None, {"x": x, "y": y, **state})
        state = dict(zip(state, after, strict=True))
        np.testing.assert_allclose(step(x, y), loss, rtol=1e-5)
        found.append(float(np.asarray(loss)))
    assert state["count"] == 20
    np.testing.assert_allclose(state["w"], program.store["w"].data, rtol=1e-5)


class Net(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.fc = nn.Linear(2 * 4 * 4, 3)

    def __call__(self, x: Any) -> Any:
        return self.fc(nn.flatten(nn.relu(self.conv(x))))


def test_a_traced_step_exports_and_trains_as_the_compiled_one_does(tmp_path: Path):
    nv.seed(0)
    program = nv.training_step(
        Net(), nn.cross_entropy, optim.SGD(lr=0.1, momentum=0.9), "f32[B,1,8,8]", "i64[B]"
    )
    nv.export_onnx(program, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx", providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    updated = [o.name.removesuffix(".next") for o in session.get_outputs()[1:]]
    assert set(updated) <= set(names[2:])
    state = {n: program.store[n].data.copy() for n in names[2:]}
    step = nv.compile(program, backend="onnx")
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((8, 1, 8, 8)).astype(F32), rng.integers(0, 3, 8)
    losses: list[float] = []
    for _ in range(10):
        loss, *after = session.run(None, {names[0]: x, names[1]: target, **state})
        state.update(zip(updated, after, strict=True))
        np.testing.assert_allclose(step(x, target), loss, rtol=1e-4)
        losses.append(float(np.asarray(loss)))
    assert losses[-1] < losses[0]


def test_one_session_serves_every_batch():
    nv.seed(0)
    model = Net()
    run = nv.compile(model, "f32[B,1,8,8]", backend="onnx")
    reference = nv.compile(model, "f32[B,1,8,8]", backend="reference")
    session = run._session
    for batch in (1, 7, 64):
        x = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(F32)
        np.testing.assert_allclose(run(x), reference(x), rtol=1e-4, atol=1e-5)
    assert run._session is session


def test_new_weights_need_no_new_session():
    nv.seed(0)
    model = Net()
    run = nv.compile(model, "f32[B,1,8,8]", backend="onnx")
    x = np.ones((2, 1, 8, 8), F32)
    session, before = run._session, run(x)
    model.load_state_dict({name: array * 2 for name, array in model.state_dict().items()})
    reference = nv.compile(model, "f32[B,1,8,8]", backend="reference")
    after = run(x)
    assert run._session is session
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, reference(x), rtol=1e-4, atol=1e-5)


def prepared_program() -> Program:
    """y = x (w w), with w w computed by `prepare`."""
    store = Store([Entry("w", TensorType(f32, (3, 3)), data=np.arange(9).reshape(3, 3).astype(F32) / 9)])
    x, w = Value(TensorType(f32, (B, 3)), name="x"), Value(store["w"].type, entry="w", name="w")
    y = b.dot_general(x, b.dot_general(w, w, (1,), (0,)), (1,), (0,))
    program = Program("squared", [Graph("forward", [x], [y])], store)
    ready = run_pipeline(program, Pipeline.parse("split-prepare")).program
    assert ready.prepare is not None
    return ready


def test_what_is_prepared_from_weights_follows_them():
    program = prepared_program()
    run = compiled(program)
    x = np.eye(3, dtype=F32)
    w = program.store["w"].data.copy()
    np.testing.assert_allclose(run(x), w @ w, rtol=1e-5)
    program.store["w"].assign(w + 1)
    np.testing.assert_allclose(run(x), (w + 1) @ (w + 1), rtol=1e-5)


def test_an_export_holds_what_is_prepared(tmp_path: Path):
    program = prepared_program()
    nv.export_onnx(program, tmp_path / "p.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x"]
    w = program.store["w"].data
    np.testing.assert_allclose(session.run(None, {"x": np.eye(3, dtype=F32)})[0], w @ w, rtol=1e-5)


def test_an_exported_step_prepares_from_the_weights_it_is_given(tmp_path: Path):
    ready = prepared_program()
    count = Entry("count", TensorType(f32), "state", data=F32(0))
    read = Value(count.type, entry="count", name="count")
    main = ready.main.replace(updates=[("count", b.add(read, b.full_like(read, 1)))])
    program = Program("step", [ready.graphs["prepare"], main], ready.store.with_entries([count]))
    nv.export_onnx(program, tmp_path / "p.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx", providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == {"x", "w", "count"}
    w = np.random.default_rng(0).standard_normal((3, 3)).astype(F32)
    y, after = session.run(None, {"x": np.eye(3, dtype=F32), "w": w, "count": np.array(4, F32)})
    np.testing.assert_allclose(y, w @ w, rtol=1e-5, atol=1e-6)
    assert after == 5


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [5, symbol("T", 1, 32)], ids=["constant", "symbolic"])
def test_a_scan_runs_as_a_loop_over_any_length(length: Any, reverse: bool):
    c, x, k = (Value(TensorType(f32, (2,)), name=n) for n in ("c", "x", "k"))
    after = b.add(b.mul(c, k), x)
    body = Graph("body", [c, x, k], [after, b.mul(after, after)])
    first = Value(TensorType(f32, (2,)), name="first")
    steps = Value(TensorType(f32, (length, 2)), name="steps")
    factor = Value(TensorType(f32, (2,)), name="factor")
    results = make(Scan(length, 1, 1, reverse), first, steps, factor, regions=[body])
    graph = Graph("forward", [first, steps, factor], results)
    run = compiled(Program("loop", [graph]))
    assert [n.op_type for n in run.model.graph.node].count("Scan") == 1
    rng = np.random.default_rng(0)
    for size in (5,) if isinstance(length, int) else (1, 5, 32):
        arrays = [rng.standard_normal(s).astype(F32) for s in ((2,), (size, 2), (2,))]
        expected, _ = evaluate_graph(graph, arrays)
        for found, want in zip(run(*arrays), expected, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_random_bits_and_uniforms_are_equal_to_the_bit_and_normals_are_near():
    key = Value(KEY, name="key")
    ops = (RngBits((B, 3)), RngUniform((B, 3)), RngSplit(3), RngNormal((B, 3)))
    size = Value(TensorType(f32, (B,)), name="size")
    graph = Graph("forward", [key, size], [make(op, key)[0] for op in ops])
    run = compiled(Program("draws", [graph]))
    assert run.model.opset_import[0].version == 18
    for seed, batch in ((0, 1), (7, 5), (2**32 - 1, 64)):
        inputs = [np.array([seed, 12345], np.uint32), np.zeros(batch, F32)]
        expected, _ = evaluate_graph(graph, inputs)
        found = run(*inputs)
        for exact in range(3):
            np.testing.assert_array_equal(found[exact], expected[exact])
        np.testing.assert_allclose(found[3], expected[3], rtol=1e-4, atol=1e-5)


def test_cuda_is_an_error_where_onnxruntime_has_it_not():
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        run = compiled(step_program(), device="cuda")
        assert run._session.get_providers()[0] == "CUDAExecutionProvider"
        return
    with pytest.raises(BackendError, match="CUDAExecutionProvider") as caught:
        compiled(step_program(), device="cuda")
    assert "onnxruntime-gpu" in str(caught.value)


def test_a_provider_that_onnxruntime_drops_in_silence_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda m, o, providers: real(m, o, providers=providers[-1:])
    )
    with pytest.raises(BackendError, match="CUDAExecutionProvider"):
        compiled(step_program(), device="cuda")


def test_unknown_devices_and_options_are_errors():
    with pytest.raises(NervureError, match="tpu"):
        compiled(step_program(), device="tpu")
    with pytest.raises(BackendError, match="speed"):
        compiled(step_program(), speed=9)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_results_are_the_same_for_any_number_of_threads(threads: int):
    x, y = batches(1)[0]
    program = step_program()
    first = compiled(step_program(), threads=1)(x, y)
    run = compiled(program, threads=threads)
    if threads:
        assert run._session.get_session_options().intra_op_num_threads == threads
    assert run(x, y) == first


def test_results_go_into_out_and_misfits_are_refused():
    program = step_program()
    run = compiled(program)
    x, y = batches(1)[0]
    out = np.empty((), F32)
    assert run(x, y, out=out) is out
    assert out > 0
    before = program.store["w"].data.copy()
    with pytest.raises(InputError):
        run(x, y.astype(np.float64))
    np.testing.assert_array_equal(program.store["w"].data, before)


def test_what_onnxruntime_says_while_running_is_one_error(monkeypatch: pytest.MonkeyPatch):
    run = compiled(step_program())

    class Broken:
        def run(self, *_: Any) -> Any:
            raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(run, "_session", Broken())
    with pytest.raises(BackendError, match=r"onnxruntime failed in step: out of memory$"):
        run(*batches(1)[0])
    assert run.store["count"].data == 0
