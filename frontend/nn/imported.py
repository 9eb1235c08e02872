"""A program as a module: its store's entries are the parameters, so that it trains, freezes and is traced like any."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, cast

from ...ir.errors import InputError
from ...ir.graph import Value, rebuild
from ...ir.program import Program
from ...ir.store import Entry
from .. import parameter
from ..tensor import Tensor, as_tensor
from ..tracing import current
from .module import Module

__all__ = ["ProgramModule"]


class ProgramModule(Module):
    """The main graph of a program, called on tensors of its inputs' types.

    Args:
        program: without updates; it shares its store with the module

    Raises:
        InputError: the program updates its store, as a training step does
    """

    def __init__(self, program: Program) -> None:
        if program.main.updates:
            raise InputError(f"program {program.name} updates its store: it is no model but a step")
        if program.prepare is not None:
            raise InputError(
                f"program {program.name} was optimised: its weights are prepared from others",
                hint="use the program as it was traced",
            )
        self.inputs = tuple(v.type for v in program.main.inputs)
        self._program = program
        names = [v.name or f"arg{k}" for k, v in enumerate(program.main.inputs)]
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names]
        )

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield from self._program.store.items()

    def named_entries(self) -> Iterator[tuple[str, Entry]]:
        yield from self._program.store.items()

    def named_parameters(self) -> Iterator[tuple[str, parameter.Parameter]]:
        return ((n, cast(parameter.Parameter, e)) for n, e in self.named_entries() if e.kind == "param")

    def __call__(self, *inputs: Any) -> Any:
        graph = self._program.main
        given = [as_tensor(x).value for x in inputs]
        if [g.type for g in given] != [v.type for v in graph.inputs]:
            found, wanted = (
                ", ".join(str(g.type) for g in given),
                ", ".join(str(v.type) for v in graph.inputs),
            )
            raise InputError(f"program {self._program.name} takes ({wanted}), got ({found})")
        leaves: dict[Value, Value] = dict(zip(graph.inputs, given, strict=True))
        for read in graph.reads():
            leaves[read] = current().read(self._program.store[cast(str, read.entry)])
        made = rebuild(graph, lambda node, _: None, leaves)
        outputs = tuple(map(Tensor, made.outputs))
        return outputs[0] if len(outputs) == 1 else outputs
