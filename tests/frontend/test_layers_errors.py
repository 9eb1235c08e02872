"""Wrong input of layers and losses: errors with the numbers in them, at the user's line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.errors import InputError, NervureError, TypeInferenceError


def message_of(function: Any, *specs: str) -> str:
    with pytest.raises(TypeInferenceError) as caught:
        nv.trace(function, *specs)
    assert caught.value.where[0].startswith("tests/frontend/test_layers_errors.py:")
    return caught.value.message


WRONG: list[tuple[Any, tuple[str, ...], str]] = [
    # windows that do not fit: K_eff > W + 2P
    (
        lambda x, w: nn.conv1d(x, w, dilation=4, padding=1), ("f32[1,2,6]", "f32[3,2,3]"),
        "conv1d: spatial axis 0: the window does not fit: 6 + 1 + 1 < (3 - 1) * 4 + 1 = 9",
    ),
    (
        nn.conv3d, ("f32[1,2,5,5,2]", "f32[3,2,3,3,3]"),
        "conv3d: spatial axis 2: the window does not fit: 2 + 0 + 0 < (3 - 1) * 1 + 1 = 3",
    ),
    (
        lambda x: nn.avg_pool3d(x, 4), ("f32[1,1,5,3,5]",),
        "avg_pool3d: spatial axis 1: the window does not fit: 3 + 0 + 0 < (4 - 1) * 1 + 1 = 4",
    ),
    (
        lambda x: nn.max_pool1d(x, 3, dilation=2), ("f32[1,1,4]",),
        "max_pool1d: spatial axis 0: the window does not fit: 4 + 0 + 0 < (3 - 1) * 2 + 1 = 5",
    ),
    (lambda x: nn.max_pool2d(x, 2, padding=2), ("f32[1,1,4,4]",), "max_pool2d: padding (2, 2) is not below the window's reach of 2"),
    (lambda x: nn.max_pool2d(x, 2, stride=0), ("f32[1,1,4,4]",), "max_pool2d: stride is 0, expected numbers from 1 on"),
    (lambda x: nn.avg_pool1d(x, 0), ("f32[1,1,4]",), "avg_pool1d: kernel_size is 0, expected numbers from 1 on"),
    (
        lambda x, w: nn.conv2d(x, w, dilation=(1, 0)), ("f32[1,1,4,4]", "f32[1,1,2,2]"),
        "conv2d: dilation is (1, 0), expected numbers from 1 on",
    ),
    (
        lambda x, w: nn.conv_transpose1d(x, w, padding=3), ("f32[1,1,2]", "f32[1,1,3]"),
        "conv_transpose1d: spatial axis 0: nothing is left: (2 - 1) * 1 - 2 * 3 + (3 - 1) * 1 + 0 + 1 = -2",
    ),
    # channels and groups
    (nn.conv1d, ("f32[2,3,8]", "f32[4,2,3]"), "conv1d: weight expects 2 input channels, input has 3"),
    (
        lambda x, w: nn.conv2d(x, w, groups=2), ("f32[2,4,8,8]", "f32[5,2,3,3]"),
        "conv2d: 2 groups do not divide 5 output channels",
    ),
    (
        nn.conv_transpose2d, ("f32[2,3,8,8]", "f32[4,2,3,3]"),
        "conv_transpose2d: weight expects 4 input channels, input has 3",
    ),
    (
        lambda x, w: nn.conv_transpose1d(x, w, groups=3), ("f32[2,4,8]", "f32[4,2,3]"),
        "conv_transpose1d: 3 groups do not divide 4 input channels",
    ),
    (
        lambda x, w: nn.conv_transpose1d(x, w, stride=2, output_padding=2), ("f32[2,4,8]", "f32[4,2,3]"),
        "conv_transpose1d: output_padding is 2, expected 0..1, below stride or dilation",
    ),
    (lambda x: nn.group_norm(x, 3), ("f32[2,4,5]",), "group_norm: 3 groups do not divide 4 channels"),
    (lambda x: nn.pixel_shuffle(x, 2), ("f32[1,6,3,3]",), "pixel_shuffle: 6 channels do not divide by 2 * 2"),
    (lambda x: nn.pixel_unshuffle(x, 2), ("f32[1,6,3,4]",), "pixel_unshuffle: 3 x 4 does not divide by 2"),
    (lambda x: nn.channel_shuffle(x, 4), ("f32[1,6,3]",), "channel_shuffle: 4 groups do not divide 6 channels"),
    # padding that the axis is too short for
    (
        lambda x: nn.pad(x, (3, 0), "reflect"), ("f32[1,1,3]",),
        'pad: axis 2 is 3, mode "reflect" with 3 needs 4',
    ),
    (
        lambda x: nn.pad(x, (0, 4), "circular"), ("f32[1,1,L:3..9]",),
        'pad: axis 2 may be less than 4: L, mode "circular" with 4 needs 4',
    ),
    (lambda x: nn.pad(x, (-1, 0), "replicate"), ("f32[1,1,3]",), 'pad: -1 cuts, which mode "replicate" does not'),
    (lambda x: nn.pad(x, (1, 2, 3)), ("f32[1,1,3]",), "pad: 3 amounts, expected two for each of at most 3 axes"),
    (
        nn.Conv2d(1, 1, 3, padding=5, padding_mode="reflect"), ("f32[1,1,4,9]",),
        'pad: axis 2 is 4, mode "reflect" with 5 needs 6',
    ),
    # ranks and entries
    (nn.conv1d, ("f32[3,8]", "f32[4,3,3]"), "conv1d: expected x [N, C, L] and w [O, C / groups, kL]"),
    (
        nn.conv_transpose3d, ("f32[1,3,8,8]", "f32[3,4,3,3,3]"),
        "conv_transpose3d: expected x [N, C, D, H, W] and w [C, O / groups, kD, kH, kW]",
    ),
    (lambda x: nn.max_pool2d(x, (2, 2, 2)), ("f32[1,1,4,4]",), "max_pool2d: kernel_size=(2, 2, 2) has 3 entries for 2 spatial axes"),
    (lambda x: nn.avg_pool2d(x, 2), ("f32[1,4,4]",), "avg_pool2d: expected x [N, C, H, W], x has rank 3"),
    (lambda x: nn.adaptive_avg_pool2d(x, (1, 2, 3)), ("f32[1,1,4,4]",), "adaptive_avg_pool2d: output_size has 3 entries for 2 spatial axes"),
    (lambda x: nn.adaptive_avg_pool2d(x, 3), ("f32[1,1,H,4]",), "adaptive_avg_pool2d: 3 windows need a known size, spatial axis 0 is H"),
    (lambda x: nn.adaptive_max_pool1d(x, 0), ("f32[1,1,4]",), "adaptive_max_pool1d: output_size is [0], expected numbers from 1 on"),
    (lambda x: nn.interpolate(x, 3, mode="bilinear"), ("f32[1,1,4]",), 'interpolate: x has rank 3, expected 4 for mode "bilinear"'),
    (lambda x: nn.interpolate(x, 3, 2.0), ("f32[1,1,4]",), "interpolate: expected one of size and scale_factor"),
    (lambda x: nn.interpolate(x, scale_factor=0.2), ("f32[1,1,4]",), "interpolate: spatial axis 0: 4 times 0.2 leaves nothing"),
    (lambda x: nn.interpolate(x, 3, align_corners=True), ("f32[1,1,4]",), 'interpolate: align_corners has no meaning for mode "nearest"'),
    (lambda x: nn.layer_norm(x, (3, 4)), ("f32[2,3,5]",), "layer_norm: x ends in [3, 5], expected [3, 4]"),
    (lambda x, w: nn.rms_norm(x, 5, w), ("f32[2,5]", "f32[4]"), "rms_norm: weight is f32[4], expected the shape [5]"),
    (nn.instance_norm, ("f32[2,5]",), "instance_norm: expected x [N, C, spatial...], x has rank 2"),
    (nn.instance_norm, ("f32[2,5,1]",), "instance_norm: one value a channel has no variance"),
    (lambda x: nn.unflatten(x, 1, (4, -1)), ("f32[2,6]",), "unflatten: axis 1 of 6 elements is not (4, -1)"),
    (nn.bilinear, ("f32[2,3]", "f32[2,4]", "f32[5,3,3]"), "bilinear: weight expects 3 and 3 features, found 3 and 4"),
    (nn.prelu, ("f32[2,3,4]", "f32[4]"), "prelu: expected one slope or 3, one a channel"),
    (lambda x, i: nn.max_unpool2d(x, i, 2), ("f32[1,1,2,2]", "i64[1,1,2,3]"), "max_unpool2d: expected one integer index an element of the input"),
    (nn.glu, ("f32[2,5]",), "glu: axis 1 of 5 has no 2 equal parts"),
    # element types and options
    (nn.elu, ("i32[3]",), "elu: the input is i32, expected float"),
    (nn.embedding, ("f32[3]", "f32[5,2]"), "embedding: input is f32, expected integers, the rows of a table"),
    (lambda x, w: nn.embedding(x, w, 7), ("i64[3]", "f32[5,2]"), "embedding: padding_idx 7 is not within the 5 rows"),
    (lambda x: nn.softplus(x, 0.0), ("f32[3]",), "softplus: beta is 0.0, expected a positive number"),
    (lambda x: nn.hardtanh(x, 1.0, 1.0), ("f32[3]",), "hardtanh: the bounds 1.0 and 1.0 do not increase"),
    # losses
    (nn.cross_entropy, ("f32[2,4]", "i64[3]"), "cross_entropy: labels and logits differ in batch"),
    (nn.cross_entropy, ("f32[2,4,5]", "i64[2,4]"), "cross_entropy: input [N, C, ...] and target [N, ...] differ outside the classes"),
    (
        nn.cross_entropy, ("f32[2,4]", "i64[2]", "f32[3]"),
        "cross_entropy: weight is f32[3], expected one number for each of 4 classes",
    ),
    (lambda x, y: nn.cross_entropy(x, y, label_smoothing=1.5), ("f32[2,4]", "i64[2]"), "cross_entropy: label_smoothing is 1.5, expected 0..1"),
    (lambda x, y: nn.nll_loss(x, y, reduction="all"), ("f32[2,4]", "i64[2]"), 'nll_loss: reduction is "all", expected "mean", "sum" or "none"'),
    (nn.hinge_loss, ("f32[2,1]", "f32[2]"), "hinge_loss: input and target differ in shape"),
    (nn.huber_loss, ("f32[2]", "f64[2]"), "huber_loss: element types differ: f32 and f64"),
    (lambda x, y: nn.huber_loss(x, y, delta=0.0), ("f32[2]", "f32[2]"), "huber_loss: delta is 0.0, expected a positive number"),
    (nn.multi_margin_loss, ("f32[2,4]", "i64[3]"), "multi_margin_loss: expected input [N, C] and target [N]"),
    (lambda x, y: nn.multi_margin_loss(x, y, p=3), ("f32[2,4]", "i64[2]"), "multi_margin_loss: p is 3, expected 1 or 2"),
    (
        lambda x, y: nn.multi_hinge_loss(x, y, multi_class="all"), ("f32[2,4]", "i64[2]"),
        'multi_hinge_loss: multi_class is "all", expected "crammer_singer" or "one_vs_rest"',
    ),
    (nn.cosine_embedding_loss, ("f32[2,4]", "f32[2,4]", "f32[4]"), "cosine_embedding_loss: expected two [N, D] and target [N]"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "specs", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_what_does_not_fit_is_named_with_its_numbers(
    function: Any, specs: tuple[str, ...], message: str
) -> None:
    assert message_of(function, *specs) == message


CONSTRUCTORS: list[tuple[Any, str]] = [
    (lambda: nn.Conv1d(3, 4, 3, groups=2), "Conv1d: groups=2 does not divide 3 input and 4 output channels"),
    (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), "ConvTranspose2d: groups=2 does not divide 4 input and 3 output"),
    (lambda: nn.Conv3d(1, 1, (2, 2)), r"Conv3d: kernel_size=\(2, 2\) has 2 entries for 3 spatial axes"),
    (lambda: nn.Conv2d(1, 1, 0), "Conv2d: kernel_size is 0, expected numbers from 1 on"),
    (lambda: nn.Conv2d(1, 1, 3, 2, "same"), r'Conv2d: padding "same" needs stride 1, got \(2, 2\)'),
    (lambda: nn.Conv2d(1, 1, 3, padding_mode="wrap"), 'Conv2d: padding_mode is "wrap", expected one of "zeros", "reflect"'),
    (lambda: nn.ReflectionPad2d((1, 2)), r"ReflectionPad2d: padding=\(1, 2\) has 2 entries, expected 4"),
    (lambda: nn.GroupNorm(3, 4), "GroupNorm: 3 groups do not divide 4 channels"),
    (lambda: nn.Embedding(4, 2, padding_idx=4), "Embedding: padding_idx 4 is not within the 4 rows"),
    (lambda: nn.Perceptron(4, 1), "Perceptron: classes is 1, expected a number from 2 on"),
    (lambda: nn.Bilinear(0, 1, 1), "Bilinear: in1_features is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), CONSTRUCTORS, ids=[m for _, m in CONSTRUCTORS])
def test_constructors_refuse_what_makes_no_layer(build: Any, message: str) -> None:
    with pytest.raises(NervureError, match=message):
        build()


def test_indices_outside_a_table_are_refused_at_the_call() -> None:
    run = nv.compile(nn.Embedding(5, 2), "i64[N]", backend="reference")
    assert run(np.array([0, 4])).shape == (2, 2)
    with pytest.raises(InputError, match=r"5 at \[1\] is outside 0\.\.4"):
        run(np.array([0, 5]))


@pytest.mark.parametrize("loss", [nn.multi_margin_loss, nn.multi_hinge_loss, nn.nll_loss, nn.perceptron_loss])
def test_labels_outside_the_classes_are_refused_at_the_call(loss: Any) -> None:
    run = nv.compile(loss, "f32[N,3]", "i64[N]", backend="reference")
    with pytest.raises(InputError, match=r"3 at \[1\] is outside 0\.\.2"):
        run(np.zeros((2, 3), np.float32), np.array([0, 3]))
