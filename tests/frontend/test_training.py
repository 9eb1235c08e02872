"""Training steps, optimisers, gradients, and the store that programs share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError, NervureError, TraceError
from nervure.ir.interpret import evaluate_program
from nervure.ir.verify import verify_program

RNG = np.random.default_rng(31)


def mlp() -> Any:
    return nn.Sequential(nn.Linear(2, 8, dtype="f64"), nn.Tanh(), nn.Linear(8, 2, dtype="f64"))


def compiled(model: Any, *specs: Any) -> Any:
    return nv.compile(model, *specs, backend="reference", opt=0)


XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
LABELS = np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    "optimizer", [optim.SGD(lr=0.5, momentum=0.9), optim.Adam(lr=0.05)], ids=["sgd", "adam"]
)
def test_a_small_net_learns_and_the_inference_executable_sees_it(optimizer: Any) -> None:
    nv.seed(4)
    model = mlp()
    run = compiled(model, "f64[B,2]")
    step = compiled(nv.training_step(model, nn.cross_entropy, optimizer, "f64[B,2]", "i64[B]"))
    losses = [float(step(XOR, LABELS)) for _ in range(80)]
    assert losses[-1] < 0.05 < losses[0]
    assert run(XOR).argmax(axis=1).tolist() == LABELS.tolist()


def test_a_step_is_one_graph_that_returns_the_loss_and_updates_the_store() -> None:
    program = nv.training_step(mlp(), nn.cross_entropy, optim.SGD(0.1, momentum=0.9), "f64[B,2]", "i64[B]")
    verify_program(program)
    assert program.name == "sequential_step"
    assert list(program.graphs) == ["step"]
    assert [v.name for v in program.main.inputs] == ["x", "target"]
    params = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [n for n, _ in program.main.updates] == params + [f"optimizer.momentum.{n}" for n in params]
    assert list(program.store) == [*params, "optimizer.lr", *(f"optimizer.momentum.{n}" for n in params)]


def test_the_learning_rate_changes_at_run_time() -> None:
    model, optimizer = nn.Linear(2, 1, bias=False, dtype="f64"), optim.SGD(lr=0.5)
    step = compiled(nv.training_step(model, nn.mse_loss, optimizer, "f64[4,2]", "f64[4,1]"))
    x, y = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 1))
    for rate in (0.5, 0.25, 0.0):
        optimizer.lr = rate
        before = model.weight.data.copy()
        slope = 2 * ((x @ before.T) - y).T @ x / 4
        step(x, y)
        np.testing.assert_allclose(model.weight.data, before - rate * slope, rtol=1e-12)
        assert optimizer.lr == rate


def test_steps_of_one_optimiser_share_its_state() -> None:
    model, optimizer = mlp(), optim.Adam()
    first, second = (
        nv.training_step(model, nn.cross_entropy, optimizer, f"f64[{n},2]", f"i64[{n}]") for n in (1, 4)
    )
    assert first.store["optimizer.step"] is second.store["optimizer.step"]
    assert first.store["optimizer.mean.0.weight"] is second.store["optimizer.mean.0.weight"]
    evaluate_program(first, [XOR[:1], LABELS[:1]], write=True)
    evaluate_program(second, [XOR, LABELS], write=True)
    assert second.store["optimizer.step"].data == 2
    with pytest.raises(NervureError, match=r"Adam has state for another parameter named 0\.weight"):
        nv.training_step(mlp(), nn.cross_entropy, optimizer, "f64[4,2]", "i64[4]")


def test_frozen_weights_stay_and_the_rest_learns() -> None:
    model = mlp()
    model[0].freeze()
    program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f64[B,2]", "i64[B]")
    assert [n for n, _ in program.main.updates] == ["2.weight", "2.bias"]
    model.freeze()
    with pytest.raises(TraceError, match="nothing to train"):
        nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f64[B,2]", "i64[B]")


def test_a_step_carries_on_statistics_and_keys() -> None:
    model = nn.Sequential(
        nn.Linear(2, 4, dtype="f64"),
        nn.BatchNorm1d(4, dtype="f64"),
        nn.Dropout(),
        nn.Linear(4, 2, dtype="f64"),
    )
    program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f64[B,2]", "i64[B]")
    updated = {n for n, _ in program.main.updates}
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked", "2.key"} <= updated
    key = model[2].key.data.copy()
    evaluate_program(program, [XOR, LABELS], write=True)
    assert model[1].num_batches_tracked.data == 1
    assert (model[2].key.data != key).any()


def test_the_state_of_a_step_can_be_saved_and_resumed() -> None:
    def fresh() -> Any:
        nv.seed(6)
        return compiled(nv.training_step(mlp(), nn.cross_entropy, optim.Adam(0.05), "f64[4,2]", "i64[4]"))

    first, second = fresh(), fresh()
    for _ in range(3):
        first(XOR, LABELS)
    second.load_state_dict(first.state_dict())
    assert float(first(XOR, LABELS)) == float(second(XOR, LABELS))
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name])


def test_a_loss_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(TraceError) as caught:
        nv.training_step(mlp(), lambda y, t: y, optim.SGD(0.1), "f64[B,2]", "i64[B]")
    assert caught.value.message == "training_step: the loss is f64[B,2], expected a float scalar"
    assert caught.value.hint == "use .mean() or .sum()"


def test_a_loss_may_take_several_targets_and_a_tuple_of_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(2, 2, dtype="f64")

        def __call__(self, x: Any, y: Any) -> Any:
            return self.fc(x), self.fc(y)

    def loss(outputs: Any, a: Any, b: Any) -> Any:
        return nn.mse_loss(outputs[0], a) + nn.mse_loss(outputs[1], b)

    program = nv.training_step(Two(), loss, optim.SGD(0.1), *["f64[3,2]"] * 4)
    assert [v.name for v in program.main.inputs] == ["x", "y", "a", "b"]
    verify_program(program)


def test_an_rnn_learns_through_its_scan() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            self.rnn = nn.RNN(2, 5, dtype="f64")
            self.out = nn.Linear(5, 1, dtype="f64")

        def __call__(self, x: Any) -> Any:
            _, h = self.rnn(x)
            return self.out(h[0])

    nv.seed(8)
    step = nv.training_step(Last(), nn.mse_loss, optim.SGD(0.1), "f64[4,6,2]", "f64[6,1]")
    x, y = RNG.normal(size=(4, 6, 2)), RNG.normal(size=(6, 1))
    losses = [float(evaluate_program(step, [x, y], write=True)[0]) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]


def f(x: Any, y: Any) -> Any:
    return (x**3 * y + np.sin(y)).sum()


X, Y = RNG.normal(size=3), RNG.normal(size=3)


def test_grad_differentiates_by_one_argument_or_several(evaluate: Any) -> None:
    np.testing.assert_allclose(evaluate(nv.grad(f), X, Y), 3 * X**2 * Y, rtol=1e-12)
    np.testing.assert_allclose(evaluate(nv.grad(f, argnums=1), X, Y), X**3 + np.cos(Y), rtol=1e-12)
    value, (dx, dy) = None, evaluate(nv.grad(f, (0, -1)), X, Y)
    np.testing.assert_allclose(dx, 3 * X**2 * Y, rtol=1e-12)
    np.testing.assert_allclose(dy, X**3 + np.cos(Y), rtol=1e-12)
    value, slope = evaluate(nv.value_and_grad(f), X, Y)
    np.testing.assert_allclose(value, f(X, Y), rtol=1e-12)
    np.testing.assert_allclose(slope, 3 * X**2 * Y, rtol=1e-12)


def test_grad_of_grad_is_the_second_derivative(evaluate: Any) -> None:
    second = nv.grad(lambda x, y: nv.grad(f)(x, y).sum())
    np.testing.assert_allclose(evaluate(second, X, Y), 6 * X * Y, rtol=1e-12)


def test_one_tensor_for_two_arguments_has_a_gradient_by_each(evaluate: Any) -> None:
    np.testing.assert_allclose(evaluate(lambda x: nv.grad(f)(x, x), X), 3 * X**3, rtol=1e-12)


def test_an_argument_that_does_not_matter_has_gradient_zero(evaluate: Any) -> None:
    assert evaluate(nv.grad(lambda x, y: x.sum(), argnums=1), X, Y).tolist() == [0, 0, 0]


def test_a_program_becomes_the_program_of_its_gradient_again_and_again() -> None:
    program = nv.trace(lambda x: (x**3).sum(), "f64[]")
    first = nv.grad(program)
    verify_program(first)
    assert [v.name for v in first.main.inputs] == ["x"]
    assert evaluate_program(first, [np.array(2.0)])[0] == 12
    assert evaluate_program(nv.grad(first), [np.array(2.0)])[0] == 12
    assert [float(v) for v in evaluate_program(nv.value_and_grad(program), [np.array(2.0)])] == [8, 12]
    assert len(program.main.outputs) == 1


def test_inputs_of_a_traced_gradient_keep_their_names() -> None:
    program = nv.trace(nv.grad(f), "f64[3]", "f64[3]")
    assert [v.name for v in program.main.inputs] == ["x", "y"]
    assert program.name == "f"


@pytest.mark.parametrize(
    ("function", "argnums", "message"),
    [
        (lambda x: x, 0, "grad: the function returns f64[3], expected a float scalar"),
        (lambda x: x.sum(), 1, "grad: argnums has 1, the function takes 1 arguments"),
        (lambda x: x.argmax(), 0, "grad: the function returns i64[], expected a float scalar"),
    ],
)
def test_what_has_no_gradient_says_why(function: Any, argnums: int, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        nv.trace(nv.grad(function, argnums), "f64[3]")
    assert caught.value.message == message
    with pytest.raises(TraceError, match="an argument is i64"):
        nv.trace(nv.grad(lambda n: n.sum().astype("f64")), "i64[3]")


def test_compile_takes_modules_functions_and_programs() -> None:
    model = nn.Linear(2, 2, dtype="f64")
    x = RNG.normal(size=(3, 2))
    want = x @ model.weight.data.T + model.bias.data
    program = nv.trace(model, "f64[B,2]")
    for run in (compiled(model, "f64[B,2]"), compiled(program), compiled(lambda t: model(t), x)):  # noqa: PLW0108
        np.testing.assert_allclose(run(x), want, rtol=1e-12)
    with pytest.raises(InputError, match="a program has its types already"):
        compiled(program, "f64[B,2]")
