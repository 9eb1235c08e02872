"""Shapes that no schedule was tuned for, drawn by a seed: prime channels, 7 x 7 and 1 x N kernels, stride 3, batch 3, one
column, one summand, sizes just above a tile; recurrent layers of any width, one step, odd batches.
"""

from __future__ import annotations

import random

from .nets import Net

__all__ = ["COUNT", "describe", "odd_loop", "odd_net"]

COUNT = 60
PRIMES = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 31, 37, 43, 53, 61, 67)
KERNELS = ((7, 7), (1, 5), (5, 1), (1, 7), (7, 1), (2, 2), (3, 3), (1, 1), (5, 3), (1, 3))
ROWS = (1, 2, 3, 13, 15, 17, 29, 33, 57, 127)
EDGES = (1, 3, 9, 15, 17, 31, 33, 65, 97, 129, 257, 511, 513)
UNITS = (1, 7, 16, 31, 48, 64, 65, 96, 100, 128, 150, 200, 256, 300, 384, 512)
INPUTS = (1, 3, 16, 28, 64, 100, 129)
LENGTHS = (1, 2, 5, 17, 28, 50, 101)
SEQUENCES = (1, 1, 2, 3, 5, 8, 16, 33, 64)
MOST = 2 << 30
"""Operations of a recurrent layer."""


def odd_net(seed: int, index: int) -> Net:
    """The shape of that place in the list of that seed: half convolutions, an eighth depthwise, the rest products."""
    draw = random.Random(f"{seed}-{index}")
    kind = index % 8
    if kind < 5:
        return convolution(draw, depthwise=kind == 4)
    net = Net(draw.choice(ROWS), draw.choice(EDGES))
    if kind == 5:
        net.matmul("x", draw.choice(EDGES))
    else:
        net.relu(net.linear("x", draw.choice(EDGES)))
    return net


def odd_loop(seed: int, index: int) -> Net:
    """The recurrent layer of that place in the list of that seed: an LSTM, then a plain one, and so on."""
    draw = random.Random(f"loop-{seed}-{index}")
    op, gates = (("lstm", 4), ("rnn", 1))[index % 2]
    while True:
        steps, rows, width, units = map(draw.choice, (LENGTHS, SEQUENCES, INPUTS, UNITS))
        if 2 * steps * rows * gates * units * (width + units) <= MOST:
            net = Net(steps, rows, width)
            net.recurrent(op, "x", units)
            return net


def convolution(draw: random.Random, depthwise: bool) -> Net:
    channels, (kh, kw) = draw.choice(PRIMES), draw.choice(KERNELS)
    sides = draw.choice((7, 13, 17, 29, 37, 57)), draw.choice((7, 13, 17, 29, 37, 57))
    net = Net(draw.choice((1, 1, 3)), channels, *sides)
    out = channels if depthwise else draw.choice(PRIMES)
    pad = draw.choice((0, kh // 2)), draw.choice((0, kw // 2))
    groups = channels if depthwise else 1
    net.relu(net.conv("x", out, (kh, kw), stride=draw.choice((1, 1, 2, 3)), pad=pad, groups=groups))
    return net


def describe(net: Net) -> str:
    """The shape in words."""
    step = net.steps[0]
    weight = net.weights[step.weights[0]][0]
    given = "x".join(map(str, net.input))
    if step.op == "conv":
        name = "depthwise" if step.attrs["groups"] > 1 else "conv"
        ph, pw = step.attrs["pad"]
        return f"{name} {given} by {weight[0]}x{weight[2]}x{weight[3]}, stride {step.attrs['stride']}, pad {ph},{pw}"
    return f"{step.op} {given} to {step.shape[-1]}"
