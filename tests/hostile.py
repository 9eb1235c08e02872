"""A program whose every name tries to be something else."""

from __future__ import annotations

import random

import numpy as np

from nervure.ir import build as b
from nervure.ir.graph import Graph, Value
from nervure.ir.origin import Origin, origins_of
from nervure.ir.program import Program
from nervure.ir.store import Entry, Store
from nervure.ir.types import TensorType, f32

__all__ = ["NAMES", "hostile_names", "hostile_program"]

T = TensorType(f32, (2,))

NAMES = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<iframe src='javascript:alert(1)'>",
    "]]>--><!--<script>",
    "javascript:alert(1)//",
    "\u202egnp.exe\u2066",
    "nul\x00bell\x07esc\x1b[31m\nline\r\ntab\t",
    "\ud800lone\udfff\ufffe\uffff",
    "\u2028separator\u2029",
    '%n \\N \\" #quot; &amp;lt; {{x}} `${alert(1)}`',
    "<style>*{display:none}</style><base href=//evil.example/>",
    "<link rel=prefetch href=//evil.example/x><meta http-equiv=refresh content=0;//evil.example>",
    "url(//evil.example/x.png)",
    "__proto__",
    "constructor",
    "漢字" * 60,
    "a\u0300\u0301\u0302" * 60,
    "",
]


def hostile_names(count: int, seed: int = 1) -> list[str]:
    """So many different names, each made of hostile parts."""
    rng = random.Random(seed)
    return [f"{rng.choice(NAMES)}{k}{rng.choice(NAMES)}" for k in range(count)]


def hostile_program(count: int) -> Program:
    """A chain that does not fold, with a hostile name for the program, the graph, each value, store entry and user's file."""
    names = hostile_names(count)
    rng = random.Random(2)
    entries: dict[str, Entry] = {}
    x = Value(T, name=names[0])
    value = x
    for k, name in enumerate(names):
        with origins_of((Origin(name, k + 1),)):
            if rng.random() < 0.3:
                entries[name] = Entry(name, T, data=np.ones(2, np.float32))
                value = b.add(value, Value(T, entry=name))
            else:
                value = rng.choice((b.tanh, b.exp, b.sin))(value)
            value.name = name
    return Program(names[-1], [Graph(names[1], [x], [value])], Store(entries))
