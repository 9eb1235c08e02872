"""Modules of PyTorch as programs, by way of PyTorch's own ONNX export. PyTorch is imported when it is asked for."""

from __future__ import annotations

import inspect
import io
import logging
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any, cast

from .frontend.onnx import OnnxImportError, import_onnx
from .frontend.trace import input_types
from .ir.dims import Expr, Symbol, evaluate_dim, free_symbols
from .ir.errors import BackendError, InputError, NervureError, TraceError
from .ir.program import Program
from .ir.types import TensorType

__all__ = ["from_torch"]

OPSET = 20
"""The newest that PyTorch's tracer writes."""


def from_torch(module: Any, *specs: Any, name: str | None = None) -> Program:
    """The program of a PyTorch module, as it computes in evaluation mode.

    The store has the module's parameters and buffers under their names there, as copies; float parameters that require
    a gradient are trainable. Python control flow is that of the example that the module is traced on.

    Args:
        module: a `torch.nn.Module`, or a `torch.jit.ScriptModule`
        specs:  one type an argument of `forward`, such as ``"f32[B,3,224,224]"``; a tuple of types where an argument is
                a tuple of tensors. Symbols stay open.
        name:   the program's; the class's if not given

    Raises:
        BackendError: PyTorch is not installed
        InputError:   the module is none, or does not run on tensors of these types
        TraceError:   PyTorch cannot export it
        OnnxImportError: it exports ops that nervure has not; all of them are listed
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"from_torch takes a torch.nn.Module, found {type(module).__name__}")
    flat = [s for spec in specs for s in (cast(Sequence[Any], spec) if isinstance(spec, tuple) else (spec,))]
    types = input_types(flat)
    given = iter(_examples(torch, module, types))
    arguments = tuple(
        tuple(next(given) for _ in cast(Sequence[Any], spec)) if isinstance(spec, tuple) else next(given)
        for spec in specs
    )
    names = _names(module, specs)
    program = _imported(torch, module, arguments, names, types, name or type(module).__name__.lower())
    frozen = {n for n, p in module.named_parameters() if not p.requires_grad}
    frozen |= {n for n, _ in module.named_buffers()}
    for entry_name, entry in program.store.items():
        if entry_name in frozen:
            entry.trainable = False
    return program


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise BackendError(
            "from_torch needs PyTorch, which is not installed", hint="pip install torch"
        ) from error


def _examples(torch: Any, module: Any, types: Sequence[TensorType]) -> list[Any]:
    """A tensor of each type on the module's device; symbols have sizes above 1 that differ where their ranges allow."""
    symbols: dict[str, Symbol] = {s.name: s for t in types for d in t.shape for s in free_symbols(d)}
    env = {s.name: min(s.hi, max(s.lo, 3 + k)) for k, s in enumerate(symbols.values())}
    device = next((p.device for p in module.parameters()), "cpu")
    made: list[Any] = []
    for t in types:
        shape = tuple(evaluate_dim(d, env) for d in t.shape)
        dtype = getattr(torch, _DTYPES[t.dtype.name])
        made.append(
            torch.rand(shape, dtype=dtype, device=device)
            if t.dtype.is_float
            else torch.zeros(shape, dtype=dtype, device=device)
        )
    return made


_DTYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32",
    "i16": "int16", "i8": "int8", "u64": "uint64", "u32": "uint32", "u8": "uint8", "bool": "bool",
}  # fmt: skip


def _names(module: Any, specs: Sequence[Any]) -> list[str]:
    """The names of the arguments of forward; those of a tuple are numbered."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [p.name for p in parameters if p.kind in kinds]
    names: list[str] = []
    for k, spec in enumerate(specs):
        base = known[k] if k < len(known) else f"x{k}"
        count = len(cast(Sequence[Any], spec)) if isinstance(spec, tuple) else None
        names += [base] if count is None else [f"{base}_{n}" for n in range(count)]
    return names


def _imported(
    torch: Any,
    module: Any,
    arguments: tuple[Any, ...],
    names: list[str],
    types: Sequence[TensorType],
    name: str,
) -> Program:
    """The module by the first of PyTorch's exporters whose model can be imported; or the first one's error.

    Tracing writes recurrences as such, and fixes the sizes of attention; `torch.export` the other way round.
    """
    inputs = dict(zip(names, types, strict=True))
    first: NervureError | None = None
    for exporter in (_by_tracing, _by_export):
        if exporter is _by_export and find_spec("onnxscript") is None:
            break
        try:
            program = import_onnx(
                _exported(torch, module, exporter, arguments, names, types), inputs=inputs, name=name
            )
            _need_open(program, names, types)
            return program
        except (TraceError, OnnxImportError) as error:
            first = first or error
    assert first is not None
    if find_spec("onnxscript") is None:
        first.hint = "pip install onnxscript: PyTorch's other exporter needs it and may do better"
    elif isinstance(first, OnnxImportError) and any(isinstance(d, Expr) for t in types for d in t.shape):
        first.hint = "give sizes as numbers where PyTorch fixes them while it exports"
    raise first


def _need_open(program: Program, names: Sequence[str], types: Sequence[TensorType]) -> None:
    """Require that sizes which were symbols are still open.

    Raises:
        TraceError: the model holds for one size alone
    """
    for name, wanted, found in zip(names, types, program.main.inputs, strict=True):
        for axis, (want, got) in enumerate(zip(wanted.shape, found.type.shape, strict=True)):
            if isinstance(want, Expr) and not isinstance(got, Expr):
                raise TraceError(
                    f"PyTorch fixes axis {axis} of {name} at {got} while it exports, expected {want}"
                )


Exporter = Callable[[Any, Any, tuple[Any, ...], list[str], Sequence[TensorType]], bytes]


def _exported(
    torch: Any, module: Any, exporter: Exporter, arguments: Any, names: list[str], types: Sequence[TensorType]
) -> bytes:
    """The module as an ONNX model; it is only touched in evaluation mode.

    Raises:
        InputError: the module does not run
        TraceError: it cannot be exported
    """
    with _in_evaluation(torch, module), torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module(*arguments)
        except Exception as error:
            raise InputError(
                f"{type(module).__name__} does not run on {', '.join(map(str, types))}: {error}"
            ) from error
        try:
            data = exporter(torch, module, arguments, names, types)
        except Exception as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise TraceError(f"PyTorch cannot export {type(module).__name__}: {line}") from error
    own = os.path.dirname(torch.__file__)
    for warning in caught:  # what PyTorch says of the module, not of itself
        if issubclass(warning.category, torch.jit.TracerWarning) and not warning.filename.startswith(own):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return data


def _by_tracing(
    torch: Any, module: Any, arguments: Any, names: list[str], types: Sequence[TensorType]
) -> bytes:
    """By TorchScript's tracer. Weights keep their names: nothing is folded, batch norms stay."""
    axes = {
        name: {axis: f"{name}_{axis}" for axis, d in enumerate(t.shape) if isinstance(d, Expr)}
        for name, t in zip(names, types, strict=True)
    }
    buffer = io.BytesIO()
    torch._C._jit_set_onnx_log_output_stream("stderr")  # where an op is lacking it prints the whole graph
    try:
        torch.onnx.export(
            module,
            arguments,
            buffer,
            input_names=names,
            dynamic_axes={n: a for n, a in axes.items() if a},
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )
    finally:
        torch._C._jit_set_onnx_log_output_stream("stdout")
    return buffer.getvalue()


def _by_export(
    torch: Any, module: Any, arguments: Any, names: list[str], types: Sequence[TensorType]
) -> bytes:
    """By `torch.export`, which keeps sizes symbolic; nothing is folded here either."""
    rows = iter(
        [
            {axis: torch.export.Dim.AUTO for axis, d in enumerate(t.shape) if isinstance(d, Expr)}
            for t in types
        ]
    )
    counts = [len(cast(Sequence[Any], a)) if isinstance(a, tuple) else None for a in arguments]
    shapes = tuple(next(rows) if n is None else tuple(islice(rows, n)) for n in counts)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        made = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    finally:
        logger.setLevel(level)
    return made.model_proto.SerializeToString()


@contextmanager
def _in_evaluation(torch: Any, module: Any) -> Generator[None]:
    """Evaluation mode for a while, each part in ops that have names in ONNX; each gets back its own."""
    modes = {m: m.training for m in module.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for part, mode in modes.items():
            part.training = mode
