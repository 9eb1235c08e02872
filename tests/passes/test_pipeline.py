"""Pipelines: their text, verification, printing, dumps that reload, and bisection by `stop_after`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from nervure.ir import build as b
from nervure.ir.errors import InputError, VerifyError
from nervure.ir.graph import Graph, Node, Value, rebuild
from nervure.ir.interpret import evaluate_program
from nervure.ir.ops.elementwise import Add
from nervure.ir.program import Program
from nervure.ir.text import load, parse_program, print_program
from nervure.ir.types import TensorType, f32
from nervure.passes.base import Pass, Remarks
from nervure.passes.driver import to_fixed_point
from nervure.passes.levels import standard_pipeline
from nervure.passes.manager import Pipeline, passes_by_name, run_pipeline
from nervure.passes.regions import fingerprint

VECTOR = TensorType(f32, (3,))


def tower() -> Program:
    """neg neg neg neg (x + x) * 1."""
    x = Value(VECTOR, name="x")
    y = b.add(x, x)
    for _ in range(4):
        y = b.neg(y)
    return Program("tower", [Graph("main", [x], [b.mul(y, b.full_like(y, 1))])])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cse",
        "canonicalize,fuse{kinds=conv},unroll{max=64}",
        "unroll{max=8,factor=4}",
        "legalize{backend=llvm}",
        "decompose{keep=relu+softmax},fold-constants{max-bytes=4096}",
        "fuse{kinds=}",
    ],
)
def test_a_pipeline_prints_back_to_its_text(text: str):
    assert str(Pipeline.parse(text)) == text


def test_spaces_and_defaults_are_left_out_of_the_text():
    default = passes_by_name()["unroll"]()
    assert (
        str(Pipeline.parse(f" cse , unroll {{ max = {default.max} , factor = 2 }} "))
        == "cse,unroll{factor=2}"
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("canonicalise", "no pass is named canonicalise", "did you mean canonicalize?"),
        ("unroll{most=3}", "unroll has no option 'most'", "max, factor, auto, budget, cap"),
        ("unroll{facto=3}", "unroll has no option 'facto'", "did you mean factor?"),
        ("cse{max=3}", "cse has no option 'max'", "there are none"),
        ("unroll{max=many}", "unroll{max} is 'many', expected an integer", ""),
        ("unroll{max=1,max=2}", "unroll is given max twice", ""),
        ("unroll{max}", "unroll has no option 'max'", ""),
        ("fuse{kinds=convv}", "no kind of group is named convv", "did you mean conv?"),
        ("cse,,dce", "nothing stands between two commas", ""),
        ("unroll{max=1", "a brace is not closed", ""),
        ("unroll}", "braces do not match", ""),
        ("fuse{kinds={}}", "braces do not match", ""),
        ("Cse", "'Cse' is no pass", "write name"),
        ("legalize{supports=x}", "legalize has no option 'supports'", ""),
    ],
)
def test_a_wrong_text_is_one_error_that_says_what_there_is(text: str, message: str, hint: str):
    with pytest.raises(InputError) as found:
        Pipeline.parse(text)
    assert message in found.value.message
    assert hint in (found.value.hint or "")


def test_every_pass_reads_back_from_its_name_and_has_a_docstring():
    for name, kind in passes_by_name().items():
        assert Pipeline.parse(name).passes == (kind(),)
        assert str(Pipeline.parse(name)) == name == kind.name
        assert kind.__doc__


def test_a_level_that_does_not_exist_is_an_error():
    with pytest.raises(InputError, match=r"level 4 is not within 0\.\.3"):
        standard_pipeline(4)


def test_records_count_nodes_rewrites_and_time():
    ticks = iter(range(100))
    result = run_pipeline(tower(), Pipeline.parse("canonicalize,cse"), clock=lambda: next(ticks))
    first, second = result.records
    assert (first.pass_, first.before, first.after, first.changed, first.seconds) == (
        "canonicalize",
        8,
        1,
        True,
        1,
    )
    assert first.rewrites == {"double-neg": 2, "mul-one": 1}
    assert (second.changed, second.rewrites) == (False, {})
    assert result.rewrites == 3
    assert str(second) == "cse: 1 -> 1 nodes, 1000.0 ms: nothing"


@pytest.mark.parametrize(
    ("print_after", "expected"),
    [(None, []), ("changed", ["canonicalize"]), ("all", ["cse", "canonicalize", "dce"]), ("cse", [])],
)
def test_graphs_are_printed_as_asked(print_after: str | None, expected: list[str]):
    printed: list[str] = []
    run_pipeline(
        tower(), Pipeline.parse("cse,canonicalize,dce"), print_after=print_after, echo=printed.append
    )
    assert [p.splitlines()[0] for p in printed] == [f"// after {name}" for name in expected]
    assert all("graph main(" in p for p in printed)


def test_printing_after_a_pass_that_does_not_exist_is_an_error():
    with pytest.raises(InputError) as found:
        run_pipeline(tower(), Pipeline(), print_after="change")
    assert found.value.hint == "did you mean changed?"


def test_dumps_are_numbered_reload_and_continue(tmp_path: Path, samples: dict[str, Callable[[], Any]]):
    program, _ = samples["cnn"]()
    text = "cse,canonicalize,decompose,fuse"
    result = run_pipeline(program, Pipeline.parse(text), dump_dir=tmp_path / "dumps")
    files = sorted(p.name for p in (tmp_path / "dumps").glob("*.nv"))
    assert files == ["00_input.nv", "03_decompose.nv", "04_fuse.nv"]
    middle = load(tmp_path / "dumps" / "03_decompose.nv")
    again = run_pipeline(middle, Pipeline.parse("fuse")).program
    assert fingerprint(again.main) == fingerprint(result.program.main)


def test_bisection_finds_the_first_wrong_rewrite():
    @dataclass(frozen=True)
    class Wrong(Pass):
        """Turns additions into subtractions, at the third rewrite alone."""

        name: ClassVar[str] = "wrong"

        def run(self, graph: Graph, remarks: Remarks) -> Graph:
            def rewrite(node: Node, operands: tuple[Value, ...]) -> list[Value] | None:
                if not isinstance(node.op, Add) or not remarks.allow("wrong"):
                    return None
                return [b.sub(*operands) if remarks.rewrites["wrong"] == 3 else b.add(*operands)]

            return rebuild(graph, rewrite)

    x = Value(VECTOR, name="x")
    y = x
    for k in range(6):
        y = b.add(y, b.full_like(y, k + 1))
    program, arrays = Program("p", [Graph("main", [x], [y])]), [np.ones(3, np.float32)]
    pipeline = Pipeline((*Pipeline.parse("canonicalize").passes, Wrong()))

    want = evaluate_program(program, arrays)
    total = run_pipeline(program, pipeline).rewrites
    wrong = [
        n
        for n in range(total + 1)
        if evaluate_program(run_pipeline(program, pipeline, stop_after=n).program, arrays)[0].tolist()
        != want[0].tolist()
    ]
    assert (total, wrong) == (6, [3, 4, 5, 6])


def test_stopping_after_nothing_changes_nothing(samples: dict[str, Callable[[], Any]]):
    for make in samples.values():
        program, _ = make()
        text = "canonicalize,fold-constants,cse,dce,decompose,unroll,sink-transposes,fold-batchnorm,split-prepare,fuse"
        assert run_pipeline(program, Pipeline.parse(text), stop_after=0).program is program


def test_each_rewrite_counts_once_towards_the_limit():
    for n in range(4):
        result = run_pipeline(tower(), Pipeline.parse("canonicalize"), stop_after=n)
        assert result.rewrites == n


def test_a_pass_that_breaks_the_graph_is_named():
    @dataclass(frozen=True)
    class Breaks(Pass):
        """Returns a graph that reads a value it does not define."""

        name: ClassVar[str] = "breaks"

        def run(self, graph: Graph, remarks: Remarks) -> Graph:
            return Graph(graph.name, graph.inputs, [b.neg(Value(VECTOR))])

    with pytest.raises(VerifyError, match="after pass breaks: graph main: neg uses"):
        run_pipeline(tower(), Pipeline((Breaks(),)))
    assert run_pipeline(tower(), Pipeline((Breaks(),)), verify=False).records[0].changed


def test_an_endless_rewrite_is_stopped_and_noted():
    x = Value(VECTOR)
    graph = Graph("f", [x], [b.neg(x)])
    remarks = Remarks()

    def flip(g: Graph) -> Graph:
        return rebuild(g, lambda node, operands: [b.neg(operands[0])])

    to_fixed_point(graph, flip, remarks, name="flip")
    assert remarks.notes == ["flip: stopped after 64 sweeps"]


def test_a_chain_of_100000_nodes_goes_through_every_cleaning_pass_and_fuse():
    x = Value(VECTOR, name="x")
    y = x
    for _ in range(50_000):
        y = b.neg(b.abs(y))
    program = Program("deep", [Graph("main", [x], [y])])
    result = run_pipeline(program, Pipeline.parse("canonicalize,fold-constants,cse,dce,sink-transposes,fuse"))
    (fused,) = result.program.main.nodes
    assert [n.op.mnemonic for n in fused.regions[0].nodes] == ["abs", "neg"]
    chain = run_pipeline(program, Pipeline.parse("fuse{limit=50}")).program.main.nodes
    assert [len(n.regions[0].nodes) for n in chain] == [50] * 2000


def test_comments_of_printed_graphs_are_comments_of_the_text_form():
    program = tower()
    assert print_program(parse_program(f"// after cse\n{print_program(program)}")) == print_program(program)
