"""Functions behind the plain layers: linear and bilinear maps, embedding, dropout, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import product
from ..ir.graph import make_one
from ..ir.ops import nn as composites
from ..ir.ops.rng import RngSplit
from . import shapes as s
from .calls import called, wrong
from .parameter import Buffer
from .random import generator
from .tensor import Tensor, as_tensor
from .tracing import current

__all__ = [
    "bilinear", "cat", "dropout", "embedding", "flatten", "linear", "new_key", "one_hot", "reshape", "split_key", "stack",
    "unflatten",
]  # fmt: skip


def reshape(input: Any, shape: Sequence[Any]) -> Tensor:
    """Another shape of as many elements; one dim may be -1."""
    return as_tensor(input).reshape(tuple(shape))


def flatten(input: Any, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim as one; all but the batch axis if none is given."""
    return as_tensor(input).flatten(start_dim, end_dim)


def unflatten(input: Any, dim: int, sizes: Sequence[Any]) -> Tensor:
    """One axis as several; one of the sizes may be -1."""
    x = as_tensor(input)
    with called("unflatten", input=x, dim=dim, sizes=tuple(sizes)):
        if not -x.ndim <= dim < x.ndim:
            raise wrong("unflatten", f"axis {dim} is not within the {x.ndim} axes")
        place = dim % x.ndim
        whole, parts = x.shape[place], list(sizes)
        if parts.count(-1) == 1:
            rest = product(tuple(p for p in parts if p != -1))
            parts[parts.index(-1)] = whole // rest
        if product(tuple(parts)) != whole:
            raise wrong("unflatten", f"axis {dim} of {whole} elements is not {tuple(sizes)}")
        return x.reshape(*x.shape[:place], *parts, *x.shape[place + 1 :])


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis that they have, as numpy's concatenate.

    Source: PyTorch torch.cat
    """
    if not tensors:
        raise wrong("cat", "expected at least one tensor")
    return Tensor(s.concatenate([as_tensor(x).value for x in tensors], dim))


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    return Tensor(s.stack([as_tensor(x).value for x in xs], axis))


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """x w^T + b; weight [out, in], bias [out]."""
    x, w = as_tensor(input), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    with called("linear", x=x, w=w, bias=bias):
        given = [x.value, w.value] if bias is None else [x.value, w.value, bias.value]
        return Tensor(make_one(composites.Linear(), *given))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """A number for each output from two vectors.

    Equation: y[o] = sum over i, j of x1[i] weight[o, i, j] x2[j] + bias[o]
    Shapes:  input1 [..., in1], input2 [..., in2], weight [out, in1, in2], bias [out] -> [..., out]
    Source:  PyTorch torch.nn.functional.bilinear
    """
    x, y, w = as_tensor(input1), as_tensor(input2), as_tensor(weight)
    with called("bilinear", input1=x, input2=y, weight=w):
        if w.ndim != 3 or not x.ndim or x.shape[:-1] != y.shape[:-1]:
            raise wrong(
                "bilinear", "expected input1 [..., in1], input2 [..., in2] and weight [out, in1, in2]"
            )
        if (x.shape[-1], y.shape[-1]) != w.shape[1:]:
            wanted, found = w.shape[1:], (x.shape[-1], y.shape[-1])
            raise wrong(
                "bilinear",
                f"weight expects {wanted[0]} and {wanted[1]} features, found {found[0]} and {found[1]}",
            )
        rows = product(x.shape[:-1])
        left, right = x.reshape(rows, x.shape[-1]), y.reshape(rows, y.shape[-1])
        seen = b.dot_general(left.value, w.value, (1,), (1,))
        found = Tensor(b.dot_general(seen, right.value, (2,), (1,), (0,), (0,)))
        found = found if bias is None else found + as_tensor(bias)
        return found.reshape(*x.shape[:-1], w.shape[0])


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Rows of a table, picked by index.

    Shapes:  input integers [...], weight [rows, dim] -> [..., dim]
    Args:    padding_idx: a row that gets no gradient; negative counts from the end
    Raises:  InputError at the call of an executable whose input holds indices outside the table
    Source:  PyTorch torch.nn.functional.embedding
    """
    places, table = as_tensor(input), as_tensor(weight)
    with called("embedding", input=places, weight=table, padding_idx=padding_idx):
        if not places.dtype.is_integer:
            raise wrong("embedding", f"input is {places.dtype}, expected integers, the rows of a table")
        if table.ndim != 2:
            raise wrong("embedding", f"weight has rank {table.ndim}, expected [rows, dim]")
        rows = table.shape[0]
        index = places.value
        if isinstance(rows, int):
            index = b.expect_range(index, 0, rows)
        found = b.gather(table.value, index)
        if padding_idx is None:
            return Tensor(found)
        row = row_of("embedding", padding_idx, rows)
        padded = b.eq(index, b.full_like(index, row))
        mask = b.broadcast_in_dim(padded, found.type.shape, tuple(range(places.ndim)))
        return Tensor(b.select(mask, b.stop_gradient(found), found))


def row_of(name: str, padding_idx: int, rows: Any) -> int:
    """A row's number counted from the first.

    Raises:
        TypeInferenceError: there is no such row
    """
    if not isinstance(rows, int) or not -rows <= padding_idx < rows:
        raise wrong(name, f"padding_idx {padding_idx} is not within the {rows} rows")
    return padding_idx % rows


def one_hot(input: Any, num_classes: int, dtype: Any = "i64") -> Tensor:
    """1 at the label's place on a new last axis, 0 elsewhere; all 0 for a label outside the classes.

    Source:  PyTorch torch.nn.functional.one_hot, which refuses such labels
    """
    labels = as_tensor(input)
    if not labels.dtype.is_integer:
        raise wrong("one_hot", f"input is {labels.dtype}, expected integers", input=labels)
    shape = (*labels.shape, num_classes)
    wide = b.broadcast_in_dim(labels.value, shape, tuple(range(labels.ndim)))
    return Tensor(b.eq(wide, b.iota(labels.dtype, shape, labels.ndim))).astype(dtype)


def split_key(key: Buffer) -> Tensor:
    """A key to draw from once; the entry is updated to another, so that the next step draws anew."""
    keys = Tensor(make_one(RngSplit(2), key.value))
    current().update(key, keys[0].value)
    return keys[1]


def dropout(input: Any, p: float = 0.5, training: bool | None = None, key: Any = None) -> Tensor:
    """Zero elements with probability p in training and scale the rest by 1 / (1 - p); nothing at inference.

    Args:
        training: whether this is training; if not given, whether the trace is
        key:      u32[2] to draw from; if not given, a state entry of the program, split at each step
    """
    x = as_tensor(input)
    if not (current().training if training is None else training) or p == 0:
        return x
    if p == 1:
        return x * 0
    drawn = split_key(new_key(generator())) if key is None else as_tensor(key)
    with called("dropout", x=x, p=p, key=drawn):
        return Tensor(make_one(composites.Dropout(float(p)), x.value, drawn.value))


def new_key(rng: Any) -> Buffer:
    """A state entry with a random key, drawn from a numpy generator."""
    return Buffer(rng.integers(0, 2**32, 2, dtype="uint32"), name="key", optional=True)
