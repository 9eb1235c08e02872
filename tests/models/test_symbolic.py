"""One executable serves every batch size in its range, and refuses the others."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS

import nervure as nv
from nervure import nn, optim
from nervure.ir.errors import InputError

BACKENDS = ["llvm", "onnx", "reference"]
NAMES = ["mlp", "lenet", "vgg", "vgg_with_batch_norm"]
BATCHES = [1, 7, 64, 0]


def spec(name: str, batch: str) -> str:
    return f"f32[{','.join([batch, *map(str, NETWORKS[name][1])])}]"


@cache
def network(name: str) -> tuple[Any, Any, Any]:
    """A network, 64 examples, and what the reference says of them, one example after the other, without any pass."""
    nv.seed(3)
    build, shape = NETWORKS[name]
    model = build(nn)
    x = np.random.default_rng(5).normal(size=(64, *shape)).astype(np.float32)
    single = nv.compile(model, spec(name, "1"), backend="reference", opt=0)
    return model, x, np.concatenate([single(row[None]) for row in x])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_one_executable_serves_batches_of_1_7_64_and_none(name: str, backend: str) -> None:
    model, x, wanted = network(name)
    run = nv.compile(model, spec(name, "B:0..64"), backend=backend)
    for n in [*BATCHES, *BATCHES[:2]]:
        found = run(x[:n])
        assert found.shape == (n, 10) and found.dtype == np.float32
        np.testing.assert_allclose(found, wanted[:n], rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_out_of_range_is_refused_with_both_numbers(name: str, backend: str) -> None:
    model, x, wanted = network(name)
    run = nv.compile(model, spec(name, "B:2..7"), backend=backend)
    for n in (0, 1, 8, 64):
        with pytest.raises(InputError, match=f"axis 0 is {n}, but B is 2..7") as caught:
            run(x[:n])
        assert f"expected {spec(name, 'B')}" in str(caught.value)
    np.testing.assert_allclose(run(x[:7]), wanted[:7], rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_inputs_must_agree_on_a_symbol(backend: str) -> None:
    model, x, _ = network("mlp")
    step = nv.compile(
        nv.training_step(model, nn.cross_entropy, optim.SGD(0.0), "f32[B:1..64,20]", "i64[B]"),
        backend=backend,
    )
    with pytest.raises(InputError, match="axis 0 is 6, but B is 7"):
        step(x[:7], np.zeros(6, np.int64))
    assert np.isfinite(step(x[:7], np.zeros(7, np.int64)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_one_training_step_serves_every_batch(name: str, backend: str) -> None:
    build, _ = NETWORKS[name]
    _, x, _ = network(name)
    labels = np.random.default_rng(6).integers(0, 10, 64)
    runs: list[Any] = []
    for chosen, options in ((backend, {}), ("reference", {"opt": 0})):
        nv.seed(4)
        optimizer = optim.SGD(0.05, momentum=0.9)
        program = nv.training_step(build(nn), nn.cross_entropy, optimizer, spec(name, "B:1..64"), "i64[B]")
        runs.append(nv.compile(program, backend=chosen, **options))
    for n in (1, 7, 64, 7):
        first, second = (float(run(x[:n], labels[:n])) for run in runs)
        assert first == pytest.approx(second, rel=1e-4)
    for entry, wanted in runs[1].state_dict().items():
        size = max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(
            runs[0].state_dict()[entry], wanted, rtol=0, atol=1e-4 * size, err_msg=entry
        )
