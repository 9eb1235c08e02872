"""Random ONNX models of ops that people's models have, with what onnxruntime says of them.

Values whose exact size decides something (comparisons, rounding, extremes) are made from the model's inputs alone, which
stand on a grid away from ties; so two runtimes differ by rounding only. In half of the models the first axis is open.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper
from onnx_suite import Score
from random_onnx_builder import FLOAT, Builder, Known
from random_onnx_ops import RULES

__all__ = ["RandomModel", "judge_random"]


@dataclass(frozen=True)
class RandomModel:
    """The model of a number."""

    seed: int

    @property
    def name(self) -> str:
        return f"random#{self.seed}"

    def build(self) -> tuple[Any, list[dict[str, Any]]]:
        """The model, and inputs to run it on."""
        rng = random.Random(self.seed)
        m = Builder(rng, rng.random() < 0.5)
        start = rng.choice([(3, 4, 8, 8), (2, 6, 9), (3, 10), (2, 3, 7, 5), (2, 5, 6)])
        infos: list[Any] = []
        for _ in range(rng.randint(1, 2)):
            x = Known(f"x{len(infos)}", start, exact=True)
            m.values.append(x)
            shape = ["N", *start[1:]] if m.is_open else list(start)
            infos.append(helper.make_tensor_value_info(x.name, FLOAT, shape))
        wanted = rng.randint(5, 20)
        for _ in range(500):
            if len(m.nodes) >= wanted:
                break
            before = len(m.nodes), len(m.values), len(m.stored)
            try:
                rng.choice(RULES)(m)
            except LookupError:
                del m.nodes[before[0] :], m.values[before[1] :], m.stored[before[2] :]
        read = {name for node in m.nodes for name in node.input}
        made = [v for v in m.values if v.name not in {i.name for i in infos}]
        ends = [v for v in made if v.name not in read and v.kind == FLOAT] or made[-1:]
        outputs = [helper.make_tensor_value_info(v.name, v.kind, None) for v in ends[:4]]
        graph = helper.make_graph(m.nodes, "random", infos, outputs, m.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        draw = np.random.default_rng(self.seed)
        sizes = (start[0], 1, 7) if m.is_open else (start[0],)
        feeds = [{i.name: _grid(draw, (n, *start[1:])) for i in infos} for n in sizes]
        return model, feeds


def _grid(draw: Any, shape: tuple[int, ...]) -> Any:
    """Different numbers, multiples of 1/64 that are none of 1/4 and half-way between no two integers."""
    size = int(np.prod(shape))
    steps = draw.permutation(size) - size // 2
    return ((steps * 16 + 3) / 64 / max(1, size // 64)).astype(np.float32).reshape(shape)


BOUNDED = ("Asin", "Acos")
"""Ops that are defined from -1 to 1 alone; onnxruntime's Tanh, which they take, goes up to 1.0000002."""

BEYOND = 3e-7


def at_the_edge(model: Any, feed: dict[str, Any]) -> bool:
    """Whether onnxruntime takes a bounded op of a number that is outside, and none that is so by more than rounding."""
    operands = [node.input[0] for node in model.graph.node if node.op_type in BOUNDED]
    if not operands:
        return False
    open_ = type(model)()
    open_.CopyFrom(model)
    del open_.graph.output[:]
    open_.graph.output.extend(helper.make_tensor_value_info(n, FLOAT, None) for n in dict.fromkeys(operands))
    largest = max(float(np.abs(a).max(initial=0)) for a in session_of(open_).run(None, feed))
    return 1 < largest <= 1 + BEYOND


def inside(model: Any) -> Any:
    """The model with operands of bounded ops clipped to their range."""
    made = type(model)()
    made.CopyFrom(model)
    del made.graph.node[:]
    for node in model.graph.node:
        if node.op_type in BOUNDED:
            clipped = f"{node.output[0]}_inside"
            made.graph.node.append(helper.make_node("Clip", [node.input[0], "low_1", "high_1"], [clipped]))
            node = helper.make_node(node.op_type, [clipped], list(node.output))
        made.graph.node.append(node)
    made.graph.initializer.append(helper.make_tensor("low_1", FLOAT, [], [-1.0]))
    made.graph.initializer.append(helper.make_tensor("high_1", FLOAT, [], [1.0]))
    return made


def judge_random(case: RandomModel, backend: str) -> Score:
    """Whether nervure gives what onnxruntime gives, to a thousandth of each output's scale.

    "edge" where they differ because onnxruntime's operand of a bounded op is outside by rounding, and agree without that.
    """
    model, feeds = case.build()
    ops = " ".join(sorted({n.op_type for n in model.graph.node}))
    try:
        at, problem = compared(model, feeds, backend)
        if problem and at_the_edge(model, feeds[at]) and not compared(inside(model), feeds, backend)[1]:
            return Score("edge", ops)
    except Exception as error:
        return Score("error", f"{type(error).__name__}: {error}; {ops}")
    return Score("wrong", f"{problem}; {ops}") if problem else Score("pass", ops)


def compared(model: Any, feeds: list[dict[str, Any]], backend: str) -> tuple[int, str]:
    """The first feed on which results differ, and how; -1 and nothing where none do."""
    import nervure as nv

    session = session_of(model)
    more: dict[str, Any] = {"cache": False} if backend == "llvm" else {}
    run = nv.compile(nv.import_onnx(model), backend=backend, **more)
    for at, feed in enumerate(feeds):
        wanted = session.run(None, feed)
        found: Any = run(*feed.values())
        for info, one, other in zip(
            model.graph.output, found if isinstance(found, tuple) else (found,), wanted, strict=True
        ):
            problem = _difference(one, other)
            if problem:
                return at, f"{info.name}: {problem}"
    return -1, ""


def session_of(model: Any) -> Any:
    """The model on one thread of onnxruntime."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _difference(one: Any, other: Any) -> str:
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.dtype}{list(one.shape)}, onnxruntime has {other.dtype}{list(other.shape)}"
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return "infinities or NaN elsewhere"
    keep = np.isfinite(other)
    scale = max(float(np.abs(other[keep]).max(initial=0)), 1e-3)
    gap = float(np.abs(one[keep].astype(np.float64) - other[keep]).max(initial=0))
    return "" if gap <= 1e-3 * scale else f"off by {gap:.3g} of {scale:.3g}"
