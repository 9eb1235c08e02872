"""Every layer against PyTorch over a grid of arguments: results and gradients by inputs and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning"),
]
torch = pytest.importorskip("torch")

from torch_grid import RUNS, agree, normal, pair  # noqa: E402  torch may be missing

import nervure as nv  # noqa: E402
from nervure import nn  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An object cache of the file's own, and PyTorch without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield
    torch.set_num_threads(threads)


def ids(case: Any) -> str:
    return " ".join(str(part) for part in case) if isinstance(case, tuple) else str(case)


over_runs = pytest.mark.parametrize("run", RUNS, ids=ids)

CONVOLUTIONS: list[tuple[Any, ...]] = [
    ("Conv1d", (4, 6, 3), {}, (2, 4, 9)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv1d", (4, 4, 2), {"padding": "same", "dilation": 3, "groups": 4}, (2, 4, 9)),
    ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "bias": False}, (2, 3, 7, 6)),
    ("Conv2d", (4, 6, 3), {"dilation": 2, "padding": "same", "groups": 2}, (1, 4, 7, 7)),
    ("Conv2d", (4, 4, 3), {"groups": 4, "padding": "valid"}, (2, 4, 6, 6)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": 1, "stride": 2}, (2, 4, 6, 6)),
    ("Conv3d", (2, 4, 2), {}, (1, 2, 4, 4, 4)),
    ("Conv3d", (2, 4, (1, 3, 2)), {"stride": (1, 2, 1), "padding": (0, 1, 1), "groups": 2}, (1, 2, 3, 5, 4)),
    ("Conv3d", (2, 2, 3), {"padding": "same", "dilation": (1, 1, 2), "bias": False}, (1, 2, 3, 4, 5)),
    ("ConvTranspose1d", (4, 6, 3), {}, (2, 4, 5)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 3, "padding": 2, "output_padding": 2, "groups": 2}, (2, 4, 5)),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 3, 4, 3)),
    ("ConvTranspose2d", (4, 6, (2, 3)), {"dilation": (2, 1), "groups": 2, "bias": False}, (2, 4, 4, 3)),
    ("ConvTranspose2d", (4, 4, 2), {"stride": 2, "groups": 4}, (1, 4, 3, 3)),
    ("ConvTranspose2d", (2, 3, 2), {"padding": 3, "stride": 2}, (1, 2, 5, 5)),
    ("ConvTranspose3d", (2, 4, 2), {"stride": (1, 2, 1), "output_padding": (0, 1, 0), "groups": 2}, (1, 2, 2, 3, 2)),
]  # fmt: skip

POOLS: list[tuple[Any, ...]] = [
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "return_indices": True}, (2, 3, 8)),
    ("MaxPool1d", (2,), {"dilation": 3, "ceil_mode": True}, (2, 3, 9)),
    ("MaxPool2d", ((2, 3),), {"stride": (1, 2), "padding": (1, 0), "return_indices": True}, (2, 3, 6, 7)),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True, "dilation": (1, 2)}, (2, 3, 8, 8)),
    ("MaxPool3d", (2,), {"return_indices": True}, (1, 2, 4, 4, 5)),
    ("MaxPool3d", ((1, 2, 3),), {"stride": 2, "padding": (0, 1, 1), "ceil_mode": True}, (1, 2, 4, 4, 5)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 8)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, (2, 3, 8)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 6)),
    ("AvgPool2d", ((2, 3),), {"divisor_override": 4, "padding": 1}, (2, 3, 6, 6)),
    ("AvgPool3d", (2,), {"padding": 1, "count_include_pad": False}, (1, 2, 4, 4, 3)),
    ("AvgPool3d", ((1, 2, 2),), {"stride": 2, "ceil_mode": True, "divisor_override": 3}, (1, 2, 4, 5, 3)),
    ("LPPool1d", (2, 3), {"stride": 2}, (2, 3, 8)),
    ("LPPool2d", (2, 2), {"ceil_mode": True}, (2, 3, 5, 5)),
    ("LPPool2d", (4, (2, 3)), {}, (2, 3, 6, 6)),
    ("LPPool3d", (2, 2), {}, (1, 2, 4, 4, 4)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveAvgPool2d", ((2, 7),), {}, (2, 3, 6, 4)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 6, 5)),
    ("AdaptiveAvgPool3d", ((2, 1, 3),), {}, (1, 2, 4, 5, 4)),
    ("AdaptiveMaxPool1d", (5,), {"return_indices": True}, (2, 3, 8)),
    ("AdaptiveMaxPool2d", ((3, 2),), {"return_indices": True}, (2, 3, 7, 6)),
    ("AdaptiveMaxPool2d", ((None, 5),), {}, (2, 3, 4, 3)),
    ("AdaptiveMaxPool3d", ((2, 1, 3),), {"return_indices": True}, (1, 2, 5, 4, 4)),
]  # fmt: skip

NORMS: list[tuple[Any, ...]] = [
    ("LayerNorm", (6,), {}, (2, 3, 6)),
    ("LayerNorm", ((3, 4),), {"eps": 0.1, "bias": False}, (2, 3, 4)),
    ("LayerNorm", ((4,),), {"elementwise_affine": False}, (5, 4)),
    ("GroupNorm", (2, 4), {}, (2, 4, 3, 3)),
    ("GroupNorm", (4, 4), {"affine": False}, (2, 4, 5)),
    ("GroupNorm", (1, 4), {"eps": 0.01}, (3, 4)),
    ("InstanceNorm1d", (3,), {}, (2, 3, 6)),
    ("InstanceNorm2d", (3,), {"affine": True, "eps": 0.01}, (2, 3, 4, 3)),
    ("InstanceNorm3d", (2,), {"affine": True}, (1, 2, 2, 3, 2)),
    ("RMSNorm", (6,), {}, (2, 3, 6)),
    ("RMSNorm", ((3, 4),), {"eps": 0.1}, (2, 3, 4)),
    ("RMSNorm", (4,), {"elementwise_affine": False}, (5, 4)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "beta": 0.6, "k": 2.0}, (2, 5, 3, 2)),
    ("LocalResponseNorm", (4,), {"alpha": 0.5}, (2, 5, 3)),
    ("BatchNorm1d", (3,), {"track_running_stats": False}, (6, 3)),
    ("BatchNorm3d", (3,), {"track_running_stats": False}, (2, 3, 2, 2, 3)),
]  # fmt: skip

ACTIVATIONS: list[tuple[Any, ...]] = [
    ("ReLU", (), {}), ("ReLU6", (), {}), ("LeakyReLU", (0.3,), {}), ("PReLU", (), {}), ("PReLU", (4,), {}),
    ("ELU", (), {}), ("ELU", (0.7,), {}), ("CELU", (0.5,), {}), ("SELU", (), {}), ("GELU", (), {}),
    ("GELU", (), {"approximate": "tanh"}), ("SiLU", (), {}), ("Mish", (), {}), ("Softplus", (), {}),
    ("Softplus", (2.0, 1.5), {}), ("Softsign", (), {}), ("Tanh", (), {}), ("Sigmoid", (), {}), ("LogSigmoid", (), {}),
    ("Hardswish", (), {}), ("Hardtanh", (), {}), ("Hardtanh", (-0.5, 2.0), {}),
    ("Threshold", (0.5, -3.0), {}), ("Tanhshrink", (), {}), ("Softshrink", (), {}), ("Softshrink", (0.8,), {}),
    ("Hardshrink", (0.8,), {}), ("GLU", (1,), {}), ("GLU", (), {}), ("Softmax", (1,), {}), ("Softmin", (0,), {}),
    ("LogSoftmax", (2,), {}), ("Softmax2d", (), {}),
]  # fmt: skip


RESIZING: list[tuple[Any, ...]] = [
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4)),
    ("Upsample", (), {"scale_factor": 1.5}, (1, 2, 4, 6)),
    ("Upsample", (), {"size": (3, 7)}, (1, 2, 6, 4)),
    ("Upsample", (), {"scale_factor": (1, 2, 3)}, (1, 2, 2, 3, 2)),
    ("Upsample", (), {"size": 7, "mode": "nearest-exact"}, (1, 2, 5)),
    ("Upsample", (), {"size": 7, "mode": "linear"}, (2, 3, 4)),
    ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (1, 2, 3, 4)),
    ("Upsample", (), {"scale_factor": (1.7, 0.6), "mode": "bilinear"}, (1, 2, 4, 6)),
    ("Upsample", (), {"size": (6, 1), "mode": "bilinear", "align_corners": True}, (1, 2, 3, 4)),
    ("Upsample", (), {"scale_factor": 2, "mode": "trilinear", "align_corners": True}, (1, 2, 2, 3, 2)),
    ("Upsample", (), {"size": (5, 9), "mode": "bicubic"}, (1, 2, 4, 6)),
    ("Upsample", (), {"scale_factor": 1.6, "mode": "bicubic", "align_corners": True}, (1, 2, 4, 6)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (1, 2, 3, 4)),
    ("UpsamplingNearest2d", ((5, 4),), {}, (1, 2, 3, 4)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 2)),
    ("PixelUnshuffle", (3,), {}, (2, 2, 3, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 2)),
]


PADDING: list[tuple[Any, ...]] = [
    ("ZeroPad1d", ((2, 1),), {}, (2, 3, 4)),
    ("ZeroPad2d", ((2, -1, 0, 3),), {}, (1, 2, 4, 5)),
    ("ZeroPad3d", (1,), {}, (1, 2, 2, 3, 2)),
    ("ConstantPad1d", (2, 1.5), {}, (2, 3, 4)),
    ("ConstantPad2d", ((1, 0, 2, 1), -2.0), {}, (1, 2, 4, 5)),
    ("ConstantPad3d", (1, 0.5), {}, (1, 2, 2, 3, 2)),
    ("ReflectionPad1d", ((3, 1),), {}, (2, 3, 4)),
    ("ReflectionPad2d", ((2, 1, 0, 3),), {}, (1, 2, 4, 5)),
    ("ReflectionPad3d", (1,), {}, (1, 2, 2, 3, 2)),
    ("ReplicationPad1d", ((5, 1),), {}, (2, 3, 4)),
    ("ReplicationPad2d", ((2, 1, 0, 6),), {}, (1, 2, 4, 5)),
    ("ReplicationPad3d", (2,), {}, (1, 2, 2, 3, 2)),
    ("CircularPad1d", ((4, 1),), {}, (2, 3, 4)),
    ("CircularPad2d", ((2, 1, 0, 3),), {}, (1, 2, 4, 5)),
    ("CircularPad3d", (1,), {}, (1, 2, 2, 3, 2)),
    ("Conv1d", (2, 4, 3), {"padding": 2, "padding_mode": "circular", "dilation": 2}, (1, 2, 6)),
    ("Conv2d", (2, 4, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (1, 2, 5, 6)),
    ("Conv2d", (2, 4, (2, 3)), {"padding": "same", "padding_mode": "replicate"}, (1, 2, 5, 6)),
    ("Conv3d", (1, 2, 3), {"padding": 1, "padding_mode": "replicate", "stride": 2}, (1, 1, 4, 3, 4)),
]


@over_runs
@pytest.mark.parametrize("case", [*CONVOLUTIONS, *POOLS, *NORMS, *RESIZING, *PADDING], ids=ids)
def test_a_layer_is_pytorchs(case: Any, run: tuple[str, str]) -> None:
    name, args, options, shape = case
    ours, theirs = pair(name, args, options, run[1])
    agree(ours, theirs, [normal(*shape)], *run)


@over_runs
@pytest.mark.parametrize("case", ACTIVATIONS, ids=ids)
def test_an_activation_is_pytorchs(case: Any, run: tuple[str, str]) -> None:
    name, args, options = case
    ours, theirs = pair(name, args, options, run[1])
    agree(ours, theirs, [2.5 * normal(2, 4, 3, 6)], *run)


# PyTorch's CELU rounds 1 / alpha to f32: alpha is a power of 2 here
TWICE: list[tuple[Any, ...]] = [
    *(case for case in ACTIVATIONS if case[0] not in ("Threshold", "Hardshrink", "PReLU")),
    ("LayerNorm", (3,), {}), ("GroupNorm", (2, 4), {}), ("RMSNorm", (3,), {}), ("LocalResponseNorm", (3,), {"alpha": 0.5}),
    ("AdaptiveAvgPool2d", (2,), {}), ("LPPool2d", (2, 2), {}), ("MaxPool2d", (2,), {}), ("AvgPool2d", (2, 1, 1), {}),
    ("Conv2d", (4, 2, 2), {}), ("ConvTranspose2d", (4, 2, 2), {"stride": 2}), ("ReflectionPad2d", (1,), {}),
    ("InstanceNorm2d", (4,), {}), ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}),
]  # fmt: skip


@pytest.mark.parametrize("case", TWICE, ids=ids)
def test_the_derivative_of_the_derivative_is_pytorchs(case: Any) -> None:
    """Of the sum of squares of the result, along a direction, which is smooth enough to differ from 0."""
    name, args, options = case
    ours, theirs = pair(name, args, options, "f64")
    x, direction = (
        1.3 * normal(2, 4, 4, 6 if "Norm" not in name else 3),
        normal(2, 4, 4, 6 if "Norm" not in name else 3, seed=9),
    )

    leaf = torch.from_numpy(x).requires_grad_(True)
    (first,) = torch.autograd.grad((theirs(leaf) ** 2).sum(), leaf, create_graph=True)
    (wanted,) = torch.autograd.grad((first * torch.from_numpy(direction)).sum(), leaf)

    slope = nv.grad(lambda x: (ours(x) ** 2).sum())
    found = nv.compile(nv.grad(lambda x: (slope(x) * direction).sum()), x, backend="reference")(x)
    largest = float(wanted.abs().max())
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-8, atol=1e-11 * max(largest, 1))


KINKED = [
    ("ReLU", ()), ("ReLU6", ()), ("LeakyReLU", (0.3,)), ("ELU", (0.7,)), ("CELU", (0.5,)), ("SELU", ()), ("Softplus", ()),
    ("Hardswish", ()), ("Hardtanh", ()), ("Threshold", (0.5, -3.0)), ("Softshrink", (0.5,)),
    ("Hardshrink", (0.5,)), ("LogSigmoid", ()), ("Mish", ()), ("PReLU", ()), ("Softsign", ()),
]  # fmt: skip


@pytest.mark.parametrize("case", KINKED, ids=ids)
def test_the_derivative_at_a_corner_and_far_out_is_pytorchs(case: Any) -> None:
    ours, theirs = pair(*case, {}, "f64")
    points = [-1e4, -800.0, -50.0, -6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 50.0, 800.0, 1e4]
    agree(ours, theirs, [np.array(points)], "reference", "f64")


@over_runs
def test_hardsigmoid_is_pytorchs_relu6(run: tuple[str, str]) -> None:
    """PyTorch's own rounds its 1 / 6 to f32, in f64 too."""
    theirs = lambda x: torch.nn.functional.relu6(x + 3) / 6  # noqa: E731  a function by its formula
    agree(nn.Hardsigmoid(), theirs, [2.5 * normal(2, 4, 3)], *run)
    agree(nn.Hardsigmoid(), theirs, [np.array([-800.0, -3.0, 0.0, 3.0, 800.0])], *run)


PLAIN: list[tuple[Any, ...]] = [
    ("Linear", (3, 4), {}, [(2, 5, 3)]),
    ("Bilinear", (3, 4, 2), {}, [(5, 3), (5, 4)]),
    ("Bilinear", (3, 2, 4), {"bias": False}, [(2, 5, 3), (2, 5, 2)]),
    ("Flatten", (), {}, [(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [(2, 6, 4)]),
    ("Unflatten", (-1, (2, -1)), {}, [(3, 6)]),
]


@over_runs
@pytest.mark.parametrize("case", PLAIN, ids=ids)
def test_a_plain_layer_is_pytorchs(case: Any, run: tuple[str, str]) -> None:
    name, args, options, shapes = case
    ours, theirs = pair(name, args, options, run[1])
    agree(ours, theirs, [normal(*shape, seed=k) for k, shape in enumerate(shapes)], *run)


@over_runs
@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}], ids=str)
def test_embedding_is_pytorchs(options: dict[str, Any], run: tuple[str, str]) -> None:
    ours, theirs = pair("Embedding", (5, 3), options, run[1])
    agree(ours, theirs, [np.array([[0, 4, 2], [2, 0, 0]])], *run)


@over_runs
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_unpooling_puts_elements_back_as_pytorch_does(spatial: int, run: tuple[str, str]) -> None:
    shape = (2, 3, *(5, 6, 4)[:spatial])
    there = (getattr(torch.nn, f"MaxPool{spatial}d"), getattr(torch.nn, f"MaxUnpool{spatial}d"))
    here = (getattr(nn, f"MaxPool{spatial}d"), getattr(nn, f"MaxUnpool{spatial}d"))
    for size in (None, shape[2:]):

        def theirs(x: Any, size: Any = size) -> Any:
            return there[1](2)(*there[0](2, return_indices=True)(x), output_size=size)

        def ours(x: Any, size: Any = size) -> Any:
            return here[1](2)(*here[0](2, return_indices=True)(x), output_size=size)

        agree(ours, theirs, [normal(*shape)], *run)


FUNCTIONS: list[tuple[Any, ...]] = [
    ("normalize", {}, [(4, 3)]),
    ("normalize", {"p": 1, "dim": 0}, [(4, 3)]),
    ("normalize", {"p": 3.0, "dim": -1}, [(4, 3)]),
    ("interpolate", {"size": (4, 5), "mode": "area"}, [(1, 2, 6, 7)]),
    ("cosine_similarity", {"dim": -1}, [(4, 3), (4, 3)]),
    ("pairwise_distance", {"p": 3.0, "keepdim": True}, [(4, 3), (4, 3)]),
]


@over_runs
@pytest.mark.parametrize("case", FUNCTIONS, ids=ids)
def test_a_function_is_pytorchs(case: Any, run: tuple[str, str]) -> None:
    name, options, shapes = case
    theirs, ours = getattr(torch.nn.functional, name), getattr(nn, name)
    arrays = [normal(*shape, seed=k) for k, shape in enumerate(shapes)]
    agree(lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options), arrays, *run)


def test_a_state_dict_of_every_layer_with_weights_is_pytorchs() -> None:
    def build(n: Any) -> Any:
        return n.Sequential(
            n.Conv1d(4, 6, 3, groups=2), n.Conv3d(1, 2, (1, 2, 3), bias=False), n.ConvTranspose1d(4, 6, 3, groups=2),
            n.ConvTranspose2d(3, 4, (2, 3)), n.ConvTranspose3d(2, 4, 2, groups=2), n.BatchNorm3d(3),
            n.InstanceNorm2d(3, affine=True, track_running_stats=True), n.InstanceNorm1d(3), n.LayerNorm((2, 3)),
            n.LayerNorm(4, bias=False), n.GroupNorm(2, 4), n.RMSNorm(5), n.PReLU(3), n.Embedding(7, 3, padding_idx=1),
            n.Bilinear(2, 3, 4), n.Linear(2, 3),
        )  # fmt: skip

    ours, theirs = build(nn), build(torch.nn)
    state = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
    assert [(k, v.shape, v.dtype) for k, v in ours.state_dict().items()] == [
        (k, v.shape, v.dtype) for k, v in state.items()
    ]
    ours.load_state_dict(state)
    assert all((ours.state_dict()[key] == array).all() for key, array in state.items())


def test_initial_weights_are_spread_as_pytorchs() -> None:
    nv.seed(1)
    torch.manual_seed(1)
    layers = [
        ("Linear", (50, 400)), ("Conv1d", (8, 400, 5)), ("ConvTranspose2d", (8, 400, 2)), ("Bilinear", (16, 4, 400)),
        ("Embedding", (64, 32)),
    ]  # fmt: skip
    for name, args in layers:
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        for key, tensor in theirs.state_dict().items():
            found = ours.state_dict()[key]
            assert found.std() == pytest.approx(float(tensor.std()), rel=0.1), (name, key)
            if name != "Embedding":
                assert np.abs(found).max() == pytest.approx(float(tensor.abs().max()), rel=0.02), (name, key)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["InstanceNorm2d", "BatchNorm2d"])
def test_running_statistics_follow_pytorchs(name: str, training: bool) -> None:
    options = {"affine": True, "track_running_stats": True, "momentum": 0.3}
    ours, theirs = (
        getattr(nn, name)(3, dtype="f64", **options),
        getattr(torch.nn, name)(3, **options).double(),
    )
    theirs.train(training)
    for turn in range(2):
        x = normal(4, 3, 5, 2, seed=turn)
        run = nv.compile(nv.trace(ours, x, training=training), backend="reference")
        np.testing.assert_allclose(
            run(x), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-9, atol=1e-12
        )
    for key in ("running_mean", "running_var"):
        np.testing.assert_allclose(ours.state_dict()[key], theirs.state_dict()[key].numpy(), rtol=1e-9)
