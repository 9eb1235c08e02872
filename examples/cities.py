"""Many to one: is it Seattle or San Francisco, by the temperature of some hours?

A year of hourly temperatures of both cities (vega-datasets carries them). Each sample is a day up to some hour, less the
temperature at midnight, so that only the shape of the curve tells. Sequences of different length share a batch:
`seq_lens` says how long each is, and the layer's last state is that of its last hour.

    python examples/cities.py          (the data come with the extra `demo`)
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from page import out_folder, picture

import nervure as nv
from nervure import nn, optim

CITIES = {"Seattle": "seattle-temps", "San Francisco": "sf-temps"}
LONGEST, UPDATES = 24, 400


class Classifier(nn.Module):
    """Both directions over the hours; their last states say which city."""

    def __init__(self) -> None:
        self.gru = nn.GRU(1, 16, bidirectional=True, batch_first=True)
        self.head = nn.Linear(32, len(CITIES))

    def __call__(self, x: Any, hours: Any) -> Any:
        _, last = self.gru(x, seq_lens=hours)
        return self.head(nn.flatten(last.permute(1, 0, 2)))


def read(name: str) -> Any:
    """Hourly temperatures of 2010 in degrees Celsius."""
    spec = find_spec("vega_datasets")
    assert spec is not None and spec.origin is not None, "pip install vega-datasets"
    with (Path(spec.origin).parent / "_data" / f"{name}.csv").open() as file:
        return np.array([(float(row["temp"]) - 32) / 1.8 for row in csv.DictReader(file)])


def samples(rng: Any, series: list[Any], weeks: int, count: int) -> tuple[Any, Any, Any]:
    """Days from the even weeks (0) or the odd ones (1), how many hours of them are known, and their cities."""
    x, hours = np.zeros((count, LONGEST, 1), np.float32), rng.integers(12, LONGEST + 1, count)
    labels = rng.integers(0, len(series), count)
    for k in range(count):
        first = 168 * (2 * rng.integers(0, 26) + weeks) + 24 * rng.integers(0, 7)
        window = series[labels[k]][first : first + hours[k]]
        x[k, : hours[k], 0] = (window - window[0]) / 3
    return x, hours, labels


def main(out: Path | None) -> None:
    """Train on the even weeks of the year and test on the odd ones."""
    series = [read(name) for name in CITIES.values()]
    rng = np.random.default_rng(0)
    nv.seed(0)
    model = Classifier()
    step = nv.compile(
        nv.training_step(model, nn.cross_entropy, optim.Adam(0.01), f"f32[B,{LONGEST},1]", "i64[B]", "i64[B]")
    )
    losses = [float(step(*samples(rng, series, 0, 64))) for _ in range(UPDATES)]

    run = nv.compile(model, f"f32[B,{LONGEST},1]", "i64[B]")
    x, hours, labels = samples(rng, series, 1, 2000)
    right = run(x, hours).argmax(1) == labels
    print("share of days, of weeks that were not trained on, whose city is found\n")
    for low, high in ((12, 15), (16, 19), (20, 24)):
        some = (low <= hours) & (hours <= high)
        print(f"  {low} to {high} hours   {100 * right[some].mean():5.1f} % of {some.sum()}")
    print(f"  all              {100 * right.mean():5.1f} % (loss {losses[0]:.3f} to {losses[-1]:.3f})")

    # what lies behind a sequence's end does not matter
    noise = x.copy()
    noise[np.arange(LONGEST) >= hours[:, None]] = 1e6
    assert (run(noise, hours) == run(x, hours)).all()
    if out is not None:
        with picture(out / "cities.png", 1, 2, 4.0) as axes:
            for k, city in enumerate(CITIES):
                for row in np.flatnonzero(labels == k)[:25]:
                    axes[0, k].plot(x[row, : hours[row], 0], c=f"C{int(not right[row])}", lw=0.8)
                axes[0, k].set(
                    title=f"{city} (orange: mistaken)", xlabel="hour", ylabel="since midnight, in 3 degrees"
                )
    assert right.mean() > 0.8


if __name__ == "__main__":
    main(out_folder(__doc__))
