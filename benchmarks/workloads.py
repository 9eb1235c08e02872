"""The rows of the table, and the files that every contestant reads: weights, input, labels, ONNX, the right output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from .nets import NETS, Net
from .odd import odd_loop, odd_net

Array = np.ndarray[Any, Any]

__all__ = ["ROWS", "Case", "Workload", "cost", "workload_named", "write"]

SEED = 20
MOMENTUM = 0.9
"""Of stochastic gradient descent in the training rows."""
STEPS = 3
"""Training steps whose losses and weights are compared."""


@dataclass(frozen=True)
class Workload:
    """A row.

    Args:
        name:     for the command line
        net:      a key of `NETS`
        batch:    its batch size
        aim:      our speed over the fastest peer's, one thread
        training: whether a step of SGD with momentum is timed instead of an inference
        rate:     of learning; small enough that the loss falls, as differences grow where it explodes
    """

    name: str
    net: str
    batch: int = 1
    aim: float = 1.0
    training: bool = False
    rate: float = 0.05

    def build(self) -> Net:
        if self.net.startswith("odd-"):
            *kind, seed, index = self.net.split("-")
            return (odd_loop if kind[1:] else odd_net)(int(seed), int(index))
        return NETS[self.net](self.batch)


ROWS: tuple[Workload, ...] = (
    Workload("perceptron-1", "perceptron", 1, 5.0),
    Workload("perceptron-64", "perceptron", 64, 1.8),
    Workload("mlp-1", "mlp", 1, 1.25),
    Workload("mlp-32", "mlp", 32, 1.05),
    Workload("mlp-256", "mlp", 256, 1.05),
    Workload("lenet-1", "lenet", 1, 2.0),
    Workload("lenet-64", "lenet", 64, 1.8),
    Workload("vgg-1", "vgg", 1, 1.5),
    Workload("vgg-16", "vgg", 16, 1.3),
    Workload("resnet18-1", "resnet18", 1, 1.4),
    Workload("mobilenet-v2-1", "mobilenet-v2", 1, 1.15),
    Workload("rnn-1", "rnn", 1, 1.25),
    Workload("rnn-32", "rnn", 32, 1.15),
    Workload("lstm-1", "lstm", 1, 1.05),
    Workload("lstm-32", "lstm", 32, 1.03),
    Workload("matmul-256", "matmul-256", 1, 1.05),
    Workload("matmul-1024", "matmul-1024", 1, 1.0),
    Workload("matmul-2048", "matmul-2048", 1, 1.0),
    Workload("conv-64x56", "conv-64x56", 1, 1.35),
    Workload("conv-256x14", "conv-256x14", 1, 1.3),
    Workload("depthwise-96x112", "depthwise-96x112", 1, 2.8),
    Workload("train-mlp-128", "mlp", 128, 1.25, training=True),
    Workload("train-lenet-64", "lenet", 64, 3.0, training=True),
    Workload("train-vgg-32", "vgg", 32, 1.4, training=True, rate=0.001),
    Workload("train-char-rnn-32", "char-rnn", 32, 1.4, training=True),
    Workload("train-char-lstm-32", "char-lstm", 32, 1.2, training=True),
)


def workload_named(name: str) -> Workload:
    """A row of the table, ``odd-SEED-INDEX`` or ``odd-loop-SEED-INDEX``."""
    return next((w for w in ROWS if w.name == name), Workload(name, name))


@dataclass(frozen=True)
class Case:
    """A row's files, as a contestant sees them."""

    workload: Workload
    folder: Path
    net: Net = field(compare=False)

    @cached_property
    def weights(self) -> dict[str, Array]:
        return load_file(self.folder / "weights.safetensors")

    def each_weight(self) -> Iterator[tuple[str, Array]]:
        """The weights one after the other, for who wants no second copy of all in memory."""
        with safe_open(self.folder / "weights.safetensors", "np") as file:
            for name in self.net.weights:
                yield name, file.get_tensor(name)

    @cached_property
    def x(self) -> Array:
        return np.load(self.folder / "x.npy")

    @cached_property
    def labels(self) -> Array:
        return np.load(self.folder / "labels.npy")

    @property
    def onnx(self) -> Path:
        return self.folder / "net.onnx"

    @property
    def truth(self) -> Path:
        """Where the right output lies: ``y`` for an inference, ``losses`` and the weights' changes for training."""
        kind = f"steps-{self.workload.rate}" if self.workload.training else "truth"
        return self.folder / f"{kind}.safetensors"

    @classmethod
    def open(cls, workload: Workload, folder: Path) -> Case:
        return cls(workload, folder, workload.build())


def draw(net: Net, seed: int) -> dict[str, Array]:
    """The net's weights in float32."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape, np.float32) * np.float32(scale))
        for name, (shape, scale) in net.weights.items()
    }


def draw_input(workload: Workload, net: Net, seed: int) -> Array:
    """Normal numbers; one-hot characters where the net reads characters."""
    rng = np.random.default_rng(seed + 1)
    if workload.net.startswith("char"):
        return np.eye(net.input[-1], dtype=np.float32)[rng.integers(0, net.input[-1], net.input[:-1])]
    return rng.standard_normal(net.input, np.float32)


def write(workload: Workload, folder: Path, seed: int = SEED) -> Case:
    """The files of a row, unless they are there; written aside first, so that half a file is never read."""
    case = Case.open(workload, folder)
    if case.truth.exists():
        return case
    folder.mkdir(parents=True, exist_ok=True)
    net = case.net
    weights, x = draw(net, seed), draw_input(workload, net, seed)
    save_file(weights, folder / "weights.safetensors")
    np.save(folder / "x.npy", x)
    if workload.training:
        shape = net.steps[-1].shape
        labels = np.random.default_rng(seed + 2).integers(0, shape[-1], shape[:-1])
        np.save(folder / "labels.npy", labels)
        from .training_truth import train

        truth = train(net, weights, x, labels, workload.rate)
    else:
        import onnx

        from .arrays import evaluate
        from .onnx_file import onnx_model

        onnx.save(onnx_model(net, weights), case.onnx)
        truth = {
            "y": evaluate(net, {k: v.astype(np.float64) for k, v in weights.items()}, x.astype(np.float64))
        }
    aside = folder / "truth.part"
    save_file({name: np.ascontiguousarray(a) for name, a in truth.items()}, aside)
    aside.replace(case.truth)
    return case


def cost(workload: Workload, net: Net) -> tuple[float, float]:
    """Flops of the direct algorithm, and bytes that must be read or written whatever the algorithm.

    A recurrence reads its recurrent weights at every step. A training step costs three times the flops of a forward
    pass (less the first layer's input gradient), and reads and writes weights and moments.
    """
    flops, moved = 0.0, 4.0 * math.prod(net.input) + 4.0 * math.prod(net.steps[-1].shape)
    for index, step in enumerate(net.steps):
        shapes = [net.weights[name][0] for name in step.weights]
        size = sum(map(math.prod, shapes))
        done = 0.0
        match step.op:
            case "linear" | "matmul":
                done = 2.0 * math.prod(shapes[0]) * math.prod(step.shape[:-1])
            case "conv":
                done = 2.0 * math.prod(shapes[0][1:]) * math.prod(step.shape)
            case "rnn" | "lstm":
                t, n, _ = step.shape
                done = 2.0 * (math.prod(shapes[0]) + math.prod(shapes[1])) * t * n
                size += (t - 1) * math.prod(shapes[1])
            case _:
                pass
        first = index == 0 and step.op in ("linear", "conv")
        flops += done * ((2 if first else 3) if workload.training else 1)
        moved += 4.0 * size * (4 if workload.training else 1)
    return flops, moved
