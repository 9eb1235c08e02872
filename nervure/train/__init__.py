"""The training loop: batches, validation, early stopping, checkpoints that a later run goes on from."""

from __future__ import annotations

from .fit import Epoch, History, fit
from .named import LOSSES, OPTIMIZERS, loss_named, optimizer_named

__all__ = ["LOSSES", "OPTIMIZERS", "Epoch", "History", "fit", "loss_named", "optimizer_named"]
