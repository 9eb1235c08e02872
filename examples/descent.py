"""Gradient descent goes downhill from where it stands: to a minimum, not to the lowest one.

f(x) = x^4 - 3 x^2 + x has two valleys, one deeper than the other, and a hill between them. Where descent ends depends on
where it starts; on the very top of the hill the gradient is 0 and it cannot move at all. A rate that is too large jumps
from wall to wall, or out of the valley. Momentum carries over small hills, and sometimes finds the deeper valley.

    python examples/descent.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import optim


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
    if out is not None:
        draw(out / "descent.png", cases)

    near = {name: abs(float(end.x) - ROOTS).argmin() for name, end in found.items()}
    assert [near[n] for n in ("from the left", "left of the hill")] == [0, 0]
    assert [near[n] for n in ("from the right", "right of the hill")] == [2, 2]
    for name in ("from the left", "from the right", "left of the hill", "right of the hill"):
        assert found[name].converged and abs(float(found[name].x) - ROOTS).min() < 1e-6, name
    assert found["on the hilltop"].steps == 0, "the gradient is 0: it cannot move"
    assert near["with momentum"] == 0, "it rolled over the hill"
    assert found["rate too large"].reason == "not finite"
    assert np.abs(bowl.x - [1, -2]).max() < 1e-5


def draw(path: Path, cases: Any) -> None:
    """The function, and the way of three descents."""
    x = np.linspace(-2.1, 2.1, 200)
    with picture(path, 1, 3, 3.0) as axes:
        for at, name in zip(axes[0], ("from the right", "right of the hill", "with momentum"), strict=True):
            x0, how = cases[name]
            ways = [nv.minimize(f, np.array(x0), type(how)(0.02, momentum=how.momentum), k, 0.0, patience=None)
                    for k in range(25)]  # fmt: skip
            places = np.array([float(w.x) for w in ways])
            at.plot(x, f(x), "k", lw=1)
            at.plot(places, f(places), "o-", ms=3)
            at.set(title=name, ylim=(-6, 8))


if __name__ == "__main__":
    main(out_folder(__doc__))
