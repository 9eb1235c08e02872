"""The loop itself. Every choice it makes follows from its arguments, so that a run can be repeated to the bit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..compiling import compile as compile_
from ..frontend.nn.module import Module
from ..frontend.optim import Clip, Optimizer
from ..frontend.trace import trace
from ..ir.dims import Dim, evaluate_dim, free_symbols
from ..ir.errors import InputError
from ..ir.graph import Graph
from ..ir.program import Program
from ..ir.text.printer import print_graph
from ..ir.types import Array, TensorType, dtype_of
from ..runtime.executable import Executable
from ..training import training_step
from .arrays import as_features, as_targets
from .checkpoint import Checkpoints
from .interrupt import Interruption

__all__ = ["Epoch", "History", "fit"]

Reason = Literal["epochs", "early stop", "interrupted"]
Data = tuple[Any, Any]


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Args:
        number:   from 1
        loss:     mean over the training batches
        val_loss: of the validation data after the epoch, or None without any
        accuracy: the share of validation labels that were predicted, or None
        seconds:  how long it took
    """

    number: int
    loss: float
    val_loss: float | None = None
    accuracy: float | None = None
    seconds: float = 0.0

    @property
    def score(self) -> float:
        """What early stopping watches: smaller is better."""
        return self.loss if self.val_loss is None else self.val_loss


@dataclass
class History:
    """A run.

    Attributes:
        epochs: one each, those of resumed runs included
        best:   the number of the epoch with the smallest validation loss, or training loss without validation
        reason: why it ended
    """

    epochs: list[Epoch] = field(default_factory=list[Epoch])
    best: int = 0
    reason: Reason = "epochs"

    def add(self, epoch: Epoch) -> bool:
        """Note an epoch; whether it is the best."""
        better = not self.best or epoch.score < self.epochs[self.best - 1].score
        self.epochs.append(epoch)
        if better:
            self.best = epoch.number
        return better

    def to_json(self) -> dict[str, Any]:
        return {"epochs": [asdict(e) for e in self.epochs], "best": self.best, "reason": self.reason}


def fit(
    model: Module,
    data: Data,
    loss: Callable[..., Any],
    optimizer: Optimizer,
    spec: str | TensorType,
    *,
    validation: Data | None = None,
    epochs: int = 10,
    batch: int = 64,
    seed: int = 0,
    backend: str = "llvm",
    clip: Clip | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    early_stop: int | None = None,
    tolerance: float = 0.0,
    report: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a model on arrays.

    Batches follow a permutation made from the seed and the epoch. With validation data or `early_stop` the model
    ends with the weights of its best epoch, else with the last.

    Args:
        data:       samples, whose first axis counts them, and targets: integers are labels
        spec:       the type of the model's input
        checkpoint: a folder; the state is written there after each epoch
        resume:     go on from the last whole checkpoint, if there is one
        early_stop: end after so many epochs without a better one
        tolerance:  by how much an epoch must be better to count for `early_stop`
        report:     called after each epoch

    Returns:
        what each epoch came to; after Ctrl-C the reason is "interrupted" and the last checkpoint is whole

    Raises:
        InputError: data that does not fit, or a checkpoint of another run
        TraceError: what `training_step` refuses
    """
    if epochs < 1 or batch < 1:
        raise InputError(f"fit: epochs={epochs}, batch={batch}: expected at least 1")
    forward = trace(model, spec).main
    want = forward.inputs[0].type
    x, y = _fitting(data, want)
    held = None if validation is None else _fitting(validation, want)
    program = training_step(model, loss, optimizer, want, _target_type(forward, (x, y)), clip=clip)
    judge = None if held is None else _Judge(model, loss, forward, held, batch, backend)
    saved = None
    if checkpoint is not None:
        saved = Checkpoints(checkpoint, _fingerprint(program, x, y, held, batch, seed))
    run = _Run(compile_(program, backend=backend), program, saved)
    if resume and saved is not None and saved.exists:
        run.resume()
    with Interruption() as interruption:
        while len(run.history.epochs) < epochs and not _stalled(run.history, early_stop, tolerance):
            number, start = len(run.history.epochs) + 1, time.perf_counter()
            losses: list[float] = []
            for chosen in _batches(len(x), batch, seed, number):
                losses.append(float(run.step(x[chosen], y[chosen])))
                if interruption.asked:
                    run.history.reason = "interrupted"
                    return run.history
            val_loss, accuracy = (None, None) if judge is None else judge.verdict()
            taken = time.perf_counter() - start
            epoch = Epoch(number, float(np.mean(losses)), val_loss, accuracy, taken)
            run.end(epoch, keeps=judge is not None or early_stop is not None)
            if report is not None:
                report(epoch)
    if _stalled(run.history, early_stop, tolerance) and len(run.history.epochs) < epochs:
        run.history.reason = "early stop"
    if judge is not None or early_stop is not None:
        run.restore_best()
    return run.history


class _Run:
    """The compiled step, how far it is, and the weights of its best epoch."""

    def __init__(self, step: Executable, program: Program, saved: Checkpoints | None) -> None:
        self.step = step
        self.names = [
            n for n, e in program.store.items() if e.kind != "derived" and not n.startswith("optimizer.")
        ]
        self.saved = saved
        self.history = History()
        self.best: dict[str, Array] = {}

    def end(self, epoch: Epoch, keeps: bool) -> None:
        """Note an epoch, and write the checkpoint."""
        better = self.history.add(epoch)
        state = self.step.state_dict()
        if better and keeps:
            self.best = {name: state[name] for name in self.names}
        if self.saved is not None:
            if better and keeps:
                self.saved.save_best(epoch.number, self.best)
            self.saved.save(state, {"history": self.history.to_json(), "keeps": keeps})
            self.saved.forget(self.history.best)

    def resume(self) -> None:
        """Go on where the last whole checkpoint was written."""
        assert self.saved is not None
        state, progress = self.saved.load()
        self.step.load_state_dict(state)
        told = progress["history"]
        self.history = History([Epoch(**e) for e in told["epochs"]], told["best"])
        if progress["keeps"]:
            self.best = self.saved.best(self.history.best)

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch."""
        for name, array in self.best.items():
            self.step.store[name].assign(array)


class _Judge:
    """The model on validation data, as at inference."""

    def __init__(
        self, model: Module, loss: Callable[..., Any], forward: Graph, held: Data, batch: int, backend: str
    ) -> None:
        def judged(x: Any, y: Any) -> Any:
            scores = model(x)
            return loss(scores, y), scores

        self.x, self.y = held
        self.batch = batch
        self.run = compile_(judged, forward.inputs[0].type, _target_type(forward, held), backend=backend)

    def verdict(self) -> tuple[float, float | None]:
        """The mean loss, and the accuracy where the targets are labels, one a sample or one a step."""
        total, right, labels = 0.0, 0.0, False
        for k in range(0, len(self.x), self.batch):
            y = self.y[k : k + self.batch]
            value, scores = self.run(self.x[k : k + self.batch], y)
            total += float(value) * len(y)
            labels = y.dtype.kind == "i" and y.ndim in (1, 2) and scores.shape[:-1] == y.shape
            right += float((scores.argmax(axis=-1) == y).sum() / max(y[0].size, 1)) if labels else 0
        return total / len(self.x), right / len(self.x) if labels else None


def _fitting(data: Data, want: TensorType) -> tuple[Array, Array]:
    x, y = as_features(np.asarray(data[0]), want), as_targets(data[1], want)
    if len(x) != len(y):
        raise InputError(f"data: {len(x)} samples and {len(y)} targets")
    if not len(x):
        raise InputError("data: there are no samples")
    return x, y


def _target_type(forward: Graph, data: Data) -> TensorType:
    """The type of targets. An axis as long as the same axis of what the model gives has its dim; else one as long as an
    axis of the samples that is left in what the model gives, as steps of sequences are in [B*T, classes].
    """
    x, y = data
    want, given = forward.inputs[0].type.shape, [o.type.shape for o in forward.outputs]
    sizes = {str(d): n for d, n in zip(want, x.shape, strict=True)}
    left = {s.name for shape in given for d in shape for s in free_symbols(d)}

    def dim(axis: int) -> Dim:
        same = [shape[axis] for shape in given if len(shape) > axis and shape[0] == want[0]]
        for d in (*same, *(d for d in want[1:] if str(d) in left)):
            if {s.name for s in free_symbols(d)} <= sizes.keys() and evaluate_dim(d, sizes) == y.shape[axis]:
                return d
        return y.shape[axis]

    return TensorType(dtype_of(y), (want[0], *map(dim, range(1, y.ndim))))


def _batches(count: int, batch: int, seed: int, epoch: int) -> Iterator[Array]:
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return (order[k : k + batch] for k in range(0, count, batch))


def _stalled(history: History, patience: int | None, tolerance: float) -> bool:
    if patience is None or not history.epochs:
        return False
    last, score = 1, history.epochs[0].score
    for epoch in history.epochs[1:]:
        if epoch.score < score - tolerance:
            last, score = epoch.number, epoch.score
    return len(history.epochs) - last >= patience


def _fingerprint(program: Program, x: Array, y: Array, held: Data | None, batch: int, seed: int) -> str:
    """Everything that decides the weights at the end of an epoch."""
    digest = hashlib.blake2b(digest_size=32)
    for graph in program.graphs.values():
        digest.update(print_graph(graph, origins=False).encode())
    for array in (x, y, *(() if held is None else held)):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(f"{batch} {seed}".encode())
    return digest.hexdigest()
