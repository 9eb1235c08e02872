"""Objects stand alone: they need little of C, and run from a C program with the same bits as from Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import digits, lenet, vgg_with_batch_norm

import nervure as nv
from nervure import nn, optim
from nervure.backends.llvm.emit import ALLOWED_EXTERNALS
from nervure.backends.llvm.objects import undefined_symbols

CALLS = [1, 7, 33]
"""Batch sizes."""


def inference(build: Any, spec: str) -> Any:
    nv.seed(1)
    return nv.compile(build(nn), spec, cache=False)


def lenet_inference() -> Any:
    return inference(lenet, "f32[B:1..64,1,28,28]")


def folded_inference() -> Any:
    return inference(vgg_with_batch_norm, "f32[B:1..64,1,12,12]")


def training_step() -> Any:
    nv.seed(2)
    program = nv.training_step(
        lenet(nn), nn.cross_entropy, optim.SGD(0.02, momentum=0.9), "f32[B:1..64,1,28,28]", "i64[B]"
    )
    return nv.compile(program, cache=False)


PROGRAMS = [lenet_inference, folded_inference, training_step]


def symbols_of(executable: Any, folder: Path) -> set[str]:
    """What an object leaves undefined, as nm or objdump sees it; without them, what its text declares."""
    path = folder / "program.o"
    path.write_bytes(executable.object)
    for tool in ("nm", "llvm-nm"):
        if shutil.which(tool):
            found = subprocess.run([tool, "-u", str(path)], capture_output=True, text=True, check=True)
            return {line.split()[-1] for line in found.stdout.splitlines() if line.strip()}
    if shutil.which("objdump"):
        found = subprocess.run(["objdump", "-t", str(path)], capture_output=True, text=True, check=True)
        return {line.split()[-1] for line in found.stdout.splitlines() if "*UND*" in line}
    return set(undefined_symbols(executable.text))


@pytest.mark.parametrize("build", PROGRAMS)
def test_an_object_needs_nothing_but_a_short_list_of_c_functions(build: Any, tmp_path: Path) -> None:
    executable = build()
    found = symbols_of(executable, tmp_path)
    assert found <= ALLOWED_EXTERNALS
    assert found <= set(undefined_symbols(executable.text)) | {"memcpy", "memset", "memmove"}
    for name in ("nv_run", "nv_prepare", "nv_plan", "nv_prepare_plan", "nv_serial"):
        assert f"@{name}(" in executable.text


def test_the_list_of_externals_is_short_and_allocates_nothing() -> None:
    assert len(ALLOWED_EXTERNALS) <= 30
    assert not {"malloc", "free", "calloc", "realloc", "printf", "abort", "exit"} & ALLOWED_EXTERNALS
    assert not [name for name in ALLOWED_EXTERNALS if name.startswith(("Py", "cblas", "sgemm", "dgemm"))]


MAIN = r"""
/* main DIMS: reads slot0, slot1, ..., input0, ...; writes output0, ..., and the slots back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct nv_context {
  void (*parallel_for)(struct nv_context *, void (*)(void *, int64_t, int64_t), void *, int64_t);
  void **store; void *prepared; void *arena; void *user;
  void (*trace)(struct nv_context *, int64_t);
} nv_context;
int32_t nv_run(nv_context *, void *const *, void *const *, const int64_t *);
int32_t nv_prepare(nv_context *);
void nv_plan(const int64_t *, int64_t *);
void nv_prepare_plan(int64_t *);
void nv_serial(nv_context *, void (*)(void *, int64_t, int64_t), void *, int64_t);

enum { SLOTS = @SLOTS@, INPUTS = @INPUTS@, OUTPUTS = @OUTPUTS@ };
static const int64_t slot_bytes[SLOTS + 1] = {@SLOT_BYTES@};

static void *aligned(int64_t bytes) {
  void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!p) exit(3);
  memset(p, 0xa5, bytes);
  return p;
}
static void *read_all(const char *kind, int k, int64_t bytes) {
  char name[40]; sprintf(name, "%s%d", kind, k);
  void *p = aligned(bytes); FILE *f = fopen(name, "rb");
  if (!f || fread(p, 1, bytes, f) != (size_t)bytes) exit(4);
  fclose(f); return p;
}
static void write_all(const char *kind, int k, const void *p, int64_t bytes) {
  char name[40]; sprintf(name, "%s%d", kind, k);
  FILE *f = fopen(name, "wb");
  if (!f || fwrite(p, 1, bytes, f) != (size_t)bytes) exit(5);
  fclose(f);
}
int main(int argc, char **argv) {
  int64_t dims[1] = {atoi(argv[1])}, sizes[2], before[2];
  int64_t input_bytes[INPUTS], output_bytes[OUTPUTS];
  void *store[SLOTS + 1], *in[INPUTS], *out[OUTPUTS];
  for (int k = 0; k < INPUTS; k++) input_bytes[k] = atoll(argv[2 + k]);
  for (int k = 0; k < OUTPUTS; k++) output_bytes[k] = atoll(argv[2 + INPUTS + k]);
  for (int k = 0; k < SLOTS; k++) store[k] = read_all("slot", k, slot_bytes[k]);
  for (int k = 0; k < INPUTS; k++) in[k] = read_all("input", k, input_bytes[k]);
  for (int k = 0; k < OUTPUTS; k++) out[k] = aligned(output_bytes[k]);
  nv_plan(dims, sizes);
  nv_prepare_plan(before);
  nv_context c = {nv_serial, store, aligned(before[1]), aligned(before[0]), 0, 0};
  if (nv_prepare(&c)) return 6;
  c.arena = aligned(sizes[0]);
  if (nv_run(&c, in, out, dims)) return 7;
  for (int k = 0; k < OUTPUTS; k++) write_all("output", k, out[k], output_bytes[k]);
  for (int k = 0; k < SLOTS; k++) write_all("slot", k, store[k], slot_bytes[k]);
  return 0;
}
"""


def slots_of(executable: Any) -> list[Any]:
    """The contents of the store slots; what `prepare` derives is nothing yet."""
    entries = [executable.store[name] for name in executable.assembled.entries]
    blank = [
        np.zeros(e.type.static_shape(), e.type.dtype.numpy) if e.kind == "derived" else e.data
        for e in entries
    ]
    return [array.copy() for array in (*blank, *executable.assembled.constants)]


def build_main(executable: Any, folder: Path) -> Path:
    """The object, linked to a main of C."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    slots, signature = slots_of(executable), executable.signature
    words = {
        "SLOTS": len(slots),
        "INPUTS": len(signature.inputs),
        "OUTPUTS": len(signature.outputs),
        "SLOT_BYTES": ", ".join(str(array.nbytes) for array in (*slots, np.empty(0))),
    }
    text = MAIN
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    (folder / "main.c").write_text(text)
    (folder / "program.o").write_bytes(executable.object)
    subprocess.run([compiler, "-O1", "main.c", "program.o", "-lm", "-o", "main"], cwd=folder, check=True)
    return folder / "main"


def run_main(main: Path, executable: Any, inputs: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
    """The outputs, and the store's entries afterwards."""
    folder, n = main.parent, len(inputs[0])
    slots = slots_of(executable)
    for kind, arrays in (("slot", slots), ("input", inputs)):
        for k, array in enumerate(arrays):
            (folder / f"{kind}{k}").write_bytes(array.tobytes())
    shapes = [(t.concrete({"B": n}), t.dtype.numpy) for _, t in executable.signature.outputs]
    blank = [np.empty(*shape) for shape in shapes]
    sizes = [str(array.nbytes) for array in (*inputs, *blank)]
    subprocess.run([str(main), str(n), *sizes], cwd=folder, check=True)
    outputs = [
        np.frombuffer((folder / f"output{k}").read_bytes(), a.dtype).reshape(a.shape)
        for k, a in enumerate(blank)
    ]
    names = executable.assembled.entries
    after = {name: (folder / f"slot{k}").read_bytes() for k, name in enumerate(names)}
    return outputs, after


@pytest.mark.parametrize("build", [lenet_inference, folded_inference])
def test_inference_from_c_gives_the_bits_that_python_gets(build: Any, tmp_path: Path) -> None:
    executable = build()
    main = build_main(executable, tmp_path)
    shape = executable.signature.inputs[0][1].shape[1:]
    for n in CALLS:
        x, _ = digits(shape, n, seed=n)
        (found,), _ = run_main(main, executable, (x,))
        assert np.abs(found).max() > 1e-3
        assert found.tobytes() == executable(x).tobytes()


def test_a_training_step_from_c_leaves_the_bits_that_python_leaves(tmp_path: Path) -> None:
    executable = training_step()
    main = build_main(executable, tmp_path)
    for n in CALLS:
        x, labels = digits((1, 28, 28), n, seed=n)
        (loss,), after = run_main(main, executable, (x, labels))
        before = executable.state_dict()
        assert loss.tobytes() == executable(x, labels).tobytes()
        moved = [name for name, array in executable.state_dict().items() if (array != before[name]).any()]
        assert len(moved) == 20, "ten parameters and their momenta"
        for name, content in after.items():
            assert content == executable.store[name].data.tobytes(), name
