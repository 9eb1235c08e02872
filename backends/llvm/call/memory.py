"""The call as LLVM text: new arrays, large ones on 64-byte boundaries.

NumPy's own arrays lie on 16 bytes, so that most registers of a large result are written across two lines of memory. Large results get
their memory from an allocator of NumPy's kind (PyDataMem_Handler): it asks NumPy's for 64 bytes more, and keeps the address that it
got in the word in front of the data. The array owns its memory as any other: `base`, `resize`, and what frees it are the usual ones. Where
a program has set an allocator of its own, that one is asked.
"""

from __future__ import annotations

__all__ = ["MEMORY"]

MEMORY = """
; nv_malloc and its kin: an allocator over the one in %plain, a PyDataMem_Handler: 128 ctx, 136 malloc, 144 calloc, 152 realloc, 160 free
define internal ptr @placed(ptr %raw) nounwind {
entry:
  %none = icmp eq ptr %raw, null
  br i1 %none, label %done, label %place
place:
  %at = ptrtoint ptr %raw to i64
  %least = add i64 %at, 64
  %even = and i64 %least, -64
  %skip = sub i64 %even, %at
  %data = getelementptr i8, ptr %raw, i64 %skip
  %word = getelementptr i8, ptr %data, i64 -8
  store ptr %raw, ptr %word, align 8
  ret ptr %data
done:
  ret ptr null
}

define ptr @nv_malloc(ptr %plain, i64 %n) nounwind {
  %ctx.at = getelementptr i8, ptr %plain, i64 128
  %ctx = load ptr, ptr %ctx.at, align 8
  %malloc.at = getelementptr i8, ptr %plain, i64 136
  %malloc = load ptr, ptr %malloc.at, align 8
  %more = add i64 %n, 64
  %raw = call ptr %malloc(ptr %ctx, i64 %more)
  %data = call ptr @placed(ptr %raw)
  ret ptr %data
}

define ptr @nv_calloc(ptr %plain, i64 %count, i64 %size) nounwind {
  %ctx.at = getelementptr i8, ptr %plain, i64 128
  %ctx = load ptr, ptr %ctx.at, align 8
  %calloc.at = getelementptr i8, ptr %plain, i64 144
  %calloc = load ptr, ptr %calloc.at, align 8
  %n = mul i64 %count, %size
  %more = add i64 %n, 64
  %raw = call ptr %calloc(ptr %ctx, i64 1, i64 %more)
  %data = call ptr @placed(ptr %raw)
  ret ptr %data
}

define ptr @nv_realloc(ptr %plain, ptr %data, i64 %n) nounwind {
entry:
  %none = icmp eq ptr %data, null
  br i1 %none, label %fresh, label %grow
fresh:
  %first = call ptr @nv_malloc(ptr %plain, i64 %n)
  ret ptr %first
grow:
  %ctx.at = getelementptr i8, ptr %plain, i64 128
  %ctx = load ptr, ptr %ctx.at, align 8
  %realloc.at = getelementptr i8, ptr %plain, i64 152
  %realloc = load ptr, ptr %realloc.at, align 8
  %word = getelementptr i8, ptr %data, i64 -8
  %raw = load ptr, ptr %word, align 8
  %raw.n = ptrtoint ptr %raw to i64
  %data.n = ptrtoint ptr %data to i64
  %skip = sub i64 %data.n, %raw.n
  %more = add i64 %n, 64
  %moved = call ptr %realloc(ptr %ctx, ptr %raw, i64 %more)
  %failed = icmp eq ptr %moved, null
  br i1 %failed, label %no, label %shift
shift:
  ; the content came along with the distance that it had; it goes to its place before the word in front of it is written
  %old = getelementptr i8, ptr %moved, i64 %skip
  %at = ptrtoint ptr %moved to i64
  %least = add i64 %at, 64
  %even = and i64 %least, -64
  %new.skip = sub i64 %even, %at
  %new = getelementptr i8, ptr %moved, i64 %new.skip
  call void @llvm.memmove.p0.p0.i64(ptr %new, ptr %old, i64 %n, i1 false)
  %same = call ptr @placed(ptr %moved)
  ret ptr %same
no:
  ret ptr null
}

define void @nv_free(ptr %plain, ptr %data, i64 %n) nounwind {
entry:
  %none = icmp eq ptr %data, null
  br i1 %none, label %done, label %give
give:
  %ctx.at = getelementptr i8, ptr %plain, i64 128
  %ctx = load ptr, ptr %ctx.at, align 8
  %free.at = getelementptr i8, ptr %plain, i64 160
  %free = load ptr, ptr %free.at, align 8
  %word = getelementptr i8, ptr %data, i64 -8
  %raw = load ptr, ptr %word, align 8
  %more = add i64 %n, 64
  call void %free(ptr %ctx, ptr %raw, i64 %more)
  br label %done
done:
  ret void
}

; a new array of so many bytes; takes over the reference to descr
define ptr @nv_new_array(ptr %memory, ptr %descr, i32 %nd, ptr %shape, i64 %bytes) nounwind {
entry:
  %array = load ptr, ptr %memory, align 8
  %new.at = getelementptr %memory, ptr %memory, i64 0, i32 1
  %new = load ptr, ptr %new.at, align 8
  %least.at = getelementptr %memory, ptr %memory, i64 0, i32 2
  %least = load i64, ptr %least.at, align 8
  %large = icmp sge i64 %bytes, %least
  br i1 %large, label %whose, label %small
whose:
  %get.at = getelementptr %memory, ptr %memory, i64 0, i32 3
  %get = load ptr, ptr %get.at, align 8
  %usual.at = getelementptr %memory, ptr %memory, i64 0, i32 4
  %usual = load ptr, ptr %usual.at, align 8
  %current = call ptr %get()
  %failed = icmp eq ptr %current, null
  br i1 %failed, label %no, label %known
known:
  call void @Py_DecRef(ptr %current)
  %is.usual = icmp eq ptr %current, %usual
  br i1 %is.usual, label %allocate, label %small
allocate:
  %plain.at = getelementptr %memory, ptr %memory, i64 0, i32 5
  %plain = load ptr, ptr %plain.at, align 8
  %data = call ptr @nv_malloc(ptr %plain, i64 %bytes)
  %got = icmp ne ptr %data, null
  br i1 %got, label %make, label %small
make:
  ; C_CONTIGUOUS, ALIGNED, WRITEABLE
  %x = call ptr %new(ptr %array, ptr %descr, i32 %nd, ptr %shape, ptr null, ptr %data, i32 1281, ptr null)
  %made = icmp ne ptr %x, null
  br i1 %made, label %own, label %give
give:
  call void @nv_free(ptr %plain, ptr %data, i64 %bytes)
  ret ptr null
own:
  %flags.at = getelementptr i8, ptr %x, i64 64
  %flags = load i32, ptr %flags.at, align 4
  %owning = or i32 %flags, 4
  store i32 %owning, ptr %flags.at, align 4
  %handler.at = getelementptr %memory, ptr %memory, i64 0, i32 6
  %handler = load ptr, ptr %handler.at, align 8
  call void @Py_IncRef(ptr %handler)
  %owner.at = getelementptr i8, ptr %x, i64 88
  store ptr %handler, ptr %owner.at, align 8
  ; NumPy's domain of tracemalloc
  %place = ptrtoint ptr %data to i64
  %traced = call i32 @PyTraceMalloc_Track(i32 389047, i64 %place, i64 %bytes)
  ret ptr %x
small:
  %y = call ptr %new(ptr %array, ptr %descr, i32 %nd, ptr %shape, ptr null, ptr null, i32 0, ptr null)
  ret ptr %y
no:
  call void @Py_DecRef(ptr %descr)
  ret ptr null
}
"""
