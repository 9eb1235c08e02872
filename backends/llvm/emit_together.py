"""Loops that threads run together, as LLVM text: a task that each of them enters once, and how they meet in it.

The steps of such a loop are *phases*, counted from 1. In each there are as many shares as threads. A thread claims its own
share first, then any that nobody has begun; when all are claimed, it waits until they are done. So no share
depends on who comes: a thread that comes late, or never, finds its shares done by others, and catches up by finding every phase
over; the caller alone does all. Control flow depends on sizes alone, and is the same for all; whatever depends on data (a branch, a
while) is one share. Who waits spins for a bounded while, then gives way to others, then sleeps for moments.

    struct board { int32_t tickets; line lines[]; }     one of 64 bytes each; on the caller's stack
    struct line  { int32_t claimed, done; }             the last phase of this share that was begun, and that was finished
"""

from __future__ import annotations

from collections.abc import Callable

from . import context
from .builder import Module, V
from .emit_loops import LoopEmitter
from .pool_text import PAUSE
from .target import Target

__all__ = ["BOARD_BYTES", "add_meeting", "phase"]

MOST = 64
"""Threads in one loop at most."""
BOARD_BYTES = 64 * (MOST + 1)
SPIN = 64
"""Pauses before who waits gives way: a microsecond or two."""

_THREADS = f"""define internal i64 @nv_threads(ptr %ctx) nounwind {{
entry:
  %team.at = getelementptr ptr, ptr %ctx, i64 {context.USER}
  %team = load ptr, ptr %team.at, align 8
  %none = icmp eq ptr %team, null
  br i1 %none, label %alone, label %some
alone:
  ret i64 1
some:
  %threads.at = getelementptr i64, ptr %team, i64 1
  %threads = load atomic i64, ptr %threads.at monotonic, align 8
  %many = icmp sgt i64 %threads, {MOST}
  %most = select i1 %many, i64 {MOST}, i64 %threads
  ret i64 %most
}}
"""

_TEXT = """
; the number of a thread that enters, or -1 where enough have, or all is done
define internal i64 @nv_enter(ptr %board, i64 %threads) nounwind {
  %ticket = atomicrmw add ptr %board, i32 1 monotonic, align 64
  %wide = zext i32 %ticket to i64
  %room = icmp ult i64 %wide, %threads
  %who = select i1 %room, i64 %wide, i64 -1
  ret i64 %who
}

; all is done: who enters from now on finds no room
define internal void @nv_leave(ptr %board) nounwind {
  store atomic i32 1073741824, ptr %board monotonic, align 64
  ret void
}

; a share of this phase that is now the caller's, its own if that is left; -1 where all are claimed
define internal i64 @nv_claim(ptr %board, i64 %threads, i64 %who, i32 %phase) nounwind {
entry:
  %before = sub i32 %phase, 1
  br label %look
look:
  %n = phi i64 [ 0, %entry ], [ %n1, %next ]
  %up = add i64 %who, %n
  %over = icmp uge i64 %up, %threads
  %less = sub i64 %up, %threads
  %share = select i1 %over, i64 %less, i64 %up
  %place = add i64 %share, 1
  %line = getelementptr [16 x i32], ptr %board, i64 %place
  %seen = load atomic i32, ptr %line monotonic, align 64
  %open = icmp eq i32 %seen, %before
  br i1 %open, label %take, label %next
take:
  %pair = cmpxchg ptr %line, i32 %before, i32 %phase acquire monotonic, align 64
  %won = extractvalue { i32, i1 } %pair, 1
  br i1 %won, label %mine, label %next
mine:
  ret i64 %share
next:
  %n1 = add i64 %n, 1
  %more = icmp ult i64 %n1, %threads
  br i1 %more, label %look, label %none
none:
  ret i64 -1
}

define internal void @nv_done(ptr %board, i64 %share, i32 %phase) nounwind {
  %place = add i64 %share, 1
  %done = getelementptr [16 x i32], ptr %board, i64 %place, i64 1
  store atomic i32 %phase, ptr %done release, align 4
  ret void
}

; waits until all shares of this phase are done
define internal void @nv_meet(ptr %ctx, ptr %board, i64 %threads, i32 %phase) nounwind {
entry:
  br label %share
share:
  %n = phi i64 [ 0, %entry ], [ %n1, %ready ]
  %place = add i64 %n, 1
  %done = getelementptr [16 x i32], ptr %board, i64 %place, i64 1
  br label %turn
turn:
  %t = phi i32 [ 0, %share ], [ %t1, %rest ]
  br label %look
look:
  %k = phi i32 [ 0, %turn ], [ %k1, %again ]
  %seen = load atomic i32, ptr %done acquire, align 4
  %left = sub i32 %seen, %phase
  %met = icmp sge i32 %left, 0
  br i1 %met, label %ready, label %again
again:
  call void @llvm.<PAUSE>(<PAUSE.ARGUMENT>)
  %k1 = add i32 %k, 1
  %more = icmp ult i32 %k1, <SPIN>
  br i1 %more, label %look, label %rest
rest:
  %team.at = getelementptr ptr, ptr %ctx, i64 <USER>
  %team = load ptr, ptr %team.at, align 8
  %rest.at = getelementptr ptr, ptr %team, i64 2
  %function = load ptr, ptr %rest.at, align 8
  call void %function(ptr %team, ptr %done, i32 %seen, i32 %t)
  %t1 = add i32 %t, 1
  br label %turn
ready:
  %n1 = add i64 %n, 1
  %on = icmp ult i64 %n1, %threads
  br i1 %on, label %share, label %over
over:
  ret void
}
"""


def add_meeting(module: Module, target: Target) -> None:
    """Add the functions that the tasks call."""
    if "@nv_meet" in module.functions:
        return
    pause, kind, argument = PAUSE[target.triple.partition("-")[0]]
    module.declare(f"void @llvm.{pause}({kind})")
    words = {"PAUSE": pause, "PAUSE.ARGUMENT": argument, "SPIN": str(SPIN), "USER": str(context.USER)}
    text = _TEXT
    for name, word in words.items():
        text = text.replace(f"<{name}>", word)
    module.functions["@nv_threads"] = _THREADS
    module.functions["@nv_meet"] = text


def phase(e: LoopEmitter, board: V, threads: V, who: V, at: V, run: Callable[[V], object]) -> None:
    """One phase of a task: `run` emits what a share is, then all meet. `at` is where this thread's count of phases lies."""
    b = e.b
    last = b.fixed(f"load i32, ptr {at.text}, align 4", "i32")
    number = b.fixed(f"add i32 {last.text}, 1", "i32")
    b.effect(f"store i32 {number.text}, ptr {at.text}, align 4")
    head, inside, after = b.label(), b.label(), b.label()
    b.open(head)
    given = f"ptr {board.text}, i64 {threads.text}, i64 {who.text}, i32 {number.text}"
    share = b.fixed(f"call i64 @nv_claim({given})", "i64")
    some = b.fixed(f"icmp sge i64 {share.text}, 0", "i1")
    b.effect(f"br i1 {some.text}, label %{inside}, label %{after}")
    b.here.lines.append(f"{inside}:")
    b.here.label = inside
    run(share)
    b.effect(f"call void @nv_done(ptr {board.text}, i64 {share.text}, i32 {number.text})")
    b.effect(f"br label %{head}")
    scope = b.close()
    b.here.lines += [f"  br label %{head}", f"{head}:", *scope.lines, f"{after}:"]
    b.here.label = after
    b.effect(f"call void @nv_meet(ptr %ctx, ptr {board.text}, i64 {threads.text}, i32 {number.text})")
