"""Every loss against PyTorch over a grid of arguments: values and gradients by all that is not a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning"),
]
torch = pytest.importorskip("torch")

from torch_grid import RUNS, agree, normal  # noqa: E402  torch may be missing

import nervure as nv  # noqa: E402
from nervure import nn  # noqa: E402

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module", autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An object cache of the file's own, and PyTorch without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVURE_CACHE", str(tmp_path_factory.mktemp("objects") / "cache"))
        yield
    torch.set_num_threads(threads)


SCORES, OTHER, THIRD = normal(5, 4), normal(5, 4, seed=2), normal(5, 4, seed=3)
IMAGES = normal(2, 4, 3, 2)
LABELS, MAPS = RNG.integers(0, 4, 5), RNG.integers(0, 4, (2, 3, 2))
SHARES, MAP_SHARES = RNG.dirichlet(np.ones(4), 5), RNG.uniform(size=(2, 4, 3, 2))
CHANCES = RNG.uniform(0.05, 0.95, (5, 4))
SIGNS, SIGN = RNG.choice([-1.0, 1.0], (5, 4)), RNG.choice([-1.0, 1.0], 5)
WEIGHTS = RNG.uniform(0.2, 2, 4)
HOLES = np.where(LABELS[0] == LABELS, -100, LABELS)

CASES: list[tuple[Any, ...]] = [
    ("cross_entropy", (SCORES, LABELS), {}),
    ("cross_entropy", (SCORES, LABELS), {"weight": WEIGHTS}),
    ("cross_entropy", (SCORES, LABELS), {"label_smoothing": 0.2}),
    ("cross_entropy", (SCORES, LABELS), {"ignore_index": int(LABELS[1])}),
    ("cross_entropy", (SCORES, HOLES), {"ignore_index": -100, "weight": WEIGHTS, "label_smoothing": 0.1}),
    ("cross_entropy", (IMAGES, MAPS), {}),
    ("cross_entropy", (IMAGES, MAPS), {"weight": WEIGHTS, "label_smoothing": 0.3, "ignore_index": 1}),
    ("cross_entropy", (SCORES, SHARES), {}),
    ("cross_entropy", (IMAGES, MAP_SHARES), {"weight": WEIGHTS, "label_smoothing": 0.3}),
    ("cross_entropy", (SCORES[0], np.array(2)), {"label_smoothing": 0.1}),
    ("nll_loss", (SCORES, LABELS), {}),
    ("nll_loss", (SCORES, LABELS), {"weight": WEIGHTS, "ignore_index": int(LABELS[0])}),
    ("nll_loss", (IMAGES, MAPS), {"weight": WEIGHTS}),
    ("nll_loss", (SCORES, HOLES), {"ignore_index": -100}),
    ("mse_loss", (SCORES, OTHER), {}),
    ("l1_loss", (SCORES, OTHER), {}),
    ("huber_loss", (2 * SCORES, OTHER), {}),
    ("huber_loss", (2 * SCORES, OTHER), {"delta": 0.6}),
    ("smooth_l1_loss", (2 * SCORES, OTHER), {}),
    ("smooth_l1_loss", (2 * SCORES, OTHER), {"beta": 0.6}),
    ("smooth_l1_loss", (2 * SCORES, OTHER), {"beta": 0.0}),
    ("binary_cross_entropy", (CHANCES, SHARES), {}),
    ("binary_cross_entropy", (CHANCES, SHARES), {"weight": WEIGHTS}),
    ("binary_cross_entropy_with_logits", (5 * SCORES, CHANCES), {}),
    ("binary_cross_entropy_with_logits", (SCORES, CHANCES), {"weight": WEIGHTS, "pos_weight": 2 * WEIGHTS}),
    ("kl_div", (SCORES, SHARES), {}),
    ("kl_div", (SCORES, OTHER), {"log_target": True}),
    ("soft_margin_loss", (3 * SCORES, SIGNS), {}),
    ("hinge_embedding_loss", (2 * SCORES, SIGNS), {"margin": 0.8}),
    ("cosine_embedding_loss", (SCORES, OTHER, SIGN), {"margin": 0.1}),
    ("cosine_embedding_loss", (SCORES[0], OTHER[0], np.array(1.0)), {}),
    ("margin_ranking_loss", (SCORES, OTHER, SIGNS), {"margin": 0.3}),
    ("multi_margin_loss", (SCORES, LABELS), {}),
    ("multi_margin_loss", (SCORES, LABELS), {"p": 2, "margin": 0.7, "weight": WEIGHTS}),
    ("triplet_margin_loss", (SCORES, OTHER, THIRD), {}),
    ("triplet_margin_loss", (SCORES, OTHER, THIRD), {"margin": 2.0, "p": 3.0, "swap": True}),
]  # fmt: skip

MODULES = {
    "cross_entropy": "CrossEntropyLoss", "nll_loss": "NLLLoss", "mse_loss": "MSELoss", "l1_loss": "L1Loss",
    "huber_loss": "HuberLoss", "smooth_l1_loss": "SmoothL1Loss", "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss", "kl_div": "KLDivLoss", "soft_margin_loss": "SoftMarginLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss", "cosine_embedding_loss": "CosineEmbeddingLoss",
    "margin_ranking_loss": "MarginRankingLoss", "multi_margin_loss": "MultiMarginLoss",
    "triplet_margin_loss": "TripletMarginLoss",
}  # fmt: skip

LABELLED = {
    "multi_margin_loss", "soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss", "cosine_embedding_loss",
}  # fmt: skip
"""Their last argument is a label or a sign, by which nobody differentiates."""

REDUCED = [("mean", run) for run in RUNS] + [("sum", RUNS[0]), ("none", RUNS[0])]


def ids(case: Any) -> str:
    name, arrays, options = case
    return f"{name} {' '.join(str(np.shape(a)) for a in arrays)} {' '.join(options)}"


def constants(options: dict[str, Any], dtype: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options here and in PyTorch: arrays as arrays, and as tensors."""
    kind = {"f64": np.float64, "f32": np.float32}[dtype]
    here = {k: v.astype(kind) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    return here, {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in here.items()}


def labels_fixed(name: str, arrays: Any, dtype: str) -> tuple[list[Any], list[Any]]:
    """What varies, and what is fixed because it is a label."""
    last = 1 if name in LABELLED else 0
    kind = {"f64": np.float64, "f32": np.float32}[dtype]
    cast = [a.astype(kind) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    return cast[: len(cast) - last], cast[len(cast) - last :]


@pytest.mark.parametrize(("reduction", "run"), REDUCED, ids=str)
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_loss_is_pytorchs(case: Any, reduction: str, run: tuple[str, str]) -> None:
    name, arrays, options = case
    here, there = constants({**options, "reduction": reduction}, run[1])
    moving, fixed = labels_fixed(name, arrays, run[1])
    ours, theirs = getattr(nn, name), getattr(torch.nn.functional, name)
    tensors = [torch.from_numpy(a) for a in fixed]
    agree(lambda *a: ours(*a, *fixed, **here), lambda *a: theirs(*a, *tensors, **there), moving, *run)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_loss_as_a_layer_is_pytorchs(case: Any) -> None:
    name, arrays, options = case
    here, there = constants(options, "f64")
    moving, fixed = labels_fixed(name, arrays, "f64")
    ours, theirs = getattr(nn, MODULES[name])(**here), getattr(torch.nn, MODULES[name])(**there)
    assert {k: v.tolist() for k, v in ours.state_dict().items()} == {
        k: v.tolist() for k, v in theirs.state_dict().items()
    }
    tensors = [torch.from_numpy(a) for a in fixed]
    agree(lambda *a: ours(*a, *fixed), lambda *a: theirs(*a, *tensors), moving, "reference", "f64")


def test_a_divergence_by_the_batch_and_with_empty_shares() -> None:
    shares = SHARES.copy()
    shares[1, 2] = 0
    for reduction in ("batchmean", "sum"):
        agree(
            lambda x, r=reduction: nn.kl_div(x, shares, reduction=r),
            lambda x, r=reduction: torch.nn.functional.kl_div(x, torch.from_numpy(shares), reduction=r),
            [SCORES], "reference", "f64",
        )  # fmt: skip


def test_probabilities_of_0_and_1_cost_100_as_in_pytorch() -> None:
    chances, target = np.array([0.0, 1.0, 0.0, 1.0, 0.3]), np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    found = value_of(lambda x, y: nn.binary_cross_entropy(x, y, reduction="none"), chances, target)
    wanted = torch.nn.functional.binary_cross_entropy(
        torch.from_numpy(chances), torch.from_numpy(target), reduction="none"
    )
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12)


def test_logits_far_out_neither_overflow_nor_lose_their_gradient() -> None:
    far = np.array([-1e4, -800.0, -40.0, 0.0, 40.0, 800.0, 1e4])
    for y in (0.0, 0.3, 1.0):
        target = np.full(7, y)
        agree(
            lambda x, t=target: nn.binary_cross_entropy_with_logits(x, t),
            lambda x, t=target: torch.nn.functional.binary_cross_entropy_with_logits(x, torch.from_numpy(t)),
            [far], "reference", "f64",
        )  # fmt: skip


def value_of(function: Any, *arrays: Any) -> Any:
    return nv.compile(function, *arrays, backend="reference")(*arrays)


CORNERS: list[tuple[Any, ...]] = [
    ("l1_loss", ([0.5, 1.0, -1.0], [0.5, 1.0, -1.0]), {}),
    ("huber_loss", ([0.5, 1.0, -1.0], [-0.5, 0.0, -1.0]), {}),
    ("smooth_l1_loss", ([0.5, 1.0, -1.0], [-0.5, 0.0, -1.0]), {}),
    ("hinge_embedding_loss", ([1.0, 1.0, 0.0], [-1.0, 1.0, -1.0]), {}),
    ("margin_ranking_loss", ([1.0, 0.0, 2.0], [1.0, 0.5, 1.5], [1.0, -1.0, 1.0]), {}),
    ("margin_ranking_loss", ([1.0, 0.0, 2.0], [0.5, 0.5, 1.5], [1.0, -1.0, 1.0]), {"margin": 0.5}),
    ("multi_margin_loss", ([[1.0, 0.0, 2.0], [0.5, 0.5, 1.5]], [0, 2]), {}),
    ("triplet_margin_loss", ([[1.0, 0.0]], [[1.0, 1.0]], [[1.0, -2.0]]), {"margin": 1.0, "eps": 0.0}),
    ("kl_div", ([-1.0, 0.0], [0.0, 1.0]), {"reduction": "sum"}),
]


@pytest.mark.parametrize("case", CORNERS, ids=ids)
def test_the_derivative_of_a_loss_at_its_corner_is_pytorchs(case: Any) -> None:
    name, given, options = case
    arrays = [np.array(a) for a in given]
    moving, fixed = labels_fixed(name, arrays, "f64") if name != "kl_div" else (arrays[:1], arrays[1:])
    ours, theirs = getattr(nn, name), getattr(torch.nn.functional, name)
    tensors = [torch.from_numpy(a) for a in fixed]
    agree(
        lambda *a: ours(*a, *fixed, **options),
        lambda *a: theirs(*a, *tensors, **options),
        moving,
        "reference",
        "f64",
    )
