"""How large is what a convolution makes? O = (W - K + 2P) / S + 1, as a table checked against the compiler.

W pixels with P of padding on both sides hold W + 2P - K + 1 places for a window of K; a stride of S takes every S-th.
Where S does not divide, the remainder at the end is not read: the compiler makes a remark. Where K is larger than
W + 2P there is no place at all: an error.

    python examples/shapes.py
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn


def formula(w: int, k: int, p: int, s: int) -> int:
    """O = (W - K + 2P) / S + 1, rounded down."""
    return (w - k + 2 * p) // s + 1


def compiled(w: int, k: int, p: int, s: int) -> int:
    """What the compiler says: the width of the traced program's result."""
    conv = nn.Conv1d(1, 1, k, stride=s, padding=p)
    return int(nv.trace(conv, f"f32[1,1,{w}]").main.outputs[0].type.shape[2])


LENET = (
    ("conv1", nn.Conv2d(1, 6, 5, padding=2), (5, 2, 1)),
    ("pool1", nn.MaxPool2d(2), (2, 0, 2)),
    ("conv2", nn.Conv2d(6, 16, 5), (5, 0, 1)),
    ("pool2", nn.MaxPool2d(2), (2, 0, 2)),
)
"""The layers of LeNet-5 whose sizes the formula tells, with K, P and S."""


def draw(path: Path) -> None:
    """Where the windows stand: W = 7, K = 3, with padding and strides."""
    with picture(path, 1, 3, 3.0) as axes:
        for at, (p, s) in zip(axes[0], ((0, 1), (1, 2), (0, 3)), strict=True):
            cells = np.array([0.3] * p + [1.0] * 7 + [0.3] * p)
            at.bar(np.arange(len(cells)) - p, cells, width=0.9, color="lightgray", edgecolor="black")
            for o in range(formula(7, 3, p, s)):
                start = o * s - p - 0.45
                at.plot([start, start + 2.9], [1.15 + 0.1 * o] * 2, lw=4, solid_capstyle="butt")
            at.set(title=f"P = {p}, S = {s}: O = {formula(7, 3, p, s)}", yticks=[], xlabel="W = 7, K = 3")


def main(out: Path | None) -> None:
    """Print the table, LeNet's sizes, a remark and an error."""
    print("   W  K  P  S   (W - K + 2P)/S + 1   compiler")
    shown = [(28, 5, 0, 1), (28, 5, 2, 1), (28, 2, 0, 2), (7, 3, 1, 2), (8, 3, 0, 2), (224, 7, 3, 2)]
    for case in shown:
        print("  {:3d} {:2d} {:2d} {:2d}".format(*case) + f"   {formula(*case):9d} {compiled(*case):17d}")
    cases = [c for c in product((5, 7, 8, 12), (1, 2, 3, 5), (0, 1, 2), (1, 2, 3)) if c[1] <= c[0] + 2 * c[2]]
    disagree = [c for c in cases if formula(*c) != compiled(*c)]
    print(f"  ... {len(cases)} cases, {len(disagree)} disagree\n")

    print("LeNet-5, layer by layer, from f32[B,1,28,28]:")
    image, width = nv.trace(nn.Identity(), "f32[B,1,28,28]").main.outputs[0].type, 28
    for name, layer, (k, p, s) in LENET:
        image, width = nv.trace(layer, image).main.outputs[0].type, formula(width, k, p, s)
        print(f"  {name}  K = {k}, P = {p}, S = {s}  ->  {image}")
        disagree += [(k, p, s)] if image.shape[2:] != (width, width) else []
    any_size = nv.trace(nn.Conv2d(1, 6, 5, stride=2), "f32[B,1,W:5..512,W]")
    print(f"\nof images of any size W, with K = 5 and S = 2: {any_size.main.outputs[0].type}")

    remainder = nv.compile(nn.Conv1d(1, 1, 3, stride=2), "f32[1,1,8]", backend="reference")
    remarks = [note for note in remainder.notes if note.startswith("check-windows")]
    print(f"\na remark where the stride leaves a remainder:\n  {remarks[0]}")
    try:
        compiled(5, 8, 1, 1)
        message = ""
    except nv.NervureError as error:
        message = error.message
    print(f"\nan error where the window is larger than what it looks at:\n  {message}")
    if out is not None:
        draw(out / "shapes.png")

    assert disagree == []
    assert str(image) == "f32[B,16,5,5]"
    assert "8" in remarks[0] and "stride 2" in remarks[0]
    assert "5 + 1 + 1" in message and "= 8" in message, "the error has the numbers in it"


if __name__ == "__main__":
    main(out_folder(__doc__))
