"""The C header of a library, for C99 and C++."""

from __future__ import annotations

from collections.abc import Iterator

from ..backends.llvm.native_text import Code
from ..ir.dims import dim_text
from .interface import Interface, c_dim, c_type

__all__ = ["CODES", "comment", "header_text", "run_parameters"]

CODES = {
    Code.OK: "done",
    Code.NULL: "a pointer is null",
    Code.SIZE: "a size is outside its range",
    Code.ARENA: "the arena is too small",
    Code.ALIGNMENT: "an array is not aligned to its elements, or state or weights not to 64 bytes",
    Code.WEIGHTS: "the weights are those of another build, or cut short",
    Code.VALUE: "an index in an input is outside its range",
    Code.THREADS: "the number of threads is outside 1..256",
    Code.CHECK: "a check of the program failed",
}


_PROMISE = {
    False: "It allocates nothing, keeps nothing between calls, and needs C's mathematics at most.",
    True: "It allocates nothing but its threads, which it keeps until it is unloaded; link with -pthread.",
}


def header_text(interface: Interface, version: str) -> str:
    """The header."""
    return "\n".join([*_lines(interface, version), ""])


def comment(text: str) -> str:
    """Text that may stand in a C comment."""
    return (
        text.replace("*/", "* /")
        .replace("/*", "/ *")
        .replace("\\", "/")
        .replace("??", "? ?")
        .replace("\n", " ")
    )


def _lines(i: Interface, version: str) -> Iterator[str]:
    upper = i.prefix.upper()
    yield f"/* {i.prefix}: made by nervure {version}. {_PROMISE[i.threads]} */"
    yield from (f"#ifndef {upper}_NERVURE_H", f"#define {upper}_NERVURE_H", "", "#include <stdint.h>", "")
    yield from ("#ifdef __cplusplus", 'extern "C" {', "#endif", "")
    yield "/* what functions return; where it is not 0, nothing was written */"
    for code, text in CODES.items():
        if (code is Code.THREADS and not i.threads) or (code is Code.WEIGHTS and not i.side_file):
            continue
        name = "OK" if code is Code.OK else f"ERROR_{code.name}"
        yield f"#define {upper}_{name} {int(code)} /* {text} */"
    yield ""
    if i.side_file:
        yield f"/* bytes of {i.prefix}.weights, to be read or mapped to a multiple of 64 */"
        yield f"#define {upper}_WEIGHTS_BYTES {i.weights_bytes + 64}"
        yield ""
    yield from _arena(i, upper)
    yield from _elements(i)
    if i.state:
        yield from _state(i, upper)
    yield from _run(i)
    yield "/* what nervure inspect prints: a magic, a length of 8 bytes, JSON */"
    yield f"extern const char {i.prefix}_metadata[];"
    yield from ("", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {upper}_NERVURE_H */")


def _dims(i: Interface) -> list[str]:
    return [f"int64_t {name}" for _, name in i.symbols]


def _ranges(i: Interface) -> str:
    return ", ".join(f"{name} in {s.lo}..{s.hi}" for s, name in i.symbols)


def _arena(i: Interface, upper: str) -> Iterator[str]:
    yield "/* bytes of scratch memory that a call needs, at any address" + (
        f"; -1 where a size is outside its range: {_ranges(i)} */" if i.symbols else " */"
    )
    if i.arena is not None:
        yield f"#define {upper}_ARENA_BYTES {i.arena}"
    yield f"int64_t {i.prefix}_arena_bytes({', '.join(_dims(i)) or 'void'});"
    yield ""


def _elements(i: Interface) -> Iterator[str]:
    yield "/* elements of each array */"
    for array in i.arrays:
        names = i.c_symbols
        unused = "".join(f"(void){name}; " for name in names.values())
        head = f"static inline int64_t {i.prefix}_{array.c_name}_elements({', '.join(_dims(i)) or 'void'})"
        yield f"{head} {{ {unused}return {c_dim(array.elements, names)}; }}"
    yield ""


def _state(i: Interface, upper: str) -> Iterator[str]:
    yield "/* The state: the entries that a run changes, in one block that the caller owns, at a multiple of 64 bytes. */"
    yield f"#define {upper}_STATE_BYTES {i.state_bytes}"
    for k, e in enumerate(i.state):
        about = f"@{e.name}: {e.type}, {'trainable' if e.trainable else e.kind}"
        yield f"#define {upper}_ENTRY_{e.c_name} {k} /* {comment(about)} */"
    yield f"#define {upper}_ENTRIES {len(i.state)}"
    weights = "const void *weights, int64_t weights_bytes" if i.side_file else ""
    yield "/* write the first content of every entry */"
    yield f"int32_t {i.prefix}_init({', '.join(filter(None, ['void *state', weights]))});"
    yield "/* where an entry lies in the state; null where there is none of that index */"
    yield f"void *{i.prefix}_entry(void *state, int64_t index);"
    yield ""


def run_parameters(i: Interface) -> list[str]:
    """The parameters of NAME_run."""
    found = [f"const {c_type(a.type.dtype)} *{a.c_name}" for a in i.inputs]
    found += [f"{c_type(a.type.dtype)} *{a.c_name}" for a in i.outputs]
    found += _dims(i)
    if i.side_file:
        found += ["const void *weights", "int64_t weights_bytes"]
    if i.state:
        found += ["void *state"]
    return [*found, "void *arena", "int64_t arena_bytes", *(["int32_t threads"] if i.threads else [])]


def _run(i: Interface) -> Iterator[str]:
    yield "/* Arrays are dense, in row-major order; none may overlap another. f16 and bf16 are their bits, bool is 0 or 1."
    for kind, arrays in (("in ", i.inputs), ("out", i.outputs)):
        for a in arrays:
            yield comment(f"   {kind} {a.c_name}: {a.type}" + ("" if a.c_name == a.name else f" (%{a.name})"))
    for place, low, high in i.ranges:
        yield f"   {i.inputs[place].c_name} holds {low}..{dim_text(high - 1)}"
    if i.symbols:
        yield f"   {_ranges(i)}"
    if i.threads:
        yield "   threads in 1..256, the caller's own among them; results are the same bits for any number"
    yield "*/"
    yield f"int32_t {i.prefix}_run("
    yield ",\n".join(f"    {p}" for p in run_parameters(i)) + ");"
    yield ""
