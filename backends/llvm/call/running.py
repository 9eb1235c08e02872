"""The call as LLVM text: the sizes for given dims, contexts, the lock of the store, and the run."""

from __future__ import annotations

__all__ = ["RUNNING"]

RUNNING = """
; the arena's bytes and the values for these dims, from the table where it has them
define internal i64 @sizes(ptr %call, ptr %dims, ptr %values) nounwind {
entry:
  %two = alloca [2 x i64], align 8
  %symbols.at = getelementptr %call, ptr %call, i64 0, i32 9
  %symbols = load i64, ptr %symbols.at, align 8
  %last.at = getelementptr %call, ptr %call, i64 0, i32 13
  %last = load ptr, ptr %last.at, align 8
  %kept.at = getelementptr %call, ptr %call, i64 0, i32 14
  %kept = load ptr, ptr %kept.at, align 8
  %arena.at = getelementptr %call, ptr %call, i64 0, i32 15
  %number.at = getelementptr %call, ptr %call, i64 0, i32 25
  %number = load i64, ptr %number.at, align 8
  %bytes = shl i64 %number, 3
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %more = icmp ult i64 %i, %symbols
  br i1 %more, label %step, label %take
step:
  %a.at = getelementptr i64, ptr %dims, i64 %i
  %a = load i64, ptr %a.at, align 8
  %b.at = getelementptr i64, ptr %last, i64 %i
  %b = load i64, ptr %b.at, align 8
  %same = icmp eq i64 %a, %b
  %i1 = add i64 %i, 1
  br i1 %same, label %next, label %new
new:
  %plan.at = getelementptr %call, ptr %call, i64 0, i32 5
  %plan = load ptr, ptr %plan.at, align 8
  call void %plan(ptr %dims, ptr %two)
  %planned = load i64, ptr %two, align 8
  store i64 %planned, ptr %arena.at, align 8
  %measure.at = getelementptr %call, ptr %call, i64 0, i32 6
  %measure = load ptr, ptr %measure.at, align 8
  call void %measure(ptr %dims, ptr %kept)
  %length = shl i64 %symbols, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %last, ptr %dims, i64 %length, i1 false)
  br label %take
take:
  call void @llvm.memcpy.p0.p0.i64(ptr %values, ptr %kept, i64 %bytes, i1 false)
  %arena = load i64, ptr %arena.at, align 8
  ret i64 %arena
}

define ptr @nv_pop(ptr %call) nounwind {
entry:
  %free.at = getelementptr %call, ptr %call, i64 0, i32 3
  %first = load ptr, ptr %free.at, align 8
  %none = icmp eq ptr %first, null
  br i1 %none, label %done, label %take
take:
  %next.at = getelementptr %context, ptr %first, i64 0, i32 6
  %next = load ptr, ptr %next.at, align 8
  store ptr %next, ptr %free.at, align 8
  br label %done
done:
  ret ptr %first
}

define void @nv_push(ptr %call, ptr %context) nounwind {
  %free.at = getelementptr %call, ptr %call, i64 0, i32 3
  %first = load ptr, ptr %free.at, align 8
  %next.at = getelementptr %context, ptr %context, i64 0, i32 6
  store ptr %first, ptr %next.at, align 8
  store ptr %context, ptr %free.at, align 8
  ret void
}

; calls a method of the store's lock, where there is one to call; false and a Python error where that was interrupted
define internal i1 @lock(ptr %method) nounwind {
  %none = icmp eq ptr %method, null
  br i1 %none, label %yes, label %ask
ask:
  %r = call ptr @PyObject_CallNoArgs(ptr %method)
  %failed = icmp eq ptr %r, null
  br i1 %failed, label %no, label %well
well:
  call void @Py_DecRef(ptr %r)
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; runs, without the interpreter's lock where that takes long; false where weights moved, or no context is free or large enough
define internal i1 @run(ptr %call, ptr %ins, ptr %outs, ptr %dims, i64 %arena, i64 %cost) nounwind {
entry:
  %version.at.at = getelementptr %call, ptr %call, i64 0, i32 1
  %version.at = load ptr, ptr %version.at.at, align 8
  %seen.at = getelementptr %call, ptr %call, i64 0, i32 2
  %seen = load i64, ptr %seen.at, align 8
  %version = load i64, ptr %version.at, align 8
  %fresh = icmp eq i64 %version, %seen
  br i1 %fresh, label %pop, label %no
pop:
  %context = call ptr @nv_pop(ptr %call)
  %none = icmp eq ptr %context, null
  br i1 %none, label %no, label %capacity
capacity:
  %has.at = getelementptr %context, ptr %context, i64 0, i32 7
  %has = load i64, ptr %has.at, align 8
  %enough = icmp sge i64 %has, %arena
  br i1 %enough, label %choose, label %back
back:
  call void @nv_push(ptr %call, ptr %context)
  br label %no
choose:
  %run.at = getelementptr %call, ptr %call, i64 0, i32 4
  %run = load ptr, ptr %run.at, align 8
  %patience.at = getelementptr %call, ptr %call, i64 0, i32 16
  %patience = load i64, ptr %patience.at, align 8
  %long = icmp sgt i64 %cost, %patience
  br i1 %long, label %free, label %held
held:
  %code.held = call i32 %run(ptr %context, ptr %ins, ptr %outs, ptr %dims)
  br label %after
free:
  %thread = call ptr @PyEval_SaveThread()
  %code.free = call i32 %run(ptr %context, ptr %ins, ptr %outs, ptr %dims)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %after
after:
  %code = phi i32 [ %code.held, %held ], [ %code.free, %free ]
  call void @nv_push(ptr %call, ptr %context)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %touch, label %no
touch:
  %updates.at = getelementptr %call, ptr %call, i64 0, i32 18
  %updates = load i64, ptr %updates.at, align 8
  %some = icmp ne i64 %updates, 0
  br i1 %some, label %move, label %yes
move:
  %now = load i64, ptr %version.at, align 8
  %moved = add i64 %now, %updates
  store i64 %moved, ptr %version.at, align 8
  %alone = icmp eq i64 %now, %seen
  %known = select i1 %alone, i64 %moved, i64 %seen
  store i64 %known, ptr %seen.at, align 8
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}
"""
