"""Reading and writing at computed positions, by PyTorch's names; boxes at computed corners, by JAX's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.graph import Value
from ..ir.types import TensorType, i64
from .calls import called, wrong
from .elementwise import scalar
from .reductions import axis_of
from .tensor import Tensor, as_tensor

__all__ = ["dynamic_slice", "dynamic_update_slice", "gather", "scatter", "scatter_add", "scatter_reduce"]

MODES = {"sum": "add", "prod": "mul", "amin": "min", "amax": "max"}


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """One element for each index, along an axis.

    Shapes:   input [A..., d, B...], index I[A..., e, B...] -> [A..., e, B...]
    Numerics: an index beyond an end reads at that end
    Source:   PyTorch torch.gather
    """
    x, at = as_tensor(input), as_tensor(index)
    with called("gather", input=x, dim=dim, index=at):
        return Tensor(b.gather_elements(x.value, at.value, axis_of("gather", dim, x.value)))


def scatter(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """input with elements replaced; where an index occurs twice, the later one in row-major order stays.

    Shapes:   input [A..., d, B...], index I[A..., e, B...], src as index or a number -> [A..., d, B...]
    Gradient: to input where nothing was written, to src where it stayed
    Source:   PyTorch torch.scatter
    """
    return _scatter("scatter", input, dim, index, src, "set")


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """input with elements added at the indices; see `scatter`."""
    return _scatter("scatter_add", input, dim, index, src, "add")


def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str) -> Tensor:
    """input joined with src at the indices, in row-major order.

    Args:     reduce: "sum", "prod", "amin" or "amax"; what input holds takes part
    Gradient: of amin and amax shared among all that equal the result
    Source:   PyTorch torch.scatter_reduce
    """
    if reduce not in MODES:
        raise wrong("scatter_reduce", f'reduce is "{reduce}", expected one of {", ".join(MODES)}')
    return _scatter("scatter_reduce", input, dim, index, src, MODES[reduce])


def _scatter(name: str, input: Any, dim: int, index: Any, src: Any, mode: str) -> Tensor:
    x, at = as_tensor(input), as_tensor(index)
    if isinstance(src, (int, float)):
        number = scalar(src, x.dtype)
        updates = Tensor(b.broadcast_in_dim(number, at.value.type.shape, ()))
    else:
        updates = as_tensor(src)
    with called(name, input=x, dim=dim, index=at, src=updates):
        axis = axis_of(name, dim, x.value)
        return Tensor(b.scatter_elements(x.value, at.value, updates.value, axis, mode))


def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Sequence[Dim]) -> Tensor:
    """A box of known size at a corner that the program computes.

    Args:     start_indices: an integer tensor with one start an axis, or a sequence of scalars and numbers; the box
              is moved until it lies within the operand
    Gradient: to what was read
    Source:   JAX jax.lax.dynamic_slice
    """
    x = as_tensor(operand)
    with called("dynamic_slice", operand=x, slice_sizes=tuple(slice_sizes)):
        return Tensor(b.dynamic_slice(x.value, _starts("dynamic_slice", start_indices), slice_sizes))


def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Tensor:
    """operand with a box of it replaced by update, at a corner that the program computes; see `dynamic_slice`.

    Source:  JAX jax.lax.dynamic_update_slice
    """
    x, new = as_tensor(operand), as_tensor(update)
    with called("dynamic_update_slice", operand=x, update=new):
        starts = _starts("dynamic_update_slice", start_indices)
        return Tensor(b.dynamic_update_slice(x.value, new.value, starts))


def _starts(name: str, starts: Any) -> Value:
    """One i64 vector."""
    if isinstance(starts, (list, tuple)):
        parts: list[Value] = []
        for start in starts:  # type: ignore[reportUnknownVariableType]
            part = scalar(start, i64) if isinstance(start, int) else as_tensor(start).value
            if part.type.rank != 0 or not part.type.dtype.is_integer:
                raise wrong(name, f"a start is {part.type}, expected an integer scalar")
            parts.append(b.reshape(b.cast(part, i64), (1,)))
        return b.concat(parts, 0) if parts else b.full(TensorType(i64, (0,)), 0)
    found = as_tensor(starts).value
    if not found.type.dtype.is_integer:
        raise wrong(name, f"start_indices is {found.type}, expected integers")
    return b.cast(found, i64)
