"""Support vector machines against scikit-learn, on every backend; their margins, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

import nervure as nv
from nervure import nn, optim
from nervure.frontend.svm import KernelSVM, LinearSVM
from nervure.frontend.svm_products import Products
from nervure.frontend.svm_solvers import Dual, smo
from nervure.ir.errors import InputError, TypeInferenceError
from nervure.ir.types import f32

RNG = np.random.default_rng(3)
X = RNG.normal(size=(80, 3))
TWO = np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.3 * RNG.normal(size=80) > 0.3, "yes", "no")
THREE = np.digitize(X[:, 0] + 0.2 * RNG.normal(size=80), [-0.5, 0.5]) * 10
F64 = {"dtype": "f64", "tol": 1e-11}
EXACT = {"tol": 1e-10, "max_iter": 100_000}

MACHINES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "linear": (lambda: LinearSVM(**F64), lambda: SVC(kernel="linear", **EXACT)),
    "linear, C=10": (lambda: LinearSVM(10, **F64), lambda: SVC(kernel="linear", C=10, **EXACT)),
    "rbf": (lambda: KernelSVM(**F64), lambda: SVC(**EXACT)),
    "rbf, gamma=2": (lambda: KernelSVM(gamma=2.0, C=3, **F64), lambda: SVC(gamma=2.0, C=3, **EXACT)),
    "rbf, gamma=1/D": (lambda: KernelSVM(gamma="auto", **F64), lambda: SVC(gamma="auto", **EXACT)),
    "poly": (
        lambda: KernelSVM("poly", degree=2, coef0=1, **F64),
        lambda: SVC(kernel="poly", degree=2, coef0=1, **EXACT),
    ),
    "sigmoid": (
        lambda: KernelSVM("sigmoid", gamma=0.1, C=0.5, **F64),
        lambda: SVC(kernel="sigmoid", gamma=0.1, C=0.5, **EXACT),
    ),
}


def decide(machine: Any, x: Any, backend: str = "reference", dtype: str = "f64") -> Any:
    return nv.compile(machine, f"{dtype}[B,3]", backend=backend)(x)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
@pytest.mark.parametrize("name", MACHINES)
def test_the_decision_function_is_scikit_learns(name: str, backend: str) -> None:
    ours, theirs = (make() for make in MACHINES[name])
    ours.fit(X, TWO)
    theirs.fit(X, TWO)
    found, wanted = decide(ours, X, backend), theirs.decision_function(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    assert ours.predict(found).tolist() == theirs.predict(X).tolist()


def test_several_classes_are_one_against_the_rest() -> None:
    ours, theirs = (make() for make in MACHINES["rbf"])
    other = OneVsRestClassifier(theirs).fit(X, THREE)
    found = decide(ours.fit(X, THREE), X)
    wanted = other.decision_function(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
    first, second = np.sort(wanted, axis=1)[:, :-3:-1].T
    clear = first - second > 1e-5
    assert clear.sum() > 60
    assert ours.predict(found)[clear].tolist() == other.predict(X)[clear].tolist()


def test_a_machine_of_several_is_the_machine_of_its_class() -> None:
    found = decide(LinearSVM(**F64).fit(X, THREE), X)
    for k, label in enumerate([0, 10, 20]):
        np.testing.assert_allclose(found[:, k], decide(LinearSVM(**F64).fit(X, label == THREE), X), atol=1e-9)


def test_only_support_vectors_are_kept() -> None:
    ours, theirs = KernelSVM(**F64).fit(X, TWO), SVC(**EXACT).fit(X, TWO)
    assert len(ours.support.data) == len(theirs.support_)
    np.testing.assert_array_equal(ours.support.data, X[np.sort(theirs.support_)])


def test_the_margin_of_two_points_is_half_their_distance() -> None:
    machine = LinearSVM(1e6, **F64).fit([[0.0, 0.0], [3.0, 4.0]], [0, 1])
    np.testing.assert_allclose(machine.margin, [2.5])
    found = nv.compile(machine, "f64[B,2]", backend="reference")(np.array([[1.5, 2.0], [0, 0], [3, 4]]))
    np.testing.assert_allclose(found, [0, -1, 1], atol=1e-9)


@pytest.mark.parametrize("backend", ["llvm", "onnx"])
@pytest.mark.parametrize("name", MACHINES)
def test_in_f32_it_compiles(name: str, backend: str) -> None:
    machine, theirs = (make() for make in MACHINES[name])
    machine.dtype = f32
    wanted = theirs.fit(X, TWO).decision_function(X)
    found = decide(machine.fit(X, TWO), X.astype(np.float32), backend, "f32")
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["linear", "rbf", "poly", "sigmoid"])
def test_it_exports(name: str, tmp_path: Path) -> None:
    import onnxruntime

    machine, theirs = (make() for make in MACHINES[name])
    nv.export_onnx(nv.trace(machine.fit(X, TWO), "f64[B,3]"), tmp_path / "svm.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "svm.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": X})
    wanted = theirs.fit(X, TWO).decision_function(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_far_from_zero_the_rbf_kernel_keeps_its_digits(backend: str) -> None:
    far = X.astype(np.float32) + np.float32(1000)
    machine = KernelSVM(tol=1e-11).fit(far, TWO)
    wanted = (
        SVC(**EXACT).fit(far.astype(np.float64) - 1000, TWO).decision_function(far.astype(np.float64) - 1000)
    )
    # an f32 support vector is exact here, so that nothing but the arithmetic rounds
    np.testing.assert_allclose(decide(machine, far, backend, "f32"), wanted, atol=1e-4)


def test_a_layer_by_the_names_of_nn() -> None:
    assert nn.LinearSVM is LinearSVM is nv.svm.LinearSVM
    assert nn.KernelSVM is KernelSVM is nv.svm.KernelSVM
    with pytest.raises(AttributeError, match=r"nervure\.nn has no KernelSVC"):
        nn.KernelSVC  # type: ignore[attr-defined]  # noqa: B018


SIGNS = np.where(TWO == "yes", 1.0, -1.0)


def assert_optimal(machine: Any, x: Any, signs: Any, dual: Dual) -> None:
    """Within the box, on the line, and without a gap between the primal and the dual objective."""
    beta, matrix = dual.alpha * signs, machine.products(x, x)
    assert dual.converged
    assert (dual.alpha >= 0).all() and (dual.alpha <= machine.C).all()
    assert abs(beta.sum()) <= 1e-12 * machine.C * len(signs)
    scores, energy = matrix @ beta + dual.intercept, beta @ matrix @ beta / 2
    primal = energy + machine.C * np.maximum(0, 1 - signs * scores).sum()
    # each hinge may be off by the violation that is left
    allowed = machine.C * len(signs) * dual.violation + 1e-9 * primal
    assert dual.violation < 1e-7
    assert abs(primal - (dual.alpha.sum() - energy)) <= allowed


@pytest.mark.parametrize("name", [n for n in MACHINES if n != "sigmoid"])
def test_there_is_no_gap_between_primal_and_dual(name: str) -> None:
    machine = MACHINES[name][0]().fit(X, TWO)
    assert_optimal(machine, X, SIGNS, machine.dual[0])


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (lambda: LinearSVM(**F64), 1e3),
        (lambda: LinearSVM(1e6, **F64), 1.0),
        (lambda: KernelSVM("poly", gamma=1.0, coef0=1.0, **F64), 30.0),
    ],
)
def test_badly_scaled_data_come_to_the_optimum_too(make: Any, scale: float) -> None:
    machine = make().fit(X * scale, TWO)
    assert_optimal(machine, X * scale, SIGNS, machine.dual[0])
    assert machine.dual[0].steps < 20_000


@pytest.mark.parametrize("kept", [2, 7, 79])
def test_rows_made_one_by_one_give_the_same_machine(kept: int) -> None:
    machine = KernelSVM(**F64).fit(X, TWO)
    rows = Products(machine.products, X, limit=kept * 8 * len(X))
    assert rows.whole is None
    found = smo(rows, SIGNS, 1.0, tol=1e-11)
    assert len(rows.rows) <= kept
    np.testing.assert_allclose(found.alpha, machine.dual[0].alpha, atol=1e-8)
    np.testing.assert_allclose(rows.times(found.alpha), machine.products(X, X) @ found.alpha, atol=1e-12)


def test_fitting_twice_gives_the_same_bits_and_keeps_what_is_compiled() -> None:
    machine = LinearSVM(**F64).fit(X, TWO)
    run = nv.compile(machine, "f64[B,3]")
    before, first = machine.weight.data.copy(), run(X)
    machine.fit(-X, TWO)
    np.testing.assert_allclose(run(-X), first, atol=1e-8)
    machine.fit(X, TWO)
    assert np.array_equal(machine.weight.data, before)
    assert np.array_equal(run(X), first)


def test_unchecked_nan_ends_at_once_and_shows() -> None:
    machine = KernelSVM(check_finite=False, dtype="f64").fit(np.where(X > 2, np.nan, X), TWO)
    assert machine.dual[0].steps < 10
    assert np.isnan(decide(machine, X)).all()


def test_as_many_steps_as_are_given_are_made() -> None:
    machine = LinearSVM(10, steps=20, **F64).fit(X, TWO)
    assert machine.dual[0].steps == 20
    assert machine.dual[0].violation > 1e-3 and not machine.dual[0].converged


def objective(w: Any, c: float, signs: Any, cost: float) -> float:
    return float(w @ w / 2 + cost * np.maximum(0, 1 - signs * (X @ w + c)).sum())


def test_subgradient_descent_comes_near_the_optimum() -> None:
    signs = np.where(TWO == "yes", 1.0, -1.0)
    best = LinearSVM(0.1, **F64).fit(X, TWO)
    walked = LinearSVM(0.1, "subgradient", steps=5000, dtype="f64").fit(X, TWO)
    values = [objective(m.weight.data[0], float(m.bias.data[0]), signs, 0.1) for m in (best, walked)]
    assert values[0] <= values[1] <= values[0] * 1.01


def test_a_training_step_with_the_hinge_loss_comes_to_the_same_hyperplane() -> None:
    signs = np.where(TWO == "yes", 1.0, -1.0)[:, None]
    cost = 0.1
    nv.seed(0)
    model = nn.Linear(3, 1, dtype="f64")

    def loss(scores: Any, y: Any) -> Any:
        return cost * nn.hinge_loss(scores, y, reduction="sum") + (model.weight * model.weight).sum() / 2

    optimizer = optim.SGD(0.02)
    step = nv.compile(nv.training_step(model, loss, optimizer, "f64[80,3]", "f64[80,1]"))
    for rate in (0.02, 0.005, 0.001, 0.0002):
        optimizer.lr = rate
        for _ in range(3000):
            step(X, signs)
    best = LinearSVM(cost, **F64).fit(X, TWO)
    values = [
        objective(m.weight.data.reshape(-1), float(m.bias.data.reshape(-1)[0]), signs[:, 0], cost)
        for m in (best, model)
    ]
    assert values[1] <= values[0] * (1 + 1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearSVM(0), "C is 0, expected above 0"),
        (lambda: LinearSVM(dtype="i32"), "LinearSVM: dtype is i32, expected a float type"),
        (lambda: LinearSVM().fit([["a"], ["b"]], [0, 1]), "LinearSVM.fit: x holds str"),
        (lambda: KernelSVM().fit([[1], [2, 3]], [0, 1]), "KernelSVM.fit: x is no array of real numbers"),
        (lambda: LinearSVM(solver="newton"), 'solver is "newton"'),  # type: ignore[arg-type]
        (lambda: KernelSVM("rbd"), 'kernel is "rbd"'),  # type: ignore[arg-type]
        (lambda: KernelSVM(gamma=-1), "gamma is -1"),
        (lambda: KernelSVM(gamma="wide"), "gamma is wide, expected scale, auto or a number"),  # type: ignore[arg-type]
        (lambda: LinearSVM(tol=-1), "tol=-1, steps=None"),
        (lambda: LinearSVM(np.inf, "subgradient"), "C is inf, expected a finite one"),
        (lambda: LinearSVM(np.inf).fit(X, TWO), "no optimum found"),
        (lambda: LinearSVM().fit(X, np.where(X[:, 0] > 0, np.nan, 1)), r"y is nan at \[\d+\]"),
        (lambda: LinearSVM().fit(X, TWO[:5]), r"x is \[80, 3\], y \[5\]"),
        (lambda: LinearSVM().fit(X[:, 0], TWO), r"expected \[N, D\]"),
        (lambda: LinearSVM().fit(X, np.ones(80)), "all labels are 1.0, expected two classes"),
        (lambda: KernelSVM().fit(np.where(X > 2, np.nan, X), TWO), "x is nan at"),
    ],
)
def test_wrong_options_and_data_are_errors(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_unfitted_use_and_other_features_are_errors() -> None:
    with pytest.raises(TypeInferenceError, match="LinearSVM: it has no support vectors"):
        nv.trace(LinearSVM(), "f32[B,3]")
    with pytest.raises(TypeInferenceError, match="KernelSVM: it was fitted to 3 features"):
        nv.trace(KernelSVM().fit(X, TWO), "f32[B,4]")


def test_a_program_made_before_another_fit_keeps_what_belongs_together() -> None:
    machine = KernelSVM(**F64).fit(X, TWO)
    run = nv.compile(machine, "f64[B,3]", backend="reference")
    before = run(X)
    count = len(machine.support.data)
    machine.fit(X[:40], TWO[:40])
    assert len(machine.support.data) != count
    np.testing.assert_array_equal(run(X), before)
