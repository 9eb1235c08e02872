"""`nervure.onnx_backend` is what onnx calls a backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from nervure import NervureError, onnx_backend
from nervure.onnx_backend import NervureBackend

BACKENDS = ["llvm", "reference", "onnx"]
X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


def model(
    *nodes: Any, x: Any = ("N", 4), more: Any = (), outputs: Any = ("y",), initializers: Any = ()
) -> Any:
    inputs = [helper.make_tensor_value_info("x", 1, list(x)), *more]
    infos = [onnx.ValueInfoProto(name=n) for n in outputs]
    graph = helper.make_graph(list(nodes), "g", inputs, infos, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_is_prepared_and_run_on_each_backend(backend: str) -> None:
    relu = model(node("Relu", "x"))
    prepared = onnx_backend.prepare(relu, backend=backend)
    assert isinstance(prepared, BackendRep)
    for x in (X, X[:1]):
        for inputs in ([x], {"x": x}, x):
            (y,) = prepared.run(inputs)
            np.testing.assert_array_equal(y, np.maximum(x, 0))
    (y,) = NervureBackend.using(backend).run_model(relu, [X], "CPU")
    np.testing.assert_array_equal(y, np.maximum(X, 0))


def test_a_model_has_as_many_outputs_as_it_says() -> None:
    both = model(node("Split", "x", "a b", axis=1, num_outputs=2), outputs=["a", "b"])
    a, b = onnx_backend.run_model(both, [X])
    np.testing.assert_array_equal(a, X[:, :2])
    np.testing.assert_array_equal(b, X[:, 2:])


def test_a_node_is_run_alone() -> None:
    (y,) = onnx_backend.run_node(node("Gemm", "a b", transB=1), [X, X])
    np.testing.assert_allclose(y, X @ X.T, rtol=1e-6)
    (y,) = onnx_backend.run_node(node("Gemm", "a b", transB=1), {"b": X, "a": X}, backend="reference")
    np.testing.assert_allclose(y, X @ X.T, rtol=1e-6)
    # before version 13 the axes after the axis count as one
    (y,) = onnx_backend.run_node(node("Softmax", "x", axis=0), [X], opset_version=11)
    np.testing.assert_allclose(y.sum(), 1, rtol=1e-6)
    # an input that is left out has no array
    (y,) = onnx_backend.run_node(helper.make_node("Clip", ["x", "", "hi"], ["y"]), [X, np.float32(1)])
    np.testing.assert_array_equal(y, np.minimum(X, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shape_that_comes_as_an_input_is_compiled_for_its_values(backend: str) -> None:
    shape = helper.make_tensor_value_info("shape", 7, [2])
    reshape = model(node("Reshape", "x shape"), x=(3, 4), more=[shape])
    prepared = onnx_backend.prepare(reshape, backend=backend)
    for wanted in ((4, 3), (2, 6), (4, 3)):
        (y,) = prepared.run([X, np.array(wanted)])
        np.testing.assert_array_equal(y, X.reshape(wanted))
    assert onnx_backend.is_compatible(reshape)


def test_a_size_that_cannot_stay_open_is_compiled_for_what_comes() -> None:
    # an axis of no declared rank has a type only when an array is there
    free = onnx.ValueInfoProto(name="x")
    free.type.tensor_type.elem_type = 1
    relu = model(node("Relu", "x"))
    relu.graph.input[0].CopyFrom(free)
    prepared = onnx_backend.prepare(relu)
    for x in (X, X[0], X[None]):
        (y,) = prepared.run([x])
        np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_executables_for_the_inputs_that_come_do_not_pile_up() -> None:
    shape = helper.make_tensor_value_info("n", 7, [1])
    expand = model(node("Expand", "x n"), x=(1,), more=[shape])
    prepared = onnx_backend.prepare(expand, backend="reference")
    for n in range(1, onnx_backend.KEPT + 10):
        (y,) = prepared.run([X[0, :1], np.array([n])])
        assert y.shape == (n,)
    assert len(prepared._made) == onnx_backend.KEPT


def test_what_nervure_lacks_is_not_compatible_and_says_so() -> None:
    lacking = model(node("StringNormalizer", "x"))
    assert not onnx_backend.is_compatible(lacking)
    with pytest.raises(NervureError, match="StringNormalizer"):
        onnx_backend.prepare(lacking)
    assert onnx_backend.is_compatible(model(node("Relu", "x")))


def test_inputs_that_do_not_fit_are_errors() -> None:
    prepared = onnx_backend.prepare(model(node("Relu", "x")), backend="reference")
    with pytest.raises(NervureError, match="has 1 inputs"):
        prepared.run([X, X])
    with pytest.raises(NervureError, match="missing x"):
        prepared.run({})
    with pytest.raises(NervureError, match="no input is z"):
        prepared.run({"x": X, "z": X})
    with pytest.raises(NervureError):
        prepared.run([X.astype(np.float64)])
    with pytest.raises(NervureError, match="found 1"):
        onnx_backend.run_node(node("Add", "a b"), [X])


def test_devices_are_those_that_are_there() -> None:
    assert onnx_backend.supports_device("CPU")
    assert onnx_backend.supports_device("CPU:0")
    assert not onnx_backend.supports_device("CUDA")
    with pytest.raises(NervureError, match="CUDA"):
        onnx_backend.prepare(model(node("Relu", "x")), "CUDA:0")


def test_it_is_the_base_class_that_the_suite_of_onnx_asks_for() -> None:
    from onnx.backend.test.runner import Runner

    assert issubclass(NervureBackend, Backend)
    runner = Runner.__new__(Runner)
    runner.backend = NervureBackend
    weight = numpy_helper.from_array(X, "w")
    prepared = runner.backend.prepare(model(node("Add", "x w"), initializers=[weight]), "CPU")
    assert prepared.inputs == ("x",)
    Runner.assert_similar_outputs([X + X], list(prepared.run([X])), 1e-6, 0)
