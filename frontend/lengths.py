"""The lengths of sequences, as every loop and layer takes them."""

from __future__ import annotations

from typing import Any

from ..ir import build as b
from ..ir.dims import Dim, bounds, dim_text
from ..ir.errors import TypeInferenceError
from ..ir.types import i64
from .arguments import constant_of, table
from .tensor import Tensor
from .tracing import user_lines

__all__ = ["lengths"]


def lengths(name: str, seq_lens: Any, steps: Dim, batch: Dim | None = None) -> Tensor:
    """Lengths of sequences of so many steps, i64[N]; an executable refuses others than 0..steps.

    Args:
        name:     of the function they are given to
        seq_lens: integers [N], a list of them too
        batch:    N, where it is known

    Raises:
        TypeInferenceError: they are no integers or not N, or are known now and one is out of range
    """
    found = table(name, "seq_lens", seq_lens).value
    if found.type.rank != 1 or not found.type.dtype.is_integer:
        raise _wrong(name, f"seq_lens is {found.type}, expected integers [N], one a sequence")
    if batch is not None and found.type.shape != (batch,):
        raise _wrong(
            name, f"seq_lens is {found.type}, expected {found.type.with_shape((batch,))}, one a sequence"
        )
    known = constant_of(found)
    for k, n in enumerate(() if known is None else known.tolist()):
        if not 0 <= n <= bounds(steps)[1]:
            raise _wrong(name, f"seq_lens[{k}] is {n}, expected 0..{dim_text(steps)}")
    return Tensor(b.cast(b.expect_range(found, 0, steps + 1), i64))


def _wrong(name: str, message: str) -> TypeInferenceError:
    return TypeInferenceError(f"{name}: {message}", where=user_lines())
