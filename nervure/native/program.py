"""The C source of a stand-alone program: tables of the interface, then the fixed program.c; and a small example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..backends.llvm.target import Target
from ..ir.dims import Expr, Symbol
from ..ir.errors import InputError
from .header import comment
from .interface import ArrayArg, Interface, c_dim, c_type

__all__ = ["cmake_text", "example_text", "program_text"]

_INCLUDES = """#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#else
#include <unistd.h>
#endif
"""


def program_text(i: Interface, target: Target, version: str) -> str:
    """The whole source, which includes NAME.h.

    Raises:
        InputError: no input says what a symbol is
    """
    fixed = (Path(__file__).parent / "program.c").read_text("utf-8")
    return "\n".join([*_tables(i, target, version), "", fixed])


def _tables(i: Interface, target: Target, version: str) -> Iterator[str]:
    yield _INCLUDES + f'#include "{i.prefix}.h"\n'
    yield f"#define PROGRAM {_c_string(i.prefix)}"
    yield f"#define VERSION {_c_string(version)}"
    yield f"#define INPUTS {len(i.inputs)}"
    yield f"#define OUTPUTS {len(i.outputs)}"
    yield f"#define SYMBOLS {len(i.symbols)}"
    yield f"#define STATE_BYTES {i.state_bytes}"
    yield f"#define STATE_ID {_c_string(i.state_id)}"
    yield f"#define WEIGHTS_BYTES {i.weights_bytes + 64 if i.side_file else 0}"
    yield f"#define THREADS {int(i.threads)}"
    yield "typedef struct { const char *name, *type, *descr; int size, rank; } Array;"
    yield "typedef struct { const char *name; int input, axis; int64_t lo, hi; } Bind;"
    rows = [
        f"{{{_c_string(a.name)}, {_c_string(str(a.type))}, {_c_string(_descr(a))}, {a.type.dtype.bytes}, {a.type.rank}}}"
        for a in i.arrays
    ]
    yield f"static const Array arrays[] = {{{', '.join([*rows, '{0}'])}}};"
    binds = [_bind(i, s) for s, _ in i.symbols]
    yield f"static const Bind binds[] = {{{', '.join([*binds, '{0}'])}}};"
    yield from _functions(i)
    yield f"static int supported(void) {{ return {_supported(target)}; }}"


def _functions(i: Interface) -> Iterator[str]:
    names = {s.name: f"d[{k}]" for k, (s, _) in enumerate(i.symbols)}
    dims = list(names.values())
    yield "static void shape_of(int array, const int64_t *d, int64_t *shape) {"
    yield "    (void)d; (void)shape;"
    yield "    switch (array) {"
    for k, a in enumerate(i.arrays):
        sizes = " ".join(f"shape[{axis}] = {c_dim(d, names)};" for axis, d in enumerate(a.type.shape))
        yield f"    case {k}: {sizes} break;"
    yield "    }"
    yield "}"
    yield f"static int64_t arena_bytes(const int64_t *d) {{ (void)d; return {i.prefix}_arena_bytes({', '.join(dims)}); }}"
    weights = ["weights", "WEIGHTS_BYTES"] if i.side_file else []
    if i.state:
        arguments = ", ".join(["state", *weights])
        yield f"static int32_t init(void *state, void *weights) {{ (void)weights; return {i.prefix}_init({arguments}); }}"
    arguments = ", ".join(
        [
            *(f"data[{k}]" for k in range(len(i.arrays))),
            *dims,
            *weights,
            *(["state"] if i.state else []),
            "arena",
            "size",
            *(["threads"] if i.threads else []),
        ]
    )
    yield "static int32_t call(void **data, const int64_t *d, void *weights, void *state, void *arena, int64_t size, int32_t threads) {"
    yield f"    (void)data; (void)d; (void)weights; (void)state; (void)threads; return {i.prefix}_run({arguments});"
    yield "}"


def _descr(a: ArrayArg) -> str:
    """The array's element type as a .npy file writes it, quotes included; bf16 has no name there."""
    dtype = a.type.dtype
    if dtype.name == "bf16":
        return "'<V2'"
    kind = {"float": "f", "int": "i", "uint": "u", "bool": "b"}[dtype.kind]
    return f"'{'|' if dtype.bytes == 1 else '<'}{kind}{dtype.bytes}'"


def _bind(i: Interface, s: Symbol) -> str:
    """Which axis of which input is the symbol itself."""
    for k, a in enumerate(i.inputs):
        for axis, dim in enumerate(a.type.shape):
            if isinstance(dim, Expr) and dim.terms == ((((s, 1),), 1),):
                return f"{{{_c_string(s.name)}, {k}, {axis}, {s.lo}, {s.hi}}}"
    raise InputError(
        f"no input has an axis of size {s.name}: a program cannot know it", hint="build a library"
    )


def _supported(target: Target) -> str:
    if target.arch != "x86_64":
        return "1"
    words = {64: ["avx512f", "avx512vl", "avx512dq", "fma"], 32: ["avx2", "fma"]}.get(
        target.vector_bytes, ["fma"] if target.fma else []
    )
    return " && ".join(f'__builtin_cpu_supports("{w}")' for w in words) or "1"


def _c_string(text: str) -> str:
    """A C string literal; all but plain characters by their bytes, so that no name ends or changes it."""
    return (
        '"'
        + "".join(
            chr(c) if (c < 128 and chr(c).isalnum()) or chr(c) in " _-+*[](),.:|<'" else f"\\{c:03o}"
            for c in text.encode()
        )
        + '"'
    )


def example_text(i: Interface) -> str:
    """A C program that calls the library once, on zeros, and prints the first element of each result."""
    return "\n".join([*_example(i), ""])


def _example(i: Interface) -> Iterator[str]:
    upper = i.prefix.upper()
    yield f"/* Calls {i.prefix} on zeros. Replace what fills the inputs. */"
    yield "#include <inttypes.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
    yield f'#include "{i.prefix}.h"\n'
    yield "/* a multiple of 64, for state and weights */"
    yield "static void *block(int64_t size) {"
    yield "    char *p = calloc((size_t)size + 64, 1);"
    yield "    return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;"
    yield "}\n"
    yield "int main(void) {"
    for s, name in i.symbols:
        yield f"    int64_t {name} = {max(s.lo, min(s.hi, 1))};"
    dims = ", ".join(name for _, name in i.symbols)
    for a in i.arrays:
        t = c_type(a.type.dtype)
        yield f"    {t} *{a.c_name} = block({i.prefix}_{a.c_name}_elements({dims}) * (int64_t)sizeof({t})); /* {comment(str(a.type))} */"
    arguments = [*(a.c_name for a in i.arrays), *([dims] if dims else [])]
    if i.side_file:
        yield f"    int64_t weights_bytes = {upper}_WEIGHTS_BYTES;"
        yield "    void *weights = block(weights_bytes);"
        yield f'    FILE *file = fopen("{i.prefix}.weights", "rb");'
        yield "    if (!file || fread(weights, 1, (size_t)weights_bytes, file) != (size_t)weights_bytes) {"
        yield f'        fprintf(stderr, "{i.prefix}.weights: not in this folder, or cut short\\n");'
        yield "        return 2;"
        yield "    }"
        yield "    fclose(file);"
        arguments += ["weights", "weights_bytes"]
    if i.state:
        yield f"    void *state = block({upper}_STATE_BYTES);"
        yield f"    if ({i.prefix}_init(state{', weights, weights_bytes' if i.side_file else ''}) != {upper}_OK) return 2;"
        arguments += ["state"]
    yield f"    int64_t arena_bytes = {i.prefix}_arena_bytes({dims});"
    yield "    void *arena = block(arena_bytes);"
    arguments += ["arena", "arena_bytes", *(["2"] if i.threads else [])]
    yield f"    int32_t code = {i.prefix}_run({', '.join(arguments)});"
    yield f"    if (code != {upper}_OK) {{"
    yield f'        fprintf(stderr, "{i.prefix}_run: %" PRId32 "\\n", code);'
    yield "        return 1;"
    yield "    }"
    for a in i.outputs:
        if a.type.rank == 0 or all(not isinstance(d, int) or d > 0 for d in a.type.shape):
            yield f'    printf("{a.c_name}[0] = %g\\n", (double){a.c_name}[0]);'
    yield "    return 0;"
    yield "}"


def cmake_text(i: Interface, library: str) -> str:
    """A CMakeLists.txt for the example; the library lies in the folder above.

    Args:
        library: its file name
    """
    libraries = "m Threads::Threads" if i.threads else "m"
    found = "set(THREADS_PREFER_PTHREAD_FLAG ON)\nfind_package(Threads REQUIRED)\n" if i.threads else ""
    kind = "STATIC" if library.endswith((".a", ".lib")) else "SHARED"
    if library.endswith((".o", ".obj")):
        use = f'target_sources(example PRIVATE "${{CMAKE_CURRENT_SOURCE_DIR}}/../{library}")'
        mark = f'set_source_files_properties("${{CMAKE_CURRENT_SOURCE_DIR}}/../{library}" PROPERTIES EXTERNAL_OBJECT ON)\n'
        link = f"target_link_libraries(example PRIVATE {libraries})"
    else:
        mark = f"add_library({i.prefix} {kind} IMPORTED)\n" + (
            f"set_target_properties({i.prefix} PROPERTIES IMPORTED_LOCATION\n"
            f'    "${{CMAKE_CURRENT_SOURCE_DIR}}/../{library}")\n'
        )
        use = f"target_link_libraries(example PRIVATE {i.prefix})"
        link = f"if(NOT WIN32)\n  target_link_libraries(example PRIVATE {libraries})\nendif()"
    return f"""cmake_minimum_required(VERSION 3.13)
project({i.prefix}_example C)

{found}{mark}add_executable(example main.c)
target_include_directories(example PRIVATE "${{CMAKE_CURRENT_SOURCE_DIR}}/..")
{use}
{link}
"""
