"""One hidden layer approximates any continuous function, if it is wide enough.

The same network, one layer of tanh between two linear layers, is trained on three functions, one of them with corners.
With one hidden neuron it can only bend once; each further neuron adds a bend, and the error falls.

    python examples/universal.py

Source: G. Cybenko, Approximation by superpositions of a sigmoidal function, 1989
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

FUNCTIONS = {
    "sin 3x": lambda x: np.sin(3 * x),
    "|x| - 1/2": lambda x: np.abs(x) - 0.5,
    "a bump": lambda x: np.exp(-8 * x**2),
}
WIDTHS = (1, 4, 32)
STEPS = 3000


class MLP(nn.Module):
    """x -> tanh -> y with one hidden layer."""

    def __init__(self, width: int) -> None:
        self.hidden = nn.Linear(1, width)
        self.out = nn.Linear(width, 1)
        self.hidden.weight.assign(3 * self.hidden.weight.data)  # bends spread over the interval

    def __call__(self, x: Any) -> Any:
        return self.out(nn.tanh(self.hidden(x)))


def fit(width: int, x: Any, y: Any) -> Any:
    """What a network of that width makes of x after training on y."""
    nv.seed(width)
    model = MLP(width)
    optimizer = optim.Adam(optim.cosine(0.02, steps=STEPS))
    step = nv.compile(nv.training_step(model, nn.mse_loss, optimizer, x, y))
    for _ in range(STEPS):
        step(x, y)
    return nv.compile(model, x)(x)


def main(out: Path | None) -> None:
    """Train each width on each function; print the largest error."""
    x = np.linspace(-2, 2, 128, dtype=np.float32)[:, None]
    found = {
        name: {width: fit(width, x, f(x)) for width in WIDTHS}
        for name, f in FUNCTIONS.items()
    }  # fmt: skip
    error = {
        name: {width: float(np.abs(y - FUNCTIONS[name](x)).max()) for width, y in row.items()}
        for name, row in found.items()
    }
    print("largest error on -2..2, by the number of hidden neurons\n")
    print("            " + "".join(f"{width:9d}" for width in WIDTHS))
    for name, row in error.items():
        print(f"{name:>10s}  " + "".join(f"{row[width]:9.4f}" for width in WIDTHS))
    if out is not None:
        with picture(out / "universal.png", 1, len(FUNCTIONS), 3.0) as axes:
            for at, (name, row) in zip(axes[0], found.items(), strict=True):
                at.plot(x, FUNCTIONS[name](x), "k", lw=3, alpha=0.3, label="function")
                for width, y in row.items():
                    at.plot(x, y, label=f"{width} neurons")
                at.set(title=name)
            axes[0][0].legend(fontsize=7)

    for name, row in error.items():
        assert row[WIDTHS[0]] > 3 * row[WIDTHS[-1]], name
        assert row[WIDTHS[-1]] < 0.1, name
        assert row[WIDTHS[1]] < row[WIDTHS[0]], name


if __name__ == "__main__":
    main(out_folder(__doc__))
