"""A backend from outside: programs as instructions for a stack machine of numpy arrays.

It knows core ops only: composites are decomposed for it and scans unrolled, because `supports` says so.

    push 3      the content of register 3
    call add    its operands from the stack, its results onto it
    pop 4       into register 4, and none is kept longer than it is used
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nervure.backends.signatures import signature_of
from nervure.ir.graph import Graph, Node, Value
from nervure.ir.op import Level, Op
from nervure.ir.program import Program
from nervure.ir.types import Array, DType, TensorType
from nervure.passes.manager import Pipeline
from nervure.runtime.executable import Executable, check_device

Instruction = tuple[str, Any]


def assemble(graph: Graph) -> tuple[list[Instruction], dict[Value, int]]:
    """The instructions of a graph, which leave its roots in registers, and every value's register."""
    registers: dict[Value, int] = {}
    code: list[Instruction] = []
    for value in (*graph.inputs, *graph.reads(), *graph.roots):
        registers.setdefault(value, len(registers))
    for node in graph.nodes:
        code += [("push", registers[operand]) for operand in node.operands]
        code.append(("call", node))
        for result in reversed(node.results):
            code.append(("pop", registers.setdefault(result, len(registers))))
    return code, registers


class StackExecutable(Executable):
    """Runs the instructions. It makes nothing of weights, so it never has to prepare anything again."""

    def __init__(self, program: Program) -> None:
        super().__init__(program.name, signature_of(program), program.store, "stack")
        self.graph = program.main
        self.entries = program.store
        self.code, self.registers = assemble(self.graph)
        self.calls = 0

    def execute(self, inputs: Sequence[Array], env: dict[str, int], outputs: Sequence[Array]) -> None:
        memory: dict[int, Array] = {}
        for value, array in zip(self.graph.inputs, inputs, strict=True):
            memory[self.registers[value]] = array
        with self.entries.ledger.lock:
            for value in self.graph.reads():
                memory[self.registers[value]] = self.entries[str(value.entry)].data
            self.run(memory, env)
            for value, out in zip(self.graph.outputs, outputs, strict=True):
                out[...] = memory[self.registers[value]]
            self.entries.assign({name: memory[self.registers[v]] for name, v in self.graph.updates})

    def run(self, memory: dict[int, Array], env: dict[str, int]) -> None:
        stack: list[Array] = []
        for kind, what in self.code:
            if kind == "push":
                stack.append(memory[what])
            elif kind == "pop":
                memory[what] = stack.pop()
            else:
                stack += self.call(what, [stack.pop() for _ in what.operands][::-1], env)
        assert not stack

    def call(self, node: Node, operands: list[Array], env: dict[str, int]) -> tuple[Array, ...]:
        self.calls += 1
        types = tuple(TensorType(r.type.dtype, r.type.concrete(env)) for r in node.results)
        found = node.op.evaluate(*operands, types=types, env=env)
        return found if isinstance(found, tuple) else (found,)


class StackBackend:
    """What the entry point names."""

    name = "stack"

    def supports(self, op: Op, dtypes: tuple[DType, ...]) -> str | None:
        return None if op.level is Level.CORE else "the stack machine has core ops only"

    def pipeline(self, level: int) -> Pipeline:
        return Pipeline.parse(
            "legalize{backend=stack},canonicalize,cse,dce" if level else "legalize{backend=stack}"
        )

    def compile(self, program: Program, *, device: str = "cpu", **options: Any) -> Executable:
        check_device(device, ["cpu"], self.name)
        return StackExecutable(program)
