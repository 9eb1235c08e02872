"""Where the time of a compilation goes."""

from __future__ import annotations

import json
import subprocess
import sys

import nervure as nv
from nervure import nn
from nervure.inspect.compile_time import compile_time


def test_stages_add_up_and_the_cache_is_quicker() -> None:
    nv.seed(0)
    layers = [nn.Linear(20 + n, 21 + n) for n in range(12)]
    program = nv.trace(nn.Sequential(*layers), "f32[B,20]")
    found = compile_time(program)
    names = [name for name, _ in found.stages]
    assert names == ["passes", "lower", "emit", "llvm", "load"]
    total = sum(seconds for _, seconds in found.stages)
    assert 0 < found.cached < total
    assert sum(r.seconds for r in found.records) <= dict(found.stages)["passes"] * 1.01
    assert found.bytes[0] > found.bytes[1] > 1000
    lines = str(found).splitlines()
    assert len(lines) == 3 + len(names) + len(found.records)
    assert lines[0].endswith("100.0 %  compilation")


def test_the_command_line_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nervure", "compile", "perceptron", "--timing", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "from the cache" in done.stderr
    # the passes alone, in a process that has not run them yet: no import hides among them
    timing = json.loads(done.stdout)["timing"]
    (whole,) = [s["seconds"] for s in timing["stages"] if s["stage"] == "passes"]
    assert whole < 1.5 * sum(p["seconds"] for p in timing["passes"]) + 2e-3
    assert {s["stage"] for s in json.loads(done.stdout)["timing"]["stages"]} >= {"llvm", "load"}
    wrong = subprocess.run(
        [sys.executable, "-m", "nervure", "compile", "perceptron", "--timing", "--backend", "onnx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "--timing is for the llvm backend" in wrong.stderr
