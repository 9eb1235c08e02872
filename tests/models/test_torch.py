"""Whole networks against PyTorch: loss, the gradient of every parameter, and twenty steps of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS, digits

import nervure as nv
from nervure import nn, optim

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

BACKENDS = ["llvm", "reference"]
BATCH = 3
QUIET = 1e-5
"""No pre-activation of a ReLU and no gap between the two largest of a pool's window is smaller."""

SEEDS = {"mlp": 11, "lenet": 6, "classic_lenet": 0, "vgg": 9, "vgg_with_batch_norm": 0}
"""Of data and weights; those where nothing lies so near a kink that rounding decides the side."""


@pytest.fixture(scope="module", autouse=True)
def one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An object cache of the file's own, and PyTorch without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield
    torch.set_num_threads(threads)


class Gradients(optim.Optimizer):
    """Leaves in each parameter its gradient, with every digit."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def step(self, weight: Any, gradient: Any, moments: Any, rates: Any) -> Any:
        return gradient, {}


def pair(name: str, dtype: str, seed: int | None = None) -> tuple[Any, Any]:
    """The same network, of the same weights, here and in PyTorch."""
    build, _ = NETWORKS[name]
    torch.manual_seed(SEEDS[name] if seed is None else seed)
    theirs = build(torch.nn).to({"f32": torch.float32, "f64": torch.float64}[dtype])
    with torch.no_grad():
        for key, tensor in theirs.named_parameters():
            if key.endswith("bias"):
                tensor.uniform_(-0.3, 0.3)
    ours = build(nn, dtype=dtype)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def specs(name: str, dtype: str) -> tuple[str, str]:
    return f"{dtype}[{','.join(['B', *map(str, NETWORKS[name][1])])}]", "i64[B]"


def data(name: str, dtype: str, count: int = BATCH, seed: int | None = None) -> tuple[Any, Any]:
    x, labels = digits(NETWORKS[name][1], count, SEEDS[name] if seed is None else seed)
    return x.astype({"f32": np.float32, "f64": np.float64}[dtype]), labels


def distance_to_kinks(network: Any, x: Any) -> float:
    """The smallest |pre-activation| of a ReLU, and gap in a pool's window whose largest element is not 0."""
    found: list[float] = []

    def relu(_: Any, inputs: Any, __: Any) -> None:
        found.append(float(inputs[0].abs().min()))

    def pool(module: Any, inputs: Any, __: Any) -> None:
        size = module.kernel_size
        windows = inputs[0].unfold(2, size, size).unfold(3, size, size).flatten(-2)
        first, second = windows.topk(2, dim=-1).values.unbind(-1)
        # all 0 behind a ReLU: whichever is chosen, no gradient passes the ReLU
        found.append(float((first - second)[first > 0].min()))

    hooks = {torch.nn.ReLU: relu, torch.nn.MaxPool2d: pool}
    handles = [m.register_forward_hook(hooks[type(m)]) for m in network.modules() if type(m) in hooks]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return min(found, default=np.inf)


def torch_gradients(theirs: Any, x: Any, labels: Any) -> tuple[float, dict[str, Any]]:
    theirs.zero_grad()
    loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(labels))
    loss.backward()
    return loss.item(), {k: p.grad.numpy().copy() for k, p in theirs.named_parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seeds_are_far_from_every_kink(name: str) -> None:
    _, theirs = pair(name, "f64")
    x, _ = data(name, "f64")
    assert distance_to_kinks(theirs, torch.from_numpy(x)) > QUIET


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_loss_and_every_gradient_are_pytorchs(name: str, backend: str, dtype: str) -> None:
    ours, theirs = pair(name, dtype)
    x, labels = data(name, dtype)
    step = nv.compile(
        nv.training_step(ours, nn.cross_entropy, Gradients(), *specs(name, dtype)), backend=backend
    )
    loss = step(x, labels)
    wanted, slopes = torch_gradients(theirs, x, labels)
    assert loss == pytest.approx(wanted, rel=1e-9 if dtype == "f64" else 1e-5)
    found = {key: parameter.data for key, parameter in ours.named_parameters()}
    assert list(found) == list(slopes)
    for key, slope in slopes.items():
        largest = np.abs(slope).max()
        if name == "vgg_with_batch_norm" and is_bias_before_norm(theirs, key):
            # the norm takes the mean away: the true gradient is 0, and both give rounding of the sums behind it
            assert largest < 1e-5 and np.abs(found[key]).max() < 1e-5
            continue
        assert largest > 1e-6, key
        tolerance = (
            {"rtol": 1e-9, "atol": 1e-13 * largest} if dtype == "f64" else {"rtol": 0, "atol": 1e-4 * largest}
        )
        np.testing.assert_allclose(found[key], slope, **tolerance, err_msg=key)


def is_bias_before_norm(theirs: Any, key: str) -> bool:
    place, kind = key.split(".")
    following = theirs[int(place) + 1] if int(place) + 1 < len(theirs) else None
    return (
        kind == "bias"
        and isinstance(theirs[int(place)], torch.nn.Conv2d)
        and isinstance(following, torch.nn.BatchNorm2d)
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_value_and_grad_of_a_function_is_pytorchs(backend: str) -> None:
    ours, theirs = pair("mlp", "f64")
    x, labels = data("mlp", "f64")
    arrays = [p.data for p in ours.parameters()]

    def loss(x: Any, y: Any, w0: Any, b0: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        h = nn.tanh(nn.linear(nn.relu(nn.linear(x, w0, b0)), w1, b1))
        return nn.cross_entropy(nn.linear(h, w2, b2), y)

    run = nv.compile(nv.value_and_grad(loss, range(2, 8)), x, labels, *arrays, backend=backend)
    value, *found = run(x, labels, *arrays)
    wanted, slopes = torch_gradients(theirs, x, labels)
    assert value == pytest.approx(wanted, rel=1e-9)
    for slope, (key, want) in zip(found, slopes.items(), strict=True):
        np.testing.assert_allclose(slope, want, rtol=1e-9, atol=1e-13 * np.abs(want).max(), err_msg=key)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_pytorchs_with_statistics_of_its_own(name: str) -> None:
    ours, theirs = pair(name, "f64")
    x, _ = data(name, "f64", 5)
    with torch.no_grad():
        theirs(torch.from_numpy(x))
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        wanted = theirs.eval()(torch.from_numpy(x)).numpy()
    found = nv.compile(ours, specs(name, "f64")[0])(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


OPTIMISERS = {
    "sgd": ("SGD", {"lr": 0.02, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 5e-3}),
}


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_twenty_steps_of_training_follow_pytorch(name: str, optimizer: str) -> None:
    kind, options = OPTIMISERS[optimizer]
    ours, theirs = pair(name, "f64")
    if name == "vgg_with_batch_norm":
        # their gradient is rounding, which Adam would blow up to full steps
        frozen = [key for key, _ in theirs.named_parameters() if is_bias_before_norm(theirs, key)]
        for parameters in (dict(ours.named_parameters()), dict(theirs.named_parameters())):
            for key in frozen:
                parameter = parameters[key]
                if isinstance(parameter, nn.Parameter):
                    parameter.trainable = False
                else:
                    parameter.requires_grad_(False)
    program = nv.training_step(ours, nn.cross_entropy, getattr(optim, kind)(**options), *specs(name, "f64"))
    step = nv.compile(program)
    optimiser = getattr(torch.optim, kind)([p for p in theirs.parameters() if p.requires_grad], **options)
    x, labels = data(name, "f64", 20)
    losses: list[float] = []
    for turn in range(20):
        batch = slice(5 * (turn % 4), 5 * (turn % 4) + 5)
        losses.append(float(step(x[batch], labels[batch])))
        optimiser.zero_grad()
        wanted = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(x[batch])), torch.from_numpy(labels[batch])
        )
        wanted.backward()
        optimiser.step()
        assert losses[-1] == pytest.approx(wanted.item(), rel=1e-7), f"step {turn}"
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4]), "it learned"
    for key, tensor in theirs.state_dict().items():
        array = tensor.detach().numpy()
        largest = float(np.abs(array).max())
        np.testing.assert_allclose(ours.state_dict()[key], array, rtol=0, atol=1e-7 * largest, err_msg=key)
