"""Functions with a derivative of their own, values that are constants for derivatives, and values computed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir import build as b
from nervure.ir.errors import InputError, TraceError, TypeInferenceError, VerifyError
from nervure.ir.graph import Graph, Node, Value, make
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.calls import CustomVjp, Remat
from nervure.ir.program import Program
from nervure.ir.text import parse_program, print_program
from nervure.ir.types import TensorType, f64, i64
from nervure.ir.verify import verify_graph, verify_program
from nervure.passes.manager import Pipeline, run_pipeline

X = np.array([0.2, -1.3, 2.6])
BACKENDS = ("llvm", "onnx", "reference")


@nv.custom_vjp
def rounded(x: Any) -> Any:
    return round(x)


@rounded.backward
def _(x: Any, y: Any, dy: Any) -> Any:
    return dy


@nv.custom_vjp
def log1pexp(x: Any) -> Any:
    """The textbook's example: the plain derivative is inf / inf for a large x."""
    return np.log(1 + np.exp(x))


@log1pexp.backward
def _(x: Any, y: Any, dy: Any) -> Any:
    return dy * (1 - 1 / (1 + np.exp(x)))


def count(program: Program, mnemonic: str) -> int:
    return sum(n.op.mnemonic == mnemonic for n in program.main.walk())


def slope(f: Callable[..., Any], *arrays: Any, backend: str = "reference", argnums: Any = 0) -> Any:
    """The gradient of the sum of f, compiled."""
    program = nv.trace(nv.grad(lambda *xs: f(*xs).sum(), argnums), *arrays)
    verify_program(program)
    assert print_program(parse_program(print_program(program, digits=None)), digits=None) == print_program(
        program, digits=None
    )
    return nv.compile(program, backend=backend)(*arrays)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_straight_through_rounding_has_the_slope_it_says(backend: str) -> None:
    run = nv.compile(lambda x: rounded(x), "f64[3]", backend=backend)  # noqa: PLW0108  a function to trace
    np.testing.assert_array_equal(run(X), np.round(X))
    np.testing.assert_array_equal(slope(lambda x: rounded(3 * x), X, backend=backend), [3, 3, 3])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_derivative_of_ones_own_is_finite_where_the_plain_one_is_not(backend: str) -> None:
    big = np.array([0.0, 1.0])
    np.testing.assert_allclose(slope(log1pexp, big, backend=backend), 1 / (1 + np.exp(-big)), rtol=1e-12)
    with np.errstate(all="ignore"):
        assert slope(log1pexp, np.array([1000.0])) == [1]
        assert np.isnan(slope(log1pexp.forward, np.array([1000.0])))


def test_the_second_derivative_is_that_of_backward() -> None:
    second = slope(nv.grad(lambda x: log1pexp(x).sum()), X)
    s = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(second, s * (1 - s), rtol=1e-12)
    np.testing.assert_array_equal(slope(nv.grad(lambda x: (rounded(x) ** 2).sum()), X), [2, 2, 2])


def test_backward_may_read_results_and_several_arguments_have_cotangents() -> None:
    def forward(x: Any, n: Any, w: Any) -> Any:
        y = np.exp(x) * w
        return y, n + 1, y.sum()

    def backward(x: Any, n: Any, w: Any, results: Any, slopes: Any) -> Any:
        y, _, _ = results
        dy, dn, total = slopes
        assert dn is None
        return (dy + total) * y, None, (dy + total) * np.exp(x)

    f = nv.custom_vjp(forward, backward)

    def loss(g: Any) -> Any:
        def run(x: Any, n: Any, w: Any) -> Any:
            y, m, total = g(x, n, w)
            return y * m.astype("f64") + np.sin(total)

        return run

    w, n = np.array([2.0, -1, 0.5]), np.array([1, 2, 3])
    for got, want in zip(
        slope(loss(f), X, n, w, argnums=(0, 2)), slope(loss(forward), X, n, w, argnums=(0, 2)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    # a result that nothing reads has the cotangent 0
    np.testing.assert_allclose(slope(lambda x, n, w: f(x, n, w)[0], X, n, w), np.exp(X) * w, rtol=1e-12)


def test_what_is_no_tensor_is_handed_to_both_and_integers_from_outside_may_be_used() -> None:
    def forward(x: Any, power: int) -> Any:
        return x**power

    def backward(x: Any, power: int, y: Any, dy: Any) -> Any:
        return 10 * dy * power * x ** (power - 1), None

    f = nv.custom_vjp(forward, backward)
    np.testing.assert_allclose(slope(lambda x: f(x, 3), X), 30 * X**2, rtol=1e-12)

    def picked(x: Any, k: Any) -> Any:
        g = nv.custom_vjp(lambda x: x[k], lambda x, y, dy: dy.sum() + x * k.astype("f64").sum())
        return g(x)

    k = np.array([2, 0])
    np.testing.assert_allclose(slope(picked, X, k), 2 + 2 * X, rtol=1e-12)


def test_a_float_from_outside_has_to_be_an_argument() -> None:
    def f(x: Any, w: Any) -> Any:
        return nv.custom_vjp(lambda x: x * w, lambda x, y, dy: dy)(x)

    with pytest.raises(TraceError) as caught:
        nv.trace(f, X, X)
    assert "uses f64[3] from outside, which backward gives no cotangent" in caught.value.message
    assert caught.value.hint == "pass it as an argument"


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda x, y, dy: (dy, dy), "returns 2 cotangents for 1 arguments"),
        (lambda x, y, dy: dy.sum(), "cotangent 0 is f64[], expected f64[3]"),
        (lambda x, y, dy: dy.astype("f32"), "cotangent 0 is f32[3], expected f64[3]"),
        (None, "custom_vjp: it has no backward function"),
    ],
)
def test_a_backward_that_does_not_fit_says_why(backward: Any, message: str) -> None:
    f = nv.custom_vjp(lambda x: 2 * x, backward)
    with pytest.raises(TraceError) as caught:
        nv.trace(lambda x: f(x), X)  # noqa: PLW0108  a function to trace
    assert message in caught.value.message


def test_an_argument_without_a_cotangent_has_no_derivative() -> None:
    f = nv.custom_vjp(lambda x, w: x * w, lambda x, w, y, dy: (dy * w, None))
    dx, dw = slope(lambda x, w: f(x, w), X, 2 * X, argnums=(0, 1))  # noqa: PLW0108
    np.testing.assert_array_equal(dx, 2 * X)
    np.testing.assert_array_equal(dw, [0, 0, 0])


def test_the_regions_types_are_checked() -> None:
    row, n = TensorType(f64, (3,)), TensorType(i64, (3,))

    def region(inputs: list[TensorType], output: TensorType) -> Graph:
        values = [Value(t) for t in inputs]
        return Graph("", values, [next(v for v in values if v.type == output)])

    forward, backward = region([row, n], row), region([row, n, row, row], row)
    x, k = Value(row), Value(n)
    make(CustomVjp((0,)), x, k, regions=(forward, backward))
    wrong: list[tuple[tuple[int, ...], Graph, Graph, str]] = [
        ((1,), forward, backward, "by has 1, which is the place of no float operand"),
        ((2,), forward, backward, "by has 2, which is the place of no float operand"),
        ((0,), region([row], row), backward, "2 operands, expected 1"),
        ((0,), forward, region([row, n, row], row), "3 backward inputs, expected 4"),
        ((0,), forward, region([row, n, row, row], n), "cotangent 0 is i64[3], expected f64[3]"),
        ((0, 0), forward, backward, "by is [0, 0], expected increasing places"),
    ]
    for by, first, second, message in wrong:
        with pytest.raises(TypeInferenceError) as caught:
            make(CustomVjp(by), x, k, regions=(first, second))
        assert caught.value.message == f"custom_vjp: {message}"
    with pytest.raises(VerifyError, match="remat: 2 operands, expected 1"):
        verify_graph(Graph("f", [x], Node(Remat(), (x, x), (row,), regions=(region([row], row),)).results))


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_gradient_is_a_constant_to_derivatives_alone(backend: str) -> None:
    def f(x: Any) -> Any:
        return x * nv.stop_gradient(np.sin(x))

    np.testing.assert_allclose(nv.compile(f, X, backend=backend)(X), X * np.sin(X), rtol=1e-12)
    np.testing.assert_allclose(slope(f, X, backend=backend), np.sin(X), rtol=1e-12)
    np.testing.assert_array_equal(slope(nv.stop_gradient, X, backend=backend), [0, 0, 0])


def test_what_is_stopped_is_not_differentiated_at_all() -> None:
    program = nv.trace(nv.grad(lambda x: (x * nv.stop_gradient(np.tanh(np.exp(x)))).sum()), X)
    plain = nv.trace(nv.grad(lambda x: (x * np.tanh(np.exp(x))).sum()), X)
    assert count(program, "mul") < count(plain, "mul")
    assert count(run_pipeline(program, Pipeline.parse("decompose")).program, "stop_gradient") == 0


def chain(x: Any) -> Any:
    return np.tanh(np.sin(np.exp(x)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_remat_has_the_values_and_derivatives_of_its_function(backend: str) -> None:
    again = nv.remat(chain)
    np.testing.assert_allclose(nv.compile(again, X, backend=backend)(X), chain(X), rtol=1e-12)
    np.testing.assert_allclose(slope(again, X, backend=backend), slope(chain, X), rtol=1e-11)
    second = nv.grad(lambda x: again(x).sum())
    np.testing.assert_allclose(
        slope(second, X, backend=backend), slope(nv.grad(lambda x: chain(x).sum()), X), rtol=1e-10
    )


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
def test_a_remat_computes_again_and_no_pass_merges_both(backend: str) -> None:
    from nervure.backends.base import find_backend

    def after(f: Any) -> Program:
        return run_pipeline(
            nv.trace(nv.value_and_grad(lambda x: f(x).sum()), X), find_backend(backend).pipeline(3)
        ).program

    plain, again = after(chain), after(nv.remat(chain))
    for name in ("tanh", "exp"):
        assert (count(plain, name), count(again, name)) == (1, 2), name
    assert (count(plain, "opt_barrier"), count(again, "opt_barrier")) == (0, 1)
    assert count(again, "remat") == 0


def test_a_remat_may_use_parameters_and_more_than_one_result() -> None:
    nv.seed(4)
    layer = nn.Linear(3, 3, dtype="f64")

    def block(x: Any) -> Any:
        y = nn.tanh(layer(x))
        return y, y.sum()

    def net(x: Any, wrap: Any) -> Any:
        y, total = wrap(block)(x)
        return (y * total).sum()

    x = np.stack([X, -X])
    plain = nv.trace(nv.grad(lambda x: net(x, lambda f: f)), x)
    again = nv.trace(nv.grad(lambda x: net(x, nv.remat)), x)
    assert count(again, "remat") == 1 and "param" in str(again)
    np.testing.assert_allclose(evaluate_program(again, [x])[0], evaluate_program(plain, [x])[0], rtol=1e-12)


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_a_network_of_remat_blocks_trains_as_the_plain_one(backend: str) -> None:
    class Net(nn.Module):
        def __init__(self, again: bool) -> None:
            self.layers = nn.ModuleList(nn.Linear(4, 4, dtype="f64") for _ in range(4))
            self.again = again

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                block = nn.Sequential(layer, nn.Tanh())
                x = nv.remat(block)(x) if self.again else block(x)
            return x

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    found: list[Any] = []
    for again in (False, True):
        nv.seed(9)
        model = Net(again)
        step = nv.compile(
            nv.training_step(model, nn.mse_loss, optim.SGD(0.1), "f64[B,4]", "f64[B,4]"), backend=backend
        )
        found.append([float(step(x, y)) for _ in range(5)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_remats_nest_and_a_module_keeps_its_names() -> None:
    inner = nv.remat(np.sin)
    outer = nv.remat(lambda x: np.exp(inner(x)))
    np.testing.assert_allclose(slope(outer, X), np.exp(np.sin(X)) * np.cos(X), rtol=1e-12)
    model = nn.Sequential(nn.Linear(3, 2, dtype="f64"), nn.Tanh())
    assert list(nv.trace(nv.remat(model), "f64[B,3]").store) == ["0.weight", "0.bias"]


def test_two_gradients_of_one_remat_within_a_scan() -> None:
    def f(x: Any) -> Any:
        body = nv.remat(lambda h, row: np.tanh(h * row))
        last, _ = nv.scan(lambda h, row: ((new := body(h, row)), new), x[0], x)
        return last

    def plain(x: Any) -> Any:
        last, _ = nv.scan(lambda h, row: ((new := np.tanh(h * row)), new), x[0], x)
        return last

    x = np.stack([X, X + 1])
    np.testing.assert_allclose(slope(f, x, backend="llvm"), slope(plain, x), rtol=1e-11)


def test_a_barrier_keeps_its_operand_and_passes_cotangents() -> None:
    x = Value(TensorType(f64, (3,)), name="x")
    (g,) = nv.grad(
        Program("p", [Graph("f", [x], [b.reduce_sum(b.opt_barrier(b.mul(x, x)), (0,))])])
    ).main.outputs
    program = Program("p", [Graph("f", [x], [g])])
    np.testing.assert_array_equal(evaluate_program(program, [X])[0], 2 * X)


def test_a_deep_network_of_remat_blocks_needs_less_memory() -> None:
    class Net(nn.Module):
        def __init__(self, wrap: Any) -> None:
            self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(24))
            self.wrap = wrap

        def __call__(self, x: Any) -> Any:
            for start in range(0, 24, 6):
                parts = [m for k in range(start, start + 6) for m in (self.layers[k], nn.Tanh())]
                x = self.wrap(nn.Sequential(*parts))(x)
            return x

    def step(wrap: Any) -> Any:
        program = nv.training_step(Net(wrap), nn.mse_loss, optim.SGD(0.1), "f32[64,32]", "f32[64,32]")
        # 64 x 32 activations of f32 are 8 KB: 24 of them without remat; with it a block's 6, one a block and one slope
        return nv.compile(program, max_memory=12 * 8192)

    x = np.ones((64, 32), np.float32)
    with pytest.raises(InputError, match="the call needs"):
        step(lambda f: f)(x, x)
    assert step(nv.remat)(x, x) > 0


def test_a_remat_of_layers_with_state_trains_as_the_plain_layers() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 6, 4))
    found: list[Any] = []
    for wrap in (lambda f: f, nv.remat, lambda f: nv.remat(nv.remat(f))):
        nv.seed(9)
        block = nn.Sequential(nn.Linear(4, 4, dtype="f64"), nn.BatchNorm1d(4, dtype="f64"), nn.Dropout(0.4))
        call = wrap(block)

        class Twice(nn.Module):
            def __init__(self, block: Any, call: Any) -> None:
                self.block, self.call = block, call

            def __call__(self, x: Any) -> Any:
                return self.call(nn.tanh(self.call(x)))

        model = Twice(block, call)
        step = nv.compile(
            nv.training_step(model, nn.mse_loss, optim.SGD(0.1), "f64[B,4]", "f64[B,4]"), backend="reference"
        )
        losses = [float(step(x, y)) for _ in range(4)]
        assert model.block[1].num_batches_tracked.data == 8
        found.append([*losses, *(v.sum() for v in block.state_dict().values())])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-12)


def test_state_cannot_be_changed_where_no_result_would_hand_it_out() -> None:
    f = nv.custom_vjp(nn.Dropout(0.5), lambda x, y, dy: dy)
    with pytest.raises(TraceError, match="cannot be updated inside the body of a custom_vjp"):
        nv.trace(lambda x: f(x), X, training=True)  # noqa: PLW0108
