"""Random numbers from a fixed key: the same at each call, and of no onnxruntime's own series."""

from __future__ import annotations

import zlib

import numpy as np

from ...ir import build as b
from ...ir.dims import Dim
from ...ir.graph import Value, make_one
from ...ir.ops.rng import RngNormal, RngUniform
from ...ir.types import DType, f32
from .elements import dtype_named
from .node import OnnxNode
from .table import op


def _key(n: OnnxNode) -> Value:
    """From the seed where there is one, and from the node's name."""
    seed = np.float32(n.attr("seed", 0.0)).view(np.uint32)
    return b.constant(np.array([seed, zlib.crc32(n.name.encode())], np.uint32))


def _uniform(n: OnnxNode, shape: tuple[Dim, ...], dtype: DType) -> Value:
    """Numbers between low and high."""
    draw = make_one(RngUniform(shape), _key(n))
    low, high = n.attr("low", 0.0), n.attr("high", 1.0)
    wide = b.mul(draw, b.full_like(draw, high - low))
    return b.cast(b.add(wide, b.full_like(wide, low)), dtype)


def _normal(n: OnnxNode, shape: tuple[Dim, ...], dtype: DType) -> Value:
    draw = make_one(RngNormal(shape), _key(n))
    wide = b.mul(draw, b.full_like(draw, n.attr("scale", 1.0)))
    return b.cast(b.add(wide, b.full_like(wide, n.attr("mean", 0.0))), dtype)


DRAWS = {"RandomUniform": _uniform, "RandomNormal": _normal}


@op(*DRAWS)
def random(n: OnnxNode) -> Value:
    return DRAWS[n.op](n, tuple(n.attr("shape")), dtype_named(n.attr("dtype", 1)))


@op(*(f"{name}Like" for name in DRAWS))
def random_like(n: OnnxNode) -> Value:
    t = n.type(0)
    dtype = dtype_named(n.attr("dtype")) if n.attr("dtype") is not None else t.dtype
    return DRAWS[n.op.removesuffix("Like")](n, t.shape, dtype if dtype.is_float else f32)


@op("Bernoulli")
def bernoulli(n: OnnxNode) -> Value:
    """1 with the probability that x says."""
    x = n.value(0)
    draw = make_one(RngUniform(x.type.shape), _key(n))
    dtype = dtype_named(n.attr("dtype")) if n.attr("dtype") is not None else x.type.dtype
    return b.cast(b.lt(draw, b.cast(x, f32)), dtype)
