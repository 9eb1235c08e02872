"""A fault in a folder: the program, its inputs, and one command that shows it again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..ir.errors import InputError, NervureError, VerifyError, reason_of
from ..runtime.cache import cache_folder

if TYPE_CHECKING:
    from ..ir.program import Program
    from ..ir.types import Array
    from ..passes.manager import Pipeline
    from .bisect import Verdict

__all__ = [
    "Reproducer",
    "load_reproducer",
    "note_death",
    "note_fault",
    "reduce_reproducer",
    "replay",
    "save_reproducer",
    "write_reproducer_on_failure",
]

LARGEST = 64 << 20
"""Bytes of weights that a reproducer of an internal error holds; of larger programs it has types alone."""

README = """# A fault of nervure

{what}

    {command}

shows it again.

- `program.nv`: the program before the passes{side}
- `inputs.npz`: its inputs by name
- `how.json`: the passes and the backend
"""


@dataclass(frozen=True)
class Reproducer:
    """What a folder holds.

    Args:
        program, inputs: the fault's
        passes:  the text of the passes, or empty for those of the backend
        backend: who runs it; empty where passes alone are wrong
        level:   of the backend's passes
        what:    what is wrong
    """

    program: Program
    inputs: list[Array]
    passes: str
    backend: str
    level: int
    what: str

    @property
    def pipeline(self) -> Pipeline:
        from ..backends.base import find_backend
        from ..passes.manager import Pipeline

        if self.passes or not self.backend:
            return Pipeline.parse(self.passes)
        return find_backend(self.backend).pipeline(self.level)


def save_reproducer(
    directory: Path,
    program: Program,
    inputs: Sequence[Array],
    *,
    pipeline: Pipeline | None = None,
    backend: str = "",
    level: int = 2,
    what: str = "",
    command: str = "",
    weights: bool = True,
) -> Path:
    """Write ``program.nv``, ``inputs.npz``, ``how.json`` and ``README.md`` to a folder, which is made.

    Args:
        pipeline: the passes; those of the backend if not given
        backend:  who runs it, where passes alone are right
        level:    of the backend's passes
        what:     what is wrong
        command:  shows it again; `nervure replay` if not given
        weights:  whether the content of the store is written

    Raises:
        InputError: a file cannot be written
    """
    from io import BytesIO

    import numpy as np

    from ..ir.text import print_program, save
    from ..ir.text.files import write_atomically

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {directory}: {reason_of(error, directory)}", code="NV0304") from error
    command = command or f"nervure replay {shlex.quote(str(directory))}"
    side_file = directory / "program.safetensors"
    side_file.unlink(missing_ok=True)
    if weights:
        save(program, directory / "program.nv")
    else:
        write_atomically(directory / "program.nv", print_program(program, digits=None).encode())
    side = " (weights in `program.safetensors`)" if side_file.exists() else ""
    arrays = {name: _plain(array) for name, array in zip(_input_names(program), inputs, strict=False)}
    buffer = BytesIO()
    cast(Any, np.savez)(buffer, **{f"input.{name}": array for name, array in arrays.items()})
    write_atomically(directory / "inputs.npz", buffer.getvalue())
    how = {
        "passes": "" if pipeline is None else str(pipeline),
        "backend": backend,
        "level": level,
        "what": what,
    }
    write_atomically(directory / "how.json", (json.dumps(how, indent=2) + "\n").encode())
    text = README.format(what=what or "A result is wrong.", command=command, side=side)
    write_atomically(directory / "README.md", text.encode())
    return directory


def load_reproducer(directory: Path) -> Reproducer:
    """Read what `save_reproducer` wrote; content that the store lacks is made up.

    Raises:
        InputError: a file is missing or damaged
    """
    import numpy as np

    from ..ir.text import load

    program = load(directory / "program.nv", init="random")
    try:
        how = cast(dict[str, Any], json.loads((directory / "how.json").read_text()))
        with cast(Any, np.load)(directory / "inputs.npz", allow_pickle=False) as file:
            found = {str(name): file[name] for name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{directory} is no reproducer: {error}") from error
    inputs = [
        _typed(found, name, value.type.dtype.numpy)
        for name, value in zip(_input_names(program), program.main.inputs, strict=True)
    ]
    return Reproducer(program, inputs, how["passes"], how["backend"], int(how["level"]), how["what"])


def replay(directory: Path) -> Verdict:
    """Bisect what is in a folder.

    Raises:
        InputError: a file is missing or damaged
    """
    from .bisect import bisect

    found = load_reproducer(directory)
    return bisect(found.program, found.pipeline, found.inputs, backend=found.backend or None)


@contextmanager
def write_reproducer_on_failure(
    program: Program,
    *,
    backend: str = "",
    level: int = 2,
    pipeline: Pipeline | None = None,
    inputs: Sequence[Array] | None = None,
) -> Generator[None]:
    """Where something fails inside that nervure holds to be impossible, write a reproducer and note the folder.

    The error goes on as it is; nothing that fails while writing hides it. The folder lies in the cache, or, without one,
    among temporary files. Errors of the user, missing packages, files and memory pass through.

    Args:
        inputs: of the run that failed; made up if not given
    """
    try:
        yield
    except Exception as error:
        _note(error, program, backend, level, pipeline, inputs)
        raise


def note_fault(program: Program, backend: str, level: int, error: Exception, inputs: Sequence[Array]) -> None:
    """The same for an error while an executable runs, on its inputs."""
    _note(error, program, backend, level, None, inputs)


def note_death(program: Program, backend: str, level: int, inputs: Sequence[Array], signal: str) -> Path:
    """The same for a process that was killed by a signal; the folder."""
    return _write(program, f"The process died of {signal}.", backend, level, None, inputs)


def _note(
    error: Exception,
    program: Program,
    backend: str,
    level: int,
    pipeline: Pipeline | None,
    inputs: Sequence[Array] | None,
) -> None:
    if _is_internal(error):
        with contextlib.suppress(Exception):
            first = str(error).splitlines()[0] if str(error) else ""
            what = f"{type(error).__name__}: {first}"
            folder = _write(program, what, backend, level, pipeline, inputs)
            error.add_note(f"a reproducer was written to {folder}; its README.md says how to replay it")


def _is_internal(error: Exception) -> bool:
    if isinstance(error, VerifyError):
        return error.message.startswith("after pass ")
    return not isinstance(error, (NervureError, ImportError, MemoryError, OSError))


def _write(
    program: Program,
    what: str,
    backend: str,
    level: int,
    pipeline: Pipeline | None,
    inputs: Sequence[Array] | None,
) -> Path:
    from ..ir.program import Program
    from ..ir.text import print_program

    size = sum(e.data.nbytes for e in program.store.values() if e.has_data)
    key = hashlib.sha256(f"{print_program(program, origins=False)}\n{what}\n{backend}".encode()).hexdigest()[
        :12
    ]
    name = re.sub(r"[^A-Za-z0-9_-]", "_", program.name or "main")[:40]
    folder = cache_folder()
    if folder is None:
        target = Path(tempfile.mkdtemp(prefix=f"nervure-{name}-"))
    else:
        target = folder / "reproducers" / f"{name}-{key}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = made_up_inputs(program) if inputs is None else inputs
    return save_reproducer(
        target,
        Program(name, program.graphs.values(), program.store),
        given,
        pipeline=pipeline,
        backend=backend,
        level=level,
        what=what,
        weights=size <= LARGEST,
    )


def made_up_inputs(program: Program) -> list[Array]:
    """An array an input, the same each time: symbols are 2 where they may be, indices within what is expected."""
    import numpy as np

    from ..backends.signatures import ranges_of
    from ..ir.dims import evaluate_dim

    env = {s.name: min(max(s.lo, 2), s.hi) for s in program.symbols}
    ranges = {place: (low, high) for place, low, high in ranges_of(program.main)}
    found: list[Array] = []
    for k, value in enumerate(program.main.inputs):
        rng = np.random.default_rng(k)
        shape, dtype = value.type.concrete(env), value.type.dtype
        if dtype.is_float:
            found.append(rng.standard_normal(shape).astype(dtype.numpy))
        else:
            low, high = ranges.get(k, (0, 2))
            found.append(rng.integers(low, evaluate_dim(high, env), size=shape).astype(dtype.numpy))
    return found


def _input_names(program: Program) -> list[str]:
    from ..ir.text.printer import value_names

    names = value_names(program.main)
    return [names[v].removeprefix("%") for v in program.main.inputs]


def _plain(array: Array) -> Array:
    """The array as numpy's files hold it: element types that numpy lacks, as their bits."""
    return array.view("u2") if array.dtype.kind == "V" or array.dtype.name == "bfloat16" else array


def _typed(found: Mapping[str, Any], name: str, dtype: Any) -> Array:
    array = found.get(f"input.{name}")
    if array is None:
        raise InputError(f"inputs.npz lacks the input {name}")
    return array if array.dtype == dtype else array.view(dtype)


def reduce_reproducer(folder: Path) -> Path:
    """Write the smallest program that shows the same fault to ``reduced`` within a reproducer's folder.

    Raises:
        InputError: the folder holds no reproducer, or the fault is there no more
    """
    from .reduce import reduce, same_blame

    found = load_reproducer(folder)
    check = same_blame(found.pipeline, found.backend or None)
    program, inputs = reduce(found.program, found.inputs, check)
    return save_reproducer(
        folder / "reduced",
        program,
        inputs,
        pipeline=found.pipeline if found.passes else None,
        backend=found.backend,
        level=found.level,
        what=found.what,
    )
