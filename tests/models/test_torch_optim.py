"""Optimisers, schedules and clipping against PyTorch: trajectories of 50 steps in f64, to 1e-9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

STEPS = 50
RTOL = 1e-9
X = np.random.default_rng(3).normal(size=(8, 4))
Y = np.random.default_rng(4).normal(size=(8, 2))


def models() -> tuple[Any, Any]:
    """The same small network of the same weights, here and in PyTorch."""
    torch.manual_seed(5)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    ours = nn.Sequential(nn.Linear(4, 6, dtype="f64"), nn.Tanh(), nn.Linear(6, 2, dtype="f64"))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def hold(
    ours: Any,
    theirs: Any,
    optimizer: Any,
    descent: Any,
    *,
    clip: Any = None,
    theirs_clip: Callable[[Any], Any] | None = None,
    scheduler: Any = None,
) -> None:
    """50 steps of both; after each, the same loss and the same weights."""
    step = nv.compile(
        nv.training_step(ours, nn.mse_loss, optimizer, "f64[B,4]", "f64[B,2]", clip=clip), backend="reference"
    )
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for _ in range(STEPS):
        descent.zero_grad()
        loss = torch.nn.functional.mse_loss(theirs(x), y)
        loss.backward()
        if theirs_clip is not None:
            theirs_clip(theirs.parameters())
        if scheduler is not None:
            np.testing.assert_allclose(
                optimizer.lr, descent.param_groups[0]["lr"], rtol=1e-12, atol=1e-15, err_msg="lr"
            )
        descent.step()
        if scheduler is not None:
            scheduler.step()
        np.testing.assert_allclose(step(X, Y), loss.detach().numpy(), rtol=RTOL)
        for name, tensor in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], tensor.numpy(), rtol=RTOL, atol=1e-12)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.001, "momentum": 0.5, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.5, "eps": 1e-4}),
    ("Adagrad", {"lr": 0.001, "lr_decay": 0.02, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.05}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.01, "centered": True}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.05, "alpha": 0.95}),
    ("RMSprop", {"lr": 0.001, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.05}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.5), "amsgrad": True, "weight_decay": 0.05}),
    ("Adam", {"lr": 0.001, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2, "betas": (0.7, 0.9), "eps": 1e-5}),
    ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda v: str(v).replace(" ", ""))
def test_an_optimiser_makes_the_steps_of_pytorch(name: str, options: dict[str, Any]) -> None:
    ours, theirs = models()
    hold(
        ours,
        theirs,
        getattr(optim, name)(**options),
        getattr(torch.optim, name)(theirs.parameters(), **options),
    )


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_the_defaults_are_those_of_pytorch(name: str) -> None:
    ours, theirs = models()
    hold(ours, theirs, getattr(optim, name)(), getattr(torch.optim, name)(theirs.parameters()))


LR = torch.optim.lr_scheduler
SCHEDULES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "constant": (optim.constant(0.1), lambda o: LR.ConstantLR(o, 1.0)),
    "stepwise": (optim.stepwise(0.1, 7, 0.5), lambda o: LR.StepLR(o, 7, 0.5)),
    "piecewise": (optim.piecewise(0.1, [20, 5], 0.3), lambda o: LR.MultiStepLR(o, [5, 20], 0.3)),
    "exponential": (optim.exponential(0.1, 0.95), lambda o: LR.ExponentialLR(o, 0.95)),
    "polynomial": (optim.polynomial(0.1, 30, 2.0), lambda o: LR.PolynomialLR(o, 30, 2.0)),
    "cosine": (optim.cosine(0.1, STEPS), lambda o: LR.CosineAnnealingLR(o, STEPS)),
    "cosine_minimum": (optim.cosine(0.1, STEPS, 0.01), lambda o: LR.CosineAnnealingLR(o, STEPS, 0.01)),
    "linear": (optim.linear(0.1, 0.02, 30), lambda o: LR.LinearLR(o, 1.0, 0.2, 30)),
    "warmup": (optim.warmup(0.1, 10, start=0.1), lambda o: LR.LinearLR(o, 0.1, 1.0, 10)),
    "warmup_then_cosine": (
        optim.warmup(0.1, 10, start=0.1).then(optim.cosine(0.1, 40)),
        lambda o: LR.SequentialLR(o, [LR.LinearLR(o, 0.1, 1.0, 10), LR.CosineAnnealingLR(o, 40)], [10]),
    ),
    "function": (lambda t: 0.1 / (1 + t), lambda o: LR.LambdaLR(o, lambda t: 1 / (1 + t))),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_the_rates_of_pytorch(name: str) -> None:
    ours, theirs = models()
    rate, scheduler = SCHEDULES[name]
    descent = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.5)
    hold(ours, theirs, optim.SGD(rate, momentum=0.5), descent, scheduler=scheduler(descent))


@pytest.mark.parametrize("name", ["Adagrad", "RMSprop", "Adam", "AdamW"])
def test_every_optimiser_follows_a_schedule(name: str) -> None:
    ours, theirs = models()
    descent = getattr(torch.optim, name)(theirs.parameters(), lr=0.1)
    optimizer = getattr(optim, name)(lr=optim.exponential(0.1, 0.9))
    hold(ours, theirs, optimizer, descent, scheduler=LR.ExponentialLR(descent, 0.9))


CLIPS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "value": (optim.clip_value(0.05), lambda p: torch.nn.utils.clip_grad_value_(p, 0.05)),
    **{
        f"norm_{p}": (optim.clip_norm(0.3, p), lambda ps, p=p: torch.nn.utils.clip_grad_norm_(ps, 0.3, p))
        for p in (1.0, 2.0, 3.0, float("inf"))
    },
    "loose": (optim.clip_norm(1e3), lambda p: torch.nn.utils.clip_grad_norm_(p, 1e3)),
    "each": (optim.clip_each_norm(0.2), lambda ps: [torch.nn.utils.clip_grad_norm_(p, 0.2) for p in ps]),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_limits_what_pytorch_limits(name: str) -> None:
    ours, theirs = models()
    clip, theirs_clip = CLIPS[name]
    descent = torch.optim.SGD(theirs.parameters(), 0.5, momentum=0.9)
    hold(ours, theirs, optim.SGD(0.5, momentum=0.9), descent, clip=clip, theirs_clip=theirs_clip)
