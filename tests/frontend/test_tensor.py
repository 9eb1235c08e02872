"""Operators, methods and numbers of traced tensors mean what numpy means by them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure.ir.errors import TraceError, TypeInferenceError
from nervure.ir.types import i64

RNG = np.random.default_rng(3)
X = RNG.normal(size=(3, 4))
Y = RNG.normal(size=(4,))
I = RNG.integers(-9, 9, (3, 4))  # noqa: E741  an integer array
J = np.array([-4, -1, 2, 3])

FLOAT_OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.lt,
    operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip
INTEGER_OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.and_, operator.or_,
    operator.xor, operator.eq, operator.lt,
]  # fmt: skip


@pytest.mark.parametrize("op", FLOAT_OPERATORS)
def test_operators_on_floats_broadcast_as_numpy_does(op: Any, evaluate: Any) -> None:
    np.testing.assert_array_equal(evaluate(op, X, Y), op(X, Y))


@pytest.mark.parametrize("op", INTEGER_OPERATORS)
def test_operators_on_integers_are_numpys_floor_division_included(op: Any, evaluate: Any) -> None:
    np.testing.assert_array_equal(evaluate(op, I, J), op(I, J))


@pytest.mark.parametrize("op", [*FLOAT_OPERATORS, operator.pow])
def test_a_python_number_on_either_side_takes_the_tensors_element_type(op: Any, evaluate: Any) -> None:
    x = np.abs(X).astype(np.float32)
    right, left = evaluate(lambda t: (op(t, 1.5), op(1.5, t)), x)
    assert right.dtype == op(x, 1.5).dtype
    np.testing.assert_allclose(right, op(x, 1.5), rtol=1e-6)
    np.testing.assert_allclose(left, op(1.5, x), rtol=1e-6)


def test_integers_divided_by_zero_give_zero(evaluate: Any) -> None:
    x = np.array([-3, 0, 3])
    quotient, rest = evaluate(lambda a: (a // 0, a % 0), x)
    assert quotient.tolist() == [0, 0, 0]
    assert rest.tolist() == [0, 0, 0]


def test_matmul_takes_vectors_matrices_and_stacks(evaluate: Any) -> None:
    shapes = [((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((3, 4), (4, 2)), ((5, 3, 4), (4, 2)),
              ((5, 3, 4), (5, 4, 2)), ((5, 1, 3, 4), (6, 4, 2)), ((4,), (5, 4, 2))]  # fmt: skip
    for left, right in shapes:
        x, y = RNG.normal(size=left), RNG.normal(size=right)
        np.testing.assert_allclose(evaluate(operator.matmul, x, y), x @ y, rtol=1e-12)


def test_unary_operators_and_shifts_are_numpys(evaluate: Any) -> None:
    found = evaluate(lambda x, i: (-x, +x, abs(x), round(x), ~i, i << 2, i >> 1, ~(x > 0)), X, I)
    wanted = (-X, X, abs(X), np.rint(X), ~I, I << 2, I >> 1, ~(X > 0))
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_small_powers_become_products() -> None:
    program = nv.trace(lambda x: (x**2, x**3), "f32[4]")
    assert [node.op.mnemonic for node in program.main.nodes] == ["mul", "mul", "mul"]


@pytest.mark.parametrize("method", ["sum", "mean", "max", "min", "prod", "var", "std", "argmax", "argmin"])
def test_reductions_take_axes_and_keepdims(method: str, evaluate: Any) -> None:
    x = RNG.normal(size=(2, 3, 4))
    several = [] if method.startswith("arg") else [(0, 2), (-1, 0)]
    for axis in [None, 0, -1, *several]:
        for keepdims in (False, True):
            got = evaluate(lambda t, a=axis, k=keepdims: getattr(t, method)(axis=a, keepdims=k), x)
            np.testing.assert_allclose(got, getattr(x, method)(axis=axis, keepdims=keepdims), rtol=1e-12)


def test_shape_methods_are_numpys(evaluate: Any) -> None:
    x = RNG.normal(size=(2, 3, 4))
    functions = [
        lambda t: t.reshape(6, 4), lambda t: t.reshape((-1, 2)), lambda t: t.reshape([3, -1]), lambda t: t.T,
        lambda t: t.transpose(1, 0, 2), lambda t: t.transpose((2, 0, 1)), lambda t: t.flatten(),
        lambda t: t.reshape(1, 2, 12).squeeze(0), lambda t: t.astype(np.float32), lambda t: t.clip(-1, 0.5),
    ]  # fmt: skip
    for function in functions:
        np.testing.assert_array_equal(evaluate(function, x), function(x))
    np.testing.assert_array_equal(evaluate(lambda t: t.flatten(1), x), x.reshape(2, 12))
    np.testing.assert_array_equal(evaluate(lambda t: t.permute(2, 1, 0), x), x.T)


def test_a_tensor_says_its_shape_with_symbols() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append((x.shape[1], str(x.shape[0]), x.ndim, x.dtype, str(x.size), len(x.T), repr(x)))
        return x.reshape(x.shape[0] * 2, -1)

    program = nv.trace(f, "i64[B,8]")
    assert seen == [(8, "B", 2, i64, "8*B", 8, "Tensor(i64[B,8])")]
    assert str(program.main.outputs[0].type) == "i64[2*B,4]"


def test_a_symbolic_dim_counts_in_arithmetic() -> None:
    from nervure.ir.interpret import evaluate_program

    program = nv.trace(lambda x: (x.sum() / x.shape[0], x.mean(), x * (2 * x.shape[0] + 1)), "f64[B,3]")
    for size in (1, 5):
        x = RNG.normal(size=(size, 3))
        share, mean, scaled = evaluate_program(program, [x])
        np.testing.assert_allclose(share, x.sum() / size, rtol=1e-12)
        np.testing.assert_allclose(mean, x.mean(), rtol=1e-12)
        np.testing.assert_allclose(scaled, x * (2 * size + 1), rtol=1e-12)


def test_iteration_and_unpacking_go_over_a_static_axis(evaluate: Any) -> None:
    def f(x: Any) -> Any:
        a, b, c = x
        return a + b * c, sum(row for row in x)

    first, total = evaluate(f, X)
    np.testing.assert_allclose(first, X[0] + X[1] * X[2], rtol=1e-12)
    np.testing.assert_allclose(total, X.sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (bool, "a tensor's truth value is known when the program runs"),
        (int, "a tensor's value is known when the program runs, not as an int now"),
        (float, "a tensor's value is known when the program runs, not as a float now"),
        (np.asarray, "a tensor is no numpy array before the program runs"),
        (list, "axis 0 has B elements, known when the program runs"),
        (lambda x: 3 in x, "what a tensor contains is known when the program runs"),
        (lambda x: [1, 2][x], "a tensor's value is known when the program runs, not as an index now"),
    ],
)
def test_what_python_cannot_know_names_the_line_and_a_way_out(ask: Any, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(ask, "f32[B,2]")
    assert caught.value.message == message
    assert caught.value.where[0].startswith("tests/frontend/test_tensor.py:")
    assert caught.value.hint


def test_an_if_on_a_tensor_names_its_line() -> None:
    def f(x: Any) -> Any:
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(TraceError) as caught:
        nv.trace(f, "f32[3]")
    line = f.__code__.co_firstlineno + 1
    assert str(caught.value) == (
        "a tensor's truth value is known when the program runs\n"
        f"  at tests/frontend/test_tensor.py:{line}, in f\n"
        "  hint: choose elements with np.where, loop with nv.scan"
    )


def test_element_types_do_not_mix() -> None:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(lambda x, n: x + n, "f32[3]", "i64[3]")
    line = caught.value.where[0]
    assert str(caught.value) == (
        "add: element types differ: f32 and i64\n  operand 0: f32[3]\n  operand 1: i64[3]\n"
        f"  at {line}\n  hint: cast one with .astype('f32')"
    )


@pytest.mark.parametrize("number", [0.5, 300, -1, True])
def test_a_number_that_the_element_type_cannot_hold_is_an_error(number: Any) -> None:
    with pytest.raises(TypeInferenceError, match="is no u8, the element type of the tensor beside it"):
        nv.trace(lambda x: x * number, "u8[3]")


def test_shapes_that_do_not_broadcast_are_named_with_the_axis() -> None:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(lambda x, y: x * y, "f32[B,3]", "f32[4,3]")
    assert caught.value.message == "mul: shapes do not broadcast: axis -2 is B and 4"
    assert caught.value.details == ("operand 0: f32[B,3]", "operand 1: f32[4,3]")


def test_dividing_integers_asks_for_a_decision() -> None:
    with pytest.raises(TypeInferenceError, match="div: x is i64, expected float") as caught:
        nv.trace(lambda n: n / 2, "i64[3]")
    assert caught.value.hint == "use // or .astype('f32')"


def test_a_reshape_that_does_not_come_out_whole_is_an_error() -> None:
    with pytest.raises(TypeInferenceError, match="reshape: 3\\*B elements do not divide by 2"):
        nv.trace(lambda x: x.reshape(2, -1), "f32[B,3]")


def test_a_foreign_operand_is_a_type_error_of_python() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        nv.trace(lambda x: x + "a", "f32[3]")


def test_writing_to_a_tensor_is_an_error() -> None:
    def f(x: Any) -> Any:
        x[0] = 1
        return x

    with pytest.raises(TraceError, match="a tensor cannot be written to"):
        nv.trace(f, "f32[3]")


def test_a_tensor_that_outlives_its_trace_is_refused() -> None:
    kept: list[Any] = []
    nv.trace(lambda x: kept.append(x) or x, "f32[3]")
    with pytest.raises(TraceError, match="tensors exist only while a function is traced"):
        kept[0] + 1
    with pytest.raises(TraceError, match="used outside the function it was made in"):
        nv.trace(lambda x: x + kept[0], "f32[3]")
