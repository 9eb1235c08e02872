"""Long memory: a symbol is shown once, a hundred empty steps follow, then it is asked for.

A plain RNN multiplies its state by the same matrix at each step, so what it saw, and the gradient that would teach it to
keep it, dies out or blows up; it stays at chance. An LSTM adds to its memory instead, and gates say what is kept: with a
forget gate that begins as open as the length asks for (its bias is log T) it learns the task. Below, the norm of the
loss's gradient by the memory at each step shows why.

    python examples/memory.py

Source: S. Hochreiter, J. Schmidhuber, Long short-term memory, 1997; C. Tallec, Y. Ollivier, Can recurrent neural
networks warp time?, 2018
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

SYMBOLS, LENGTH, BATCH, UPDATES, HIDDEN = 8, 100, 32, 600, 48


class Recall(nn.Module):
    """What was the first symbol? Said after the last step."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.head = nn.Linear(HIDDEN, SYMBOLS)

    def __call__(self, x: Any) -> Any:
        return self.head(nn.last_step(self.layer(x)[0]))


def batch(rng: Any, count: int) -> tuple[Any, Any]:
    """Sequences [LENGTH, count, SYMBOLS + 1]: a symbol, then nothing; the last channel says "now"."""
    x = np.zeros((LENGTH, count, SYMBOLS + 1), np.float32)
    symbols = rng.integers(0, SYMBOLS, count)
    x[0, np.arange(count), symbols] = 1
    x[-1, :, -1] = 1
    return x, symbols


def main(out: Path | None) -> None:
    """Train both on the same sequences."""
    nv.seed(0)
    models = {
        "RNN": Recall(nn.RNN(SYMBOLS + 1, HIDDEN)),
        "LSTM": Recall(nn.LSTM(SYMBOLS + 1, HIDDEN, forget_bias=math.log(LENGTH))),
    }
    test, labels = batch(np.random.default_rng(1), 500)
    found = {
        name: nv.gradient_norms(lambda x, y, m=model: nn.cross_entropy(m(x), y), test, labels)
        for name, model in models.items()
    }
    norms = {name: report.carries[-1].norms for name, report in found.items()}  # by h, and by the LSTM's c
    losses: dict[str, list[float]] = {}
    share: dict[str, float] = {}
    print(f"a symbol of {SYMBOLS}, asked for {LENGTH} steps later\n")
    print("        gradient by the first step / by the last    share of symbols recalled")
    for name, model in models.items():
        specs = (f"f32[{LENGTH},B,{SYMBOLS + 1}]", "i64[B]")
        step = nv.compile(
            nv.training_step(model, nn.cross_entropy, optim.Adam(1e-3), *specs, clip=optim.clip_norm(1.0))
        )
        rng = np.random.default_rng(0)
        losses[name] = [float(step(*batch(rng, BATCH))) for _ in range(UPDATES)]
        said = nv.compile(model, specs[0])(test).argmax(1)
        share[name] = float((said == labels).mean())
        print(
            f"{name:>6s}             {norms[name][0] / norms[name][-1]:9.1e}                     {share[name]:8.3f}"
        )
    print(f"\nchance is {1 / SYMBOLS}")

    print(f"\nbefore training, the loss's gradient by the state at each step of the RNN\n\n{found['RNN']}")

    if out is not None:
        with picture(out / "memory.png", 1, 2, 4.0) as axes:
            for name in models:
                axes[0, 0].plot(norms[name], label=name)
                axes[0, 1].plot(losses[name], lw=1, label=name)
            axes[0, 0].set(xlabel="step", title="gradient by the state, at first", yscale="log")
            axes[0, 1].set(xlabel="update", title="loss")
            axes[0, 0].legend()
    assert share["LSTM"] > 0.95
    assert share["RNN"] < 0.5
    assert norms["RNN"][0] / norms["RNN"][-1] < 1e-6 < norms["LSTM"][0] / norms["LSTM"][-1]


if __name__ == "__main__":
    main(out_folder(__doc__))
