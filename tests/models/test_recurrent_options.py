"""Options of recurrent layers that concern the derivative: steps computed again, and derivatives cut between blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import NervureError

T, N, IN, H = 11, 3, 5, 6
LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}

Array = np.ndarray[Any, Any]


def gradients(
    name: str, dtype: str, *, backend: str = "llvm", lens: bool = False, **options: Any
) -> list[Array]:
    """By x and by each parameter, of the sum of squares of all that the layer gives."""
    layer = LAYERS[name](IN, H, dtype=nv.ir.types.DTYPES[dtype], rng=np.random.default_rng(1), **options)
    arrays = [p.data for _, p in layer.named_parameters()]
    names = [n for n, _ in layer.named_parameters()]
    spec = [f"{dtype}[{','.join(map(str, a.shape))}]" for a in arrays]
    x = np.random.default_rng(0).standard_normal((T, N, IN)).astype(arrays[0].dtype)

    def loss(x: Any, *weights: Any) -> Any:
        vars(layer).update(zip(names, weights, strict=True))
        y, last = layer(x, seq_lens=np.array([T, 0, 7], np.int64)) if lens else layer(x)
        return sum((v * v).sum() for v in (y, *(last if isinstance(last, tuple) else (last,))))

    program = nv.grad(loss, tuple(range(1 + len(arrays))))
    run = nv.compile(program, f"{dtype}[{T},{N},{IN}]", *spec, backend=backend)
    return [np.asarray(g) for g in run(x, *arrays)]


@pytest.mark.parametrize("lens", [False, True])
@pytest.mark.parametrize("remat", [1, 4, 11, 50, True])
@pytest.mark.parametrize("name", LAYERS)
def test_steps_computed_again_give_the_same_gradients(name: str, remat: int | bool, lens: bool) -> None:
    options: dict[str, Any] = {"bidirectional": True, "num_layers": 2, "lens": lens}
    want = gradients(name, "f64", **options)
    for got, array in zip(gradients(name, "f64", remat=remat, **options), want, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-10, atol=1e-12)


def test_backends_agree_on_both_options() -> None:
    options: dict[str, Any] = {"bidirectional": True, "remat": 4, "truncate": 3}
    want = gradients("LSTM", "f64", backend="reference", **options)
    for got, array in zip(gradients("LSTM", "f64", **options), want, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-10, atol=1e-12)
    want = gradients("GRU", "f32", backend="reference", **options)
    for got, array in zip(gradients("GRU", "f32", backend="onnx", **options), want, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-4, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("remat", [False, 4])
@pytest.mark.parametrize("every", [1, 3, 4, 11, 20])
@pytest.mark.parametrize("name", LAYERS)
def test_cut_derivatives_are_those_of_states_detached_by_hand_in_pytorch(
    name: str, every: int, remat: int | bool
) -> None:
    torch = pytest.importorskip("torch")
    ours = LAYERS[name](IN, H, dtype=nv.ir.types.f64, rng=np.random.default_rng(1))
    theirs = getattr(torch.nn, name)(IN, H).double()
    theirs.load_state_dict({n: torch.from_numpy(p.data.copy()) for n, p in ours.named_parameters()})
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((T, N, IN))).requires_grad_()
    state, total = None, 0
    for t in range(T):
        if t and t % every == 0:
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        y, state = theirs(x[t : t + 1], state)
        total = total + (y * y).sum()
    total = total + sum((s * s).sum() for s in (state if isinstance(state, tuple) else (state,)))
    total.backward()
    got = gradients(name, "f64", truncate=every, remat=remat)
    want = [x.grad, *(p.grad for p in theirs.parameters())]
    for ours_, theirs_ in zip(got, want, strict=True):
        np.testing.assert_allclose(ours_, theirs_.numpy(), rtol=1e-10, atol=1e-12)


def test_the_backward_direction_is_cut_in_its_own_order() -> None:
    """The reverse half of a bidirectional layer has the gradients of the layer on the steps turned round."""

    def run(layer: Any, flip: bool) -> Any:
        def loss(x: Any) -> Any:
            y, _ = layer(x[::-1] if flip else x)
            half = y[:, :, :H] if flip else y[:, :, H:]
            return (half * half).sum()

        return nv.compile(nv.grad(loss), f"f64[{T},{N},{IN}]")

    both = nn.LSTM(IN, H, bidirectional=True, truncate=4, dtype=nv.ir.types.f64, rng=np.random.default_rng(1))
    one = nn.LSTM(IN, H, truncate=4, dtype=nv.ir.types.f64)
    for n, p in one.named_parameters():
        p.assign(dict(both.named_parameters())[f"{n}_reverse"].data)
    x = np.random.default_rng(0).standard_normal((T, N, IN))
    np.testing.assert_allclose(run(both, False)(x), run(one, True)(x), rtol=1e-10, atol=1e-12)


class Last(nn.Module):
    """A class of what a layer says last."""

    def __init__(self, layer: Any, width: int) -> None:
        self.layer, self.head = layer, nn.Linear(width, 4)

    def __call__(self, x: Any) -> Any:
        return self.head(self.layer(x)[0][-1])


@pytest.mark.parametrize("name", LAYERS)
def test_a_long_sequence_trains_in_a_third_of_the_memory(name: str) -> None:
    found: list[int] = []
    losses: list[list[float]] = []
    for remat in (False, 32, True):
        nv.seed(0)
        model = Last(LAYERS[name](16, 32, remat=remat), 32)
        program = nv.training_step(model, nn.cross_entropy, optim.SGD(0.1), "f32[1024,8,16]", "i64[8]")
        step: Any = nv.compile(program)
        found.append(step.memory({})[0])
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((1024, 8, 16)).astype("f4"), rng.integers(0, 4, 8)
        losses.append([float(step(x, y)) for _ in range(3)])
    assert found[1] < found[0] / 3 and found[2] < found[0] / 3, found
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_lengths_that_are_open_take_blocks_too() -> None:
    nv.seed(0)
    plain, blocks = (nn.GRU(IN, H, remat=r, truncate=5, rng=np.random.default_rng(1)) for r in (False, 4))

    def grad(layer: Any) -> Any:
        return nv.compile(nv.grad(lambda x: (layer(x)[0] ** 2).sum()), f"f32[T:1..64,{N},{IN}]")

    one, two = grad(plain), grad(blocks)
    for steps in (1, 3, 4, 9, 40):
        x = np.random.default_rng(steps).standard_normal((steps, N, IN)).astype("f4")
        np.testing.assert_allclose(two(x), one(x), rtol=1e-4, atol=1e-5)


def test_without_a_derivative_the_options_cost_nothing(tmp_path: Path) -> None:
    nv.seed(0)
    layers = [nn.LSTM(IN, H, rng=np.random.default_rng(1), **o) for o in ({}, {"remat": 4, "truncate": 3})]
    runs = [nv.compile(layer, f"f32[{T},{N},{IN}]") for layer in layers]
    plain, other = (str(run.assembled.program).partition("\nrun {")[2] for run in runs)
    assert plain == other
    nv.export_onnx(nv.trace(layers[1], f"f32[{T},{N},{IN}]"), tmp_path / "net.onnx")
    import onnx

    assert "LSTM" in [n.op_type for n in onnx.load(tmp_path / "net.onnx").graph.node]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"remat": -1}, "remat is -1, expected at least 1 step, or True"),
        ({"remat": 2.5}, "remat is 2.5, expected an integer, at least 1 step"),
        ({"truncate": 0}, "truncate is 0, expected at least 1 step, or None"),
        ({"truncate": True}, "truncate is True"),
        ({"truncate": "ten"}, 'truncate is "ten"'),
    ],
)
def test_wrong_numbers_of_steps_are_refused(options: dict[str, Any], said: str) -> None:
    for name, layer in LAYERS.items():
        with pytest.raises(NervureError, match=f"{name}: {said}"):
            layer(3, 4, **options)


def test_the_functions_take_them_too() -> None:
    def layer(x: Any, w: Any, r: Any) -> Any:
        return nn.functional.gru(x, w, r, remat=2, truncate=-1)

    with pytest.raises(NervureError, match="truncate is -1, expected at least 0 steps"):
        nv.trace(layer, f"f32[{T},{N},{IN}]", f"f32[1,{3 * H},{IN}]", f"f32[1,{3 * H},{H}]")
