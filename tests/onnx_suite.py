"""The test suite of the installed onnx, run against a backend of nervure: each case in a process that may die.

Workers are forked, take one case after another over a pipe, and are renewed after `RENEW` cases, a crash or a
time-out; a case that needs more than `MEMORY` bytes gets a MemoryError.
"""

from __future__ import annotations

import glob
import multiprocessing
import os
import resource
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx_tiers import tier_of

__all__ = ["STATUSES", "Case", "Score", "load_cases", "run_cases"]

STATUSES = ("pass", "wrong", "unsupported", "error", "crash", "timeout")
RENEW = 100
MEMORY = 12 << 30
CORE = {"float32", "float64", "int32", "int64", "bool"}
RANDOM = {
    "Bernoulli",
    "RandomUniform",
    "RandomNormal",
    "RandomUniformLike",
    "RandomNormalLike",
    "Multinomial",
}
"""Ops whose results have a shape and a type, but no expected content."""


@dataclass
class Case:
    """One test of the suite.

    Args:
        name:  of the test
        kind:  node, simple, pytorch-converted, pytorch-operator or light
        op:    that it tests; for a network its name
        model: the model
        sets:  inputs and expected outputs
    """

    name: str
    kind: str
    op: str
    model: Any
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def tier(self) -> int:
        """Of its op; of a network the highest of its ops."""
        if self.kind == "node":
            return tier_of(self.op)
        return max((tier_of(n.op_type) for n in self.model.graph.node), default=0)

    @property
    def is_expanded(self) -> bool:
        """Whether the op is spelled out as its function body."""
        return "_expanded" in self.name

    @property
    def is_core(self) -> bool:
        """Whether all inputs and outputs are tensors of f32, f64, i32, i64 or bool."""
        values = [a for inputs, outputs in self.sets for a in (*inputs, *outputs)]
        return all(isinstance(a, np.ndarray) and str(a.dtype) in CORE for a in values) and all(
            v.type.WhichOneof("value") in ("tensor_type", None)
            for v in (*self.model.graph.input, *self.model.graph.output)
        )


@dataclass
class Score:
    """What became of a case."""

    status: str
    message: str = ""
    seconds: float = 0.0
    case: str = field(default="", compare=False)


def load_cases(
    kinds: Iterable[str] = ("node", "simple", "pytorch-converted", "pytorch-operator", "light"),
) -> list[Case]:
    """The cases of the installed onnx, those made by code and those in its files, by kind and name."""
    found: list[Case] = []
    for kind in kinds:
        found += _node_cases() if kind == "node" else _light_cases() if kind == "light" else _file_cases(kind)
    return found


def _node_cases() -> list[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = sorted(collect_testcases(None), key=lambda c: c.name)
    ops: dict[str, str] = {}
    for case in made:
        if "_expanded" not in case.name:
            ops[case.name] = _tested_op(case.model)
    cases: list[Case] = []
    for case in made:
        op = ops.get(case.name) or ops.get(case.name.split("_expanded")[0]) or _tested_op(case.model)
        sets = [([_array(a) for a in i], [_array(a) for a in o]) for i, o in case.data_sets]
        cases.append(Case(case.name, "node", op, case.model, sets, case.rtol, case.atol))
    return cases


def _tested_op(model: Any) -> str:
    ops = [n.op_type for n in model.graph.node if n.op_type not in ("Constant", "Identity")]
    return ops[-1] if ops else model.graph.node[0].op_type


def _array(item: Any) -> Any:
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def _file_cases(kind: str) -> list[Case]:
    from onnx.backend.test.loader import load_model_tests

    cases: list[Case] = []
    for test in sorted(load_model_tests(kind=kind), key=lambda t: t.name):
        folder = Path(str(test.model_dir))
        model = onnx.load(folder / "model.onnx")
        sets = [
            (_values(data, "input", model.graph.input), _values(data, "output", model.graph.output))
            for data in sorted(folder.glob("test_data_set_*"))
        ]
        cases.append(
            Case(test.name, kind, test.name.removeprefix("test_"), model, sets, test.rtol, test.atol)
        )
    return cases


def _values(folder: Path, what: str, infos: Any) -> list[Any]:
    found: list[Any] = []
    for k in range(len(list(folder.glob(f"{what}_*.pb")))):
        data = (folder / f"{what}_{k}.pb").read_bytes()
        kind = infos[k].type.WhichOneof("value")
        if kind == "sequence_type":
            found.append(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
        elif kind == "optional_type":
            found.append(numpy_helper.to_optional(onnx.OptionalProto.FromString(data)))
        else:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(data)))
    return found


def _light_cases() -> list[Case]:
    """The nine networks with the input that the suite gives them, a ramp, and the outputs beside them."""
    folder = Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data" / "light"
    cases: list[Case] = []
    for path in sorted(glob.glob(str(folder / "light_*.onnx"))):
        model = onnx.load(path)
        stored = {t.name for t in model.graph.initializer}
        inputs: list[Any] = []
        for value in model.graph.input:
            if value.name not in stored:
                shape = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
                size = int(np.prod(shape))
                inputs.append((np.arange(size).reshape(shape) / size).astype(np.float32))
        output = onnx.TensorProto.FromString(Path(path.replace(".onnx", "_output_0.pb")).read_bytes())
        name = Path(path).stem.removeprefix("light_")
        rtol = 2e-3 if name == "densenet121" else 1e-3
        cases.append(
            Case(
                f"test_{name}", "light", name, model, [(inputs, [numpy_helper.to_array(output)])], rtol, 1e-7
            )
        )
    return cases


def score(case: Case, backend: Any) -> Score:
    """Run one case here.

    Args:
        backend: a class with `prepare`, as of `onnx.backend.base.Backend`
    """
    from onnx.backend.test.runner import Runner

    from nervure.ir.errors import NervureError, UnsupportedError

    start = time.perf_counter()
    try:
        prepared = backend.prepare(case.model, "CPU")
        for inputs, expected in case.sets:
            outputs = list(prepared.run(inputs))
            if case.op in RANDOM or (case.op == "Dropout" and "training" in case.name):
                expected = [_same_kind(o, e) for o, e in zip(outputs, expected, strict=True)]
            Runner.assert_similar_outputs(expected, outputs, case.rtol, case.atol)
    except UnsupportedError as error:
        return Score("unsupported", str(error), time.perf_counter() - start)
    except AssertionError as error:
        comparing = "assert_similar_outputs" in {f.name for f in traceback.extract_tb(error.__traceback__)}
        return Score("wrong" if comparing else "error", _message(error), time.perf_counter() - start)
    except NervureError as error:
        return Score("error", str(error), time.perf_counter() - start)
    except Exception as error:
        return Score("error", _message(error), time.perf_counter() - start)
    return Score("pass", "", time.perf_counter() - start)


def _same_kind(output: Any, expected: Any) -> Any:
    """The output, where only its type and shape can be expected."""
    return output if (output.shape, output.dtype) == (expected.shape, expected.dtype) else expected


def _message(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}{where}"


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    case: int = -1
    since: float = 0.0
    done: int = 0


def run_cases(
    cases: Sequence[Case],
    make_backend: Callable[[], Any],
    *,
    jobs: int = 2,
    timeout: float = 60.0,
    judge: Callable[[Case, Any], Score] = score,
) -> Iterator[Score]:
    """The score of each case, as they come; `Score.case` names it.

    Args:
        make_backend: called in each worker
        timeout:      seconds that a case may take
    """
    context: Any = multiprocessing.get_context("fork")
    parent = os.getpid()
    waiting = list(range(len(cases)))[::-1]
    workers: list[_Worker] = []

    def serve(pipe: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        backend = make_backend()
        while True:
            while not pipe.poll(1.0):
                if (
                    os.getppid() != parent
                ):  # others hold the pipe's end open: a worker must not outlive the run
                    return
            pipe.send(judge(cases[pipe.recv()], backend))

    def start() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def stop(worker: _Worker) -> int | None:
        workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        return worker.process.exitcode

    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(start())
            for worker in workers:
                if worker.case < 0 and waiting:
                    worker.case, worker.since = waiting.pop(), time.monotonic()
                    worker.pipe.send(worker.case)
            for idle in [w for w in workers if w.case < 0]:
                stop(idle)
            ready = set(wait([w.pipe for w in workers], 0.2))
            for worker in list(workers):
                name = cases[worker.case].name
                taken = time.monotonic() - worker.since
                if worker.pipe in ready:
                    try:
                        result = worker.pipe.recv()
                    except EOFError:
                        worker.process.join()
                        code = worker.process.exitcode
                        stop(worker)
                        yield Score("crash", f"the process ended with {code}", taken, name)
                        continue
                    result.case, worker.case, worker.done = name, -1, worker.done + 1
                    if worker.done >= RENEW:
                        stop(worker)
                    yield result
                elif taken > timeout:
                    stop(worker)
                    yield Score("timeout", f"more than {timeout:g} s", taken, name)
    finally:
        for worker in list(workers):
            stop(worker)
