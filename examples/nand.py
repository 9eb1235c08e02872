"""A NAND gate from one perceptron, and from NAND gates alone: XOR and a half adder.

A perceptron answers 1 where w x + b > 0: it draws a line. NAND needs one line, so one perceptron is enough, and its
rule finds the weights. XOR needs two lines: no single perceptron computes it, four NANDs do.

    python examples/nand.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

A = np.array([0, 0, 1, 1], np.float32)
B = np.array([0, 1, 0, 1], np.float32)


class Nand(nn.Module):
    """1 unless both are 1: 3 - 2 a - 2 b is above 0."""

    def __init__(self) -> None:
        self.neuron = nn.Perceptron(2)
        self.neuron.weight.assign(np.array([[-2, -2]], np.float32))
        self.neuron.bias.assign(np.array([3], np.float32))

    def __call__(self, a: Any, b: Any) -> Any:
        return self.neuron(nn.stack([a, b], -1))


class Xor(nn.Module):
    """Four NANDs: 1 where a and b differ."""

    def __init__(self) -> None:
        self.nand = Nand()

    def __call__(self, a: Any, b: Any) -> Any:
        both = self.nand(a, b)
        return self.nand(self.nand(a, both), self.nand(b, both))


class HalfAdder(nn.Module):
    """Two bits added: the sum is XOR, the carry is NOT NAND, and NOT x is NAND(x, x)."""

    def __init__(self) -> None:
        self.nand, self.xor = Nand(), Xor()

    def __call__(self, a: Any, b: Any) -> tuple[Any, Any]:
        not_carry = self.nand(a, b)
        return self.xor(a, b), self.nand(not_carry, not_carry)


class Scores(nn.Module):
    """A perceptron before its decision: what the learning rule needs."""

    def __init__(self, neuron: nn.Perceptron) -> None:
        self.neuron = neuron

    def __call__(self, x: Any) -> Any:
        return self.neuron.scores(x)


def learn(truth: Any, rounds: int = 25) -> tuple[nn.Perceptron, list[int]]:
    """The perceptron rule over the four rows again and again: w += (label - decision) x; the mistakes of each round."""
    neuron = nn.Perceptron(2)
    rows, labels = np.stack([A, B], axis=1), np.where(truth > 0, 1, -1)
    step = nv.compile(
        nv.training_step(Scores(neuron), nn.perceptron_loss, optim.SGD(1.0), rows[:1], labels[:1])
    )
    decide = nv.compile(neuron, "f32[B,2]")
    mistakes: list[int] = []
    for _ in range(rounds):
        for row, label in zip(rows, labels, strict=True):
            step(row[None], np.array([label]))
        mistakes.append(int((decide(rows) != truth).sum()))
    return neuron, mistakes


def draw(path: Path, neuron: nn.Perceptron) -> None:
    """The lines of NAND, by hand and learned; XOR, which no line divides."""
    lines = {"by hand": Nand().neuron, "learned": neuron}
    a = np.array([-0.5, 1.5])
    with picture(path, 1, 2, 3.2) as axes:
        for at, name, truth in zip(axes[0], ("NAND", "XOR"), (1 - A * B, (A != B)), strict=True):
            at.scatter(A, B, c=truth, cmap="coolwarm", s=120, edgecolors="black", zorder=3)
            at.set(title=f"{name}: red is 1", xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="a", ylabel="b")
        for (name, line), style in zip(lines.items(), ("k-", "k--"), strict=True):
            (w, v), bias = line.weight.data[0], line.bias.data[0]
            axes[0][0].plot(a, -(w * a + bias) / v, style, label=name)
        axes[0][0].legend(loc="lower left", fontsize=8)


def main(out: Path | None) -> None:
    """Print the truth tables, and what the rule learns."""
    print(f"one NAND is one linear score and one step:\n\n{nv.trace(Nand(), 'f32[B]', 'f32[B]')}")
    found = {}
    for backend in ("reference", "llvm", "onnx"):
        nand, xor = (nv.compile(gate, A, B, backend=backend)(A, B) for gate in (Nand(), Xor()))
        total, carry = nv.compile(HalfAdder(), A, B, backend=backend)(A, B)
        found[backend] = np.stack([nand, xor, total, carry])
    print(" a b | nand  xor | a + b = carry sum")
    for a, b, nand, xor, total, carry in zip(A, B, *found["llvm"], strict=True):
        print(f" {a:.0f} {b:.0f} |  {nand:.0f}     {xor:.0f}  |           {carry:.0f}   {total:.0f}")

    neuron, nand_mistakes = learn(1 - A * B)
    _, xor_mistakes = learn((A != B).astype(np.float32))
    w, b = neuron.weight.data[0], neuron.bias.data[0]
    print(f"\nthe rule finds NAND: {w[0]:g} a {w[1]:+g} b {b:+g} > 0; mistakes by round {nand_mistakes[:8]}")
    print("a score of 0 answers 0, so the rule rests where (1, 1) is just on the line")
    print(f"it never finds XOR, for which there is no line: mistakes by round {xor_mistakes[:8]} ...")
    if out is not None:
        draw(out / "nand.png", neuron)

    for table in found.values():
        assert (table[0] == 1 - A * B).all()
        assert (table[1] == (A != B)).all()
        assert (2 * table[3] + table[2] == A + B).all(), "a half adder adds"
    assert nand_mistakes[-1] == 0
    assert min(xor_mistakes) > 0


if __name__ == "__main__":
    main(out_folder(__doc__))
