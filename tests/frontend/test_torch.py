"""Layers, initial shapes and optimisers against PyTorch, in f64 to 1e-9."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.interpret import evaluate_program

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

RNG = np.random.default_rng(17)
RTOL = 1e-9


def close(got: Any, want: Any) -> None:
    wanted = want.detach().numpy()
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=RTOL, atol=1e-12)


def both(ours: Any, theirs: Any, *arrays: Any, training: bool = False) -> None:
    """The same weights, the same inputs, the same results."""
    theirs = theirs.double().train(training)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    want = theirs(*map(torch.from_numpy, arrays))
    program = nv.trace(ours, *arrays, training=training)
    got = evaluate_program(program, list(arrays), write=True)
    for g, w in zip(got, want if isinstance(want, tuple) else (want,), strict=True):
        close(g, w)
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor)


CONVOLUTIONS = [
    {}, {"stride": 2}, {"stride": (2, 1), "padding": (1, 2)}, {"dilation": 2, "padding": 2}, {"groups": 2},
    {"padding": "same"}, {"padding": "same", "dilation": (1, 3)}, {"padding": "valid", "bias": False}, {"groups": 4},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("kernel", [3, (2, 4)])
def test_conv2d_with_every_option(options: dict[str, Any], kernel: Any) -> None:
    ours, theirs = nn.Conv2d(4, 8, kernel, dtype="f64", **options), torch.nn.Conv2d(4, 8, kernel, **options)
    both(ours, theirs, RNG.normal(size=(2, 4, 11, 10)))


def test_conv2d_with_four_paddings() -> None:
    x, w = RNG.normal(size=(1, 2, 6, 6)), RNG.normal(size=(3, 2, 3, 3))
    program = nv.trace(lambda a, b: nn.conv2d(a, b, padding=(0, 1, 2, 3)), x, w)
    padded = torch.nn.functional.pad(torch.from_numpy(x), (2, 3, 0, 1))
    close(evaluate_program(program, [x, w])[0], torch.nn.functional.conv2d(padded, torch.from_numpy(w)))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (3, 3, 1), (2, 3, 1)]
)
def test_pools_with_every_option(kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> None:
    for size in (7, 8, 9):
        x = RNG.normal(size=(2, 3, size, size + 1))
        for dilation in (1, 2) if size > 7 else (1,):
            options = {"padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
            both(nn.MaxPool2d(kernel, stride, **options), torch.nn.MaxPool2d(kernel, stride, **options), x)
        for include in (False, True):
            given = (kernel, stride, padding, ceil_mode, include)
            both(nn.AvgPool2d(*given), torch.nn.AvgPool2d(*given), x)


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (3,)])
def test_linear(shape: tuple[int, ...]) -> None:
    both(nn.Linear(3, 2, dtype="f64"), torch.nn.Linear(3, 2), RNG.normal(size=shape))


@pytest.mark.parametrize(
    "name", ["ReLU", "LeakyReLU", "Tanh", "Sigmoid", "GELU", "SiLU", "Softplus", "Identity", "Flatten"]
)
def test_activations(name: str) -> None:
    both(getattr(nn, name)(), getattr(torch.nn, name)(), 3 * RNG.normal(size=(4, 5, 6)))


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_along_each_axis(name: str, dim: int) -> None:
    both(getattr(nn, name)(dim), getattr(torch.nn, name)(dim), 5 * RNG.normal(size=(4, 5, 6)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"momentum": 0.3, "eps": 1e-3}, {"track_running_stats": False}],
    ids=str,
)  # fmt: skip
def test_batch_norm_and_its_statistics(training: bool, options: dict[str, Any]) -> None:
    ours, theirs = nn.BatchNorm2d(3, dtype="f64", **options), torch.nn.BatchNorm2d(3, **options)
    with torch.no_grad():
        for name, tensor in theirs.named_buffers():
            if name != "num_batches_tracked":
                tensor += torch.from_numpy(RNG.uniform(0.1, 1, 3))
    both(ours, theirs, RNG.normal(1, 2, (4, 3, 5, 6)), training=training)
    both(ours, theirs, RNG.normal(1, 2, (4, 3, 5, 6)), training=training)
    both(
        nn.BatchNorm1d(3, dtype="f64"), torch.nn.BatchNorm1d(3), RNG.normal(size=(4, 3, 5)), training=training
    )
    both(nn.BatchNorm1d(3, dtype="f64"), torch.nn.BatchNorm1d(3), RNG.normal(size=(4, 3)), training=training)


@pytest.mark.parametrize(
    "options", [{}, {"nonlinearity": "relu"}, {"bias": False}, {"batch_first": True}, {"num_layers": 2},
                {"bidirectional": True}, {"num_layers": 2, "bidirectional": True, "batch_first": True}],
    ids=str,
)  # fmt: skip
def test_rnn_in_all_arrangements(options: dict[str, Any]) -> None:
    ours, theirs = nn.RNN(3, 4, dtype="f64", **options), torch.nn.RNN(3, 4, **options)
    x = RNG.normal(size=(2, 6, 3) if options.get("batch_first") else (6, 2, 3))
    both(ours, theirs, x)
    h0 = RNG.normal(size=(options.get("num_layers", 1) * (1 + options.get("bidirectional", False)), 2, 4))
    both(ours, theirs, x, h0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction: str) -> None:
    functional = torch.nn.functional
    x, y = RNG.normal(size=(5, 4)), RNG.uniform(size=(5, 4))
    labels, images = RNG.integers(0, 4, 5), RNG.normal(size=(2, 4, 3))
    cases = [
        ("mse_loss", x, y), ("l1_loss", x, y), ("binary_cross_entropy_with_logits", x, y), ("cross_entropy", x, labels),
        ("nll_loss", x, labels), ("cross_entropy", images, RNG.integers(0, 4, (2, 3))),
    ]  # fmt: skip
    for name, a, b in cases:
        ours, theirs = getattr(nn, name), getattr(functional, name)
        program = nv.trace(lambda u, v, f=ours: f(u, v, reduction=reduction), a, b)
        got = evaluate_program(program, [a, b])[0]
        close(got, theirs(torch.from_numpy(a), torch.from_numpy(b), reduction=reduction))


def test_names_shapes_and_types_of_a_state_dict_are_pytorchs() -> None:
    def build(n: Any) -> Any:
        return n.Sequential(
            n.Conv2d(1, 6, 5, groups=1), n.BatchNorm2d(6), n.ReLU(), n.Flatten(), n.Linear(24, 5), n.BatchNorm1d(5),
            n.RNN(5, 2, 2, bidirectional=True),
        )  # fmt: skip

    ours, theirs = build(nn).state_dict(), build(torch.nn).state_dict()
    assert [(k, v.shape, str(v.dtype)) for k, v in ours.items()] == [
        (k, tuple(v.shape), str(v.numpy().dtype)) for k, v in theirs.items()
    ]


OPTIMISERS = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}), ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}), ("Adam", {}), ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.5, 0.8), "eps": 1e-3}), ("AdamW", {"lr": 0.05}), ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OPTIMISERS, ids=str)
def test_training_steps_follow_pytorch(name: str, options: dict[str, Any]) -> None:
    def build(n: Any, **more: Any) -> Any:
        return n.Sequential(
            n.Linear(4, 6, **more), n.Tanh(), n.BatchNorm1d(6, **more), n.Linear(6, 3, **more)
        )

    ours, theirs = build(nn, dtype="f64"), build(torch.nn).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    step = nv.training_step(ours, nn.cross_entropy, getattr(optim, name)(**options), "f64[B,4]", "i64[B]")
    optimiser = getattr(torch.optim, name)(theirs.parameters(), **options)
    for _ in range(5):
        x, labels = RNG.normal(size=(7, 4)), RNG.integers(0, 3, 7)
        (loss,) = evaluate_program(step, [x, labels], write=True)
        optimiser.zero_grad()
        wanted = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
        wanted.backward()
        optimiser.step()
        close(loss, wanted)
    for key, tensor in theirs.state_dict().items():
        close(ours.state_dict()[key], tensor)


def lenet(n: Any, **more: Any) -> Any:
    return n.Sequential(
        n.Conv2d(1, 6, 5, padding=2, **more), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(6, 16, 5, **more), n.ReLU(), n.MaxPool2d(2), n.Flatten(),
        n.Linear(400, 120, **more), n.ReLU(), n.Linear(120, 84, **more), n.ReLU(), n.Linear(84, 10, **more),
    )  # fmt: skip


def classic_lenet(n: Any, **more: Any) -> Any:
    return n.Sequential(
        n.Conv2d(1, 6, 5, padding=2, **more), n.Tanh(), n.AvgPool2d(2),
        n.Conv2d(6, 16, 5, **more), n.Tanh(), n.AvgPool2d(2), n.Flatten(), n.Linear(400, 10, **more),
    )  # fmt: skip


def vgg(n: Any, **more: Any) -> Any:
    layers: list[Any] = []
    for before, after in ((1, 4), (4, 8)):
        layers += [n.Conv2d(before, after, 3, padding=1, **more), n.BatchNorm2d(after, **more), n.ReLU()]
        layers += [
            n.Conv2d(after, after, 3, padding=1, groups=2, bias=False, **more),
            n.ReLU(),
            n.MaxPool2d(3, 2, 1),
        ]
    return n.Sequential(*layers, n.Flatten(), n.Linear(8 * 49, 10, **more))


@pytest.mark.parametrize("build", [lenet, classic_lenet, vgg])
def test_whole_networks_train_as_in_pytorch(build: Any) -> None:
    ours, theirs = build(nn, dtype="f64"), build(torch.nn).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    step = nv.training_step(ours, nn.cross_entropy, optim.SGD(0.05, momentum=0.9), "f64[B,1,28,28]", "i64[B]")
    optimiser = torch.optim.SGD(theirs.parameters(), 0.05, momentum=0.9)
    for _ in range(3):
        x, labels = RNG.normal(size=(4, 1, 28, 28)), RNG.integers(0, 10, 4)
        (loss,) = evaluate_program(step, [x, labels], write=True)
        optimiser.zero_grad()
        wanted = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
        wanted.backward()
        optimiser.step()
        close(loss, wanted)
    for key, tensor in theirs.state_dict().items():
        close(ours.state_dict()[key], tensor)
