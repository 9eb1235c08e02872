# long file: one LLVM text, whose functions share its types
"""The thread pool as LLVM text: a fork-join that hands out chunks by tickets.

A job lies in one of a few slots; its `word` packs generation (24 bits), room for helpers (16) and chunks left (24), so that one
compare-and-exchange claims a chunk of exactly the job that was looked at. Chunks shrink: each round of as many as there are
threads takes half of what is left, down to single units, so that threads which start together share evenly and those that are held up
leave little behind. The caller claims chunks like any worker and
therefore does alone what no worker began; then it waits for chunks that others still run. Whoever waits spins for a
bounded time, giving way to other processes, and then sleeps in a futex. Sleeping workers are woken once enough work
has gone by to pay for it. Callers beyond the slots run alone.

Some schedulers keep threads that work little on one processor, which ours do that wait for a caller who fills it: so a worker that
has nothing to do and finds itself on the caller's processor moves to another, by its affinity, which it then has as before.

Workers are started by the first job that wants them. The page is wiped on fork: a child finds no workers and starts its own.
`nv_pool_stop` ends them before the process ends. Linux on x86-64 and aarch64; elsewhere there is no pool.

    struct team { struct page *page; int64_t threads; void (*rest)(struct team *, int32_t *, int32_t, int32_t); }
                                                                 nv_context.user of whoever passes nv_pool_for; rest is nv_pool_rest
    struct slot { word; busy; pending; task, arg, n, rounds, threads }      pending's top bit: the caller sleeps
    struct page { epoch; sleepers; lock, started, stop, credit, processor, thread; handles[]; slots[] }
"""

from __future__ import annotations

from ...runtime.threads import MAX_THREADS
from .context import USER
from .target import Target

__all__ = ["PAGE_BYTES", "PAUSE", "pool_text"]

PAGE_BYTES = 8192
SLOTS = 8
SPIN = 32
"""Turns of a wait before it sleeps, each of 64 pauses and a yield: 30 to 100 microseconds."""
WAKE = 96
"""Units of work (grain.py: a microsecond each) that pay for waking sleepers, about 3 microseconds."""
PROCESSORS = 1024
"""That a set of processors has room for."""
MOMENT = 50_000
"""Nanoseconds that who waits for a share sleeps at most."""

_FUTEX = {"x86_64": 202, "aarch64": 98}
PAUSE = {"x86_64": ("x86.sse2.pause", "", ""), "aarch64": ("aarch64.hint", "i32", "i32 1")}

_TEXT = """
%slot = type { i64, i32, [13 x i32], i32, [15 x i32], ptr, ptr, i64, i64, i64, [3 x i64] }
%page = type { i32, [15 x i32], i32, [15 x i32], i32, i32, i32, i32, i32, [3 x i32], ptr, [6 x i32], [<MAX> x i64], [<SLOTS> x %slot] }

declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare ptr @llvm.thread.pointer.p0()
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.<PAUSE>(<PAUSE.TYPE>)

define internal void @futex_wait(ptr %at, i32 %seen) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 <FUTEX>, ptr %at, i32 128, i32 %seen, ptr null, ptr null, i32 0)
  ret void
}

define internal void @futex_wake(ptr %at, i32 %count) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 <FUTEX>, ptr %at, i32 129, i32 %count, ptr null, ptr null, i32 0)
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
  %thread.at = getelementptr %page, ptr %page, i64 0, i32 10
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

; waits a bounded time until *at & mask differs from `same`, aside of the caller of this page where there is one; gives whether it did
define internal i1 @spin(ptr %page, ptr %at, i32 %mask, i32 %same, i1 %until_equal) nounwind {
entry:
  %worker = icmp ne ptr %page, null
  br label %turn
turn:
  %t = phi i32 [ 0, %entry ], [ %t1, %give ]
  br label %look
look:
  %k = phi i32 [ 0, %turn ], [ %k1, %again ]
  %v = load atomic i32, ptr %at acquire, align 4
  %m = and i32 %v, %mask
  %equal = icmp eq i32 %m, %same
  %met = xor i1 %equal, %until_equal
  br i1 %met, label %again, label %yes
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

; units in the last `left` chunks of n units: single ones, and before them `rounds` of a chunk a thread, halving what is left
define internal i64 @units(i64 %left, i64 %n, i64 %rounds, i64 %threads) nounwind {
entry:
  %singles = lshr i64 %n, %rounds
  %q = sub i64 %left, %singles
  %few = icmp sle i64 %q, 0
  br i1 %few, label %single, label %round
single:
  ret i64 %left
round:
  %q1 = add i64 %q, %threads
  %q2 = sub i64 %q1, 1
  %back = udiv i64 %q2, %threads
  %at = sub i64 %rounds, %back
  %full = lshr i64 %n, %at
  %half = lshr i64 %full, 1
  %mine = sub i64 %full, %half
  %whole = mul i64 %back, %threads
  %gone = sub i64 %whole, %q
  %product = mul i64 %mine, %gone
  %taken = udiv i64 %product, %threads
  %rest = sub i64 %full, %taken
  ret i64 %rest
}

; runs chunks of the job `mine`, or of any that has room, while there are any; gives whether it ran one
define internal i1 @help(ptr %slot, i64 %mine) nounwind {
entry:
  %pending = getelementptr %slot, ptr %slot, i64 0, i32 3
  %task.at = getelementptr %slot, ptr %slot, i64 0, i32 5
  %arg.at = getelementptr %slot, ptr %slot, i64 0, i32 6
  %n.at = getelementptr %slot, ptr %slot, i64 0, i32 7
  %rounds.at = getelementptr %slot, ptr %slot, i64 0, i32 8
  %team.at = getelementptr %slot, ptr %slot, i64 0, i32 9
  br label %next
next:
  %job = phi i64 [ %mine, %entry ], [ %job, %take ], [ %generation, %ran ]
  %did = phi i1 [ false, %entry ], [ %did, %take ], [ true, %ran ]
  %word = load atomic i64, ptr %slot acquire, align 64
  %left = and i64 %word, 16777215
  %generation = lshr i64 %word, 40
  %member = icmp eq i64 %generation, %job
  %room = and i64 %word, 1099494850560
  %spare = icmp ne i64 %room, 0
  %may = or i1 %member, %spare
  %some = icmp ne i64 %left, 0
  %go = and i1 %some, %may
  br i1 %go, label %take, label %done
take:
  %task = load atomic ptr, ptr %task.at monotonic, align 8
  %arg = load atomic ptr, ptr %arg.at monotonic, align 8
  %n = load atomic i64, ptr %n.at monotonic, align 8
  %rounds = load atomic i64, ptr %rounds.at monotonic, align 8
  %threads = load atomic i64, ptr %team.at monotonic, align 8
  %cost = select i1 %member, i64 1, i64 16777217
  %after = sub i64 %word, %cost
  %pair = cmpxchg ptr %slot, i64 %word, i64 %after acq_rel acquire, align 64
  %won = extractvalue { i64, i1 } %pair, 1
  br i1 %won, label %run, label %next
run:
  %number = sub i64 %left, 1
  %begin = call i64 @units(i64 %number, i64 %n, i64 %rounds, i64 %threads)
  %end = call i64 @units(i64 %left, i64 %n, i64 %rounds, i64 %threads)
  call void %task(ptr %arg, i64 %begin, i64 %end)
  %old = atomicrmw sub ptr %pending, i32 1 acq_rel, align 4
  %waits = icmp eq i32 %old, -2147483647
  br i1 %waits, label %ring, label %ran
ring:
  call void @futex_wake(ptr %pending, i32 1)
  br label %ran
ran:
  br label %next
done:
  ret i1 %did
}

define internal ptr @worker(ptr %page) nounwind {
entry:
  %sleepers = getelementptr %page, ptr %page, i64 0, i32 2
  %stop.at = getelementptr %page, ptr %page, i64 0, i32 6
  br label %look
look:
  %epoch = load atomic i32, ptr %page seq_cst, align 64
  %stop = load atomic i32, ptr %stop.at acquire, align 4
  %leave = icmp ne i32 %stop, 0
  br i1 %leave, label %left, label %scan
scan:
  %s = phi i64 [ 0, %look ], [ %s1, %scan ]
  %did = phi i1 [ false, %look ], [ %any, %scan ]
  %slot = getelementptr %page, ptr %page, i64 0, i32 13, i64 %s
  %ran = call i1 @help(ptr %slot, i64 -1)
  %any = or i1 %did, %ran
  %s1 = add i64 %s, 1
  %more = icmp ult i64 %s1, <SLOTS>
  br i1 %more, label %scan, label %idle
idle:
  br i1 %any, label %look, label %wait
wait:
  %moved = call i1 @spin(ptr %page, ptr %page, i32 -1, i32 %epoch, i1 false)
  br i1 %moved, label %look, label %sleep
sleep:
  %a = atomicrmw add ptr %sleepers, i32 1 seq_cst, align 64
  call void @futex_wait(ptr %page, i32 %epoch)
  %b = atomicrmw sub ptr %sleepers, i32 1 seq_cst, align 64
  call void @aside(ptr %page)
  br label %look
left:
  ret ptr null
}

; starts workers up to `wanted`, where nobody else does; a failure is not tried again
define internal void @grow(ptr %page, i32 %wanted) nounwind {
entry:
  %all = alloca [16 x i64], align 8
  %old = alloca [16 x i64], align 8
  %lock = getelementptr %page, ptr %page, i64 0, i32 4
  %started.at = getelementptr %page, ptr %page, i64 0, i32 5
  %stop.at = getelementptr %page, ptr %page, i64 0, i32 6
  %pair = cmpxchg ptr %lock, i32 0, i32 1 seq_cst seq_cst, align 4
  %mine = extractvalue { i32, i1 } %pair, 1
  br i1 %mine, label %begin, label %done
begin:
  %stop = load atomic i32, ptr %stop.at seq_cst, align 4
  %stopped = icmp ne i32 %stop, 0
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  ; workers take no signal but those of their own faults: ILL, ABRT, BUS, FPE, SEGV
  store i64 -1265, ptr %all, align 8
  %m = call i32 @pthread_sigmask(i32 0, ptr %all, ptr %old)
  br label %next
next:
  %started = load atomic i32, ptr %started.at monotonic, align 4
  %enough = icmp sge i32 %started, %wanted
  %end = or i1 %enough, %stopped
  br i1 %end, label %close, label %start
start:
  %index = zext i32 %started to i64
  %handle = getelementptr %page, ptr %page, i64 0, i32 12, i64 %index
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %page)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %count, label %close
count:
  %more = add i32 %started, 1
  store atomic i32 %more, ptr %started.at release, align 4
  br label %next
close:
  %state = phi i32 [ 0, %next ], [ 2, %start ]
  %r = call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  store atomic i32 %state, ptr %lock seq_cst, align 4
  br label %done
done:
  ret void
}

define void @nv_pool_for(ptr %ctx, ptr %task, ptr %arg, i64 %n) nounwind {
entry:
  %team.at = getelementptr ptr, ptr %ctx, i64 <USER>
  %team = load ptr, ptr %team.at, align 8
  %page = load ptr, ptr %team, align 8
  %threads.at = getelementptr i64, ptr %team, i64 1
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  %helpers = sub i64 %threads, 1
  %one = icmp slt i64 %n, 2
  %alone = icmp slt i64 %helpers, 1
  %serial = or i1 %one, %alone
  br i1 %serial, label %by.itself, label %team.work
by.itself:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %all, label %done
all:
  call void %task(ptr %arg, i64 0, i64 %n)
  br label %done
team.work:
  %started.at = getelementptr %page, ptr %page, i64 0, i32 5
  %started = load atomic i32, ptr %started.at acquire, align 4
  %wanted = trunc i64 %helpers to i32
  %few = icmp slt i32 %started, %wanted
  br i1 %few, label %more, label %choose
more:
  call void @grow(ptr %page, i32 %wanted)
  br label %choose
choose:
  %s = phi i64 [ 0, %more ], [ 0, %team.work ], [ %s1, %other ]
  %slot = getelementptr %page, ptr %page, i64 0, i32 13, i64 %s
  %busy = getelementptr %slot, ptr %slot, i64 0, i32 1
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acq_rel monotonic, align 8
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %post, label %other
other:
  %s1 = add i64 %s, 1
  %left = icmp ult i64 %s1, <SLOTS>
  br i1 %left, label %choose, label %all
post:
  %twice = shl i64 %threads, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %n, i1 true)
  %most = call i64 @llvm.ctlz.i64(i64 %twice, i1 true)
  %halvings = sub i64 %most, %zeros
  %rounds = call i64 @llvm.smax.i64(i64 %halvings, i64 0)
  %singles = lshr i64 %n, %rounds
  %in.rounds = mul i64 %rounds, %threads
  %chunks = add i64 %singles, %in.rounds
  %chunks32 = trunc i64 %chunks to i32
  %pending = getelementptr %slot, ptr %slot, i64 0, i32 3
  %task.at = getelementptr %slot, ptr %slot, i64 0, i32 5
  %arg.at = getelementptr %slot, ptr %slot, i64 0, i32 6
  %n.at = getelementptr %slot, ptr %slot, i64 0, i32 7
  %rounds.at = getelementptr %slot, ptr %slot, i64 0, i32 8
  %size.at = getelementptr %slot, ptr %slot, i64 0, i32 9
  store atomic i32 %chunks32, ptr %pending monotonic, align 4
  store atomic ptr %task, ptr %task.at monotonic, align 8
  store atomic ptr %arg, ptr %arg.at monotonic, align 8
  store atomic i64 %n, ptr %n.at monotonic, align 8
  store atomic i64 %rounds, ptr %rounds.at monotonic, align 8
  store atomic i64 %threads, ptr %size.at monotonic, align 8
  %before = load atomic i64, ptr %slot monotonic, align 64
  %last = lshr i64 %before, 40
  %up.g = add i64 %last, 1
  %generation = and i64 %up.g, 16777215
  %high = shl i64 %generation, 40
  %room = shl i64 %helpers, 24
  %w0 = or i64 %high, %room
  %word = or i64 %w0, %chunks
  store atomic i64 %word, ptr %slot release, align 64
  %thread.at = getelementptr %page, ptr %page, i64 0, i32 10
  %me = call ptr @llvm.thread.pointer.p0()
  store atomic ptr %me, ptr %thread.at monotonic, align 8
  %e = atomicrmw add ptr %page, i32 1 seq_cst, align 64
  %few.bits = and i32 %e, 15
  %now.and.then = icmp eq i32 %few.bits, 0
  br i1 %now.and.then, label %where, label %posted
where:
  call void @here(ptr %page)
  br label %posted
posted:
  %sleepers.at = getelementptr %page, ptr %page, i64 0, i32 2
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 64
  %asleep = icmp sgt i32 %sleepers, 0
  br i1 %asleep, label %credit, label %work
credit:
  %credit.at = getelementptr %page, ptr %page, i64 0, i32 7
  %much = call i64 @llvm.smin.i64(i64 %n, i64 <WAKE>)
  %much32 = trunc i64 %much to i32
  %had = atomicrmw add ptr %credit.at, i32 %much32 monotonic, align 4
  %has = add i32 %had, %much32
  %pays = icmp sge i32 %has, <WAKE>
  br i1 %pays, label %wake, label %work
wake:
  store atomic i32 0, ptr %credit.at monotonic, align 4
  call void @here(ptr %page)
  %others = sub i64 %chunks, 1
  %count = call i64 @llvm.smin.i64(i64 %others, i64 %helpers)
  %count32 = trunc i64 %count to i32
  call void @futex_wake(ptr %page, i32 %count32)
  br label %work
work:
  %did = call i1 @help(ptr %slot, i64 %generation)
  br label %wait
wait:
  %over = call i1 @spin(ptr null, ptr %pending, i32 2147483647, i32 0, i1 true)
  br i1 %over, label %finish, label %mark
mark:
  %now = load atomic i32, ptr %pending acquire, align 4
  %rest = and i32 %now, 2147483647
  %none = icmp eq i32 %rest, 0
  br i1 %none, label %finish, label %flag
flag:
  %flagged = or i32 %now, -2147483648
  %swap = cmpxchg ptr %pending, i32 %now, i32 %flagged acq_rel acquire, align 4
  %set = extractvalue { i32, i1 } %swap, 1
  br i1 %set, label %sleep, label %mark
sleep:
  call void @futex_wait(ptr %pending, i32 %flagged)
  br label %mark
finish:
  store atomic i32 0, ptr %busy release, align 8
  br label %done
done:
  ret void
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

; ends the workers, for good: later jobs run on the caller's thread
define void @nv_pool_stop(ptr %page) nounwind {
entry:
  %lock = getelementptr %page, ptr %page, i64 0, i32 4
  %started.at = getelementptr %page, ptr %page, i64 0, i32 5
  %stop.at = getelementptr %page, ptr %page, i64 0, i32 6
  store atomic i32 1, ptr %stop.at seq_cst, align 4
  br label %settle
settle:
  %state = load atomic i32, ptr %lock seq_cst, align 4
  %growing = icmp eq i32 %state, 1
  br i1 %growing, label %yield, label %ring
yield:
  %y = call i32 @sched_yield()
  br label %settle
ring:
  %e = atomicrmw add ptr %page, i32 1 seq_cst, align 64
  call void @futex_wake(ptr %page, i32 2147483647)
  %started = load atomic i32, ptr %started.at acquire, align 4
  %count = zext i32 %started to i64
  br label %next
next:
  %i = phi i64 [ 0, %ring ], [ %i1, %join ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %join, label %done
join:
  %at = getelementptr %page, ptr %page, i64 0, i32 12, i64 %i
  %handle = load i64, ptr %at, align 8
  %j = call i32 @pthread_join(i64 %handle, ptr null)
  %i1 = add i64 %i, 1
  br label %next
done:
  store atomic i32 0, ptr %started.at release, align 4
  ret void
}
"""


def pool_text(target: Target) -> str | None:
    """The pool for a target; None where it has none."""
    machine, _, system = target.triple.partition("-")
    if "linux" not in system or machine not in _FUTEX:
        return None
    numbers = {
        "WORDS.BYTES": PROCESSORS // 8,
        "WORDS": PROCESSORS // 64,
        "PROCESSORS": PROCESSORS,
        "MAX": MAX_THREADS,
        "SLOTS": SLOTS,
        "SPIN": SPIN,
        "WAKE": WAKE,
        "MOMENT": MOMENT,
        "USER": USER,
    }
    pause, kind, argument = PAUSE[machine]
    words = {"FUTEX": _FUTEX[machine], "PAUSE": pause, "PAUSE.TYPE": kind, "PAUSE.ARGUMENT": argument}
    text = _TEXT
    for name, word in {**words, **numbers}.items():
        text = text.replace(f"<{name}>", str(word))
    return text
