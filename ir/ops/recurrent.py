"""What recurrent composites have in common: operands, directions, lengths, and the scan that they stand for.

A composite is kept whole as long as a backend has a better form, such as ONNX's LSTM node. Otherwise the inputs' part
is one product over all steps, and each direction a scan over it. The ops themselves stand in ``cells.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from ..dims import Dim
from ..op import Accuracy, Cost, Level, Op, traffic
from ..types import Array, TensorType, dtype_of, i32, i64
from .activation import ACTIVATIONS, Activation
from .blocks import scan_in_blocks
from .common import matmul, narrow, need, need_kind, widen

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["DIRECTIONS", "OPTIONAL", "Operands", "Recurrence"]

DIRECTIONS: dict[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
"""For each direction of a layer, whether it goes from the last step to the first."""

OPTIONAL = ("bias", "lens", "h0", "c0", "peepholes", "projection")
"""The operands behind x, w and r that may be left out, in their order."""

X = TypeVar("X")


@dataclass(frozen=True)
class Operands(Generic[X]):
    """The operands of a recurrence by name; None for those that are not given."""

    x: X
    w: X
    r: X
    bias: X | None = None
    lens: X | None = None
    h0: X | None = None
    c0: X | None = None
    peepholes: X | None = None
    projection: X | None = None

    def rows(self, pick: Callable[[X], X]) -> Operands[X]:
        """Those of one direction: each that has an axis of directions without it."""
        names = ("w", "r", "bias", "h0", "c0", "peepholes", "projection")
        given = {n: getattr(self, n) for n in names}
        return replace(self, **{n: None if v is None else pick(v) for n, v in given.items()})


@dataclass(frozen=True)
class Recurrence(Op):
    """The family; see `Lstm` for what the fields mean."""

    level = Level.NN
    accuracy = Accuracy.APPROXIMATE
    states: ClassVar[int] = 1
    orders: ClassVar[tuple[str, ...]] = ("h",)
    usual: ClassVar[tuple[str, ...]] = ("tanh",)

    direction: str = "forward"
    given: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    clip: float = 0.0
    remat: int = 0
    truncate: int = 0

    @property
    def order(self) -> str:
        """The letters of the gates, in the order of their weights."""
        return self.orders[0]

    def functions(self, direction: int) -> tuple[Activation, ...]:
        """The activations of a direction."""
        per = len(self.usual)
        names = self.activations or self.usual
        first = direction * per if len(names) > per else 0
        found: list[Activation] = []
        for k in range(first, first + per):
            alpha, beta = ACTIVATIONS[names[k]]
            alpha = self.alphas[k] if self.alphas else alpha
            beta = self.betas[k] if self.betas else beta
            found.append(Activation(names[k], alpha or 0.0, beta or 0.0))
        return tuple(found)

    def named(self, operands: Sequence[X]) -> Operands[X]:
        """The operands by their names."""
        x, w, r, *rest = operands
        return Operands(x, w, r, **dict(zip(self.given, rest, strict=True)))

    # types
    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        self._check_attributes(operands)
        o = self.named(operands)
        need_kind(self, o.x, ("float",))
        for name in ("w", "r", *self.given):
            other: TensorType = getattr(o, name)
            same = name == "lens" or other.dtype == o.x.dtype
            need(self, same, f"element types differ: {name} is {other.dtype}, x is {o.x.dtype}", *operands)
        ranks = (o.x.rank, o.w.rank, o.r.rank) == (3, 3, 3)
        need(self, ranks, "expected x [T, N, in], w [D, G H, in] and r [D, G H, H]", *operands)
        steps, batch, width = o.x.shape
        count, gates = len(DIRECTIONS[self.direction]), len(self.order)
        rows, state = o.w.shape[1], o.r.shape[2]
        fits = isinstance(rows, int) and isinstance(state, int) and rows % gates == 0
        need(self, fits, f"w has {rows} rows, expected {gates} for each unit", *operands)
        assert isinstance(rows, int)
        hidden = rows // gates
        wanted = {
            "w": (count, rows, width),
            "r": (count, rows, hidden if o.projection is None else state),
            "bias": (count, 2 * rows),
            "lens": (batch,),
            "h0": (count, batch, state),
            "c0": (count, batch, hidden),
            "peepholes": (count, 3 * hidden),
            "projection": (count, state, hidden),
        }
        for name in ("w", "r", *self.given):
            t: TensorType = getattr(o, name)
            need(
                self,
                t.shape == wanted[name],
                f"{name} is {t}, expected {t.with_shape(wanted[name])}",
                *operands,
            )
        if o.lens is not None:
            need(self, o.lens.dtype in (i32, i64), f"lens are {o.lens.dtype}, expected i32 or i64", *operands)
        shapes = ((steps, count, batch, state), (count, batch, state), (count, batch, hidden))
        return tuple(o.x.with_shape(s) for s in shapes[: 1 + self.states])

    def _check_attributes(self, operands: Sequence[TensorType]) -> None:
        need(
            self,
            self.direction in DIRECTIONS,
            f'direction is "{self.direction}", expected {" or ".join(DIRECTIONS)}',
        )
        known = OPTIONAL if self.states == 2 else OPTIONAL[:3]
        ordered = list(self.given) == [n for n in known if n in self.given]
        need(
            self,
            ordered,
            f"given is {', '.join(self.given)}, expected some of {', '.join(known)} in this order",
        )
        names = ", ".join(("x", "w", "r", *self.given))
        need(
            self,
            len(operands) == 3 + len(self.given),
            f"{len(operands)} operands, expected {names}",
            *operands,
        )
        need(self, self.order in self.orders, f"gates are {self.order}, expected {' or '.join(self.orders)}")
        per, count = len(self.usual), len(self.activations)
        both = per * len(DIRECTIONS[self.direction])
        need(self, count in (0, per, both), f"{count} activations, expected {per} for each direction")
        for name in self.activations:
            hint = f"there are {', '.join(ACTIVATIONS)}"
            need(self, name in ACTIVATIONS, f"no activation is named {name}", hint=hint)
        for what, numbers in (("alphas", self.alphas), ("betas", self.betas)):
            need(
                self, len(numbers) in (0, count), f"{len(numbers)} {what}, expected one an activation or none"
            )
        need(self, self.clip >= 0, f"clip is {self.clip}, expected at least 0, which means none")
        for what, every in (("remat", self.remat), ("truncate", self.truncate)):
            need(self, every >= 0, f"{what} is {every}, expected at least 0 steps, which means none")

    # meaning
    def evaluate(self, *operands: Array, **_: object) -> tuple[Array, ...]:
        o = self.named([widen(a) for a in operands])
        steps, batch = o.x.shape[:2]
        directions = DIRECTIONS[self.direction]
        widths = (o.r.shape[2], o.w.shape[1] // len(self.order))[: self.states]
        lens = np.full(batch, steps) if o.lens is None else o.lens
        y = np.zeros((steps, len(directions), batch, widths[0]), o.x.dtype)
        last = [np.zeros((len(directions), batch, n), o.x.dtype) for n in widths]
        with np.errstate(all="ignore"):
            for d, backward in enumerate(directions):
                one, functions = o.rows(lambda a, d=d: a[d]), self.functions(d)
                now = [s[d] if a is None else a for s, a in zip(last, (one.h0, one.c0), strict=False)]
                for t in reversed(range(steps)) if backward else range(steps):
                    live = (t < lens)[:, None]
                    after = self.step(o.x[t], now, one, functions)
                    now = [np.where(live, a, s) for a, s in zip(after, now, strict=True)]
                    y[t, d] = np.where(live, now[0], 0)
                for s, a in zip(last, now, strict=True):
                    s[d] = a
        return tuple(narrow(a, dtype_of(operands[0])) for a in (y, *last))

    def step(
        self, x: Array, state: Sequence[Array], o: Operands[Array], functions: Sequence[Activation]
    ) -> Sequence[Array]:
        """The states after one step, from the input [N, in] and the states before."""
        raise NotImplementedError

    def gate(self, x: Array, h: Array, o: Operands[Array], letter: str) -> tuple[Array, Array]:
        """What the input and what the state give to a gate, each with its bias."""
        k, count = self.order.index(letter), len(self.order)
        w, r = (np.split(a, count)[k] for a in (o.w, o.r))
        from_x, from_h = matmul(x, w.T), matmul(h, r.T)
        if o.bias is None:
            return from_x, from_h
        biases = np.split(o.bias, 2 * count)
        return from_x + biases[k], from_h + biases[count + k]

    def bounded(self, x: Array) -> Array:
        return np.clip(x, -self.clip, self.clip) if self.clip else x

    def forward(self) -> Recurrence:
        """The op without what concerns its derivative alone."""
        return replace(self, remat=0, truncate=0)

    # the same in simpler ops
    def decompose(self, *operands: Value) -> tuple[Value, ...]:
        from .. import build as b

        o = self.named(operands)
        found: list[list[Value]] = []
        for d, backward in enumerate(DIRECTIONS[self.direction]):
            one = o.rows(lambda v, d=d: _row(v, d))
            last, y = self._scan(one, self.functions(d), backward)
            steps, *shape = y.type.shape
            rows = [b.reshape(s, (1, *s.type.shape)) for s in last]
            found.append([b.reshape(y, (steps, 1, *shape)), *rows])
        return tuple(b.concat(parts, axis=int(k == 0)) for k, parts in enumerate(zip(*found, strict=True)))

    def _scan(
        self, o: Operands[Value], functions: Sequence[Activation], backward: bool
    ) -> tuple[Sequence[Value], Value]:
        """The last states and the states h of all steps, in one direction."""
        from .. import build as b
        from ..graph import Graph, Value

        steps, batch = o.x.type.shape[:2]
        xs = [o.x]
        widths = (o.r.type.shape[1], o.w.type.shape[0] // len(self.order))
        inits = [
            b.full(o.x.type.with_shape((batch, n)), 0) if given is None else given
            for given, n in zip((o.h0, o.c0), widths[: self.states], strict=False)
        ]
        if o.lens is not None:
            at = b.iota(o.lens.type.dtype, (steps, batch), 0)
            xs.append(b.lt(at, b.broadcast_in_dim(o.lens, (steps, batch), (1,))))
        names = ["x"] + ["live"] * (o.lens is not None)
        if self.truncate:
            xs.append(_cuts(steps, self.truncate, backward))
            names.append("cut")
        outer = self.constants(o)

        def body(first: TensorType) -> Graph:
            start = [Value(s.type, name=name) for s, name in zip(inits, "hc", strict=False)]
            types = [first, *(x.type for x in xs[1:])]
            rows = [Value(t.with_shape(t.shape[1:]), name=n) for t, n in zip(types, names, strict=True)]
            inner = {name: Value(v.type, name=name) for name, v in outer.items()}
            before = start
            if self.truncate:
                cut = [b.broadcast_in_dim(rows[-1], s.type.shape, ()) for s in start]
                before = [b.select(m, b.stop_gradient(s), s) for m, s in zip(cut, start, strict=True)]
            after = list(self.advance(rows[0], before, inner, functions))
            shown = after[0]
            if o.lens is not None:
                live = [b.broadcast_in_dim(rows[1], s.type.shape, (0,)) for s in after]
                shown = b.select(live[0], shown, b.full_like(shown, 0))
                after = [b.select(m, a, s) for m, a, s in zip(live, after, before, strict=True)]
            return Graph("body", [*start, *rows, *inner.values()], [*after, shown])

        bias = self.input_bias(o)

        def run(
            start: Sequence[Value], rows: Sequence[Value], given: Sequence[Value], many: Dim
        ) -> Sequence[Value]:
            """The inputs' part of so many steps, and the scan over it."""
            consts, (w, *biases) = given[: len(outer)], given[len(outer) :]
            first = b.linear(rows[0], w, *biases)
            return b.scan(body(first.type), start, [first, *rows[1:]], consts, many, reverse=backward)

        given = [*outer.values(), o.w, *([] if bias is None else [bias])]
        if self.remat:
            *last, y = scan_in_blocks(run, inits, xs, given, steps, self.remat, backward)
        else:
            *last, y = run(inits, xs, given, steps)
        return last, y

    def one_step(self, o: Operands[Value], state: Sequence[Value]) -> Sequence[Value]:
        """The states after one step alone: x is [N, in] and no operand has an axis of directions."""
        from .. import build as b

        x = b.linear(o.x, o.w, self.input_bias(o))
        return self.advance(x, state, self.constants(o), self.functions(0))

    def input_bias(self, o: Operands[Value]) -> Value | None:
        """What is added to the inputs' product: both biases."""
        from .. import build as b

        return None if o.bias is None else b.add(*halves(o.bias))

    def constants(self, o: Operands[Value]) -> dict[str, Value]:
        """What the steps read of the weights, by name."""
        return {"r": o.r}

    def advance(
        self, x: Value, state: Sequence[Value], consts: dict[str, Value], functions: Sequence[Activation]
    ) -> Sequence[Value]:
        """The states after one step, from the input's part of the gates [N, G H] and the states before."""
        raise NotImplementedError

    def clipped(self, x: Value) -> Value:
        from .. import build as b

        return b.clamp(b.full_like(x, -self.clip), x, b.full_like(x, self.clip)) if self.clip else x

    def products(self, operands: Sequence[TensorType]) -> Dim:
        """Multiply-adds of the products."""
        o = self.named(operands)
        steps, batch, width = o.x.shape
        count, rows, state = o.r.shape
        each = rows * (width + state)
        if o.projection is not None:
            each = each + state * o.projection.shape[2]
        return steps * batch * count * each

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        steps, batch = operands[0].shape[:2]
        count, rows = operands[1].shape[:2]
        return Cost(
            2 * self.products(operands) + 4 * steps * batch * count * rows, traffic(operands, results)
        )


def _cuts(steps: Dim, every: int, backward: bool) -> Value:
    """For each step whether one of the later blocks of so many steps begins with it, in the order in which steps are done."""
    from .. import build as b

    place = b.iota(i64, (steps,), 0)
    done = b.reverse(place, (0,)) if backward else place
    zero = b.full_like(done, 0)
    return b.and_(b.eq(b.rem(done, b.full_like(done, every)), zero), b.ne(done, zero))


def _row(x: Value, index: int) -> Value:
    from .. import build as b

    rest = x.type.shape[1:]
    row = b.slice_(x, (index, *(0 for _ in rest)), (index + 1, *rest))
    return b.reshape(row, rest)


def halves(x: Value) -> list[Value]:
    """Both halves of a vector."""
    return parts_of(x, 2)


def parts_of(x: Value, count: int, axis: int = 0) -> list[Value]:
    """Equal parts along an axis."""
    from .. import build as b

    shape = x.type.shape
    size = shape[axis] // count
    found: list[Value] = []
    for k in range(count):
        starts: list[Dim] = [0] * len(shape)
        limits: list[Dim] = list(shape)
        starts[axis], limits[axis] = size * k, size * (k + 1)
        found.append(b.slice_(x, starts, limits))
    return found
