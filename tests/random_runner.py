"""Runs random programs on a backend and holds every result against the reference; one call is one worker's task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from differential import Results, Verdict, Yardstick, reference
from random_programs import random_program

from nervure.backends.base import Backend, find_backend
from nervure.ir.errors import UnsupportedError
from nervure.ir.program import Program
from nervure.ir.types import Array
from nervure.passes.levels import standard_pipeline
from nervure.passes.manager import Pipeline, run_pipeline

__all__ = ["Report", "run_chunk", "run_on"]


@dataclass
class Report:
    """What a chunk of programs came to.

    Attributes:
        programs, elements: how many were compared
        excused:            elements beyond tolerance where the reference itself moves as far
        nodes:              generated nodes by mnemonic
        refused:            programs that the backend refused, by its first reason
        wrong:              one line for each result or crash
    """

    programs: int = 0
    elements: int = 0
    excused: int = 0
    nodes: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    def add(self, verdict: Verdict) -> None:
        self.elements += verdict.elements
        self.excused += verdict.excused
        self.wrong += verdict.wrong

    def merge(self, other: Report) -> None:
        self.programs += other.programs
        self.elements += other.elements
        self.excused += other.excused
        self.nodes += other.nodes
        self.refused += other.refused
        self.wrong += other.wrong

    def __str__(self) -> str:
        share = self.excused / max(self.elements, 1)
        return (
            f"{self.programs} programs, {sum(self.nodes.values())} nodes, {self.elements} elements,"
            f" {self.excused} excused ({share:.3%}), {sum(self.refused.values())} refused"
        )


def run_chunk(seeds: Sequence[int], backend: str, brief: bool = False) -> Report:
    """Random programs by seed: the reference after each pass, the backend after the last and after some.

    Args:
        brief: the backend after the last pass alone
    """
    report = Report()
    found = find_backend(backend)
    for seed in seeds:
        program, inputs = random_program(seed)
        report.programs += 1
        report.nodes.update(node.op.mnemonic for node in program.main.nodes)
        try:
            _check(report, found, program, inputs, seed, brief)
        except UnsupportedError as error:
            report.refused[error.details[0] if error.details else error.message] += 1
        except Exception as error:  # a crash of one program is a finding, and the others still count
            report.wrong.append(f"seed {seed}: {backend}: {type(error).__name__}: {error}")
    return report


def _check(
    report: Report, backend: Backend, program: Program, inputs: list[Array], seed: int, brief: bool
) -> None:
    yardstick = Yardstick(program, inputs)
    theirs = yardstick.against(backend.name)
    if brief:
        legal = run_pipeline(program, backend.pipeline(2), verify=False).program
        report.add(theirs.compare(run_on(backend, legal, inputs), f"seed {seed}: {backend.name} at -O2"))
        return
    current = program
    for number, pass_ in enumerate(backend.pipeline(2).passes, start=1):
        after = run_pipeline(current, Pipeline((pass_,))).program
        if after is not current:
            label = f"seed {seed}: reference after pass {number}, {pass_.name}, for {backend.name}"
            report.add(yardstick.compare(reference(after, inputs), label))
        current = after
    report.add(theirs.compare(run_on(backend, current, inputs), f"seed {seed}: {backend.name} at -O2"))
    count = int(np.random.default_rng(seed).integers(0, len(standard_pipeline(2).passes) + 1))
    early = Pipeline(standard_pipeline(2).passes[:count]) + backend.pipeline(0)
    found = run_on(backend, run_pipeline(program, early).program, inputs)
    report.add(theirs.compare(found, f"seed {seed}: {backend.name} at -O0 after {count} passes"))


def run_on(backend: Backend, program: Program, inputs: list[Array]) -> Results:
    """Outputs and updated entries; the store is as before afterwards."""
    store = program.store
    kept = {name: entry.data.copy() for name, entry in store.items() if entry.kind != "derived"}
    try:
        found = backend.compile(program)(*inputs)
        outputs = list(found) if isinstance(found, tuple) else [] if found is None else [found]
        return outputs + [store[name].data.copy() for name, _ in program.main.updates]
    finally:
        for name, array in kept.items():
            store[name].assign(array)
