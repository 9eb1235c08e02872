"""The thread pool of a native library: pool_text.py's code, a page of its own, and their end with the library's."""

from __future__ import annotations

from ...ir.errors import BackendError
from .builder import Module
from .pool_text import PAGE_BYTES, pool_text
from .target import Target

__all__ = ["POOL_EXTERNALS", "add_pool"]

POOL_EXTERNALS = frozenset(
    (
        "syscall",
        "sched_yield",
        "sched_getcpu",
        "sched_getaffinity",
        "sched_setaffinity",
        "pthread_create",
        "pthread_join",
        "pthread_sigmask",
        "madvise",
    )
)
"""What a library with threads may leave undefined beside ALLOWED_EXTERNALS."""

_WIPEONFORK = 18
_LARGEST_PAGE = {"x86_64": 4096, "aarch64": 65536}
"""Of memory, as the system may have it: the pool's page shares none with other data, as a fork wipes it."""

_TEXT = """; a team {{ page, threads, rest }} for one call; one thread where the page cannot be wiped on fork
define internal void @nv_team(ptr %team, i32 %threads) nounwind {{
entry:
  %wide = sext i32 %threads to i64
  %before = load atomic i32, ptr @nv_wiped monotonic, align 4
  %known = icmp ne i32 %before, 0
  br i1 %known, label %fill, label %wipe
wipe:
  %failed = call i32 @madvise(ptr @nv_page, i64 {size}, i32 {advice})
  %good = icmp eq i32 %failed, 0
  %state = select i1 %good, i32 1, i32 2
  store atomic i32 %state, ptr @nv_wiped monotonic, align 4
  br label %fill
fill:
  %now = phi i32 [ %before, %entry ], [ %state, %wipe ]
  %usable = icmp eq i32 %now, 1
  %many = select i1 %usable, i64 %wide, i64 1
  store ptr @nv_page, ptr %team, align 8
  %second = getelementptr i64, ptr %team, i64 1
  store i64 %many, ptr %second, align 8
  %third = getelementptr ptr, ptr %team, i64 2
  store ptr @nv_pool_rest, ptr %third, align 8
  ret void
}}

define internal void @nv_end() nounwind {{
  call void @nv_pool_stop(ptr @nv_page)
  ret void
}}
"""


def add_pool(module: Module, target: Target) -> str:
    """Add the pool's functions to the module; gives its types and its memory, which stand before all functions.

    Raises:
        BackendError: the target has no pool
    """
    text = pool_text(target)
    if text is None:
        raise BackendError(
            f"no thread pool for {target.triple}",
            hint="build it without threads, or for Linux on x86_64 or aarch64",
        )
    lines = text.splitlines()
    for line in lines:
        if line.startswith("declare "):
            module.declare(line.removeprefix("declare "))
    types = [line for line in lines if line.startswith("%")]
    body = [line for line in lines if not line.startswith(("declare ", "%"))]
    module.functions["@nv_pool"] = "\n".join(body).replace(
        "define void @nv_pool", "define internal void @nv_pool"
    )
    module.declare("i32 @madvise(ptr, i64, i32)")
    page = _LARGEST_PAGE[target.arch]
    size = -(-PAGE_BYTES // page) * page
    module.functions["@nv_team"] = _TEXT.format(size=size, advice=_WIPEONFORK)
    memory = [
        f"@nv_page = internal global [{size} x i8] zeroinitializer, align {page}",
        "@nv_wiped = internal global i32 0",
        "@llvm.global_dtors = appending global [1 x { i32, ptr, ptr }] "
        "[{ i32, ptr, ptr } { i32 65535, ptr @nv_end, ptr null }]",
    ]
    return "\n".join([*types, *memory])
