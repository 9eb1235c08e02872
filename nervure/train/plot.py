"""The losses of a run as a picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from ..ir.errors import InputError
from ..ir.text.files import write_atomically
from .fit import History

__all__ = ["plot_losses"]


def plot_losses(history: History, path: Path) -> None:
    """Write a PNG with the losses, and the accuracy where there is one.

    Raises:
        InputError: matplotlib is missing, or the file cannot be written
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("plots need matplotlib", hint="pip install 'nervure[demo]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure: Any
    axes: Any
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")  # pyright: ignore[reportUnknownMemberType]
    numbers = [e.number for e in history.epochs]
    axes.plot(numbers, [e.loss for e in history.epochs], label="training loss")
    if history.epochs and history.epochs[0].val_loss is not None:
        axes.plot(numbers, [e.val_loss for e in history.epochs], label="validation loss")
    axes.axvline(history.best, color="grey", linewidth=0.8, linestyle=":", label="best epoch")
    axes.set(xlabel="epoch", ylabel="loss")
    if history.epochs and history.epochs[0].accuracy is not None:
        other = axes.twinx()
        other.plot(
            numbers, [100 * (e.accuracy or 0) for e in history.epochs], color="green", label="accuracy"
        )
        other.set(ylabel="validation accuracy, %")
    axes.legend()
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110)
    plt.close(figure)
    write_atomically(path, buffer.getvalue())
