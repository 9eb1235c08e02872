"""Results in the memory of operands: which kernels allow it, and programs whose plan does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.backends.llvm import reuse
from nervure.backends.llvm.kernel_ir import Buffer, Contract, For, Kernel, Let, LoopDim, Stmt, Var
from nervure.backends.llvm.places import fixed_offsets
from nervure.backends.llvm.program import arena_uses
from nervure.frontend import functional as F
from nervure.inspect.plan import plan_text
from nervure.ir.types import f32, f64

X, Y, Z = (Buffer(name, f32, (6, 8)) for name in "xyz")
FLAT = Buffer("flat", f32, (48,))
R, C, P = Var("i"), Var("j"), Var("p")


def loops(*body: Stmt, inner: str = "vector") -> tuple[Stmt, ...]:
    return (For(R, 6, (For(C, 8, body, inner),), "parallel"),)  # type: ignore[arg-type]


def kernel(*body: Stmt) -> Kernel:
    return Kernel("k", (X, Y, Z, FLAT), tuple(body))


FITS = {
    "an elementwise loop": loops(Y.store((R, C), X[R, C] + 1.0)),
    "the same address, otherwise written": loops(Y.store((R, C), FLAT[R * 8 + C] + X[R, C])),
    "a binding before": loops(Let(v := Var("v", f32), X[R, C]), Y.store((R, C), v * v)),
    "a row that a loop around names": (
        For(R, 6, (Let(P, R), For(C, 8, (Y.store((P, C), X[P, C] * 2.0),), "vector"))),
    ),
    "the rest of an epilogue": (
        Contract(
            (LoopDim(R, 6),), LoopDim(C, 8), (LoopDim(P, 8),), Z[R, P], Z[P, C], a := Var("acc", f32),
            (Y.store((R, C), a + X[R, C]),),
        ),
    ),
}  # fmt: skip
MISFITS = {
    "another element": loops(Y.store((R, C), X[R, C] + X[R, 7 - C])),
    "a row that others still read": loops(Y.store((R, C), X[R, 0] + X[R, C])),
    "a load behind the store": loops(Y.store((R, C), X[R, C]), Z.store((R, C), X[R, C])),
    "two stores": (*loops(Y.store((R, C), X[R, C])), For(P, 8, (Y.store((0, P), X[0, P]),))),
    "several turns for one element": (For(P, 3, loops(Y.store((R, C), X[R, C] + 1.0))),),
    "a store that adds": loops(Y.store((R, C), X[R, C], combine="add"), inner="serial"),
    "a result that is read": loops(Y.store((R, C), X[R, C] + Y[R, C])),
    "an operand of the product": (
        Contract(
            (LoopDim(R, 6),), LoopDim(C, 8), (LoopDim(P, 8),), X[R, P], Z[P, C], b := Var("acc", f32),
            (Y.store((R, C), b + X[R, C]),),
        ),
    ),
    "no operand at all": loops(Y.store((R, C), Z[R, C])),
    "a name bound twice": (
        Let(P, R * 0), *loops(Let(P, C), Y.store((R, P), X[R, P])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_a_kernel_that_may_write_over_its_operand(name: str, compiled: Any) -> None:
    k = kernel(*FITS[name])
    assert reuse.in_place(k, Y, X)
    run = compiled(k)
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal((6, 8)).astype("f4") for _ in range(2))
    square = np.zeros((8, 8), "f4")
    square[:6] = z
    y, flat = np.zeros((6, 8), "f4"), x.reshape(-1).copy()
    run(x, y, square, flat)
    run(x, x, square, flat)
    assert (x == y).all()


@pytest.mark.parametrize("name", MISFITS)
def test_a_kernel_that_may_not(name: str) -> None:
    assert not reuse.in_place(kernel(*MISFITS[name]), Y, X)


def test_elements_of_another_size_do_not_fit() -> None:
    wide = Buffer("w", f64, (6, 8))
    body = loops(wide.store((R, C), X[R, C].cast(f64)))
    assert not reuse.in_place(Kernel("k", (X, wide), body), wide, X)


class Residual(nn.Module):
    """x + f(x), several times."""

    def __init__(self) -> None:
        self.layers = [nn.Linear(64, 64) for _ in range(8)]

    def __call__(self, x: Any) -> Any:
        for n in range(0, 8, 2):
            x = x + self.layers[n + 1](F.relu(self.layers[n](x)))
        return x


@pytest.mark.parametrize("batch", ["32", "B"])
def test_a_residual_stream_stays_where_it_is(batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nv.seed(1)
    model = Residual()
    x = np.random.default_rng(0).standard_normal((32, 64)).astype("f4")
    run: Any = nv.compile(model, f"f32[{batch},64]", cache=False)
    monkeypatch.setattr("nervure.backends.llvm.assemble.reused", tuple)
    plain: Any = nv.compile(model, f"f32[{batch},64]", cache=False)
    assert (run(x) == plain(x)).all()
    ours, theirs = (r.memory({"B": 32} if batch == "B" else {})[0] for r in (run, plain))
    assert ours == 2 * 32 * 64 * 4 < theirs
    assert len(arena_uses(run.assembled.program.run)) < len(arena_uses(plain.assembled.program.run))
    text = plan_text(run)
    assert "in place at 3, 5" in text
    assert "in place" not in plan_text(plain)


def test_places_never_overlap_and_reach_what_lives_at_one_time() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        count = int(rng.integers(1, 12))
        spans = [
            (int(a), int(a + b))
            for a, b in zip(rng.integers(0, 8, count), rng.integers(0, 4, count), strict=True)
        ]
        sizes = [64 * int(s) for s in rng.integers(1, 9, count)]
        offsets = fixed_offsets(spans, sizes)
        for a in range(count):
            for b in range(a):
                if spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]:
                    assert offsets[a] >= offsets[b] + sizes[b] or offsets[b] >= offsets[a] + sizes[a]
    assert fixed_offsets([(0, 1), (1, 2), (2, 3)], [64, 128, 64]) == [128, 0, 128]
    assert fixed_offsets([], []) == []
