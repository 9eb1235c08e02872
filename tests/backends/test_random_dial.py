"""The dial on random programs with loops and branches within each other: every form, every backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from dial_forms import FORMS
from differential import Yardstick, reference
from random_programs import random_program
from random_runner import run_on

from nervure.backends.base import find_backend
from nervure.ir.errors import UnsupportedError
from nervure.ir.graph import Graph
from nervure.ir.ops.control import Scan
from nervure.ir.ops.loops import If, While
from nervure.ir.ops.tree import TreeFold
from nervure.passes.manager import Pipeline, run_pipeline

CONTROL = (Scan, While, If, TreeFold)
SHORT = (*range(30), 53, 121, 137, 140)
"""Seeds, the last of programs whose loops stand within each other; about one program in five has control flow."""


def depth(graph: Graph) -> int:
    """How deep loops and branches stand within each other."""
    inner = [isinstance(node.op, CONTROL) + max(map(depth, node.regions), default=0) for node in graph.nodes]
    return max(inner, default=0)


@pytest.mark.parametrize(
    "seeds",
    [SHORT, *(pytest.param(range(k, k + 200), marks=pytest.mark.long) for k in range(200, 2000, 200))],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_every_form_of_a_random_program_gives_the_same(
    seeds: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERVURE_CACHE", str(tmp_path))
    wrong, runs = list[str](), Counter[str]()
    for seed in seeds:
        program, inputs = random_program(seed)
        nested = depth(program.main)
        if not nested:
            continue
        runs["programs"] += 1
        runs["nested"] += nested > 1
        yardstick = Yardstick(program, inputs)
        seen: set[str] = set()
        for name, passes in FORMS.items():
            formed = run_pipeline(program, Pipeline.parse(passes)).program
            if str(formed) in seen:  # a form that changes nothing here
                continue
            seen.add(str(formed))
            wrong += yardstick.compare(reference(formed, inputs), f"seed {seed}, {name}").wrong
            for backend in map(find_backend, ("llvm", "onnx")):
                try:
                    found = run_on(backend, run_pipeline(formed, backend.pipeline(2)).program, inputs)
                except UnsupportedError:
                    continue
                runs[backend.name] += 1
                label = f"seed {seed}, {name}, {backend.name}"
                wrong += yardstick.against(backend.name).compare(found, label).wrong
    print(dict(runs))
    assert not wrong, "\n".join(wrong)
    assert runs["programs"] > len(seeds) / 10 and runs["nested"]
    assert runs["llvm"] > 2 * runs["programs"] and runs["onnx"] > runs["programs"]
