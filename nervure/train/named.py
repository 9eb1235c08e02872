"""Losses and optimisers by the names that the command line takes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from ..frontend import nn, optim
from ..ir.errors import InputError

__all__ = ["LOSSES", "OPTIMIZERS", "loss_named", "optimizer_named"]

LOSSES: dict[str, Callable[..., Any]] = {
    "bce": nn.binary_cross_entropy_with_logits,
    "cross_entropy": nn.cross_entropy,
    "huber": nn.huber_loss,
    "l1": nn.l1_loss,
    "mse": nn.mse_loss,
    "nll": nn.nll_loss,
    "sequence": partial(nn.sequence_loss, nn.cross_entropy),
}
"""Losses of an output and a target; "sequence" is the cross-entropy of each step."""

OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "adagrad": optim.Adagrad,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "sgd": optim.SGD,
}


def loss_named(name: str) -> Callable[..., Any]:
    """The loss of a name.

    Raises:
        InputError: there is none
    """
    return _named("loss", name, LOSSES)


def optimizer_named(text: str) -> optim.Optimizer:
    """An optimiser of a text such as ``adam:lr=0.001,weight_decay=0.01``.

    Raises:
        InputError: no such optimiser or argument, or a value that is no number
    """
    name, _, rest = text.partition(":")
    kind = _named("optimizer", name.lower(), OPTIMIZERS)
    known = inspect.signature(kind).parameters
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise InputError(f"optimizer {name}: {part} is no argument", hint=f"it has {', '.join(known)}")
        try:
            given[key] = ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
        except (ValueError, SyntaxError):
            raise InputError(f"optimizer {name}: {key}={value} is no number") from None
    return kind(**given)


def _named(what: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        close = get_close_matches(name, known, 1)
        raise InputError(
            f"no {what} is named {name}",
            hint=f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}",
        )
    return known[name]
