"""File tests: each file of `cases/` names a pipeline, holds a program, and says what must come out.

    // RUN: canonicalize,cse          the pipeline
    // CHECK: text                    a line holds the text, after the line of the check before
    // CHECK-NEXT: text               the very next line does
    // CHECK-NOT: text                no line does up to the next check
    // NOTE: text                     a note of a pass holds the text

In a check, `*` stands for anything.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nervure.ir.text import parse_program, print_program
from nervure.passes.manager import Pipeline, run_pipeline

CASES = sorted((Path(__file__).parent / "cases").glob("*.nv"))
_LINE = re.compile(r"//\s*(RUN|CHECK|CHECK-NEXT|CHECK-NOT|NOTE):\s*(.*?)\s*$", re.MULTILINE)


def pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))))


def check(source: str) -> None:
    """Run a case.

    Raises:
        AssertionError: a check does not hold; the message has the whole output
    """
    directives = _LINE.findall(source)
    pipelines = [text for kind, text in directives if kind == "RUN"]
    assert len(pipelines) == 1, "one RUN line expected"
    assert len(directives) > 1, "nothing is checked"
    result = run_pipeline(parse_program(source), Pipeline.parse(pipelines[0]))
    output = print_program(result.program)
    lines, place, refused = output.splitlines(), 0, list[str]()
    for kind, text in directives:
        if kind == "NOTE":
            assert any(pattern(text).search(n) for n in result.notes), f"no note {text!r} in {result.notes}"
        elif kind == "CHECK-NOT":
            refused.append(text)
        elif kind in ("CHECK", "CHECK-NEXT"):
            found = next((k for k in range(place, len(lines)) if pattern(text).search(lines[k])), None)
            assert found is not None, f"no line {text!r} after line {place} of\n{output}"
            assert kind == "CHECK" or found == place, (
                f"{text!r} is not the next line, {place + 1}, of\n{output}"
            )
            _absent(refused, lines[place:found], output)
            place, refused = found + 1, []
    _absent(refused, lines[place:], output)


def _absent(refused: list[str], lines: list[str], output: str) -> None:
    for text in refused:
        assert not any(pattern(text).search(line) for line in lines), f"{text!r} stands in\n{output}"


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_a_case_holds(path: Path):
    check(path.read_text())


PROGRAM = """
nervure 1
program p {
  graph main(%x: f32[3]) -> f32[3] {
    %a = neg %x : f32[3]
    %b = abs %a : f32[3]
    return %b
  }
}
"""


@pytest.mark.parametrize(
    ("directives", "message"),
    [
        ("// RUN: cse\n// CHECK: tanh", "no line 'tanh'"),
        ("// RUN: cse\n// CHECK: abs\n// CHECK: neg", "no line 'neg'"),
        ("// RUN: cse\n// CHECK: graph\n// CHECK-NEXT: abs", "is not the next line"),
        ("// RUN: cse\n// CHECK: graph\n// CHECK-NOT: neg\n// CHECK: abs", "'neg' stands in"),
        ("// RUN: cse\n// CHECK: neg\n// CHECK-NOT: abs", "'abs' stands in"),
        ("// RUN: cse\n// NOTE: refused", "no note 'refused'"),
        ("// RUN: cse", "nothing is checked"),
        ("// CHECK: neg", "one RUN line expected"),
    ],
)
def test_a_check_that_does_not_hold_fails(directives: str, message: str):
    with pytest.raises(AssertionError, match=message):
        check(directives + PROGRAM)


def test_checks_that_hold_pass():
    check(
        "// RUN: canonicalize\n// CHECK: graph\n// CHECK-NOT: neg\n// CHECK-NEXT: abs %x : f32[3]" + PROGRAM
    )
