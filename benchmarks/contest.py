"""What a contestant is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

__all__ = ["PEERS", "Absent", "Built", "convert", "fastest"]

PEERS = (
    "nervure",
    "onnxruntime",
    "numpy",
    "mnn",
    "executorch",
    "openvino",
    "ncnn",
    "torch",
    "torch-compile",
    "jax",
)
"""In the order of the report; the module of ``torch-compile`` is ``peers/torch_compile.py``."""


class Absent(Exception):
    """Why a contestant does not take part in a row."""


@dataclass(frozen=True)
class Built:
    """A network ready to run.

    Args:
        call:   what is timed: one inference, its output in the caller's hands; or one training step
        result: from what `call` returned to the output, or to the loss
        state:  of a training step: the weights as they are now
    """

    call: Callable[[], Any]
    result: Callable[[Any], Any] = np.asarray
    state: Callable[[], dict[str, Array]] | None = None
    converted: float = 0.0


def convert(path: Path, command: Sequence[str]) -> float:
    """Make a peer's own file from the row's, in a process of its own, unless it is there.

    Args:
        path:    the file; the command writes it aside, as ``.part``
        command: of Python

    Returns:
        CPU seconds that it took, when it was made
    """
    account = path.with_suffix(path.suffix + ".seconds")
    if not account.exists():
        before = os.times()
        done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True)
        after = os.times()
        aside = path.with_suffix(path.suffix + ".part")
        if done.returncode or not aside.exists():
            said = (done.stdout + done.stderr).strip().splitlines() or ["no word"]
            raise Absent(f"conversion failed: {said[-1][:200]}")
        aside.replace(path)
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        account.write_text(repr(spent))
    return float(account.read_text())


def fastest(*calls: Callable[[], Any]) -> Callable[[], Any]:
    """Of several ways to call the same thing the one whose best time is shortest."""
    best = [float("inf")] * len(calls)
    for _ in range(30):
        for k, call in enumerate(calls):
            start = perf_counter()
            call()
            best[k] = min(best[k], perf_counter() - start)
        if sum(best) > 0.02:
            break
    return calls[best.index(min(best))]
