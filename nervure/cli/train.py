"""``nervure train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .model import model_options
from .output import check_target, coloured, json_option, print_json


@click.command()
@model_options
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help=".npz, IDX, CSV, text or a folder of images.",
)
@click.option("--val", type=click.Path(path_type=Path), help="Data to validate on after each epoch.")
@click.option(
    "--split", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Or this share of the data."
)
@click.option(
    "--loss",
    default=None,
    help="cross_entropy for labels, sequence for labels of steps, mse for numbers, unless another is named.",
)
@click.option("--optimizer", default="adam", show_default=True, help="NAME or NAME:lr=0.01,momentum=0.9.")
@click.option(
    "--clip", type=click.FloatRange(0, min_open=True), help="The largest norm of all gradients together."
)
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of initial weights, the split and the batches."
)
@click.option("--backend", default="llvm", show_default=True)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Write the state to DIR after each epoch."
)
@click.option("--resume", is_flag=True, help="Go on from the last whole checkpoint.")
@click.option("--early-stop", type=click.IntRange(1), help="End after so many epochs without a better one.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the losses as a PNG.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the trained model as FILE.nv.")
@json_option
def command(
    model: str, types: tuple[str, ...], init: Any, data: Path, val: Path | None, split: float | None,
    loss: str | None, optimizer: str, clip: float | None, epochs: int, batch: int, seed: int, backend: str, checkpoint: Path | None,
    resume: bool, early_stop: int | None, plot: Path | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Train MODEL on labelled data; Ctrl-C ends with the last whole checkpoint."""
    from .. import data as data_
    from ..frontend import optim
    from ..frontend.random import seed as set_seed
    from ..frontend.trace import trace
    from ..ir.text import save
    from ..train import Epoch, fit, loss_named, optimizer_named
    from ..train.split import shares
    from .model import module_of

    if val is not None and split is not None:
        raise click.UsageError("give --val FILE or --split F, not both")
    if resume and checkpoint is None:
        raise click.UsageError("--resume needs --checkpoint DIR")
    check_target(output)
    check_target(plot)
    set_seed(seed)
    module, specs = module_of(model, types, init)
    steps = text_steps(specs)
    x, y = data_.load(data, steps)
    held = data_.load(val, steps) if val is not None else None
    if split is not None:
        (x, y), held = shares(x, y, split, seed)
    usual = "mse" if y.dtype.kind not in "iub" else "sequence" if y.ndim == 2 else "cross_entropy"
    chosen = loss_named(loss or usual)
    progress = _Progress(epochs, quiet=as_json)

    def report(epoch: Epoch) -> None:
        progress.show(epoch)

    history = fit(
        module, (x, y), chosen, optimizer_named(optimizer), specs[0], validation=held, epochs=epochs, batch=batch,
        seed=seed, backend=backend, clip=None if clip is None else optim.clip_norm(clip), checkpoint=checkpoint, resume=resume, early_stop=early_stop, report=report,
    )  # fmt: skip
    if history.reason == "interrupted":
        kept = f"; go on with --resume from epoch {len(history.epochs)}" if checkpoint is not None else ""
        click.echo(f"stopped in epoch {len(history.epochs) + 1}{kept}", err=True)
        sys.exit(130)
    if output is not None:
        save(trace(module, *specs), output)
    elif checkpoint is None:
        click.echo("the trained model is not kept: -o FILE.nv would", err=True)
    if plot is not None:
        from ..train.plot import plot_losses

        plot_losses(history, plot)
    if as_json:
        print_json(history.to_json())
    elif history.reason == "early stop":
        click.echo(
            f"stopped after {early_stop} epochs without a better one; the best was epoch {history.best}"
        )


def text_steps(specs: list[Any]) -> int:
    """How long sequences of a text are: as the model takes them, 50 if it takes any."""
    from ..frontend.trace import input_types

    shape = input_types(specs)[0].shape
    return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else 50


class _Progress:
    """A line an epoch, with the time that is left."""

    def __init__(self, epochs: int, quiet: bool) -> None:
        self.epochs = epochs
        self.quiet = quiet
        self.seconds: list[float] = []

    def show(self, epoch: Any) -> None:
        if self.quiet:
            return
        self.seconds.append(epoch.seconds)
        left = (self.epochs - epoch.number) * sum(self.seconds) / len(self.seconds)
        parts = [f"epoch {epoch.number:{len(str(self.epochs))}d}/{self.epochs}", f"loss {epoch.loss:.4f}"]
        if epoch.val_loss is not None:
            parts.append(f"val loss {epoch.val_loss:.4f}")
        if epoch.accuracy is not None:
            parts.append(f"accuracy {100 * epoch.accuracy:.2f} %")
        parts.append(f"{epoch.seconds:.2f} s")
        if epoch.number < self.epochs:
            parts.append(f"{left:.0f} s left")
        text = "  ".join(parts)
        click.secho(text, dim=False, bold=coloured() and epoch.number == self.epochs)
