"""The recurrent composites: plain, LSTM and GRU, with the exact semantics of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..op import register
from ..types import Array
from .activation import Activation
from .common import matmul
from .recurrent import Operands, Recurrence, halves, parts_of

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["Gru", "Lstm", "Rnn"]


@register
@dataclass(frozen=True)
class Rnn(Recurrence):
    """The plain recurrent layer.

    Equation: h[t] = F(w x[t] + wb + r h[t-1] + rb)
    Shapes:   x T[T, N, in], w T[D, H, in], r T[D, H, H], bias T[D, 2 H] (wb, then rb), lens I[N], h0 T[D, N, H]
              -> y T[T, D, N, H], h T[D, N, H]
    Args:     activations: F; the others as of `Lstm`
    Source:   ONNX RNN-14
    """

    mnemonic = "rnn"

    def step(
        self, x: Array, state: Sequence[Array], o: Operands[Array], functions: Sequence[Activation]
    ) -> Sequence[Array]:
        from_x, from_h = self.gate(x, state[0], o, "h")
        return [functions[0].on_array(self.bounded(from_x + from_h))]

    def advance(
        self, x: Value, state: Sequence[Value], consts: dict[str, Value], functions: Sequence[Activation]
    ) -> Sequence[Value]:
        from .. import build as b

        return [functions[0].on_value(self.clipped(b.add(x, b.linear(state[0], consts["r"]))))]


@register
@dataclass(frozen=True)
class Lstm(Recurrence):
    """The layer with a long and a short memory.

    Equation: i = F(wi x + wbi + ri h + rbi + pi c)    f = F(wf x + wbf + rf h + rbf + pf c)
              g = G(wg x + wbg + rg h + rbg)           c' = f c + i g
              o = F(wo x + wbo + ro h + rbo + po c')   h' = o K(c'), times the projection where there is one
    Shapes:   x T[T, N, in], w T[D, 4 H, in], r T[D, 4 H, S], bias T[D, 8 H] (of w, then of r), lens I[N],
              h0 T[D, N, S], c0 T[D, N, H], peepholes T[D, 3 H] (pi, po, pf), projection T[D, S, H]
              -> y T[T, D, N, S], h T[D, N, S], c T[D, N, H]; S is H without a projection
    Args:     direction: "forward", "reverse" or "bidirectional", which makes D 2
              given: which of bias, lens, h0, c0, peepholes, projection follow x, w, r
              activations: F, G, K, or those of both directions; alphas, betas: one each, or none for ONNX's defaults
              clip: gates are bounded to -clip..clip before their activation; 0 for no bound
              gates: the order of the weights' rows; "iofg" is ONNX's, "ifgo" PyTorch's
              input_forget: f is 1 - i
              remat: for the derivative, the states of every so many steps are kept alone, and the steps between are
              computed again; truncate: derivatives do not pass from a block of so many steps to the one before; 0 for none
    Numerics: behind a sequence's length y is 0 and the state stays; a length of 0 gives the first state
    Source:   ONNX LSTM-14; S. Hochreiter, J. Schmidhuber, Neural Computation 9, 1997; the projection is PyTorch's
    """

    mnemonic = "lstm"
    states = 2
    orders: ClassVar[tuple[str, ...]] = ("iofg", "ifgo")
    usual: ClassVar[tuple[str, ...]] = ("sigmoid", "tanh", "tanh")
    gates: str = "iofg"
    input_forget: bool = False

    @property
    def order(self) -> str:
        return self.gates

    def step(
        self, x: Array, state: Sequence[Array], o: Operands[Array], functions: Sequence[Activation]
    ) -> Sequence[Array]:
        (h, c), (outer, inner, last) = state, functions
        see_i, see_o, see_f = (0, 0, 0) if o.peepholes is None else np.split(o.peepholes, 3)

        def gate(letter: str, seen: Array | int = 0) -> Array:
            return self.bounded(np.add(*self.gate(x, h, o, letter)) + seen)

        i = outer.on_array(gate("i", see_i * c))
        f = 1 - i if self.input_forget else outer.on_array(gate("f", see_f * c))
        c = f * c + i * inner.on_array(gate("g"))
        h = outer.on_array(gate("o", see_o * c)) * last.on_array(c)
        return [h if o.projection is None else matmul(h, o.projection.T), c]

    def constants(self, o: Operands[Value]) -> dict[str, Value]:
        found = {"r": o.r}
        if o.peepholes is not None:
            found |= dict(zip(("see_i", "see_o", "see_f"), parts_of(o.peepholes, 3), strict=True))
        return found if o.projection is None else {**found, "projection": o.projection}

    def advance(
        self, x: Value, state: Sequence[Value], consts: dict[str, Value], functions: Sequence[Activation]
    ) -> Sequence[Value]:
        from .. import build as b

        (h, c), (outer, inner, last) = state, functions
        parts = dict(zip(self.gates, parts_of(b.add(x, b.linear(h, consts["r"])), 4, axis=1), strict=True))

        def gate(letter: str, memory: Value | None = None) -> Value:
            seen = consts.get(f"see_{letter}")
            if seen is None or memory is None:
                return self.clipped(parts[letter])
            part = b.mul(b.broadcast_in_dim(seen, memory.type.shape, (1,)), memory)
            return self.clipped(b.add(parts[letter], part))

        i = outer.on_value(gate("i", c))
        f = b.sub(b.full_like(i, 1), i) if self.input_forget else outer.on_value(gate("f", c))
        c = b.add(b.mul(f, c), b.mul(i, inner.on_value(gate("g"))))
        h = b.mul(outer.on_value(gate("o", c)), last.on_value(c))
        return [b.linear(h, consts["projection"]) if "projection" in consts else h, c]


@register
@dataclass(frozen=True)
class Gru(Recurrence):
    """The gated recurrent layer.

    Equation: z = F(wz x + wbz + rz h + rbz)    r = F(wr x + wbr + rr h + rbr)
              n = G(wn x + wbn + rn (r h) + rbn), or with linear_before_reset G(wn x + wbn + r (rn h + rbn))
              h' = (1 - z) n + z h
    Shapes:   x T[T, N, in], w T[D, 3 H, in], r T[D, 3 H, H], bias T[D, 6 H] (of w, then of r), lens I[N], h0 T[D, N, H]
              -> y T[T, D, N, H], h T[D, N, H]
    Args:     gates: the order of the weights' rows; "zrn" is ONNX's, "rzn" PyTorch's
              linear_before_reset: the state is multiplied before it is reset, as PyTorch does it
              activations: F, G; the others as of `Lstm`
    Source:   ONNX GRU-14; K. Cho et al., 2014
    """

    mnemonic = "gru"
    orders: ClassVar[tuple[str, ...]] = ("zrn", "rzn")
    usual: ClassVar[tuple[str, ...]] = ("sigmoid", "tanh")
    gates: str = "zrn"
    linear_before_reset: bool = False

    @property
    def order(self) -> str:
        return self.gates

    def step(
        self, x: Array, state: Sequence[Array], o: Operands[Array], functions: Sequence[Activation]
    ) -> Sequence[Array]:
        (h,), (outer, inner) = state, functions
        z, r = (outer.on_array(self.bounded(np.add(*self.gate(x, h, o, letter)))) for letter in "zr")
        if self.linear_before_reset:
            from_x, from_h = self.gate(x, h, o, "n")
            n = from_x + r * from_h
        else:
            n = np.add(*self.gate(x, r * h, o, "n"))
        return [(1 - z) * inner.on_array(self.bounded(n)) + z * h]

    def input_bias(self, o: Operands[Value]) -> Value | None:
        if self.linear_before_reset and o.bias is not None:
            return halves(o.bias)[0]
        return super().input_bias(o)

    def constants(self, o: Operands[Value]) -> dict[str, Value]:
        from .. import build as b

        if self.linear_before_reset:
            return {"r": o.r} if o.bias is None else {"r": o.r, "rb": halves(o.bias)[1]}
        width, state = o.w.type.shape[0] // 3, o.r.type.shape[1]
        gates = b.slice_(o.r, (0, 0), (2 * width, state))
        return {"r": gates, "rn": b.slice_(o.r, (2 * width, 0), (3 * width, state))}

    def advance(
        self, x: Value, state: Sequence[Value], consts: dict[str, Value], functions: Sequence[Activation]
    ) -> Sequence[Value]:
        from .. import build as b

        (h,), (outer, inner) = state, functions
        seen = b.linear(h, consts["r"], consts.get("rb"))
        from_x = parts_of(x, 3, axis=1)
        from_h = parts_of(seen, 3 if self.linear_before_reset else 2, axis=1)
        gates = {
            letter: outer.on_value(self.clipped(b.add(p, q)))
            for letter, p, q in zip(self.gates[:2], from_x, from_h, strict=False)
        }
        z, r = gates["z"], gates["r"]
        last = b.mul(r, from_h[2]) if self.linear_before_reset else b.linear(b.mul(r, h), consts["rn"])
        n = inner.on_value(self.clipped(b.add(from_x[2], last)))
        return [b.add(b.mul(b.sub(b.full_like(z, 1), z), n), b.mul(z, h))]
