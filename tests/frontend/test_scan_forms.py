"""nv.scan with sequences that end early, with blocks that are computed again, and with cut derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError, NervureError

RNG = np.random.default_rng(11)
W, H = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(2, 3))
BACKENDS = ("reference", "llvm", "onnx")


def cell(w: Any) -> Any:
    def step(c: Any, r: Any) -> Any:
        new = nn.tanh(c @ w + r)
        return new, new * 2

    return step


def run(f: Any, *specs: str, backend: str = "llvm") -> Any:
    return nv.compile(f, *specs, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_keeps_its_carry_behind_its_end(backend: str, reverse: bool) -> None:
    def f(x: Any, w: Any, h: Any, lens: Any) -> Any:
        return nv.scan(cell(w), h, x, seq_lens=lens, reverse=reverse)

    call = run(f, "f64[6,2,3]", "f64[3,3]", "f64[2,3]", "i64[2]", backend=backend)
    x = RNG.normal(size=(6, 2, 3))
    for lens in ([6, 3], [0, 1], [2, 6]):
        last, ys = call(x, W, H, np.array(lens))
        for n, length in enumerate(lens):
            c, rows = H[n], np.zeros((6, 3))
            for t in reversed(range(length)) if reverse else range(length):
                c = np.tanh(c @ W + x[t, n])
                rows[t] = 2 * c
            np.testing.assert_allclose(last[n], c, rtol=1e-9)
            np.testing.assert_allclose(ys[:, n], rows, rtol=1e-9)


def test_lengths_out_of_range_are_named() -> None:
    def f(x: Any, h: Any, lens: Any) -> Any:
        return nv.scan(lambda c, r: (c + r, c), h, x, seq_lens=lens)

    with pytest.raises(NervureError, match=r"scan: seq_lens\[1\] is 7, expected 0..6") as caught:
        nv.trace(lambda x, h: f(x, h, [2, 7]), "f64[6,2,3]", "f64[2,3]")
    assert "test_scan_forms.py" in str(caught.value)
    call = run(f, "f64[6,2,3]", "f64[2,3]", "i64[2]")
    for lens in ([1, 7], [-1, 2]):
        with pytest.raises(InputError, match=r"input lens: .*outside 0..6\n  at .*test_scan_forms.py"):
            call(np.zeros((6, 2, 3)), H, np.array(lens))
    for given, message in (
        (np.zeros(2), "scan: seq_lens is f64[2], expected integers [N], one a sequence"),
        (np.zeros(3, "i8"), "scan: carry 0 is f64[2,3], expected 3 sequences on axis 0"),
    ):
        with pytest.raises(NervureError) as caught:
            nv.trace(lambda x, h, given=given: f(x, h, given), "f64[6,2,3]", "f64[2,3]")
        assert caught.value.message == message


def loss(**options: Any) -> Any:
    def f(x: Any, w: Any, h: Any) -> Any:
        last, ys = nv.scan(cell(w), h, x, **options)
        return (ys * ys).sum() + last.sum()

    return nv.value_and_grad(f, (0, 1, 2))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", ["7", "T:0..30"])
def test_steps_that_are_computed_again_give_the_same_derivative(length: str, reverse: bool) -> None:
    specs = (f"f64[{length},2,3]", "f64[3,3]", "f64[2,3]")
    plain = run(loss(reverse=reverse), *specs)
    sizes = (7,) if length == "7" else (0, 1, 5, 6, 7)
    for every in (1, 3, True, 50):
        again = run(loss(reverse=reverse, remat=every), *specs)
        for steps in sizes:
            x = RNG.normal(size=(steps, 2, 3))
            for a, b in zip(again(x, W, H), plain(x, W, H), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_steps_that_are_computed_again_take_less_than_a_third_of_the_memory() -> None:
    def lstm(x: Any, w: Any, h: Any, remat: bool) -> Any:
        def step(carry: Any, r: Any) -> Any:
            h, c = carry
            i, f, z, o = (nn.sigmoid((h @ w)[:, 8 * k : 8 * k + 8] + r) for k in range(4))
            c = f * c + i * nn.tanh(z)
            return (o * nn.tanh(c), c), None

        (last, _), _ = nv.scan(step, (h, h), x, remat=remat)
        return (last * last).sum()

    bytes_: dict[tuple[int, bool], int] = {}
    for steps in (64, 1024, 4096):
        for remat in (False, True):
            f = nv.value_and_grad(lambda x, w, h, r=remat: lstm(x, w, h, r), (1, 2))
            call = run(f, f"f32[{steps},4,8]", "f32[8,32]", "f32[4,8]")
            bytes_[steps, remat] = call.memory({})[0]
    assert bytes_[1024, True] < bytes_[1024, False] / 3
    assert bytes_[4096, False] > 3.5 * bytes_[1024, False], "linear in the steps"
    assert bytes_[4096, True] < 2.5 * bytes_[1024, True], "the root of the steps"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_cut_derivatives_are_those_of_blocks_whose_carry_is_given(every: int, reverse: bool) -> None:
    specs = ("f64[7,2,3]", "f64[3,3]", "f64[2,3]")

    def blocks(x: Any, w: Any, h: Any) -> Any:
        total, order = 0.0, range(6, -1, -1) if reverse else range(7)
        for done, t in enumerate(order):
            if done and done % every == 0:
                h = nv.stop_gradient(h)
            h = nn.tanh(h @ w + x[t])
            total = total + (4 * h * h).sum()
        return total + h.sum()

    x = RNG.normal(size=(7, 2, 3))
    found = run(loss(truncate=every, reverse=reverse), *specs)(x, W, H)
    wanted = run(nv.value_and_grad(blocks, (0, 1, 2)), *specs)(x, W, H)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remat": -1}, "scan: remat is -1, expected at least 1 step, or True"),
        ({"truncate": 0}, "scan: truncate is 0, expected at least 1 step"),
    ],
)
def test_blocks_that_cannot_be_say_why(options: Any, message: str) -> None:
    with pytest.raises(NervureError) as caught:
        nv.trace(lambda x: nv.scan(lambda c, r: (c, r), x[0], x, **options), "f64[5,3]")
    assert caught.value.message == message


def test_second_order_goes_through_loops_of_any_length() -> None:
    def penalty(f: Any) -> Any:
        return nv.grad(lambda x, w, h: (nv.grad(f, 1)(x, w, h) ** 2).sum(), (0, 1, 2))

    def looped(x: Any, w: Any, h: Any) -> Any:
        return (nv.scan(cell(w), h, x)[1] ** 2).sum()

    def written(x: Any, w: Any, h: Any) -> Any:
        total = 0.0
        for t in range(4):
            h = nn.tanh(h @ w + x[t])
            total = total + (4 * h * h).sum()
        return total

    x = RNG.normal(size=(4, 2, 3))
    found = run(penalty(looped), "f64[T,2,3]", "f64[3,3]", "f64[2,3]")(x, W, H)
    wanted = run(penalty(written), "f64[4,2,3]", "f64[3,3]", "f64[2,3]")(x, W, H)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)
