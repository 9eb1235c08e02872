"""The record of tuned schedules: one entry of the cache a target, schedules by the digests of kernels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ...runtime import cache as disk
from .target import Target

__all__ = ["forget_choices", "load_choices", "save_choices"]


def _key(target: Target) -> str:
    return disk.cache_key("schedules 1", repr(target))


def load_choices(target: Target) -> dict[str, str]:
    """What was chosen for a target: schedules by the digests of kernels."""
    data = disk.load(_key(target))
    if data is None:
        return {}
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    pairs = cast(dict[Any, Any], found).items()
    return {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, str)}


def save_choices(target: Target, choices: Mapping[str, str]) -> bool:
    """Add choices to the record; whether that worked."""
    merged = {**load_choices(target), **choices}
    return disk.save(_key(target), json.dumps(merged, sort_keys=True).encode())


def forget_choices(target: Target) -> int:
    """Drop a target's record; how many choices it held."""
    count = len(load_choices(target))
    disk.save(_key(target), b"{}")
    return count
