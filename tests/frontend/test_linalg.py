"""Factorizations: PyTorch's values and derivatives, folded while compiling, refused with the reason where they cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import TypeInferenceError, UnsupportedError

RNG = np.random.default_rng(4)
ROOT = RNG.normal(size=(2, 4, 4))
SPD = ROOT @ ROOT.swapaxes(-1, -2) + np.eye(4)
RIGHT = RNG.normal(size=(2, 4, 3))


def check(ours: Any, theirs: Any, *data: Any) -> None:
    """Values and derivatives, in the reference."""
    import torch

    tensors = [torch.tensor(a, requires_grad=True) for a in data]
    want = theirs(torch.linalg, *tensors)
    weight = RNG.normal(size=tuple(want.shape))
    (want * torch.tensor(weight)).sum().backward()
    run = nv.compile(nv.trace(ours, *data), backend="reference")
    np.testing.assert_allclose(run(*data), want.detach().numpy(), rtol=1e-9, atol=1e-12)
    everything = tuple(range(len(data)))
    loss = nv.grad(lambda *xs: (ours(*xs) * weight).sum(), argnums=everything)
    found = nv.compile(nv.trace(loss, *data), backend="reference")(*data)
    for got, t in zip(found if isinstance(found, tuple) else (found,), tensors, strict=True):
        assert t.grad is not None
        np.testing.assert_allclose(got, t.grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_is_pytorch_s(upper: bool) -> None:
    check(lambda x: nn.cholesky(x, upper=upper), lambda m, x: m.cholesky(x, upper=upper), SPD)


@pytest.mark.torch
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_a_triangular_system_is_solved_as_pytorch_does(left: bool, upper: bool) -> None:
    a = np.triu(SPD) if upper else np.tril(SPD)
    right = RIGHT if left else RIGHT.swapaxes(-1, -2).copy()
    options = {"upper": upper, "left": left}
    check(
        lambda x, y: nn.solve_triangular(x, y, **options),
        lambda m, x, y: m.solve_triangular(x, y, **options),
        a,
        right,
    )


@pytest.mark.torch
def test_eigenvalues_and_spectral_functions_are_pytorch_s() -> None:
    check(lambda x: nn.eigh(x)[0], lambda m, x: m.eigh(x)[0], SPD)

    def root(eigh: Any, x: Any) -> Any:
        w, v = eigh(x)
        return (v * w[..., None, :] ** 0.5) @ v.swapaxes(-1, -2)

    def ours(x: Any) -> Any:
        w, v = nn.eigh(x)
        return (v * np.sqrt(w.reshape(2, 1, 4))) @ np.swapaxes(v, -1, -2)

    check(ours, lambda m, x: root(m.eigh, x), SPD)


def test_eigenvectors_have_their_largest_component_positive() -> None:
    run = nv.compile(nv.trace(nn.eigh, SPD), backend="reference")
    values, vectors = run(SPD)
    assert (np.diff(values, axis=-1) > 0).all()
    np.testing.assert_allclose(vectors * values[:, None] @ vectors.swapaxes(-1, -2), SPD, rtol=1e-12)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1, keepdims=True), 1)
    assert (largest > 0).all()


def test_what_has_no_factor_gives_nan_and_leaves_the_rest_of_the_batch() -> None:
    x = np.stack([SPD[0], -SPD[0], np.full((4, 4), np.nan)])
    run = nv.compile(nv.trace(lambda m: (nn.cholesky(m), *nn.eigh(m)), x), backend="reference")
    factor, values, vectors = run(x)
    np.testing.assert_allclose(factor[0], np.linalg.cholesky(x[0]))
    lower = np.tril(np.ones((4, 4), dtype=bool))
    assert np.isnan(factor[1:, lower]).all() and not factor[:, ~lower].any()
    assert np.isfinite(values[:2]).all() and np.isnan(values[2]).all() and np.isnan(vectors[2]).all()


@pytest.mark.parametrize("opt", [0, 2])
@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_a_factor_of_constants_is_folded_with_all_that_leads_to_it(backend: str, opt: int) -> None:
    def project(x: Any) -> Any:
        gram = nn.linear(ROOT[0].T, ROOT[0].T)  # no single operation: it is folded for the sake of the factor
        _, vectors = np.linalg.eigh(gram)
        return x @ vectors

    x = RNG.normal(size=(3, 4))
    run = nv.compile(nv.trace(project, x), backend=backend, opt=opt)
    want = np.linalg.eigh(ROOT[0].T @ ROOT[0])[1]
    want = want * np.sign(np.take_along_axis(want, np.abs(want).argmax(axis=0)[None], 0))
    np.testing.assert_allclose(run(x), x @ want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
def test_a_factor_of_what_the_call_brings_is_refused_with_the_reason(backend: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        nv.compile(nv.trace(nn.cholesky, "f64[3,3]"), backend=backend)
    assert "cholesky(f64[3,3]): only the reference computes it" in str(caught.value)


def test_errors_speak_of_what_the_user_called() -> None:
    with pytest.raises(
        TypeInferenceError, match=r"cholesky: expected square matrices \[..., n, n\], found f32\[3,4\]"
    ):
        nv.trace(nn.cholesky, "f32[3,4]")
    with pytest.raises(TypeInferenceError, match=r"solve_triangular: expected a right side \[..., 3, m\]"):
        nv.trace(lambda a, y: nn.solve_triangular(a, y, upper=True), "f32[3,3]", "f32[4,2]")
