"""nv.cond and nv.while_loop: what runs, and how often, is known when the program runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir import build as b
from ..ir.dims import Dim
from ..ir.errors import TraceError
from ..ir.graph import Graph, Value
from ..ir.types import bool_
from .arguments import callable_with, extent, given
from .tensor import Tensor
from .tracing import Frame, current, user_lines
from .trees import alike, build, leaves, tree_text

__all__ = ["BranchesDiffer", "check_carry", "cond", "made", "while_loop"]

Function = Callable[..., Any]


class BranchesDiffer(TraceError):
    """The two functions of a cond return different types."""


def cond(pred: Any, then: Function, otherwise: Function, *operands: Any) -> Any:
    """``then(*operands)`` where pred is true, else ``otherwise(*operands)``; only one of them runs.

    Args:
        pred:     a bool[] tensor; of a Python bool, one of the functions is traced and no branch made
        then:     a function of the operands; outer tensors and parameters may be used inside, and state that it changes
                  is changed where it runs
        otherwise: as then, with results of the same types
        operands: tensors, or tuples and lists of them

    Returns:
        what the functions return

    Raises:
        TraceError: pred is no truth value
        BranchesDiffer: the functions' results have different types
    """
    names = [f"operand {k}" for k in range(len(operands))]
    callable_with("cond", "the first function", then, *names)
    callable_with("cond", "the second function", otherwise, *names)
    if isinstance(pred, bool):
        return (then if pred else otherwise)(*operands)
    test = given("cond", "the condition", pred).value
    if test.type.dtype != bool_ or test.type.shape:
        raise _error(
            "cond", f"the condition is {test.type}, expected bool[]", hint="reduce it with .all() or .any()"
        )
    state, frames, results = current(), list[Frame](), list[Any]()
    bodies: list[tuple[list[Value], list[Value]]] = []
    outside = leaves(list(operands), "cond", "an operand")
    for function, which in ((then, "first"), (otherwise, "second")):
        with state.region("cond", updates=True) as frame:
            inputs = [Value(v.type, name=v.name) for v in outside]
            results.append(function(*build(list(operands), list(map(Tensor, inputs)))))
            bodies.append((inputs, leaves(results[-1], "cond", f"a result of the {which} function")))
        frames.append(frame)
    _check_results(bodies[0][1], bodies[1][1], *results)
    changed = list(dict.fromkeys(e for frame in frames for e in frame.written))
    entries = list(dict.fromkeys([*changed, *(e for frame in frames for e in frame.held)]))
    for (inputs, outputs), frame in zip(bodies, frames, strict=True):
        inputs += [state.hold(e, frame) for e in entries]
        outputs += [frame.written.get(e) or frame.held[e] for e in changed]
    outer, captured = _captured(frames)
    first, second = (
        Graph(name, [*inputs, *inner], outputs)
        for name, (inputs, outputs), inner in zip(("then", "otherwise"), bodies, captured, strict=True)
    )
    found = b.if_(test, first, second, [*outside, *map(state.read, entries), *outer])
    for entry, value in zip(changed, found[len(found) - len(changed) :], strict=True):
        state.update(entry, value)
    return build(results[0], list(map(Tensor, found)))


def while_loop(cond: Function, body: Function, init: Any, *, max_trip: Dim | None = None) -> Any:
    """Run ``carry = body(carry)`` as long as ``cond(carry)`` holds.

    Args:
        cond:     takes the carry and returns a bool[] tensor
        body:     takes the carry and returns the next, of the same types
        init:     the first carry: a tensor, or tuples and lists of them
        max_trip: the most turns. With it the loop has a derivative, at the price of so many turns

    Returns:
        the last carry

    Raises:
        TraceError: the condition is no truth value, or a carry changes its type
    """
    inits = leaves(init, "while_loop", "init")
    most = None if max_trip is None else extent("while_loop", "max_trip", max_trip)
    callable_with("while_loop", "cond", cond, "carry")
    callable_with("while_loop", "body", body, "carry")
    if not inits:
        raise _error("while_loop", "the carry has no tensors, so that nothing can end the loop")
    frames: list[Frame] = []
    inputs = [[Value(v.type, name=v.name or "carry") for v in inits] for _ in range(2)]
    with current().region("while_loop") as frame:
        holds = cond(build(init, list(map(Tensor, inputs[0]))))
        test = given("while_loop", "the condition", holds).value
    frames.append(frame)
    if test.type.dtype != bool_ or test.type.shape:
        raise _error(
            "while_loop",
            f"the condition is {test.type}, expected bool[]",
            hint="reduce it with .all() or .any()",
        )
    with current().region("while_loop") as frame:
        result = body(build(init, list(map(Tensor, inputs[1]))))
        after = leaves(result, "while_loop", "the carry that the body returns")
    frames.append(frame)
    check_carry("while_loop", inits, after, init, result)
    outer, captured = _captured(frames)
    first, second = (
        Graph(name, [*own, *inner], outputs)
        for name, own, inner, outputs in zip(("cond", "body"), inputs, captured, ([test], after), strict=True)
    )
    found = b.while_(first, second, inits, outer, most)
    return build(init, list(map(Tensor, found)))


def _captured(frames: Sequence[Frame]) -> tuple[list[Value], list[list[Value]]]:
    """The outer values that any of the regions uses, and the inputs that stand for them in each."""
    outer = list(dict.fromkeys(v for frame in frames for v in frame.captured))
    return outer, [[f.captured.get(v) or Value(v.type, name=v.name) for v in outer] for f in frames]


def _check_results(first: Sequence[Value], second: Sequence[Value], one: Any, other: Any) -> None:
    if not alike(one, other):
        raise BranchesDiffer(
            f"cond: the first function returns {tree_text(one)}, the second {tree_text(other)}",
            where=user_lines(),
            hint="return as many tensors from both, nested in the same way",
        )
    for k, (a, c) in enumerate(zip(first, second, strict=True)):
        if a.type != c.type:
            raise BranchesDiffer(
                f"cond: result {k} is {a.type} of the first function and {c.type} of the second",
                details=[f"first:  {a.type}{made(a)}", f"second: {c.type}{made(c)}"],
                where=user_lines(),
                hint="make both the same type",
            )


def check_carry(name: str, before: Sequence[Value], after: Sequence[Value], one: Any, other: Any) -> None:
    """The carry keeps its types and how it is built; the error names both, each with its line.

    Args:
        one, other: the carry as it is nested before and after the body
    """
    if not alike(one, other):
        raise _error(
            name,
            f"the carry is {tree_text(one)} before the body and {tree_text(other)} after it",
            hint="return the carry as it is given to the body",
        )
    for k, (first, last) in enumerate(zip(before, after, strict=True)):
        if first.type != last.type:
            raise _error(
                name,
                f"carry {k} is {first.type} before the body and {last.type} after it",
                [f"before: {first.type}{made(first)}", f"after:  {last.type}{made(last)}"],
                hint="give init the type that the body returns",
            )


def made(value: Value) -> str:
    """Where a value was made, for a message; an input, which no line makes, by its name."""
    if value.node is None:
        name = value.entry or value.name
        return f"  given as {name}" if name else ""
    return "".join(f"  at {origin}" for origin in value.node.origins)


def _error(name: str, message: str, details: Sequence[str] = (), hint: str | None = None) -> TraceError:
    return TraceError(f"{name}: {message}", details=details, where=user_lines(), hint=hint)
