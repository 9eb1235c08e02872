"""Which pass, and which rewrite of it, made a result wrong; or which kernel, where all passes are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..ir.errors import InputError, NervureError, TypeInferenceError, VerifyError
from ..ir.graph import Value
from ..ir.op import attributes
from ..ir.program import Program
from ..ir.text.printer import attribute_text
from ..ir.types import Array, dtype_of
from ..passes.base import Pass, Remarks
from ..passes.manager import Pipeline, PipelineResult, pass_text, run_pipeline
from .cuts import copied
from .kernels import first_wrong_node, run_on
from .movement import reference
from .tolerance import Yardstick

__all__ = ["Verdict", "bisect"]

Kind = Literal["agrees", "reference", "pass", "backend"]


@dataclass(frozen=True)
class Verdict:
    """Who is to blame.

    Args:
        kind:     agrees: nobody; reference: the program means something else than is expected; pass; backend
        what:     what is wrong: an element with what was found and expected, or an error
        pass_:    the pass, as text
        rewrite:  the rewrite within it; empty where the pass is wrong as a whole
        number:   how many rewrites of the pipeline are right: `nervure opt --stop-after` with this many, and one more
        lines:    the user's lines that the rewrite had a part in
        changes:  nodes that the rewrite took out of the program and put in
        backend:  who ran the kernels
        node:     the first node that the backend computes wrongly
        kernel:   the label of its group, or its op
        program:  the last program that is right: before the rewrite, or what the backend was given
    """

    kind: Kind
    what: str = ""
    pass_: str = ""
    rewrite: str = ""
    number: int = 0
    lines: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    backend: str = ""
    node: str = ""
    kernel: str = ""
    program: Program | None = None

    @property
    def blame(self) -> tuple[str, ...]:
        """What is to blame, to compare verdicts: the pass's name and the rewrite's, or backend and kernel."""
        match self.kind:
            case "pass":
                return ("pass", self.pass_.partition("{")[0], self.rewrite)
            case "backend":
                return ("backend", self.backend, self.kernel)
            case _:
                return (self.kind,)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "what": self.what,
            "pass": self.pass_,
            "rewrite": self.rewrite,
            "number": self.number,
            "lines": list(self.lines),
            "changes": list(self.changes),
            "backend": self.backend,
            "node": self.node,
            "kernel": self.kernel,
        }

    def __str__(self) -> str:
        match self.kind:
            case "agrees":
                return "all passes are right" + (f", and so is {self.backend}" if self.backend else "")
            case "reference":
                return f"the reference does not compute what is expected, before any pass\n  {self.what}"
            case "backend":
                kernel = f" in kernel {self.kernel}" if self.kernel else ""
                node = f"\n  first wrong node{kernel}: {self.node}" if self.node else ""
                return f"all passes are right; {self.backend} is wrong{node}\n  {self.what}"
            case "pass":
                return self._of_pass()

    def _of_pass(self) -> str:
        rewrite = f", rewrite {self.rewrite}" if self.rewrite else ""
        parts = [f"pass {self.pass_}{rewrite} (number {self.number + 1} of the pipeline)", f"  {self.what}"]
        parts += [f"  at {line}" for line in self.lines]
        return "\n".join([*parts, *(f"  {change}" for change in self.changes)])


def bisect(
    program: Program,
    pipeline: Pipeline | None,
    inputs: Sequence[Array],
    *,
    expect: Mapping[str, Array] | Sequence[Array] | None = None,
    backend: str | None = None,
) -> Verdict:
    """Find the rewrite that makes a program's results wrong.

    After so many rewrites the reference evaluates the program, for a number of rewrites found by halving: first
    between passes, then within the one. A result is wrong where it is further from the reference's result of the
    program as it was given than rounding explains. An error of a pass is found in the same way.

    Args:
        pipeline: the passes; None for those of the backend
        inputs:   one array an input
        expect:   results from elsewhere, by the name of the output or all in order, instead of the reference's
        backend:  compile and run what comes out of the passes, and look for the kernel that is wrong

    Raises:
        InputError: inputs or expect do not fit
        NervureError: a pass or the backend refuses the program
    """
    if pipeline is None:
        from ..backends.base import find_backend

        pipeline = find_backend(backend or "reference").pipeline(2)
    own = copied(program)
    with np.errstate(all="ignore"):
        trial = _Trial(own, pipeline, list(inputs), expect)
        return trial.verdict(backend)


class _Trial:
    """Runs parts of a pipeline and judges them."""

    def __init__(
        self,
        program: Program,
        pipeline: Pipeline,
        inputs: list[Array],
        expect: Mapping[str, Array] | Sequence[Array] | None,
    ) -> None:
        self.program = program
        self.pipeline = pipeline
        self.inputs = inputs
        self.yardstick = Yardstick(program, inputs)
        self.before = self._unlike(expect)

    def _unlike(self, expect: Mapping[str, Array] | Sequence[Array] | None) -> str:
        """What of the expected results the reference does not compute; from now on they are what is right."""
        outputs = self.program.main.outputs
        names = [v.name or f"result{k}" for k, v in enumerate(outputs)]
        if expect is None:
            return ""
        given = expect if isinstance(expect, Mapping) else dict(zip(names, expect, strict=False))
        for name in given:
            if name not in names:
                raise InputError(f"expect: no output is named {name}", hint=f"there are {', '.join(names)}")
        wanted = list(self.yardstick.expected)
        for k, name in enumerate(names):
            if name in given:
                wanted[k] = _fitting(name, np.asarray(given[name]), wanted[k])
        found = self.yardstick.compare(wanted, "expected").wrong
        if not found:
            self.yardstick.expected = wanted
        return "" if not found else found[0]

    def verdict(self, backend: str | None) -> Verdict:
        if self.before:
            return Verdict("reference", self.before, program=self.program)
        passes = self.pipeline.passes
        whole = self._wrong_after(len(passes), None)
        if whole:
            return self._pass_to_blame(whole)
        if backend is None:
            return Verdict("agrees")
        return self._backend_to_blame(backend)

    # passes
    def _run(self, count: int, stop_after: int | None) -> PipelineResult:
        part = Pipeline(self.pipeline.passes[:count])
        return run_pipeline(self.program, part, verify=True, stop_after=stop_after)

    def _wrong_after(self, count: int, stop_after: int | None) -> str:
        """What is wrong after so many passes and rewrites; empty if nothing is."""
        try:
            result = self._run(count, stop_after)
            return self._wrong(result.program)
        except (VerifyError, TypeInferenceError) as error:
            return f"{type(error).__name__}: {error.message}"
        except NervureError:
            raise  # the program is refused, nobody is wrong
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _wrong(self, program: Program) -> str:
        found = self.yardstick.compare(reference(program, self.inputs), "found").wrong
        return found[0] if found else ""

    def _pass_to_blame(self, whole: str) -> Verdict:
        found = {0: "", len(self.pipeline.passes): whole}

        def wrong(count: int) -> str:
            if count not in found:
                found[count] = self._wrong_after(count, None)
            return found[count]

        last = _first(lambda n: bool(wrong(n)), 0, len(self.pipeline.passes))
        pass_ = self.pipeline.passes[last - 1]
        right = self._run(last - 1, None)
        return self._rewrite_to_blame(pass_, last, right, wrong(last))

    def _rewrite_to_blame(self, pass_: Pass, count: int, right: PipelineResult, what: str) -> Verdict:
        """The rewrite within a pass: the first whose last program is wrong while the one before is right."""
        start = right.rewrites
        whole = Verdict("pass", what, pass_text(pass_), number=start, program=right.program)
        known: dict[int, str] = {}

        def wrong(stop: int) -> str:
            if stop not in known:
                known[stop] = self._wrong_after(count, stop)
            return known[stop]

        if wrong(start):
            return whole  # it is wrong without a single rewrite
        end = self._end(start, wrong)
        if end is None:
            return whole
        number = _first(lambda n: bool(wrong(n)), start, end)
        before = self._applied(count, number - 1, pass_, right)
        after = self._applied(count, number, pass_, right)
        names = [n for n, k in after.rewrites.items() if k > before.rewrites.get(n, 0)]
        last_right = self._run(count, number - 1).program
        return Verdict(
            "pass",
            wrong(number),
            pass_text(pass_),
            names[0] if names else "",
            number - 1,
            tuple(
                line
                for n in names
                for line in after.touched[n]
                if line not in before.touched.get(n, {}) or len(after.touched[n]) == 1
            ),
            self._changes(last_right, count, number),
            program=last_right,
        )

    def _end(self, start: int, wrong: Callable[[int], str]) -> int | None:
        """A number of rewrites after which something is wrong, by doubling; None where no number is."""
        step = 1
        while not wrong(start + step):
            if step > 1 << 20:
                return None
            step *= 2
        return start + step

    def _applied(self, count: int, stop: int, pass_: Pass, right: PipelineResult) -> Remarks:
        """What the pass says that it did, stopped after so many rewrites, even where it fails."""
        remarks = Remarks(budget=stop - right.rewrites)
        try:
            pass_.run_program(right.program, remarks)
        except Exception:
            return remarks
        return remarks

    def _changes(self, before: Program, count: int, stop: int) -> tuple[str, ...]:
        try:
            after = self._run(count, stop).program
        except Exception:
            return ()
        return changed_nodes(before, after)

    # backends
    def _backend_to_blame(self, backend: str) -> Verdict:
        final = self._run(len(self.pipeline.passes), None).program
        try:
            yardstick = self.yardstick.against(backend)
            found = yardstick.compare(run_on(backend, final, self.inputs), "found").wrong
        except NervureError:
            raise
        except Exception as error:
            return Verdict("backend", f"{type(error).__name__}: {error}", backend=backend, program=final)
        if not found:
            return Verdict("agrees", backend=backend)
        blamed = first_wrong_node(backend, final, self.inputs)
        if blamed is None:
            return Verdict("backend", found[0], backend=backend, program=final)
        return Verdict(
            "backend",
            blamed.what,
            backend=backend,
            node=blamed.node,
            kernel=blamed.kernel,
            lines=blamed.lines,
            program=final,
        )


def _fitting(name: str, given: Array, like: Array) -> Array:
    """What is expected of an output, in the output's element type where both are floats."""
    floats = dtype_of(given).is_float and dtype_of(like).is_float
    array = given.astype(like.dtype) if floats else given
    if array.shape != like.shape or array.dtype != like.dtype:
        raise InputError(
            f"expect: {name} is {given.dtype}{list(given.shape)}, expected {like.dtype}{list(like.shape)}"
        )
    return array


def _first(wrong: Callable[[int], bool], right: int, bad: int) -> int:
    """A number that is wrong and whose predecessor is right, between one that is right and one that is wrong."""
    while bad - right > 1:
        middle = (right + bad) // 2
        right, bad = (right, middle) if wrong(middle) else (middle, bad)
    return bad


def changed_nodes(before: Program, after: Program, most: int = 12) -> tuple[str, ...]:
    """The nodes that one program has and the other has not, as ``- old`` and ``+ new``, whatever their values are called."""
    old, new = (Counter(_node_texts(p)) for p in (before, after))
    lines = [f"- {text}" for text in (old - new).elements()] + [
        f"+ {text}" for text in (new - old).elements()
    ]
    return tuple(lines if len(lines) <= most else [*lines[:most], f"... {len(lines) - most} more"])


def _node_texts(program: Program) -> Iterator[str]:
    """Each node with the ops that its operands come from: ``add(neg, @bias) : f32[4] @ net.py:3``."""
    for graph in program.graphs.values():
        for node in graph.walk():
            attrs = ", ".join(
                f"{name}={attribute_text(value)}"
                for name, value, default in attributes(node.op)
                if not default
            )
            operands = ", ".join(_source(o) for o in node.operands)
            types = ", ".join(str(r.type) for r in node.results)
            lines = ", ".join(f"{o.file}:{o.line}" for o in node.origins)
            head = node.op.mnemonic + (f"{{{attrs}}}" if attrs else "")
            yield f"{head}({operands}) : {types}" + (f" @ {lines}" if lines else "")


def _source(value: Value) -> str:
    if value.op is not None:
        return value.op.mnemonic
    return f"@{value.entry}" if value.entry is not None else f"%{value.name}"
