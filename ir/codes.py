"""Errors by code: what each kind means, what to do, and the shortest Python that meets it.

`nervure explain NV0301` prints an entry; docs/errors.md is made of all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import InputError

__all__ = ["CODES", "INTERNAL", "Code", "code_named", "explain_code"]

INTERNAL = "NV0900"


@dataclass(frozen=True)
class Code:
    """One kind of error.

    Args:
        code:    NV and four digits
        title:   in a few words
        cause:   what leads to it
        fix:     what helps
        example: Python that ends with this error, after ``import nervure as nv; from nervure import nn``
    """

    code: str
    title: str
    cause: str
    fix: str
    example: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        shown = "".join(f"    {line}\n" for line in self.example.splitlines())
        text = f"{self.code}: {self.title}\n\ncause: {self.cause}\nfix:   {self.fix}\n"
        return text + (f"\nan example:\n\n{shown}" if shown else "")


_ALL = (
    Code(
        "NV0001",
        "wrong argument",
        "A function of nervure was given a value that it cannot use: a learning rate below 0, an unknown option.",
        "The message names the function, the value and what is expected.",
        "nn.Dropout(p=1.5)",
    ),
    Code(
        "NV0101",
        "types do not fit an op",
        "An op met operands whose shapes or element types do not fit it. nervure promotes no element type and"
        " broadcasts only in `nn` functions and operators.",
        "The message gives the formula with its numbers and the line that made the op. Change the layer's sizes, use"
        " .reshape, .astype, or narrow a symbol's range such as f32[B:1..64,10].",
        'nv.trace(nn.Conv2d(1, 16, 3), "f32[B,3,28,28]")',
    ),
    Code(
        "NV0201",
        "a function cannot be traced",
        "While it was traced, a function did what no graph can hold: it returned no tensor, called numpy in a way that"
        " has no form in a graph, or used a tensor of another trace.",
        "The message names the line. Write it with the operators, with nn, or with numpy's plain functions.",
        'nv.trace(lambda x: "a text", "f32[3]")',
    ),
    Code(
        "NV0202",
        "a tensor was asked for its value",
        "bool, int, float or a loop over a tensor needs what it contains, which is known when the program runs and not"
        " while it is traced.",
        "Choose with np.where, loop with nv.scan; a Python loop over range(n) with a known n is unrolled.",
        'nv.trace(lambda x: x if x.sum() > 0 else -x, "f32[3]")',
    ),
    Code(
        "NV0301",
        "text that is no program",
        "A .nv text breaks the grammar, names something unknown, or gives an op operands that do not fit.",
        "The message gives line and column and points at the token; all errors of a text are told at once. Write the text"
        " anew with nervure opt, or mend it by hand.",
        'nv.parse("nervure 1\\nprogram p {\\n  graph f() -> () {\\n    %y = reluu %x : f32[3]\\n  }\\n}")',
    ),
    Code(
        "NV0302",
        "data is not there",
        "A program was loaded without the side file that holds its weights, and something needs them.",
        "Put NAME.safetensors beside NAME.nv, or make data up: --init random, nv.load(path, init='random').",
        'run = nv.compile(nv.parse("""nervure 1\nprogram p {\n  param @w : f32[3]\n  graph f() -> f32[3] {\n    return @w\n  }\n}"""))\nrun()',
    ),
    Code(
        "NV0303",
        "a side file does not belong to its text",
        "The data in NAME.safetensors has not the hash that NAME.nv names: it was altered, damaged, or is of another program.",
        "Save the program again, both files together.",
        'nv.save(nv.trace(nn.Linear(2, 2), "f32[B,2]"), "net.nv")\nnv.save(nv.trace(nn.Linear(2, 2), "f32[B,2]"), "other.nv")\n'
        'import os\nos.replace("other.safetensors", "net.safetensors")\nnv.load("net.nv")',
    ),
    Code(
        "NV0304",
        "a file cannot be read or written",
        "The file or its folder is missing, is no regular file, may not be read or written, or the disk is full.",
        "The message names the file and the reason. Files are written whole or not at all: what was there before still is.",
        'nv.load("nowhere.nv")',
    ),
    Code(
        "NV0401",
        "a graph breaks a rule of the IR",
        "A value is used before it is made, a region names an outer value, a result has another type than its op infers.",
        "After a pass this is a fault of nervure: nervure bisect finds the rewrite. In a graph of your own, mend the node.",
        "from nervure.ir.graph import Graph, Value\nfrom nervure.ir.types import TensorType, f32\nfrom nervure.ir.verify import verify_graph\n"
        'x = Value(TensorType(f32, (3,)), name="x")\nverify_graph(Graph("f", [], [x]))',
    ),
    Code(
        "NV0402",
        "a pipeline's text is wrong",
        "A text such as 'canonicalize,fuse{kinds=conv}' names a pass or an option that there is not, or gives an option a value"
        " that it does not take.",
        "The message suggests the nearest name. docs/passes.md lists passes and options; nervure opt --help shows the form.",
        'from nervure.passes.manager import Pipeline\nPipeline.parse("canonicalise")',
    ),
    Code(
        "NV0501",
        "a backend has no way to run an op",
        "The backend that was asked for lacks the op, or the op for these element types. Nothing falls back in silence.",
        "The message lists each op with its reason. Choose another backend or element type; docs/ops.md has the table.",
        'nv.compile(lambda x: x * 2, "bf16[3]", backend="onnx")',
    ),
    Code(
        "NV0502",
        "a backend cannot run here",
        "The backend or device that was asked for is not installed, or failed while it compiled or ran.",
        "nervure doctor says what works here and what to install.",
        'nv.compile(nn.Linear(2, 2), "f32[B,2]", backend="cuda")',
    ),
    Code(
        "NV0503",
        "no such CPU or triple",
        "A target was named that LLVM does not know, or code for it was to run on a machine of another kind.",
        "Write a CPU (haswell), a triple (aarch64-linux) or both (aarch64-linux:cortex-a76); --emit obj makes code for"
        " machines that are not here.",
        'nv.compile(nn.Linear(2, 2), "f32[B,2]", target="haswel")',
    ),
    Code(
        "NV0504",
        "a build cannot be linked",
        "There is no linker for the target, or the linker failed; its own words stand below the message.",
        'Install a C compiler or the zig of pip install "nervure[build]", or write an object: --kind obj or static.',
    ),
    Code(
        "NV0505",
        "a file is no build of nervure, or not this one's",
        "A library, a program or a weights file was not made by nervure build, is damaged, belongs to another build, or is for"
        " another machine.",
        "nervure inspect says what a file holds. Build it anew, the weights file together with it.",
        'from pathlib import Path\nPath("net.so").write_text("text")\nnv.load_native("net.so")',
    ),
    Code(
        "NV0601",
        "data does not fit",
        "An array has another shape, element type or size than an input, an entry or an output of the program; or samples and"
        " labels do not fit each other.",
        "The message names the input and what it expects, beside what it was given.",
        'import numpy as np\nnv.compile(nn.Linear(2, 2), "f32[B,2]")(np.zeros((4, 3), np.float32))',
    ),
    Code(
        "NV0602",
        "results differ",
        "Two results that were compared differ by more than the tolerance.",
        "The message says where and by how much. nervure bisect finds the pass, nervure tape --against the first node.",
        "import numpy as np\nfrom nervure.inspect.compare import compare_arrays\n"
        'compare_arrays("y", np.ones(3), np.zeros(3), rtol=1e-5, atol=1e-6)',
    ),
    Code(
        "NV0603",
        "a label or index is outside its range",
        "Labels go from 0 to the number of classes less 1; an input that a loss or an embedding reads holds another number.",
        "The message gives the number and its place. Count labels from 0, or give the last layer more classes.",
        'import numpy as np\nloss = nv.compile(lambda x, y: nn.cross_entropy(x, y), "f32[2,3]", "i64[2]")\n'
        "loss(np.zeros((2, 3), np.float32), np.array([0, 3]))",
    ),
    Code(
        "NV0604",
        "data that is not finite",
        "Data to fit on holds NaN or an infinity.",
        "The message gives the place. Clean the data, or pass check_finite=False where that is wanted.",
        "import numpy as np\nnv.preprocessing.Standardize().fit(np.array([[1.0], [np.nan]]))",
    ),
    Code(
        "NV0605",
        "a call needs more memory than it may take",
        "Buffers, prepared weights or results are above max_memory, or above what the machine has. It is refused before anything is allocated.",
        "Raise max_memory, or call with a smaller batch.",
        'import numpy as np\nrun = nv.compile(nn.Sequential(nn.Linear(9, 99), nn.Linear(99, 2)), "f32[B,9]", max_memory=1000)\n'
        "run(np.zeros((64, 9), np.float32))",
    ),
    Code(
        "NV0606",
        "a data file cannot be understood",
        "A .npz, IDX, CSV or image file is damaged, cut short, empty, or has not the arrays or columns that are read.",
        "The message names the file and the line or byte.",
        'from pathlib import Path\nPath("empty.csv").write_text("")\nnv.data.load("empty.csv")',
    ),
    Code(
        "NV0701",
        "MODEL stands for nothing",
        "A command was given a MODEL that is no file, no name in a file, and no model that comes with nervure; or an input of"
        " it has no type.",
        "Write file.py:Name, file.nv, - or a model's name; give missing types with --type x=f32[B,784].",
        'from nervure.cli.model import find_model\nfind_model("lennet")',
    ),
    Code(
        "NV0702",
        "wrong use of a command",
        "A command was given an option that it has not, two that exclude each other, or lacks one that it needs.",
        "nervure COMMAND --help lists its options.",
    ),
    Code(
        INTERNAL,
        "a fault of nervure",
        "Something that nervure holds to be impossible happened. It is not your program's fault.",
        "nervure --debug shows where. A reproducer was written where the message says so: nervure replay FOLDER shows it again.",
    ),
)

CODES: dict[str, Code] = {entry.code: entry for entry in _ALL}
"""Every code."""


def code_named(code: str) -> Code:
    """The entry of a code.

    Raises:
        InputError: there is no such code; it lists those there are
    """
    found = CODES.get(code.upper())
    if found is None:
        near = [c for c in CODES if c[:4] == code.upper()[:4]]
        raise InputError(
            f"no error has the code {code.upper()}", hint=f"there are {', '.join(near or CODES)}"
        )
    return found


def explain_code(code: str) -> str:
    """The entry of a code, as text.

    Raises:
        InputError: there is no such code; it lists those there are
    """
    return str(code_named(code))
