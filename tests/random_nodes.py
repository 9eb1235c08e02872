# long file: one builder an op
"""How a random program gains a node of each op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from op_tables import body
from random_control import if_, scan, tree_fold, while_
from random_programs import Growth, Rejected

from nervure.ir import build as b
from nervure.ir.dims import Dim
from nervure.ir.errors import TypeInferenceError
from nervure.ir.graph import Graph, Value
from nervure.ir.op import OPS
from nervure.ir.ops.barrier import OptBarrier, StopGradient
from nervure.ir.ops.calls import CustomVjp, Remat
from nervure.ir.ops.constant import Constant, Iota, Literal
from nervure.ir.ops.contract import DotGeneral
from nervure.ir.ops.control import Fuse
from nervure.ir.ops.elementwise import Add, Binary, Cast, Clamp, Compare, Mul, Predicate, Select, Unary
from nervure.ir.ops.expect import ExpectRange
from nervure.ir.ops.gates import Gelu, HardSwish, Silu
from nervure.ir.ops.index import (
    SCATTER_MODES,
    DynamicSlice,
    DynamicUpdateSlice,
    Gather,
    GatherElements,
    ScatterElements,
)
from nervure.ir.ops.layer_norm import LayerNorm
from nervure.ir.ops.linalg import TriangularSolve
from nervure.ir.ops.move import BroadcastInDim, Concat, Pad, Permute, Reshape, Reverse, Slice
from nervure.ir.ops.nn import AvgPool, BatchNorm, BatchNormTrain, CrossEntropy, Dropout, Linear, Relu
from nervure.ir.ops.patches import FoldPatches, Patches
from nervure.ir.ops.pointwise import Bitcast, Fma, Step
from nervure.ir.ops.quant import Dequantize, DynamicQuantize, Quantize
from nervure.ir.ops.recurrent import DIRECTIONS
from nervure.ir.ops.rng import KEY, RngSplit
from nervure.ir.ops.sort import Sort, TopK
from nervure.ir.ops.window import Conv, MaxPool, WindowSum
from nervure.ir.types import DTYPES, TensorType, bool_, i8, i16, i32, i64, u8, u32

__all__ = ["BUILDERS"]

FLOAT = ("float",)
NUMBERS = ("float", "float", "int", "uint")
ANY = ("float", "float", "float", "int", "uint", "bool")
NUMBER_TYPES = tuple(d for d in DTYPES.values() if d != bool_)
POSITIVE = ("sqrt", "rsqrt", "log", "log1p", "pow")


def kinds_of(op: Any) -> Sequence[str]:
    return getattr(op, "kinds", ANY)


def positive(g: Growth, x: Value) -> Value:
    """x^2 + 1/2."""
    (square,) = g.add(Mul(), x, x)
    half = b.full_like(x, 0.5)
    g.content[half] = g.content[square] * 0 + g.content[square].dtype.type(0.5)
    return g.add(Add(), square, half)[0]


def unary(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(kinds_of(op) if not issubclass(op, Predicate) else FLOAT)
    if name == "sigmoid" and float(g.content[x].min(initial=0)) < -4:
        raise Rejected  # a row of the table of deviations: onnxruntime's tail
    g.add(op(), positive(g, x) if name in POSITIVE else x)


def binary(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(kinds_of(op))
    if name == "pow" and x.type.dtype.is_float:
        x = positive(g, x)
    domain = {"shl": "shift", "shr": "shift", "div": "nonzero", "rem": "nonzero"}.get(name, "any")
    y = g.like(x.type, domain)
    g.add(op(), *((x, y) if name in ("shl", "shr", "pow", "div", "rem") or g.chance(0.5) else (y, x)))


def select(g: Growth, name: str) -> None:
    x = g.operand(ANY)
    g.add(Select(), g.like(x.type.with_dtype(bool_)), x, g.like(x.type))


def clamp(g: Growth, name: str) -> None:
    x = g.operand(NUMBERS)
    g.add(Clamp(), g.leaf(x.type, "below"), x, g.leaf(x.type, "above"))


def cast(g: Growth, name: str) -> None:
    g.add(Cast(g.dtype(ANY)), g.operand(ANY))


def reshape(g: Growth, name: str) -> None:
    x = g.operand(ANY)
    shape, at = x.type.shape, g.integer(0, x.type.rank)
    if x.type.rank >= 2 and g.chance(0.6):
        at = g.integer(0, x.type.rank - 2)
        new: tuple[Dim, ...] = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
    elif x.type.rank <= 3:
        new = (*shape[:at], 1, *shape[at:])
    else:
        new = (x.type.size,)
    g.add(Reshape(new), x)


def permute(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 4))
    g.add(Permute(g.order(x.type.rank)), x)


def broadcast(g: Growth, name: str) -> None:
    x = g.operand(ANY, (0, 3))
    at = g.integer(0, x.type.rank)
    size: Dim = g.batch if g.batch is not None and g.chance(0.3) else g.integer(1, 3)
    shape = [*x.type.shape[:at], size, *x.type.shape[at:]]
    axes = [k for k in range(len(shape)) if k != at]
    for k in axes:
        if shape[k] == 1 and g.chance(0.5):
            shape[k] = g.integer(1, 3)
    g.add(BroadcastInDim(tuple(shape), tuple(axes)), x)


def slice_(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 4))
    starts: list[Dim] = []
    limits: list[Dim] = []
    for d in x.type.shape:
        start = g.integer(0, d) if isinstance(d, int) else 0
        starts.append(start if not isinstance(d, int) or start < d else 0)
        limits.append(g.integer(start, d) if isinstance(d, int) and g.chance(0.4) and start < d else d)
    g.add(Slice(tuple(starts), tuple(limits), g.integers(1, 2, x.type.rank)), x)


def pad(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 3))
    rank = x.type.rank
    interior = tuple(g.integer(0, 1) if isinstance(d, int) and d else 0 for d in x.type.shape)
    value = g.like(TensorType(x.type.dtype))
    g.add(Pad(g.integers(-1, 2, rank), g.integers(-1, 2, rank), interior), x, value)


def concat(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 4))
    axis = g.integer(0, x.type.rank - 1)
    shape = list(x.type.shape)
    shape[axis] = g.integer(1, 3)
    parts = [x, g.like(x.type.with_shape(tuple(shape)))]
    g.add(Concat(axis), *(parts if g.chance(0.5) else parts[::-1]))


def reverse(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 4))
    g.add(Reverse(some_axes(g, x)), x)


def some_axes(g: Growth, x: Value) -> tuple[int, ...]:
    """At least one axis, increasing."""
    axes = g.order(x.type.rank)[: g.integer(1, x.type.rank)]
    return tuple(sorted(axes))


def reduction(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(op.kinds, (1, 4))
    g.add(op(some_axes(g, x)), x)


def arg_reduction(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(NUMBERS, (1, 4))
    g.add(op(g.integer(0, x.type.rank - 1)), x)


def along_axis(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(FLOAT, (1, 4))
    g.add(op(g.integer(0, x.type.rank - 1)), x)


def dot_general(g: Growth, name: str) -> None:
    x = g.operand(("float", "float", "float", "int"), (1, 4))
    axes = list(g.order(x.type.rank))
    batch = tuple(axes.pop() for _ in range(g.integer(0, 1)) if len(axes) > 1)
    contract = tuple(axes.pop() for _ in range(g.integer(1, 2)) if axes)
    dims = [x.type.shape[k] for k in batch + contract] + list(g.integers(1, 4, g.integer(0, 2)))
    order = g.order(len(dims))
    y = g.like(x.type.with_shape(tuple(dims[k] for k in order)))
    rhs = tuple(order.index(k) for k in range(len(batch) + len(contract)))
    g.add(DotGeneral(contract, rhs[len(batch) :], batch, rhs[: len(batch)]), x, y)


def image(g: Growth, kinds: Sequence[str], spatial: int) -> Value:
    """[N, C, spatial...] with static channels and pixels."""
    found = g.pick(
        lambda t: (
            t.rank == spatial + 2
            and t.dtype.kind in kinds
            and all(isinstance(d, int) and d >= 1 for d in t.shape[1:])
        )
    )
    if found is not None and g.chance(0.6):
        return found
    batch: Dim = g.batch if g.batch is not None else g.integer(1, 3)
    shape = (batch, g.choice((1, 2, 3, 4)), *g.integers(3, 6, spatial))
    return g.leaf(TensorType(g.dtype(kinds), shape))


def padding(g: Growth, low: int, high: int, count: int) -> tuple[tuple[int, int], ...]:
    return tuple((g.integer(low, high), g.integer(low, high)) for _ in range(count))


def conv(g: Growth, name: str) -> None:
    spatial = g.choice((1, 2, 2, 2, 3))
    x = image(g, FLOAT, spatial)
    channels = x.type.shape[1]
    assert isinstance(channels, int)
    groups = g.choice([k for k in (1, 2, 3, 4) if channels % k == 0])
    w = TensorType(x.type.dtype, (groups * g.integer(1, 3), channels // groups, *g.integers(1, 3, spatial)))
    lhs = g.integers(1, 2, spatial) if g.chance(0.2) else (1,) * spatial
    op = Conv(g.integers(1, 2, spatial), padding(g, -1, 2, spatial), lhs, g.integers(1, 2, spatial), groups)
    g.add(op, x, g.like(w))


def max_pool(g: Growth, name: str) -> None:
    spatial = g.choice((1, 2, 2, 3))
    x, window = image(g, NUMBERS, spatial), g.integers(2, 3, spatial)
    dilation = g.integers(1, 2, spatial) if g.chance(0.3) else (1,) * spatial
    pads = padding(g, -1, 1, spatial) if set(dilation) == {1} else ((0, 0),) * spatial
    g.add(MaxPool(window, g.integers(1, 2, spatial), pads, dilation), x)


def avg_pool(g: Growth, name: str) -> None:
    spatial = g.choice((1, 2, 2, 3))
    x = image(g, FLOAT, spatial)
    counted = g.chance(0.5)
    g.add(
        AvgPool(g.integers(2, 3, spatial), g.integers(1, 2, spatial), padding(g, -1, 1, spatial), counted), x
    )


def window_sum(g: Growth, name: str) -> None:
    spatial = g.choice((1, 2, 2, 3))
    x = image(g, ("float", "float", "int"), spatial)
    op = WindowSum(
        g.integers(1, 3, spatial),
        g.integers(1, 2, spatial),
        padding(g, -1, 2, spatial),
        g.integers(1, 2, spatial),
        g.integers(1, 2, spatial),
    )
    g.add(op, x)


def patches(g: Growth, name: str) -> None:
    spatial = g.choice((1, 2, 2, 3))
    x = image(g, ("float", "float", "int"), spatial)
    pads = padding(g, -1, 2, spatial)
    op = Patches(g.integers(1, 3, spatial), g.integers(1, 2, spatial), pads, g.integers(1, 2, spatial))
    if name == "patches":
        g.add(op, x)
        return
    try:
        columns = op.infer(x.type)
    except TypeInferenceError as error:
        raise Rejected from error
    back = FoldPatches(op.window, op.strides, op.padding, op.dilation, x.type.shape[2:])
    g.add(back, g.like(columns))


def indexed(g: Growth, kinds: Sequence[str] = ANY) -> tuple[Value, int, int]:
    """An operand, an axis of static size, and the size."""
    x = g.operand(kinds, (1, 3))
    axis = g.choice([k for k, d in enumerate(x.type.shape) if isinstance(d, int) and d])
    size = x.type.shape[axis]
    assert isinstance(size, int)
    return x, axis, size


def gather(g: Growth, name: str) -> None:
    x, axis, size = indexed(g)
    indices = TensorType(g.choice((i64, i64, i32)), g.shape(g.integer(0, 2)))
    g.add(Gather(axis), x, g.leaf(indices, f"index:{size}"))


def elements(g: Growth, name: str) -> None:
    x, axis, size = indexed(g)
    shape = list(x.type.shape)
    shape[axis] = g.integer(1, 4)
    where = g.leaf(TensorType(g.choice((i64, i64, i32)), tuple(shape)), f"index:{size}")
    if name == "gather_elements":
        g.add(GatherElements(axis), x, where)
        return
    mode = g.choice(("add", "set", *SCATTER_MODES)) if x.type.dtype != bool_ else "set"
    g.add(ScatterElements(axis, mode), x, where, g.like(x.type.with_shape(tuple(shape))))


def box(g: Growth, name: str) -> None:
    x = g.operand(ANY, (1, 3))
    sizes = [g.integer(1, d) if isinstance(d, int) and d and g.chance(0.7) else d for d in x.type.shape]
    starts = g.leaf(TensorType(i64, (x.type.rank,)), "index:4")
    if name == "dynamic_slice":
        g.add(DynamicSlice(tuple(sizes)), x, starts)
    else:
        g.add(DynamicUpdateSlice(), x, g.like(x.type.with_shape(tuple(sizes))), starts)


def cumulative(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    x = g.operand(NUMBERS, (1, 4))
    g.add(op(g.integer(0, x.type.rank - 1), g.chance(0.4), g.chance(0.4)), x)


def sort(g: Growth, name: str) -> None:
    x = g.operand(NUMBERS, (1, 4))
    g.add(Sort(g.integer(0, x.type.rank - 1), g.chance(0.5)), x)


def top_k(g: Growth, name: str) -> None:
    x, axis, size = indexed(g, NUMBERS)
    g.add(TopK(g.integer(1, size), axis, g.chance(0.5)), x)


def step(g: Growth, name: str) -> None:
    g.add(Step(g.choice((0.0, 0.5, 1.0))), g.operand(FLOAT))


def fma(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    g.add(Fma(), x, g.like(x.type), g.like(x.type))


def bitcast(g: Growth, name: str) -> None:
    """There and back, of a new leaf: bits of a computed float are as inexact as it is."""
    source = g.dtype(NUMBERS)
    target = g.choice([d for d in NUMBER_TYPES if d.bits == source.bits and d != source])
    if source.is_integer and target.is_float:
        source, target = target, source
    (bits,) = g.add(Bitcast(target), g.leaf(TensorType(source, g.shape(g.integer(0, 3)))))
    g.add(Bitcast(source), bits)


def linear(g: Growth, name: str) -> None:
    x = g.operand(FLOAT, (1, 3))
    if not isinstance(x.type.shape[-1], int):
        raise Rejected
    out = g.integer(1, 4)
    given = [g.like(x.type.with_shape((out, x.type.shape[-1])))]
    if g.chance(0.7):
        given.append(g.like(x.type.with_shape((out,))))
    g.add(Linear(), x, *given)


def relu(g: Growth, name: str) -> None:
    g.add(Relu(), g.operand(("float", "float", "int")))


def gate(g: Growth, name: str) -> None:
    op = {"silu": Silu(), "gelu": Gelu(g.choice(("none", "tanh"))), "hard_swish": HardSwish()}[name]
    g.add(op, g.operand(("float",)))


def layer_norm(g: Growth, name: str) -> None:
    x = g.pick(
        lambda t: t.rank >= 1 and t.dtype.is_float and isinstance(t.shape[-1], int) and t.shape[-1] > 1
    )
    if x is None:
        raise Rejected
    last = x.type.with_shape(x.type.shape[-1:])
    g.add(LayerNorm(x.type.rank - 1), x, g.like(last), g.like(last))


def cross_entropy(g: Growth, name: str) -> None:
    x = g.pick(lambda t: t.rank == 2 and t.dtype.is_float and isinstance(t.shape[1], int))
    if x is None:
        x = g.leaf(TensorType(g.dtype(FLOAT), (*g.shape(1), g.integer(2, 5))))
    classes = x.type.shape[1]
    labels = g.leaf(TensorType(i64, x.type.shape[:1]), f"index:{classes}")
    g.add(CrossEntropy(g.choice(("mean", "sum", "none"))), x, labels)


def expect_range(g: Growth, name: str) -> None:
    g.add(ExpectRange(0, 5), g.operand(("int", "uint")))


def batch_norm(g: Growth, name: str) -> None:
    x = image(g, FLOAT, g.integer(0, 2))
    channel = x.type.with_shape(x.type.shape[1:2])
    if name == "batch_norm_train":
        g.add(BatchNormTrain(1e-3), x, g.like(channel), g.like(channel))
    else:
        middle = [g.like(channel) for _ in range(3)]
        g.add(BatchNorm(1e-3), x, *middle, g.leaf(channel, "positive"))


def quantize(g: Growth, name: str) -> None:
    x, target = g.operand(FLOAT, (0, 3)), g.choice((i8, u8, i16))
    axes = [None, *(k for k, d in enumerate(x.type.shape) if isinstance(d, int))]
    axis = g.choice(axes)
    shape = () if axis is None else (x.type.shape[axis],)
    scale = g.leaf(TensorType(x.type.dtype, shape), "positive")
    zero_point = g.leaf(TensorType(target, shape))
    if name == "quantize":
        g.add(Quantize(target, axis), x, scale, zero_point)
    else:
        g.add(Dequantize(axis), g.leaf(x.type.with_dtype(target)), scale, zero_point)


def dynamic_quantize(g: Growth, name: str) -> None:
    """A new leaf of few elements: each may lie close to where it is rounded the other way."""
    g.add(DynamicQuantize(), g.leaf(TensorType(g.dtype(FLOAT), (g.integer(1, 3),))))


def dropout(g: Growth, name: str) -> None:
    g.add(Dropout(g.choice((0.0, 0.25, 0.5))), g.operand(FLOAT), key(g))


def key(g: Growth) -> Value:
    found = g.pick(lambda t: t == TensorType(u32, (2,)))
    return found if found is not None and g.chance(0.5) else g.leaf(KEY, "key")


def rng(g: Growth, name: str) -> None:
    op: Any = OPS[name]
    g.add(op(g.shape(g.integer(0, 2))), key(g))


def rng_split(g: Growth, name: str) -> None:
    g.add(RngSplit(g.integer(1, 3)), key(g))


def factorization(g: Growth, name: str) -> None:
    """Of constants: no backend computes it at run time."""
    from strategies import domain_array

    n, dtype = g.integer(1, 3), g.dtype(FLOAT)
    (x,) = g.add(Constant(Literal(domain_array(g.rng, "definite", (n, n), dtype))))
    if name != "triangular_solve":
        g.add(OPS[name](), x)
        return
    (y,) = g.add(Constant(Literal(domain_array(g.rng, "any", (n, g.integer(1, 3)), dtype))))
    g.add(TriangularSolve(g.chance(0.5), g.chance(0.5)), x, y)


def constant(g: Growth, name: str) -> None:
    dtype = g.dtype(ANY)
    from strategies import domain_array

    array = domain_array(g.rng, "any", g.integers(1, 5, g.integer(0, 2)), dtype)
    g.add(Constant(Literal(array)))


def iota(g: Growth, name: str) -> None:
    shape = g.shape(g.integer(1, 3))
    g.add(Iota(g.dtype(("float", "int", "uint")), shape, g.integer(0, len(shape) - 1)))


CHAIN = (b.add, b.mul, b.sub, b.max, b.min)
POINT = (b.tanh, b.sin, b.sigmoid, b.neg, b.abs)


def fuse(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    y = g.like(x.type)
    inputs = [Value(x.type, name="a0"), Value(x.type, name="a1")]
    made = g.choice(CHAIN)(*inputs)
    for _ in range(g.integer(1, 3)):
        made = g.choice(CHAIN)(made, g.choice(inputs)) if g.chance(0.5) else g.choice(POINT)(made)
    g.add(Fuse("chain"), x, y, regions=(Graph("", inputs, [made]),))


def itself(g: Growth, name: str) -> None:
    g.add(OptBarrier() if name == "opt_barrier" else StopGradient(), g.operand(ANY))


def remat(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    g.add(Remat(), x, g.like(x.type), regions=(body("", (x.type, x.type), "fuse"),))


def custom_vjp(g: Growth, name: str) -> None:
    x = g.operand(FLOAT)
    p, again, y, slope = (Value(x.type, name=n) for n in ("p", "again", "y", "slope"))
    backward = Graph("", [again, y, slope], [b.mul(slope, b.cos(again))])
    g.add(CustomVjp((0,)), x, regions=(Graph("", [p], [b.sin(p)]), backward))


def recurrent(g: Growth, name: str) -> None:
    """Few features and no bias: gates stay where onnxruntime's sigmoid has no tail, see the table of deviations."""
    op: Any = OPS[name]
    direction = g.choice(tuple(DIRECTIONS))
    dtype, count, gates = g.dtype(FLOAT), len(DIRECTIONS[direction]), len(op.orders[0])
    length, (batch,), width, hidden = g.integer(1, 4), g.shape(1), g.integer(1, 2), g.integer(1, 2)
    x = g.leaf(TensorType(dtype, (length, batch, width)), "unit")
    weights = [g.leaf(TensorType(dtype, (count, gates * hidden, n)), "unit") for n in (width, hidden)]
    rest = {
        "lens": (TensorType(i32, (batch,)), "index:4"),
        "h0": (TensorType(dtype, (count, batch, hidden)), "unit"),
    }
    given = tuple(n for n in rest if g.chance(0.4))
    options = {"gates": g.choice(op.orders)} if gates > 1 else {}
    if name == "gru":
        options["linear_before_reset"] = g.chance(0.5)
    g.add(op(direction, given, **options), x, *weights, *(g.leaf(*rest[n]) for n in given))


def builder_of(name: str) -> Callable[[Growth, str], None]:
    op = OPS[name]
    if issubclass(op, (Unary, Predicate)):
        return unary
    if issubclass(op, (Binary, Compare)):
        return binary
    return OWN[name]


OWN: dict[str, Callable[[Growth, str], None]] = {
    "select": select,
    "clamp": clamp,
    "cast": cast,
    "reshape": reshape,
    "permute": permute,
    "broadcast_in_dim": broadcast,
    "slice": slice_,
    "pad": pad,
    "concat": concat,
    "reverse": reverse,
    **dict.fromkeys(
        ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all"), reduction
    ),
    **dict.fromkeys(("argmax", "argmin"), arg_reduction),
    **dict.fromkeys(("softmax", "log_softmax"), along_axis),
    "dot_general": dot_general,
    "conv": conv,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "window_sum": window_sum,
    **dict.fromkeys(("patches", "fold_patches"), patches),
    "gather": gather,
    **dict.fromkeys(("gather_elements", "scatter_elements"), elements),
    **dict.fromkeys(("dynamic_slice", "dynamic_update_slice"), box),
    **dict.fromkeys(("cumsum", "cumprod"), cumulative),
    "sort": sort,
    "top_k": top_k,
    "step": step,
    "fma": fma,
    "bitcast": bitcast,
    "logsumexp": reduction,
    "linear": linear,
    "relu": relu,
    **dict.fromkeys(("silu", "gelu", "hard_swish"), gate),
    "layer_norm": layer_norm,
    "cross_entropy": cross_entropy,
    "expect_range": expect_range,
    **dict.fromkeys(("batch_norm", "batch_norm_train"), batch_norm),
    **dict.fromkeys(("quantize", "dequantize"), quantize),
    "dynamic_quantize": dynamic_quantize,
    "dropout": dropout,
    **dict.fromkeys(("rng_bits", "rng_uniform", "rng_normal"), rng),
    "rng_split": rng_split,
    **dict.fromkeys(("cholesky", "eigh", "triangular_solve"), factorization),
    "constant": constant,
    "iota": iota,
    "fuse": fuse,
    "scan": scan,
    "if": if_,
    "while": while_,
    "tree_fold": tree_fold,
    **dict.fromkeys(("opt_barrier", "stop_gradient"), itself),
    "remat": remat,
    "custom_vjp": custom_vjp,
    **dict.fromkeys(("rnn", "lstm", "gru"), recurrent),
}

BUILDERS: dict[str, Callable[[Growth, str], None]] = {name: builder_of(name) for name in sorted(OPS)}
