"""Recurrent layers as programs, the functions around sequences, and what they refuse."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.inspect.summary import summary_of_program
from nervure.ir.errors import InputError, NervureError, TypeInferenceError
from nervure.passes.manager import run_pipeline
from nervure.passes.pipeline import Pipeline

RNG = np.random.default_rng(0)


def message_of(f: Any, *specs: str) -> str:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(f, *specs)
    assert caught.value.where and "test_recurrent.py" in str(caught.value)
    return caught.value.message


def test_a_layer_is_one_composite_and_becomes_a_product_and_a_loop() -> None:
    layer = nn.LSTM(3, 4)
    program = nv.trace(lambda x: layer(x)[0], "f32[T,B,3]")
    assert [n.op.mnemonic for n in program.main.nodes].count("lstm") == 1
    apart = run_pipeline(program, Pipeline.parse("decompose,canonicalize,dce")).program.main
    (loop,) = (n for n in apart.nodes if n.op.mnemonic == "scan")
    products = [n for n in apart.nodes if n.op.mnemonic == "dot_general"]
    assert [str(p.results[0].type) for p in products] == ["f32[T,B,16]"], "one product for all steps' inputs"
    inner = [n.op.mnemonic for n in loop.regions[0].nodes]
    assert inner.count("dot_general") == 1
    weights = {o.entry for n in apart.nodes for o in n.operands if o.entry is not None}
    assert weights == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert not [n for n in apart.nodes if n.op.mnemonic == "concat"], "weights are read where they lie"


def test_both_directions_read_their_weights_where_they_lie() -> None:
    layer = nn.GRU(3, 4, bidirectional=True)
    program = nv.trace(lambda x: layer(x)[1], "f32[5,B,3]")
    apart = run_pipeline(program, Pipeline.parse("decompose,canonicalize,dce")).program.main
    joined = [n for n in apart.nodes if n.op.mnemonic == "concat"]
    assert all(o.node is not None for n in joined for o in n.operands), "only states are joined, no weights"


def test_training_runs_the_loop_it_differentiates() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.body = nn.LSTM(2, 3)

        def __call__(self, x: Any) -> Any:
            return self.body(x)[0]

    program = nv.training_step(Model(), nn.mse_loss, optim.SGD(lr=0.1), "f32[4,B,2]", "f32[4,B,3]")
    assert "lstm" not in [n.op.mnemonic for n in program.main.nodes]
    layer = nn.LSTM(2, 3)
    slope = nv.trace(nv.grad(lambda x: layer(x)[0].sum()), "f32[4,B,2]")
    assert "lstm" not in [n.op.mnemonic for n in slope.main.nodes]
    again = nv.grad(nv.trace(lambda x: layer(x)[0].sum(), "f32[4,B,2]"))
    assert "lstm" not in [n.op.mnemonic for n in again.main.nodes]


def test_a_gradient_behind_a_layer_sees_its_argument() -> None:
    """The layer before the argument becomes a loop as well; the argument must be found again."""
    layer = nn.RNN(2, 3, dtype="f64")

    def slope(x: Any) -> Any:
        return nv.grad(lambda h: (h * h).sum())(layer(x)[0])

    x = RNG.normal(size=(4, 1, 2))
    want = 2 * nv.compile(lambda x: layer(x)[0], x, backend="reference")(x)
    np.testing.assert_allclose(nv.compile(slope, x, backend="reference")(x), want)


@pytest.mark.parametrize("reset_after", [True, False])
def test_both_reset_forms_of_gru(reset_after: bool) -> None:
    layer = nn.GRU(2, 3, reset_after=reset_after, dtype="f64")
    x, h = RNG.normal(size=(1, 2, 2)), RNG.normal(size=(1, 2, 3))
    got = nv.compile(lambda x, h: layer(x, h)[0][0], x, h)(x, h)
    w, r, wb, rb = (layer.state_dict()[f"{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    from_x, from_h = np.split(x[0] @ w.T + wb, 3, 1), np.split(h[0] @ r.T + rb, 3, 1)
    reset, update = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
    last = reset * from_h[2] if reset_after else (reset * h[0]) @ r[6:].T + rb[6:]
    np.testing.assert_allclose(got, (1 - update) * np.tanh(from_x[2] + last) + update * h[0], rtol=1e-12)


def test_options_of_lstm_reach_the_cell() -> None:
    nv.seed(0)
    plain, shifted = nn.LSTM(2, 3), nn.LSTM(2, 3, num_layers=2, forget_bias=1.0)
    assert np.abs(plain.bias_ih_l0.data).max() < 0.6
    for layer in range(2):
        bias = shifted.state_dict()[f"bias_ih_l{layer}"]
        assert bias[3:6].min() > 0.4
        assert np.abs(np.delete(bias, [3, 4, 5])).max() < 0.6
    seeing = nn.LSTM(2, 3, peepholes=True, clip=0.3, dtype="f64")
    x = 5 * RNG.normal(size=(6, 1, 2))
    before = nv.compile(lambda x: seeing(x)[0], x)(x)
    assert np.abs(before).max() < 0.6, "gates are within sigmoid(-0.3)..sigmoid(0.3)"
    seeing.peephole_l0.assign(np.zeros(9))
    assert np.abs(nv.compile(lambda x: seeing(x)[0], x)(x) - before).max() > 1e-3


def test_an_elman_network_is_u_v_and_w() -> None:
    layer = nn.ElmanRNN(2, 3, 4, nonlinearity="sigmoid", dtype="f64")
    assert [*layer.state_dict()] == ["U", "W", "V", "b", "c"]
    x, s = RNG.normal(size=(5, 2, 2)), RNG.normal(size=(2, 3))
    outputs, last = nv.compile(layer, x, s)(x, s)
    u, w, v, b, c = (layer.state_dict()[n] for n in "UWVbc")
    for t in range(5):
        s = 1 / (1 + np.exp(-(x[t] @ u.T + s @ w.T + b)))
        np.testing.assert_allclose(outputs[t], s @ v.T + c, rtol=1e-12)
    np.testing.assert_allclose(last, s, rtol=1e-12)


def test_lengths_mask_steps_and_an_empty_sequence_keeps_its_state() -> None:
    layer = nn.LSTM(2, 3, batch_first=True, bidirectional=True, dtype="f64")

    def model(x: Any, lens: Any, h: Any, c: Any) -> Any:
        y, (h, c) = layer(x, (h, c), seq_lens=lens)
        return y, h, c

    x, lens = RNG.normal(size=(3, 5, 2)), np.array([0, 2, 5])
    h, c = RNG.normal(size=(2, 3, 3)), RNG.normal(size=(2, 3, 3))
    run = nv.compile(model, x, lens, h, c)
    y, h1, c1 = run(x, lens, h, c)
    assert (y[0] == 0).all()
    assert (y[1, 2:] == 0).all()
    np.testing.assert_array_equal(h1[:, 0], h[:, 0])
    np.testing.assert_array_equal(c1[:, 0], c[:, 0])
    alone = nv.compile(model, x[1:2, :2], lens[1:2], h[:, 1:2], c[:, 1:2])
    short, h2, _ = alone(x[1:2, :2].copy(), lens[1:2], h[:, 1:2].copy(), c[:, 1:2].copy())
    np.testing.assert_allclose(y[1, :2], short[0], rtol=1e-12)
    np.testing.assert_allclose(h1[:, 1], h2[:, 0], rtol=1e-12)
    for wrong in ([0, 2, 6], [0, -1, 5]):
        with pytest.raises(InputError, match=r"input lens: (6 at \[2\]|-1 at \[1\]) is outside 0\.\.5"):
            run(x, np.array(wrong), h, c)


@pytest.mark.parametrize("backend", ["reference", "llvm", "onnx"])
def test_lengths_are_held_against_the_steps_of_the_call(backend: str) -> None:
    layer = nn.RNN(2, 3, dtype="f64")
    for kind in ("i64", "i32", "u8"):
        run = nv.compile(
            lambda x, n: layer(x, None, n)[1], "f64[T:1..900,B,2]", f"{kind}[B]", backend=backend
        )
        dtype = run.signature.inputs[1][1].dtype.numpy
        for steps in (4, 9):
            x = np.ones((steps, 2, 2))
            assert run(x, np.array([0, steps], dtype)).shape == (1, 2, 3)
            with pytest.raises(
                InputError, match=rf"{steps + 1} at \[1\] is outside 0\.\.{steps}, where T is {steps}"
            ):
                run(x, np.array([4, steps + 1], dtype))


def test_lengths_of_a_loop_are_held_against_its_steps() -> None:
    def f(x: Any, n: Any) -> Any:
        return nv.scan(lambda h, r: (h + r, None), np.zeros((2, 3), np.float32), x, seq_lens=n)[0]

    run = nv.compile(nv.parse(str(nv.trace(f, "f32[T,2,3]", "i64[2]"))))
    assert run(np.ones((5, 2, 3), np.float32), np.array([5, 2])).tolist() == [[5.0] * 3, [2.0] * 3]
    with pytest.raises(InputError, match=r"6 at \[0\] is outside 0\.\.5"):
        run(np.ones((5, 2, 3), np.float32), np.array([6, 2]))


def test_last_steps_by_length() -> None:
    x, lens = RNG.normal(size=(4, 3, 2)), np.array([1, 0, 4])
    want = np.stack([x[0, 0], np.zeros(2), x[3, 2]])
    np.testing.assert_array_equal(nv.compile(nn.last_step, x, lens)(x, lens), want)
    turned = x.transpose(1, 0, 2).copy()
    got = nv.compile(lambda x, n: nn.last_step(x, n, batch_first=True), turned, lens)(turned, lens)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(nv.compile(nn.last_step, x)(x), x[3])


@pytest.mark.parametrize("batch_first", [False, True])
def test_losses_over_time_count_the_steps_of_a_sequence(batch_first: bool) -> None:
    x, labels, lens = RNG.normal(size=(4, 3, 5)), RNG.integers(0, 5, (4, 3)), np.array([4, 1, 2])
    scores = x - np.log(np.exp(x).sum(-1, keepdims=True))
    each = -np.take_along_axis(scores, labels[..., None], -1)[..., 0]
    mask = np.arange(4)[:, None] < lens
    want = {
        "sum": (each * mask).sum(),
        "mean": (each * mask).sum() / 7,
        "batch_mean": (each * mask).sum() / 3,
    }
    if batch_first:
        x, labels, each, mask = x.transpose(1, 0, 2).copy(), labels.T.copy(), each.T, mask.T
    for reduction, number in {**want, "none": each * mask}.items():
        options = {"batch_first": batch_first, "reduction": reduction}
        loss = partial(nn.sequence_loss, nn.cross_entropy, **options)
        np.testing.assert_allclose(nv.compile(loss, x, labels, lens)(x, labels, lens), number, rtol=1e-10)
    plain = nv.compile(lambda a, b: nn.sequence_loss(nn.mse_loss, a, b), x, x)(x, x + 1)
    assert plain == pytest.approx(5), "what the loss gives for a step is summed"


def test_one_to_many_feeds_back_what_a_step_gives() -> None:
    cell, head = nn.LSTMCell(2, 3, dtype="f64"), nn.Linear(3, 2, dtype="f64")
    x = RNG.normal(size=(4, 2))
    ys, h, c = nv.compile(lambda x: (lambda r: (r[0], *r[1]))(nn.one_to_many(cell, x, 5, output=head)), x)(x)
    state: Any = (np.zeros((4, 3)), np.zeros((4, 3)))
    one = nv.compile(lambda x, h, c: (lambda s: (head(s[0]), *s))(cell(x, (h, c))), x, *state)
    for t in range(5):
        x, *state = one(x, *state)
        np.testing.assert_allclose(ys[t], x, rtol=1e-12)
    np.testing.assert_allclose((h, c), state, rtol=1e-12)
    fixed = nn.GRUCell(3, 3, dtype="f64")
    ys, last = nv.compile(lambda h: nn.one_to_many(fixed, h, 4, state=h), RNG.normal(size=(1, 3)))(
        RNG.normal(size=(1, 3))
    )
    assert ys.shape == (4, 1, 3)
    np.testing.assert_array_equal(ys[-1], last)


def test_dropout_stands_between_layers_and_only_in_training() -> None:
    nv.seed(1)
    layer = nn.LSTM(2, 64, 2, dropout=0.5)
    x = np.ones((3, 4, 2), np.float32)
    plain = nv.trace(lambda x: layer(x)[0], "f32[3,4,2]")
    assert "dropout" not in [n.op.mnemonic for n in plain.main.nodes]
    step = nv.trace(lambda x: layer(x)[0], "f32[3,4,2]", training=True)
    assert [n.op.mnemonic for n in step.main.nodes].count("dropout") == 1
    run = nv.compile(step, backend="reference")
    assert (run(x) != run(x)).any(), "each step draws anew"


def test_what_does_not_fit_is_told_with_names_and_numbers() -> None:
    layer, gru = nn.LSTM(3, 4, 2), nn.GRUCell(3, 4)
    assert message_of(layer, "f32[5,B,2]") == "LSTM: expected x [T, N, in] with 3 features"
    short = message_of(lambda x, h, c: layer(x, (h, c)), "f32[5,B,3]", "f32[1,B,4]", "f32[2,B,4]")
    assert short == "LSTM: h0 is f32[1,B,4], expected f32[2,B,4]"
    assert message_of(layer, "f32[5,B,3]", "f32[2,B,4]") == "LSTM: the state is no pair (h, c)"
    lens = message_of(lambda x, n: layer(x, None, n), "f32[5,B,3]", "f32[B]")
    assert lens == "LSTM: seq_lens is f32[B], expected integers [N], one a sequence"
    assert (
        message_of(lambda x, n: layer(x, None, n), "f32[5,4,3]", "i64[3]")
        == "LSTM: seq_lens is i64[3], expected i64[4], one a sequence"
    )
    assert message_of(gru, "f32[B,2]") == "GRUCell: expected x [N, in] with 3 features"
    assert message_of(gru, "f32[B,3]", "f32[B,5]") == "GRUCell: h is f32[B,5], expected f32[B,4]"
    assert message_of(lambda x: nn.one_to_many(gru, x, 3), "f32[B,3]").startswith(
        "one_to_many: a step gives f32[B,4]"
    )
    mixed = message_of(lambda x, w: nn.rnn(x, w, w), "f32[5,B,3]", "f64[1,3,3]")
    assert mixed == "rnn: element types differ: w is f64, x is f32"
    named = message_of(lambda x, w: nn.rnn(x, w, w, activations=["swish"]), "f32[5,B,3]", "f32[1,3,3]")
    assert named == "rnn: no activation is named swish"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.LSTM(3, 4, proj_size=4), "LSTM: proj_size is 4, expected less than hidden_size, 4"),
        (lambda: nn.LSTM(3, 0), "LSTM: hidden_size is 0, expected at least 1"),
        (lambda: nn.GRU(3, 2, 0), "GRU: num_layers is 0, expected at least 1"),
        (lambda: nn.RNN(3, 2, dropout=2.0), r"RNN: dropout is 2.0, expected 0 <= dropout <= 1"),
        (lambda: nn.LSTM(3, 2, clip=-1.0), r"LSTM: clip is -1.0, expected at least 0"),
        (lambda: nn.LSTM(3, 2, bias=False, forget_bias=1.0), "LSTM: there is no bias that forget_bias"),
        (
            lambda: nn.ElmanRNN(3, 2, 1, "elu"),
            'ElmanRNN: nonlinearity is "elu", expected one of "tanh", "relu"',
        ),
    ],
)
def test_constructors_refuse_what_makes_no_layer(make: Any, match: str) -> None:
    with pytest.raises(NervureError, match=match):
        make()


def test_a_layer_costs_its_products_whole_or_taken_apart() -> None:
    layer = nn.LSTM(3, 5, proj_size=2, bidirectional=True)
    program = nv.trace(lambda x: layer(x)[0], "f32[7,4,3]")
    want = 7 * 4 * 2 * (20 * (3 + 2) + 2 * 5)
    assert summary_of_program(program).macs == want
    apart = run_pipeline(program, Pipeline.parse("decompose")).program
    assert summary_of_program(apart).macs == want
