"""Every pass that can stand in a pipeline's text, by name."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Pass
from .canonicalize import Canonicalize
from .check_windows import CheckWindows
from .cse import CommonSubexpressions
from .dce import DeadCode
from .decompose import Decompose
from .fold_affine import FoldAffine
from .fold_batchnorm import FoldBatchNorm
from .fold_constants import FoldConstants
from .freeze import Freeze
from .fuse import Fuse, Unfuse
from .hoist import Hoist
from .inline import Inline
from .join_products import JoinProducts
from .legalize import Legalize
from .merge_scans import MergeScans
from .order import Order
from .recognize import Recognize
from .reroll import Reroll
from .share_scans import ShareScans
from .simplify_scans import SimplifyScans
from .sink_transposes import SinkTransposes
from .split_prepare import SplitPrepare
from .subpixel import SubPixel
from .thin_inputs import ThinInputs
from .unroll import Unroll

__all__ = ["PASSES"]

PASSES: Mapping[str, type[Pass]] = {
    p.name: p
    for p in (
        Canonicalize,
        CheckWindows,
        CommonSubexpressions,
        DeadCode,
        Decompose,
        FoldAffine,
        FoldBatchNorm,
        FoldConstants,
        Freeze,
        Fuse,
        Hoist,
        Inline,
        JoinProducts,
        Legalize,
        MergeScans,
        Order,
        Reroll,
        Recognize,
        ShareScans,
        SimplifyScans,
        SinkTransposes,
        SplitPrepare,
        SubPixel,
        ThinInputs,
        Unfuse,
        Unroll,
    )
}
