"""The exported file: what survives in it, that it is valid, small, and the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.onnx import onnx_model
from nervure.ir import build as b
from nervure.ir.dims import symbol
from nervure.ir.errors import InputError, UnsupportedError
from nervure.ir.graph import Graph, Value
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, bf16, f32, i32, i64

F32 = np.float32
B = symbol("B", 1, 64)

MLP = """nervure 1
program mlp {
  sym B in 1..64
  graph forward(%image: f32[B,4], %w: f32[3,4], %bias: f32[3]) -> f32[B,3] {
    %hidden = linear %image, %w, %bias : f32[B,3] @ "mlp.py":12
    %scores = softmax{axis=1} %hidden : f32[B,3] @ "mlp.py":13
    return %scores
  }
}
"""


def value(name: str, dtype: Any, *shape: Any) -> Value:
    return Value(TensorType(dtype, shape), name=name)


def model_of(inputs: list[Value], *outputs: Value) -> Any:
    return onnx_model(Program("case", [Graph("forward", inputs, outputs)]))


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


class Net(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 4 * 4, 10)

    def __call__(self, x: Any) -> Any:
        return self.fc(nn.flatten(nn.max_pool2d(nn.relu(self.norm(self.conv(x))), 2)))


def exported(path: Path, **options: Any) -> Any:
    nv.seed(0)
    model = Net()
    model.eval()
    nv.export_onnx(nv.trace(model, "f32[B,1,8,8]"), path, **options)
    return onnx.load(path, load_external_data=False)


def test_names_dims_ranges_and_origins_survive():
    model = onnx_model(nv.parse(MLP))
    assert model.graph.name == "mlp"
    assert [i.name for i in model.graph.input] == ["image", "w", "bias"]
    image = model.graph.input[0].type.tensor_type.shape.dim
    assert (image[0].dim_param, image[1].dim_value) == ("B", 4)
    scores = model.graph.output[0].type.tensor_type.shape.dim
    assert (scores[0].dim_param, scores[1].dim_value) == ("B", 3)
    assert {p.key: p.value for p in model.metadata_props} == {"nervure.symbols": "B in 1..64"}
    gemm, softmax = model.graph.node[:2]
    assert (gemm.op_type, gemm.output[0], gemm.doc_string) == ("Gemm", "hidden", "mlp.py:12")
    assert (softmax.op_type, softmax.input[0], softmax.doc_string) == ("Softmax", "hidden", "mlp.py:13")


def test_a_network_is_written_in_the_nodes_that_its_users_expect(tmp_path: Path):
    model = exported(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {i.domain for i in model.opset_import} == {""}
    assert model.opset_import[0].version == 17
    for node in ("Conv", "BatchNormalization", "Relu", "MaxPool", "Gemm"):
        assert kinds(model).count(node) == 1
    assert "Expand" not in kinds(model)
    assert [i.name for i in model.graph.input] == ["x"]
    assert "conv.weight" in {t.name for t in model.graph.initializer}


def test_an_export_runs_elsewhere_as_here(tmp_path: Path):
    exported(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    nv.seed(0)
    model = Net()
    model.eval()
    reference = nv.compile(model, "f32[B,1,8,8]", backend="reference")
    for batch in (1, 7, 64):
        x = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(F32)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], reference(x), rtol=1e-4, atol=1e-5)


def test_large_weights_go_to_a_file_beside_the_model(tmp_path: Path):
    whole, split = tmp_path / "whole.onnx", tmp_path / "split.onnx"
    exported(whole)
    model = exported(split, external_above=2048)
    side = tmp_path / "split.onnx.data"
    outside = [t for t in model.graph.initializer if t.data_location == t.EXTERNAL]
    assert [t.name for t in outside] == ["fc.weight"]
    assert {e.key: e.value for e in outside[0].external_data} == {
        "location": side.name,
        "offset": "0",
        "length": "2560",
    }
    assert side.stat().st_size == 4096
    assert split.stat().st_size < whole.stat().st_size - 2000
    onnx.checker.check_model(str(split), full_check=True)
    x = np.ones((3, 1, 8, 8), F32)
    found = [
        onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for p in (whole, split)
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_several_weights_outside_stand_at_pages_of_their_own(tmp_path: Path):
    rng = np.random.default_rng(0)
    data = {name: rng.standard_normal((30, 40)).astype(F32) for name in ("first", "second")}
    store = Store([Entry(name, TensorType(f32, (30, 40)), data=array) for name, array in data.items()])
    reads = [Value(store[n].type, entry=n, name=n) for n in store]
    x = value("x", f32, 30, 40)
    program = Program("sum", [Graph("forward", [x], [b.add(x, b.sub(*reads))])], store)
    nv.export_onnx(program, tmp_path / "sum.onnx", external_above=0)
    session = onnxruntime.InferenceSession(tmp_path / "sum.onnx", providers=["CPUExecutionProvider"])
    zeros = np.zeros((30, 40), F32)
    np.testing.assert_array_equal(session.run(None, {"x": zeros})[0], data["first"] - data["second"])
    assert (tmp_path / "sum.onnx.data").stat().st_size == 4 * 4096


SCRIPT = """
import sys, nervure as nv
from nervure import nn, optim
class Net(nn.Module):
    def __init__(self):
        self.conv, self.fc = nn.Conv2d(1, 2, 3, stride=2), nn.Linear(18, 3)
    def __call__(self, x):
        return self.fc(nn.dropout(nn.flatten(nn.relu(self.conv(x))), 0.5))
nv.seed(0)
step = nv.training_step(Net(), nn.cross_entropy, optim.Adam(lr=0.01), "f32[B,1,8,8]", "i64[B]")
nv.export_onnx(step, sys.argv[1])
"""


def test_the_bytes_are_the_same_for_any_hash_seed(tmp_path: Path):
    root = Path(__file__).parents[2]
    found: list[bytes] = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.onnx"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env=environment, cwd=tmp_path)
        found.append(path.read_bytes())
    assert len(found[0]) > 1000
    assert found[0] == found[1]


def test_the_smallest_opset_that_serves_is_taken():
    x, y = value("x", i32, 3), value("y", i32, 3)
    plain = model_of([x, y], b.add(x, y))
    bits = model_of([x, y], b.xor(x, y))
    assert (plain.opset_import[0].version, plain.ir_version) == (17, 8)
    assert (bits.opset_import[0].version, bits.ir_version) == (18, 8)


@pytest.mark.parametrize("opset", range(17, 22))
def test_every_opset_of_the_range_gives_a_model_that_runs(opset: int):
    x = value("x", f32, B, 4)
    y = b.div(b.exp(b.sub(x, b.expand(b.reduce_max(x, (1,)), x.type.shape, (1,)))), b.full_like(x, 2))
    graph = Graph("forward", [x], [b.reduce_sum(y, (1,)), b.reduce_prod(y, (1,))])
    model = onnx_model(Program("case", [graph]), opset=opset)
    assert model.opset_import[0].version == opset
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    a = np.array([[1, 2, 3, 4]], F32)
    want = np.exp(a - 4) / 2
    total, product = session.run(None, {"x": a})
    np.testing.assert_allclose(total, want.sum(1), rtol=1e-6)
    np.testing.assert_allclose(product, want.prod(1), rtol=1e-6)


def test_an_opset_that_is_too_low_or_unknown_is_an_error(tmp_path: Path):
    x, y = value("x", i32, 3), value("y", i32, 3)
    program = Program("case", [Graph("forward", [x, y], [b.xor(x, y)])])
    with pytest.raises(InputError, match="needs opset 18, 17 was asked for"):
        nv.export_onnx(program, tmp_path / "m.onnx", opset=17)
    with pytest.raises(InputError, match=r"opset 99 is not within 17\.\.21"):
        nv.export_onnx(program, tmp_path / "m.onnx", opset=99)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_named_with_reason_and_line(tmp_path: Path):
    text = """nervure 1
program p {
  graph forward(%x: bf16[3]) -> bf16[3] {
    %y = exp %x : bf16[3] @ "net.py":7
    return %y
  }
}
"""
    with pytest.raises(UnsupportedError) as caught:
        nv.export_onnx(nv.parse(text), tmp_path / "m.onnx")
    assert "bf16" in str(caught.value) and "net.py:7" in str(caught.value)
    assert bf16.name in caught.value.details[0]


def test_a_value_that_is_only_passed_through_is_refused_too(tmp_path: Path):
    x = value("x", bf16, 3)
    with pytest.raises(UnsupportedError) as caught:
        nv.compile(Program("case", [Graph("forward", [x], [x])]), backend="onnx")
    assert "x: bf16[3]" in caught.value.details[0]


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="cannot write"):
        nv.export_onnx(nv.parse(MLP), tmp_path / "missing" / "m.onnx")


def test_inputs_entries_and_results_of_one_name_are_told_apart():
    store = Store([Entry("x", TensorType(f32, (3,)), data=np.arange(3, dtype=F32))])
    x, read = value("x", f32, 3), Value(store["x"].type, entry="x", name="x")
    y = b.add(x, read)
    y.name = "x"
    program = Program("clash", [Graph("forward", [x], [y, x, y])], store)
    model = onnx_model(program)
    names = [n for node in model.graph.node for n in node.output] + [i.name for i in model.graph.input]
    assert len(names) == len(set(names))
    for backend in ("onnx", "reference"):
        found = nv.compile(program, backend=backend)(np.ones(3, F32))
        assert [r.tolist() for r in found] == [[1, 2, 3], [1, 1, 1], [1, 2, 3]]


def test_a_broadcast_is_absorbed_by_an_elementwise_consumer_of_full_shape():
    x, bias = value("x", f32, B, 3, 4), value("bias", f32, 3)
    spread = b.broadcast_in_dim(bias, x.type.shape, (1,))
    assert kinds(model_of([x, bias], b.add(x, spread)))[:-1] == ["Unsqueeze", "Add"]
    assert kinds(model_of([x, bias], b.max(spread, spread))).count("Expand") == 1
    assert "Expand" in kinds(model_of([x, bias], b.reduce_sum(spread, (1,))))


def test_indices_are_clamped_only_where_they_may_lie_outside():
    x, places = value("x", f32, 5), value("places", i64, 3)
    assert "Min" in kinds(model_of([x, places], b.gather(x, places, 0)))
    inside = b.constant(np.array([0, 4, 2]))
    assert "Min" not in kinds(model_of([x], b.gather(x, inside, 0)))
    beyond = b.constant(np.array([0, 5, 2]))
    assert "Min" in kinds(model_of([x], b.gather(x, beyond, 0)))
    assert "Min" not in kinds(model_of([x], b.gather(x, b.reverse(b.iota(i64, (5,), 0), (0,)), 0)))
    assert "Min" in kinds(model_of([x], b.gather(x, b.iota(i64, (6,), 0), 0)))
    rows = value("rows", f32, B, 5)
    assert "Min" not in kinds(model_of([x, rows], b.gather(x, b.argmax(rows, 1), 0)))
    wide = value("wide", f32, B, 6)
    assert "Min" in kinds(model_of([x, wide], b.gather(x, b.argmax(wide, 1), 0)))


def test_the_values_of_a_max_pool_are_no_safe_indices():
    x, table = value("x", i32, 1, 1, 4), value("table", f32, 3)
    values, _ = b.max_pool(x, (2,), (2,), [(0, 0)])
    program = Program("case", [Graph("forward", [x, table], [b.gather(table, values, 0)])])
    found = nv.compile(program, backend="onnx")(
        np.array([[[1, 9, -5, -4]]], np.int32), np.arange(3, dtype=F32)
    )
    assert found.ravel().tolist() == [2, 0]


def test_twenty_thousand_nodes_in_a_row_are_written_in_seconds():
    x = value("x", f32, 3)
    y = x
    for _ in range(20_000):
        y = b.add(y, x)
    start = time.process_time()
    model = model_of([x], y)
    assert len(model.graph.node) == 20_001
    assert time.process_time() - start < 10
