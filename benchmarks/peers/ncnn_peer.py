"""ncnn, by a parameter file written from the net; it has no batch axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from ..contest import Absent, Built
from ..nets import Net, Step
from ..workloads import Case

Array = np.ndarray[Any, Any]


ACTIVATIONS = {"relu": "9=1", "relu6": "9=3 -23310=2,0.000000e+00,6.000000e+00"}
"""Of a convolution or an inner product, as ncnn's own optimiser fuses them."""


class Writer:
    """Layers as lines of a .param file and their weights as the .bin file's bytes.

    A value that several layers read goes through a Split, as ncnn wants it.
    """

    def __init__(self, net: Net, weights: dict[str, Array]) -> None:
        self.net, self.weights = net, weights
        self.lines: list[str] = []
        self.data: list[bytes] = []
        self.blobs = 0
        self.readers = {
            name: sum(step.args.count(name) for step in net.steps)
            for name in ("x", *(s.out for s in net.steps))
        }
        self.left = dict.fromkeys(self.readers, 0)
        self.activated: set[str] = set()
        self.fused = ""

    def layer(self, kind: str, inputs: list[str], out: str, options: str = "") -> None:
        name = f"n{len(self.lines)}"
        self.lines.append(f"{kind} {name} {len(inputs)} 1 {' '.join(inputs)} {out} {options}")
        self.blobs += 1
        self.split(out)

    def split(self, name: str) -> None:
        count = self.readers.get(name, 0)
        if count > 1:
            copies = [f"{name}_{k}" for k in range(count)]
            self.lines.append(f"Split n{len(self.lines)} 1 {count} {name} {' '.join(copies)}")
            self.blobs += count

    def read(self, name: str) -> str:
        if self.readers[name] < 2:
            return name
        self.left[name] += 1
        return f"{name}_{self.left[name] - 1}"

    def put(self, array: Array, flagged: bool) -> None:
        self.data.append(
            (b"\0\0\0\0" if flagged else b"") + np.ascontiguousarray(array, np.float32).tobytes()
        )

    def write(self, param: Path, binary: Path) -> None:
        self.lines.append("Input in 0 1 x")
        self.blobs += 1
        self.split("x")
        steps = self.net.steps
        for k, step in enumerate(steps):
            follows = steps[k + 1] if k + 1 < len(steps) else None
            if step.op in ("relu", "relu6") and step.args[0] in self.activated:
                continue
            if follows and follows.args == (step.out,) and self.readers[step.out] == 1:
                self.fused = ACTIVATIONS.get(follows.op, "") if step.op in ("linear", "conv") else ""
                if self.fused:
                    self.activated.add(step.out)
                    step = replace(step, out=follows.out)
            WRITERS[step.op](self, step)
            self.fused = ""
        param.write_text(f"7767517\n{len(self.lines)} {self.blobs}\n" + "\n".join(self.lines) + "\n")
        binary.write_bytes(b"".join(self.data))


def _weighted(kind: str) -> Callable[[Writer, Step, str], None]:
    def put(w: Writer, step: Step, options: str) -> None:
        weight, bias = (w.weights[name] for name in step.weights)
        w.layer(kind, [w.read(step.args[0])], step.out, f"{options} {w.fused}")
        w.put(weight, True)
        w.put(bias, False)

    return put


def _linear(w: Writer, step: Step) -> None:
    if len(step.shape) > 2:
        raise Absent("ncnn has no batch axis")
    weight = w.weights[step.weights[0]]
    _weighted("InnerProduct")(w, step, f"0={len(weight)} 1=1 2={weight.size}")


def _conv(w: Writer, step: Step) -> None:
    weight = w.weights[step.weights[0]]
    (ph, pw), s, groups = step.attrs["pad"], step.attrs["stride"], step.attrs["groups"]
    options = (
        f"0={len(weight)} 1={weight.shape[3]} 11={weight.shape[2]} 3={s} 4={pw} 14={ph} 5=1 6={weight.size}"
    )
    kind = "Convolution" if groups == 1 else "ConvolutionDepthWise"
    _weighted(kind)(w, step, options + (f" 7={groups}" if groups > 1 else ""))


def _max_pool(w: Writer, step: Step) -> None:
    k, s, p = (step.attrs[n] for n in ("kernel", "stride", "pad"))
    w.layer("Pooling", [w.read(step.args[0])], step.out, f"0=0 1={k} 2={s} 3={p} 5=1")


def _plain(kind: str, options: str) -> Callable[[Writer, Step], None]:
    return lambda w, step: w.layer(kind, [w.read(name) for name in step.args], step.out, options)


def _missing(w: Writer, step: Step) -> None:
    raise Absent(f"no translation of {step.op} to ncnn")


WRITERS: dict[str, Callable[[Writer, Step], None]] = {
    "linear": _linear,
    "matmul": _missing,
    "conv": _conv,
    "relu": _plain("ReLU", ""),
    "relu6": _plain("Clip", "0=0.0 1=6.0"),
    "add": _plain("BinaryOp", "0=0"),
    "softmax": _missing,
    "max_pool": _max_pool,
    "mean": _plain("Pooling", "0=1 4=1"),
    "flatten": _plain("Flatten", ""),
    "rnn": _missing,
    "lstm": _missing,
}


def build(case: Case, threads: int) -> Built:
    if case.workload.training:
        raise Absent("ncnn is run for inference only")
    spatial = len(case.net.input) == 4
    if spatial and case.workload.batch > 1:
        raise Absent("ncnn has no batch axis")
    param, binary = case.folder / "net.param", case.folder / "net.bin"
    Writer(case.net, case.weights).write(param, binary)
    net: Any = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    net.load_param(str(param))
    net.load_model(str(binary))
    x = case.x[0] if spatial else case.x
    given, out, shape = ncnn.Mat(x), case.net.steps[-1].out, case.net.steps[-1].shape

    def call() -> Any:
        extractor = net.create_extractor()
        extractor.input("x", given)
        return extractor.extract(out)[1]

    return Built(call, lambda y: np.array(y).reshape(shape))
