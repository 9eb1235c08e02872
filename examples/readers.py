"""Where data come from: the same digits from an .npz, from IDX files as MNIST has them, from CSV and from images in folders.

`nv.data.load` knows a file by its name and gives samples and labels, whatever the format; training does not notice
the difference. The files are written here first, into a folder that is thrown away.

    python examples/readers.py          (the digits come with the extra `demo`, images with `images`)
"""

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from digits import load_digits
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim
from nervure.train import fit


def written(folder: Path, pixels: Any, labels: Any) -> dict[str, Path]:
    """The data in each format, by its name."""
    from PIL import Image

    np.savez(folder / "digits.npz", x=pixels, y=labels)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels.astype(np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    table = np.column_stack([labels, pixels.reshape(len(pixels), -1)])
    names = ",".join(["label", *(f"p{k}" for k in range(table.shape[1] - 1))])
    np.savetxt(folder / "digits.csv", table, fmt="%d", delimiter=",", header=names, comments="")
    for k, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / str(label) / f"{k:04d}.png")
    return {
        ".npz": folder / "digits.npz",
        "IDX": folder / "train-images-idx3-ubyte.gz",
        "CSV": folder / "digits.csv",
        "folders of images": folder / "images",
    }


def main() -> None:
    """Read each format, and train a linear classifier on what it gives."""
    out = out_folder(__doc__)
    images, labels, _, _ = load_digits(0)
    pixels = np.round(images[:400, 0] * 255).astype(np.uint8)
    labels = labels[:400].astype(np.int64)
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in written(Path(folder), pixels, labels).items():
            x, y = nv.data.load(path)
            nv.seed(0)
            scaled = x.reshape(len(x), -1).astype(np.float32) / 255
            history = fit(
                nn.Linear(784, 10), (scaled, y), nn.cross_entropy, optim.Adam(0.01), "f32[B,784]", epochs=8
            )
            losses[name] = [epoch.loss for epoch in history.epochs]
            print(
                f"{name:18s} x {x.dtype}{list(x.shape)}, y {y.dtype}{list(y.shape)}; loss after 8 epochs {losses[name][-1]:.4f}"
            )
            same = np.sort(x.reshape(len(x), -1).sum(axis=1)) == np.sort(pixels.reshape(400, -1).sum(axis=1))
            assert same.all()
            assert sorted(y.tolist()) == sorted(labels.tolist())

    if out is not None:
        with picture(out / "readers.png", 1, 1, size=4.5) as axes:
            for name, values in losses.items():
                axes[0, 0].plot(range(1, 9), values, label=name)
            axes[0, 0].set(xlabel="epoch", ylabel="loss", title="the same digits, read four ways")
            axes[0, 0].legend()
    # the first three have the digits in the same order, so the same batches
    assert losses[".npz"] == losses["IDX"] == losses["CSV"]
    assert losses["folders of images"][-1] < losses["folders of images"][0]


if __name__ == "__main__":
    main()
