"""nervure as a backend of ONNX: what `onnx.backend.base` asks for, so that its suite and its tools run on nervure.

    from nervure import onnx_backend
    y, = onnx_backend.run_model(model, [x])
    prepared = onnx_backend.prepare(model, backend="reference")

`NervureBackend` is the class; `NervureBackend.using("onnx")` is one for another of nervure's backends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from .compiling import compile
from .frontend.onnx import OnnxImportError, check_onnx, import_onnx
from .frontend.onnx.load import load_model
from .ir.errors import BackendError, InputError
from .ir.types import Array
from .runtime.executable import Executable

__all__ = [
    "NervureBackend",
    "Prepared",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]


KEPT = 32
"""Executables of a model that is compiled for the inputs that come; the oldest goes."""


class Prepared(BackendRep):
    """A model that was compiled, or will be when the values are there that its shapes depend on.

    Where a model cannot be compiled for all sizes that its types allow, it is compiled for those that come; where it
    computes axes, pads or shapes from inputs, once for each of their values.

    Args:
        model:   path, bytes or ModelProto
        backend: of nervure: "llvm", "reference", "onnx", or one that is installed
        device:  "cpu", or "cuda" where the backend has it
        options: as of `nv.compile`

    Raises:
        NervureError: the model cannot be imported or compiled, whatever the inputs are
    """

    def __init__(self, model: Any, backend: str, device: str, options: Mapping[str, Any]) -> None:
        self._model = load_model(model)
        self._compile: dict[str, Any] = {"backend": backend, "device": device, **options}
        stored = {t.name for t in self._model.graph.initializer}
        self.inputs: tuple[str, ...] = tuple(i.name for i in self._model.graph.input if i.name not in stored)
        self._needs: tuple[str, ...] = ()
        self._static = False
        self._made: dict[Any, Executable] = {}
        try:
            self._made[()] = compile(import_onnx(self._model), **self._compile)
        except OnnxImportError as error:
            self._defer(error)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of the model, in its order.

        Args:
            inputs: arrays in the order of `inputs`, or by name

        Raises:
            NervureError: inputs that do not fit, or what cannot be compiled for them
        """
        if kwargs:
            raise InputError(f"run takes inputs alone, found {', '.join(kwargs)}")
        given = self._by_name(inputs)
        while True:
            key = tuple(_content(given[n]) for n in self._needs)
            key += tuple((a.dtype.str, a.shape) for a in given.values()) if self._static else ()
            try:
                found = self._made.get(key) or self._for(given)
            except OnnxImportError as error:
                self._defer(error)
                continue
            self._keep(key, found)
            results: Any = found(*(a for n, a in given.items() if n not in self._needs))
            return cast("tuple[Any, ...]", results) if isinstance(results, tuple) else (results,)

    def _keep(self, key: Any, made: Executable) -> None:
        if key not in self._made and len(self._made) >= KEPT:
            del self._made[next(iter(self._made))]
        self._made[key] = made

    def _for(self, given: Mapping[str, Array]) -> Executable:
        """The model compiled for these inputs."""
        bind = {n: given[n] for n in self._needs}
        free = {n: a for n, a in given.items() if n not in bind}
        types = {n: _type_text(a) for n, a in free.items()} if self._static else {}
        return compile(import_onnx(self._model, inputs=types, bind=bind), **self._compile)

    def _defer(self, error: OnnxImportError) -> None:
        """Wait for inputs, where they can help: for the values that are asked for, or else for their shapes.

        Raises:
            OnnxImportError: they cannot
        """
        needs = tuple(dict.fromkeys((*self._needs, *error.report.needs)))
        kinds = {i.type.WhichOneof("value") for i in self._model.graph.input}
        if kinds - {"tensor_type"} or any(r.lacking for r in error.report.refusals):
            raise error
        if needs != self._needs and all(r.needs for r in error.report.refusals):
            self._needs = needs
        elif not self._static and any(
            _is_open(i.type) for i in self._model.graph.input if i.name in self.inputs
        ):
            self._static = True
        elif needs != self._needs:
            self._needs = needs
        else:
            raise error

    def _by_name(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            named = dict(cast(Mapping[str, Any], inputs))
        else:
            listed = list(cast(Sequence[Any], inputs)) if isinstance(inputs, (list, tuple)) else [inputs]
            if len(listed) != len(self.inputs):
                raise InputError(
                    f"the model has {len(self.inputs)} inputs ({', '.join(self.inputs)}), found {len(listed)}"
                )
            named = dict(zip(self.inputs, listed, strict=True))
        missing = [n for n in self.inputs if n not in named]
        unknown = [n for n in named if n not in self.inputs]
        if missing or unknown:
            raise InputError(
                f"the inputs are {', '.join(self.inputs) or 'none'}; "
                + (f"missing {', '.join(missing)}" if missing else f"no input is {', '.join(unknown)}")
            )
        return {n: np.asarray(named[n]) for n in self.inputs}


class NervureBackend(Backend):
    """The interface of `onnx.backend.base.Backend` over one of nervure's backends.

    Attributes:
        backend: its name, where a call does not give another by ``backend=``
    """

    backend: ClassVar[str] = "llvm"

    @classmethod
    def using(cls, backend: str) -> type[NervureBackend]:
        """The class for another of nervure's backends."""
        return type(f"NervureBackend_{backend}", (cls,), {"backend": backend})

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every node can be imported, once inputs are there whose values or sizes it asks for."""
        report = check_onnx(model)
        waits = any(_is_open(i.type) for i in load_model(model).graph.input)
        return cls.supports_device(device) and all(
            not r.lacking and (waits or r.needs) for r in report.refusals
        )

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """A model ready to run.

        Args:
            model:  path, bytes or ModelProto
            device: "CPU", or "CUDA" on the backend "onnx"
            kwargs: ``backend=`` and the options of `nv.compile`

        Raises:
            NervureError: it cannot be read, imported or compiled
        """
        backend = kwargs.pop("backend", cls.backend)
        kind = _device(device)
        if not cls.using(backend).supports_device(device):
            raise BackendError(f"backend {backend} has no device {device}", hint="use CPU")
        return Prepared(model, backend, kind, kwargs)

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of a model; see `prepare` and `Prepared.run`."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of one node.

        Args:
            node:         a NodeProto
            inputs:       an array each input that is not left out, or by name
            outputs_info: not needed; types are inferred
            kwargs:       ``opset_version=``, the newest if not given, and what `prepare` takes
        """
        version = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        names = list(dict.fromkeys(n for n in node.input if n))
        if isinstance(inputs, Mapping):
            named = cast(Mapping[str, Any], inputs)
            arrays = [np.asarray(named[n]) for n in names if n in named]
        else:
            arrays = [np.asarray(a) for a in inputs]
        if len(arrays) != len(names):
            raise InputError(f"{node.op_type} has {len(names)} inputs, found {len(arrays)}")
        infos = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.ValueInfoProto(name=n) for n in node.output if n]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        imports = [onnx.helper.make_opsetid(node.domain if node.domain != "ai.onnx" else "", version)]
        model = onnx.helper.make_model(graph, opset_imports=imports)
        return cls.run_model(model, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU on every backend; CUDA on "onnx" where onnxruntime has it."""
        kind = _device(device)
        if kind == "cuda" and cls.backend == "onnx":
            import onnxruntime

            return "CUDAExecutionProvider" in cast(Any, onnxruntime).get_available_providers()
        return kind == "cpu"


def _device(device: str) -> str:
    """ONNX's word for a device, ``CUDA:0``, as nervure's."""
    return device.partition(":")[0].lower()


def _is_open(type_: Any) -> bool:
    """Whether the type leaves a size open, or all of them."""
    if type_.WhichOneof("value") != "tensor_type":
        return False
    tensor = type_.tensor_type
    return not tensor.HasField("shape") or any(d.WhichOneof("value") != "dim_value" for d in tensor.shape.dim)


def _content(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


def _type_text(array: Array) -> str:
    from .ir.types import TensorType, dtype_of

    return str(TensorType(dtype_of(array), tuple(array.shape)))


is_compatible = NervureBackend.is_compatible
prepare = NervureBackend.prepare
run_model = NervureBackend.run_model
run_node = NervureBackend.run_node
supports_device = NervureBackend.supports_device
