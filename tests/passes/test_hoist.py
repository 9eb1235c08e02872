"""hoist: what leaves a scan, and that the values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nervure as nv
from nervure import nn
from nervure.ir.graph import Node
from nervure.ir.interpret import evaluate_program
from nervure.ir.program import Program
from nervure.passes.manager import Pipeline, run_pipeline

RNG = np.random.default_rng(5)
SIZES = {"T": 5, "B": 2}


def array(spec: str, **sizes: int) -> np.ndarray[Any, Any]:
    dims = spec[spec.index("[") + 1 : -1].split(",")
    return RNG.normal(size=[int({**SIZES, **sizes}.get(d.split(":")[0], d)) for d in dims if d])


def hoisted(f: Any, *specs: str) -> Program:
    """The program after the pass, which computes what it did before, for no steps too where T may be 0."""
    program = nv.trace(f, *specs)
    found = run_pipeline(program, Pipeline.parse("share-scans,cse,hoist,canonicalize,cse,dce")).program
    for steps in (5, 1, 0) if any("T:0" in s for s in specs) else (5, 1):
        inputs = [array(s, T=steps) for s in specs]
        wanted, got = evaluate_program(program, inputs), evaluate_program(found, inputs)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    return found


def scans(program: Program) -> list[Node]:
    return [n for n in program.main.nodes if n.op.mnemonic == "scan"]


def inside(program: Program, mnemonic: str) -> int:
    return sum(n.op.mnemonic == mnemonic for s in scans(program) for n in s.regions[0].nodes)


def outside(program: Program, mnemonic: str) -> list[Any]:
    return [n.results[0].type.shape for n in program.main.nodes if n.op.mnemonic == mnemonic]


def test_what_is_the_same_in_each_step_is_computed_before_the_loop() -> None:
    found = hoisted(
        lambda x, w: nv.scan(lambda c, r: (nn.tanh(c @ (nn.exp(w) * 2).T + r), None), x[0], x)[0],
        "f64[T,B,3]",
        "f64[3,3]",
    )
    assert inside(found, "exp") == inside(found, "permute") == 0
    assert outside(found, "exp") == [(3, 3)]


def test_the_input_projection_becomes_one_product_over_all_steps() -> None:
    found = hoisted(
        lambda x, w, u: nv.scan(lambda c, r: (nn.tanh(c @ w + nn.relu(r) @ u), c), x[0, :, :3], x)[0],
        "f64[T,B,4]",
        "f64[3,3]",
        "f64[4,3]",
    )
    assert inside(found, "dot_general") == 1
    (shape,) = outside(found, "dot_general")
    assert len(shape) == 3
    assert not any(n.op.mnemonic == "relu" for s in scans(found) for n in s.regions[0].nodes)


def test_the_output_projection_becomes_one_product_behind_the_loop() -> None:
    def classical(x: Any, w: Any, v: Any) -> Any:
        def step(h: Any, r: Any) -> Any:
            h = nn.tanh(h @ w + r)
            return h, nn.softmax(h @ v, -1)

        return nv.scan(step, x[0], x)[1]

    found = hoisted(classical, "f64[T,B,3]", "f64[3,3]", "f64[3,7]")
    assert inside(found, "dot_general") == 1
    assert inside(found, "softmax") == 0


@pytest.mark.parametrize("length", ["5", "T", "T:0..9"])
def test_gradients_of_weights_become_one_product_over_all_steps(length: str) -> None:
    def loss(x: Any, w: Any, u: Any, b: Any, h: Any) -> Any:
        last, ys = nv.scan(lambda c, r: (nn.tanh(c @ w + r @ u + b),) * 2, h, x)
        return (ys**2).sum() + last.sum()

    found = hoisted(
        nv.grad(loss, (0, 1, 2, 3, 4)), f"f64[{length},2,4]", "f64[3,3]", "f64[4,3]", "f64[3]", "f64[2,3]"
    )
    forward, backward = scans(found)
    assert forward.op.carries == backward.op.carries == 1
    assert inside(found, "dot_general") == 2, "one product a step is all that has to stay, each way"
    assert inside(found, "reduce_sum") == 0


def test_products_of_weights_of_each_step_stay() -> None:
    found = hoisted(
        lambda x, w: nv.scan(lambda c, r: (nn.tanh(c @ r), None), x, w)[0], "f64[B,3]", "f64[T,3,3]"
    )
    assert inside(found, "dot_general") == 1


def test_a_loop_around_a_loop_keeps_products_over_the_inner_steps() -> None:
    def f(x: Any, w: Any, u: Any) -> Any:
        def outer(c: Any, rows: Any) -> Any:
            return nv.scan(lambda h, r: (nn.tanh(h @ w + r @ u), None), c, rows)[0], c.sum()

        return nv.scan(outer, x[0, 0, :, :3], x)

    found = hoisted(f, "f64[T,4,B,5]", "f64[3,3]", "f64[5,3]")
    (scan,) = scans(found)
    products = [n for n in scan.regions[0].nodes if n.op.mnemonic == "dot_general"]
    assert [n.results[0].type.shape[0] for n in products] == [4]
    (inner,) = (n for n in scan.regions[0].nodes if n.op.mnemonic == "scan")
    assert sum(n.op.mnemonic == "dot_general" for n in inner.regions[0].nodes) == 1


def test_a_carry_that_is_read_is_no_sum() -> None:
    def f(x: Any) -> Any:
        return nv.scan(lambda c, r: (c + r.sum(0, keepdims=True), c * 2), x[0, :1], x)

    assert scans(hoisted(f, "f64[T,B,3]"))[0].op.carries == 1
