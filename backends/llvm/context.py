"""The run context and the entry points of an object, as C sees them.

    typedef void (*nv_task)(void *arg, int64_t begin, int64_t end);
    typedef struct nv_context {
        void (*parallel_for)(struct nv_context *, nv_task, void *arg, int64_t n);
        void **store;       /* one pointer a store slot, in the program's order */
        void *prepared;     /* what nv_prepare made of the store: packed weights; nv_plan says how many bytes */
        void *arena;        /* scratch memory of one run */
        void *user;         /* for the owner of parallel_for; null, or its second word is how many threads there may be and
                               its third void (*)(void *user, int32_t *at, int32_t seen, int32_t turn), which gives way to others */
        void (*trace)(struct nv_context *, int64_t step);   /* called after each top-level step of nv_run; may be null */
    } nv_context;

    int32_t nv_run(nv_context *, void *const *inputs, void *const *outputs, const int64_t *dims);
    int32_t nv_prepare(nv_context *);
    void    nv_plan(const int64_t *dims, int64_t sizes[2]);     /* bytes of nv_run's arena, bytes of prepared */
    void    nv_prepare_plan(int64_t sizes[2]);                  /* the same for nv_prepare */
    void    nv_sizes(const int64_t *dims, int64_t *values);     /* KernelProgram.sizes: picoseconds of a run, extents */
    void    nv_serial(nv_context *, nv_task, void *arg, int64_t n);

`dims` holds the program's symbols in its order. parallel_for must call task(arg, begin, end) on ranges that together
are 0..n, each index once, and return when all are done; the ranges' sizes and threads never change a result.
nv_serial is one such function. Arena and prepared are aligned to 64 bytes; nothing needs to be cleared. nv_prepare
runs before the first nv_run, and again when the store changed; both return 0, or the number of a failed check. The
object allocates nothing and calls nothing but ALLOWED_EXTERNALS (emit.py), parallel_for and what gives way.
"""

from __future__ import annotations

__all__ = ["ALIGNMENT", "ARENA", "ENTRY_POINTS", "PARALLEL_FOR", "PREPARED", "STORE", "TRACE", "USER"]

ENTRY_POINTS = ("nv_run", "nv_prepare", "nv_plan", "nv_prepare_plan", "nv_sizes", "nv_serial")

ALIGNMENT = 64
"""Bytes that arena, prepared and every offset in them are aligned to."""

PARALLEL_FOR, STORE, PREPARED, ARENA, USER, TRACE = range(6)
"""Words of the context; the structure itself is runtime/native.py's."""
