"""What every backend must run: a short list of programs, each against the reference without any pass.

python -c "from backend_suite import run_suite; run_suite('mine')"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from networks import digits, lenet, mlp

import nervure as nv
from nervure import nn, optim

__all__ = ["CASES", "Case", "run_suite"]

TOLERANCE = 2e-5
"""Of a result's largest element."""


@dataclass(frozen=True)
class Case:
    """A program and calls of it.

    Args:
        name:  of the case
        build: makes the program, with the same weights every time
        calls: the inputs of each call, in order
    """

    name: str
    build: Callable[[], nv.Program]
    calls: Sequence[tuple[Any, ...]]

    def run(self, backend: str, **options: Any) -> None:
        """Results and store agree with the reference after each call.

        Raises:
            AssertionError: naming the call, and the result or entry
        """
        found = nv.compile(self.build(), backend=backend, **options)
        wanted = nv.compile(self.build(), backend="reference", opt=0)
        assert found.backend == backend
        for k, inputs in enumerate(self.calls):
            kept = [np.copy(x) for x in inputs]
            results, expected = _tuple(found(*inputs)), _tuple(wanted(*inputs))
            for x, before in zip(inputs, kept, strict=True):
                np.testing.assert_array_equal(x, before, err_msg="an input was written")
            assert len(results) == len(expected)
            for n, (got, want) in enumerate(zip(results, expected, strict=True)):
                _close(got, want, f"{self.name}, call {k}, result {n}")
            state, target = found.state_dict(), wanted.state_dict()
            for name, want in target.items():
                _close(state[name], want, f"{self.name}, call {k}, @{name}")


def _tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else () if results is None else (results,)


def _close(got: Any, want: Any, label: str) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype, f"{label}: {got.dtype}{got.shape}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=label)
    else:
        largest = np.abs(want).max(initial=1e-3)
        np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * largest, err_msg=label)


def _mlp() -> nv.Program:
    nv.seed(1)
    return nv.trace(mlp(nn), "f32[5,20]")


def _conv_net() -> nv.Program:
    nv.seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=(0, 1, 2, 1)), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 3, padding=2, dilation=2, groups=2), nn.Sigmoid(), nn.AvgPool2d(3, 2, 1), nn.Flatten(),
        nn.Linear(16, 6), nn.Softmax(-1),
    )  # fmt: skip
    model[1].running_mean.assign(np.linspace(-0.5, 0.5, 8, dtype=np.float32))
    model[1].running_var.assign(np.linspace(0.5, 2, 8, dtype=np.float32))
    return nv.trace(model, "f32[2,3,15,14]")


def _two_results() -> nv.Program:
    def function(x: Any, y: Any) -> Any:
        total = x + y.reshape(4, 1)
        return total.max(axis=0), total.argmax(axis=1), nn.where(total > 0, total, -x)

    return nv.trace(function, "f32[4,6]", "f32[4]")


def _scan() -> nv.Program:
    nv.seed(3)
    cell = nn.Linear(3, 3)

    def function(x: Any, h: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            after = nn.tanh(cell(carry) + row)
            return after, after * after

        last, ys = nv.scan(body, h, x)
        return last, ys

    return nv.trace(function, "f32[7,2,3]", "f32[2,3]")


def _rnn() -> nv.Program:
    nv.seed(4)
    return nv.trace(nn.RNN(3, 5, num_layers=2, bidirectional=True), "f32[4,2,3]")


def _training_step() -> nv.Program:
    nv.seed(5)
    return nv.training_step(
        lenet(nn), nn.cross_entropy, optim.SGD(0.02, momentum=0.9), "f32[6,1,28,28]", "i64[6]"
    )


def _adam_step() -> nv.Program:
    nv.seed(6)
    return nv.training_step(
        mlp(nn), nn.cross_entropy, optim.Adam(0.01, eps=1e-3), "f32[B:1..64,20]", "i64[B]"
    )


def _batch_norm_step() -> nv.Program:
    nv.seed(8)
    model = nn.Sequential(nn.Linear(20, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 10))
    return nv.training_step(
        model, nn.cross_entropy, optim.SGD(0.1, nesterov=True, momentum=0.5), "f32[B:2..64,20]", "i64[B]"
    )


def _symbolic_batch() -> nv.Program:
    nv.seed(7)
    return nv.trace(lenet(nn), "f32[B:0..64,1,28,28]")


def _normal(*shapes: tuple[int, ...], seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


_FLAT, _FLAT_LABELS = digits((20,), 32, seed=8)

CASES = [
    Case("mlp", _mlp, [_normal((5, 20), seed=k) for k in range(2)]),
    Case("conv net", _conv_net, [_normal((2, 3, 15, 14), seed=k) for k in range(2)]),
    Case("two results", _two_results, [_normal((4, 6), (4,))]),
    Case("scan", _scan, [_normal((7, 2, 3), (2, 3))]),
    Case("rnn", _rnn, [_normal((4, 2, 3))]),
    Case("training step", _training_step, [digits((1, 28, 28), 6, seed=k) for k in range(3)]),
    Case("adam step", _adam_step, [(_FLAT[:n], _FLAT_LABELS[:n]) for n in (1, 32, 7)]),
    Case("batch norm step", _batch_norm_step, [(_FLAT[:n], _FLAT_LABELS[:n]) for n in (9, 32, 7)]),
    Case("symbolic batch", _symbolic_batch, [_normal((n, 1, 28, 28)) for n in (1, 7, 64, 0)]),
]


def run_suite(backend: str) -> None:
    """Run all cases, and print what was run."""
    for case in CASES:
        case.run(backend)
        print(f"{backend}: {case.name} agrees with the reference")
