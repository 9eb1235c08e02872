"""`nv.build`: a program to a file that needs no Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.base import find_backend
from ..backends.llvm.assemble import Assembled, assemble
from ..backends.llvm.emit_program import constant_arena
from ..backends.llvm.native_text import Library, Range, aligned_arena, library_text, with_weights
from ..backends.llvm.native_weights import Weights, freeze_weights
from ..backends.llvm.objects import CodegenOptions, compile_object, llvm_version
from ..backends.llvm.target import Target, target_for
from ..backends.llvm.tuning import load_choices, with_choices
from ..backends.signatures import ranges_of, signature_of
from ..frontend.nn.module import Module
from ..frontend.trace import trace
from ..ir.dims import bounds
from ..ir.errors import InputError
from ..ir.program import Program
from ..ir.text.files import is_stream, write_atomically
from ..ir.text.printer import print_program
from ..passes.manager import run_pipeline
from ..runtime.signature import Signature
from .archive import archive
from .header import header_text
from .interface import Interface, make_interface
from .linker import Linker, find_linker
from .metadata import describe, pack_metadata
from .names import check_prefix, prefix_of
from .program import cmake_text, example_text, program_text

__all__ = ["KINDS", "Build", "build"]

KINDS = ("so", "obj", "static", "exe")

_SUFFIXES = {
    ".so": "so", ".dylib": "so", ".dll": "so", ".wasm": "so", ".o": "obj", ".obj": "obj", ".a": "static", ".lib": "static",
    ".exe": "exe", "": "exe",
}  # fmt: skip


@dataclass(frozen=True)
class Build:
    """What was written.

    Args:
        files:     in the order of writing; the build itself is the last
        interface: what a caller sees
        target:    what it runs on
    """

    files: tuple[Path, ...]
    interface: Interface
    target: Target


def build(
    model: Module | Callable[..., Any] | Program,
    *specs: Any,
    output: str | os.PathLike[str],
    kind: str | None = None,
    target: str | None = None,
    weights: str = "rodata",
    threads: bool = False,
    prefix: str | None = None,
    opt: int = 2,
    example: bool = False,
    winograd: str = "auto",
) -> Build:
    """Write a model as a file that needs no Python, and its C header beside it.

    Args:
        model, specs: as `nv.compile` takes them
        output:  the file; its folder must be there
        kind:    so, obj, static or exe; by the file's suffix if not given, exe where it has none
        target:  what it runs on: a CPU, a triple, or both; see `nervure build --help`
        weights: `rodata` puts them into the file, `file` beside it as NAME.weights
        threads: whether a call takes a number of threads, for which the file holds a pool
        prefix:  of every name in the header; from the file's name if not given
        opt:     0 to 3
        example: whether a folder NAME_example with a C program and a CMake file is written too
        winograd: `off` where 3 x 3 convolutions shall not take its transforms, whose error is larger

    Raises:
        NervureError: what cannot be compiled, linked or written; the old files are still there
    """
    path = Path(output)
    chosen = _kind(path, kind)
    _check_path(path)
    if weights not in ("rodata", "file"):
        raise InputError(f"weights {weights}: expected rodata or file")
    if winograd not in ("auto", "off"):
        raise InputError(f"winograd {winograd}: expected auto or off")
    name = check_prefix(prefix_of(path.stem) if prefix is None else prefix)
    machine = replace(target_for(target), winograd=winograd == "auto")
    linker = find_linker(machine) if chosen in ("so", "exe") else None
    if isinstance(model, Program) and specs:
        raise InputError("a program has its types already; build takes no specs beside it")
    program = model if isinstance(model, Program) else trace(model, *specs)
    parts = _compiled(program, machine, name, weights == "file", threads, opt)
    files: dict[Path, bytes] = {path.parent / f"{name}.h": header_text(parts.interface, __version__).encode()}
    if weights == "file":
        files[path.parent / f"{name}.weights"] = parts.weights.head + parts.weights.block.tobytes()
    if example and chosen != "exe":
        folder = path.parent / f"{name}_example"
        files[folder / "main.c"] = example_text(parts.interface).encode()
        files[folder / "CMakeLists.txt"] = cmake_text(parts.interface, path.name).encode()
    made = _linked(parts, chosen, path, machine, linker)
    if chosen == "exe":
        files.pop(path.parent / f"{name}.h")
    for folder in sorted({f.parent for f in files} - {path.parent}):
        folder.mkdir(exist_ok=True)
    for file, content in files.items():
        write_atomically(file, content)
    write_atomically(path, made, 0o755 if chosen in ("so", "exe") else 0o644)
    return Build((*files, path), parts.interface, machine)


@dataclass(frozen=True)
class _Parts:
    """A compiled program, before it becomes a file."""

    interface: Interface
    weights: Weights
    object: bytes


def _kind(path: Path, kind: str | None) -> str:
    if kind is None:
        kind = _SUFFIXES.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: which kind of file?", hint=f"give --kind {'|'.join(KINDS)}")
    if kind not in KINDS:
        raise InputError(f"kind {kind}: expected one of {', '.join(KINDS)}")
    return kind


def _check_path(path: Path) -> None:
    if not path.name or path.is_dir() or str(path) == ".":
        raise InputError(f"cannot write {path}: it is a folder", code="NV0304")
    if is_stream(path):
        raise InputError(f"cannot write {path}: it is no place for a file", code="NV0304")
    if not path.parent.is_dir():
        there = "is no folder" if path.parent.exists() else "is not there"
        raise InputError(f"cannot write {path}: {path.parent} {there}", code="NV0304")


def _compiled(
    program: Program, target: Target, prefix: str, side_file: bool, threads: bool, level: int
) -> _Parts:
    pipeline = find_backend("llvm").pipeline(level)
    ready = run_pipeline(program, pipeline).program
    signature = Signature(*_pairs(ready), ranges_of(program.main))
    assembled = assemble(ready, target)
    assembled = replace(assembled, program=with_choices(assembled.program, target, load_choices(target)))
    weights = freeze_weights(ready, assembled, target)
    plain = constant_arena(assembled.program, target)
    arena = None if plain is None else aligned_arena(plain)
    interface = make_interface(prefix, ready, signature, weights, arena, side_file, threads)
    about = describe(
        interface, target, version=__version__, llvm=llvm_version(), pipeline=str(pipeline), level=level,
        ir=print_program(ready, digits=None),
    )  # fmt: skip
    library = _library(interface, assembled, weights, about)
    data = compile_object(library_text(library, target), target, CodegenOptions(), cached=False)
    return _Parts(interface, weights, data if side_file else with_weights(data, weights))


def _pairs(program: Program) -> tuple[Any, Any]:
    found = signature_of(program)
    return found.inputs, found.outputs


def _library(i: Interface, assembled: Assembled, weights: Weights, about: Mapping[str, Any]) -> Library:
    ranges = tuple(
        Range(place, i.inputs[place].type.dtype, i.inputs[place].elements, low, bounds(high)[1])
        for place, low, high in i.ranges
    )
    aligned = tuple(a.type.dtype.bytes for a in i.inputs), tuple(a.type.dtype.bytes for a in i.outputs)
    return Library(
        i.prefix,
        assembled.program,
        tuple((s.lo, s.hi) for s, _ in i.symbols),
        aligned,
        ranges,
        weights,
        i.side_file,
        i.threads,
        pack_metadata(dict(about)),
    )


def _exports(i: Interface) -> Sequence[str]:
    names = ["run", "arena_bytes", *(["init", "entry"] if i.state else []), "metadata"]
    return [f"{i.prefix}_{n}" for n in names]


def _linked(parts: _Parts, kind: str, path: Path, target: Target, linker: Linker | None) -> bytes:
    """The bytes of the build."""
    threads = parts.interface.threads
    if linker is None:
        if kind == "obj":
            return parts.object
        return archive(
            f"{parts.interface.prefix[:12]}.o",
            parts.object,
            _exports(parts.interface),
            bsd=target.system == "macos",
        )
    with tempfile.TemporaryDirectory(prefix="nervure-build-") as name:
        folder = Path(name)
        (folder / "model.o").write_bytes(parts.object)
        made = folder / "made"
        if kind == "so":
            linker.shared([folder / "model.o"], made, path.name, threads)
        else:
            (folder / f"{parts.interface.prefix}.h").write_text(header_text(parts.interface, __version__))
            (folder / "main.c").write_text(program_text(parts.interface, target, __version__))
            linker.program([folder / "main.c", folder / "model.o"], made, threads)
        found = made if made.exists() else made.with_suffix(".exe")
        return found.read_bytes()
