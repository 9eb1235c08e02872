"""Checkpoints: a file that is whole or absent, written beside its place, synced, and moved there.

`last.safetensors` holds every entry of the training step's store and, as metadata, how far the run is; the weights
of the best epoch stand in `best-N.safetensors`. The best is written before the last that names it, and older ones
are removed after, so that a run may be killed at any moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..ir.errors import InputError, reason_of
from ..ir.text.files import read_side_file, side_file_bytes, write_atomically
from ..ir.types import Array

__all__ = ["Checkpoints"]

LAST = "last.safetensors"
PROGRESS = "progress"


class Checkpoints:
    """The checkpoints of one run in a folder of its own.

    Args:
        folder:      made if it is missing
        fingerprint: of everything that decides the run: program, data, options

    Raises:
        InputError: the folder cannot be made
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write checkpoints to {folder}: {reason_of(error, folder)}", code="NV0304"
            ) from error

    def save(self, state: Mapping[str, Array], progress: Mapping[str, Any]) -> None:
        """Write the whole state of the run."""
        told = json.dumps({"fingerprint": self.fingerprint, **progress})
        arrays = {**{f"entry.{name}": array for name, array in state.items()}}
        arrays[PROGRESS] = np.frombuffer(told.encode(), np.uint8)
        write_atomically(self.folder / LAST, side_file_bytes(arrays))

    def save_best(self, epoch: int, state: Mapping[str, Array]) -> None:
        """Write the weights of the best epoch so far."""
        write_atomically(self.folder / f"best-{epoch}.safetensors", side_file_bytes(dict(state)))

    def forget(self, best: int) -> None:
        """Remove the weights of best epochs but one."""
        for path in self.folder.glob("best-*.safetensors"):
            if path.name != f"best-{best}.safetensors":
                path.unlink(missing_ok=True)

    def best(self, epoch: int) -> dict[str, Array]:
        """The weights of the best epoch."""
        return read_side_file(self.folder / f"best-{epoch}.safetensors")

    @property
    def exists(self) -> bool:
        """Whether there is something to go on from."""
        return (self.folder / LAST).exists()

    def load(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The state and the progress of the last whole checkpoint.

        Raises:
            InputError: there is none, it is damaged, or it belongs to another run
        """
        path = self.folder / LAST
        if not path.exists():
            raise InputError(f"there is no checkpoint in {self.folder}")
        arrays = read_side_file(path)
        try:
            progress = cast(dict[str, Any], json.loads(arrays.pop(PROGRESS).tobytes()))
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is no checkpoint of nervure") from error
        if progress.get("fingerprint") != self.fingerprint:
            raise InputError(
                f"{path} belongs to another run: the model, the data or an option that decides the result differs",
                hint="start anew in another folder, or with the same command as before",
            )
        return {name.removeprefix("entry."): array for name, array in arrays.items()}, progress
