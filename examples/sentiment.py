"""Sentiment of phrases as trees: what "not", "but" and "very" do is learned by a TreeLSTM, and holds for longer phrases.

Phrases are made by a small grammar: words with a mood, `not` that turns it, `very` that keeps it, `but` after which only
what follows counts. Each node of a parse tree has a label, as in the Stanford sentiment treebank. The network computes
the states of all nodes of all trees of a batch from the leaves up (`nv.tree_fold`); it trains on phrases of few levels and
is asked about deeper ones. A model that sees the words but not the tree cannot tell what is turned.

    python examples/sentiment.py

Source: K. S. Tai et al., Improved semantic representations from tree-structured LSTMs, 2015
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

GOOD = ("good", "great", "lovely", "fine", "bright")
BAD = ("bad", "awful", "dull", "poor", "grim")
TOKENS = ("(", "not", "very", "but", *GOOD, *BAD)
"""The first stands at nodes that have children."""
WIDTH, UPDATES, TREES = 16, 400, 32
Phrase = tuple[str, Any, Any] | str


def phrase(rng: Any, depth: int) -> Phrase:
    """A word, or an operator with one or two phrases: ("not", phrase, None), ("but", phrase, phrase)."""
    kind = rng.integers(0, 4) if depth > 0 else 0
    if kind == 0:
        return str(rng.choice(GOOD + BAD))
    if kind == 1:
        return ("very", phrase(rng, depth - 1), None)
    if kind == 2:
        return ("not", phrase(rng, depth - 1), None)
    return ("but", phrase(rng, depth - 1), phrase(rng, depth - 1))


def mood(p: Phrase) -> int:
    """1 for good, 0 for bad."""
    if isinstance(p, str):
        return int(p in GOOD)
    if p[0] == "but":
        return mood(p[2])
    return 1 - mood(p[1]) if p[0] == "not" else mood(p[1])


def text(p: Phrase) -> str:
    if isinstance(p, str):
        return p
    return f"({text(p[1])} but {text(p[2])})" if p[0] == "but" else f"{p[0]} {text(p[1])}"


def forest(phrases: list[Phrase]) -> tuple[Any, Any, Any, Any]:
    """Tokens [N], children [N, 3], moods [N] of all nodes, and which nodes are roots."""
    tokens: list[int] = []
    children: list[list[int]] = []
    moods: list[int] = []

    def add(token: str, below: list[int], label: int) -> int:
        tokens.append(TOKENS.index(token))
        children.append([*below, -1, -1, -1][:3])
        moods.append(label)
        return len(tokens) - 1

    def grow(p: Phrase) -> int:
        if isinstance(p, str):
            return add(p, [], mood(p))
        operator = add(p[0], [], 1)
        below = [grow(part) for part in p[1:] if part is not None]
        order = [operator, *below] if len(below) == 1 else [below[0], operator, below[1]]
        return add("(", order, mood(p))

    roots = [grow(p) for p in phrases]
    return np.array(tokens), np.array(children), np.array(moods), np.array(roots)


class Sentiment(nn.Module):
    """Scores of bad and good at every node."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(len(TOKENS), WIDTH)
        self.tree = nn.TreeLSTM(WIDTH, WIDTH, arity=3)
        self.head = nn.Linear(WIDTH, 2)

    def __call__(self, tokens: Any, children: Any) -> Any:
        h, _ = self.tree(self.embedding(tokens), children)
        return self.head(h)


def bag_of_words(train: list[Phrase], test: list[Phrase]) -> float:
    """The share that a linear model of word counts gets right."""

    def counts(phrases: list[Phrase]) -> tuple[Any, Any]:
        x = np.zeros((len(phrases), len(TOKENS)), np.float32)
        for row, p in enumerate(phrases):
            for word in text(p).replace("(", "").replace(")", "").split():
                x[row, TOKENS.index(word)] += 1
        return x, np.array([mood(p) for p in phrases])

    x, y = counts(train)
    model = nn.Linear(len(TOKENS), 2)
    step = nv.compile(nv.training_step(model, nn.cross_entropy, optim.Adam(0.05), x, y))
    for _ in range(200):
        step(x, y)
    x, y = counts(test)
    return float((nv.compile(model, x)(x).argmax(1) == y).mean())


def main(out: Path | None) -> None:
    """Train on three levels of operators, ask about up to seven."""
    rng = np.random.default_rng(0)
    nv.seed(0)
    model = Sentiment()
    optimizer = optim.Adam(0.01)
    program = nv.training_step(model, nn.cross_entropy, optimizer, "i64[N]", "i64[N,3]", "i64[N]")
    step = nv.compile(program)
    seen: list[Phrase] = []
    losses: list[float] = []
    for _ in range(UPDATES):
        phrases = [phrase(rng, 3) for _ in range(TREES)]
        seen += phrases
        losses.append(float(step(*forest(phrases)[:3])))

    run = nv.compile(model, "i64[N]", "i64[N,3]")
    share: dict[int, tuple[float, float]] = {}
    print("share of phrases whose mood is found, by their levels; training has up to 3\n")
    print("  levels   TreeLSTM   words without the tree")
    for depth in range(1, 8):
        test = [p for p in (phrase(rng, depth) for _ in range(6000)) if levels(p) == depth][:200]
        found = np.concatenate([at_roots(run, test[k : k + 20]) for k in range(0, len(test), 20)])
        right = found == np.array([mood(p) for p in test])
        share[depth] = (float(right.mean()), bag_of_words(seen[-2000:], test))
        print(f"  {depth:6d}   {share[depth][0]:8.3f}   {share[depth][1]:8.3f}")
    print("\na phrase, and the mood of each part as the network has it\n")
    shown: Phrase = ("but", ("not", ("very", "lovely", None), None), ("not", ("but", "great", "grim"), None))
    tokens, children, _, _ = forest([shown])
    chances = np.exp(run(tokens, children))
    for n, (words, _) in enumerate(nodes(shown)):
        if words:
            print(f"  {'good' if chances[n, 1] > chances[n, 0] else 'bad ':4s}  {words}")
    if out is not None:
        with picture(out / "sentiment.png", 1, 2, 4.0) as axes:
            axes[0, 0].plot(losses, lw=1)
            axes[0, 0].set(xlabel="update", title="loss of all nodes", yscale="log")
            for k, name in enumerate(("TreeLSTM", "words alone")):
                axes[0, 1].plot([*share], [row[k] for row in share.values()], "o-", label=name)
            axes[0, 1].set(xlabel="levels", title="share right", ylim=(0.4, 1.02))
            axes[0, 1].legend()
    assert min(tree for tree, _ in share.values()) > 0.95
    assert all(words < 0.85 for depth, (_, words) in share.items() if depth > 2)


def levels(p: Phrase) -> int:
    return 0 if isinstance(p, str) else 1 + max(levels(part) for part in p[1:] if part is not None)


def at_roots(run: Any, phrases: list[Phrase]) -> Any:
    """The mood that the network finds for each phrase."""
    tokens, children, _, roots = forest(phrases)
    return run(tokens, children)[roots].argmax(1)


def nodes(p: Phrase) -> list[tuple[str, int]]:
    """The words below each node, in the order of `forest`; none for operators."""
    if isinstance(p, str):
        return [(p, 0)]
    return [("", 0), *(row for part in p[1:] if part is not None for row in nodes(part)), (text(p), 0)]


if __name__ == "__main__":
    main(out_folder(__doc__))
