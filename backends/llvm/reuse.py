"""Memory reused in place: the result of a kernel takes the memory of an operand that dies with it.

That holds where the kernel reads the operand at the very elements that it writes, each before it is written: the
operand's loads stand at the address of the result's one store, in the same turn of all loops around it, and none behind it.
In which order the turns run, and on which thread, changes nothing then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...ir.dims import Dim
from .extents import known
from .kernel_expr import Binary, Const, Expr, Size
from .kernel_ir import Buffer, Contract, For, If, Kernel, Let, Load, LoopDim, Reduce, Stmt, Store, Var
from .program import Arg, Launch, Memory, Step, arena_uses, with_args
from .walk import all_exprs, expr_children, stmts

__all__ = ["in_place", "reused"]


def reused(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with results in the memory of operands, where that is right."""
    spans = {id(memory): (first, last) for memory, first, last in arena_uses(steps)}
    taken: dict[int, Memory] = {}

    def now(memory: Memory) -> Memory:
        return taken.get(id(memory), memory)

    for n, step in enumerate(steps):
        if not isinstance(step, Launch):
            continue
        memories = [now(arg.memory) for arg in step.args]
        for t, target in enumerate(step.args):
            if spans.get(id(target.memory), (-1, 0))[0] != n or not _alone(step, memories, t):
                continue
            for s, source in enumerate(memories):
                if (
                    s != t
                    and spans.get(id(source), (0, -1))[1] == n
                    and spans[id(source)][0] < n
                    and source.nbytes == target.memory.nbytes
                    and _alone(step, memories, s)
                    and in_place(step.kernel, step.kernel.buffers[t], step.kernel.buffers[s])
                ):
                    taken[id(target.memory)] = source
                    spans[id(source)] = (spans[id(source)][0], spans[id(target.memory)][1])
                    memories[t] = source
                    break

    def moved(arg: Arg) -> Arg:
        return Arg(now(arg.memory), arg.offset)

    return tuple(with_args(s, moved) for s in steps) if taken else tuple(steps)


def _alone(step: Launch, memories: Sequence[Memory], at: int) -> bool:
    """Whether one argument is the memory, from its begin, and no other one is."""
    offset = step.args[at].offset
    return isinstance(offset, int) and offset == 0 and sum(m is memories[at] for m in memories) == 1


def in_place(kernel: Kernel, target: Buffer, source: Buffer) -> bool:
    """Whether both may be the same memory, the target being written and the source read."""
    if target.dtype.bytes != source.dtype.bytes:
        return False
    both = (target, source)
    loads = [e for e in all_exprs(kernel.body) if isinstance(e, Load) and e.buffer in both]
    writes = [s for s in stmts(kernel.body) if isinstance(s, Store) and s.buffer in both]
    if len(writes) != 1 or writes[0].buffer is not target or writes[0].combine is not None:
        return False
    (write,) = writes
    if not loads or any(e.buffer is target for e in loads):
        return False
    place = _place(target, write.index)
    if any(_place(source, e.index) != place for e in loads):
        return False
    path = _path(kernel.body, write)
    if path is None or not _each_once(kernel, path, write):
        return False
    behind = [s for block, at in path for s in block[at + 1 :]]
    return not any(isinstance(e, Load) and e.buffer is source for e in all_exprs(behind))


def _path(body: Sequence[Stmt], found: Stmt) -> list[tuple[Sequence[Stmt], int]] | None:
    """The blocks around a statement, outermost first, each with the position of what leads to it."""
    for n, s in enumerate(body):
        if s is found:
            return [(body, n)]
        for inner in _blocks(s):
            path = _path(inner, found)
            if path is not None:
                return [(body, n), *path]
    return None


def _blocks(s: Stmt) -> tuple[Sequence[Stmt], ...]:
    match s:
        case For() | Reduce():
            return (s.body,)
        case If():
            return (s.then, s.otherwise)
        case Contract():
            return (s.epilogue,)
        case _:
            return ()


def _each_once(kernel: Kernel, path: Sequence[tuple[Sequence[Stmt], int]], write: Store) -> bool:
    """Whether the address names the turn of every loop around the store, and each of its names is bound once."""
    bound = list(_bound(kernel.body))
    values = {s.var: s.value for s in stmts(kernel.body) if isinstance(s, Let)}
    used: set[Var] = set()
    stack: list[Expr] = list(write.index)
    while stack:
        e = stack.pop()
        if isinstance(e, Var) and e not in used:
            used.add(e)
            if e in values:
                stack.append(values[e])
        elif not isinstance(e, Var):
            stack += expr_children(e)
    if any(bound.count(var) != 1 for var in used):
        return False
    for block, at in path:
        s = block[at]
        if isinstance(s, Reduce):
            return False
        dims = (LoopDim(s.var, s.extent),) if isinstance(s, For) else ()
        if isinstance(s, Contract):
            dims = (*s.batch, *s.m, s.n)
        if any(d.var not in used and known(d.extent) != 1 for d in dims):
            return False
    return True


def _bound(body: Iterable[Stmt]) -> Iterator[Var]:
    for s in stmts(body):
        match s:
            case Let():
                yield s.var
            case For():
                yield from (s.var, *(c.var for c in s.carries))
            case Reduce():
                yield from (*(d.var for d in s.dims), *s.results)
            case Contract():
                yield from (*(d.var for d in (*s.batch, *s.m, s.n, *s.k)), s.acc)
            case _:
                pass


def _place(buffer: Buffer, index: Sequence[Expr]) -> dict[object, Dim]:
    """The address in elements as a sum: factors by the names that they multiply, 1 for what is constant."""
    total: dict[object, Dim] = {}

    def add(e: Expr, factor: Dim) -> None:
        match e:
            case Const():
                put(1, factor * int(e.value))
            case Size():
                put(1, factor * e.dim)
            case Binary(op="add"):
                add(e.a, factor)
                add(e.b, factor)
            case Binary(op="sub"):
                add(e.a, factor)
                add(e.b, factor * -1)
            case Binary(op="mul", a=other, b=Const(value=number)):
                add(other, factor * int(number))
            case Binary(op="mul", a=other, b=Size(dim=dim)):
                add(other, factor * dim)
            case _:
                put(_name(e), factor)

    def put(name: object, factor: Dim) -> None:
        total[name] = total.get(name, 0) + factor

    for e, step in zip(index, buffer.steps, strict=True):
        add(e, step)
    return {name: factor for name, factor in total.items() if factor != 0}


def _name(e: Expr) -> object:
    """An expression as a value that equals that of any other expression of the same form."""
    match e:
        case Var():
            return e
        case Const():
            return ("const", e.value, e.dtype)
        case Size():
            return ("size", e.dim)
        case Binary():
            return (e.op, _name(e.a), _name(e.b))
        case _:
            return ("one", id(e))
