"""Fine-tuning: what a network learned of the digits 0 to 4 helps it to learn 5 to 9 from a few examples.

LeNet learns the digits 0 to 4. Then a new network, with a new head for the new classes, takes over part of its weights
and is shown only 20 images of each digit from 5 to 9. Four ways to go on:

    from scratch          nothing is loaded
    body loaded           all layers but the head begin where they were, and learn on
    convolutions frozen   the strokes that the convolutions found are kept as they are, the layers behind begin anew
    body frozen           only the head learns: the smallest training step, but its features were made for 0 to 4

Early layers find what all digits have, strokes and curves; late ones what tells the old classes apart. So loaded
convolutions help most and need not learn again, while a body frozen whole starts well and soon can do no more.

    python examples/finetuning.py          (the digits come with the extra `demo`)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from digits import load_digits
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

IMAGES, LABELS = "f32[B,1,28,28]", "i64[B]"
FEW = 20
STEPS = 60


class Body(nn.Module):
    """LeNet without its last layer: images [B, 1, 28, 28] -> features [B, 84]."""

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)

    def __call__(self, x: Any) -> Any:
        x = nn.max_pool2d(nn.relu(self.conv1(x)), 2)
        x = nn.max_pool2d(nn.relu(self.conv2(x)), 2)
        x = nn.relu(self.fc1(nn.flatten(x)))
        return nn.relu(self.fc2(x))


class LeNet(nn.Module):
    """A body and a head for five classes."""

    def __init__(self) -> None:
        self.body = Body()
        self.head = nn.Linear(84, 5)

    def __call__(self, x: Any) -> Any:
        return self.head(self.body(x))


@dataclass(frozen=True)
class Way:
    """What is taken over from the first network, by the beginnings of names that are left out; and what is frozen."""

    without: tuple[str, ...]
    frozen: tuple[str, ...] = ()

    def student(self, teacher: LeNet) -> LeNet:
        """A new network that begins this way."""
        model = LeNet()
        prefixes = dict.fromkeys(self.without)
        model.load_state_dict(teacher.state_dict(), strict=False, prefixes=prefixes)
        for name, module in model.named_modules():
            if name in self.frozen:
                module.freeze()
        return model


WAYS = {
    "from scratch": Way(("body", "head")),
    "body loaded": Way(("head",)),
    "convolutions frozen": Way(("body.fc1", "body.fc2", "head"), ("body.conv1", "body.conv2")),
    "body frozen": Way(("head",), ("body",)),
}


def training(model: LeNet) -> nv.Program:
    """One step of Adam on what is not frozen."""
    return nv.training_step(model, nn.cross_entropy, optim.Adam(0.003), IMAGES, LABELS)


def learn(
    model: LeNet, images: Any, labels: Any, held: Any, truth: Any, steps: int, every: int
) -> list[float]:
    """Steps on random batches of 25; at the start and then every so often, the share of held-out images that are right."""
    step, run = nv.compile(training(model)), nv.compile(model, IMAGES)
    rng = np.random.default_rng(0)
    right: list[float] = []
    for k in range(steps + 1):
        if k > 0:
            batch = rng.choice(len(labels), 25, replace=False)
            step(images[batch], labels[batch])
        if k % every == 0:
            right.append(float((run(held).argmax(axis=1) == truth).mean()))
    return right


def main(out: Path | None) -> None:
    """Train on 0 to 4, then on few of 5 to 9 in four ways."""
    images, labels, held_images, held_labels = load_digits(0)
    old, held_old = labels < 5, held_labels < 5
    nv.seed(0)
    teacher = LeNet()
    first = learn(teacher, images[old], labels[old], held_images[held_old], held_labels[held_old], 400, 400)
    print(f"0 to 4: {100 * first[-1]:.1f} % of held-out digits after {old.sum()} images\n")

    few = np.concatenate([np.flatnonzero(labels == digit)[:FEW] for digit in range(5, 10)])
    new = (images[few], labels[few] - 5, held_images[~held_old], held_labels[~held_old] - 5, STEPS, 10)
    right: dict[str, list[float]] = {}
    students: dict[str, LeNet] = {}
    print(f"5 to 9 from {len(few)} images; held-out digits that are right after so many steps:\n")
    print(" " * 21 + "".join(f"{k:7d}" for k in range(0, STEPS + 1, 10)))
    for name, way in WAYS.items():
        nv.seed(1)
        students[name] = way.student(teacher)
        right[name] = learn(students[name], *new)
        print(f"{name:>20s} " + "".join(f"{100 * share:6.1f}%" for share in right[name]))

    print("\nwhat one training step is:\n")
    nodes: dict[str, int] = {}
    for name, student in students.items():
        program = training(student)
        nodes[name] = len(program.main.nodes)
        learned = sum(p.data.size for p in student.parameters() if p.trainable)
        print(f"{name:>20s} {learned:6d} numbers learn, {nodes[name]:3d} nodes")
    if out is not None:
        with picture(out / "finetuning.png", 1, 1, 4.5) as axes:
            for name, shares in right.items():
                axes[0][0].plot(range(0, STEPS + 1, 10), shares, "o-", ms=4, label=name)
            axes[0][0].set(xlabel="training steps", ylabel="held-out digits that are right", ylim=(0, 1))
            axes[0][0].set_title(f"5 to 9 from {FEW} images of each, after 0 to 4", fontsize=10)
            axes[0][0].legend(loc="lower right")

    assert first[-1] > 0.95
    scratch = right["from scratch"]
    for name in ("body loaded", "convolutions frozen"):
        assert right[name][1] > scratch[1] + 0.1, "faster"
        assert right[name][-1] > 0.85
    assert right["body frozen"][-1] < right["convolutions frozen"][-1] - 0.1, (
        "the last layers know 0 to 4 only"
    )
    for name, array in students["body frozen"].body.state_dict().items():
        assert (array == teacher.body.state_dict()[name]).all(), "what is frozen stays"
    assert nodes["body frozen"] < nodes["convolutions frozen"] < nodes["body loaded"]


if __name__ == "__main__":
    main(out_folder(__doc__))
