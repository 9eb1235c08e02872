"""Edges by hand: the Sobel operator as a convolution whose kernel nobody trained.

Two fixed 3 x 3 kernels measure how fast the brightness changes to the right and downwards. Together they are a vector
at each pixel: its length says how sharp the edge is, its direction across which way it runs. A network's first layer
usually finds kernels like these by itself.

    python examples/sobel.py

Source: I. Sobel, G. Feldman, An isotropic 3x3 image gradient operator, 1968
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn

RIGHT = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8
KERNELS = np.stack([RIGHT, RIGHT.T])[:, None]
"""[2, 1, 3, 3]: the slope to the right, and downwards; in brightness a pixel."""


class Sobel(nn.Module):
    """The slopes [N, 2, H, W] of images [N, 1, H, W], and the size of both together [N, H, W]."""

    def __init__(self) -> None:
        self.kernels = nn.Buffer(KERNELS)

    def __call__(self, x: Any) -> tuple[Any, Any]:
        slopes = nn.conv2d(nn.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernels)
        return slopes, nn.sqrt((slopes * slopes).sum(1))


def disc(size: int = 64, radius: float = 20) -> Any:
    """A bright disc with a soft border two pixels wide."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((radius - np.hypot(x, y)) / 2 + 0.5, 0, 1).astype(np.float32)[None, None]


def main(out: Path | None) -> None:
    """Find the edge of a disc."""
    image = disc()
    run = nv.compile(Sobel(), image)
    print(f"two kernels, one convolution:\n\n{nv.trace(Sobel(), 'f32[N,1,H,W]')}")
    slopes, size = run(image)
    y, x = np.mgrid[:64, :64] - 31.5
    at_edge = size[0] > 0.2
    distance = np.hypot(x, y)[at_edge]
    print(
        f"{at_edge.sum()} pixels have an edge, {distance.min():.1f} to {distance.max():.1f} from the centre"
    )
    outwards = np.stack([x, y])[:, at_edge] / distance
    inwards = -(outwards * slopes[0][:, at_edge]).sum(axis=0) / size[0][at_edge]
    print(f"the slopes point to the centre, up to {np.degrees(np.arccos(inwards.min())):.1f} degrees")
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (1, 1, 64, 64)).copy()
    slope, _ = run(ramp)
    print(
        f"a ramp of 1 a pixel to the right has the slopes {slope[0, 0, 30, 30]:g} and {slope[0, 1, 30, 30]:g}"
    )
    if out is not None:
        with picture(out / "sobel.png", 1, 4) as axes:
            shown = (image[0, 0], slopes[0, 0], slopes[0, 1], size[0])
            for at, found, title in zip(axes[0], shown, ("image", "right", "down", "size"), strict=True):
                at.imshow(found, cmap="gray")
                at.set(title=title, xticks=[], yticks=[])

    assert distance.min() > 17 and distance.max() < 23
    assert inwards.min() > np.cos(np.radians(5))
    assert size[0, 25:39, 25:39].max() == 0, "inside, nothing changes"
    assert slope[0, 0, 30, 30] == 1 and slope[0, 1, 30, 30] == 0


if __name__ == "__main__":
    main(out_folder(__doc__))
