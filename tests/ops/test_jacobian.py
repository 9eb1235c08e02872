"""Jacobians and Hessians: against formulas, against each other, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TraceError
from nervure.ir.interpret import evaluate_program
from nervure.ir.verify import verify_program

RNG = np.random.default_rng(6)
X, W = RNG.normal(size=(3,)), RNG.normal(size=(2, 3))


def f(x: Any, w: Any) -> Any:
    return np.tanh(w @ x)


def run(function: Any, *arrays: Any, backend: str = "reference") -> Any:
    program = nv.trace(function, *arrays)
    verify_program(program)
    return nv.compile(program, backend=backend)(*arrays)


@pytest.mark.parametrize("backend", ["llvm", "onnx", "reference"])
def test_a_jacobian_has_the_results_axes_and_then_the_arguments(backend: str) -> None:
    slope = 1 - np.tanh(W @ X) ** 2
    by_x = run(nv.jacobian(f), X, W, backend=backend)
    np.testing.assert_allclose(by_x, slope[:, None] * W, rtol=1e-12)
    by_w = run(nv.jacobian(f, 1), X, W, backend=backend)
    assert by_w.shape == (2, 2, 3)
    np.testing.assert_allclose(
        by_w, np.eye(2)[:, :, None] * (slope[:, None] * X)[:, None], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("backend", ["llvm", "onnx", "reference"])
def test_a_hessian_is_the_second_derivative(backend: str) -> None:
    def g(x: Any) -> Any:
        return (np.sin(x) * x.sum()).sum()

    s, c = np.sin(X), np.cos(X)
    want = np.diag(-s * X.sum()) + c[:, None] + c[None, :]
    np.testing.assert_allclose(run(nv.hessian(g), X, backend=backend), want, rtol=1e-12)


def test_one_sweep_serves_all_rows() -> None:
    few, many = (nv.trace(nv.jacobian(lambda x: np.exp(x)), f"f64[{n}]") for n in (3, 300))  # noqa: PLW0108
    assert len(list(few.main.walk())) == len(list(many.main.walk()))
    (scan,) = (n for n in many.main.nodes if n.op.mnemonic == "scan")
    # exp was computed outside, once
    assert not [n for n in scan.regions[0].nodes if n.op.mnemonic == "exp"]


def test_several_arguments_give_a_tuple_and_one_that_does_not_matter_zeros() -> None:
    by_w, by_x, none = run(nv.jacobian(lambda x, w, u: f(x, w), (1, 0, -1)), X, W, X)
    np.testing.assert_array_equal(by_x, run(nv.jacobian(f), X, W))
    np.testing.assert_array_equal(by_w, run(nv.jacobian(f, 1), X, W))
    np.testing.assert_array_equal(none, np.zeros((2, 3)))


def test_the_jacobian_of_a_jacobian_and_the_gradient_through_one() -> None:
    def cube(x: Any) -> Any:
        return x**3

    twice = run(nv.jacobian(nv.jacobian(cube)), X)
    want = np.zeros((3, 3, 3))
    want[range(3), range(3), range(3)] = 6 * X
    np.testing.assert_allclose(twice, want, rtol=1e-12)
    through = run(nv.grad(lambda x: (nv.jacobian(cube)(x) ** 2).sum()), X)
    np.testing.assert_allclose(through, 36 * X**3, rtol=1e-12)


def test_scalars_matrices_and_nothing_have_jacobians() -> None:
    np.testing.assert_allclose(run(nv.jacobian(lambda x: x.sum()), X), np.ones(3))
    np.testing.assert_array_equal(run(nv.jacobian(lambda x: x.reshape(3, 1)), X), np.eye(3).reshape(3, 1, 3))
    assert run(nv.jacobian(lambda x: x[:0]), X).shape == (0, 3)
    same = run(nv.jacobian(lambda x: x), X)
    np.testing.assert_array_equal(same, np.eye(3))


def test_one_tensor_for_two_arguments_has_a_jacobian_by_each() -> None:
    both = run(lambda x: nv.jacobian(lambda a, b: a * a * b)(x, x), X)
    np.testing.assert_allclose(both, np.diag(2 * X**2), rtol=1e-12)


def test_the_argument_may_be_symbolic_and_the_function_may_have_weights() -> None:
    nv.seed(1)
    layer = nn.Linear(4, 2, dtype="f64")
    program = nv.trace(nv.jacobian(lambda x: layer(x).mean(axis=0)), "f64[B,4]")
    assert str(program.main.outputs[0].type) == "f64[2,B,4]"
    x = RNG.normal(size=(5, 4))
    found = evaluate_program(program, [x])[0]
    np.testing.assert_allclose(found, np.broadcast_to(layer.weight.data[:, None] / 5, (2, 5, 4)), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "argnums", "message"),
    [
        (lambda x: (x, x), 0, "jacobian: the function returns several tensors, expected one"),
        (
            lambda x: x.argmax(),
            0,
            "jacobian: the function returns i64[], expected a float tensor of static shape",
        ),
        (lambda x: x, 1, "jacobian: argnums has 1, the function takes 1 arguments"),
    ],
)
def test_what_has_no_jacobian_says_why(function: Any, argnums: int, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(nv.jacobian(function, argnums), X)
    assert caught.value.message == message
    with pytest.raises(TraceError, match=r"returns f64\[B\], expected a float tensor of static shape"):
        nv.trace(nv.jacobian(lambda x: x), "f64[B]")
    with pytest.raises(TraceError, match="an argument is i64"):
        nv.trace(nv.jacobian(lambda n: n.astype("f64")), "i64[3]")


@pytest.mark.torch
def test_jacobians_and_hessians_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    image, kernel = RNG.normal(size=(1, 2, 5, 5)), RNG.normal(size=(3, 2, 3, 3))

    def ours(x: Any, w: Any) -> Any:
        return nn.softmax(nn.tanh(nn.conv2d(x, w, padding=1)).flatten(1), 1)[0, :6]

    def theirs(x: Any, w: Any) -> Any:
        return torch.softmax(torch.tanh(torch.conv2d(x, w, padding=1)).flatten(1), 1)[0, :6]

    tensors = (torch.from_numpy(image), torch.from_numpy(kernel))
    wanted = torch.autograd.functional.jacobian(theirs, tensors)
    for got, want in zip(run(nv.jacobian(ours, (0, 1)), image, kernel), wanted, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-14)
    small = RNG.normal(size=(2, 3))

    def energy(x: Any) -> Any:
        return ((x @ x.T) ** 2).sum() + (x**3).sum()

    want = torch.autograd.functional.hessian(energy, torch.from_numpy(small))
    np.testing.assert_allclose(run(nv.hessian(energy), small), want.numpy(), rtol=1e-9, atol=1e-12)
