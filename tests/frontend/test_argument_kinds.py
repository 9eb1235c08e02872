"""What is given where something else is expected is named as what it is: its element type, a size, a truth value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.dims import UnknownSize
from nervure.ir.errors import NervureError, TraceError

LSTM: Any = nn.LSTM(3, 4)


def scan(x: Any, **options: Any) -> Any:
    return nv.scan(lambda c, r: (c + r, None), np.zeros((2, 3), np.float32), x, **options)[0]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda x: LSTM(np.array(["a"])),
            "LSTM: x is an array of <U1[1], expected another element type",
        ),
        (
            lambda x: LSTM(np.zeros((2, 2, 3), np.complex128)),
            "LSTM: x is an array of complex128[2, 2, 3], expected another element type",
        ),
        (lambda x: LSTM(x, seq_lens=[x.shape[0], 1]), "LSTM: seq_lens holds T, expected numbers"),
        (lambda x: scan(x, remat=x.shape[0]), "scan: remat is T, expected an integer, at least 1 step"),
        (lambda x: np.zeros_like(x, shape=-1), "zeros_like: shape is -1, expected at least 0"),
        (lambda x: np.ones_like(x, shape=2.5), "ones_like: shape is 2.5, expected an integer, at least 0"),
        (
            lambda x: np.full_like(x, 2, shape=(x.shape[0], "3")),
            'full_like: shape[1] is "3", expected an integer, at least 0',
        ),
    ],
    ids=range(7),
)
def test_a_wrong_argument_is_named_as_what_it_is(f: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(NervureError) as caught:
        nv.trace(f, "f32[T,2,3]")
    assert caught.value.message.startswith(message)
    assert "test_argument_kinds.py" in caught.value.where[0]


def test_an_error_of_another_kind_keeps_its_words() -> None:
    kept: list[Any] = []
    nv.trace(lambda x: kept.append(x + 1) or x, "f32[2,2,3]")
    with pytest.raises(TraceError, match="a traced value is used outside the function it was made in"):
        nv.trace(lambda x: LSTM(x, seq_lens=kept[0])[0], "f32[2,2,3]")


@pytest.mark.parametrize("shape", [np.int64(3), 3, (3,), [np.int32(3)], np.array([3])], ids=repr)
def test_a_shape_may_be_any_integers(shape: Any) -> None:
    program = nv.trace(lambda x: np.zeros_like(x, shape=shape), "f32[T,2,3]")
    assert nv.parse(str(program)).main.outputs[0].type.shape == (3,)


def test_a_shape_of_a_size_and_a_numpy_integer_prints_and_runs() -> None:
    program = nv.trace(lambda x: np.ones_like(x, shape=(x.shape[0], np.int64(3))), "f32[T,2,3]")
    assert "f32[T,3]" in str(program)
    assert np.asarray(nv.compile(program, backend="reference")(np.zeros((4, 2, 3), np.float32))).shape == (
        4,
        3,
    )


@pytest.mark.parametrize("f", [np.arange, lambda n: 1 / n, lambda n: n / 2, lambda n: n / n], ids=range(4))
def test_a_size_that_is_not_known_is_no_number(f: Callable[[Any], Any]) -> None:
    with pytest.raises(UnknownSize, match="dim T is not known before the program runs"):
        nv.trace(lambda x: (f(x.shape[0]), x)[1], "f32[T]")
    assert nv.trace(lambda x: (x / x.shape[0], x.shape[0] / x), "f32[T]").main.outputs


def test_blocks_may_be_given_as_a_truth_value_of_numpy() -> None:
    want = str(nv.trace(lambda x: scan(x, remat=True), "f32[9,2,3]"))
    assert str(nv.trace(lambda x: scan(x, remat=np.True_), "f32[9,2,3]")) == want
    assert nn.RNN(3, 4, remat=np.bool_(True)).remat is True


def test_a_number_of_turns_that_is_a_tensor_gets_a_hint_that_helps() -> None:
    with pytest.raises(NervureError) as caught:
        nv.trace(
            lambda x: nv.while_loop(lambda c: c.sum() < 5, lambda c: c + 1, x, max_trip=x.sum()), "f32[3]"
        )
    assert caught.value.hint == "sizes are known by the axes of inputs, as x.shape[0] is"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda **o: nn.Linear(3, 4, **o), "Linear"),
        (lambda **o: nn.Conv2d(3, 4, 3, **o), "Conv2d"),
        (lambda **o: nn.LSTM(3, 4, **o), "LSTM"),
        (lambda **o: nn.GRUCell(3, 4, **o), "GRUCell"),
    ],
    ids=["Linear", "Conv2d", "LSTM", "GRUCell"],
)
def test_a_wrong_element_type_or_generator_names_the_layer(make: Callable[..., Any], name: str) -> None:
    with pytest.raises(NervureError, match=f"^{name}: dtype is i32, expected f64, f32, f16 or bf16"):
        make(dtype="i32")
    with pytest.raises(NervureError, match=f"^{name}: rng is 0, expected a numpy Generator"):
        make(rng=0)


def test_an_array_is_no_integer_and_named_as_an_array() -> None:
    with pytest.raises(NervureError, match=r"^LSTM: hidden_size is an array of int64, expected an integer"):
        nn.LSTM(3, np.array(4))  # pyright: ignore[reportArgumentType]
