"""What every example here shares: the option --out, and saving a picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["out_folder", "picture"]


def out_folder(doc: str | None) -> Path | None:
    """The folder that --out names, made where it is not there; None draws nothing."""
    parser = argparse.ArgumentParser(description=(doc or "").strip().partition("\n")[0])
    parser.add_argument("--out", type=Path, help="save a picture in this folder (needs matplotlib)")
    out: Path | None = parser.parse_args().out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    return out


@contextmanager
def picture(path: Path, rows: int, columns: int, size: float = 2.6) -> Iterator[Any]:
    """Axes to draw on, rows x columns of them in one array; saved at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, size * rows), layout="constrained", squeeze=False
    )
    yield axes
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"\npicture: {path}")
