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
    """Lengths of sequences of so many steps, i64[N], each in 0..steps.

    An executable refuses others where they are inputs. Where they are known now, they have to hold for every number of
    steps that there may be; what is computed from tensors nobody looks at.

    Args:
        name:     of the function they are given to
        seq_lens: integers [N], a list of them too
        batch:    N, where it is known

    Raises:
        TypeInferenceError: they are no integers or not N, or are known now and one may be out of range
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
        least = bounds(steps)[0]
        if not 0 <= n <= least:
            may = "" if isinstance(steps, int) else f", where {dim_text(steps)} may be {least}"
            hint = None
            if may and n > least:
                hint = f"give it the lower bound {n}, as f32[T:{n}..4096,2,3] gives T, or make the lengths an input"
            raise _wrong(name, f"seq_lens[{k}] is {n}, expected 0..{dim_text(steps)}{may}", hint)
    return Tensor(b.cast(b.expect_range(found, 0, steps + 1), i64))


def _wrong(name: str, message: str, hint: str | None = None) -> TypeInferenceError:
    return TypeInferenceError(f"{name}: {message}", where=user_lines(), hint=hint)
