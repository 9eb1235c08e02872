"""What every optimiser shares: the learning rate, the state of each parameter, and the update of them all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir import build as b
from ...ir.errors import NervureError
from ...ir.store import Entry
from ...ir.types import DType, TensorType, f32, i64
from ..parameter import Buffer
from ..tensor import Tensor
from .schedules import Rate, Schedule

__all__ = ["Optimizer", "Tensors", "at_least_0", "below_1", "root"]

Tensors = Mapping[str, Tensor]


class Optimizer:
    """The base: a learning rate that can be changed at run time or follows a schedule, and state for each parameter.

    State belongs to the optimiser: training steps made with the same one go on where the others stopped. Entries are
    named ``optimizer.lr``, ``optimizer.momentum.fc.weight`` and so on.

    Args:
        lr:           the learning rate: a number, at least 0; or a schedule, which is part of the graph and reads how
                      many steps were made before
        weight_decay: w times this is added to the gradient
        maximize:     whether to climb
    """

    moments: tuple[str, ...] = ()
    """Names of the tensors that are kept for each parameter, all 0 at the beginning unless `initial` says otherwise."""

    initial: Mapping[str, float] = {}
    """What a moment's elements are at the beginning."""

    counts: bool = False
    """Whether the optimiser reads how many steps were made; one with a schedule always counts."""

    def __init__(self, lr: Rate, weight_decay: float = 0.0, *, maximize: bool = False) -> None:
        number = lr if isinstance(lr, int | float) else None
        self._schedule = Schedule.of(lr) if number is None else None
        self._lr = 0.0 if number is None else float(number)
        at_least_0(self, lr=self._lr, weight_decay=weight_decay)
        self.weight_decay, self.maximize = weight_decay, maximize
        self._entries: dict[str, Buffer] = {}
        self._of: dict[str, Entry] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step; assigning to it reaches every step made with this optimiser, compiled
        ones too.

        Raises:
            NervureError: assigned to where it follows a schedule
        """
        if self._schedule is not None:
            return self._schedule.at(self.steps)
        entry = self._entries.get("optimizer.lr")
        if entry is None or entry.data == np.asarray(self._lr, entry.dtype.numpy):
            return self._lr
        return float(entry.data)

    @lr.setter
    def lr(self, value: float) -> None:
        if self._schedule is not None:
            raise NervureError(
                f"{type(self).__name__}: lr follows a schedule and cannot be set",
                hint="give a number as lr to change it at run time",
            )
        self._lr = float(value)
        if "optimizer.lr" in self._entries:
            entry = self._entries["optimizer.lr"]
            entry.assign(np.asarray(value, entry.dtype.numpy))

    @property
    def steps(self) -> int:
        """How many steps were made, where the optimiser counts them; else 0."""
        entry = self._entries.get("optimizer.step")
        return 0 if entry is None else int(entry.data)

    def init_state(self, params: Mapping[str, Entry]) -> dict[str, Buffer]:
        """The state for these parameters by name: made when first asked for, then the same again.

        Raises:
            NervureError: another parameter of the same name was here before; or one is new after some steps and the
                optimiser's first steps are not like its later ones
        """
        wide = max((p.type.dtype for p in params.values()), key=lambda d: d.bits, default=f32)
        kind = _scalar_type(wide)
        found: dict[str, Buffer] = {}
        if self._schedule is None:
            found["optimizer.lr"] = self._entry("lr", TensorType(kind), self._lr)
        if self._counting:
            found["optimizer.step"] = self._entry("step", TensorType(i64), 0)
        found |= self._shared(kind)
        late = [name for name in params if name not in self._of]
        if self._of and late and self.counts and self.steps:
            raise NervureError(
                f"{type(self).__name__}: {late[0]} is new after {self.steps} steps, which the optimiser counts for all "
                "parameters together",
                hint="make a new optimiser",
            )
        for name, param in params.items():
            if self._of.setdefault(name, param) is not param:
                raise NervureError(
                    f"{type(self).__name__} has state for another parameter named {name}",
                    hint="make an optimiser for each model",
                )
            for moment in self.moments:
                start = self.initial.get(moment, 0)
                found[f"optimizer.{moment}.{name}"] = self._entry(f"{moment}.{name}", param.type, start)
        return found

    @property
    def _counting(self) -> bool:
        return self.counts or self._schedule is not None

    def _shared(self, dtype: DType) -> dict[str, Buffer]:
        """State that all parameters share, beside learning rate and count; dtype is that of scalars."""
        return {}

    def _entry(self, name: str, type: TensorType, value: float) -> Buffer:
        full = f"optimizer.{name}"
        if full not in self._entries:
            start = np.broadcast_to(np.array(value, type.dtype.numpy), type.static_shape())
            self._entries[full] = Buffer(start, name=full)
        return self._entries[full]

    def update(
        self, params: Tensors, gradients: Tensors, state: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The new content of parameters, and of the state that changes.

        Args:
            params, gradients: by the parameter's name
            state: what `init_state` made, by the entry's name
        """
        new_params: dict[str, Tensor] = {}
        new_state = {"optimizer.step": state["optimizer.step"] + 1} if self._counting else {}
        new_state |= self.begin(state)
        if self._schedule is None:
            lr = state["optimizer.lr"]
        else:
            lr = self._schedule(state["optimizer.step"])
        rates = {d: self.rates(lr.astype(d), {**state, **new_state}) for d in _dtypes(params)}
        for name, weight in params.items():
            kept = {m: state[f"optimizer.{m}.{name}"] for m in self.moments}
            slope = -gradients[name] if self.maximize else gradients[name]
            new_params[name], moved = self.step(weight, slope, kept, rates[weight.dtype])
            new_state |= {f"optimizer.{m}.{name}": value for m, value in moved.items()}
        return new_params, new_state

    def begin(self, state: Tensors) -> dict[str, Tensor]:
        """What changes once a step, before the parameters: new content by the entry's name."""
        return {}

    def rates(self, lr: Tensor, state: Tensors) -> Tensors:
        """Scalars that all parameters of one element type share; ``lr`` among them.

        Args:
            lr:    in that element type
            state: as it is after `begin`; the step's number from 1 on is ``optimizer.step``
        """
        return {"lr": lr}

    def step(
        self, weight: Tensor, gradient: Tensor, moments: Tensors, rates: Tensors
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The new content of one parameter and of its moments."""
        raise NervureError(f"{type(self).__name__} defines no step")

    def decayed(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with weight decay."""
        return gradient + weight * self.weight_decay if self.weight_decay else gradient


def _dtypes(params: Tensors) -> list[DType]:
    return list(dict.fromkeys(weight.dtype for weight in params.values()))


def _scalar_type(dtype: DType) -> DType:
    """Scalars of half precision would lose the learning rate's digits."""
    return dtype if dtype.bits >= 32 else f32


def root(x: Tensor) -> Tensor:
    """The square root."""
    return Tensor(b.sqrt(x.value))


def at_least_0(optimizer: object, **arguments: float) -> None:
    """Require numbers not below 0 and no NaN."""
    for name, value in arguments.items():
        if not value >= 0:
            raise NervureError(f"{type(optimizer).__name__}: {name} is {value}, expected at least 0")


def below_1(optimizer: object, **arguments: float) -> None:
    """Require numbers from 0 to below 1."""
    for name, value in arguments.items():
        if not 0 <= value < 1:
            raise NervureError(f"{type(optimizer).__name__}: {name} is {value}, expected 0 <= {name} < 1")
