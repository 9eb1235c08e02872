"""Small models that ask for much: refused before anything is allocated, by the name of the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nervure as nv

LIMIT = 1 << 28
HUGE = 1 << 34


def made(op: str, inputs: str, known: dict[str, Any], x: Any = None, kind: int = 1, **attributes: Any) -> Any:
    """A model of one node, of which all inputs but x are known."""
    names = [n if n != "-" else "" for n in inputs.split()]
    node = helper.make_node(op, names, ["y"], name="the_bomb", **attributes)
    infos = [helper.make_tensor_value_info("x", kind, list(x))] if x is not None else []
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in known.items()]
    graph = helper.make_graph([node], "g", infos, [onnx.ValueInfoProto(name="y")], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


BOMBS: dict[str, Callable[[], Any]] = {
    "ConstantOfShape": lambda: made("ConstantOfShape", "s", {"s": [HUGE]}),
    "Expand": lambda: made("Expand", "x s", {"s": [1 << 17, 1 << 17]}, x=[1]),
    "Tile": lambda: made("Tile", "x s", {"s": [HUGE]}, x=[4]),
    "Range": lambda: made("Range", "a b c", {"a": np.int64(0), "b": np.int64(HUGE), "c": np.int64(1)}),
    "Range of floats": lambda: made("Range", "a b c", {"a": 0.0, "b": 1e12, "c": 1.0}),
    "OneHot": lambda: made("OneHot", "x d v", {"d": HUGE, "v": np.float32([0, 1])}, x=[4], kind=7),
    "EyeLike": lambda: made("EyeLike", "x", {}, x=[1 << 17, 1 << 17]),
    "Resize to sizes": lambda: made(
        "Resize", "x - - s", {"s": [1, 1, 1 << 17, 1 << 17]}, x=[1, 1, 2, 2], mode="nearest"
    ),
    "Resize by scales": lambda: made(
        "Resize", "x - s", {"s": np.float32([1, 1, 1e5, 1e5])}, x=[1, 1, 2, 2], mode="linear"
    ),
    "Pad": lambda: made("Pad", "x p", {"p": [0, HUGE]}, x=[4]),
    "Einsum": lambda: made("Einsum", "x x", {}, x=[1 << 17], equation="a,b->ab"),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("way", ["import", "llvm"])
def test_a_bomb_is_refused_by_name_before_anything_is_allocated(bomb: str, way: str) -> None:
    model = BOMBS[bomb]()
    nv.compile(nv.trace(lambda x: x + 1, "f32[2]"), max_memory=LIMIT)  # what the first compilation imports
    start = time.process_time()
    with pytest.raises(nv.NervureError, match="max_memory") as found:
        if way == "import":
            nv.import_onnx(model, max_memory=LIMIT)
        else:
            nv.compile(nv.import_onnx(model), max_memory=LIMIT, cache=False)
    assert "the_bomb" in str(found.value)
    assert time.process_time() - start < 1


def test_values_that_no_machine_holds_are_refused_in_any_case() -> None:
    with pytest.raises(nv.NervureError, match=r"the_bomb: its result of .* bytes is more"):
        nv.import_onnx(made("ConstantOfShape", "s", {"s": [1 << 40, 1 << 40]}))


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_without_a_limit_the_call_is_an_error_and_no_crash(backend: str) -> None:
    run = nv.compile(nv.import_onnx(made("ConstantOfShape", "s", {"s": [1 << 43]})), backend=backend)
    with pytest.raises(nv.NervureError, match="no memory"):
        run()


def test_results_count_for_each_call_where_sizes_are_open() -> None:
    program = nv.import_onnx(made("Expand", "x s", {"s": [1, 1000]}, x=["N", 1]))
    run = nv.compile(program, max_memory=1 << 20)
    for n in (3, 200):
        assert run(np.ones((n, 1), np.float32)).shape == (n, 1000)
    for _ in range(2):
        with pytest.raises(nv.NervureError, match="the results need 1200000 bytes, max_memory is 1048576"):
            run(np.ones((300, 1), np.float32))
    out = np.empty((300, 1000), np.float32)
    assert run(np.ones((300, 1), np.float32), out=out) is out  # memory of the caller's own


ODD: dict[str, Callable[[], Any]] = {
    "a window of 2^40": lambda: made(
        "MaxPool", "x", {}, x=[1, 1, "H"], kernel_shape=[1 << 40], strides=[1 << 40], auto_pad="SAME_UPPER"
    ),
    "a kernel with 2^40 strides": lambda: made(
        "Conv",
        "x w",
        {"w": np.ones((1, 1, 3), np.float32)},
        x=[1, 1, "H"],
        strides=[1 << 40],
        auto_pad="SAME_LOWER",
    ),
    "an antialias over 10^9 elements": lambda: made(
        "Resize", "x - s", {"s": np.float32([1, 1, 1e-9])}, x=[1, 1, 1 << 31], mode="linear", antialias=1
    ),
    "a range in steps of 0": lambda: made(
        "Range", "a b c", {"a": np.int64(0), "b": np.int64(9), "c": np.int64(0)}
    ),
    "a split into 2^31 parts": lambda: made("Split", "x", {}, x=[1 << 31], num_outputs=1 << 31),
    "a million axes": lambda: made("Reshape", "x s", {"s": np.ones(1 << 20, np.int64)}, x=[1]),
    "a thousand axes": lambda: made("Reshape", "x s", {"s": np.ones(1000, np.int64)}, x=[1]),
    "2^40 steps of a recurrence": lambda: made(
        "RNN",
        "x w r",
        {"w": np.ones((1, 1, 1), np.float32), "r": np.ones((1, 1, 1), np.float32)},
        x=[1 << 40, 1, 1],
        hidden_size=1,
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_numbers_take_no_time(case: str) -> None:
    start = time.process_time()
    try:
        nv.import_onnx(ODD[case]())
    except nv.NervureError as error:
        assert "the_bomb" in str(error)
    assert time.process_time() - start < 1
