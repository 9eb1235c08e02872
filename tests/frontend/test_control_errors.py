"""What loops, branches, trees and recurrent layers refuse: each error names the function, what was found, and the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError, NervureError

Z = np.zeros(3, np.float32)
TABLE = np.array([[-1, -1], [-1, -1], [0, 1], [2, -1]])


def scan(x: Any, **options: Any) -> Any:
    return nv.scan(lambda h, r: (h + r, h), Z, x, **options)


def fold(x: Any, table: Any = TABLE, init: Any = Z, **options: Any) -> Any:
    return nv.tree_fold(lambda x, kids: x + kids.sum(1), table, x, init, **options)


def loop(x: Any, **options: Any) -> Any:
    return nv.while_loop(lambda c: c.sum() < 3, lambda c: c + 1, x, **options)


def recurrent(x: Any, **options: Any) -> Any:
    w = np.zeros((1, 3, 3), np.float32)
    return nn.rnn(x.reshape(4, 1, 3), w, w, **options)[0]


LSTM, GRU = nn.LSTM(3, 4), nn.GRU(3, 4)

WRONG: list[tuple[Any, str]] = [
    (lambda x: scan(x, unroll=1.5), "scan: unroll is 1.5, expected an integer, at least 1 step"),
    (lambda x: scan(x, unroll="2"), 'scan: unroll is "2", expected an integer, at least 1 step'),
    (lambda x: scan(x, remat=2.5), "scan: remat is 2.5, expected an integer, at least 1 step, or True"),
    (lambda x: scan(x, truncate=True), "scan: truncate is True, expected an integer, at least 1 step"),
    (lambda x: scan(x, length=2.5), "scan: length is 2.5, expected an integer, at least 0"),
    (
        lambda x: nv.scan(lambda h, _: (h, h), x, length=x.sum()),
        "scan: length is Tensor(f32[]), expected an integer or a dim",
    ),
    (lambda x: nv.scan(3, Z, x), "scan: the body is 3, expected a function of (carry, x)"),  # type: ignore[arg-type]
    (lambda x: nv.scan(lambda h: (h, h), Z, x), "scan: the body takes (h), expected (carry, x)"),
    (
        lambda x: nv.scan(lambda h, r: (h, r, h), Z, x),
        "scan: the body returns tuple of 3, expected a pair (carry, y)",
    ),
    (lambda x: nv.scan(lambda h, r: (h, None), {"a": Z}, x), "scan: init is a dict, expected a tensor"),
    (
        lambda x: nv.scan(lambda h, r: ((h[0], (h[1],)), None), (Z, Z), x),
        "scan: the carry is (f32[3], f32[3]) before the body and (f32[3], (f32[3],)) after it",
    ),
    (lambda x: scan(x, seq_lens=[[1], [2, 3]]), "scan: seq_lens is a list, expected rows of equal length"),
    (
        lambda x: nv.cond(x.sum() > 0, lambda: (x, None), lambda: (None, x)),
        "cond: the first function returns (f32[4,3], None), the second (None, f32[4,3])",
    ),
    (
        lambda x: nv.cond(x.sum() > 0, x, x * 2),
        "cond: the first function is Tensor(f32[4,3]), expected a function of ()",
    ),
    (
        lambda x: nv.cond(x.sum() > 0, x.sum, lambda: 0.0),
        "cond: a result of the second function is 0.0, expected a tensor",
    ),
    (lambda x: loop(x, max_trip=2.5), "while_loop: max_trip is 2.5, expected an integer, at least 0"),
    (lambda x: loop(x, max_trip=-1), "while_loop: max_trip is -1, expected at least 0"),
    (
        lambda x: nv.while_loop(lambda a, b: a.sum() < 3, lambda a, b: (a, b), (x, x)),
        "while_loop: cond takes (a, b), expected (carry)",
    ),
    (
        lambda x: nv.while_loop(lambda c: True, lambda c: c, x),
        "while_loop: the condition is True, expected a tensor",
    ),
    (lambda x: fold(x, width=2.5), "tree_fold: width is 2.5, expected an integer, at least 1"),
    (lambda x: fold(x, width=0), "tree_fold: width is 0, expected at least 1"),
    (
        lambda x: fold(x, [[], [0, 1]]),
        "tree_fold: the table of children is a list, expected rows of equal length",
    ),
    (lambda x: LSTM(x, x), "LSTM: the state is no pair (h, c)"),
    (lambda x: GRU(x, (Z, Z)), "GRU: h0 is a tuple, expected a tensor"),
    (
        lambda x: nn.sequence_mask(TABLE[0], "T"),
        'sequence_mask: length is "T", expected an integer, at least 0',
    ),  # type: ignore[arg-type]
    (
        lambda x: nn.sequence_loss(lambda a, b: (a - b) ** 2, x, x),
        "sequence_loss: the loss takes (a, b), expected (input, target, reduction=)",
    ),
    (lambda x: recurrent(x, activations="tanh"), 'rnn: activations is "tanh", expected a list'),
    (
        lambda x: recurrent(x, activations=["elu"], alphas=["a"]),
        'rnn: an alpha is "a", expected a number',
    ),
    (lambda x: recurrent(x, clip=None), "rnn: clip is None, expected at least 0"),
    (lambda x: recurrent(x, remat=1.5), "rnn: remat is 1.5, expected an integer, at least 0 steps"),
    (lambda x: nn.last_step(x[:0]), "last_step: there are 0 steps, expected at least 1"),
    (
        lambda x: nn.one_to_many(nn.RNNCell(3, 3), x, 2.5),  # type: ignore[arg-type]
        "one_to_many: length is 2.5, expected an integer, at least 0",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[m.split(",")[0] for _, m in WRONG])
def test_wrong_arguments_are_named_with_the_line(call: Any, message: str) -> None:
    with pytest.raises(NervureError) as caught:
        nv.trace(call, "f32[4,3]")
    assert caught.value.message == message
    assert any("test_control_errors.py" in line for line in caught.value.where)


LAYERS: list[tuple[Any, str]] = [
    (
        lambda: LSTM.load_state_dict(None),  # type: ignore[arg-type]
        "load_state_dict: got NoneType, expected arrays by name or a .safetensors file",
    ),
    (lambda: nv.trace(3, "f32[2]"), "int is no module or function"),  # type: ignore[arg-type]
    (lambda: optim.clip_norm("a"), "clip_norm: expected a number above 0, got a"),  # type: ignore[arg-type]
    (
        lambda: nv.training_step(LSTM, nn.mse_loss, optim.SGD(0.1), "f32[2,1,3]", clip=1.0),  # type: ignore[arg-type]
        "training_step: clip is 1.0, expected a function of gradients",
    ),
    (lambda: nn.RNN(3, 2.5), "RNN: hidden_size is 2.5, expected an integer, at least 1"),  # type: ignore[arg-type]
    (lambda: nn.GRU("3", 4), 'GRU: input_size is "3", expected an integer, at least 0'),  # type: ignore[arg-type]
    (lambda: nn.LSTM(3, 4, num_layers=True), "LSTM: num_layers is True, expected an integer, at least 1"),
    (lambda: nn.LSTM(3, 4, proj_size=-1), "LSTM: proj_size is -1, expected at least 0"),
    (lambda: nn.LSTM(3, 4, dropout=None), "LSTM: dropout is None, expected 0 <= dropout <= 1"),  # type: ignore[arg-type]
    (lambda: nn.LSTM(3, 4, clip=float("nan")), "LSTM: clip is nan, expected at least 0"),
    (lambda: nn.LSTM(3, 4, forget_bias="a"), 'LSTM: forget_bias is "a", expected a number'),  # type: ignore[arg-type]
    (lambda: nn.LSTM(3, 4, dtype="i64"), "LSTM: dtype is i64, expected f64, f32, f16 or bf16 for parameters"),
    (lambda: nn.LSTM(3, 4, dtype=None), "LSTM: no element type for None"),
    (lambda: nn.RNN(3, 4, rng=3), "RNN: rng is 3, expected a numpy Generator"),  # type: ignore[arg-type]
    (lambda: nn.RNNCell(-1, 4), "RNNCell: input_size is -1, expected at least 0"),
    (
        lambda: nn.LSTMCell(3, 4, bias=False, forget_bias=1),
        "LSTMCell: there is no bias that forget_bias could be added to",
    ),
    (
        lambda: nn.TreeLSTM(3, 4, bias=False, forget_bias=1),
        "TreeLSTM: there is no bias that forget_bias could be added to",
    ),
    (lambda: nn.ElmanRNN(3, 0, 2), "ElmanRNN: hidden_size is 0, expected at least 1"),
    (
        lambda: nn.TreeLSTM(3, 4, "a"),  # type: ignore[arg-type]
        'TreeLSTM: arity is "a", expected an integer, at least 1, or None for a sum over children',
    ),
]


@pytest.mark.parametrize(("make", "message"), LAYERS, ids=[m.split(",")[0] for _, m in LAYERS])
def test_constructors_name_what_they_refuse(make: Any, message: str) -> None:
    with pytest.raises(NervureError) as caught:
        make()
    assert caught.value.message == message


def test_a_size_that_python_asks_for_is_refused_with_the_line() -> None:
    with pytest.raises(NervureError, match="dim T is not known") as caught:
        nv.trace(lambda x: sum(x[i] for i in range(x.shape[0])), "f32[T,3]")
    assert "test_control_errors.py" in caught.value.where[0]


def test_a_length_beyond_the_range_of_its_symbol_says_how_to_widen_it() -> None:
    run = nv.compile(lambda x: scan(x)[0], "f32[T,3]", backend="reference")
    for steps, hint in ((0, "write T:0..4096 in"), (4097, "write T:1..4097 in")):
        with pytest.raises(InputError, match=f"axis 0 is {steps}, but T is 1..4096") as caught:
            run(np.zeros((steps, 3), np.float32))
        assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize("lens", [[6, 1], [-1, 1]])
def test_lengths_known_when_a_layer_is_traced_are_held_against_its_steps(lens: list[int]) -> None:
    for given in (lens, np.array(lens)):
        with pytest.raises(NervureError) as caught:
            nv.trace(lambda x, given=given: LSTM(x, seq_lens=given), "f32[5,2,3]")
        assert caught.value.message == f"LSTM: seq_lens[0] is {lens[0]}, expected 0..5"
    assert nv.trace(lambda x: LSTM(x, seq_lens=[0, 5])[0], "f32[5,2,3]").main.outputs


def test_known_lengths_have_to_hold_for_every_number_of_steps() -> None:
    def summed(x: Any) -> Any:
        return nv.scan(lambda c, r: (c + r, None), np.zeros((2, 3), np.float32), x, seq_lens=[2, 5])[0]

    with pytest.raises(NervureError) as caught:
        nv.trace(lambda x: LSTM(x, seq_lens=[5, 2])[0], "f32[T,2,3]")
    assert caught.value.message == "LSTM: seq_lens[0] is 5, expected 0..T, where T may be 1"
    assert str(caught.value.hint).startswith("give it the lower bound 5, as f32[T:5..4096,2,3]")
    with pytest.raises(NervureError, match=r"scan: seq_lens\[0\] is 2, expected 0\.\.T, where T may be 1"):
        nv.trace(summed, "f32[T,2,3]")
    run = nv.compile(summed, "f32[T:5..4096,2,3]", backend="reference")
    np.testing.assert_array_equal(run(np.ones((6, 2, 3), np.float32))[:, 0], [2, 5])
    with pytest.raises(InputError, match=r"axis 0 is 3, but T is 5\.\.4096"):
        run(np.ones((3, 2, 3), np.float32))


def test_lengths_out_of_range_name_the_line_that_takes_them() -> None:
    run = nv.compile(lambda x, n: GRU(x, seq_lens=n)[0], "f32[T,2,3]", "i64[2]", backend="reference")
    with pytest.raises(InputError, match=r"input n: 6 at \[0\] is outside 0\.\.5.*\n  at .*_errors\.py:\d+"):
        run(np.ones((5, 2, 3), np.float32), np.array([6, 2]))


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_any_number_below_0_says_that_there_is_no_child(backend: str) -> None:
    run = nv.compile(fold, "f32[4,3]", "i64[4,2]", backend=backend)
    x = np.ones((4, 3), np.float32)
    found = run(x, np.array([[-9, -(2**40)], [-5, -5], [0, 1], [2, -(2**63)]]))
    np.testing.assert_array_equal(found, run(x, TABLE))
