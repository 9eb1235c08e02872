"""Recurrent composites against a float64 oracle written from ONNX's text, on every backend; and how they are exported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the shared helpers stand one folder up

from onnx_recurrent import FUNCTIONS, oracle

import nervure as nv
from nervure import nn
from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.ops.activation import ACTIVATIONS
from nervure.ir.program import Program
from nervure.ir.types import TensorType, f32, f64, i32

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
USUAL = {"rnn": ("tanh",), "lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh")}
RUNS = [("reference", "f64", 1e-12), ("llvm", "f64", 1e-12), ("llvm", "f32", 1e-5), ("onnx", "f32", 1e-5)]
STEPS, BATCH, IN, H = 6, 4, 3, 5


def case(kind: str, seed: int) -> tuple[dict[str, Any], dict[str, Any], list[tuple[str, float, float]]]:
    """Operands by name, attributes, and what the activations are with their numbers."""
    rng = np.random.default_rng([seed, GATES[kind]])
    direction = ("forward", "reverse", "bidirectional")[seed % 3]
    count, gates = 1 + (seed % 3 == 2), GATES[kind]

    def draw(*shape: int) -> Any:
        return rng.normal(scale=0.3, size=shape)

    operands = {"x": draw(STEPS, BATCH, IN), "w": draw(count, gates * H, IN), "r": draw(count, gates * H, H)}
    if rng.random() < 0.7:
        operands["bias"] = draw(count, 2 * gates * H)
    if rng.random() < 0.7:  # ragged, with an empty and a full one
        operands["lens"] = rng.permutation([0, 2, STEPS, 5]).astype(np.int32)
    if rng.random() < 0.6:
        operands["h0"] = draw(count, BATCH, H)
    if kind == "lstm" and rng.random() < 0.6:
        operands["c0"] = draw(count, BATCH, H)
    if kind == "lstm" and rng.random() < 0.6:
        operands["peepholes"] = draw(count, 3 * H)
    options: dict[str, Any] = {"direction": direction}
    if rng.random() < 0.5:
        options["clip"] = 0.4
    if kind == "gru":
        options["linear_before_reset"] = bool(rng.random() < 0.5)
    if kind == "lstm":
        options["input_forget"] = bool(rng.random() < 0.3)
    names = USUAL[kind] * count
    numbers = [ACTIVATIONS[n] for n in names]
    if rng.random() < 0.6:
        names = tuple(rng.choice([*FUNCTIONS], len(names)))
        numbers = [
            tuple(None if d is None else 0.25 + 0.1 * k for d in ACTIVATIONS[n]) for k, n in enumerate(names)
        ]
        options["activations"] = tuple(map(str, names))
        options["alphas"] = tuple(a or 0.0 for a, _ in numbers)
        options["betas"] = tuple(beta or 0.0 for _, beta in numbers)
    functions = [(str(n), a or 0.0, beta or 0.0) for n, (a, beta) in zip(names, numbers, strict=True)]
    return operands, options, functions


def program_of(kind: str, operands: dict[str, Any], options: dict[str, Any], dtype: str) -> Program:
    types = {
        n: TensorType(i32 if n == "lens" else {"f64": f64, "f32": f32}[dtype], a.shape)
        for n, a in operands.items()
    }
    values = {n: Value(t, name=n) for n, t in types.items()}
    return Program(
        "case", [Graph("forward", list(values.values()), list(getattr(b, kind)(**values, **options)))]
    )


@pytest.mark.parametrize(("backend", "dtype", "tolerance"), RUNS)
@pytest.mark.parametrize("kind", [*GATES])
def test_the_composite_means_what_onnx_says(kind: str, backend: str, dtype: str, tolerance: float) -> None:
    seen: set[str] = set()
    for seed in range(24 if backend == "reference" else 9):
        operands, options, functions = case(kind, seed)
        kept = {"linear_before_reset", "input_forget", "clip", "direction"}
        wanted = oracle(
            kind, **operands, activations=functions, **{k: v for k, v in options.items() if k in kept}
        )
        program = program_of(kind, operands, options, dtype)
        given = [a if n == "lens" else a.astype(dtype.replace("f", "float")) for n, a in operands.items()]
        found = nv.compile(program, backend=backend)(*given)
        seen.update((*operands, *options))
        for name, got, want in zip(("y", "h", "c"), found, wanted, strict=False):
            limit = tolerance * max(1, np.abs(want).max())
            np.testing.assert_allclose(
                got, want, rtol=0, atol=limit, err_msg=f"seed {seed}: {options} {name}"
            )
    assert {"bias", "lens", "h0", "clip", "activations"} <= seen


def test_the_oracle_is_the_one_of_onnxruntime_where_that_is_right() -> None:
    """The oracle is checked by something that nobody here wrote: onnxruntime's LSTM, full lengths, no export of ours."""
    operands, options, functions = case("lstm", 5)
    operands.pop("lens", None)
    names = ["x", "w", "r", "bias", "", "h0", "c0", "peepholes"]
    inputs = [n if n in operands else "" for n in names]
    attributes = {k: v for k, v in options.items() if k in ("clip", "direction")}
    node = onnx.helper.make_node(
        "LSTM",
        inputs,
        ["y", "h", "c"],
        hidden_size=H,
        input_forget=int(options["input_forget"]),
        activations=["".join(p.capitalize() for p in f.split("_")) for f, _, _ in functions],
        activation_alpha=[a for f, a, _ in functions if ACTIVATIONS[f][0] is not None],
        activation_beta=[beta for f, _, beta in functions if ACTIVATIONS[f][1] is not None],
        **attributes,
    )
    graph = onnx.helper.make_graph(
        [node], "g",
        [onnx.helper.make_tensor_value_info(n, 1, a.shape) for n, a in operands.items()],
        [onnx.helper.make_tensor_value_info(n, 1, None) for n in ("y", "h", "c")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {n: a.astype(np.float32) for n, a in operands.items()})
    kept = {k: v for k, v in options.items() if k in ("clip", "direction", "input_forget")}
    for got, want in zip(found, oracle("lstm", **operands, activations=functions, **kept), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def kinds(model: Any) -> list[str]:
    return [n.op_type for n in model.graph.node]


@pytest.mark.parametrize(("layer", "node"), [("RNN", "RNN"), ("LSTM", "LSTM"), ("GRU", "GRU")])
def test_layers_are_onnx_nodes_where_onnx_has_them(layer: str, node: str, tmp_path: Path) -> None:
    made = getattr(nn, layer)(3, 4, 2, bidirectional=True)
    nv.export_onnx(nv.trace(lambda x: made(x)[0], "f32[T,B,3]"), tmp_path / "a.onnx")
    assert kinds(onnx.load(tmp_path / "a.onnx")).count(node) == 2
    projected = nn.LSTM(3, 4, proj_size=2)
    nv.export_onnx(nv.trace(lambda x: projected(x)[0], "f32[T,B,3]"), tmp_path / "b.onnx")
    found = kinds(onnx.load(tmp_path / "b.onnx"))
    assert "Scan" in found and "LSTM" not in found, "ONNX's LSTM has no projection"


@pytest.mark.parametrize(
    ("layer", "options"),
    [("RNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": False}), ("LSTM", {"proj_size": 2})],
    ids=str,
)
def test_batch_and_time_stay_dynamic(layer: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Exported once, run by onnxruntime alone at every size; the reference says what is right."""
    nv.seed(0)
    made = getattr(nn, layer)(3, 4, 2, bidirectional=True, **options)

    def model(x: Any, lens: Any) -> Any:
        return made(x, None, seq_lens=lens)[0]

    program = nv.trace(model, "f32[T,B,3]", "i64[B]")
    nv.export_onnx(program, tmp_path / "a.onnx")
    session = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    assert session.get_inputs()[0].shape[:2] == ["T", "B"]
    reference = nv.compile(program, backend="reference")
    rng = np.random.default_rng(0)
    for batch in (1, 7):
        for length in (5, 50):
            x = rng.normal(size=(length, batch, 3)).astype(np.float32)
            lens = rng.integers(0, length + 1, batch)
            (found,) = session.run(None, dict(zip(names, (x, lens), strict=True)))
            np.testing.assert_allclose(found, reference(x, lens), rtol=0, atol=1e-5)
            assert (found[lens[0] :, 0] == 0).all()


@pytest.mark.parametrize(("layer", "options"), [("RNN", {}), ("LSTM", {}), ("GRU", {}), ("LSTM", {"peepholes": True, "clip": 0.5})], ids=str)  # fmt: skip
def test_what_is_exported_is_imported_as_the_same_layer(
    layer: str, options: dict[str, Any], tmp_path: Path
) -> None:
    nv.seed(0)
    made = getattr(nn, layer)(3, 4, bidirectional=True, **options)
    program = nv.trace(lambda x, n: made(x, None, n)[0], "f32[T,B,3]", "i64[B]")
    nv.export_onnx(program, tmp_path / "a.onnx")
    again = nv.import_onnx(tmp_path / "a.onnx")
    assert [n.op.mnemonic for n in again.main.nodes].count(layer.lower()) == 1
    x, lens = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32), np.array([5, 0, 2])
    want = nv.compile(program, backend="reference")(x, lens)
    for backend in ("reference", "llvm", "onnx"):
        np.testing.assert_allclose(nv.compile(again, backend=backend)(x, lens), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_lengths_of_an_imported_layer_are_held_against_its_steps(backend: str, tmp_path: Path) -> None:
    rng: Any = np.random.default_rng(5)
    weights = {"W": rng.normal(size=(1, 3, 2)).astype("f4"), "R": rng.normal(size=(1, 3, 3)).astype("f4")}
    make: Any = onnx.helper
    numpy_helper: Any = onnx.numpy_helper
    graph = make.make_graph(
        [make.make_node("RNN", ["x", "W", "R", "", "l"], ["y"], hidden_size=3)],
        "ragged",
        [make.make_tensor_value_info("x", 1, ["T", "B", 2]), make.make_tensor_value_info("l", 6, ["B"])],
        [make.make_tensor_value_info("y", 1, ["T", 1, "B", 3])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    path = tmp_path / "ragged.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    run = nv.compile(nv.import_onnx(path), backend=backend)
    x, lens = rng.normal(size=(4, 2, 2)).astype("f4"), np.array([4, 1], np.int32)
    session: Any = ort.InferenceSession(str(path))
    want = session.run(None, {"x": x, "l": lens})[0]
    np.testing.assert_allclose(run(x, lens), want, atol=1e-6)
    with pytest.raises(nv.NervureError, match=r"input l: 5 at \[0\] is outside 0\.\.4, where T is 4"):
        run(x, np.array([5, 1], np.int32))
