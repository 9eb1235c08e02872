"""Networks and data that several tests share; each network for `nervure.nn` and, from the same lines, `torch.nn`."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["NETWORKS", "classic_lenet", "digits", "lenet", "mlp", "vgg", "vgg_with_batch_norm"]


def mlp(n: Any, **more: Any) -> Any:
    """Two hidden layers on [B, 20]."""
    return n.Sequential(
        n.Linear(20, 32, **more), n.ReLU(), n.Linear(32, 16, **more), n.Tanh(), n.Linear(16, 10, **more)
    )


def lenet(n: Any, **more: Any) -> Any:
    """LeNet-5 with ReLU and max pooling on [B, 1, 28, 28]."""
    return n.Sequential(
        n.Conv2d(1, 6, 5, padding=2, **more), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(6, 16, 5, **more), n.ReLU(), n.MaxPool2d(2), n.Flatten(),
        n.Linear(400, 120, **more), n.ReLU(), n.Linear(120, 84, **more), n.ReLU(), n.Linear(84, 10, **more),
    )  # fmt: skip


def classic_lenet(n: Any, **more: Any) -> Any:
    """LeNet-5 with tanh and average pooling on [B, 1, 28, 28]."""
    return n.Sequential(
        n.Conv2d(1, 6, 5, padding=2, **more), n.Tanh(), n.AvgPool2d(2),
        n.Conv2d(6, 16, 5, **more), n.Tanh(), n.AvgPool2d(2), n.Flatten(),
        n.Linear(400, 120, **more), n.Tanh(), n.Linear(120, 84, **more), n.Tanh(), n.Linear(84, 10, **more),
    )  # fmt: skip


def vgg(n: Any, batch_norm: bool = False, **more: Any) -> Any:
    """Two blocks of two padded 3 x 3 convolutions and a pool, then two linear layers, on [B, 1, 12, 12]."""
    layers: list[Any] = []
    for before, after in ((1, 4), (4, 8)):
        for channels in (before, after):
            layers.append(n.Conv2d(channels, after, 3, padding=1, **more))
            if batch_norm:
                layers.append(n.BatchNorm2d(after, **more))
            layers.append(n.ReLU())
        layers.append(n.MaxPool2d(2))
    layers += [n.Flatten(), n.Linear(72, 24, **more), n.ReLU(), n.Linear(24, 10, **more)]
    return n.Sequential(*layers)


def vgg_with_batch_norm(n: Any, **more: Any) -> Any:
    """`vgg` with a batch norm behind each convolution."""
    return vgg(n, batch_norm=True, **more)


NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "mlp": (mlp, (20,)),
    "lenet": (lenet, (1, 28, 28)),
    "classic_lenet": (classic_lenet, (1, 28, 28)),
    "vgg": (vgg, (1, 12, 12)),
    "vgg_with_batch_norm": (vgg_with_batch_norm, (1, 12, 12)),
}
"""Each network with the shape of one example."""


def digits(shape: tuple[int, ...], count: int, seed: int, noise: float = 0.5) -> tuple[Any, Any]:
    """Examples of ten classes: a prototype of the class plus noise; f32 and i64."""
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(10, *shape))
    labels = rng.integers(0, 10, count)
    return (prototypes[labels] + noise * rng.normal(size=(count, *shape))).astype(np.float32), labels
