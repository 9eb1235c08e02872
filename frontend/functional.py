"""Layers as functions of tensors: PyTorch's names and argument meanings, gathered from where they are defined."""

from __future__ import annotations

from .activations import (
    celu,
    elu,
    gelu,
    glu,
    hardmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    step,
    swiglu,
    tanh,
    tanhshrink,
    threshold,
    thresholded_relu,
)  # fmt: skip
from .adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)  # fmt: skip
from .convolutions import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)  # fmt: skip
from .folding import (
    fold,
    unfold,
)  # fmt: skip
from .layers import (
    bilinear,
    cat,
    dropout,
    embedding,
    flatten,
    linear,
    new_key,
    one_hot,
    reshape,
    split_key,
    stack,
    unflatten,
)  # fmt: skip
from .linalg import (
    cholesky,
    eigh,
    solve_triangular,
)  # fmt: skip
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    nll_loss,
)  # fmt: skip
from .margin_losses import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    multi_hinge_loss,
    multi_margin_loss,
    pairwise_distance,
    perceptron_loss,
    soft_margin_loss,
    triplet_margin_loss,
)  # fmt: skip
from .norms import (
    batch_norm,
    batch_norm_train,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)  # fmt: skip
from .ordering import (
    argsort,
    cumprod,
    cumsum,
    logsumexp,
    sort,
    topk,
)  # fmt: skip
from .padding import pad
from .pointwise import (
    atan2,
    bitcast,
    exp,
    fma,
    heaviside,
    log,
    sqrt,
    where,
)  # fmt: skip
from .pools import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    global_avg_pool,
    global_max_pool,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)  # fmt: skip
from .quantization import (
    dequantize,
    dynamic_quantize,
    quantize,
)  # fmt: skip
from .recurrent import (
    gru,
    lstm,
    rnn,
)  # fmt: skip
from .regression_losses import (
    huber_loss,
    l1_loss,
    mae_loss,
    mse_loss,
    smooth_l1_loss,
)  # fmt: skip
from .resize import (
    channel_shuffle,
    depth_to_space,
    interpolate,
    pixel_shuffle,
    pixel_unshuffle,
    space_to_depth,
)  # fmt: skip
from .scatter import (
    dynamic_slice,
    dynamic_update_slice,
    gather,
    scatter,
    scatter_add,
    scatter_reduce,
)  # fmt: skip
from .sequences import (
    last_step,
    one_to_many,
    sequence_loss,
    sequence_mask,
)  # fmt: skip

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "argsort", "atan2", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "batch_norm", "batch_norm_train", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cat",
    "bitcast", "celu", "channel_shuffle", "cholesky", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "cumprod",
    "cumsum", "depth_to_space", "dequantize", "dropout", "dynamic_quantize", "dynamic_slice", "dynamic_update_slice",
    "eigh", "elu", "embedding", "exp", "flatten", "fma", "fold", "gather", "gelu", "global_avg_pool",
    "global_max_pool", "glu", "group_norm", "gru", "hardmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "heaviside", "hinge_embedding_loss", "hinge_loss", "huber_loss", "instance_norm", "interpolate", "kl_div",
    "l1_loss", "last_step", "layer_norm", "leaky_relu", "linear", "local_response_norm", "log", "log_softmax",
    "logsigmoid", "logsumexp", "lp_pool1d", "lp_pool2d", "lp_pool3d", "lstm", "mae_loss", "margin_ranking_loss",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "mish", "mse_loss",
    "multi_hinge_loss", "multi_margin_loss", "new_key", "nll_loss", "normalize", "one_hot", "one_to_many", "pad",
    "pairwise_distance", "perceptron_loss", "pixel_shuffle", "pixel_unshuffle", "prelu", "quantize", "relu", "relu6",
    "reshape", "rms_norm", "rnn", "scatter", "scatter_add", "scatter_reduce", "selu", "sequence_loss",
    "sequence_mask", "sigmoid", "silu", "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "solve_triangular", "sort", "space_to_depth", "split_key", "sqrt", "stack", "step",
    "swiglu", "tanh", "tanhshrink", "threshold", "thresholded_relu", "topk", "triplet_margin_loss", "unflatten",
    "unfold", "where",
]  # fmt: skip
