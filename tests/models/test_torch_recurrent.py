"""RNN, LSTM, GRU and their cells against PyTorch: results, gradients, state_dicts, over the grid of arrangements."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the shared helpers stand one folder up

import nervure as nv
from nervure import nn

torch = pytest.importorskip("torch")

from torch_grid import KINDS, with_weights  # noqa: E402  torch may be missing

pytestmark = pytest.mark.torch

T, N, IN, H = 4, 3, 2, 3
GRID = [
    dict(zip(("num_layers", "bidirectional", "bias", "batch_first"), point, strict=True))
    for point in itertools.product((1, 2), (False, True), (True, False), (False, True))
]
LENGTHS = (3, 1, 4)


def layers(name: str, dtype: str, **options: Any) -> tuple[Any, Any]:
    """A layer here and PyTorch's, of the same weights, loaded by name."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(IN, H, **options).to(getattr(torch, f"float{dtype[1:]}"))
    ours = getattr(nn, name)(IN, H, dtype=dtype, **options)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def sequence(dtype: str, options: dict[str, Any]) -> Any:
    x = np.random.default_rng(1).normal(size=(T, N, IN)).astype(KINDS[dtype])
    return x.transpose(1, 0, 2).copy() if options.get("batch_first") else x


def states(name: str, dtype: str, options: dict[str, Any]) -> list[Any]:
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    widths = [options.get("proj_size") or H, H] if name == "LSTM" else [H]
    rng = np.random.default_rng(2)
    return [rng.normal(size=(rows, N, w)).astype(KINDS[dtype]) for w in widths]


def theirs_on(
    layer: Any, arrays: list[Any], lens: Any, options: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """PyTorch's results, and the gradients of a weighted sum of all of them by inputs and weights."""
    x, *start = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    given: Any = x
    first = bool(options.get("batch_first"))
    if lens is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lens), batch_first=first, enforce_sorted=False
        )
    found = layer(given, *([tuple(start)] if len(start) == 2 else start))
    y, last = found
    if lens is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=T)
    results = [y, *(last if isinstance(last, tuple) else (last,))]
    sum((r * torch.from_numpy(slope(k, r)).to(r.dtype)).sum() for k, r in enumerate(results)).backward()
    slopes = [t.grad.numpy() for t in (x, *start, *layer.parameters())]
    return [r.detach().numpy() for r in results], slopes


def slope(k: int, result: Any) -> Any:
    return np.random.default_rng(10 + k).normal(size=tuple(result.shape))


def compare(
    name: str, dtype: str, backend: str, options: dict[str, Any], lens: Any = None, start: bool = True
) -> None:
    ours, theirs = layers(name, dtype, **options)
    arrays = [sequence(dtype, options), *(states(name, dtype, options) if start else [])]
    wanted, wanted_slopes = theirs_on(theirs, arrays, lens, options)
    held = dict(ours.named_parameters())
    inputs = [*arrays, *(p.data for p in held.values())]

    def run(*tensors: Any) -> Any:
        seen: list[Any] = []

        def loss(*given: Any) -> Any:
            x, *rest = given
            before, weights = rest[: len(arrays) - 1], rest[len(arrays) - 1 :]
            with_weights(ours, dict(zip(held, weights, strict=True)))
            state: Any = None if not before else tuple(before) if name == "LSTM" else before[0]
            y, last = ours(x, state, None if lens is None else np.array(lens))
            seen[:] = [y, *(last if isinstance(last, tuple) else (last,))]
            parts = [(r * slope(k, r).astype(KINDS[dtype])).sum() for k, r in enumerate(seen)]
            return sum(parts[1:], parts[0])

        _, slopes = nv.value_and_grad(loss, range(len(inputs)))(*tensors)
        return *seen, *slopes

    found = nv.compile(run, *inputs, backend=backend)(*inputs)
    for k, (got, want) in enumerate(zip(found, [*wanted, *wanted_slopes], strict=True)):
        assert got.shape == want.shape, k
        if dtype == "f64":
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12, err_msg=f"result {k}")
        else:
            np.testing.assert_allclose(
                got, want, rtol=0, atol=1e-4 * np.abs(want).max(), err_msg=f"result {k}"
            )


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_every_arrangement_is_pytorchs_in_f64(name: str) -> None:
    for options in GRID:
        for lens in (None, LENGTHS) if options["bias"] else (None,):
            compare(name, "f64", "reference", options, lens)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(("backend", "dtype"), [("llvm", "f64"), ("llvm", "f32"), ("onnx", "f32")])
def test_backends_agree_with_pytorch(name: str, backend: str, dtype: str) -> None:
    both = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    for options, lens in (({}, None), (both, None), (both, LENGTHS), ({"bias": False}, LENGTHS)):
        compare(name, dtype, backend, options, lens)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_nonlinearities_of_rnn(nonlinearity: str) -> None:
    compare("RNN", "f64", "llvm", {"nonlinearity": nonlinearity, "bidirectional": True})


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("backend", "dtype"), [("reference", "f64"), ("llvm", "f64"), ("onnx", "f32")])
def test_lstm_with_a_projection(backend: str, dtype: str) -> None:
    for options in ({"proj_size": 1}, {"proj_size": 2, "num_layers": 2, "bidirectional": True}):
        compare("LSTM", dtype, backend, options)
        compare("LSTM", dtype, backend, options, LENGTHS)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_without_a_first_state_it_is_zero(name: str) -> None:
    compare(name, "f64", "llvm", {"bidirectional": True}, start=False)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_one_sequence_without_a_batch_axis(name: str) -> None:
    ours, theirs = layers(name, "f64", bidirectional=True, batch_first=True)
    x = np.random.default_rng(1).normal(size=(T, IN))
    y, last = theirs(torch.from_numpy(x))
    wanted = [y, *(last if isinstance(last, tuple) else (last,))]

    def run(x: Any) -> Any:
        y, last = ours(x)
        return y, *(last if isinstance(last, tuple) else (last,))

    for got, want in zip(nv.compile(run, x)(x), wanted, strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_are_pytorchs(name: str, bias: bool, batched: bool) -> None:
    ours, theirs = layers(name, "f64", bias=bias)
    rng = np.random.default_rng(3)
    shape = (N,) if batched else ()
    x, h, c = (rng.normal(size=(*shape, n)) for n in (IN, H, H))
    for state in ([], [h, c] if name == "LSTMCell" else [h]):
        pairs = (
            [tuple(map(torch.from_numpy, state))] if len(state) == 2 else list(map(torch.from_numpy, state))
        )
        wanted = theirs(torch.from_numpy(x), *pairs)

        def run(x: Any, *state: Any) -> Any:
            return ours(x, *([state] if len(state) == 2 else state))

        found = nv.compile(run, x, *state)(x, *state)
        found, wanted = (v if isinstance(v, tuple) else (v,) for v in (found, wanted))
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_a_state_dict_has_pytorchs_names_shapes_and_order() -> None:
    for name, options in itertools.product(("RNN", "LSTM", "GRU"), (*GRID[:8], {"num_layers": 3})):
        ours, theirs = layers(name, "f32", **options)
        wanted = [(k, tuple(v.shape)) for k, v in theirs.state_dict().items()]
        assert [(k, v.shape) for k, v in ours.state_dict().items()] == wanted
    ours, theirs = layers("LSTM", "f32", proj_size=2, bidirectional=True)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
