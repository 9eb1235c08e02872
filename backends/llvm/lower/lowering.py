"""From a graph to a list of kernel launches.

Each node becomes a kernel, with four exceptions: constants, iota and broadcasts are pulled into whoever reads them; a
reshape of something in memory is another view of it; and a `fuse` region becomes as few kernels as its shape allows,
a contraction or reduction with the elementwise nodes behind it being one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from ....ir.dims import Dim
from ....ir.errors import UnsupportedError
from ....ir.graph import Graph, Node, Value
from ....ir.ops.constant import Constant
from ....ir.ops.control import Fuse
from ....ir.origin import Origins
from ....passes.fuse_groups import is_wide
from .. import kernel_ir as k
from ..layout import Halo, Layout
from ..target import Target
from .blocked import blocked_map, blocked_memory, unblock
from .describe import described
from .joining import VIEWS, joined, places
from .map_loops import map_kernel
from .memory import KernelScope, Launch, Memory, Step, Tail
from .pooling import pooled
from .pull import MAPS, Pull
from .several import one_kernel
from .tails import tail_root

__all__ = ["VIEWS", "Barrier", "Lowering", "Tail"]

VIRTUAL = frozenset(("constant", "iota", "broadcast_in_dim"))
"""Ops that are cheaper to compute again at each reader than to keep."""

Barrier = Callable[["Lowering", Node, Sequence[Tail]], None]
"""Writes the kernels of a node that is no map, one tail a result (only the first may be another value)."""


class Lowering:
    """The state of lowering one graph.

    Args:
        barriers: how nodes that are no maps are lowered, by mnemonic
        tailed:   those of them that take elementwise nodes behind them into their kernel
        blocked:  those whose kernel can write blocks of channels
        prefix:   begins each kernel's name
        entries:  the memory of each store entry
        fixed:    those that the program does not change: what is made of them alone is made once, by `prepare`
        target:   the machine
        layouts:  of the values that are kept in blocks of channels
        pulled:   movements of such values that their readers compute
        rims:     of a copy in blocks of some size, wide enough for all readers
        origins:  of the node that is lowered: of what is copied for it too
    """

    def __init__(
        self,
        barriers: dict[str, Barrier],
        tailed: frozenset[str],
        blocked: frozenset[str],
        prefix: str,
        entries: dict[str, Memory],
        fixed: frozenset[str],
        target: Target,
        layouts: Mapping[Value, Layout] = MappingProxyType({}),
        pulled: Collection[Value] = (),
        rims: Mapping[tuple[Value, int], Halo] = MappingProxyType({}),
    ) -> None:
        self.barriers = barriers
        self.tailed = tailed
        self.blocked = blocked
        self.prefix = prefix
        self.entries = entries
        self.fixed = fixed
        self.target = target
        self.steps: list[Step] = []
        self.made = 0
        self.layouts = layouts
        self.pulled = pulled
        self.rims = rims
        self.copies: dict[tuple[Value, Layout | None], Memory] = {}
        self.prepared: list[Launch] = []
        self.memory: dict[Value, Memory] = {}
        self.alias: dict[Value, Value] = {}
        self.wanted: dict[Value, Memory] = {}
        self.uses: dict[Value, int] = {}
        self.order: dict[Node, int] = {}
        self.storing: tuple[Value, ...] = ()
        self.constants: dict[str, Memory] = {}
        self.origins: Origins = ()
        self.loops: list[tuple[list[Step], frozenset[Memory]]] = []
        self.also: dict[Value, list[Memory]] = {}
        self.copied: set[tuple[Value, Memory]] = set()

    def resolve(self, value: Value) -> Value:
        """The value that stands for a region's input or a fused node's result."""
        while value in self.alias:
            value = self.alias[value]
        return value

    def memory_of(self, value: Value) -> Memory | None:
        """A value's memory, or None where it is pulled."""
        value = self.resolve(value)
        if value.entry is not None:
            return self.entries[value.entry]
        found = self.memory.get(value)
        if found is None and value.node is not None:
            op = value.node.op
            if isinstance(op, Constant) and op.value.array.size != 1:
                literal = op.value
                found = self.constants.get(literal.digest)
                if found is None:
                    found = Memory(
                        "constant",
                        literal.type.dtype,
                        literal.array.size,
                        name=literal.digest,
                        data=literal.array,
                    )
                    self.constants[literal.digest] = found
                self.memory[value] = found
            elif op.mnemonic in VIEWS and value not in self.pulled and value not in self.layouts:
                found = self.memory_of(value.node.operands[0])
                if found is not None and found.layout is not None and op.mnemonic == "reshape":
                    found = self.plain(value.node.operands[0])
                if found is not None:
                    self.memory[value] = found
        return found

    def new_memory(self, value: Value, blocked: bool = True) -> Memory:
        """The memory that a value is to be computed into: the caller's output, or a piece of the arena."""
        found = self.wanted.get(value)
        if found is not None:
            return found
        layout = self.layouts.get(value)
        if layout is not None and blocked:
            return blocked_memory(value, layout)
        return Memory("arena", value.type.dtype, value.type.size)

    def plain(self, value: Value) -> Memory | None:
        """A value's memory as its type says; a copy of it, made here, where it lies in blocks of channels."""
        memory = self.memory_of(value)
        if memory is None or memory.layout is None:
            return memory
        value = self.resolve(value)
        found = self.copies.get((value, None))
        if found is None:
            found = self.copies[value, None] = Memory("arena", value.type.dtype, value.type.size)
            unblock(self, value, memory, found)
        return found

    def pull(self, scope: KernelScope, blocked: bool = False) -> Pull:
        """A reader of values for one kernel, which reads blocks of channels well or wants them as the types say."""

        def memory_of(value: Value) -> Memory | None:
            return self.memory_of(value) if blocked else self.plain(value)

        def buffer(value: Value, shape: Sequence[Dim]) -> k.Buffer | None:
            memory = memory_of(value)
            return None if memory is None else scope.view(memory, shape)

        def layout(value: Value) -> Layout | None:
            memory = memory_of(value)
            return None if memory is None else memory.layout

        return Pull(self.resolve, buffer, layout, scope.computed)

    def launch(
        self,
        scope: KernelScope,
        kind: str,
        body: Sequence[k.Stmt],
        origins: Origins,
        scratch: Sequence[k.Buffer] = (),
        steps: list[Step] | None = None,
    ) -> None:
        """Add the kernel that a scope and a body make, here or to steps around."""
        inner = [v for v in scope.computed if v.node and v.node.op.mnemonic not in VIRTUAL | VIEWS]
        does, saved = described(inner, self.storing, self.order)
        name = f"{self.prefix}{self.number()}_{kind}"
        made = scope.launch(name, body, origins or self.origins, scratch, does or kind, saved)
        (self.steps if steps is None else steps).append(made)

    def number(self) -> int:
        """A number that nothing else of this graph has."""
        self.made += 1
        return self.made - 1

    @contextmanager
    def inside(self, repeats: bool = False) -> Generator[list[Step]]:
        """Collect the steps of a region: memory that values get inside is not known after it, as it may not run.

        Args:
            repeats: whether it runs many times
        """
        kept = self.steps, dict(self.memory), dict(self.alias), dict(self.wanted), dict(self.copies)
        twice = dict(self.also), set(self.copied)
        if repeats:
            self.loops.append((self.steps, frozenset(self.memory.values())))
        self.steps = []
        try:
            yield self.steps
        finally:
            self.steps, self.memory, self.alias, self.wanted, self.copies = kept
            self.also, self.copied = twice
            if repeats:
                self.loops.pop()

    def outside(self, memory: Memory) -> list[Step] | None:
        """The steps before the outermost loop around that does not change the memory; None where each does."""
        if memory.base is not None:
            return None
        lasting = memory.kind in ("store", "input", "constant")
        return next((steps for steps, known in self.loops if lasting or memory in known), None)

    def held(self, value: Value) -> Memory:
        """A value's memory, computed now where it has none."""
        self.materialise(value)
        found = self.plain(value)
        assert found is not None, value
        return found

    def prepare(self, scope: KernelScope, kind: str, body: Sequence[k.Stmt], origins: Origins) -> None:
        """Add a kernel that runs when weights changed, not at each call."""
        name = f"{self.prefix}p{len(self.prepared)}_{kind}"
        self.prepared.append(scope.launch(name, body, origins))

    def packing(self, scope: KernelScope, fixed: bool, body: Sequence[k.Stmt], origins: Origins) -> None:
        """Add a kernel that lays weights out: once, where they are fixed, else here at each call."""
        (self.prepare if fixed else self.launch)(scope, "pack", body, origins)

    def is_fixed(self, memory: Memory) -> bool:
        """Whether the memory's content changes only when weights do; a part moves with a loop's steps."""
        if memory.base is not None:
            return False
        return memory.kind == "constant" or (memory.kind == "store" and memory.name in self.fixed)

    # graphs
    def lower(self, graph: Graph) -> None:
        """Add the launches of every node; see `outputs` for what follows."""
        self.count_uses(graph)
        wide = {node: found for node in graph.nodes if is_wide(node) and (found := places(self, node))}
        for node in graph.nodes:
            self.origins = node.origins
            if isinstance(node.op, Fuse):
                self.fused(node)
            elif node in wide:
                joined(self, node, wide[node])
            elif node.op.mnemonic not in VIRTUAL and node.results[0] not in self.pulled:
                for result in node.results:
                    self.materialise(result)

    def count_uses(self, graph: Graph) -> None:
        for node in graph.nodes:
            self.order[node] = len(self.order)
        for value, users in graph.uses().items():
            self.uses[value] = len(users)

    def fused(self, node: Node) -> None:
        """A region: its inputs stand for the operands, its outputs are what must get memory."""
        (body,) = node.regions
        self.count_uses(body)
        for inner, outer in zip(body.inputs, node.operands, strict=True):
            self.alias[inner] = outer
        for result, output in zip(node.results, body.outputs, strict=True):
            if result in self.wanted:
                self.wanted[output] = self.wanted[result]
        one_kernel(self, node, body)
        for result, output in zip(node.results, body.outputs, strict=True):
            self.materialise(output)
            memory = self.memory_of(output)
            assert memory is not None
            self.memory[result] = memory
        for inner in (*body.inputs, *(r for n in body.nodes for r in n.results)):
            self.alias.pop(inner, None)
            self.memory.pop(inner, None)
            self.wanted.pop(inner, None)

    def materialise(self, value: Value) -> None:
        """Give a value memory, by a kernel that computes it, after the kernels of what it needs."""
        stack = [value]
        while stack:
            current = self.resolve(stack[-1])
            if self.memory_of(current) is not None:
                stack.pop()
                continue
            node = current.node
            assert node is not None, f"{current!r} has no memory"
            root = tail_root(self, current)
            tip = current
            if root is None and (pool := pooled(self, current)) is not None:
                root, tip = pool
            base = node if root is None else root
            missing = self.missing(tip, root)
            if missing:
                stack += missing
                continue
            stack.pop()
            if root is None and node.op.mnemonic in MAPS:
                self.map_kernel(current)
            else:
                self.barrier(base, current, tip)

    def missing(self, value: Value, root: Node | None) -> list[Value]:
        """What must be in memory before a kernel for the value: a barrier's operands that would meet another barrier,
        and the barrier results that a map would."""
        assert value.node is not None
        barrier = root if root is not None else None if value.node.op.mnemonic in MAPS else value.node
        found: dict[Value, None] = {}
        if barrier is not None:
            found.update((o, None) for o in map(self.resolve, barrier.operands) if self.has_barrier(o))
        if value.node is not barrier:
            found.update((v, None) for v in self.barriers_under(value) if v.node is not barrier)
        return list(found)

    def barriers_under(self, value: Value) -> list[Value]:
        """The barrier results without memory that pulling the value would meet."""
        found: dict[Value, None] = {}
        stack, seen = [value], {value}
        while stack:
            current = stack.pop()
            if current.node is None or self.memory_of(current) is not None:
                continue
            if current.node.op.mnemonic not in MAPS:
                found[current] = None
                continue
            for operand in map(self.resolve, current.node.operands):
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return list(found)

    def has_barrier(self, value: Value) -> bool:
        """Whether pulling the value would meet a barrier that has no memory yet."""
        return bool(self.barriers_under(value))

    def barrier(self, node: Node, value: Value, tip: Value) -> None:
        """The kernels of a barrier node; `value` is its result, the end of its tail, or a pool of the tail's end `tip`."""
        lowering = self.barriers.get(node.op.mnemonic)
        if lowering is None:
            raise UnsupportedError(
                f"llvm: no kernel for {node.op.mnemonic}", where=[str(o) for o in node.origins]
            )
        targets = [value] if value.node is not node else list(node.results)
        blocked = node.op.mnemonic in self.blocked
        tails = [Tail(target, self.new_memory(target, blocked)) for target in targets]
        if tip is not value:
            tails = [Tail(tip, tails[0].memory, pool=value)]
        self.storing = tuple(targets)
        lowering(self, node, tails)
        for tail in tails:
            self.memory[tail.stored] = tail.memory

    # maps
    def map_kernel(self, value: Value, memory: Memory | None = None, source: Value | None = None) -> None:
        """Compute a map elementwise into its memory; or copy `source` into given memory."""
        target = self.new_memory(value) if memory is None else memory
        read = value if source is None else source
        self.storing = (read,)
        if target.layout is not None:
            blocked_map(self, value, target)
        else:
            origins = value.node.origins if value.node is not None else ()
            while (
                read.node is not None and read.node.op.mnemonic == "reshape" and self.memory_of(read) is None
            ):
                read = self.resolve(read.node.operands[0])  # whose loops have no index to take apart
            map_kernel(self, read, target, origins)
        if memory is None or target.layout is not None:
            self.memory[value] = target
