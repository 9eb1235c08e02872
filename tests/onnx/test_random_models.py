"""Random models of 60 ops and more: what nervure computes is what onnxruntime computes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from onnx_suite import Score, run_cases
from random_onnx import RandomModel, judge_random


def scored(first: int, last: int, backend: str) -> list[Score]:
    models = [RandomModel(k) for k in range(first, last)]
    return list(run_cases(models, lambda: backend, judge=judge_random, timeout=60))


def failures(scores: list[Score]) -> list[str]:
    return [f"{s.status} {s.case}: {s.message}" for s in scores if s.status not in ("pass", "edge")]


EDGES = 0.03
"""The share of models that may differ where onnxruntime steps outside the range of arcsine; each is checked for it."""


def edges(scores: list[Score]) -> int:
    return sum(s.status == "edge" for s in scores)


def test_40_random_models_agree_with_onnxruntime() -> None:
    scores = scored(0, 40, "llvm")
    assert failures(scores) == []
    ops = Counter(op for s in scores for op in s.message.split())
    assert len(scores) == 40 and len(ops) > 60 and edges(scores) <= 2


@pytest.mark.long
@pytest.mark.parametrize(("backend", "count"), [("llvm", 600), ("reference", 150), ("onnx", 150)])
def test_many_random_models_agree_with_onnxruntime(backend: str, count: int) -> None:
    scores = scored(1000, 1000 + count, backend)
    print(f"{backend}: {count - edges(scores)} of {count} agree, {edges(scores)} at the edge of a range")
    assert failures(scores) == []
    assert len(scores) == count and edges(scores) <= EDGES * count


def test_a_planted_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from nervure.frontend.onnx import families, table

    families.load()
    since, writes = table.OPS["", "Concat"][-1]
    monkeypatch.setitem(table.OPS, ("", "Concat"), [(since, lambda n: _negated(n, writes))])
    scores = scored(0, 40, "reference")
    assert {s.status for s in scores} <= {"pass", "wrong", "edge"}
    assert all("Concat" in s.message for s in scores if s.status == "wrong") and "wrong" in {
        s.status for s in scores
    }


def _negated(n: Any, writes: Any) -> Any:
    """What the op is, with the other sign."""
    from nervure.ir import build as b

    made = writes(n)
    return b.neg(made) if made.type.dtype.is_float else made
