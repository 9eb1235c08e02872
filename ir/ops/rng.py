"""Counter-based random numbers: the same bits on every backend, because they decompose into integer ops.

A key is u32[2]. Element i of a draw is threefry2x32 with 20 rounds of the counter (i, 0) under the key, its first
word. (J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import Shape, product
from ..op import Accuracy, Level, Op, register
from ..types import Array, TensorType, f32, u32
from .common import need

if TYPE_CHECKING:
    from ..graph import Value

__all__ = ["KEY", "RngBits", "RngNormal", "RngSplit", "RngUniform", "threefry"]

KEY = TensorType(u32, (2,))
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
ROUND_GROUPS = 5


def threefry(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """threefry2x32-20 on numpy u32 arrays."""
    with np.errstate(over="ignore"):
        keys = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for group in range(ROUND_GROUPS):
            for turn in ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(turn)) | (x1 >> np.uint32(32 - turn))) ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
        return x0, x1


class RandomOp(Op):
    """A family that draws from a key."""

    level = Level.NN

    def check(self, key: TensorType) -> None:
        need(self, key == KEY, f"the key is {key}, expected {KEY}", key)


@register
@dataclass(frozen=True)
class RngBits(RandomOp):
    """32 random bits an element.

    Shapes:  key u32[2] -> u32[shape]
    Source:  threefry2x32-20
    """

    mnemonic = "rng_bits"
    shape: Shape

    def infer(self, key: TensorType) -> TensorType:
        self.check(key)
        return TensorType(u32, self.shape)

    def evaluate(self, key: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        shape = types[0].static_shape()
        counter = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint32)
        return np.asarray(threefry(key[0], key[1], counter, np.zeros_like(counter))[0]).reshape(shape)

    def decompose(self, key: Value) -> Value:
        from .. import build as b

        size = product(self.shape)
        counter = b.iota(u32, (size,), 0)
        zero = b.full(TensorType(u32, (size,)), 0)
        bits, _ = _threefry_values(key, counter, zero)
        return b.reshape(bits, self.shape)


@register
@dataclass(frozen=True)
class RngSplit(RandomOp):
    """New keys from a key; rows differ from each other and from the key's own draws.

    Shapes:  key u32[2] -> u32[count, 2]
    Source:  threefry2x32-20 of the counters (row, 1)
    """

    mnemonic = "rng_split"
    count: int = 2

    def infer(self, key: TensorType) -> TensorType:
        self.check(key)
        need(self, self.count >= 1, f"count is {self.count}, expected at least 1", key)
        return TensorType(u32, (self.count, 2))

    def evaluate(self, key: Array, **_: Any) -> Array:
        counter = np.arange(self.count, dtype=np.uint32)
        return np.stack(threefry(key[0], key[1], counter, np.ones_like(counter)), axis=1)

    def decompose(self, key: Value) -> Value:
        from .. import build as b

        one = b.full(TensorType(u32, (self.count,)), 1)
        words = _threefry_values(key, b.iota(u32, (self.count,), 0), one)
        return b.concat([b.reshape(w, (self.count, 1)) for w in words], axis=1)


@register
@dataclass(frozen=True)
class RngUniform(RandomOp):
    """Uniform on [0, 1): the upper 24 bits of `RngBits`, times 2^-24; equal bits on every backend.

    Shapes:  key u32[2] -> f32[shape]
    """

    mnemonic = "rng_uniform"
    shape: Shape

    def infer(self, key: TensorType) -> TensorType:
        self.check(key)
        return TensorType(f32, self.shape)

    def evaluate(self, key: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        bits = RngBits(self.shape).evaluate(key, types=(types[0].with_dtype(u32),))
        return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)

    def decompose(self, key: Value) -> Value:
        from .. import build as b

        bits = RngBits(self.shape).decompose(key)
        high = b.cast(b.shr(bits, b.full_like(bits, 8)), f32)
        return b.mul(high, b.full_like(high, 2.0**-24))


@register
@dataclass(frozen=True)
class RngNormal(RandomOp):
    """Standard normal by the method of Box and Muller, from two uniform draws of two split keys.

    Shapes:   key u32[2] -> f32[shape]
    Numerics: within the accuracy of log, sqrt and cos
    Source:   G. Box, M. Muller, A note on the generation of random normal deviates, 1958
    """

    mnemonic = "rng_normal"
    accuracy = Accuracy.APPROXIMATE
    shape: Shape

    def infer(self, key: TensorType) -> TensorType:
        self.check(key)
        return TensorType(f32, self.shape)

    def evaluate(self, key: Array, *, types: tuple[TensorType, ...], **_: Any) -> Array:
        keys = RngSplit(2).evaluate(key)
        u, v = (RngUniform(self.shape).evaluate(k, types=types) for k in keys)
        radius = np.sqrt(np.float32(-2) * np.log1p(-u))
        return radius * np.cos(np.float32(2 * np.pi) * v)

    def decompose(self, key: Value) -> Value:
        from .. import build as b

        keys = RngSplit(2).decompose(key)
        rows = [b.reshape(b.slice_(keys, (k, 0), (k + 1, 2)), (2,)) for k in range(2)]
        u, v = (RngUniform(self.shape).decompose(k) for k in rows)
        radius = b.sqrt(b.mul(b.full_like(u, -2.0), b.log1p(b.neg(u))))
        return b.mul(radius, b.cos(b.mul(b.full_like(v, float(np.float32(2 * np.pi))), v)))


def _threefry_values(key: Value, x0: Value, x1: Value) -> tuple[Value, Value]:
    """threefry2x32-20 as a graph; x0 and x1 are u32[n]."""
    from .. import build as b

    def word(k: int) -> Value:
        return b.broadcast_in_dim(b.slice_(key, (k,), (k + 1,)), x0.type.shape, (0,))

    def rotate(x: Value, turn: int) -> Value:
        return b.or_(b.shl(x, b.full_like(x, turn)), b.shr(x, b.full_like(x, 32 - turn)))

    k0, k1 = word(0), word(1)
    keys = (k0, k1, b.xor(b.xor(k0, k1), b.full_like(k0, PARITY)))
    x0, x1 = b.add(x0, keys[0]), b.add(x1, keys[1])
    for group in range(ROUND_GROUPS):
        for turn in ROTATIONS[group % 2]:
            x0 = b.add(x0, x1)
            x1 = b.xor(rotate(x1, turn), x0)
        x0 = b.add(x0, keys[(group + 1) % 3])
        x1 = b.add(b.add(x1, keys[(group + 2) % 3]), b.full_like(x1, group + 1))
    return x0, x1
