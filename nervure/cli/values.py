"""Arrays on the command line: ``x=@x.npy``, ``x=8x784:rand``, ``y=@out.npy``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..ir.dims import evaluate_dim, free_symbols
from ..ir.errors import InputError, reason_of
from ..ir.types import Array, TensorType
from ..runtime.signature import Signature

__all__ = ["input_arrays", "named_paths", "read_array", "write_array"]

KINDS = ("rand", "zeros", "ones", "iota")


def input_arrays(signature: Signature, given: Sequence[str]) -> list[Array]:
    """One array an input.

    Args:
        given: ``NAME=@FILE.npy``, or ``NAME=SHAPE:KIND`` with KIND rand, rand:SEED, zeros, ones or iota; a static
               input that is not named is ``rand``

    Raises:
        InputError: an unknown or repeated name, a file that cannot be read, a shape that is missing or does not fit
    """
    texts: dict[str, str] = {}
    names = [name for name, _ in signature.inputs]
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--input {text}: expected NAME=VALUE", hint="such as x=@x.npy or x=8x784:rand")
        if name not in names:
            raise InputError(
                f"no input is named {name}", hint=f"the program has {', '.join(names) or 'none'}"
            )
        if name in texts:
            raise InputError(f"the input {name} is given twice")
        texts[name] = value
    ranges = {signature.inputs[place][0]: (low, high) for place, low, high in signature.ranges}

    def arrays(env: Mapping[str, int]) -> list[Array]:
        found: list[Array] = []
        for k, (name, t) in enumerate(signature.inputs):
            low, high = ranges.get(name, (0, 2 if t.dtype.name == "bool" else 10))
            known = all(s.name in env for s in free_symbols(high))
            found.append(
                _array(name, t, texts.get(name), (low, evaluate_dim(high, env) if known else low + 1), k)
            )
        return found

    found = arrays({})
    if all(isinstance(high, int) for _, high in ranges.values()):
        return found
    return arrays(signature.bind([a.shape for a in found]))  # lengths, bound by the steps


def _array(name: str, type: TensorType, text: str | None, range_: tuple[int, int], place: int) -> Array:
    if text is not None and text.startswith("@"):
        return read_array(Path(text[1:]))
    shape_text, _, kind = (text or ":rand").partition(":")
    kind, _, seed = kind.partition(":")
    if kind not in KINDS or (seed and not seed.isdigit()):
        raise InputError(
            f"input {name}: {text} is no value", hint=f"@FILE.npy, or SHAPE:KIND with {', '.join(KINDS)}"
        )
    shape = _shape(name, type, shape_text)
    dtype = type.dtype.numpy
    if kind == "zeros":
        return np.zeros(shape, dtype)
    if kind == "ones":
        return np.ones(shape, dtype)
    if kind == "iota":
        return np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape).astype(dtype)
    rng = np.random.default_rng([int(seed or 0), place])
    if type.dtype.is_float:
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(*range_, shape).astype(dtype)


def _shape(name: str, type: TensorType, text: str) -> tuple[int, ...]:
    if not text:
        if type.is_static:
            return type.static_shape()
        raise InputError(
            f"input {name}: {type} has symbols", hint=f"give its shape, such as {name}={_example(type)}:rand"
        )
    try:
        return tuple(int(d) for d in text.replace(",", "x").split("x"))
    except ValueError:
        raise InputError(f"input {name}: {text} is no shape", hint=f"such as {_example(type)}") from None


def _example(type: TensorType) -> str:
    return "x".join(str(d) if isinstance(d, int) else "8" for d in type.shape)


def read_array(path: Path) -> Array:
    """An array of a .npy file; nothing that is pickled.

    Raises:
        InputError: the file is missing, damaged, or holds Python objects
    """
    try:
        found: Any = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason_of(error, path)}", code="NV0304") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no .npy file of numbers: {error}") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path} holds several arrays, expected a .npy file")
    return cast(Array, found)


def write_array(path: Path, array: Array) -> None:
    """Write a .npy file, whole or not at all."""
    from io import BytesIO

    from .output import write_file

    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_file(path, buffer.getvalue())


def named_paths(option: str, given: Sequence[str], names: Sequence[str]) -> Mapping[str, Path]:
    """``NAME=@FILE`` by name; a lone ``@FILE`` is the only name's.

    Raises:
        InputError: no such name, or no file
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and len(names) == 1:
            name, value = names[0], text
        if not value.startswith("@"):
            raise InputError(
                f"{option} {text}: expected NAME=@FILE", hint=f"such as {next(iter(names), 'y')}=@y.npy"
            )
        if name not in names:
            raise InputError(
                f"{option}: no result is named {name}", hint=f"the program has {', '.join(names) or 'none'}"
            )
        found[name] = Path(value[1:])
    return found
