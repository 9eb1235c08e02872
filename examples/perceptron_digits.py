"""The perceptron rule on real digits: one neuron for a question, ten for ten digits.

Only a mistake teaches: w += (label - decision) x. One neuron learns whether a digit is a 0; ten neurons, of which the
largest score wins, learn all digits: a mistake moves the right neuron towards the image and the winner away from it.
The rule is the subgradient of the perceptron loss, so it is an ordinary compiled training step. The digits are not
divided by planes, so the rule never comes to rest; the mean of all weights on the way decides better than the last.

    python examples/perceptron_digits.py          (the digits come with the extra `demo`)

Source: F. Rosenblatt, The perceptron, 1958; Y. Freund, R. Schapire, 1999, for the mean
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from digits import load_digits
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim


class Scores(nn.Module):
    """A perceptron before its decision."""

    def __init__(self, perceptron: nn.Perceptron) -> None:
        self.perceptron = perceptron

    def __call__(self, x: Any) -> Any:
        return self.perceptron.scores(x)


def learn(perceptron: nn.Perceptron, x: Any, y: Any, rounds: int) -> list[float]:
    """The rule, digit by digit; leaves the mean of all weights. Returns the share of mistakes in each round."""
    step = nv.compile(nv.training_step(Scores(perceptron), nn.perceptron_loss, optim.SGD(1.0), x[:1], y[:1]))
    held = (perceptron.weight, perceptron.bias)
    total = [np.zeros(p.data.shape) for p in held]
    rng = np.random.default_rng(0)
    mistakes: list[float] = []
    for _ in range(rounds):
        wrong = 0
        for k in rng.permutation(len(y)):
            loss = step(x[k : k + 1], y[k : k + 1])
            wrong += bool(loss > 0)
            for running, p in zip(total, held, strict=True):
                running += p.data
        mistakes.append(wrong / len(y))
    for running, p in zip(total, held, strict=True):
        p.assign((running / (rounds * len(y))).astype(np.float32))
    return mistakes


def main(out: Path | None) -> None:
    """Learn both, and say how many held-out digits are right."""
    images, labels, held_images, held_labels = load_digits(0)
    x, held = (a.reshape(len(a), 784) for a in (images, held_images))

    zero = nn.Perceptron(784)
    mistakes = learn(zero, x, np.where(labels == 0, 1, -1), rounds=3)
    decided = nv.compile(zero, "f32[B,784]")(held)
    one_right = float((decided == (held_labels == 0)).mean())
    print(f"is it a 0?   mistakes by round {', '.join(f'{100 * m:.1f} %' for m in mistakes)};", end=" ")
    print(f"held out: {100 * one_right:.1f} % right")

    ten = nn.Perceptron(784, 10)
    mistakes_ten = learn(ten, x, labels, rounds=3)
    run = nv.compile(ten, "f32[B,784]")
    ten_right = float((run(held) == held_labels).mean())
    print(f"which digit? mistakes by round {', '.join(f'{100 * m:.1f} %' for m in mistakes_ten)};", end=" ")
    print(f"held out: {100 * ten_right:.1f} % right")
    print(f"\nten perceptrons are one matrix, and the largest score wins:\n\n{nv.trace(ten, 'f32[B,784]')}")
    if out is not None:
        with picture(out / "perceptron_digits.png", 1, 11, 1.4) as axes:
            templates = [zero.weight.data[0], *ten.weight.data]
            for at, template, title in zip(axes[0], templates, ["is it 0?", *range(10)], strict=True):
                largest = np.abs(template).max()
                at.imshow(template.reshape(28, 28), cmap="coolwarm", vmin=-largest, vmax=largest)
                at.set_title(title)
                at.axis("off")

    assert mistakes[-1] < mistakes[0] and mistakes_ten[-1] < mistakes_ten[0]
    assert one_right > 0.97
    assert ten_right > 0.86
    for backend in ("reference", "onnx"):
        other = nv.compile(ten, "f32[B,784]", backend=backend)(held)
        assert (other == run(held)).mean() > 0.998, "the backends decide alike"


if __name__ == "__main__":
    main(out_folder(__doc__))
