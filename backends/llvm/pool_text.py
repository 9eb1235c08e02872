# long file: one LLVM text, whose functions share its types
"""The thread pool as LLVM text: a fork-join in which each thread begins with its own share.

A job lies in one of a few slots and is cut into a share a thread, each in lines of memory of its own: its `word` packs generation (32 bits), the
chunk after the last that is left (16) and the first that is left (16), so that one compare-and-exchange claims a chunk of exactly the
job that was looked at; the rest of it says what to run, and is the job's where the exchange succeeds. Chunk k of u units begins at
u - (u >> k). A share's owner claims from the front, others from the end once they are done with their own. Thread 0 is the caller, whose
first chunk is claimed as the job is posted; a worker keeps its number for life and waits for the generation of its own share in the first
slot, or for the page's epoch, which counts jobs in other slots and wakings. `done` counts the chunks that workers ran, a share's at once.

The caller does alone what no worker began; then it waits for chunks that others still run. Whoever waits spins for a
bounded time, giving way to other processes, and then sleeps in a futex. Sleeping workers are woken once enough work
has gone by to pay for it. Callers beyond the slots run alone.

Workers are started by the first job that wants them. The page is wiped on fork: a child finds no workers and starts its own.
`nv_pool_stop` ends them before the process ends. Linux on x86-64 and aarch64; elsewhere there is no pool.

    struct team { struct page *page; int64_t threads; void (*rest)(struct team *, int32_t *, int32_t, int32_t); }
                                                                 nv_context.user of whoever passes nv_pool_for; rest is nv_pool_rest
    struct share { word; task, arg, begin, units; threads, shares; }     two lines, as some processors fetch them in pairs
    struct slot { busy, generation; done; shares[]; }                    bit 31 of done: the caller sleeps
    struct page { epoch; sleepers; lock, started, stop, credit, processor, numbers, thread; handles[]; slots[] }
"""

from __future__ import annotations

from ...runtime.threads import MAX_THREADS
from .context import USER
from .pool_waiting import WAITING
from .target import Target

__all__ = ["PAGE_BYTES", "PAUSE", "pool_text"]

SLOTS = 8
SHARES = 64
"""Of a job at most; further threads have none of their own."""
PAGE_BYTES = -(-(384 + 8 * MAX_THREADS + SLOTS * (256 + 128 * SHARES)) // 4096) * 4096
"""Of %page, in whole pages."""
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
%share = type { i64, ptr, ptr, i64, i64, i64, i64, [9 x i64] }
%slot = type { i32, i32, [30 x i32], i64, [15 x i64], [<SHARES> x %share] }
%page = type { i32, [31 x i32], i32, [31 x i32], i32, i32, i32, i32, i32, i32, [2 x i32], ptr, [22 x i32], [<MAX> x i64], [<SLOTS> x %slot] }

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
declare i64 @llvm.umin.i64(i64, i64)
declare i32 @llvm.umin.i32(i32, i32)
declare i64 @llvm.ctlz.i64(i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.<PAUSE>(<PAUSE.TYPE>)

<WAITING>
; how many chunks a share of so many units is
define internal i64 @count(i64 %units) nounwind {
  %zeros = call i64 @llvm.ctlz.i64(i64 %units, i1 false)
  %count = sub i64 64, %zeros
  ret i64 %count
}

define internal void @chunk(ptr %task, ptr %arg, i64 %begin, i64 %units, i64 %number) nounwind {
  %left = lshr i64 %units, %number
  %then = lshr i64 %left, 1
  %last = add i64 %begin, %units
  %from = sub i64 %last, %left
  %to = sub i64 %last, %then
  call void %task(ptr %arg, i64 %from, i64 %to)
  ret void
}

; runs chunks of a share while there are any and thread `who` may, from its front or its back; gives how many
define internal i64 @run(ptr %share, i64 %who, i1 %back) nounwind {
entry:
  %task.at = getelementptr %share, ptr %share, i64 0, i32 1
  %arg.at = getelementptr %share, ptr %share, i64 0, i32 2
  %begin.at = getelementptr %share, ptr %share, i64 0, i32 3
  %units.at = getelementptr %share, ptr %share, i64 0, i32 4
  %threads.at = getelementptr %share, ptr %share, i64 0, i32 5
  br label %look
look:
  %ran = phi i64 [ 0, %entry ], [ %ran, %take ], [ %ran1, %won ]
  %word = load atomic i64, ptr %share acquire, align 64
  %front = and i64 %word, 65535
  %high = lshr i64 %word, 16
  %end = and i64 %high, 65535
  %some = icmp ult i64 %front, %end
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  %member = icmp ult i64 %who, %threads
  %go = and i1 %some, %member
  br i1 %go, label %take, label %done
take:
  %task = load atomic ptr, ptr %task.at monotonic, align 8
  %arg = load atomic ptr, ptr %arg.at monotonic, align 8
  %begin = load atomic i64, ptr %begin.at monotonic, align 8
  %units = load atomic i64, ptr %units.at monotonic, align 8
  %last = sub i64 %end, 1
  %number = select i1 %back, i64 %last, i64 %front
  %step = select i1 %back, i64 -65536, i64 1
  %after = add i64 %word, %step
  %pair = cmpxchg ptr %share, i64 %word, i64 %after acq_rel acquire, align 64
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %won, label %look
won:
  call void @chunk(ptr %task, ptr %arg, i64 %begin, i64 %units, i64 %number)
  %ran1 = add i64 %ran, 1
  br label %look
done:
  ret i64 %ran
}

; the share `k` places after `mine` of so many, in a ring
define internal ptr @victim(ptr %slot, i64 %mine, i64 %k, i64 %shares) nounwind {
  %up = add i64 %mine, %k
  %over = icmp uge i64 %up, %shares
  %less = sub i64 %up, %shares
  %place = select i1 %over, i64 %less, i64 %up
  %share = getelementptr %slot, ptr %slot, i64 0, i32 5, i64 %place
  ret ptr %share
}

; a worker's part in the job of a slot: its own share, then what is left of others; gives whether it ran any
define internal i1 @help(ptr %slot, i64 %who) nounwind {
entry:
  %mine = and i64 %who, <LAST.SHARE>
  %own = getelementptr %slot, ptr %slot, i64 0, i32 5, i64 %mine
  %done.at = getelementptr %slot, ptr %slot, i64 0, i32 3
  %shares.at = getelementptr %share, ptr %own, i64 0, i32 6
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %after ]
  %did = phi i1 [ false, %entry ], [ %did1, %after ]
  %shares = load atomic i64, ptr %shares.at monotonic, align 8
  %on = icmp ult i64 %k, %shares
  br i1 %on, label %work, label %over
work:
  %back = icmp ne i64 %k, 0
  %share = call ptr @victim(ptr %slot, i64 %mine, i64 %k, i64 %shares)
  %ran = call i64 @run(ptr %share, i64 %who, i1 %back)
  %none = icmp eq i64 %ran, 0
  br i1 %none, label %after, label %count
count:
  %old = atomicrmw add ptr %done.at, i64 %ran acq_rel, align 64
  %flag = and i64 %old, 2147483648
  %waits = icmp ne i64 %flag, 0
  br i1 %waits, label %ring, label %after
ring:
  call void @futex_wake(ptr %done.at, i32 1, i32 -1)
  br label %after
after:
  %did1 = phi i1 [ %did, %work ], [ true, %count ], [ true, %ring ]
  %k1 = add i64 %k, 1
  br label %next
over:
  ret i1 %did
}

define internal ptr @worker(ptr %page) nounwind {
entry:
  %sleepers = getelementptr %page, ptr %page, i64 0, i32 2
  %stop.at = getelementptr %page, ptr %page, i64 0, i32 6
  %numbers = getelementptr %page, ptr %page, i64 0, i32 9
  %number = atomicrmw add ptr %numbers, i32 1 monotonic, align 4
  %wide = zext i32 %number to i64
  %who = add i64 %wide, 1
  %mine = and i64 %who, <LAST.SHARE>
  %own = getelementptr %page, ptr %page, i64 0, i32 14, i64 0, i32 5, i64 %mine
  %place = call i32 @llvm.umin.i32(i32 %number, i32 31)
  %set = shl i32 1, %place
  br label %look
look:
  %epoch = load atomic i32, ptr %page seq_cst, align 64
  %seen = load atomic i64, ptr %own acquire, align 64
  %stop = load atomic i32, ptr %stop.at acquire, align 4
  %leave = icmp ne i32 %stop, 0
  br i1 %leave, label %left, label %scan
scan:
  %s = phi i64 [ 0, %look ], [ %s1, %scan ]
  %did = phi i1 [ false, %look ], [ %any, %scan ]
  %slot = getelementptr %page, ptr %page, i64 0, i32 14, i64 %s
  %ran = call i1 @help(ptr %slot, i64 %who)
  %any = or i1 %did, %ran
  %s1 = add i64 %s, 1
  %more = icmp ult i64 %s1, <SLOTS>
  br i1 %more, label %scan, label %idle
idle:
  br i1 %any, label %look, label %wait
wait:
  %moved = call i1 @spin(ptr %page, ptr %own, i64 %seen, ptr %page, i32 %epoch)
  br i1 %moved, label %look, label %sleep
sleep:
  %a = atomicrmw add ptr %sleepers, i32 1 seq_cst, align 64
  br label %last
last: ; a caller stores its shares, then looks for sleepers; what it stored may be on its way, for less time than this takes
  %k = phi i32 [ 0, %sleep ], [ %k1, %still ]
  %now = load atomic i64, ptr %own seq_cst, align 64
  %same = icmp eq i64 %now, %seen
  br i1 %same, label %still, label %up
still:
  call void @llvm.<PAUSE>(<PAUSE.ARGUMENT>)
  %k1 = add i32 %k, 1
  %again = icmp ult i32 %k1, 64
  br i1 %again, label %last, label %rest
rest:
  call void @futex_wait(ptr %page, i32 %epoch, i32 %set)
  br label %up
up:
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
  %handle = getelementptr %page, ptr %page, i64 0, i32 13, i64 %index
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
  %slot = getelementptr %page, ptr %page, i64 0, i32 14, i64 %s
  %pair = cmpxchg ptr %slot, i32 0, i32 1 acquire monotonic, align 64
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %post, label %other
other:
  %s1 = add i64 %s, 1
  %left = icmp ult i64 %s1, <SLOTS>
  br i1 %left, label %choose, label %all
post:
  %generation.at = getelementptr %slot, ptr %slot, i64 0, i32 1
  %last.g = load i32, ptr %generation.at, align 4
  %generation = add i32 %last.g, 1
  store i32 %generation, ptr %generation.at, align 4
  %wide.g = zext i32 %generation to i64
  %tag = shl i64 %wide.g, 32
  %done.at = getelementptr %slot, ptr %slot, i64 0, i32 3
  store atomic i64 0, ptr %done.at monotonic, align 64
  %shares = call i64 @llvm.umin.i64(i64 %threads, i64 <SHARES>)
  %each = udiv i64 %n, %shares
  %odd = urem i64 %n, %shares
  br label %cut
cut:
  %k = phi i64 [ 0, %post ], [ %k1, %cut ]
  %begin = phi i64 [ 0, %post ], [ %begin1, %cut ]
  %chunks = phi i64 [ 0, %post ], [ %chunks1, %cut ]
  %larger = icmp ult i64 %k, %odd
  %one.more = zext i1 %larger to i64
  %units = add i64 %each, %one.more
  %begin1 = add i64 %begin, %units
  %count = call i64 @count(i64 %units)
  %chunks1 = add i64 %chunks, %count
  %share = getelementptr %slot, ptr %slot, i64 0, i32 5, i64 %k
  %task.at = getelementptr %share, ptr %share, i64 0, i32 1
  %arg.at = getelementptr %share, ptr %share, i64 0, i32 2
  %begin.at = getelementptr %share, ptr %share, i64 0, i32 3
  %units.at = getelementptr %share, ptr %share, i64 0, i32 4
  %size.at = getelementptr %share, ptr %share, i64 0, i32 5
  %shares.at = getelementptr %share, ptr %share, i64 0, i32 6
  store atomic ptr %task, ptr %task.at monotonic, align 8
  store atomic ptr %arg, ptr %arg.at monotonic, align 8
  store atomic i64 %begin, ptr %begin.at monotonic, align 8
  store atomic i64 %units, ptr %units.at monotonic, align 8
  store atomic i64 %threads, ptr %size.at monotonic, align 8
  store atomic i64 %shares, ptr %shares.at monotonic, align 8
  %first = icmp eq i64 %k, 0
  %claimed = zext i1 %first to i64
  %end = shl i64 %count, 16
  %w0 = or i64 %tag, %end
  %word = or i64 %w0, %claimed
  store atomic i64 %word, ptr %share release, align 64
  %k1 = add i64 %k, 1
  %on = icmp ult i64 %k1, %shares
  br i1 %on, label %cut, label %posted
posted:
  %thread.at = getelementptr %page, ptr %page, i64 0, i32 11
  %me = call ptr @llvm.thread.pointer.p0()
  %known = load atomic ptr, ptr %thread.at monotonic, align 8
  %again = icmp eq ptr %known, %me
  %bits = and i32 %generation, 15
  %not.now = icmp ne i32 %bits, 0
  %quiet = and i1 %again, %not.now
  br i1 %quiet, label %tell, label %where
where:
  store atomic ptr %me, ptr %thread.at monotonic, align 8
  call void @here(ptr %page)
  br label %tell
tell:
  %main = icmp eq i64 %s, 0
  br i1 %main, label %asleep, label %ring
ring:
  %e = atomicrmw add ptr %page, i32 1 seq_cst, align 64
  br label %asleep
asleep:
  %sleepers.at = getelementptr %page, ptr %page, i64 0, i32 2
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 64
  %any.sleep = icmp sgt i32 %sleepers, 0
  br i1 %any.sleep, label %credit, label %work
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
  %up = atomicrmw add ptr %page, i32 1 seq_cst, align 64
  %others = sub i64 %n, 1
  %woken = call i64 @llvm.smin.i64(i64 %others, i64 %helpers)
  %woken32 = trunc i64 %woken to i32
  %all.up = icmp sgt i32 %woken32, 31
  %above = shl i32 1, %woken32
  %below = sub i32 %above, 1
  %members = select i1 %all.up, i32 -1, i32 %below
  call void @futex_wake(ptr %page, i32 %woken32, i32 %members)
  br label %work
work:
  %odd.one = icmp ne i64 %odd, 0
  %more.one = zext i1 %odd.one to i64
  %units.0 = add i64 %each, %more.one
  call void @chunk(ptr %task, ptr %arg, i64 0, i64 %units.0, i64 0)
  br label %own
own:
  %v = phi i64 [ 0, %work ], [ %v1, %own ]
  %mine = phi i64 [ 1, %work ], [ %mine1, %own ]
  %back = icmp ne i64 %v, 0
  %share.v = getelementptr %slot, ptr %slot, i64 0, i32 5, i64 %v
  %ran = call i64 @run(ptr %share.v, i64 0, i1 %back)
  %mine1 = add i64 %mine, %ran
  %v1 = add i64 %v, 1
  %on.v = icmp ult i64 %v1, %shares
  br i1 %on.v, label %own, label %ours
ours:
  %theirs = sub i64 %chunks1, %mine1
  br label %wait
wait:
  %now = load atomic i64, ptr %done.at acquire, align 64
  %so.far = and i64 %now, 2147483647
  %over = icmp eq i64 %so.far, %theirs
  br i1 %over, label %finish, label %turn
turn:
  %now32 = trunc i64 %now to i32
  %moved = call i1 @spin(ptr null, ptr %done.at, i64 %now, ptr %done.at, i32 %now32)
  br i1 %moved, label %wait, label %flag
flag:
  %flagged = or i64 %now, 2147483648
  %swap = cmpxchg ptr %done.at, i64 %now, i64 %flagged acq_rel acquire, align 64
  %set = extractvalue { i64, i1 } %swap, 1
  br i1 %set, label %sleep, label %wait
sleep:
  %flagged32 = trunc i64 %flagged to i32
  call void @futex_wait(ptr %done.at, i32 %flagged32, i32 -1)
  br label %wait
finish:
  store atomic i32 0, ptr %slot release, align 64
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
  call void @futex_wake(ptr %page, i32 2147483647, i32 -1)
  %started = load atomic i32, ptr %started.at acquire, align 4
  %count = zext i32 %started to i64
  br label %next
next:
  %i = phi i64 [ 0, %ring ], [ %i1, %join ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %join, label %done
join:
  %at = getelementptr %page, ptr %page, i64 0, i32 13, i64 %i
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
        "LAST.SHARE": SHARES - 1,
        "SHARES": SHARES,
        "SPIN": SPIN,
        "WAKE": WAKE,
        "MOMENT": MOMENT,
        "USER": USER,
    }
    pause, kind, argument = PAUSE[machine]
    words = {"FUTEX": _FUTEX[machine], "PAUSE": pause, "PAUSE.TYPE": kind, "PAUSE.ARGUMENT": argument}
    text = _TEXT.replace("<WAITING>", WAITING.strip())
    for name, word in {**words, **numbers}.items():
        text = text.replace(f"<{name}>", str(word))
    return text
