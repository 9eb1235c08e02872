"""One rule an op, or a few that belong together: takes values that fit from a model under construction and adds nodes.

A rule raises LookupError where nothing fits. Shapes are computed here, apart from what is tested.
"""
# long file: a table of small rules

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper
from random_onnx_builder import BOOL, FLOAT, INT, Builder, Known

__all__ = ["RULES"]

Rule = Callable[[Builder], Any]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


SMOOTH = """Tanh Sigmoid Softplus Softsign Elu Selu Celu LeakyRelu Relu Erf Sin Cos Neg Abs Gelu Mish HardSigmoid HardSwish
    Atan Identity""".split()  # fmt: skip  # noqa: SIM905
EXACT = ["Floor", "Ceil", "Round", "Sign"]


@rule
def unary(m: Builder) -> Any:
    x = m.pick()
    return m.add(m.rng.choice(SMOOTH), [x.name], x.shape)


@rule
def bounded_unary(m: Builder) -> Any:
    x = m.pick()
    inner = m.rng.choice(["Tanh", "Sigmoid"])
    low = m.add(inner, [x.name], x.shape)
    edge = ["Sqrt", "Asinh"] if inner == "Sigmoid" else ["Asin", "Acos"]
    return m.add(m.rng.choice(["Exp", "Sinh", *edge]), [low.name], x.shape)


@rule
def rounding(m: Builder) -> Any:
    x = m.pick(lambda v: v.exact)
    return m.add(m.rng.choice(EXACT), [x.name], x.shape, exact=True)


@rule
def binary(m: Builder) -> Any:
    x = m.pick()
    y = m.pick(lambda v: v.shape == x.shape)
    return m.add(m.rng.choice(["Add", "Sub", "Mul", "Min", "Max"]), [x.name, y.name], x.shape)


@rule
def broadcast(m: Builder) -> Any:
    x = m.pick()
    keep = [m.rng.random() < 0.5 and not (m.is_open and k == 0) for k in range(x.rank)]
    shape = [d if k else 1 for d, k in zip(x.shape, keep, strict=True)]
    while shape and shape[0] == 1 and m.rng.random() < 0.5:
        shape.pop(0)
    names = [x.name, m.weight(*shape)]
    m.rng.shuffle(names)
    return m.add(m.rng.choice(["Add", "Sub", "Mul", "Max"]), names, x.shape)


@rule
def quotient(m: Builder) -> Any:
    x = m.pick()
    one = m.add("Sigmoid", [m.pick(lambda v: v.shape == x.shape).name], x.shape)
    low = m.add("Add", [one.name, m.constant(np.float32(0.5))], x.shape)
    return m.add("Div", [x.name, low.name], x.shape)


@rule
def power(m: Builder) -> Any:
    x = m.add("Tanh", [m.pick().name], ())
    m.values[-1].shape = next(v for v in m.values if v.name == m.nodes[-1].input[0]).shape
    return m.add("Pow", [x.name, m.constant(np.float32(m.rng.choice([2, 3])))], x.shape)


@rule
def select(m: Builder) -> Any:
    x = m.pick(lambda v: v.exact)
    a, c = m.pick(lambda v: v.shape == x.shape), m.pick(lambda v: v.shape == x.shape)
    bound = m.constant(np.float32(0.0625 + m.rng.randrange(-3, 4) / 4))
    test = m.add(
        m.rng.choice(["Greater", "Less", "GreaterOrEqual", "LessOrEqual"]), [x.name, bound], x.shape, BOOL
    )
    if m.rng.random() < 0.3:
        test = m.add("Not", [test.name], x.shape, BOOL)
    return m.add("Where", [test.name, a.name, c.name], x.shape)


@rule
def clip(m: Builder) -> Any:
    x = m.pick()
    return m.add("Clip", [x.name, m.constant(np.float32(-1.5)), m.constant(np.float32(2))], x.shape)


@rule
def conv(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank in (3, 4) and min(v.shape[2:]) >= 2)
    groups = m.rng.choice([1, 1, x.shape[1]])
    out = groups * m.rng.choice([1, 2, 3])
    kernel = [m.rng.randint(1, min(3, d)) for d in x.shape[2:]]
    pads = [m.rng.randint(0, k // 2) for k in kernel] * 2
    strides = [m.rng.choice([1, 1, 2]) for _ in kernel]
    dilations = [
        m.rng.choice([1, 1, 2]) if (k - 1) * 2 < d else 1 for k, d in zip(kernel, x.shape[2:], strict=True)
    ]
    room = [
        (d + 2 * p - (k - 1) * r - 1) // s + 1
        for d, p, k, r, s in zip(x.shape[2:], pads, kernel, dilations, strides, strict=False)
    ]
    names = [
        x.name,
        m.weight(
            out, x.shape[1] // groups, *kernel, scale=(x.shape[1] // groups * int(np.prod(kernel))) ** -0.5
        ),
    ]
    if m.rng.random() < 0.5:
        names.append(m.weight(out))
    return m.add(
        "Conv", names, (x.shape[0], out, *room), group=groups, pads=pads, strides=strides, dilations=dilations
    )


@rule
def transposed_conv(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank == 4 and v.shape[1] <= 8)
    out, stride = m.rng.choice([1, 2, 3]), m.rng.choice([1, 2])
    shape = (x.shape[0], out, *((d - 1) * stride + 3 for d in x.shape[2:]))
    return m.add(
        "ConvTranspose", [x.name, m.weight(x.shape[1], out, 3, 3, scale=0.3)], shape, strides=[stride] * 2
    )


@rule
def pool(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank in (3, 4) and min(v.shape[2:]) >= 2)
    kernel = [m.rng.randint(1, min(3, d)) for d in x.shape[2:]]
    strides = [m.rng.choice([1, 2]) for _ in kernel]
    pads = [k // 2 for k in kernel] * 2
    shape = [(d + 2 * p - k) // s + 1 for d, p, k, s in zip(x.shape[2:], pads, kernel, strides, strict=False)]
    op = m.rng.choice(["MaxPool", "AveragePool", "LpPool"])
    more = {"count_include_pad": m.rng.randint(0, 1)} if op == "AveragePool" else {}
    return m.add(
        op, [x.name], (*x.shape[:2], *shape), kernel_shape=kernel, strides=strides, pads=pads, **more
    )


@rule
def global_pool(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank in (3, 4))
    return m.add(
        m.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), [x.name], (*x.shape[:2], *[1] * (x.rank - 2))
    )


@rule
def norm(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank >= 3)
    c = x.shape[1]
    kind = m.rng.choice(["BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN"])
    if kind == "BatchNormalization":
        variance = m.constant(np.random.default_rng(m.count).uniform(0.5, 2, c).astype(np.float32))
        return m.add(kind, [x.name, m.weight(c), m.weight(c), m.weight(c), variance], x.shape)
    if kind == "InstanceNormalization":
        if int(np.prod(x.shape[2:])) < 4:
            raise LookupError
        return m.add(kind, [x.name, m.weight(c), m.weight(c)], x.shape, epsilon=1e-2)
    if kind == "LRN":
        if x.rank != 4:
            raise LookupError
        return m.add(kind, [x.name], x.shape, size=3)
    return m.add(kind, [x.name, m.weight(x.shape[-1]), m.weight(x.shape[-1])], x.shape, axis=-1, epsilon=1e-2)


@rule
def gemm(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank == 2)
    out, turned = m.rng.randint(1, 9), m.rng.randint(0, 1)
    w = m.weight(*((out, x.shape[1]) if turned else (x.shape[1], out)), scale=x.shape[1] ** -0.5)
    return m.add("Gemm", [x.name, w, m.weight(out)], (x.shape[0], out), transB=turned, alpha=0.5)


@rule
def matmul(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank >= 2)
    out = m.rng.randint(1, 9)
    w = m.weight(x.shape[-1], out, scale=x.shape[-1] ** -0.5)
    return m.add("MatMul", [x.name, w], (*x.shape[:-1], out))


@rule
def product_of_two(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank >= 3)
    y = m.pick(lambda v: v.rank == x.rank and v.shape[:-2] == x.shape[:-2] and v.shape[-1] == x.shape[-1])
    turned = m.add(
        "Transpose",
        [y.name],
        (*y.shape[:-2], y.shape[-1], y.shape[-2]),
        perm=[*range(y.rank - 2), y.rank - 1, y.rank - 2],
    )
    scores = m.add("MatMul", [x.name, turned.name], (*x.shape[:-1], y.shape[-2]))
    return m.add("Softmax", [scores.name], scores.shape, axis=-1)


@rule
def softmax(m: Builder) -> Any:
    x = m.pick()
    return m.add(m.rng.choice(["Softmax", "LogSoftmax"]), [x.name], x.shape, axis=m.axis(x))


@rule
def reduce(m: Builder) -> Any:
    x = m.pick()
    axes = sorted({m.axis(x) for _ in range(m.rng.randint(1, 2))})
    keep = m.rng.randint(0, 1)
    shape = [1 if k in axes else d for k, d in enumerate(x.shape) if keep or k not in axes]
    op = m.rng.choice(
        [
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSumExp",
            "ReduceL1",
        ]
    )
    return m.add(op, [x.name, m.constant(np.array(axes))], tuple(shape), keepdims=keep)


@rule
def argmax(m: Builder) -> Any:
    x = m.pick(lambda v: v.exact and v.rank > m.first and max(v.shape) > 1)
    axis = m.axis(x)
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    found = m.add(m.rng.choice(["ArgMax", "ArgMin"]), [x.name], shape, INT, axis=axis)
    return m.add("Cast", [found.name], shape, to=FLOAT, exact=True)


@rule
def transpose(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > 1)
    rest = list(range(m.first, x.rank))
    m.rng.shuffle(rest)
    order = [*range(m.first), *rest]
    return m.add("Transpose", [x.name], tuple(x.shape[k] for k in order), perm=order, exact=x.exact)


@rule
def reshape(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > 1)
    k = m.rng.randrange(m.first, x.rank)
    if k + 1 < x.rank and m.rng.random() < 0.6:
        shape = [*x.shape[:k], x.shape[k] * x.shape[k + 1], *x.shape[k + 2 :]]
    else:
        part = next((p for p in (2, 3, 5) if x.shape[k] % p == 0 and x.shape[k] > p), 1)
        shape = [*x.shape[:k], x.shape[k] // part, part, *x.shape[k + 1 :]]
    stated = [0 if m.is_open and j == 0 else d for j, d in enumerate(shape)]
    return m.add("Reshape", [x.name, m.constant(np.array(stated))], tuple(shape), exact=x.exact)


@rule
def reshape_by_plumbing(m: Builder) -> Any:
    """As exporters write `x.view(x.size(0), -1)`."""
    x = m.pick(lambda v: v.rank > 2)
    shape = m.add("Shape", [x.name], (x.rank,), INT)
    size = m.add("Gather", [shape.name, m.constant(np.array(0))], (), INT, axis=0)
    row = m.add("Unsqueeze", [size.name, m.constant(np.array([0]))], (1,), INT)
    wanted = m.add("Concat", [row.name, m.constant(np.array([-1]))], (2,), INT, axis=0)
    return m.add("Reshape", [x.name, wanted.name], (x.shape[0], int(np.prod(x.shape[1:]))), exact=x.exact)


@rule
def squeeze(m: Builder) -> Any:
    x = m.pick()
    if 1 in x.shape[m.first :]:
        k = x.shape.index(1, m.first)
        return m.add(
            "Squeeze", [x.name, m.constant(np.array([k]))], x.shape[:k] + x.shape[k + 1 :], exact=x.exact
        )
    k = m.rng.randint(m.first, x.rank)
    return m.add(
        "Unsqueeze", [x.name, m.constant(np.array([k]))], (*x.shape[:k], 1, *x.shape[k:]), exact=x.exact
    )


@rule
def concat(m: Builder) -> Any:
    x = m.pick()
    axis = m.axis(x)
    y = m.pick(
        lambda v: (
            v.rank == x.rank
            and all(a == c or k == axis for k, (a, c) in enumerate(zip(v.shape, x.shape, strict=True)))
        )
    )
    return m.add(
        "Concat",
        [x.name, y.name, x.name],
        (*x.shape[:axis], 2 * x.shape[axis] + y.shape[axis], *x.shape[axis + 1 :]),
        axis=axis,
        exact=x.exact and y.exact,
    )


@rule
def slice_(m: Builder) -> Any:
    x = m.pick()
    axis = m.axis(x)
    size = x.shape[axis]
    low = m.rng.randrange(size)
    step = m.rng.choice([1, 1, 2, -1])
    span = slice(low, size + 5, step) if step > 0 else slice(low, -size - 1, -1)
    length = len(range(*span.indices(size))) if step > 0 else low + 1
    names = [x.name, *(m.constant(np.array([n])) for n in (low, span.stop, axis, step))]
    return m.add("Slice", names, (*x.shape[:axis], length, *x.shape[axis + 1 :]), exact=x.exact)


@rule
def split(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > m.first and v.shape[m.first] > 1)
    low = m.rng.randrange(1, x.shape[m.first])
    names = [m.fresh(), m.fresh()]
    m.nodes.append(
        helper.make_node(
            "Split", [x.name, m.constant(np.array([low, x.shape[m.first] - low]))], names, axis=m.first
        )
    )
    for name, size in zip(names, (low, x.shape[m.first] - low), strict=True):
        m.values.append(Known(name, (*x.shape[: m.first], size, *x.shape[m.first + 1 :]), exact=x.exact))


@rule
def pad(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > 0)
    mode = m.rng.choice(["constant", "edge", "reflect"])
    pads = [
        [0, 0] if k < m.first or (mode == "reflect" and d < 3) else [m.rng.randint(0, 2), m.rng.randint(0, 2)]
        for k, d in enumerate(x.shape)
    ]
    shape = tuple(d + sum(p) for d, p in zip(x.shape, pads, strict=True))
    return m.add("Pad", [x.name, m.constant(np.array(pads).T.ravel())], shape, mode=mode, exact=x.exact)


@rule
def gather(m: Builder) -> Any:
    x = m.pick()
    axis = m.axis(x)
    places = np.array([m.rng.randrange(-x.shape[axis], x.shape[axis]) for _ in range(m.rng.randint(1, 4))])
    return m.add(
        "Gather",
        [x.name, m.constant(places)],
        (*x.shape[:axis], len(places), *x.shape[axis + 1 :]),
        axis=axis,
        exact=x.exact,
    )


@rule
def expand(m: Builder) -> Any:
    x = m.pick(lambda v: 1 in v.shape[m.first :])
    shape = tuple(m.rng.randint(1, 4) if d == 1 and k >= m.first else d for k, d in enumerate(x.shape))
    stated = [1 if m.is_open and k == 0 else d for k, d in enumerate(shape)]
    return m.add("Expand", [x.name, m.constant(np.array(stated))], shape, exact=x.exact)


@rule
def tile(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > m.first)
    times = [1 if k < m.first else m.rng.choice([1, 1, 2, 3]) for k in range(x.rank)]
    return m.add(
        "Tile",
        [x.name, m.constant(np.array(times))],
        tuple(d * t for d, t in zip(x.shape, times, strict=True)),
        exact=x.exact,
    )


@rule
def resize(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank == 4)
    mode = m.rng.choice(["nearest", "linear"])
    scales = np.array([1, 1, 2, 2], np.float32)
    shape = (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    more = {"coordinate_transformation_mode": m.rng.choice(["asymmetric", "half_pixel"])}
    if mode == "nearest":
        more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return m.add("Resize", [x.name, "", m.constant(scales)], shape, mode=mode, **more)


@rule
def cumsum(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank > m.first)
    return m.add(
        "CumSum",
        [x.name, m.constant(np.array(m.axis(x)))],
        x.shape,
        exclusive=m.rng.randint(0, 1),
        reverse=m.rng.randint(0, 1),
    )


@rule
def trilu(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank >= 2 + m.first)
    return m.add("Trilu", [x.name], x.shape, upper=m.rng.randint(0, 1))


@rule
def depth(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank == 4 and v.shape[1] % 4 == 0)
    return m.add(
        "DepthToSpace",
        [x.name],
        (x.shape[0], x.shape[1] // 4, 2 * x.shape[2], 2 * x.shape[3]),
        blocksize=2,
        mode=m.rng.choice(["DCR", "CRD"]),
    )


@rule
def recurrence(m: Builder) -> Any:
    x = m.pick(lambda v: v.rank == 3 and v.shape[1] <= 6 and v.shape[2] <= 16)
    kind, hidden = m.rng.choice(["LSTM", "GRU", "RNN"]), m.rng.randint(1, 5)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    order = m.add("Transpose", [x.name], (x.shape[1], x.shape[0], x.shape[2]), perm=[1, 0, 2])
    names = [
        order.name,
        m.weight(1, gates * hidden, x.shape[2], scale=0.4),
        m.weight(1, gates * hidden, hidden, scale=0.4),
    ]
    more = {"linear_before_reset": m.rng.randint(0, 1)} if kind == "GRU" else {}
    y = m.add(kind, names, (x.shape[1], 1, x.shape[0], hidden), hidden_size=hidden, **more)
    m.values.remove(order), m.values.remove(y)
    back = m.add("Transpose", [y.name], (x.shape[0], x.shape[1], 1, hidden), perm=[2, 0, 1, 3])
    return m.add("Reshape", [back.name, m.constant(np.array([0, 0, -1]))], (x.shape[0], x.shape[1], hidden))
