"""The call: an executable checks its inputs, binds the symbols, runs, and returns fresh arrays or fills `out`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Protocol, cast

import numpy as np

from ..ir.errors import InputError, NervureError
from ..ir.types import Array, TensorType
from .signature import Signature

__all__ = ["Executable", "RawCall", "StoreEntry"]


class StoreEntry(Protocol):
    """What the runtime needs of a store's entry."""

    @property
    def data(self) -> Array: ...
    @property
    def type(self) -> TensorType: ...
    def assign(self, value: Any) -> None: ...
    @property
    def ledger(self) -> Any: ...


class Executable:
    """A compiled program.

    Shareable between threads. Inputs are never written; store entries change only where the program's main graph
    updates them. A subclass implements `execute`.

    Args:
        name:      the program's
        signature: of the main graph
        store:     the entries that the program reads and updates, by reference
        backend:   the name of the backend that made it

    Attributes:
        program: what was compiled, after the passes
        max_memory: bytes that the results of a call may take; None for no limit
        on_fault: told of an error while it runs, with the inputs
    """

    program: Any = None
    max_memory: int | None = None
    on_fault: Callable[[Exception, Sequence[Array]], None] | None = None
    _notes: tuple[str, ...] = ()

    def __init__(
        self, name: str, signature: Signature, store: Mapping[str, StoreEntry], backend: str
    ) -> None:
        self.name = name
        self.signature = signature
        self.store = store
        self.backend = backend

    @property
    def notes(self) -> tuple[str, ...]:
        """What the passes had to say."""
        return self._notes

    @property
    def kernels(self) -> tuple[Any, ...]:
        """The kernels it runs, each printable; none on backends without kernels."""
        return ()

    def describe(self, program: Any, notes: tuple[str, ...]) -> None:
        """Say what was compiled, after the passes, and what they had to say."""
        self.program, self._notes = program, notes

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        """Run on checked inputs, filling the outputs, C-contiguous arrays of the result types."""
        raise NotImplementedError

    def __call__(self, *inputs: Any, out: Any = None) -> Any:
        """Run the program.

        Args:
            inputs: one a graph input: arrays, or anything of DLPack
            out:    an array, or a tuple of them, to write results to instead of new ones

        Returns:
            the result; a tuple where the graph has several, None where it has none

        Raises:
            InputError: inputs or out do not fit the signature
        """
        arrays = self.signature.check(inputs)
        env = self.signature.bind([a.shape for a in arrays])
        results = self._outputs(env, out, arrays)
        try:
            self.execute(arrays, env, results)
        except Exception as error:
            if self.on_fault is not None:
                self.on_fault(error, arrays)
            raise
        if out is not None:
            return out
        return results[0] if len(results) == 1 else tuple(results) if results else None

    def _fresh(self, wanted: Sequence[tuple[str, TensorType, tuple[int, ...]]]) -> list[Array]:
        """New arrays for the results, refused before one is made."""
        sizes = {name: prod(shape) * t.dtype.bytes for name, t, shape in wanted}
        if self.max_memory is not None and sum(sizes.values()) > self.max_memory:
            name = max(sizes, key=lambda n: sizes[n])
            raise InputError(
                f"the results need {sum(sizes.values())} bytes, max_memory is {self.max_memory}",
                details=[f"{name}: {sizes[name]} bytes"],
                code="NV0605",
            )
        try:
            return [self.empty(shape, t.dtype.numpy) for _, t, shape in wanted]
        except MemoryError as error:
            raise InputError(f"no memory for the results: {error}", code="NV0605") from error

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A new array for a result."""
        return np.empty(shape, dtype)

    def _outputs(self, env: dict[str, int], out: Any, inputs: Sequence[Array]) -> list[Array]:
        wanted = [(name, t, t.concrete(env)) for name, t in self.signature.outputs]
        if out is None:
            return self._fresh(wanted)
        given = list(cast(Sequence[Any], out)) if isinstance(out, (tuple, list)) else [out]
        if len(given) != len(wanted):
            raise InputError(f"out has {len(given)} arrays, expected {len(wanted)}")
        for place, ((name, t, shape), array) in enumerate(zip(wanted, given, strict=True)):
            _check_output(name, t, shape, array, inputs)
            if any(np.may_share_memory(array, other) for other in given[:place]):
                raise InputError(f"out for {name} overlaps another output")
        return given

    def raw(self, *inputs: Any, out: Any = None) -> RawCall:
        """A call on memory that is checked now and never again: fill the inputs, call it, read the outputs.

        Args:
            inputs: one a graph input: C-contiguous arrays of its type, or anything of DLPack that is
            out:    an array, or a tuple of them, for the results; new ones where None

        Raises:
            InputError: inputs or out do not fit the signature, or could not be read where they lie
        """
        arrays = self.signature.check(inputs, copies=False)
        env = self.signature.bind([a.shape for a in arrays])
        return self._raw_call(arrays, env, self._outputs(env, out, arrays))

    def _raw_call(self, inputs: list[Array], env: dict[str, int], outputs: list[Array]) -> RawCall:
        return RawCall(self, inputs, env, outputs)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every entry of the store: parameters, optimiser state, counters, rng keys."""
        return {name: entry.data.copy() for name, entry in self.store.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write entries back; nothing is written where a name or type does not fit.

        Raises:
            InputError: missing or unknown names, or arrays of another type
        """
        missing, unknown = set(self.store) - set(state), set(state) - set(self.store)
        if missing or unknown:
            raise InputError(
                "state_dict does not fit the store",
                details=[
                    f"missing: {', '.join(sorted(missing)) or '-'}",
                    f"unknown: {', '.join(sorted(unknown)) or '-'}",
                ],
            )
        arrays = {name: np.asarray(value) for name, value in state.items()}
        for name, array in arrays.items():
            want = self.store[name].type
            if array.shape != want.static_shape() or array.dtype != want.dtype.numpy:
                raise InputError(
                    f"state_dict entry {name} is {array.dtype}{list(array.shape)}, expected {want}"
                )
        for name, array in arrays.items():
            self.store[name].assign(array)

    def __repr__(self) -> str:
        return f"<executable {self.name}{self.signature} on {self.backend}>"


class RawCall:
    """A call of an executable on arrays that were checked once: `call()` runs it again on what they hold now.

    The range of integers (labels) is checked only once too.

    Attributes:
        inputs, outputs: the arrays, in order; change their content, not their memory
    """

    def __init__(
        self, executable: Executable, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]
    ) -> None:
        self.executable = executable
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._env = env

    def __call__(self) -> None:
        """Run on what the inputs hold now, into the outputs."""
        self.executable.execute(self.inputs, self._env, self.outputs)

    def __repr__(self) -> str:
        return f"<raw call of {self.executable.name}>"


def check_device(device: str, known: Sequence[str], backend: str) -> None:
    """Refuse a device that the backend does not know."""
    if device not in known:
        raise NervureError(
            f"backend {backend} has no device {device}", hint=f"it has {', '.join(known)}", code="NV0502"
        )


def _check_output(
    name: str, t: TensorType, shape: tuple[int, ...], array: Any, inputs: Sequence[Array]
) -> None:
    """Refuse an output array that is not writable, dense, of the result's type, and apart from the inputs."""
    if type(array) is not np.ndarray or array.shape != shape or array.dtype != t.dtype.numpy:
        raise InputError(f"out for {name} does not fit {t} = {list(shape)}")
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise InputError(f"out for {name} is not a writable C-contiguous array")
    if any(np.may_share_memory(array, x) for x in inputs):
        raise InputError(f"out for {name} overlaps an input")
