"""A language model of characters: an LSTM reads half a megabyte of Python's own documentation and writes on in its way.

The text is what `help("topics")` shows, which comes with every Python. How good a model is, is said by its perplexity on
text that it has not seen: among how many equally likely characters it hesitates. The share of each character alone
(the unigram model) leaves about 30; knowing the character before (the bigram) about 11.

    python examples/char_lm.py

Source: A. Graves, Generating sequences with recurrent neural networks, 2013
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

STEPS, BATCH, UPDATES, HIDDEN = 50, 32, 800, 128


class CharLM(nn.Module):
    """Scores of the next character at each step, and the state behind the last one."""

    def __init__(self, alphabet: int) -> None:
        self.embedding = nn.Embedding(alphabet, 32)
        self.lstm = nn.LSTM(32, HIDDEN, forget_bias=1.0)
        self.head = nn.Linear(HIDDEN, alphabet)

    def __call__(self, x: Any) -> Any:
        return self.head(self.lstm(self.embedding(x))[0])

    def go_on(self, x: Any, h: Any, c: Any) -> Any:
        """Scores after the last character, and the state to go on from."""
        y, (h, c) = self.lstm(self.embedding(x), (h, c))
        return self.head(y[-1]), h, c


def corpus() -> tuple[str, Any]:
    """The alphabet and the text as numbers; rare characters and runs of spaces and lines are left out."""
    text = "\n".join(topics[name] for name in sorted(topics))
    often = {c for c, n in Counter(text).items() if n >= 50}
    kept = [
        c for c, before in zip(text, " " + text, strict=False) if c in often and not c == before in " \n*="
    ]
    alphabet = "".join(sorted(set(kept)))
    number = {c: k for k, c in enumerate(alphabet)}
    return alphabet, np.array([number[c] for c in kept])


def perplexity(scores: Any, labels: Any) -> float:
    """e to the mean of -log p."""
    scores = scores.astype(np.float64)
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return float(np.exp(-np.take_along_axis(log_p, labels[..., None], -1).mean()))


def counted(train: Any, held: Any, size: int) -> tuple[float, float]:
    """Perplexities of the unigram and of the bigram model, each count begun at a half."""
    single, pairs = np.full(size, 0.5), np.full((size, size), 0.5)
    np.add.at(single, train, 1)
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    one = np.log(single / single.sum())[held[1:]]
    two = np.log(pairs / pairs.sum(1, keepdims=True))[held[:-1], held[1:]]
    return float(np.exp(-one.mean())), float(np.exp(-two.mean()))


def sample(go_on: Any, alphabet: str, start: str, count: int, warmth: float) -> str:
    """Text that the model writes behind a start; the less warm, the more it keeps to what is likely."""
    rng = np.random.default_rng(0)
    state = [np.zeros((1, 1, HIDDEN), np.float32)] * 2
    text, read = start, start
    while len(text) < count:
        for character in read:
            scores, *state = go_on(np.array([[alphabet.index(character)]]), *state)
        p = np.exp((scores[0] - scores[0].max()) / warmth)
        read = alphabet[rng.choice(len(alphabet), p=p / p.sum())]
        text += read
    return text


def main(out: Path | None) -> None:
    """Train, compare with counting, and let the model write."""
    alphabet, numbers = corpus()
    train, held = np.split(numbers, [9 * len(numbers) // 10])
    print(f"{len(numbers)} characters of {len(alphabet)} kinds, the last tenth held out\n")
    nv.seed(0)
    model = CharLM(len(alphabet))
    optimizer = optim.Adam(optim.cosine(5e-3, steps=UPDATES))
    program = nv.training_step(
        model, lambda y, t: nn.sequence_loss(nn.cross_entropy, y, t), optimizer,
        f"i64[{STEPS},B]", f"i64[{STEPS},B]", clip=optim.clip_norm(1.0),
    )  # fmt: skip
    step = nv.compile(program)
    rng = np.random.default_rng(1)
    losses: list[float] = []
    for update in range(1, UPDATES + 1):
        at = rng.integers(0, len(train) - STEPS - 1, BATCH) + np.arange(STEPS + 1)[:, None]
        losses.append(float(step(train[at[:-1]], train[at[1:]])))
        if update % 200 == 0:
            print(f"update {update:4d}: loss {np.mean(losses[-50:]):.3f} nats a character")

    rows = held[: len(held) // 20 * 20].reshape(20, -1).T  # twenty long sequences side by side
    found = perplexity(nv.compile(model, "i64[T,B]")(rows[:-1]), rows[1:])
    unigram, bigram = counted(train, held, len(alphabet))
    print("\nperplexity on held-out text")
    print(f"  unigram  {unigram:6.2f}\n  bigram   {bigram:6.2f}\n  LSTM     {found:6.2f}")

    state = f"f32[1,B,{HIDDEN}]"
    go_on = nv.compile(model.go_on, "i64[1,B]", state, state)
    for warmth in (0.5, 0.8):
        print(f"\nsampled at {warmth}:\n{sample(go_on, alphabet, 'The ', 320, warmth)}")

    if out is not None:
        program = nv.trace(model, "i64[T,B]")
        nv.save(program, out / "char_lm.nv")
        nv.export_onnx(program, out / "char_lm.onnx")
        other = perplexity(nv.compile(model, "i64[T,B]", backend="onnx")(rows[:-1]), rows[1:])
        print(f"\nexported to char_lm.onnx, with an LSTM node; onnxruntime finds {other:.2f} as well")
        assert abs(other - found) < 1e-3 * found
        with picture(out / "char_lm.png", 1, 1, size=4.5) as axes:
            axes[0, 0].plot(np.exp(losses), lw=1, label="LSTM, on the batch")
            for name, level in (("unigram", unigram), ("bigram", bigram)):
                axes[0, 0].axhline(level, ls="--", c="gray")
                axes[0, 0].text(UPDATES, level, name, ha="right", va="bottom")
            axes[0, 0].set(xlabel="update", ylabel="perplexity", yscale="log")
            axes[0, 0].legend()
    assert found < unigram / 3, "well below the unigram's"
    assert found < bigram, "it remembers more than one character"


if __name__ == "__main__":
    main(out_folder(__doc__))
