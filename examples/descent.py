"""Gradient descent goes downhill from where it stands: to a minimum, not to the lowest one.

f(x) = x^4 - 3 x^2 + x has two valleys, one deeper than the other, and a hill between them. Where descent ends depends on
where it starts; on the very top of the hill the gradient is 0 and it cannot move at all. A rate that is too large jumps
from wall to wall, or out of the valley. Momentum carries over small hills, and sometimes finds the deeper valley. On a
plateau, such as a sigmoid has on both sides, the gradient is nearly 0 and descent stops far from any minimum.

    python examples/descent.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim


def f(x: Any) -> Any:
    """Two valleys and a hill."""
    return x**4 - 3 * x**2 + x


ROOTS = np.sort(np.roots([4, 0, -6, 1]).real)
"""Where the derivative is 0: the deeper valley, the hilltop, the shallow valley."""


def main(out: Path | None) -> None:
    """Descend from several places, with several rates, and say where and why it ended."""
    deep, top, shallow = ROOTS
    print(
        f"f has its lowest valley at {deep:.4f}, a hill at {top:.4f}, and another valley at {shallow:.4f}\n"
    )
    print(f"its chain rule:\n\n{nv.explain_grad(f, 'f64[]')}")
    cases = {
        "from the left": (-2.0, optim.SGD(0.02)),
        "from the right": (2.0, optim.SGD(0.02)),
        "left of the hill": (top - 0.01, optim.SGD(0.02)),
        "right of the hill": (top + 0.01, optim.SGD(0.02)),
        "on the hilltop": (top, optim.SGD(0.02)),
        "with momentum": (2.0, optim.SGD(0.02, momentum=0.9)),
        "rate too large": (2.0, optim.SGD(0.3)),
    }
    found = {
        name: nv.minimize(f, np.array(x0), how, tol=1e-9, patience=100) for name, (x0, how) in cases.items()
    }
    for name, end in found.items():
        print(
            f"  {name:18s} ends at {float(end.x):8.4f} after {end.steps:4d} steps: {end.reason}, f = {end.value:.4f}"
        )
    bowl = nv.minimize(lambda x: ((x - np.array([1.0, -2.0])) ** 2 * np.array([1.0, 10.0])).sum(), np.zeros(2), optim.SGD(0.05))  # fmt: skip
    print(f"\na bowl has one minimum, wherever one starts: {np.round(bowl.x, 4)} after {bowl.steps} steps")
    flat = nv.minimize(lambda x: nn.sigmoid(4 * x), np.array(6.0), optim.SGD(0.5))
    slow = nv.minimize(lambda x: nn.sigmoid(4 * x), np.array(2.0), optim.SGD(0.5), steps=50)
    for end, start in ((flat, 6), (slow, 2)):
        print(
            f"on the plateau of a sigmoid, from {start} to {float(end.x):.3f}: {end.reason} after {end.steps} steps, "
            f"the gradient is {end.gradient_norm:.0e}"
        )
    if out is not None:
        draw(out / "descent.png", {name: (x0, found[name]) for name, (x0, _) in cases.items()})

    near = {name: abs(float(end.x) - ROOTS).argmin() for name, end in found.items()}
    assert [near[n] for n in ("from the left", "left of the hill")] == [0, 0]
    assert [near[n] for n in ("from the right", "right of the hill")] == [2, 2]
    for name in ("from the left", "from the right", "left of the hill", "right of the hill"):
        assert found[name].converged and abs(float(found[name].x) - ROOTS).min() < 1e-6, name
    assert found["on the hilltop"].steps == 0, "the gradient is 0: it cannot move"
    assert near["with momentum"] == 0, "it rolled over the hill"
    assert found["rate too large"].reason == "not finite"
    assert flat.reason == "gradient" and flat.value > 0.99, "no minimum is near, but nothing says where to go"
    assert slow.reason == "steps" and float(slow.x) > 1.9, "all steps lead hardly anywhere"
    assert np.abs(bowl.x - [1, -2]).max() < 1e-5


def draw(path: Path, ends: Any) -> None:
    """Where descents start and end, and how the value falls on the way."""
    shown = ("from the left", "from the right", "right of the hill", "on the hilltop", "with momentum")
    x = np.linspace(-2.1, 2.1, 200)
    with picture(path, 1, 2, 4.2) as axes:
        ground, fall = axes[0]
        ground.plot(x, f(x), "k", lw=1)
        for k, name in enumerate(shown):
            x0, end = ends[name]
            ground.plot([x0], [f(x0)], "o", color=f"C{k}", mfc="white", ms=7, zorder=3)
            ground.plot([float(end.x)], [end.value], "*", color=f"C{k}", ms=16 - 2 * k, zorder=3)
            fall.plot(end.values[:80], color=f"C{k}", marker="o" if end.steps == 0 else None, label=name)
        ground.set(title="starts (circles) and ends (stars)", xlabel="x", ylabel="f(x)", ylim=(-4.5, 8))
        fall.set(title="the value on the way", xlabel="step", ylim=(-4.5, 8))
        fall.legend()


if __name__ == "__main__":
    main(out_folder(__doc__))
