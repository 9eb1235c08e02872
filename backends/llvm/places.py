"""Places of buffers in the arena: those that live at the same time do not share bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["fixed_offsets"]


def fixed_offsets(spans: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[int]:
    """Offsets in bytes: each buffer in the first gap between those that live with it, the largest first.

    What is largest is counted in bytes, in bytes times steps, or in steps; the best plan is taken, which mostly is as large as
    what lives at one time.

    Args:
        spans: first and last step of each buffer
        sizes: its bytes
    """

    def by_size(n: int) -> tuple[int, int]:
        return sizes[n], 0

    def by_area(n: int) -> tuple[int, int]:
        return sizes[n] * (spans[n][1] - spans[n][0] + 1), 0

    def by_span(n: int) -> tuple[int, int]:
        return spans[n][1] - spans[n][0], sizes[n]

    plans = [_in_order(spans, sizes, key) for key in (by_size, by_area, by_span)]
    return min(plans, key=lambda plan: max(map(sum, zip(plan, sizes, strict=True)), default=0))


def _in_order(
    spans: Sequence[tuple[int, int]], sizes: Sequence[int], key: Callable[[int], tuple[int, int]]
) -> list[int]:
    offsets: dict[int, int] = {}
    for n in sorted(range(len(spans)), key=key, reverse=True):
        first, last = spans[n]
        at = 0
        beside = [k for k in offsets if spans[k][0] <= last and first <= spans[k][1]]
        for start, end in sorted((offsets[k], offsets[k] + sizes[k]) for k in beside):
            if start - at >= sizes[n]:
                break
            at = max(at, end)
        offsets[n] = at
    return [offsets[n] for n in range(len(spans))]
