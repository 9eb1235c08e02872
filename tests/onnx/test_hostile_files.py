"""Hostile ONNX files end in one error that names the node, soon and in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hostile_onnx import HOSTILE, add_weight, chain, external, files, relu, typed
from onnx import TensorProto

from nervure import NervureError
from nervure.frontend.onnx.load import load_model

FILES = list(files())


@pytest.mark.parametrize("case", HOSTILE)
def test_a_wrong_model_is_one_error_that_names_the_culprit(case: str) -> None:
    make, pattern = HOSTILE[case]
    model = make()
    start = time.process_time()
    with pytest.raises(NervureError, match=pattern) as found:
        load_model(model)
    assert time.process_time() - start < 1
    message = str(found.value)
    assert message[0].islower() or message.startswith("the model")
    assert not found.value.message.endswith(".")


@pytest.mark.parametrize("case", HOSTILE)
def test_the_same_holds_for_its_bytes(case: str) -> None:
    make, _ = HOSTILE[case]
    with pytest.raises(NervureError):
        load_model(make().SerializeToString())


@pytest.mark.parametrize(("data", "pattern"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_file_that_is_no_model_is_one_error(data: bytes, pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(NervureError, match=pattern) as found:
        load_model(path)
    assert time.process_time() - start < 1
    assert "model.onnx" in str(found.value)


MEASURE = """
import resource, sys, onnx, numpy
from nervure import NervureError
from nervure.frontend.onnx.load import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_model(sys.argv[1])
except NervureError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    "data", [f[1] for f in FILES if "bomb" in f[0]], ids=[f[0] for f in FILES if "bomb" in f[0]]
)
def test_a_bomb_is_refused_in_little_memory(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.onnx"
    path.write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 256 * 1024


def test_a_model_that_is_fine_is_read_from_all_sources(tmp_path: Path) -> None:
    model = chain(relu())
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    data = model.SerializeToString()
    for source in (model, data, bytearray(data), memoryview(data), path, str(path)):
        assert load_model(source) == model


def test_nodes_out_of_order_are_sorted_and_the_given_model_is_left_alone() -> None:
    model = chain(relu("a", "y", "last"), relu("x", "b", "first"), relu("b", "a", "middle"))
    before = model.SerializeToString()
    assert [n.name for n in load_model(model).graph.node] == ["first", "middle", "last"]
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("kind", "dims", "fields"),
    [
        (TensorProto.FLOAT16, [3], {"int32_data": [1, 2, 3]}),
        (TensorProto.BOOL, [2, 1], {"int32_data": [0, 1]}),
        (TensorProto.COMPLEX64, [2], {"float_data": [0.0] * 4}),
        (TensorProto.INT4, [3], {"int32_data": [0, 1]}),
        (TensorProto.UINT2, [5], {"int32_data": [0, 1]}),
        (TensorProto.UINT32, [2], {"uint64_data": [0, 1]}),
        (TensorProto.FLOAT, [0, 7], {}),
        (TensorProto.DOUBLE, [], {"double_data": [1.0]}),
        (TensorProto.STRING, [2], {"string_data": [b"a", b"b"]}),
    ],
)
def test_data_in_typed_fields_has_the_size_of_its_dims(kind: int, dims: list[int], fields: Any) -> None:
    load_model(add_weight(typed(kind, dims, **fields)))
    with pytest.raises(NervureError, match="'w'"):
        load_model(add_weight(typed(kind, [*dims, 9, 1 << 20], **(fields or {"float_data": [1.0]}))))


# external data


def saved(folder: Path, **entries: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(add_weight(external(**entries)).SerializeToString())
    return path


@pytest.fixture
def weights() -> np.ndarray[Any, Any]:
    return np.arange(6, dtype=np.float32)


def test_external_data_is_read_at_its_offset(tmp_path: Path, weights: Any) -> None:
    path = saved(tmp_path / "m", location="sub/w.bin", offset="8", length="16")
    (path.parent / "sub").mkdir()
    (path.parent / "sub" / "w.bin").write_bytes(weights.tobytes())
    tensor = load_model(path).graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), weights[2:])
    # bytes have no folder until one is named
    tensor = load_model(path.read_bytes(), folder=path.parent).graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), weights[2:])


@pytest.mark.parametrize(
    ("location", "pattern"),
    [
        ("../secret.bin", "leaves the model's folder"),
        ("sub/../../secret.bin", "leaves the model's folder"),
        ("sub//w.bin", "leaves the model's folder"),
        ("{outside}/secret.bin", "expected a relative path"),
        ("..\\secret.bin", "expected a relative path"),
        ("soft.bin", "symbolic link"),
        ("softfolder/secret.bin", "symbolic link"),
        ("hard.bin", "2 names"),
        ("pipe", "no regular file"),
        ("sub", "no regular file"),
        ("none.bin", "no such file"),
        ("short.bin", "of 16 bytes, and 'short.bin' has 7"),
        ("w\0.bin", "expected a relative path"),
        ("x" * 5000, "too long"),
    ],
)
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str, pattern: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    folder = tmp_path / "m"
    path = saved(folder, location=location.replace("{outside}", str(tmp_path)))
    (folder / "sub").mkdir()
    (folder / "soft.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "softfolder").symlink_to(tmp_path)
    (folder / "hard.bin").hardlink_to(tmp_path / "secret.bin")
    (folder / "short.bin").write_bytes(bytes(7))
    os.mkfifo(folder / "pipe")
    with pytest.raises(NervureError, match=pattern) as found:
        load_model(path)
    assert "initializer 'w'" in str(found.value)


@pytest.mark.parametrize(
    ("entries", "pattern"),
    [
        ({"offset": "-8"}, "offset '-8'"),
        ({"offset": "9" * 18}, "of 16 bytes, and"),
        ({"offset": "9" * 40}, "expected a number"),
        ({"offset": "1e3"}, "expected a number"),
        (
            {"length": "17179869184"},
            "external data of 17179869184 bytes, its dims and element type demand 16",
        ),
        ({"length": "0x10"}, "expected a number"),
    ],
)
def test_offsets_and_lengths_are_checked_before_anything_is_read(
    tmp_path: Path, entries: Any, pattern: str
) -> None:
    path = saved(tmp_path, location="w.bin", **entries)
    (tmp_path / "w.bin").write_bytes(bytes(64))
    with pytest.raises(NervureError, match=pattern):
        load_model(path)


@pytest.mark.parametrize(
    "make", [lambda p: p.mkdir(), os.mkfifo, lambda p: None], ids=["folder", "pipe", "nothing"]
)
def test_a_path_that_is_no_file_is_an_error_at_once(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    make(path)
    with pytest.raises(NervureError, match="cannot read"):
        load_model(path)


def test_what_is_no_source_is_an_error() -> None:
    with pytest.raises(NervureError, match="found int"):
        load_model(3)  # pyright: ignore[reportArgumentType]


def test_a_sorted_model_keeps_what_its_nodes_hold() -> None:
    body_value = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32))
    constant = onnx.helper.make_node("Constant", [], ["w"], name="late", value=body_value)
    model = load_model(chain(onnx.helper.make_node("Add", ["x", "w"], ["y"], name="sum"), constant))
    assert [n.name for n in model.graph.node] == ["late", "sum"]
    assert model.graph.node[0].attribute[0].t == body_value
