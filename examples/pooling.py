"""Max pooling against average pooling.

Both make one number of each window. The maximum says whether something was there, and gives its whole gradient to the
pixel that won; the average says how much of it was there, and shares the gradient among all. On the thin strokes of a
drawing the maximum keeps the ink, the average thins it; of noise the maximum keeps the worst, the average the mean.

    python examples/pooling.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn

X = np.array([[1, 3, 2, 1], [4, 6, 6, 8], [3, 1, 1, 0], [1, 2, 2, 4]], np.float32)[None, None]


def drawing() -> Any:
    """A ring of one pixel's width and a cross, 32 x 32."""
    y, x = np.mgrid[:32, :32] - 15.5
    image = (np.abs(np.hypot(x, y) - 11) < 0.6) | ((np.abs(x - y) < 0.6) & (np.hypot(x, y) < 8))
    return image.astype(np.float32)[None, None]


def beside(*tables: Any) -> str:
    """Small tables of numbers next to each other."""
    texts = [[" ".join(f"{v:5.2f}" for v in row) for row in table] for table in tables]
    height = max(map(len, texts))
    padded = [text + [" " * len(text[0])] * (height - len(text)) for text in texts]
    return "\n".join("   " + "    ".join(row) for row in zip(*padded, strict=True))


def main(out: Path | None) -> None:
    """Pool a table of numbers, then a drawing, and look at the gradients."""
    pools = {"max": nn.max_pool2d, "avg": nn.avg_pool2d}
    small = {name: nv.compile(lambda x, p=p: p(x, 2), X)(X) for name, p in pools.items()}
    slope = {name: nv.compile(nv.grad(lambda x, p=p: p(x, 2).sum()), X)(X) for name, p in pools.items()}
    print("a table, its windows' maxima, and their averages:\n")
    print(beside(X[0, 0], small["max"][0, 0], small["avg"][0, 0]))
    print("\nthe gradient of the sum of the maxima, and of the averages:\n")
    print(beside(slope["max"][0, 0], slope["avg"][0, 0]))
    print(f"\n{nv.explain_grad(lambda x: nn.max_pool2d(x, 2).sum(), 'f32[1,1,4,4]')}")

    image = drawing()
    noise = np.random.default_rng(0).normal(0, 0.2, image.shape).astype(np.float32)
    pooled = {name: nv.compile(lambda x, p=p: p(x, 4), image) for name, p in pools.items()}
    ink = {name: float(run(image).max()) for name, run in pooled.items()}
    rest = {name: float(run(noise).mean()) for name, run in pooled.items()}
    print(f"a thin drawing keeps of its ink: max {ink['max']:.2f}, avg {ink['avg']:.2f}")
    print(f"noise around 0 becomes: max {rest['max']:.2f}, avg {rest['avg']:.3f}")
    if out is not None:
        with picture(out / "pooling.png", 2, 3) as axes:
            for row, (data, title) in zip(axes, ((image, "drawing"), (noise, "noise")), strict=True):
                shown = (data, pooled["max"](data), pooled["avg"](data))
                for at, found, name in zip(row, shown, (title, "max", "average"), strict=True):
                    at.imshow(found[0, 0], cmap="gray_r", vmin=-0.5, vmax=1)
                    at.set(title=name, xticks=[], yticks=[])

    assert small["max"][0, 0].tolist() == [[6, 8], [3, 4]]
    assert small["avg"][0, 0].tolist() == [[3.5, 4.25], [1.75, 1.75]]
    assert (slope["avg"] == 0.25).all()
    windows = slope["max"].reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(4, 4)
    assert (np.sort(windows, axis=1) == [0, 0, 0, 1]).all(), (
        "one pixel of each window gets all of the gradient"
    )
    assert ink["max"] == 1 and ink["avg"] < 0.5
    assert rest["max"] > 0.2 and abs(rest["avg"]) < 0.05


if __name__ == "__main__":
    main(out_folder(__doc__))
