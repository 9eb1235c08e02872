"""A line with a margin, and a kernel where no line will do: support vector machines.

Of all lines between two groups the SVM takes the one with the most room on both sides; only the nearest points, the
support vectors, hold it. Two rings, one inside the other, are divided by no line. A kernel measures likeness instead of
position: the same machine then divides by a circle, without anyone having said so.

    python examples/svm.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv

KIND = "f32[N:1..20000,2]"


def groups(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Two groups that a line divides."""
    labels = np.arange(n) % 2
    centres = np.where(labels[:, None] == 1, [1.5, 1.0], [-1.5, -1.0])
    return (centres + rng.normal(0, 0.5, (n, 2))).astype(np.float32), labels


def rings(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """A disc within a ring."""
    labels = np.arange(n) % 2
    radius = np.where(labels == 1, 0.5, 1.5) + rng.normal(0, 0.12, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32), labels


def main(out: Path | None) -> None:
    """Fit lines and kernels to both; show what held-out points say."""
    rng = np.random.default_rng(0)
    right: dict[tuple[str, str], float] = {}
    drawn: list[tuple[str, Any, Any, Any, Any]] = []
    for data, make in (("groups", groups), ("rings", rings)):
        x, y = make(200, rng)
        held, truth = make(400, rng)
        machines = {
            "linear": nv.svm.LinearSVM(C=1.0),
            "poly, degree 2": nv.svm.KernelSVM("poly", degree=2, coef0=1.0),
            "rbf": nv.svm.KernelSVM("rbf"),
        }
        for name, machine in machines.items():
            machine.fit(x, y)
            decide = nv.compile(machine, KIND)
            right[data, name] = float((machine.predict(decide(held)) == truth).mean())
            vectors = machine.dual[0].alpha > 0
            print(
                f"{data:6s}  {name:15s} {100 * right[data, name]:5.1f} % right, {vectors.sum():3d} support vectors"
            )
            drawn.append((f"{data}: {name}", x, y, x[vectors], decide))
        if data == "groups":
            linear = machines["linear"]
            inner = np.abs(nv.compile(linear, KIND)(x)).min() / np.linalg.norm(linear.weight.data)
            print(
                f"        the margin is {linear.margin[0]:.3f} wide on each side; C lets a point within it, {inner:.3f} away"
            )
    rbf = machines["rbf"]
    print(f"\nthe machine with the rbf kernel as a program:\n\n{nv.trace(rbf, KIND)}")
    if out is not None:
        draw(out / "svm.png", drawn)

    assert min(right["groups", name] for name in machines) > 0.98
    assert right["rings", "linear"] < 0.75
    assert right["rings", "rbf"] > 0.98 and right["rings", "poly, degree 2"] > 0.98
    with tempfile.TemporaryDirectory() as folder:
        check_export(rbf, held, Path(folder) / "rings.onnx")


def check_export(machine: nv.svm.KernelSVM, x: Any, path: Path) -> None:
    """The exported file decides as the compiled machine does."""
    import onnxruntime

    nv.export_onnx(nv.trace(machine, KIND), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    assert np.abs(found - nv.compile(machine, KIND)(x)).max() < 1e-4


def draw(path: Path, drawn: list[tuple[str, Any, Any, Any, Any]]) -> None:
    """Each decision in colour, its border, and the support vectors."""
    with picture(path, 2, 3, 3.0) as axes:
        for at, (title, x, y, vectors, decide) in zip(axes.flat, drawn, strict=True):
            side = np.linspace(-3, 3, 121, dtype=np.float32)
            grid = np.stack(np.meshgrid(side, side), -1)
            values = decide(grid.reshape(-1, 2)).reshape(121, 121)
            at.contourf(side, side, values > 0, cmap="coolwarm", alpha=0.3)
            at.contour(side, side, values, levels=[-1, 0, 1], colors="black", linestyles=["--", "-", "--"])
            at.scatter(*x.T, c=y, cmap="coolwarm", s=8)
            at.scatter(*vectors.T, facecolors="none", edgecolors="black", s=40)
            at.set(title=title, xticks=[], yticks=[])


if __name__ == "__main__":
    main(out_folder(__doc__))
