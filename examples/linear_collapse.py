"""Why a network needs nonlinear layers: linear layers in a row are one linear layer.

W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2). Depth without a nonlinearity buys nothing, and the optimiser takes it
away: it multiplies the weights once, when they are loaded. A single tanh in between, and nothing collapses.

    python examples/linear_collapse.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn


def deep(*between: nn.Module) -> nn.Sequential:
    """Three linear layers, with the same thing between each two."""
    return nn.Sequential(nn.Linear(6, 8), *between, nn.Linear(8, 8), *between, nn.Linear(8, 3))


def layers(program: nv.Program) -> int:
    """How many products with the weights one call makes."""
    return sum(node.op.mnemonic in ("linear", "dot_general") for node in program.main.walk())


def along_a_line(run: Any, steps: int = 21) -> Any:
    """The outputs on a straight way through the inputs."""
    way = np.linspace(-3, 3, steps, dtype=np.float32)[:, None] * np.ones((1, 6), np.float32)
    return run(way)


def main(out: Path | None) -> None:
    """Compile both networks, and look at what is left of them."""
    nv.seed(0)
    plain, bent = deep(), deep(nn.Tanh())
    written = nv.trace(plain, "f32[B,6]")
    run, run_bent = nv.compile(plain, "f32[B,6]"), nv.compile(bent, "f32[B,6]")
    print(f"three linear layers, as written:\n\n{written}")
    print(f"the same after optimisation; `prepare` runs when the weights are loaded:\n\n{run.program}")
    print(
        f"products with weights in a call: {layers(written)} as written, {layers(run.program)} after optimisation"
    )
    print(f"with tanh in between: {layers(run_bent.program)}")

    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    w = [plain[k].weight.data.astype(np.float64) for k in range(3)]
    b = [plain[k].bias.data.astype(np.float64) for k in range(3)]
    one = x @ (w[2] @ w[1] @ w[0]).T + (w[2] @ (w[1] @ b[0] + b[1]) + b[2])
    error = float(np.abs(run(x) - one).max())
    print(f"largest difference from the one layer worked out by hand: {error:.1e}")
    bend = [float(np.abs(np.diff(along_a_line(r), 2, axis=0)).max()) for r in (run, run_bent)]
    print(f"on a straight way the outputs bend by {bend[0]:.0e} without tanh, by {bend[1]:.0e} with it")
    if out is not None:
        with picture(out / "linear_collapse.png", 1, 2, 3.2) as axes:
            for at, r, title in zip(
                axes[0], (run, run_bent), ("three linear layers", "tanh between"), strict=True
            ):
                at.plot(np.linspace(-3, 3, 101), along_a_line(r, 101))
                at.set(title=title, xlabel="along a line")

    assert (layers(written), layers(run.program), layers(run_bent.program)) == (3, 1, 3)
    assert error < 1e-5
    assert bend[0] < 1e-5 < bend[1]
    plain[0].weight.assign(2 * plain[0].weight.data)
    again = x @ (w[2] @ w[1] @ (2 * w[0])).T + (w[2] @ (w[1] @ b[0] + b[1]) + b[2])
    assert np.abs(run(x) - again).max() < 1e-5, "new weights are multiplied anew, nothing is compiled again"


if __name__ == "__main__":
    main(out_folder(__doc__))
