"""Explanations of whole models: every edge once, with a group or a reason; every kernel with a line of the user's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import nervure as nv
from nervure import nn, optim, zoo
from nervure.backends.llvm.executable import LLVMExecutable
from nervure.backends.llvm.program import kernels_of
from nervure.inspect.explain import explain
from nervure.inspect.why import lines_of, why
from nervure.ir.errors import InputError
from nervure.ir.program import Program
from nervure.ir.text.printer import value_names


def step(model: Any) -> Program:
    return nv.training_step(model, nn.cross_entropy, optim.SGD(0.1, momentum=0.9), *model.inputs, "i64[B]")


def programs() -> dict[str, Program]:
    found = {name: nv.trace(made := make(), *made.inputs) for name, make in zoo.MODELS.items()}
    return found | {"lenet step": step(zoo.LeNet5()), "mlp step": step(zoo.MLP())}


PROGRAMS = programs()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_edge_has_one_entry_with_a_group_or_a_reason(name: str) -> None:
    found = explain(PROGRAMS[name])
    for graph_name, graph in found.program.graphs.items():
        names = value_names(graph)
        wanted = Counter(
            (names[o], names[node.results[0]]) for node in graph.nodes for o in dict.fromkeys(node.operands)
        )
        wanted.update((names[v], "") for v in dict.fromkeys(graph.roots))
        rows = [r for r in found.rows if r.graph == graph_name]
        assert Counter((r.value, r.user) for r in rows) == wanted
        assert all(bool(r.fused) != bool(r.reason) for r in rows)
        assert all(r.saved for r in rows if r.fused)


def test_what_is_said_to_be_fused_is_fused() -> None:
    program = PROGRAMS["vgg"]
    groups = {r.fused for r in explain(program).rows if r.fused}
    run = nv.compile(program)
    assert isinstance(run, LLVMExecutable)
    labels = {getattr(n.op, "label", "") for n in run.program.main.nodes} - {""}
    assert groups == labels
    assert {k.does for k in run.kernels} >= groups
    assert "max_pool" not in {k.does for k in run.kernels}


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_bodies_of_loops_are_explained_too(layer: Any) -> None:
    """A cell is one kernel; what is said of its edges holds for the groups that the compiled loop has."""
    program = nv.trace(layer(8, 16), "f32[T,B,8]")
    found = explain(program)
    rows = [r for r in found.rows if r.graph.startswith("forward, body of scan %")]
    assert rows and "\ngraph forward, body of scan %" in str(found)
    run: Any = nv.compile(program)
    (scan,) = (n for n in run.program.main.nodes if n.regions and n.op.mnemonic == "scan")
    labels = {n.op.label for n in scan.regions[0].nodes if n.op.mnemonic == "fuse"}
    assert {r.fused for r in rows if r.fused} == labels
    assert {r.reason for r in rows if r.ops[0] == "input"} == {"it is an input of the body"}
    assert {r.ops[1] for r in found.rows if not r.user} == {"the scan", "the caller"}


def test_a_value_that_a_group_hands_out_too_is_written_all_the_same() -> None:
    """Of what a cell remembers only the read within the kernel is saved."""
    found = explain(nv.trace(nn.LSTM(8, 16), "f32[5,2,8]"))
    (saved,) = (r.saved for r in found.rows if "body" in r.graph and r.ops == ("add", "tanh"))
    assert saved == str(2 * 16 * 4)


def test_each_body_within_another_has_a_name_of_its_own() -> None:
    def f(x: Any) -> Any:
        def outer(c: Any, rows: Any) -> Any:
            def inner(h: Any, row: Any) -> Any:
                return nv.cond(h.sum() > 0, lambda h: nn.tanh(h) + row, lambda h: h - row, h), None

            last, _ = nv.scan(inner, c, rows)
            return nv.while_loop(lambda h: h.sum() > 9, lambda h: h / 2, last), None

        return nv.scan(outer, x[0, 0], x)[0]

    program = nv.trace(f, "f64[T,L,3]")
    for given in (program, nv.parse(str(program))):
        names = list(dict.fromkeys(r.graph.replace("%", "") for r in explain(given).rows))
        assert names == [
            "forward", "forward, body of scan 2", "forward, body of scan 2, body of scan 0",
            "forward, body of scan 2, body of scan 0, then of if 3", "forward, body of scan 2, body of scan 0, otherwise of if 3",
            "forward, body of scan 2, cond of while 1", "forward, body of scan 2, body of while 1",
        ]  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_kernel_has_a_line(name: str) -> None:
    run = nv.compile(PROGRAMS[name])
    assert isinstance(run, LLVMExecutable)
    kernels = list(kernels_of((*run.assembled.program.prepare, *run.assembled.program.run)))
    assert kernels
    assert [k.name for k in kernels if not k.origin] == []


def test_every_line_of_a_model_leads_to_a_kernel() -> None:
    program = PROGRAMS["lenet"]
    for line in lines_of(program):
        found = why(program, line)
        assert found.nodes
        if all(" = reshape " in text for text in found.nodes):
            continue  # the same bytes under another shape: no kernel
        assert found.kernels
        assert found.code
        assert line in str(found)


def test_a_line_may_be_shortened_from_the_left_and_an_unknown_one_is_told_the_others() -> None:
    line = lines_of(PROGRAMS["mlp"])[0]
    assert why(PROGRAMS["mlp"], line.rpartition("/")[2]).line == line
    with pytest.raises(InputError) as caught:
        why(PROGRAMS["mlp"], "zoo.py:1")
    assert line in str(caught.value.hint)
