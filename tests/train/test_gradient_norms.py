"""nv.gradient_norms: the gradient by a carry at each step, where it vanishes and where it explodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_a_linear_loop_multiplies_the_gradient_by_its_factor(factor: float, reverse: bool) -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, r: (c * factor + r, None), x[0], x, reverse=reverse)[0]

    (found,) = nv.gradient_norms(f, RNG.normal(size=(9, 4))).carries
    left = np.arange(9)[::-1] if not reverse else np.arange(9)
    np.testing.assert_allclose(found.norms, 2 * factor ** (left + 1.0), rtol=1e-12)
    assert math.isclose(found.rate, factor)


def test_the_norms_are_those_of_the_derivative_by_each_state() -> None:
    x, w, h = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3))

    def f(x: Any) -> Any:
        last, ys = nv.scan(lambda c, r: (nn.tanh(c @ w + r),) * 2, h, x)
        return (ys**2).sum() + last.sum()

    states = [h]
    for row in x:
        states.append(np.tanh(states[-1] @ w + row))
    slope = 1 + 2 * states[-1]
    wanted: list[float] = []
    for t in reversed(range(5)):
        slope = slope * (1 - states[t + 1] ** 2) @ w.T
        wanted.append(float(np.linalg.norm(slope)))
        slope = slope + 2 * states[t]
    (found,) = nv.gradient_norms(f, x).carries
    np.testing.assert_allclose(found.norms, wanted[::-1], rtol=1e-10)


def test_layers_report_each_of_their_loops_and_states_and_can_be_drawn(tmp_path: Path) -> None:
    nv.seed(0)
    model = nn.LSTM(3, 4, bidirectional=True)
    found = nv.gradient_norms(lambda x: model(x)[0], RNG.normal(size=(6, 2, 3)).astype("f4"))
    assert [c.carry for c in found.carries] == ["h", "c", "h", "c"]
    assert all(c.norms.shape == (6,) for c in found.carries)
    text = str(found)
    assert "h of loop 1 (6 steps): a step back multiplies the gradient by" in text
    assert "test_gradient_norms.py" in text
    assert found.to_json()["carries"][0]["norms"] == found.carries[0].norms.tolist()
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "norms.png")
    assert (tmp_path / "norms.png").read_bytes().startswith(b"\x89PNG")


def test_what_has_no_loop_says_so() -> None:
    with pytest.raises(InputError, match="gradient_norms: there is no loop with a carry of floats"):
        nv.gradient_norms(lambda x: x * 2, np.ones(3))


def test_what_vanishes_in_f32_is_still_a_number() -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda h, row: (h * 0.5 + row, None), x[0] * 0, x)[0].sum()

    (carry,) = nv.gradient_norms(f, np.ones((100, 1), np.float32)).carries
    assert carry.norms[0] == pytest.approx(0.5**100)
    assert carry.rate == pytest.approx(0.5)


def test_blocks_of_a_layer_make_no_difference_to_its_report() -> None:
    x = RNG.normal(size=(7, 2, 3))
    plain, blocks = (
        nn.LSTM(3, 4, bidirectional=True, dtype="f64", rng=np.random.default_rng(0), remat=r) for r in (0, 2)
    )
    want = nv.gradient_norms(lambda x: plain(x)[0], x).carries
    got = nv.gradient_norms(lambda x: blocks(x)[0], x).carries
    assert [(c.loop, c.carry) for c in got] == [(c.loop, c.carry) for c in want]
    assert "backwards" not in got[0].loop and "backwards" in got[2].loop
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.norms, b.norms, rtol=1e-12)


def test_a_loop_that_ends_by_a_value_reports_its_turns() -> None:
    def f(x: Any) -> Any:
        return nv.while_loop(lambda c: (c * c).sum() < 50, lambda c: c * 2, x, max_trip=5)

    (found,) = nv.gradient_norms(f, np.array([1.0, 1.0])).carries  # three turns: 2, 8, 32, 128
    np.testing.assert_allclose(found.norms, np.sqrt(2) * np.array([8, 4, 2]))


@pytest.mark.parametrize("backend", ["reference", "llvm"])
def test_turns_that_did_not_run_are_not_in_the_report(backend: str) -> None:
    def f(x: Any) -> Any:
        twice = nv.while_loop(lambda c: c[0] < 500, lambda c: (c[0] * 2, c[1] * 3), (x, x), max_trip=20)
        never = nv.while_loop(lambda c: c < 0, lambda c: c * 2, x, max_trip=20)
        return twice[0] + twice[1] + never

    report = nv.gradient_norms(f, np.array(1.0), backend=backend)
    by_two, by_three, never = report.carries
    assert (by_two.loop, by_three.loop, never.loop) == (
        "loop 1 (9 steps)",
        "loop 1 (9 steps)",
        "loop 2 (0 steps)",
    )
    np.testing.assert_allclose(by_two.norms, 2.0 ** np.arange(9, 0, -1))
    np.testing.assert_allclose([by_two.rate, by_three.rate], [2, 3])
    assert np.isnan(never.rate) and len(str(report).splitlines()) == 3 + 9 + 9
