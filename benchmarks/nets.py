"""The networks of the benchmark, each written once as a list of layers that every contestant translates.

Names and layouts of weights are PyTorch's; batch norms are folded already, as every inference runtime does first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NETS", "Net", "Step"]


@dataclass(frozen=True)
class Step:
    """One layer.

    Args:
        op:      a key of every contestant's table
        out:     the name of its result
        args:    names of what it reads
        weights: names in the net's weights
        attrs:   of the op
        shape:   of the result
    """

    op: str
    out: str
    args: tuple[str, ...]
    weights: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()


class Net:
    """Layers in order.

    Attributes:
        steps:   the layers; the last one is the output
        weights: shape and scale of each weight, drawn from a normal distribution
        input:   the input's shape
    """

    def __init__(self, *shape: int) -> None:
        self.input = shape
        self.steps: list[Step] = []
        self.weights: dict[str, tuple[tuple[int, ...], float]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"x": shape}

    def add(
        self,
        op: str,
        args: tuple[str, ...],
        shape: tuple[int, ...],
        weights: tuple[str, ...] = (),
        **attrs: Any,
    ) -> str:
        out = f"v{len(self.steps)}"
        self.steps.append(Step(op, out, args, weights, attrs, shape))
        self.shapes[out] = shape
        return out

    def weight(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        self.weights[name] = shape, scale
        return name

    def linear(self, x: str, width: int) -> str:
        """[..., N] -> [..., width]"""
        *rest, n = self.shapes[x]
        name = f"l{len(self.steps)}"
        w = self.weight(f"{name}.weight", (width, n), (2 / n) ** 0.5)
        return self.add("linear", (x,), (*rest, width), (w, self.weight(f"{name}.bias", (width,), 0.1)))

    def matmul(self, x: str, width: int) -> str:
        """[M, K] -> [M, width], by a constant [K, width]"""
        m, k = self.shapes[x]
        w = self.weight(f"l{len(self.steps)}.weight", (k, width), k**-0.5)
        return self.add("matmul", (x,), (m, width), (w,))

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        pad: int | tuple[int, int] = 0,
        groups: int = 1,
        gain: float = 2.0,
    ) -> str:
        """[N, C, H, W] -> [N, channels, H', W']"""
        n, c, h, w = self.shapes[x]
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        ph, pw = pad if isinstance(pad, tuple) else (pad, pad)
        name = f"l{len(self.steps)}"
        fan = c // groups * kh * kw
        weight = self.weight(f"{name}.weight", (channels, c // groups, kh, kw), (gain / fan) ** 0.5)
        shape = (n, channels, (h + 2 * ph - kh) // stride + 1, (w + 2 * pw - kw) // stride + 1)
        bias = self.weight(f"{name}.bias", (channels,), 0.1)
        return self.add("conv", (x,), shape, (weight, bias), stride=stride, pad=(ph, pw), groups=groups)

    def relu(self, x: str) -> str:
        return self.add("relu", (x,), self.shapes[x])

    def relu6(self, x: str) -> str:
        return self.add("relu6", (x,), self.shapes[x])

    def softmax(self, x: str) -> str:
        """Over the last axis."""
        return self.add("softmax", (x,), self.shapes[x])

    def sum(self, x: str, y: str) -> str:
        return self.add("add", (x, y), self.shapes[x])

    def max_pool(self, x: str, kernel: int, stride: int | None = None, pad: int = 0) -> str:
        n, c, h, w = self.shapes[x]
        s = stride or kernel
        shape = (n, c, (h + 2 * pad - kernel) // s + 1, (w + 2 * pad - kernel) // s + 1)
        return self.add("max_pool", (x,), shape, kernel=kernel, stride=s, pad=pad)

    def mean(self, x: str) -> str:
        """[N, C, H, W] -> [N, C]"""
        return self.add("mean", (x,), self.shapes[x][:2])

    def flatten(self, x: str) -> str:
        n, c, h, w = self.shapes[x]
        return self.add("flatten", (x,), (n, c * h * w))

    def recurrent(self, op: str, x: str, hidden: int) -> str:
        """[T, N, in] -> [T, N, hidden]; op is "rnn" (tanh) or "lstm" (gates i, f, g, o)."""
        t, n, width = self.shapes[x]
        rows = hidden * (4 if op == "lstm" else 1)
        name = f"l{len(self.steps)}"
        scale = hidden**-0.5
        weights = (
            self.weight(f"{name}.weight_ih", (rows, width), width**-0.5),
            self.weight(f"{name}.weight_hh", (rows, hidden), scale),
            self.weight(f"{name}.bias_ih", (rows,), scale),
            self.weight(f"{name}.bias_hh", (rows,), scale),
        )
        return self.add(op, (x,), (t, n, hidden), weights)


def perceptron(batch: int) -> Net:
    net = Net(batch, 784)
    net.linear("x", 10)
    return net


def mlp(batch: int) -> Net:
    net = Net(batch, 784)
    x = net.relu(net.linear("x", 512))
    x = net.relu(net.linear(x, 512))
    net.linear(x, 10)
    return net


def lenet(batch: int) -> Net:
    net = Net(batch, 1, 28, 28)
    x = net.max_pool(net.relu(net.conv("x", 6, 5, pad=2)), 2)
    x = net.max_pool(net.relu(net.conv(x, 16, 5)), 2)
    x = net.relu(net.linear(net.flatten(x), 120))
    x = net.relu(net.linear(x, 84))
    net.linear(x, 10)
    return net


def vgg(batch: int) -> Net:
    net = Net(batch, 3, 32, 32)
    x = "x"
    for width in (64, 128, 256):
        for _ in range(2):
            x = net.relu(net.conv(x, width, 3, pad=1))
        x = net.max_pool(x, 2)
    net.linear(net.flatten(x), 10)
    return net


def resnet18(batch: int) -> Net:
    net = Net(batch, 3, 224, 224)
    x = net.max_pool(net.relu(net.conv("x", 64, 7, stride=2, pad=3)), 3, 2, 1)
    for width, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            y = net.relu(net.conv(x, width, 3, stride=stride, pad=1))
            y = net.conv(y, width, 3, pad=1, gain=0.5)
            if stride != 1 or net.shapes[x][1] != width:
                x = net.conv(x, width, 1, stride=stride, gain=1.0)
            x = net.relu(net.sum(y, x))
    net.linear(net.mean(x), 1000)
    return net


def mobilenet_v2(batch: int) -> Net:
    net = Net(batch, 3, 224, 224)
    x = net.relu6(net.conv("x", 32, 3, stride=2, pad=1))
    for expand, width, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for k in range(count):
            stride = first if k == 0 else 1
            before = net.shapes[x][1]
            y = x
            if expand > 1:
                y = net.relu6(net.conv(y, before * expand, 1))
            y = net.relu6(net.conv(y, before * expand, 3, stride=stride, pad=1, groups=before * expand))
            y = net.conv(y, width, 1, gain=0.5 if before == width else 1.0)
            x = net.sum(y, x) if stride == 1 and before == width else y
    x = net.relu6(net.conv(x, 1280, 1))
    net.linear(net.mean(x), 1000)
    return net


def sequence(op: str) -> Callable[[int], Net]:
    """64 steps of 64 features, 256 hidden units, a linear layer and a softmax at each step."""

    def build(batch: int) -> Net:
        net = Net(64, batch, 64)
        net.softmax(net.linear(net.recurrent(op, "x", 256), 64))
        return net

    return build


def characters(op: str) -> Callable[[int], Net]:
    """50 steps over one-hot characters of an alphabet of 65."""

    def build(batch: int) -> Net:
        net = Net(50, batch, 65)
        net.linear(net.recurrent(op, "x", 256), 65)
        return net

    return build


def matmul(side: int) -> Callable[[int], Net]:
    def build(batch: int) -> Net:
        net = Net(side, side)
        net.matmul("x", side)
        return net

    return build


def one_conv(channels: int, side: int, groups: int = 1) -> Callable[[int], Net]:
    """3 x 3, padded, with bias and relu."""

    def build(batch: int) -> Net:
        net = Net(batch, channels, side, side)
        net.relu(net.conv("x", channels, 3, pad=1, groups=groups))
        return net

    return build


NETS: dict[str, Callable[[int], Net]] = {
    "perceptron": perceptron,
    "mlp": mlp,
    "lenet": lenet,
    "vgg": vgg,
    "resnet18": resnet18,
    "mobilenet-v2": mobilenet_v2,
    "rnn": sequence("rnn"),
    "lstm": sequence("lstm"),
    "char-rnn": characters("rnn"),
    "char-lstm": characters("lstm"),
    "matmul-256": matmul(256),
    "matmul-1024": matmul(1024),
    "matmul-2048": matmul(2048),
    "conv-64x56": one_conv(64, 56),
    "conv-256x14": one_conv(256, 14),
    "depthwise-96x112": one_conv(96, 112, groups=96),
}
