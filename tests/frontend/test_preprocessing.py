"""Preprocessing against scikit-learn and numpy, on every backend, and the errors of wrong data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import nervure as nv
from nervure.frontend.preprocessing import PCA, Center, LocalNorm, MinMax, Standardize, Whiten
from nervure.ir.errors import InputError, TypeInferenceError

RNG = np.random.default_rng(12)
ROWS = RNG.normal(size=(50, 7)) @ RNG.normal(size=(7, 7)) + 5
FLAT = np.column_stack([ROWS[:, :3], np.full(50, 2.5)])
IMAGES = RNG.normal(size=(10, 3, 8, 6)) + 1
F64 = {"dtype": "f64"}
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def apply(layer: Any, x: Any, backend: str = "reference") -> Any:
    return nv.compile(layer, f"f64[B,{','.join(map(str, x.shape[1:]))}]", backend=backend)(x)


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any], Any]] = {
    "standardize": (lambda: Standardize(**F64), StandardScaler, ROWS),
    "standardize a constant": (lambda: Standardize(**F64), StandardScaler, FLAT),
    "minmax": (lambda: MinMax(**F64), MinMaxScaler, ROWS),
    "minmax of a range": (lambda: MinMax(-2, 3, **F64), lambda: MinMaxScaler((-2, 3)), ROWS),
    "minmax of a constant": (lambda: MinMax(**F64), MinMaxScaler, FLAT),
    "pca": (lambda: PCA(4, **F64), lambda: SklearnPCA(4, svd_solver="full"), ROWS),
    "pca of all": (lambda: PCA(**F64), lambda: SklearnPCA(svd_solver="full"), ROWS),
    "whiten": (lambda: Whiten(**F64), lambda: SklearnPCA(whiten=True, svd_solver="full"), ROWS),
    "whiten a few": (lambda: Whiten(3, **F64), lambda: SklearnPCA(3, whiten=True, svd_solver="full"), ROWS),
}


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("name", PAIRS)
def test_it_is_what_scikit_learn_computes(name: str, backend: str) -> None:
    ours, theirs, x = PAIRS[name]
    np.testing.assert_allclose(apply(ours().fit(x), x, backend), theirs().fit_transform(x), **TOLERANCE)


def test_the_components_are_scikit_learns_signs_included() -> None:
    layer, other = PCA(**F64).fit(ROWS), SklearnPCA(svd_solver="full").fit(ROWS)
    np.testing.assert_allclose(layer.components.data, other.components_, **TOLERANCE)
    np.testing.assert_allclose(layer.explained_variance, other.explained_variance_, **TOLERANCE)
    largest = np.argmax(np.abs(layer.components.data), axis=1)
    assert (layer.components.data[np.arange(7), largest] > 0).all()


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_whitened_data_have_the_identity_as_covariance(kind: Any) -> None:
    y = apply(Whiten(kind=kind, **F64).fit(ROWS), ROWS)
    np.testing.assert_allclose(np.cov(y.T), np.eye(7), atol=1e-9)


def test_zca_is_symmetric_and_nearest() -> None:
    zca = Whiten(kind="zca", eps=0.1, **F64).fit(ROWS).matrix.data
    np.testing.assert_allclose(zca, zca.T, atol=1e-12)
    values, axes = np.linalg.eigh(np.cov(ROWS.T))
    np.testing.assert_allclose(zca, axes @ np.diag(1 / np.sqrt(values + 0.1)) @ axes.T, atol=1e-9)


INVERTIBLE: dict[str, tuple[Any, Any]] = {
    "center": (Center(**F64), ROWS),
    "center of channels": (Center("channel", **F64), IMAGES),
    "standardize": (Standardize(**F64), FLAT),
    "minmax": (MinMax(-2, 3, **F64), FLAT),
    "pca": (PCA(**F64), ROWS),
    "whiten": (Whiten(**F64), ROWS),
    "zca": (Whiten(kind="zca", eps=0.1, **F64), ROWS),
    "whiten of few samples": (Whiten(eps=0.1, **F64), ROWS[:4]),
}


@pytest.mark.parametrize("name", INVERTIBLE)
def test_what_was_transformed_is_taken_back(name: str) -> None:
    layer, x = INVERTIBLE[name]
    layer.fit(x)
    np.testing.assert_allclose(apply(lambda v: layer.inverse(layer(v)), x), x, **TOLERANCE)


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_a_few_axes_take_back_what_they_hold(kind: Any) -> None:
    theirs = SklearnPCA(3, svd_solver="full").fit(ROWS)
    nearest = theirs.inverse_transform(theirs.transform(ROWS))
    for layer in (PCA(3, **F64).fit(ROWS), Whiten(3, kind, **F64).fit(ROWS)):
        np.testing.assert_allclose(
            apply(lambda v, layer=layer: layer.inverse(layer(v)), ROWS), nearest, **TOLERANCE
        )


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_fewer_samples_than_features_are_whitened_with_an_eps(kind: Any) -> None:
    few = ROWS[:4]
    layer = Whiten(kind=kind, eps=0.5, **F64).fit(few)
    values, axes = np.linalg.eigh(np.cov(few.T))
    inner = axes @ np.diag(1 / (np.maximum(values, 0) + 0.5)) @ axes.T
    matrix = layer.matrix.data
    np.testing.assert_allclose(matrix.T @ matrix, inner, atol=1e-9)


def test_many_samples_have_the_axes_of_a_singular_value_decomposition() -> None:
    tall = RNG.normal(size=(3000, 5)) * [1e-4, 1, 1e3, 1, 10] + 1e3
    found = PCA(**F64).fit(tall)
    _, singular, axes = np.linalg.svd(tall - tall.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.explained_variance, singular**2 / 2999, rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.components.data @ axes.T), np.eye(5), atol=1e-9)


@pytest.mark.parametrize("turn", [1, -1])
def test_rounding_chooses_no_sign_among_entries_of_one_magnitude(turn: int) -> None:
    a = RNG.normal(size=400)
    for shift in np.linspace(-1, 1, 9) * 1e-15:
        x = np.column_stack([a, turn * a + 0.1 * np.roll(a, 7)])
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        x[:, 1] *= 1 + shift
        axes = PCA(**F64).fit(x).components.data
        np.testing.assert_allclose(axes, np.array([[1, turn], [1, -turn]]) / np.sqrt(2), atol=1e-6)


def test_centering_is_by_feature_or_by_channel() -> None:
    np.testing.assert_allclose(apply(Center(**F64).fit(IMAGES), IMAGES).mean(axis=0), 0, atol=1e-12)
    y = apply(Standardize("channel", **F64).fit(IMAGES), IMAGES)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-12)


def local_norm(image: Any, window: int, eps: float) -> Any:
    """As the definition says it, one pixel after the other."""
    r = window // 2

    def mean(a: Any) -> Any:
        out = np.empty_like(a)
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                out[i, j] = a[max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1].mean()
        return out

    rest = image - mean(image)
    return rest / np.maximum(np.sqrt(mean(rest * rest)), eps)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_local_normalisation_is_its_definition(backend: str) -> None:
    found = apply(LocalNorm(5, 0.3), IMAGES, backend)
    expected = np.array([[local_norm(channel, 5, 0.3) for channel in image] for image in IMAGES])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_layer_in_f32_exports(tmp_path: Any) -> None:
    import onnxruntime

    layer = Whiten().fit(ROWS)
    nv.export_onnx(nv.trace(layer, "f32[B,7]"), tmp_path / "w.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "w.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": ROWS.astype(np.float32)})
    np.testing.assert_allclose(found, SklearnPCA(whiten=True).fit_transform(ROWS), rtol=1e-3, atol=1e-3)


HOLED = ROWS.copy()
HOLED[3, 2] = np.nan
SINGULAR = np.column_stack([ROWS, ROWS[:, 0] + ROWS[:, 1]])


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda: Center().fit(HOLED), r"Center\.fit: data is nan at \[3, 2\]"),
        (lambda: Center().fit(np.zeros((0, 3))), "expected samples along the first axis"),
        (lambda: Center().fit(np.zeros(3)), r"data is \[3\]"),
        (lambda: PCA(9).fit(SINGULAR), "components is 9, the data has rank 7"),
        (lambda: PCA(8).fit(SINGULAR), "components is 8, the data has rank 7"),
        (lambda: PCA(0), "components is 0"),
        (
            lambda: PCA().fit(np.full((7, 3), 0.1)),
            "all 7 samples are the same to rounding, the data has rank 0",
        ),
        (
            lambda: PCA(check_finite=False).fit(HOLED),
            "the mean of feature 2 is nan: it has no principal axes",
        ),
        (lambda: Whiten(0), "Whiten: components is 0"),
        (lambda: Whiten(8).fit(ROWS), "components is 8, the data has rank 7"),
        (lambda: Whiten(8, eps=1).fit(ROWS), "components is 8, the data has 7 features"),
        (lambda: Whiten().fit(np.full((7, 3), 0.1)), "the covariance is singular: .* rank 0"),
        (lambda: Center(dtype="i32"), "dtype is i32, expected a float type"),
        (lambda: Center().fit([["a", "b"]]), "data holds str.*, expected real numbers"),
        (lambda: Center().fit(ROWS * 1j), "data holds complex128, expected real numbers"),
        (lambda: Center().fit([[1, {}]]), "data is no array of real numbers"),
        (lambda: Center().fit([[1, 2], [3]]), "data is no array of real numbers"),
        (lambda: Center().fit(ROWS * 1e60), r"mean is .*e\+60 at \[0\], beyond f32"),
        (lambda: Standardize().fit(ROWS * 1e-60), r"std is .*e-60 at \[0\], beyond f32"),
        (lambda: PCA(2).fit(IMAGES), r"expected \[N, D\]"),
        (lambda: PCA(1).fit(ROWS[:1]), "1 sample, expected at least 2"),
        (lambda: Whiten().fit(SINGULAR), "the covariance is singular: its 8 eigenvalues go from .* rank 7"),
        (lambda: Whiten(kind="both"), 'kind is "both", expected pca or zca'),  # type: ignore[arg-type]
        (lambda: Whiten(eps=-1), "eps is -1"),
        (lambda: MinMax(1, 1), "expected low below high"),
        (lambda: LocalNorm(4), "window is 4, expected an odd number"),
        (lambda: LocalNorm(3, 0), "eps is 0"),
        (lambda: Standardize("row"), 'per is "row"'),  # type: ignore[arg-type]
    ],
)
def test_wrong_data_and_options_are_errors_with_their_numbers(fit: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit()


def test_a_hint_says_what_helps_against_a_singular_covariance() -> None:
    with pytest.raises(InputError) as caught:
        Whiten().fit(SINGULAR)
    assert caught.value.hint == "pass eps=1e-5, or components=7"
    Whiten(eps=1e-5).fit(SINGULAR)
    Whiten(7).fit(SINGULAR)


def test_unchecked_data_may_hold_nan() -> None:
    assert np.isnan(Center(check_finite=False).fit(HOLED).mean.data[2])


def test_unfitted_use_and_other_features_are_errors() -> None:
    with pytest.raises(TypeInferenceError, match="PCA: it has no statistics"):
        nv.trace(PCA(2), "f32[B,7]")
    with pytest.raises(TypeInferenceError, match=r"PCA\.inverse: it has no statistics"):
        nv.trace(PCA(2).inverse, "f32[B,2]")
    with pytest.raises(TypeInferenceError, match=r"PCA\.inverse: it was fitted to samples \[2\]"):
        nv.trace(PCA(2).fit(ROWS).inverse, "f32[B,7]")
    with pytest.raises(TypeInferenceError, match=r"Center: it was fitted to samples \[7\]"):
        nv.trace(Center().fit(ROWS), "f32[B,6]")
    with pytest.raises(TypeInferenceError, match=r"fitted to samples \[3,1,1\]"):
        nv.trace(Center("channel").fit(IMAGES), "f32[B,4,8,6]")


def test_a_program_made_before_keeps_what_belongs_together() -> None:
    layer = PCA(**F64).fit(ROWS)
    run = nv.compile(layer, "f64[B,7]", backend="reference")
    before = run(ROWS)
    layer.fit(ROWS * 2)
    np.testing.assert_allclose(run(ROWS * 2), before * 2, atol=1e-9)  # the same shapes: the new statistics
    flat = ROWS.copy()
    flat[:, 6] = flat[:, 0]
    layer.fit(flat)  # one component less: new entries
    assert layer.components.data.shape == (6, 7)
    np.testing.assert_allclose(run(ROWS * 2), before * 2, atol=1e-9)
