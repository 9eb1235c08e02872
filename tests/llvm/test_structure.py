"""Kernels are one function where they differ in names alone."""

from __future__ import annotations

import pytest

from nervure.backends.llvm import kernel_ir as k
from nervure.backends.llvm.structure import structure
from nervure.ir.dims import Dim
from nervure.ir.types import f32


def scaled(
    name: str = "k", var: str = "i", length: Dim = 8, factor: float = 2.0, twice: bool = False
) -> k.Kernel:
    """y[i] = x[i] * factor, the load an object of its own in each of two stores, or one object in both."""
    x, y = k.Buffer(f"x{name}", f32, (length,)), k.Buffer(f"y{name}", f32, (length,))
    i = k.Var(var)
    load = x[i]
    stores = [y.store(i, e * k.const(factor, f32)) for e in (load, x[i] if twice else load)]
    return k.Kernel(name, (x, y), (k.For(i, length, tuple(stores), "vector"),), origin=name)


def test_names_origins_and_sharing_do_not_count() -> None:
    assert structure(scaled()) == structure(scaled("other", "j", twice=True))


@pytest.mark.parametrize("changed", [scaled(length=9), scaled(factor=3.0), scaled(factor=-2.0)])
def test_sizes_and_numbers_count(changed: k.Kernel) -> None:
    assert structure(scaled()) != structure(changed)


def test_the_sign_of_zero_and_nan_count() -> None:
    values = (0.0, -0.0, float("nan"), float("nan"))
    zero, negative, nan, same = (structure(scaled(factor=value)) for value in values)
    assert zero != negative
    assert nan == same


def test_which_buffer_is_read_counts() -> None:
    x, y, z = (k.Buffer(name, f32, (8,)) for name in "xyz")
    i = k.Var("i")
    kernels = [
        k.Kernel("k", (x, y, z), (k.For(i, 8, (z.store(i, source[i]),), "vector"),)) for source in (x, y)
    ]
    assert structure(kernels[0]) != structure(kernels[1])
