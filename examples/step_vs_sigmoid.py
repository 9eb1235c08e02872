"""A small change of the input, a large step of the output: why neurons that learn have no step.

A perceptron answers 0 or 1. Next to its line the smallest change of a weight or an input flips the answer, and
everywhere else no change does anything: the derivative is 0 wherever there is one, so nothing tells the weights which
way to go. The sigmoid is the step made smooth: a small change has a small effect, and the effect has a direction.

    python examples/step_vs_sigmoid.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn

W, BIAS = 4.0, -2.0
"""The neuron's line is at x = 0.5."""


def hard(x: Any) -> Any:
    """The perceptron's answer."""
    return nn.step(W * x + BIAS)


def soft(x: Any) -> Any:
    """The sigmoid neuron's answer."""
    return nn.sigmoid(W * x + BIAS)


def main(out: Path | None) -> None:
    """Push both neurons a little, and ask for their derivatives."""
    step, sigmoid = nv.compile(hard, "f64[N]"), nv.compile(soft, "f64[N]")
    slope = nv.compile(nv.grad(lambda x: soft(x).sum()), "f64[N]")
    no_slope = nv.compile(nv.grad(lambda x: hard(x).sum()), "f64[N]")

    print("   input      step   sigmoid   (the line is at 0.5)")
    x = np.array([0.1, 0.499, 0.501, 0.9])
    for row in zip(x, step(x), sigmoid(x), strict=True):
        print(f"  {row[0]:6.3f}  {row[1]:8.3f}  {row[2]:8.3f}")
    change = 0.002
    jump, bend = (
        float(np.diff(f(np.array([0.5 - change / 2, 0.5 + change / 2])))[0]) for f in (step, sigmoid)
    )
    print(f"\na change of {change} across the line moves the step by {jump:g}, the sigmoid by {bend:.4f}")
    print(f"which is the change times the derivative: {change * float(slope(np.array([0.5]))[0]):.4f}")

    print(f"\nthe chain rule of the sigmoid neuron:\n\n{nv.explain_grad(soft, 'f64[N]')}")
    print(f"and of the step:\n\n{nv.explain_grad(hard, 'f64[N]')}")
    way = np.linspace(-1, 2, 301)
    if out is not None:
        with picture(out / "step_vs_sigmoid.png", 1, 2, 3.2) as axes:
            for at, f, df, title in zip(
                axes[0], (step, sigmoid), (no_slope, slope), ("step", "sigmoid"), strict=True
            ):
                at.plot(way, f(way), label="answer")
                at.plot(way, df(way), "--", label="derivative")
                at.set(title=title, xlabel="input")
            axes[0][0].legend(loc="center left")

    assert jump == 1
    assert abs(bend - change * W / 4) < 1e-6, "the sigmoid's slope in its middle is a quarter of the weight"
    assert (no_slope(way) == 0).all()
    assert (slope(way) > 0).all()
    measured = (sigmoid(way + 1e-6) - sigmoid(way - 1e-6)) / 2e-6
    assert np.abs(measured - slope(way)).max() < 1e-8


if __name__ == "__main__":
    main(out_folder(__doc__))
