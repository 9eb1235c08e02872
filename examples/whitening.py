"""What centring, scaling, PCA and whitening do to data, and where they go when the network is compiled.

A cloud of points is far from the origin, long, and tilted. Centring moves it to the origin. Standardising makes each
axis as wide as the others, the tilt stays. PCA turns the cloud until its axes are the coordinates'. Whitening does this
and makes it round, and ZCA-whitening turns it back afterwards, so that it stays as near to the data as it can.
All of them are affine: the compiler folds them into the first layer's weights, and they cost nothing.

    python examples/whitening.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn

STEPS = {
    "centred": nv.preprocessing.Center(),
    "standardised": nv.preprocessing.Standardize(),
    "PCA": nv.preprocessing.PCA(),
    "PCA-whitened": nv.preprocessing.Whiten(),
    "ZCA-whitened": nv.preprocessing.Whiten(kind="zca"),
}


def cloud(n: int = 500) -> Any:
    """Points along a tilted ellipse, away from the origin."""
    rng = np.random.default_rng(0)
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    return ((rng.normal(size=(n, 2)) * [2.5, 0.6]) @ turn.T + [4, 2]).astype(np.float32)


def main(out: Path | None) -> None:
    """Transform the cloud, print what is left of mean and covariance, and fold one transformation away."""
    data = cloud()
    found = {"data": data}
    for name, layer in STEPS.items():
        found[name] = nv.compile(layer.fit(data), "f32[N,2]")(data)
    print("                     mean            variances      covariance")
    mean, covariance = {}, {}
    for name, x in found.items():
        mean[name], covariance[name] = x.mean(axis=0), np.cov(x.T.astype(np.float64))
        spread = covariance[name]
        print(
            f"  {name:13s} {mean[name][0]:7.3f} {mean[name][1]:7.3f}  {spread[0, 0]:7.3f} {spread[1, 1]:7.3f}   {spread[0, 1]:9.3f}"
        )

    nv.seed(0)
    network = nn.Sequential(STEPS["PCA-whitened"], nn.Linear(2, 3), nn.ReLU())
    run = nv.compile(network, "f32[N,2]")
    written = nv.trace(network, "f32[N,2]")
    print(f"\nwhitening before a layer, as written:\n\n{written}")
    print(f"and as compiled: one layer, whose weights `prepare` makes once\n\n{run.program}")
    if out is not None:
        with picture(out / "whitening.png", 2, 3, 2.8) as axes:
            for at, (name, x) in zip(axes.flat, found.items(), strict=True):
                at.scatter(*x.T, s=4, c=np.arctan2(*found["PCA-whitened"].T), cmap="hsv")
                at.axhline(0, lw=0.5, c="black")
                at.axvline(0, lw=0.5, c="black")
                at.set(title=name, xlim=(-8, 12), ylim=(-10, 10))

    check(mean, covariance, found)
    products = [node.op.mnemonic for node in run.program.main.walk()].count("dot_general")
    assert products == 1, "whitening and layer became one"
    by_hand = np.maximum(found["PCA-whitened"] @ network[1].weight.data.T + network[1].bias.data, 0)
    assert np.abs(run(data) - by_hand).max() < 1e-4


def check(mean: Any, covariance: Any, found: Any) -> None:
    """What the table says, as numbers."""
    assert np.abs(mean["data"]).min() > 1
    for name in STEPS:
        assert np.abs(mean[name]).max() < 1e-4, name
    assert np.allclose(covariance["centred"], covariance["data"], atol=1e-4), "centring only moves"
    tilt = covariance["standardised"]
    assert np.allclose(np.diag(tilt), 1, atol=0.01) and abs(tilt[0, 1]) > 0.5, "standardising keeps the tilt"
    turned = covariance["PCA"]
    assert abs(turned[0, 1]) < 1e-4 and turned[0, 0] > 5 * turned[1, 1], "PCA turns, and keeps the lengths"
    assert abs(np.trace(turned) - np.trace(covariance["data"])) < 1e-3
    for name in ("PCA-whitened", "ZCA-whitened"):
        assert np.allclose(covariance[name], np.eye(2), atol=1e-4), name
    moved = {n: np.square(found[n] - found["centred"]).sum() for n in ("PCA-whitened", "ZCA-whitened")}
    assert moved["ZCA-whitened"] < moved["PCA-whitened"], "ZCA stays nearest to the data"


if __name__ == "__main__":
    main(out_folder(__doc__))
