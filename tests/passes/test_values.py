"""Every pass keeps what a program computes: the same values before and after, on programs built by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nervure.ir.text import load, parse_program, print_program, save
from nervure.passes.base import Remarks
from nervure.passes.levels import LEVELS, standard_pipeline
from nervure.passes.manager import Pipeline, passes_by_name, run_pipeline
from nervure.passes.regions import fingerprint

EXACT = [
    "canonicalize",
    "fold-constants",
    "cse",
    "dce",
    "unroll",
    "unroll{max=1,factor=2}",
    "merge-scans{shared=false},cse,simplify-scans,hoist,dce",
    "cse,unroll,cse,reroll",
    "fuse",
    "fuse{limit=2}",
    "fuse,unfuse",
    "split-prepare",
    "legalize{backend=reference}",
    "canonicalize,cse,dce,split-prepare,fuse",
    "thin-inputs",
    "order",
    "fuse,order",
    "unroll,canonicalize,fold-constants,cse,dce,fuse",
]
CLOSE = [
    "decompose",
    "decompose{keep=relu+softmax},canonicalize",
    "fold-batchnorm",
    "fold-batchnorm,split-prepare",
    "decompose,split-prepare,canonicalize,split-prepare,fuse",
    "sink-transposes",
    "subpixel,canonicalize,dce",
    "decompose,hoist,join-products{near=0,far=0},dce",
    "decompose,recognize",
    "recognize,canonicalize",
    "canonicalize,decompose,unroll,sink-transposes,canonicalize,fold-constants,cse,dce,split-prepare,fuse",
    *filter(None, LEVELS.values()),
]
Sample = Any
Run = Callable[..., list[np.ndarray]]


def test_every_pass_is_in_a_list_below_or_has_a_test_of_its_own():
    tested = {p.name for text in (*EXACT, *CLOSE) for p in Pipeline.parse(text).passes}
    assert set(passes_by_name()) - tested == {"freeze"}


@pytest.mark.parametrize("text", EXACT)
def test_an_exact_pass_keeps_every_bit(text: str, sample: Sample, run: Run):
    program, inputs = sample
    before = run(program, inputs)
    after = run(run_pipeline(program, Pipeline.parse(text)).program, inputs)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("text", CLOSE)
def test_a_reassociating_pass_stays_close(text: str, sample: Sample, run: Run):
    program, inputs = sample
    before = run(program, inputs)
    after = run(run_pipeline(program, Pipeline.parse(text)).program, inputs)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("text", [*EXACT, *CLOSE])
def test_what_a_pass_makes_is_text_that_reads_back_and_is_made_again(
    text: str, sample: Sample, tmp_path: Path
):
    program, _ = sample
    pipeline = Pipeline.parse(text)
    result = run_pipeline(program, pipeline).program
    printed = print_program(result)
    save(result, tmp_path / "p.nv")
    assert print_program(load(tmp_path / "p.nv")) == printed
    assert print_program(run_pipeline(program, pipeline).program) == printed


@pytest.mark.parametrize(
    "name", ["canonicalize", "fold-constants", "cse", "dce", "sink-transposes", "unfuse"]
)
def test_a_pass_that_finds_nothing_returns_the_program_itself(name: str, sample: Sample):
    program, _ = sample
    for _ in range(3):
        program = run_pipeline(program, Pipeline.parse(name)).program
    assert passes_by_name()[name]().run_program(program, Remarks()) is program


def test_text_then_cse_then_unroll_gives_the_same_as_without_text(
    samples: dict[str, Callable[[], Sample]], run: Run
):
    program, inputs = samples["loops"]()
    again = parse_program(print_program(program))
    pipeline = Pipeline.parse("cse,unroll,cse,dce")
    direct, through_text = (run_pipeline(p, pipeline).program for p in (program, again))
    assert fingerprint(direct.main) == fingerprint(through_text.main)
    assert all(n.op.mnemonic != "scan" for n in direct.main.walk())
    for old, new in zip(run(program, inputs), run(through_text, inputs), strict=True):
        np.testing.assert_array_equal(new, old)


def test_every_level_has_a_pipeline_whose_text_reads_back():
    for level in LEVELS:
        pipeline = standard_pipeline(level)
        assert Pipeline.parse(str(pipeline)) == pipeline
