"""What is done with sequences around recurrent layers: masks, last steps, losses over time, one to many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text
from ..ir.errors import NervureError
from .arguments import callable_with, extent, given
from .calls import called, wrong
from .lengths import lengths
from .pointwise import where
from .scan import scan
from .tensor import Tensor, as_tensor

__all__ = ["last_step", "one_to_many", "sequence_loss", "sequence_mask"]

REDUCTIONS = ("mean", "sum", "batch_mean", "none")


def sequence_mask(seq_lens: Any, length: Dim, batch_first: bool = False) -> Tensor:
    """Which steps belong to a sequence.

    Shapes:  seq_lens integers [N] -> bool[length, N], or bool[N, length] with batch_first
    """
    length = extent("sequence_mask", "length", length)
    with called("sequence_mask", seq_lens=seq_lens, length=length):
        lens = lengths("sequence_mask", seq_lens, length)
        shape = (lens.shape[0], length) if batch_first else (length, lens.shape[0])
        at = b.iota(lens.dtype, shape, 1 if batch_first else 0)
        return Tensor(b.lt(at, b.broadcast_in_dim(lens.value, shape, (0 if batch_first else 1,))))


def last_step(input: Any, seq_lens: Any = None, batch_first: bool = False) -> Tensor:
    """The last step of each sequence, for many-to-one: 0 where a sequence is empty.

    Shapes:  input [T, N, ...] (or [N, T, ...]), seq_lens integers [N] -> [N, ...]
    """
    x = given("last_step", "input", input)
    with called("last_step", input=x, seq_lens=seq_lens):
        if x.ndim < 2:
            raise wrong("last_step", "expected input with axes of steps and of sequences")
        if batch_first:
            x = x.permute(1, 0, *range(2, x.ndim))
        steps, batch = x.shape[:2]
        if bounds(steps)[0] < 1:
            raise wrong("last_step", f"there are {dim_text(steps)} steps, expected at least 1")
        if seq_lens is None:
            return x[steps - 1]
        lens = lengths("last_step", seq_lens, steps, batch).value
        at = b.sub(lens, b.full_like(lens, 1))
        shape = x.shape[1:]
        index = b.broadcast_in_dim(b.reshape(at, (1, *at.type.shape)), (1, *shape), (0, 1))
        picked = Tensor(b.reshape(b.gather_elements(x.value, index, 0), shape))
        empty = b.broadcast_in_dim(b.lt(at, b.full_like(at, 0)), shape, (0,))
        return where(Tensor(empty), 0.0, picked)


def sequence_loss(
    loss: Callable[..., Any],
    input: Any,
    target: Any,
    seq_lens: Any = None,
    batch_first: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """A loss at each step, summed over time; steps behind a sequence's length count nothing.

    Shapes:  input [T, N, ...], target [T, N, ...] (or [N, T, ...]), seq_lens integers [N] -> [], or [T, N] for "none"
    Args:    loss: of rows and their targets, such as `nn.cross_entropy` or `nn.mse_loss`; it is called with
             reduction="none" and what it gives for a step is summed
             reduction: "sum" over all steps; "mean" divides it by how many steps count, "batch_mean" by N; "none" gives
             each step's
    """
    x, y = given("sequence_loss", "input", input), given("sequence_loss", "target", target)
    callable_with("sequence_loss", "the loss", loss, "input", "target", reduction="none")
    if reduction not in REDUCTIONS:
        raise NervureError(f'sequence_loss: reduction is "{reduction}", expected {" or ".join(REDUCTIONS)}')
    with called("sequence_loss", input=x, target=y, seq_lens=seq_lens, reduction=reduction):
        if x.ndim < 2 or y.ndim < 2 or x.shape[:2] != y.shape[:2]:
            raise wrong("sequence_loss", "input and target differ in steps or sequences")
        steps, batch = x.shape[:2]
        rows, right = x.reshape(steps * batch, *x.shape[2:]), y.reshape(steps * batch, *y.shape[2:])
        each = as_tensor(loss(rows, right, reduction="none"))
        if each.ndim > 1:
            each = each.sum(tuple(range(1, each.ndim)))
        each = each.reshape(steps, batch)
        if seq_lens is not None:
            length, many = (batch, steps) if batch_first else (steps, batch)
            seq_lens = lengths("sequence_loss", seq_lens, length, many)
            mask = sequence_mask(seq_lens, length, batch_first)
            each = where(mask, each, 0.0)
        if reduction == "none":
            return each
        total = each.sum()
        if reduction == "sum":
            return total
        if reduction == "batch_mean":
            counted = Tensor(b.full(each.value.type.with_shape((steps if batch_first else batch,)), 1))
            return total / counted.sum()
        if seq_lens is None:
            return each.mean()
        return total / seq_lens.sum().astype(each.dtype)


def one_to_many(
    cell: Callable[..., Any],
    x: Any,
    length: Dim,
    state: Any = None,
    output: Callable[[Tensor], Any] | None = None,
) -> tuple[Tensor, Any]:
    """A sequence out of one input: what a step gives is the next step's input.

    Args:
        cell:   takes an input and a state, returns the next state, such as `nn.LSTMCell`; a pair's first part is h
        x:      the first input
        length: how many steps
        state:  the first state; zeros as the cell makes them if not given
        output: from h to what a step gives, of x's type; h itself if not given

    Returns:
        what the steps give, along a new axis 0, and the last state
    """
    first = given("one_to_many", "x", x)
    length = extent("one_to_many", "length", length)
    callable_with("one_to_many", "the cell", cell, "x", "state")
    if output is not None:
        callable_with("one_to_many", "output", output, "h")
    start = state if state is not None else _zeros_of(cell, first)

    def step(carry: Any, _: Any) -> Any:
        given, before = carry
        after = cell(given, before)
        h = as_tensor(after[0] if isinstance(after, tuple) else after)
        y = h if output is None else as_tensor(output(h))
        if y.type != first.type:
            hint = "give output= a function that brings h to it"
            raise wrong("one_to_many", f"a step gives {y.type}, its input is {first.type}", hint=hint)
        return (y, after), y

    (_, last), ys = scan(step, (first, start), length=length)
    return ys, last


def _zeros_of(cell: Any, x: Tensor) -> Any:
    make = getattr(cell, "initial_state", None)
    if make is None:
        raise NervureError("one_to_many: state is not given", hint="pass the first state of the cell")
    return make(x)
