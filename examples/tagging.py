"""Many to many: an LSTM in both directions colours Python, a tag for each character.

The text is the standard library's, the tags are those of its own `tokenize`. A character alone says little: the same
letters are a name, a keyword, a comment or part of a string. The direction from the right helps where what follows
decides, such as in `if` and `iffy`.

    python examples/tagging.py
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

TAGS = ("other", "name", "keyword", "number", "string", "comment")
MODULES = (
    "ast",
    "bisect",
    "calendar",
    "copy",
    "dataclasses",
    "heapq",
    "inspect",
    "textwrap",
    "statistics",
    "enum",
)
STEPS, BATCH, UPDATES = 60, 32, 300
KINDS = {tokenize.NUMBER: "number", tokenize.STRING: "string", tokenize.COMMENT: "comment"}


class Tagger(nn.Module):
    """Scores of the tags at each character [T, N]."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(128, 24)
        self.lstm = nn.LSTM(24, 48, bidirectional=True)
        self.head = nn.Linear(96, len(TAGS))

    def __call__(self, characters: Any) -> Any:
        return self.head(self.lstm(self.embedding(characters))[0])


def tagged(module: str) -> tuple[Any, Any]:
    """The characters of a module's source and the tag of each."""
    text = (Path(ast.__file__).parent / f"{module}.py").read_text("utf-8")
    starts = np.cumsum([0, *map(len, text.splitlines(keepends=True))])
    tags = np.zeros(len(text), np.int64)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = KINDS.get(token.type)
        if token.type == tokenize.NAME:
            kind = "keyword" if keyword.iskeyword(token.string) else "name"
        if kind is not None:
            first, last = (starts[line - 1] + column for line, column in (token.start, token.end))
            tags[first:last] = TAGS.index(kind)
    return np.minimum(np.array([ord(c) for c in text]), 127), tags


def main(out: Path | None) -> None:
    """Train on nine modules, tag the tenth."""
    parts = [tagged(name) for name in MODULES]
    characters, tags = (np.concatenate(p) for p in zip(*parts[:-1], strict=True))
    nv.seed(0)
    model = Tagger()
    program = nv.training_step(
        model, lambda y, t: nn.sequence_loss(nn.cross_entropy, y, t), optim.Adam(optim.cosine(0.01, steps=UPDATES)),
        f"i64[{STEPS},B]", f"i64[{STEPS},B]", clip=optim.clip_norm(1.0),
    )  # fmt: skip
    step = nv.compile(program)
    rng = np.random.default_rng(0)
    losses: list[float] = []
    for _ in range(UPDATES):
        at = rng.integers(0, len(tags) - STEPS, BATCH) + np.arange(STEPS)[:, None]
        losses.append(float(step(characters[at], tags[at])))

    counts = np.zeros((128, len(TAGS)))
    np.add.at(counts, (characters, tags), 1)
    new, right = parts[-1]
    rows = new[: len(new) // 40 * 40].reshape(40, -1).T  # forty parts of the module side by side
    found = nv.compile(model, "i64[T,B]")(rows).argmax(-1).T.ravel()
    new, right = new[: len(found)], right[: len(found)]
    alone = counts.argmax(1)[new]
    print(
        f"{MODULES[-1]}.py, tagged by a model that has not seen it; share of characters with the right tag\n"
    )
    print("               count   character alone   LSTM in both directions")
    for k, tag in enumerate(TAGS):
        some = right == k
        print(f"  {tag:8s} {some.sum():9d}          {(alone[some] == k).mean():6.3f}                 {(found[some] == k).mean():6.3f}")  # fmt: skip
    share, baseline = (found == right).mean(), (alone == right).mean()
    print(f"  {'all':8s} {len(right):9d}          {baseline:6.3f}                 {share:6.3f}")

    first = next(k for k in range(2000, len(new)) if new[k - 1] == ord("\n"))
    print("\na part of it, and below each character the first letter of its tag\n")
    for line in "".join(map(chr, new[first : first + 700])).splitlines()[:6]:
        below = "".join(" " if c == " " else TAGS[found[first + k]][0] for k, c in enumerate(line))
        print(f"  {line}\n  {below}")
        first += len(line) + 1
    if out is not None:
        with picture(out / "tagging.png", 1, 1, size=4.5) as axes:
            axes[0, 0].plot(losses, lw=1)
            axes[0, 0].set(xlabel="update", ylabel="loss", yscale="log", title="tags of Python")
    assert share > 0.85
    assert share > baseline + 0.2


if __name__ == "__main__":
    main(out_folder(__doc__))
