"""Which products wait for weights from beyond the second cache.

A program reads its weights once a call. Where all of them together exceed the second cache, each comes from beyond it every time, and a
product of few rows does nothing but wait: its tiles fetch ahead what they read (784-512-512-10 on one row: 26 to 22 us). Where they
fit, they are there already, and fetching would only take their place in the loads (1 MB: 7.0 to 7.9 us). Within a loop weights stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import kernel_ir as k
from ..target import Target
from .memory import Launch, Step, memories_of

__all__ = ["afar"]

TIMES = 5 / 2
"""How many times the size that the target gives its second cache, which is half of what newer machines have."""


def afar(steps: Sequence[Step], target: Target) -> tuple[Step, ...]:
    """The steps of a program, its products of packed weights marked where these lie afar."""
    packed = {m for s in steps for m in memories_of(s) if m.kind == "prepared"}
    bytes_ = sum(m.size * m.dtype.bytes for m in packed if isinstance(m.size, int))
    if bytes_ <= TIMES * target.l2:
        return tuple(steps)
    return tuple(_marked(s) if isinstance(s, Launch) else s for s in steps)


def _marked(launch: Launch) -> Launch:
    body = tuple(
        replace(s, afar=True) if isinstance(s, k.Contract) and isinstance(s.b, k.Packed) else s
        for s in launch.kernel.body
    )
    if all(a is b for a, b in zip(body, launch.kernel.body, strict=True)):
        return launch
    return replace(launch, kernel=replace(launch.kernel, body=body))
