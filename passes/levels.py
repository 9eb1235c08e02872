"""The standard pipelines, as text; each backend appends what it needs."""

from __future__ import annotations

from ..ir.errors import InputError
from .manager import Pipeline

__all__ = ["LEVELS", "standard_pipeline"]

LOOPS = "merge-scans,cse,simplify-scans,hoist,unroll{max=1,factor=0,auto=true}"

CLEAN = "canonicalize,fold-constants,cse,dce"

LEVELS: dict[int, str] = {
    0: "",
    1: f"check-windows,share-scans,inline,{CLEAN}",
    2: f"check-windows,share-scans,inline,{CLEAN},fold-batchnorm,fold-affine,{LOOPS},sink-transposes,{CLEAN}",
    3: f"check-windows,share-scans,inline,{CLEAN},fold-batchnorm,fold-affine,{LOOPS},unroll{{max=16}},sink-transposes,{CLEAN}",
}
"""-O0 changes nothing; -O1 says which strides leave a remainder and cleans up; -O2, the default, folds batch norms and
other affine layers, takes work out of scans and sinks transposes too; -O3 unrolls short scans, whatever that costs in compile time."""


def standard_pipeline(level: int) -> Pipeline:
    """The pipeline of a level.

    Raises:
        InputError: no such level
    """
    if level not in LEVELS:
        raise InputError(f"optimisation level {level} is not within 0..3")
    return Pipeline.parse(LEVELS[level])
