"""Transposed convolutions through the LLVM backend: small pixels, interleaved; and copies that need no kernel."""

from __future__ import annotations

import numpy as np
import pytest

import nervure as nv
from nervure import nn

GRID = [
    (window, stride, pad, more)
    for window in (1, 2, 3, 4, 5)
    for stride in (2, 3, 4, 5)
    for pad in (0, 1, 2)
    for more in (0, 1)
    if pad < window and more < stride
]


def kernels(run):
    return str(run.assembled.program)


@pytest.mark.parametrize(("window", "stride", "pad", "more"), GRID)
def test_every_window_stride_and_rim_agrees_with_the_reference(window, stride, pad, more):
    nv.seed(0)
    layer = nn.ConvTranspose2d(
        3, 5, (window, 3), stride=(stride, 2), padding=(pad, 1), output_padding=(more, 1)
    )
    program = nv.trace(layer, "f32[B,3,H:4..64,6]")
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6)).astype(np.float32)
    run = nv.compile(program)
    assert "lhs_dilation" not in str(run.program)
    want = nv.compile(program, backend="reference")(x)
    np.testing.assert_allclose(run(x), want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("shape", [(2, 4, 9), (2, 4, 3, 4, 5)])
def test_one_and_three_axes(shape):
    layer = {3: nn.ConvTranspose1d, 5: nn.ConvTranspose3d}[len(shape)](4, 3, 3, stride=2)
    program = nv.trace(layer, f"f32[{','.join(map(str, shape))}]")
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    want = nv.compile(program, backend="reference")(x)
    np.testing.assert_allclose(nv.compile(program)(x), want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_a_bias_and_an_activation_are_in_the_convolution():
    run = nv.compile(nn.Sequential(nn.ConvTranspose2d(16, 16, 2, stride=2), nn.ReLU()), "f32[1,16,8,8]")
    assert 'label="conv+bias+relu"' in str(run.program)
    assert "interleave 2" in kernels(run)


@pytest.mark.parametrize("ways", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize("length", [1, 15, 16, 37])
def test_rows_are_interleaved(ways, dtype, length):
    run = nv.compile(lambda x: x.transpose(0, 2, 1), f"{dtype}[2,{ways},L]")
    assert ("interleave" in kernels(run)) == (ways < 5)
    x = np.arange(2 * ways * length).reshape(2, ways, length).astype(f"{dtype[0]}{int(dtype[1:]) // 8}")
    np.testing.assert_array_equal(run(x), x.transpose(0, 2, 1))


def test_a_row_is_repeated_side_by_side():
    """Nearest upsampling: both places read one row."""
    run = nv.compile(nn.Upsample(scale_factor=2), "f32[1,3,5,19]")
    assert "interleave 2" in kernels(run)
    x = np.random.default_rng(0).normal(size=(1, 3, 5, 19)).astype(np.float32)
    np.testing.assert_array_equal(run(x), x.repeat(2, 2).repeat(2, 3))


def test_an_output_that_is_a_reshape_is_computed_in_the_callers_memory():
    run = nv.compile(lambda x: (x + 1).reshape(-1), "f32[N,7]")
    assert kernels(run).count("kernel ") == 1
    np.testing.assert_array_equal(run(np.ones((3, 7), np.float32)), np.full(21, 2, np.float32))


def test_one_value_may_be_two_outputs_under_two_shapes():
    def both(x):
        y = x + 1
        return y, y.reshape(-1), y.reshape(7, -1)

    results = nv.compile(both, "f32[N,7]")(np.ones((3, 7), np.float32))
    assert [r.shape for r in results] == [(3, 7), (21,), (7, 3)]
    assert all((r == 2).all() for r in results)
    assert not np.shares_memory(results[0], results[1])
