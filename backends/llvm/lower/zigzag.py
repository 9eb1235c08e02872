"""What a loop's products read again at each step, they read to and fro.

A matrix that stays, such as the weights of a recurrent layer, is read whole at each step. Where it is larger than a cache
and read in one direction, the cache drops each part shortly before it is read again. Read backwards at every other
step, what came last is still there: 1 MB beside a second cache of 1 MB comes at 215 GB/s instead of 140. The order
of blocks changes no bit; within a block, memory is read forward, as the machine's prefetch expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....ir.dims import Symbol, mod, symbol
from .. import kernel_ir as k
from ..target import Target
from .memory import Launch, Step, writes_of

__all__ = ["zigzag"]

ODD = "t.odd"
"""The symbol of a kernel that is 1 at every other step."""


def zigzag(steps: Sequence[Step], counter: Symbol, target: Target) -> tuple[Step, ...]:
    """A loop's steps, the blocks of products last first at odd steps where their panels stay and exceed the first cache."""
    written = {memory for s in steps for memory in writes_of(s)}
    now = symbol(counter.name, counter.lo, counter.hi)

    def step(s: Step) -> Step:
        if not isinstance(s, Launch):
            return s
        stays = {
            id(b)
            for b, m in zip(s.kernel.buffers, s.arguments, strict=True)
            if m.whole not in written and isinstance(m.size, int) and m.size * m.dtype.bytes > target.l1
        }
        body = tuple(_turned(x, stays) for x in s.kernel.body)
        if all(a is b for a, b in zip(body, s.kernel.body, strict=True)):
            return s
        return replace(s, kernel=replace(s.kernel, body=body), symbols={**s.symbols, ODD: mod(now, 2)})

    return tuple(map(step, steps))


def _turned(s: k.Stmt, stays: set[int]) -> k.Stmt:
    if isinstance(s, k.Contract) and isinstance(s.b, k.Packed) and id(s.b.buffer) in stays:
        return replace(s, back=symbol(ODD, 0, 1))
    return s
