"""Every intermediate of a run: keep it, compare it with another run's, find where a NaN was born."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.ops.constant import Constant
from ..ir.program import Program
from ..ir.types import Array
from .births import Birth, birth
from .exposure import Slot, exposed, with_own_store
from .movement import reference
from .rows import Row, Tape
from .tapes import Difference, compare_tapes

__all__ = ["Birth", "Difference", "Row", "Tape", "birth_of_nan", "compare_tapes", "tape"]


def tape(program: Program, inputs: Sequence[Array], backend: str = "reference", *, level: int = 2) -> Tape:
    """Run a program and keep every intermediate.

    Nothing is written to the program's store. A backend other than the reference runs a program that returns all values,
    through its passes.

    Args:
        inputs:  one array an input
        backend: who runs it
        level:   of the backend's passes

    Raises:
        NervureError: the inputs do not fit, or the backend cannot run the program
    """
    exposure = exposed(with_own_store(program))
    with np.errstate(all="ignore"):
        found = _run(exposure.program, inputs, backend, level)
    contents: list[tuple[Slot, Array]] = []
    places = {v: np.asarray(a) for v, a in zip(program.main.inputs, inputs, strict=True)}
    for slot in exposure.slots:
        if slot.place >= 0:
            array = found[slot.place]
        elif isinstance(slot.value.op, Constant):
            array = slot.value.op.value.array
        elif slot.value.entry is not None:
            array = program.store[slot.value.entry].data.copy()
        else:
            array = places[slot.value]
        contents.append((slot, array))
    return Tape(exposure, program, inputs, backend).fill(contents)


def birth_of_nan(program: Program, inputs: Sequence[Array]) -> Birth | None:
    """Where the NaN or infinity in a program's results was born, by one run of the reference; None where there is none."""
    return birth(tape(program, inputs))


def _run(program: Program, inputs: Sequence[Array], backend: str, level: int) -> list[Array]:
    if backend == "reference":
        return reference(program, inputs)
    from ..backends.base import find_backend
    from ..passes.manager import run_pipeline

    chosen = find_backend(backend)
    result = run_pipeline(program, chosen.pipeline(level), verify=False)
    found: Any = chosen.compile(result.program)(*inputs)
    outputs = len(program.main.outputs)
    return [] if not outputs else [found] if outputs == 1 else list(found)
