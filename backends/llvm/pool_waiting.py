"""How threads of the pool wait, as LLVM text: they spin for a bounded time, giving way to other processes, and sleep in a futex.

Some schedulers keep threads that work little on one processor, which ours do that wait for a caller who fills it: so a worker that
has nothing to do and finds itself on the caller's processor moves to another, by its affinity, which it then has as before.
"""

from __future__ import annotations

__all__ = ["WAITING"]

WAITING = """
; sleeps while *at is `seen`; a wake reaches those that share a bit of their sets with it
define internal void @futex_wait(ptr %at, i32 %seen, i32 %set) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 <FUTEX>, ptr %at, i32 137, i32 %seen, ptr null, ptr null, i32 %set)
  ret void
}

define internal void @futex_wake(ptr %at, i32 %count, i32 %set) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 <FUTEX>, ptr %at, i32 138, i32 %count, ptr null, ptr null, i32 %set)
  ret void
}

; remembers where the caller runs, now and then
define internal void @here(ptr %page) nounwind {
  %cpu = call i32 @sched_getcpu()
  %processor = getelementptr %page, ptr %page, i64 0, i32 8
  store atomic i32 %cpu, ptr %processor monotonic, align 4
  ret void
}

; moves a thread that is no caller to another processor than the caller's, where it may use one
define internal void @aside(ptr %page) nounwind {
entry:
  %all = alloca [<WORDS> x i64], align 8
  %others = alloca [<WORDS> x i64], align 8
  %thread.at = getelementptr %page, ptr %page, i64 0, i32 11
  %thread = load atomic ptr, ptr %thread.at monotonic, align 8
  %me = call ptr @llvm.thread.pointer.p0()
  %caller = icmp eq ptr %thread, %me
  br i1 %caller, label %done, label %look
look:
  %processor = getelementptr %page, ptr %page, i64 0, i32 8
  %taken = load atomic i32, ptr %processor monotonic, align 4
  %cpu = call i32 @sched_getcpu()
  %same = icmp eq i32 %cpu, %taken
  %known = icmp ult i32 %cpu, <PROCESSORS>
  %go = and i1 %same, %known
  br i1 %go, label %ask, label %done
ask:
  call void @llvm.memset.p0.i64(ptr %all, i8 0, i64 <WORDS.BYTES>, i1 false)
  %r = call i32 @sched_getaffinity(i32 0, i64 <WORDS.BYTES>, ptr %all)
  %failed = icmp slt i32 %r, 0
  br i1 %failed, label %done, label %copy
copy:
  %wide = zext i32 %cpu to i64
  %place = lshr i64 %wide, 6
  %bit = and i64 %wide, 63
  %one = shl i64 1, %bit
  br label %word
word:
  %k = phi i64 [ 0, %copy ], [ %k1, %word ]
  %any = phi i64 [ 0, %copy ], [ %any1, %word ]
  %from = getelementptr i64, ptr %all, i64 %k
  %given = load i64, ptr %from, align 8
  %here = icmp eq i64 %k, %place
  %mask = select i1 %here, i64 %one, i64 0
  %not = xor i64 %mask, -1
  %left = and i64 %given, %not
  %to = getelementptr i64, ptr %others, i64 %k
  store i64 %left, ptr %to, align 8
  %any1 = or i64 %any, %left
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, <WORDS>
  br i1 %more, label %word, label %move
move:
  %none = icmp eq i64 %any1, 0
  br i1 %none, label %done, label %away
away:
  %s = call i32 @sched_setaffinity(i32 0, i64 <WORDS.BYTES>, ptr %others)
  %t = call i32 @sched_setaffinity(i32 0, i64 <WORDS.BYTES>, ptr %all)
  br label %done
done:
  ret void
}

; waits a bounded time until *a or *b is no longer what was seen, aside of the caller of this page where there is one; gives whether it did
define internal i1 @spin(ptr %page, ptr %a, i64 %seen.a, ptr %b, i32 %seen.b) nounwind {
entry:
  %worker = icmp ne ptr %page, null
  br label %turn
turn:
  %t = phi i32 [ 0, %entry ], [ %t1, %give ]
  br label %look
look:
  %k = phi i32 [ 0, %turn ], [ %k1, %again ]
  %now.a = load atomic i64, ptr %a acquire, align 8
  %now.b = load atomic i32, ptr %b acquire, align 4
  %same.a = icmp eq i64 %now.a, %seen.a
  %same.b = icmp eq i32 %now.b, %seen.b
  %same = and i1 %same.a, %same.b
  br i1 %same, label %again, label %yes
again:
  call void @llvm.<PAUSE>(<PAUSE.ARGUMENT>)
  %k1 = add i32 %k, 1
  %more = icmp ult i32 %k1, 64
  br i1 %more, label %look, label %yield
yield:
  br i1 %worker, label %look.about, label %give
look.about:
  call void @aside(ptr %page)
  br label %give
give:
  %y = call i32 @sched_yield()
  %t1 = add i32 %t, 1
  %on = icmp ult i32 %t1, <SPIN>
  br i1 %on, label %turn, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; for who waits for *at to differ from `seen`, in its turn `turn`: gives way to others, and sleeps for a moment in later ones
define void @nv_pool_rest(ptr %team, ptr %at, i32 %seen, i32 %turn) nounwind {
entry:
  %moment = alloca [2 x i64], align 8
  %page = load ptr, ptr %team, align 8
  call void @aside(ptr %page)
  %early = icmp ult i32 %turn, <SPIN>
  br i1 %early, label %yield, label %sleep
yield:
  %y = call i32 @sched_yield()
  br label %done
sleep:
  %nanoseconds = getelementptr i64, ptr %moment, i64 1
  store i64 0, ptr %moment, align 8
  store i64 <MOMENT>, ptr %nanoseconds, align 8
  %r = call i64 (i64, ...) @syscall(i64 <FUTEX>, ptr %at, i32 128, i32 %seen, ptr %moment, ptr null, i32 0)
  br label %done
done:
  ret void
}
"""
