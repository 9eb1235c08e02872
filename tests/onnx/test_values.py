"""Values at the ends of every element type, where stock onnxruntime wraps, traps or leaves the result open."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure.backends.onnx.table import LACKS
from nervure.ir.errors import UnsupportedError
from nervure.ir.op import OPS, Op
from nervure.ir.ops.elementwise import Binary, Cast, Clamp, Compare, Predicate, Select, Unary
from nervure.ir.ops.index import Gather, GatherElements, ScatterElements
from nervure.ir.ops.nn import LogSoftmax, Softmax
from nervure.ir.ops.reduce import ArgMax, ArgMin, ReduceMax, ReduceMin, ReduceProd, ReduceSum
from nervure.ir.ops.window import MaxPool
from nervure.ir.types import DTYPES, Array, DType, bf16, bool_, u64

DTYPES_HERE = [d for d in DTYPES.values() if d != bf16]
LOOSE = {"sigmoid": 1e-6}
"""Ops with a row in the table of deviations: an absolute tolerance stands for the relative one."""

FLOATS = (
    np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-7, 3e-5, 255.7, -129.2, 65504.0, 40.0, -100.0
)  # fmt: skip
WIDER = (3e38, -3e38, 1e-38, 2.0**31, -(2.0**31), 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 33333.3)


def ends(dtype: DType) -> Array:
    """Zeros, ones, bounds and what lies beside them."""
    if dtype == bool_:
        return np.array([False, True])
    if dtype.is_float:
        return np.array(FLOATS + (WIDER if dtype.bits > 16 else ())).astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    numbers = [
        0,
        1,
        2,
        3,
        7,
        8,
        16,
        31,
        32,
        63,
        64,
        100,
        info.max - 1,
        info.max,
        info.min,
        info.min + 1,
        -1,
        -2,
        -64,
    ]
    return np.array([n for n in numbers if info.min <= n <= info.max], dtype=dtype.numpy)


def pairs(dtype: DType) -> tuple[Array, Array]:
    x, y = np.meshgrid(ends(dtype), ends(dtype))
    return x.ravel().copy(), y.ravel().copy()


def elementwise(families: tuple[type[Op], ...]) -> list[tuple[str, DType]]:
    def kinds(op: type[Op]) -> tuple[str, ...]:
        everything = ("float", "int", "uint", "bool")
        return ("float",) if issubclass(op, Predicate) else getattr(op, "kinds", everything)

    here = [name for name in sorted(OPS) if issubclass(OPS[name], families)]
    return [
        (n, d)
        for n in here
        for d in DTYPES_HERE
        if d.kind in kinds(OPS[n]) and d.name not in LACKS.get(n, ())
    ]


def agree(found: Array, expected: Array, name: str = "") -> None:
    assert found.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    eps = float(np.finfo(expected.dtype).eps)
    tiny = float(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(found, expected, rtol=16 * eps, atol=LOOSE.get(name, tiny))


@pytest.mark.parametrize(("name", "dtype"), elementwise((Unary, Predicate)))
def test_an_op_of_one_operand_is_right_at_the_ends_of_its_type(alone, name: str, dtype: DType):
    found, expected = alone(OPS[name](), ends(dtype))
    agree(found[0], expected[0], name)


@pytest.mark.parametrize(("name", "dtype"), elementwise((Binary, Compare)))
def test_an_op_of_two_operands_is_right_at_the_ends_of_its_type(alone, name: str, dtype: DType):
    found, expected = alone(OPS[name](), *pairs(dtype))
    agree(found[0], expected[0])


@pytest.mark.parametrize("dtype", DTYPES_HERE, ids=str)
def test_selecting_and_clamping_is_right_at_the_ends_of_a_type(alone, dtype: DType):
    x, y = pairs(dtype)
    found, expected = alone(Select(), np.arange(x.size) % 3 == 0, x, y)
    agree(found[0], expected[0])
    if dtype != bool_:
        found, expected = alone(Clamp(), x, y, np.roll(x, 5))
        agree(found[0], expected[0])


@pytest.mark.parametrize("source", DTYPES_HERE, ids=str)
def test_casts_truncate_saturate_and_wrap_as_the_reference_does(alone, source: DType):
    for target in DTYPES_HERE:
        found, expected = alone(Cast(target), ends(source))
        agree(found[0], expected[0])


@pytest.mark.parametrize("dtype", [d for d in DTYPES_HERE if d.is_integer], ids=str)
def test_an_index_beyond_the_axis_meets_its_last_element(alone, dtype: DType):
    x = np.arange(6, dtype=np.float32)
    for op in (Gather(0), GatherElements(0)):
        found, expected = alone(op, x, ends(dtype))
        agree(found[0], expected[0])


@pytest.mark.parametrize("dtype", DTYPES_HERE, ids=str)
def test_scattering_adds_and_sets_in_every_element_type(alone, dtype: DType):
    x = np.zeros(5, dtype=dtype.numpy)
    places = np.array([0, 4, 4, -7, 99, 2, 2])
    updates = np.arange(1, 8).astype(dtype.numpy)
    for mode in ("set", "add") if dtype != bool_ else ("set",):
        found, expected = alone(ScatterElements(0, mode), x, places, updates)
        agree(found[0], expected[0])


def test_indices_that_are_broadcast_to_no_elements_scatter_nothing():
    program = nv.parse("""nervure 1
program p {
  graph main(%u: f32[3,0]) -> f32[3,0] {
    %at = constant{value=dense<i64[3]: 3, 0, 2>} : i64[3]
    %x = constant{value=dense<f32[3,0]>} : f32[3,0]
    %all = broadcast_in_dim{shape=[3,0], axes=[0]} %at : i64[3,0]
    %y = scatter_elements{axis=0} %x, %all, %u : f32[3,0]
    return %y
  }
}
""")
    assert nv.compile(program, backend="onnx", opt=0)(np.zeros((3, 0), np.float32)).shape == (3, 0)


@pytest.mark.parametrize("dtype", [d for d in DTYPES_HERE if d.is_integer], ids=str)
def test_sums_and_products_of_integers_wrap_to_the_bit(alone, dtype: DType):
    x = np.resize(ends(dtype), (5, 3, 4))
    for op in (ReduceSum((1,)), ReduceSum((0, 2)), ReduceProd((1,)), ReduceProd((0, 2))):
        found, expected = alone(op, x)
        agree(found[0], expected[0])


@pytest.mark.parametrize("dtype", [d for d in DTYPES_HERE if d.is_float], ids=str)
def test_softmax_of_rows_with_nan_and_infinities_is_the_reference_s(alone, dtype: DType):
    nan, inf = np.nan, np.inf
    rows = [
        [0, -90, -100],
        [inf, 0, 0],
        [-inf, -inf, -inf],
        [nan, 0, 1],
        [0, nan, 1],
        [-inf, 0, 0],
        [500, -500, 0],
    ]
    for op in (Softmax(1), LogSoftmax(1)):
        found, expected = alone(op, np.array(rows, dtype=dtype.numpy))
        agree(found[0], expected[0])


@pytest.mark.parametrize("dtype", [d for d in DTYPES_HERE if d.is_integer], ids=str)
def test_extremes_of_integers_and_their_positions_are_right_to_the_bit(alone, dtype: DType):
    x = np.random.default_rng(0).permuted(np.resize(ends(dtype), (40, 5)), axis=1)
    for op in (ReduceMax((1,)), ReduceMin((1,)), ReduceMax((0, 1)), ArgMax(1), ArgMin(1)):
        found, expected = alone(op, x)
        agree(found[0], expected[0])


def test_an_element_type_without_a_kernel_is_refused_with_the_reason(alone):
    with pytest.raises(UnsupportedError) as caught:
        alone(MaxPool((2,), (1,), ((0, 0),), (1,)), np.zeros((1, 2, 3), dtype=u64.numpy))
    assert "no kernel that serves u64" in caught.value.details[0]


def test_a_running_product_of_no_elements_beside_its_axis_does_not_end_the_process() -> None:
    text = "nervure 1\nprogram p {\n  graph main(%x: f32[0,3,2]) -> f32[0,3,2] {\n    %y = cumprod{axis=1} %x : f32[0,3,2]\n    return %y\n  }\n}\n"
    run = nv.compile(nv.parse(text), backend="onnx")
    assert run(np.zeros((0, 3, 2), np.float32)).shape == (0, 3, 2)
