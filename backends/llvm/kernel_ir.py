# long file: one language, every statement beside the others
"""The kernel IR: loops over buffers, one level above LLVM.

A kernel is a name, buffers, symbols and a body. It says what is computed in which order; the emitter adds nothing
but vectors. `str(kernel)` prints it (kernel_text.py)::

    kernel  = "kernel" name "(" buffer, ... ")" "{" scratch* stmt* "}"
    buffer  = name ":" dtype "[" dim, ... "]" ["strides" "[" dim, ... "]"] ["align" n]
    scratch = "scratch" buffer                              static shape, one per thread, content undefined
    stmt    = "for" ["parallel"] ["vector"] var "in" extent ["back" dim] [carry var "=" expr, ...] block [yield]
            | "reduce" var, ... "=" monoid "over" (var "in" extent), ... "of" expr, ... block
            | "if" expr block ["else" block]
            | var "=" expr                                  a binding, seen by what follows in the block
            | buffer "[" expr, ... "]" ["add" | "mul" | "min" | "max"] "=" expr ["where" expr]
            | "fetch" buffer "[" expr, ... "]"              brings a line of memory nearer; may lie outside
            | "tile" ...                                    a call of the register-tile micro-kernel
            | "dot" ...                                     the same with lanes along k
            | "turn" ...                                    a panel packed from a transposed operand
            | "interleave" ...                              elements of a few rows side by side
            | "contract" ...                                sum over k of a * b, then an epilogue; contract.py expands it
    expr    = const | dim | var | buffer "[" expr, ... "]" ["if" expr "else" expr]
            | op "(" expr, ... ")" | "cast" dtype | "bits" dtype | function "(" expr, ... ")"
    dtype   = f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u8 bool

Meaning. Indices and extents are i64; a dim is an integer or a polynomial of the program's symbols (ir/dims.py); a
negative extent runs no iteration. Expressions compare by identity and form a DAG: sharing one object shares its value,
until a store to a buffer that it reads. Arithmetic is total: integers wrap, x/0 = x%0 = 0, MIN/-1 wraps, a shift by
the width or more gives 0; `div` truncates and `rem` has the dividend's sign (as C); `floordiv` and `mod` round down
(integers only); float `min` and `max` propagate NaN; float `rem` is C's fmod. A cast from float to integer truncates,
saturates and takes NaN to 0; to bool it is x != 0. f16 and bf16 are stored types: an operation on them computes in
f32 and rounds. No operand is reassociated.

A `vector` loop may run iterations side by side in any grouping: the writer promises that no iteration reads what
another one writes. Its bits do not depend on the grouping. `parallel` promises the same of threads: such loops stand at
the top of a kernel's body, directly in each other, and see its buffers, symbols and top-level bindings; elsewhere they are
serial. How many iterations a thread takes at once changes no bit, and is no business of the writer (grain.py). Where `back`, of
parallel loops only, is 1 and not 0, a thread runs its iterations last first. A `reduce` keeps 16 interleaved partials along its last
dimension, carries them over the outer ones, and joins them by a fixed tree (8, 4, 2, 1), whatever the target; an empty
one gives the identities. Inside a vector loop it folds every lane in order. `for` with carries is the sequential fold; inside a vector loop it folds every lane.

A store may be masked (`where`), and may combine with what is there (`add=`); combining is only for serial loops or
for indices that differ in every iteration. A load with `if p else q` touches no memory where p is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ...ir.dims import Dim
from ...ir.types import DType, bool_, i64
from .kernel_expr import (
    Binary,
    Bits,
    Buffer,
    Call,
    Cast,
    Combine,
    Compare,
    Const,
    Expr,
    Fma,
    Index,
    Load,
    Select,
    Size,
    Unary,
    Var,
    as_index,
    call,
    const,
    maximum,
    minimum,
    row_major,
    select,
    zero,
)  # fmt: skip

__all__ = [
    "Binary", "Bits", "Buffer", "Call", "Carry", "Cast", "Compare", "Const", "Contract", "Dot", "Expr", "Fetch",
    "Finish", "Fma", "For", "If", "Index", "Interleave", "Kernel", "Let", "Load", "LoopDim", "LoopKind", "Monoid", "Packed", "Part", "Reduce", "Select", "Size",
    "Step", "Stmt", "Store", "Tile", "Turn", "Unary", "Var", "argmax", "argmin", "as_index", "call", "const", "maximum", "minimum",
    "monoid", "reduction", "row_major", "select", "zero",
]  # fmt: skip

LoopKind = Literal["serial", "parallel", "vector", "parallel vector"]


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    var: Var
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr
    mask: Expr | None = None
    combine: Combine | None = None

    def __post_init__(self) -> None:
        assert self.value.dtype == self.buffer.dtype, (
            f"store of {self.value.dtype} to {self.buffer.dtype} {self.buffer.name}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """Brings the line of memory around `place` into the first cache; of a vector loop, that of the first lane. Changes nothing and
    never fails, wherever `place` lies."""

    place: Load


@dataclass(frozen=True, slots=True, eq=False)
class Carry:
    """A value carried through a serial loop.

    Args:
        var:    its value at the start of an iteration; after the loop, the last one
        init:   before the first iteration
        update: the value for the next iteration, computed at the end of the body
    """

    var: Var
    init: Expr
    update: Expr


@dataclass(frozen=True, slots=True, eq=False)
class For:
    var: Var
    extent: Index
    body: tuple[Stmt, ...]
    kind: LoopKind = "serial"
    carries: tuple[Carry, ...] = ()
    back: Dim = 0


@dataclass(frozen=True, slots=True, eq=False)
class Monoid:
    """How two partial results join: result as a function of left and right, with its identity."""

    name: str
    left: tuple[Var, ...]
    right: tuple[Var, ...]
    result: tuple[Expr, ...]
    identity: tuple[Const, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoopDim:
    """A named loop dimension."""

    var: Var
    extent: Index


@dataclass(frozen=True, slots=True, eq=False)
class Reduce:
    """Binds `results` to the monoid's join of `values` over all of `dims`; `body` may bind what values use."""

    results: tuple[Var, ...]
    monoid: Monoid
    dims: tuple[LoopDim, ...]
    values: tuple[Expr, ...]
    body: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class If:
    """Runs one of two blocks; cond is the same for all lanes of a vector loop around it."""

    cond: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One loop of a tile's sum: its length, and how far it moves in A and in B, in elements.

    `last` is the length of the innermost one in the last turn of the outermost, where that is another.
    """

    extent: Expr
    a: Expr
    b: Expr
    last: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Coming:
    """What a later tile's panel is made of, which is brought nearer meanwhile: the lines at `place` + row * step + each of
    `lines`, in elements, for every row of the tile."""

    place: Load
    step: int
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Finish:
    """What becomes of a tile's sums while they are in registers: `stores`, once for each row and column of the panel.

    The stores have no masks; what they store is known before the first writes. Their indices and those of the loads in their values are of unit stride in `lane` or, of a load, do not use it; their
    distance from row to row is a constant; `block` may appear anywhere.

    Args:
        row:   the place in m
        block: counts blocks of columns in the panel
        lane:  the column within its block
        width: columns of a block, a multiple of the tile's lanes
        acc:   the sum
        coming: what is fetched beside
    """

    row: Var
    block: Var
    lane: Var
    width: int
    acc: Var
    stores: tuple[Store, ...]
    coming: Coming | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """C[i, j] (+)= sum over p of A[i, p] * B[p, j], for i < m and all j < nv * lanes of one panel.

        p runs through the nest of `steps`, the last one fastest. a, b and c are the addresses of their first elements; strides
        in elements; C has unit stride in j, B within each vector of lanes, its vectors lie `b_vector` apart; both are readable and
        writable over the whole panel. Instead of the address of C, `c` may say what is done with the sums; nothing accumulates then. Where `accumulate` is false C is written, else the sum over p is formed
        first and then added. The rows are done in tiles of the given heights: (h, h - 1) in some mixture, or else as many of
        each height as fit, in order. While a tile reads B, what lies `ahead` elements after it is brought into the second cache. Where B is
    `afar`, beyond that cache, tiles of few rows bring what they read next into the first. Where p goes in `pairs`, neighbours in A and an even
    number of them, B has for each pair the vectors of both but the last, and then one with the first half of the last's columns for
    both, the two of a column side by side.
    """

    rows: int
    vectors: int
    lanes: int
    a: Load
    a_row: Expr
    b: Load
    b_vector: Expr
    c: Load | Finish
    c_row: Expr
    m: Expr
    steps: tuple[Step, ...]
    accumulate: Expr
    heights: tuple[int, ...]
    run: int = 0
    a_run: Expr | None = None
    ahead: int = 0
    afar: bool = False
    pairs: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Dot:
    """C[i, j] (+)= sum over p < length of A[i, p] * B[j, p] for i < m and j < n, lanes along p.

    a, b and c are the addresses of their first elements; A and B have unit stride in p, C in j; `a_row` and `b_row` are
    the strides of i and j, in elements. Accumulators belong to a row of A and one of B, `parts` of them to one sum. Where `accumulate`
    is false C is written, else the sum is formed first and then added. The rows of A and of B are done in
    tiles of the given heights and widths, as many of each as fit, in order. A width is at most a register's lanes.
    """

    heights: tuple[int, ...]
    widths: tuple[int, ...]
    parts: int
    lanes: int
    a: Load
    a_row: int
    b: Load
    b_row: int
    c: Load
    c_row: Expr
    m: Expr
    n: Expr
    length: Expr
    accumulate: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """target[p, j] = source[j, p] for j < count and p < length.

    source and target are the addresses of their first elements, `row` and `step` the strides of j in the source and of p
    in the target, in elements; the others are 1. The target's rows are writable up to a whole number of lanes, and up to `clean`; those beyond count get
    zeros up to there, where it is not 0, else rubbish up to whole lanes.
    """

    lanes: int
    source: Load
    row: Expr
    target: Load
    step: Expr
    count: Expr
    length: Expr
    clean: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Interleave:
    """target[p * ways + j] = source[j, p] for j < ways and p < length; row is the stride of j in the source, in elements."""

    ways: int
    lanes: int
    source: Load
    row: Expr
    target: Load
    length: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Runs the body of another kernel, whose buffers begin at `places` and whose symbols have the given `sizes`.

    It is emitted once for all who run it: transforms of tiles are hundreds of operations, and differ in distances alone. It has no
    scratch memory, reads what it reads through other buffers than it writes, and writes the last one only.
    """

    kernel: Kernel
    places: tuple[Load, ...]
    sizes: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An operand B already in panels: a buffer [..., panels, k, nr], columns beyond n zero; `prefix` are leading indices."""

    buffer: Buffer
    prefix: tuple[Expr, ...] = ()

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """acc(m, n) = sum over k of a(m, k) * b(k, n); then `epilogue`, once for each (m, n), for each point of `batch`.

    With `parts` there are several matrices b of one shape, the first index behind the prefix of a Packed b, and a sum for each:
    acc with the first, parts[g - 1] with matrix g. The epilogue sees them together.

    Args:
        batch:    loops around, outermost first
        m, k:     products of loop dims, row-major; `a` and `b` are expressions over their vars and the batch vars
        n:        one dim; unit stride in it (loads of b, stores of the epilogue) is what is fast
        a:        read in place where it is a plain load, affine in m and in k; else packed by rows
        b:        read in place where it is a plain load of unit stride in n, affine in k; else packed by panels; Packed: as it is
        acc:      the sum for the epilogue; its dtype is the dtype of a, b and the accumulation: f32 and f64 use the
                  register tile, others a plain loop nest
        epilogue: statements over acc, m, n, batch vars, run with n as a vector loop
        parallel: whether batch and blocks of m and n run in parallel
        parts:    the sums with further matrices b
        back:     where it is 1, blocks run last first
        afar:     whether Packed panels come from beyond the second cache
        schedule: a schedule.ContractSchedule, or a schedule.DotSchedule where a and b are plain loads of unit stride in k; None lets the target choose
    """

    m: tuple[LoopDim, ...]
    n: LoopDim
    k: tuple[LoopDim, ...]
    a: Expr
    b: Expr | Packed
    acc: Var
    epilogue: tuple[Stmt, ...]
    batch: tuple[LoopDim, ...] = ()
    parallel: bool = False
    parts: tuple[Var, ...] = ()
    schedule: object | None = None
    back: Dim = 0
    afar: bool = False

    @property
    def sums(self) -> tuple[Var, ...]:
        """acc and the parts."""
        return (self.acc, *self.parts)


Stmt = Let | Store | Fetch | For | Reduce | If | Tile | Dot | Turn | Interleave | Part | Contract


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Kernel:
    """A compiled unit.

    Args:
        name:     made by the compiler, never from user names: [a-z0-9_]+
        buffers:  parameters in order; what the body loads and stores
        body:     statements
        scratch:  private memory of static shape; one for each thread, undefined at entry
        origin:   free text for dumps and profiles
        does:     the ops that it computes, in words
        saved:    bytes that values would take, each written once and read once, which it computes and does not keep
    """

    name: str
    buffers: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    scratch: tuple[Buffer, ...] = ()
    origin: str = field(default="", compare=False)
    does: str = field(default="", compare=False)
    saved: Dim = field(default=0, compare=False)

    def __str__(self) -> str:
        from .kernel_text import kernel_text

        return kernel_text(self)


def lowest(dtype: DType) -> Const:
    """-inf, or the least integer: the identity of max."""
    if dtype.is_float:
        return Const(float("-inf"), dtype)
    return const(-(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0, dtype)


def highest(dtype: DType) -> Const:
    """inf, or the largest integer: the identity of min."""
    if dtype.is_float:
        return Const(float("inf"), dtype)
    return const(1 if dtype == bool_ else (1 << (dtype.bits - (dtype.kind == "int"))) - 1, dtype)


_IDENTITIES: dict[str, Callable[[DType], Const]] = {
    "add": zero,
    "mul": lambda d: const(1, d),
    "max": lowest,
    "min": highest,
    "or": zero,
    "and": lambda d: const(1 if d == bool_ else -1 if d.kind == "int" else (1 << d.bits) - 1, d),
}


def monoid(op: Literal["add", "mul", "max", "min", "and", "or"], dtype: DType) -> Monoid:
    """The monoid of one associative operation."""
    a, b = Var("a", dtype), Var("b", dtype)
    return Monoid(op, (a,), (b,), (Binary(op, a, b),), (_IDENTITIES[op](dtype),))


def _arg(name: str, dtype: DType) -> Monoid:
    a, i, b, j = Var("a", dtype), Var("i", i64), Var("b", dtype), Var("j", i64)
    better = (a > b) if name == "argmax" else (a < b)
    same = a.eq(b)
    if dtype.is_float:  # the first NaN wins over everything
        better = better | (a.ne(a) & b.eq(b))
        same = same | (a.ne(a) & b.ne(b))
    left = better | (same & (i <= j))
    worst = lowest(dtype) if name == "argmax" else highest(dtype)
    return Monoid(
        name, (a, i), (b, j), (Select(left, a, b), Select(left, i, j)), (worst, const((1 << 63) - 1, i64))
    )


def argmax(dtype: DType) -> Monoid:
    """(value, index) pairs: the largest value, the first of equal ones, NaN above all."""
    return _arg("argmax", dtype)


def argmin(dtype: DType) -> Monoid:
    """(value, index) pairs: the smallest value, the first of equal ones, NaN below all."""
    return _arg("argmin", dtype)


def reduction(
    op: Literal["add", "mul", "max", "min", "and", "or"], result: Var, dims: Sequence[LoopDim], value: Expr
) -> Reduce:
    """result = op over dims of value."""
    return Reduce((result,), monoid(op, value.dtype), tuple(dims), (value,))
