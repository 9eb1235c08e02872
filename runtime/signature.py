"""The signature of an executable: what it checks at entry, and the symbols that inputs bind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.dims import Dim, Expr, Symbol, dim_text, evaluate_dim, free_symbols, scaled_symbol
from ..ir.errors import InputError
from ..ir.types import Array, TensorType

__all__ = ["Signature", "plain_symbol"]


Check = Callable[[Array, str], object]
"""Raises an InputError for an array that may not be; it is given the input's name."""


@dataclass(frozen=True)
class Signature:
    """Names and types of inputs and outputs.

    Args:
        inputs, outputs: pairs of name and type, in order
        ranges:          what integers some inputs may hold: place of the input, lowest, first beyond the highest, which
                         may depend on the sizes of inputs
        checks:          what else is asked of some inputs: place of the input, and what refuses a wrong one
        lines:           the user's lines that expect those ranges, by the place of the input
    """

    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    ranges: tuple[tuple[int, int, Dim], ...] = ()
    checks: tuple[tuple[int, Check], ...] = ()
    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]], hash=False)

    @property
    def extents(self) -> tuple[Dim, ...]:
        """The extents of inputs and outputs that are neither numbers nor plain symbols, each once."""
        found: dict[Dim, None] = {}
        for _, t in (*self.inputs, *self.outputs):
            found.update((d, None) for d in t.shape if isinstance(d, Expr) and plain_symbol(d) is None)
        return tuple(found)

    def check(self, arrays: Sequence[Any], *, copies: bool = True) -> list[Array]:
        """The inputs as C-contiguous arrays of the right element type.

        Python numbers and lists are converted where that loses nothing; an array of another element type is an error.

        Args:
            copies: whether an array may be another memory than what was given

        Raises:
            InputError: wrong count, element type or rank, integers outside their range, or a copy where none may be
        """
        if len(arrays) != len(self.inputs):
            names = ", ".join(name for name, _ in self.inputs)
            raise InputError(f"expected {len(self.inputs)} inputs ({names}), got {len(arrays)}")
        checked: list[Array] = []
        for (name, want), given in zip(self.inputs, arrays, strict=True):
            checked.append(_as_array(name, want, given))
            if not copies and not _same_memory(given, checked[-1]):
                raise InputError(
                    f"input {name}: expected a C-contiguous array of {want}, which can be read where it lies"
                )
        symbolic = any(not isinstance(high, int) for *_, high in self.ranges)
        env = self.bind([a.shape for a in checked]) if symbolic else {}
        for place, low, high in self.ranges:
            _check_range(self.inputs[place][0], checked[place], low, high, env, self.lines.get(place, ()))
        for place, check in self.checks:
            check(checked[place], f"input {self.inputs[place][0]}")
        return checked

    def bind(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
        """The value of each symbol, by the shapes of the inputs.

        Raises:
            InputError: a dim differs from the type, two inputs disagree on a symbol, or it leaves its range
        """
        env: dict[str, int] = {}
        pending: list[tuple[str, int, Expr, int]] = []
        for (name, want), shape in zip(self.inputs, shapes, strict=True):
            for axis, (dim, size) in enumerate(zip(want.shape, shape, strict=True)):
                if isinstance(dim, int):
                    if dim != size:
                        raise self._mismatch(name, want, shape, f"axis {axis} is {size}, expected {dim}")
                    continue
                s = plain_symbol(dim)
                if s is None:
                    pending.append((name, axis, dim, size))
                elif env.setdefault(s.name, size) != size:
                    raise self._mismatch(
                        name, want, shape, f"axis {axis} is {size}, but {s.name} is {env[s.name]}"
                    )
                elif not s.lo <= size <= s.hi:
                    raise self._mismatch(
                        name,
                        want,
                        shape,
                        f"axis {axis} is {size}, but {s.name} is {s.lo}..{s.hi}",
                        f"write {s.name}:{min(s.lo, size)}..{max(s.hi, size)} in the type for a wider range",
                    )
        self._solve(pending, env)
        for name, axis, dim, size in pending:
            found = evaluate_dim(dim, env)
            if found != size:
                raise InputError(f"input {name}: axis {axis} is {size}, expected {dim_text(dim)} = {found}")
        return env

    def _solve(self, pending: Sequence[tuple[str, int, Expr, int]], env: dict[str, int]) -> None:
        """Bind the symbols that no axis is alone, from an axis such as ``32*H``."""
        for name, axis, dim, size in pending:
            found = scaled_symbol(dim)
            if found is None or found[0].name in env:
                continue
            s, scale, added = found
            count, left = divmod(size - added, scale)
            if left or not s.lo <= count <= s.hi:
                raise InputError(
                    f"input {name}: axis {axis} is {size}, expected {dim_text(dim)} with {s.name} in {s.lo}..{s.hi}"
                )
            env[s.name] = count
        for name, axis, dim, _ in pending:
            for s in free_symbols(dim):
                if s.name not in env:
                    raise InputError(
                        f"input {name}: axis {axis} is {dim_text(dim)}, which does not say what {s.name} is",
                        hint=f"give an input an axis of size {s.name}, or a multiple of it",
                    )

    def _mismatch(
        self, name: str, want: TensorType, shape: tuple[int, ...], text: str, hint: str | None = None
    ) -> InputError:
        found = f"{want.dtype}[{','.join(map(str, shape))}]"
        details = [f"expected {want}", f"got      {found}"]
        return InputError(f"input {name}: {text}", details=details, hint=hint)

    def __str__(self) -> str:
        left = ", ".join(f"{n}: {t}" for n, t in self.inputs)
        right = ", ".join(str(t) for _, t in self.outputs)
        return f"({left}) -> {right if len(self.outputs) == 1 else f'({right})'}"


def plain_symbol(dim: Dim) -> Symbol | None:
    """The symbol that a dim is, if it is nothing else."""
    found = scaled_symbol(dim)
    return found[0] if found is not None and found[1:] == (1, 0) else None


def _check_range(
    name: str, array: Array, low: int, high: Dim, env: Mapping[str, int], lines: Sequence[str]
) -> None:
    first = evaluate_dim(high, env)  # beyond the range
    if array.size and not (low <= array.min() and array.max() < first):
        place = tuple(int(k) for k in np.argwhere((array < low) | (array >= first))[0])
        known = "" if isinstance(high, int) else f", where {dim_text(high - 1)} is {first - 1}"
        raise InputError(
            f"input {name}: {array[place]} at {list(place)} is outside {low}..{first - 1}{known}",
            where=lines,
            code="NV0603",
        )


def _same_memory(given: Any, array: Array) -> bool:
    if not isinstance(given, np.ndarray):
        return hasattr(given, "__dlpack__") and not array.flags.owndata
    return given is array or given.ctypes.data == array.ctypes.data


def _as_array(name: str, want: TensorType, given: Any) -> Array:
    dtype = want.dtype.numpy
    if not isinstance(given, np.ndarray):
        if hasattr(given, "__dlpack__"):
            try:
                given = np.from_dlpack(given)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                raise InputError(
                    f"input {name}: {type(given).__name__} cannot lend its memory by __dlpack__: {error}",
                    hint="detach a tensor that has a gradient" if "gradient" in str(error) else None,
                ) from None
        elif isinstance(given, (bool, int, float, list, tuple)):
            converted = np.asarray(given)
            same_kind = converted.dtype.kind == dtype.kind or converted.size == 0
            if same_kind or (converted.dtype.kind == "i" and dtype.kind in "fu"):
                given = converted.astype(dtype)
    array = np.asarray(given)
    if array.dtype != dtype:
        raise InputError(
            f"input {name}: element type is {array.dtype}, expected {want.dtype}",
            hint=f"convert it with .astype('{dtype}')",
        )
    if array.ndim != want.rank:
        raise InputError(
            f"input {name}: rank is {array.ndim}, expected {want.rank}",
            details=[f"expected {want}", f"got      {array.dtype}{list(array.shape)}"],
        )
    return np.ascontiguousarray(array) if array.ndim else array
