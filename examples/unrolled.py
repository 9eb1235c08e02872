"""A recurrent layer three times over: as it was written, as a loop, and with its steps written out.

The layer is one op of the program. Taken apart, the inputs' part is one product over all steps and the rest a `scan`
whose body is one step. `unroll` writes the steps out; what it costs is length. `reroll` finds the repetition and folds
it back. All of them are programs with the same meaning, which is checked here.

    python examples/unrolled.py
"""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn
from nervure.passes.manager import Pipeline, run_pipeline

STEPS = 3
LOOP = "decompose,canonicalize,fold-constants,cse,dce"
STRAIGHT = f"{LOOP},unroll{{max=1000}},canonicalize,cse,dce"
FORMS = {"layer": "", "scan": LOOP, "unrolled": STRAIGHT, "rerolled": f"{STRAIGHT},reroll,canonicalize,dce"}


def lines(program: nv.Program) -> list[str]:
    """The graph alone, without origins, nested lines indented by two."""
    text = re.sub(r' @ "[^"]*":\d+(, "[^"]*":\d+)*', "", str(program))
    return [line[2:] for line in text[text.index("  graph") :].splitlines()[:-1]]


def main(out: Path | None) -> None:
    """Print the loop beside its steps; count what unrolling costs."""
    nv.seed(0)
    layer = nn.RNN(2, 3, dtype="f64")
    x = np.random.default_rng(0).normal(size=(STEPS, 1, 2))
    program = nv.trace(lambda x: layer(x)[0], x)
    forms = {name: run_pipeline(program, Pipeline.parse(passes)).program for name, passes in FORMS.items()}
    print("\n".join(lines(forms["layer"])))
    left, right = lines(forms["scan"]), lines(forms["unrolled"])
    width = max(map(len, left)) + 3
    print("\n" + "as a loop".ljust(width) + "unrolled\n")
    for a, b in zip_longest(left, right, fillvalue=""):
        print(a.ljust(width) + b)

    values = [nv.compile(p, backend="reference")(x) for p in forms.values()]
    assert all(np.allclose(v, values[0], rtol=1e-14, atol=0) for v in values)
    print("\nops, by the number of steps")
    counts: dict[str, list[int]] = {}
    lengths = (3, 30, 300)
    for name, passes in FORMS.items():
        counts[name] = []
        for length in lengths:
            long = nv.trace(lambda x: layer(x)[0], f"f64[{length},1,2]")
            found = run_pipeline(long, Pipeline.parse(passes)).program
            counts[name].append(sum(1 for _ in found.main.walk()))
        print(f"  {name:9s}" + "".join(f"{n:7d}" for n in counts[name]))
    if out is not None:
        with picture(out / "unrolled.png", 1, 1, size=4.0) as axes:
            for name, row in counts.items():
                axes[0, 0].plot(lengths, row, "o-", label=name)
            axes[0, 0].set(xlabel="steps", ylabel="ops", xscale="log", yscale="log")
            axes[0, 0].legend()
    assert counts["scan"][0] == counts["scan"][-1]
    assert counts["rerolled"] == counts["scan"]
    assert counts["unrolled"][-1] > 50 * counts["unrolled"][0]


if __name__ == "__main__":
    main(out_folder(__doc__))
