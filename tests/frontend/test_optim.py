"""Optimisers, schedules and clipping: what they write into the store, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import NervureError, TraceError
from nervure.ir.text import parse_program, print_program
from nervure.ir.verify import verify_program

RNG = np.random.default_rng(12)
X, Y = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 1))

EVERY: dict[str, Any] = {
    "sgd": optim.SGD,
    "momentum": lambda lr: optim.SGD(lr, momentum=0.9, dampening=0.1),
    "nesterov": lambda lr: optim.SGD(lr, momentum=0.9, nesterov=True),
    "adagrad": lambda lr: optim.Adagrad(lr, lr_decay=0.1),
    "rmsprop": lambda lr: optim.RMSprop(lr, momentum=0.5, centered=True),
    "adam": lambda lr: optim.Adam(lr, amsgrad=True),
    "adamw": optim.AdamW,
}


def linear(dtype: str = "f64") -> Any:
    nv.seed(2)
    return nn.Linear(2, 1, bias=False, dtype=dtype)


def step_of(model: Any, optimizer: Any, dtype: str = "f64", **options: Any) -> Any:
    return nv.training_step(model, nn.mse_loss, optimizer, f"{dtype}[4,2]", f"{dtype}[4,1]", **options)


def compiled(program: Any, backend: str = "reference") -> Any:
    return nv.compile(program, backend=backend, opt=2)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
@pytest.mark.parametrize("name", EVERY)
def test_every_optimiser_with_a_schedule_and_clipping_runs_on_every_backend(name: str, backend: str) -> None:
    rate = optim.warmup(0.1, 2, start=0.5).then(optim.cosine(0.1, 4))

    def weights(on: str) -> Any:
        model = linear()
        step = compiled(step_of(model, EVERY[name](rate), clip=optim.clip_norm(0.5)), on)
        for _ in range(6):
            step(X, Y)
        return model.weight.data.copy()

    np.testing.assert_allclose(weights(backend), weights("reference"), rtol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_every_optimiser_brings_a_regression_to_its_minimum(name: str) -> None:
    model = linear()
    target = X @ np.array([[0.5], [-1.5]])
    step = compiled(step_of(model, EVERY[name](optim.cosine(0.3, 400))))
    losses = [float(step(X, target)) for _ in range(400)]
    assert losses[-1] < 1e-2 * losses[0]


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("name", EVERY)
def test_the_rate_keeps_its_digits_where_weights_are_narrow(name: str, dtype: str) -> None:
    program = step_of(linear(dtype), EVERY[name](1e-3), dtype, clip=optim.clip_norm(1.0))
    verify_program(program)
    assert program.store["optimizer.lr"].type.dtype.name == "f32"
    assert [v.type.dtype.name for n, v in program.main.updates if n == "weight"] == [dtype]


def test_a_step_with_a_schedule_prints_and_parses_back() -> None:
    program = step_of(linear(), optim.SGD(optim.stepwise(0.1, 3)), clip=optim.clip_value(1.0))
    text = print_program(program)
    assert "pow" in text and "floor" in text
    again = print_program(parse_program(text))
    assert again.partition("graph")[2] == text.partition("graph")[2]


def test_a_schedule_counts_steps_in_the_store() -> None:
    optimizer = optim.SGD(optim.linear(0.4, 0.0, 4))
    program = step_of(linear(), optimizer)
    assert [n for n in program.store if n.startswith("optimizer.")] == ["optimizer.step"]
    step = compiled(program)
    rates = []
    for _ in range(6):
        rates.append(optimizer.lr)
        step(X, Y)
    np.testing.assert_allclose(rates, [0.4, 0.3, 0.2, 0.1, 0, 0], atol=1e-15)
    assert optimizer.steps == 6
    with pytest.raises(NervureError, match="lr follows a schedule and cannot be set"):
        optimizer.lr = 0.1


def test_a_schedule_can_be_read_at_any_step() -> None:
    schedule = optim.warmup(1.0, 10).then(optim.cosine(1.0, 20, minimum=0.1)).then(0.05)
    assert schedule.at(0) == 0
    assert schedule.at(5) == 0.5
    assert schedule.at(10) == 1
    assert schedule.at(20) == pytest.approx(0.55)
    assert [schedule.at(k) for k in (30, 31, 10**15)] == [0.05] * 3
    assert optim.exponential(0.1, 0.0).at(0) == 0.1
    assert optim.stepwise(1.0, 3, 0.5).at(2**53 + 1) == 0


def test_a_schedule_of_an_f32_model_is_exact_in_its_count() -> None:
    late = 2**24 + 1
    model, optimizer = linear("f32"), optim.SGD(lambda t: t - 2**24)
    program = step_of(model, optimizer, "f32")
    program.store["optimizer.step"].assign(np.int64(late))
    before = model.weight.data.copy()
    x, y = X.astype(np.float32), Y.astype(np.float32)
    compiled(program)(x, y)
    slope = 2 * ((x @ before.T) - y).T @ x / 4
    np.testing.assert_allclose(model.weight.data, before - slope, rtol=1e-5)


def test_clipping_by_norm_scales_all_gradients_together() -> None:
    model = nn.Sequential(nn.Linear(2, 3, dtype="f64"), nn.Linear(3, 1, dtype="f64"))
    before = model.state_dict()
    compiled(step_of(model, optim.SGD(1.0), clip=optim.clip_norm(0.1)))(X, 100 + Y)
    moved = [before[n] - a for n, a in model.state_dict().items()]
    assert np.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.1, rel=1e-6)


def test_clipping_leaves_small_gradients_alone() -> None:
    first, second = linear(), linear()
    compiled(step_of(first, optim.SGD(0.1)))(X, Y)
    compiled(step_of(second, optim.SGD(0.1), clip=optim.clip_each_norm(1e6)))(X, Y)
    np.testing.assert_array_equal(first.weight.data, second.weight.data)


def test_any_function_of_the_gradients_may_stand_between() -> None:
    model = linear()
    before = model.weight.data.copy()
    clip = lambda gradients: {n: np.sign(g) for n, g in gradients.items()}  # noqa: E731
    compiled(step_of(model, optim.SGD(0.5), clip=clip))(X, Y)
    np.testing.assert_allclose(np.abs(model.weight.data - before), 0.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(-0.1), "SGD: lr is -0.1, expected at least 0"),
        (lambda: optim.SGD(float("nan")), "SGD: lr is nan, expected at least 0"),
        (lambda: optim.SGD(momentum=-1), "SGD: momentum is -1, expected at least 0"),
        (lambda: optim.SGD(weight_decay=-1), "SGD: weight_decay is -1, expected at least 0"),
        (lambda: optim.SGD(nesterov=True), "SGD: nesterov needs a momentum above 0 and no dampening"),
        (lambda: optim.RMSprop(alpha=1.0), "RMSprop: alpha is 1.0, expected 0 <= alpha < 1"),
        (lambda: optim.Adagrad(lr_decay=-1.0), "Adagrad: lr_decay is -1.0, expected at least 0"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), "Adam: betas[1] is 1.0, expected 0 <= betas[1] < 1"),
        (lambda: optim.AdamW(eps=-1e-8), "AdamW: eps is -1e-08, expected at least 0"),
        (lambda: optim.SGD("fast"), "a learning rate is str, expected a number or a schedule"),  # type: ignore[arg-type]
        (lambda: optim.cosine(0.1, 0), "cosine: steps is 0, expected at least 1"),
        (lambda: optim.exponential(-1, 0.9), "exponential: lr is -1, expected at least 0"),
        (lambda: optim.constant(0.1).then(0.2), "then: the first schedule has no end"),
        (lambda: optim.clip_norm(0.0), "clip_norm: expected a number above 0, got 0.0"),
        (
            lambda: optim.Schedule.of(lambda t: np.ones(2)).at(0),
            "a schedule returned f64[2], expected a float scalar",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(NervureError) as caught:
        make()
    assert caught.value.message == message


def test_a_name_that_is_not_in_the_model_cannot_be_trained() -> None:
    with pytest.raises(TraceError, match="trainable names wieght, which the model has not"):
        step_of(linear(), optim.SGD(0.1), trainable=["wieght"])


@pytest.mark.parametrize("name", ["adam", "momentum", "sgd"])
def test_a_parameter_that_joins_later_needs_its_own_first_steps(name: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3, dtype="f64"), nn.Linear(3, 1, dtype="f64"))
    optimizer = EVERY[name](0.1)
    compiled(step_of(model, optimizer, trainable=["1"]))(X, Y)
    compiled(step_of(model, optimizer, trainable=["1"]))(X, Y)
    if name == "sgd":
        compiled(step_of(model, optimizer))(X, Y)
        return
    with pytest.raises(NervureError, match=r"0\.weight is new after 2 steps"):
        step_of(model, optimizer)
