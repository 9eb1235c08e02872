"""Six 5 x 5 kernels make six maps of one image: what the first layer of a convolutional network does.

Each kernel is a small picture of what it looks for: a stroke in one of four directions, a spot, ink of any shape. It is
laid on every place of the image; its map is bright where the image looks like it. The kernels are written by hand here;
training finds others of the same kind.

    python examples/feature_maps.py          (the digits come with the extra `demo`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from digits import load_digits
from page import out_folder, picture

import nervure as nv
from nervure import nn

NAMES = ("level", "upright", "rising", "falling", "spot", "ink")


def kernels() -> Any:
    """[6, 1, 5, 5]: strokes and a spot, each with the mean 0, so that an even surface gives 0; ink has the mean 1."""
    y, x = np.mgrid[:5, :5] - 2
    shapes = [y == 0, x == 0, x == -y, x == y, np.hypot(x, y) < 1.1]
    found = [s / s.sum() - ~s / (~s).sum() for s in shapes]
    return np.stack([*found, np.full((5, 5), 1 / 25)])[:, None].astype(np.float32)


class FeatureMaps(nn.Module):
    """Images [N, 1, H, W] -> six maps of each, four pixels smaller on both sides; only what looks alike, by ReLU."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(1, 6, 5, bias=False)
        self.conv.weight.assign(kernels())

    def __call__(self, x: Any) -> Any:
        return nn.relu(self.conv(x))


def by_hand(image: Any, kernel: Any, row: int, column: int) -> float:
    """One pixel of one map: the kernel laid on its place, multiplied and summed."""
    return float((image[row : row + 5, column : column + 5] * kernel).sum())


def main(out: Path | None) -> None:
    """Make the maps of some digits, and see which kernel finds which stroke."""
    images, labels, _, _ = load_digits(0)
    chosen = np.stack([images[np.flatnonzero(labels == digit)[0]] for digit in (1, 4, 7)])
    model = FeatureMaps()
    run = nv.compile(model, "f32[N,1,H:5..64,W:5..64]")
    print(f"{nv.trace(model, 'f32[N,1,28,28]')}")
    print("one kernel of the compiled program does both, the convolution and the ReLU:")
    kernel = next(k for k in run.kernels if "conv" in k.name)
    print("\n".join(f"  {line}" for line in str(kernel).splitlines()) + "\n")

    maps = run(chosen)
    strokes = np.zeros((5, 1, 28, 28), np.float32)
    y, x = np.mgrid[:28, :28] - 14
    for k, shape in enumerate((y == 0, x == 0, x == -y, x == y, np.hypot(x, y) < 1.1)):
        strokes[k, 0] = shape
    brightest = run(strokes)[:, :5].max(axis=(2, 3))
    print("the brightest pixel of each map, for images of one stroke:\n")
    print("            " + "".join(f"{name:>9s}" for name in NAMES[:5]))
    for name, row in zip(NAMES[:5], brightest, strict=True):
        print(f"  {name:>9s} " + "".join(f"{v:9.2f}" for v in row))
    if out is not None:
        with picture(out / "feature_maps.png", 4, 7, 1.6) as axes:
            for at, kernel, name in zip(axes[0][1:], kernels(), NAMES, strict=True):
                at.imshow(kernel[0], cmap="gray", vmin=min(0, kernel.min()), vmax=kernel.max() + 0.05)
                at.set_title(name)
            for row, image, found in zip(axes[1:], chosen, maps, strict=True):
                for at, shown in zip(row, (image[0], *found), strict=True):
                    at.imshow(shown, cmap="gray")
            for at in axes.flat:
                at.axis("off")

    assert maps.shape == (3, 6, 24, 24), "28 - 5 + 1 places in each direction"
    assert (brightest.argmax(axis=1) == np.arange(5)).all(), "each kernel is brightest on its own stroke"
    for k, kernel in enumerate(kernels()[:, 0]):
        expected = max(by_hand(chosen[1, 0], kernel, 9, 11), 0)
        assert abs(maps[1, k, 9, 11] - expected) < 1e-5, NAMES[k]


if __name__ == "__main__":
    main(out_folder(__doc__))
