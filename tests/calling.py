"""Executables whose calls say which way they took."""

from __future__ import annotations

from typing import Any

import numpy as np

import nervure as nv
from nervure import nn
from nervure.runtime import interpreter

__all__ = ["Calls", "Lent", "array", "linear", "several", "training"]


def array(*shape: int, dtype: str = "f4", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Calls:
    """An executable, and how many of its calls took Python's way."""

    def __init__(self, model: Any, *specs: Any, **options: Any) -> None:
        self.run: Any = nv.compile(model, *specs, **options)
        self.slow = 0
        execute = self.run.execute

        def counted(*args: Any) -> None:
            self.slow += 1
            execute(*args)

        self.run.execute = counted

    def __call__(self, *args: Any, fast: bool = True, **names: Any) -> Any:
        before = self.slow
        result = self.run(*args, **names)
        if interpreter.refusal() is None:
            assert (self.slow == before) is fast, "the call took the other way"
        return result


def linear() -> Calls:
    nv.seed(0)
    calls = Calls(nn.Linear(7, 5), "f32[B:0..64,7]")
    calls(array(1, 7), fast=False)
    return calls


def several() -> Calls:
    calls = Calls(lambda a, b, c: (a + b, c * 2, (a * b).sum()), "f32[N:0..9,M:0..9]", "f32[N,M]", "i64[M]")
    calls(array(1, 2), array(1, 2), np.zeros(2, "i8"), fast=False)
    return calls


class Lent:
    """Something of DLPack that is no array."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()


def training() -> tuple[Any, Calls, Calls]:
    nv.seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    program = nv.training_step(model, nn.cross_entropy, nv.optim.SGD(0.1), "f32[B,4]", "i64[B]")
    return model, Calls(program), Calls(model, "f32[B,4]")
