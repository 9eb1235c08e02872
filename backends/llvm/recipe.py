"""What an executable needs of a compilation in order to run: kept in the cache under the program's text, so that a program that
was compiled before is neither lowered nor sent through the passes again. What people look at (kernels, LLVM text, the
program after the passes) is made when they ask."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.dims import dim_text
from ...ir.program import Program
from ...ir.store import Entry, Store
from ...ir.text.printer import print_program
from ...ir.types import DTYPES, Array, TensorType
from ...runtime import cache as disk
from ...runtime.signature import Signature
from .host import library
from .options import Options

__all__ = ["Recipe", "keep", "recall", "recipe_key"]

LARGEST = 64 << 20
"""Bytes of constants that an entry of the cache may hold."""


@dataclass(frozen=True)
class Recipe:
    """A compilation without its texts.

    Args:
        symbols:   the order of `dims`
        outputs:   the names of the results
        updates:   the entries that a run changes
        entries:   the entries in slot order
        derived:   those that the passes added: name, element type, shape
        extents:   what nv_sizes computes behind the cost, as text
        threads:   whether the code shares out work
        constants: the data of the slots behind the entries
        object:    the object's bytes
    """

    symbols: tuple[str, ...]
    outputs: tuple[str, ...]
    updates: tuple[str, ...]
    entries: tuple[str, ...]
    derived: tuple[tuple[str, str, tuple[int, ...]], ...]
    extents: tuple[str, ...]
    threads: bool
    constants: tuple[Array, ...]
    object: bytes

    def store(self, program: Program) -> Store:
        """The store of a program before the passes, with the entries that they would add."""
        added = (Entry(n, TensorType(DTYPES[d], shape), "derived") for n, d, shape in self.derived)
        return program.store.with_entries(added) if self.derived else program.store

    def signature(self, given: Signature) -> Signature:
        """The signature with the names of results after the passes."""
        types = (t for _, t in given.outputs)
        return replace(given, outputs=tuple(zip(self.outputs, types, strict=True)))

    def to_bytes(self) -> bytes:
        """A line of JSON, then constants and object."""
        facts = {name: getattr(self, name) for name in _FACTS}
        facts["constants"] = [[c.dtype.str, list(c.shape)] for c in self.constants]
        blobs = [np.ascontiguousarray(c).tobytes() for c in self.constants]
        return b"".join([json.dumps(facts).encode(), b"\n", *blobs, self.object])


_FACTS = ("symbols", "outputs", "updates", "entries", "derived", "extents", "threads")


def keep(key: str, recipe: Recipe) -> None:
    """Keep a recipe under a key, unless it is very large."""
    if sum(c.nbytes for c in recipe.constants) <= LARGEST:
        disk.save(key, recipe.to_bytes())


def recipe_key(program: Program, level: int, options: Options) -> str | None:
    """The name of a program's recipe in the cache; None where it can have none.

    It depends on everything that the object does: the program's text without the data of its entries, the level, the
    machine, the schedules chosen for it, LLVM, and the sources of nervure that stand between the two.
    """
    sources = _sources()
    if sources is None:
        return None
    text = print_program(program, digits=None, origins=False, data=False)
    chosen = [repr(options.machine), str(options.codegen), repr(sorted(options.choices.items()))]
    return disk.cache_key("recipe", text, str(level), *chosen, library(), sources)


def recall(key: str, signature: Signature) -> Recipe | None:
    """The recipe under a key; None where there is none, or one of another shape than this version writes."""
    data = disk.load(key)
    if data is None:
        return None
    try:
        head, _, rest = data.partition(b"\n")
        facts: dict[str, Any] = json.loads(head)
        constants: list[Array] = []
        for form, shape in facts.pop("constants"):
            dtype = np.dtype(form)
            size = prod(shape) * dtype.itemsize
            constants.append(np.frombuffer(rest[:size], dtype).reshape(shape))
            rest = rest[size:]
        lists = {n: tuple(facts[n]) for n in _FACTS if n not in ("threads", "derived")}
        derived = tuple((name, dtype, tuple(shape)) for name, dtype, shape in facts["derived"])
        found = Recipe(
            **lists, threads=bool(facts["threads"]), derived=derived, constants=tuple(constants), object=rest
        )
    except (ValueError, KeyError, TypeError):
        return None
    same = found.extents == tuple(map(dim_text, signature.extents))
    return found if same and len(found.outputs) == len(signature.outputs) else None


@cache
def _sources() -> str | None:
    """Sizes and times of the files of the rooms between a program and its object; None where they are no files."""
    package = Path(__file__).parents[2]
    found: list[str] = []
    try:
        for room in ("ir", "passes", "backends", "runtime"):
            for folder, folders, files in os.walk(package / room):
                folders[:] = sorted(f for f in folders if f != "__pycache__")
                for name in sorted(files):
                    info = os.stat(os.path.join(folder, name))
                    found.append(f"{name} {info.st_size} {info.st_mtime_ns}")
    except OSError:
        return None
    return disk.cache_key(*found) if found else None
