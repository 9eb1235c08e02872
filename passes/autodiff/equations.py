"""The derivative of every op as a textbook writes it: one equation an operand.

In a template {g} is d loss / d y, {y} the result, {0}, {1}, ... the operands, {g1}, {y1} further results with their
derivatives. None stands for an operand without a derivative. `*` is by elements, `.` a product of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EQUATIONS"]

Equations = tuple[str | None, ...]

_ELEMENTWISE: dict[str, Equations] = {
    "abs": ("{g} * sign({0})",),
    "add": ("{g}", "{g}"),
    "atan2": ("{g} * {1} / ({0}^2 + {1}^2)", "-{g} * {0} / ({0}^2 + {1}^2)"),
    "cast": ("{g} in the operand's element type",),
    "clamp": ("{g} where {1} < {0}, to nowhere else", "{g} where {0} <= {1} <= {2}", "{g} where {1} > {2}"),
    "cos": ("-{g} * sin({0})",),
    "div": ("{g} / {1}", "-{g} * {y} / {1}"),
    "erf": ("{g} * 2 / sqrt(pi) * exp(-{0}^2)",),
    "exp": ("{g} * {y}",),
    "expm1": ("{g} * ({y} + 1)",),
    "fma": ("{g} * {1}", "{g} * {0}", "{g}"),
    "gelu": ("{g} * (F + {0} * f), F and f the normal's distribution function and density at {0}",),
    "hard_swish": ("{g} * (2 {0} + 3) / 6 between -3 and 3, {g} above, 0 below",),
    "log": ("{g} / {0}",),
    "log1p": ("{g} / (1 + {0})",),
    "max": ("{g} where {0} > {1}, half of it where they are equal", "{g} where {1} > {0}, half of it where they are equal"),
    "min": ("{g} where {0} < {1}, half of it where they are equal", "{g} where {1} < {0}, half of it where they are equal"),
    "mul": ("{g} * {1}", "{g} * {0}"),
    "neg": ("-{g}",),
    "pow": ("{g} * {1} * {0}^({1} - 1)", "{g} * {y} * log({0})"),
    "reciprocal": ("-{g} * {y}^2",),
    "relu": ("{g} where {y} > 0, 0 elsewhere",),
    "rem": ("{g}", "-{g} * trunc({0} / {1})"),
    "rsqrt": ("-{g} * {y}^3 / 2",),
    "select": (None, "{g} where {0}, 0 elsewhere", "0 where {0}, {g} elsewhere"),
    "sigmoid": ("{g} * {y} * (1 - {y})",),
    "silu": ("{g} * (s + {y} * (1 - s)), s the sigmoid of {0}",),
    "sin": ("{g} * cos({0})",),
    "sqrt": ("{g} / (2 {y})",),
    "sub": ("{g}", "-{g}"),
    "tanh": ("{g} * (1 - {y}^2)",),
}  # fmt: skip

_MOVEMENT: dict[str, Equations] = {
    "broadcast_in_dim": ("sum of {g} over the axes that repeat",),
    "concat": ("the part of {g} that came from it",),
    "dynamic_slice": ("{g} put into zeros at the box {1}", None),
    "dynamic_update_slice": ("{g} with zeros in the box {2}", "the box {2} of {g}", None),
    "gather": ("rows of {g} added at {1}", None),
    "gather_elements": ("elements of {g} added at {1}", None),
    "pad": ("{g} without its border", "sum of the border of {g}"),
    "permute": ("{g} with its axes back in order",),
    "reshape": ("{g} in the operand's shape",),
    "reverse": ("{g} reversed",),
    "scatter_elements": ("{g} where {0} stayed", None, "elements of {g} at {1}"),
    "slice": ("{g} put into zeros where the slice was",),
    "sort": ("{g} put back to where each element came from, {y1}",),
    "top_k": ("{g} put into zeros where each element came from, {y1}",),
}

_SUMS: dict[str, Equations] = {
    "cholesky": ("the symmetric part of {y}^-T . tril({y}^T . {g}, diagonal halved) . {y}^-1",),
    "conv": ("{g} convolved with {1} turned round, in full", "{0} correlated with {g}"),
    "cumprod": ("sum of {g} * {y} over later elements, over {0}; by products without it where it is 0",),
    "cumsum": ("running sum of {g} from the other end",),
    "dot_general": ("{g} . {1}, over the axes that {1} brought", "{0} . {g}, over the axes that {0} brought"),
    "eigh": ("V . (diag({g}) + (V^T . {g1}) / (w_j - w_i)) . V^T, with w, V = {y}, {y1}",),
    "fold_patches": ("the windows of {g}",),
    "layer_norm": (
        "(d - mean of d - n * mean of d * n) / deviation, d = {g} * {1}, n the normalised {0}",
        "sum of {g} * n over the other axes, n the normalised {0}",
        "sum of {g} over the other axes",
    ),
    "logsumexp": ("{g} * exp({0} - {y})",),
    "max_pool": ("{g} added where the maximum stood, {y1}",),
    "patches": ("{g} folded back: sums over the windows that an element is in",),
    "reduce_max": ("{g} where {0} = {y}, in equal shares",),
    "reduce_min": ("{g} where {0} = {y}, in equal shares",),
    "reduce_prod": ("{g} * the product of the others",),
    "reduce_sum": ("{g} repeated along the axes that were summed",),
    "triangular_solve": ("-(d loss / d {1}) . {y}^T, of the triangle alone", "{0}^-T . {g}"),
    "window_sum": ("{g} added over the windows that an element is in",),
}

_COMPOSITES: dict[str, Equations] = {
    "avg_pool": ("{g} / elements of the window, added over the windows that an element is in",),
    "batch_norm": (
        "{g} * {1} / sqrt({4} + eps)",
        "sum of {g} * ({0} - {3}) / sqrt({4} + eps)",
        "sum of {g}",
        "-{1} / sqrt({4} + eps) * sum of {g}",
        "-{1} / (2 ({4} + eps)^1.5) * sum of {g} * ({0} - {3})",
    ),
    "batch_norm_train": (
        "{1} / sqrt(var + eps) * ({g} - mean {g} - x^ * mean({g} * x^)), with x^ = ({0} - mean) / sqrt(var + eps)",
        "sum of {g} * x^",
        "sum of {g}",
    ),
    "cross_entropy": ("{g} * (softmax({0}) - onehot({1})), over the batch where the loss is a mean", None),
    "dropout": ("{g} * mask / (1 - p)", None),
    "linear": ("{g} . {1}", "{g}^T . {0}", "sum of {g} over the batch"),
    "log_softmax": ("{g} - softmax({0}) * sum of {g}",),
    "softmax": ("{y} * ({g} - sum of {g} * {y})",),
}

_THROUGH_TIME: Equations = (
    "backpropagation through time: what each step adds to its own row",
    "the same, summed over the steps",
)

_CALLS: dict[str, Equations] = {
    "custom_vjp": ("what its backward function makes of {g}",),
    "fuse": ("what its body's ops say, one after the other",),
    "opt_barrier": ("{g}",),
    "remat": ("what its body's ops say, computed anew from {0}",),
    "scan": (
        "backpropagation through time: the body's equations from the last step to the first, summed over the steps",
    ),
    **dict.fromkeys(("rnn", "lstm", "gru"), _THROUGH_TIME),
    "if": (None, "what the ops of the body that ran say"),
    "while": ("that of a scan of max_trip steps, of which those behind the loop's end keep the carries",),
    "tree_fold": (
        None,
        "the body's equations level by level from the roots, where {g} of a node has its parents' share added",
    ),
    "dequantize": ("{g} * {1}",),
    "dynamic_quantize": (None,),
}

EQUATIONS: Mapping[str, Equations] = {**_ELEMENTWISE, **_MOVEMENT, **_SUMS, **_COMPOSITES, **_CALLS}
"""By mnemonic; the last equation serves the operands that follow."""
