"""The call as LLVM text: whether arrays are what a signature asks, and the symbols that their shapes bind."""

from __future__ import annotations

__all__ = ["INPUTS"]

INPUTS = """
; whether x is exactly an array of the port's rank and element type, with all of these flags
define internal i1 @is_array(ptr %call, ptr %x, ptr %port, i32 %flags) nounwind {
entry:
  %type.at = getelementptr i8, ptr %x, i64 8
  %type = load ptr, ptr %type.at, align 8
  %array.at = getelementptr %call, ptr %call, i64 0, i32 21
  %array = load ptr, ptr %array.at, align 8
  %exact = icmp eq ptr %type, %array
  br i1 %exact, label %fields, label %no
fields:
  %nd.at = getelementptr i8, ptr %x, i64 24
  %nd = load i32, ptr %nd.at, align 4
  %rank.at = getelementptr %port, ptr %port, i64 0, i32 1
  %rank64 = load i64, ptr %rank.at, align 8
  %rank = trunc i64 %rank64 to i32
  %descr.at = getelementptr i8, ptr %x, i64 56
  %descr = load ptr, ptr %descr.at, align 8
  %want = load ptr, ptr %port, align 8
  %has.at = getelementptr i8, ptr %x, i64 64
  %has = load i32, ptr %has.at, align 4
  %common = and i32 %has, %flags
  %a = icmp eq i32 %nd, %rank
  %b = icmp eq ptr %descr, %want
  %c = icmp eq i32 %common, %flags
  %ab = and i1 %a, %b
  %abc = and i1 %ab, %c
  ret i1 %abc
no:
  ret i1 false
}

; the symbols that an input's axes bind; false where one leaves its range
define internal i1 @bind(ptr %call, ptr %x, ptr %port, ptr %dims) nounwind {
entry:
  %rank.at = getelementptr %port, ptr %port, i64 0, i32 1
  %rank = load i64, ptr %rank.at, align 8
  %axes.at = getelementptr %port, ptr %port, i64 0, i32 2
  %axes = load ptr, ptr %axes.at, align 8
  %shape.at = getelementptr i8, ptr %x, i64 32
  %shape = load ptr, ptr %shape.at, align 8
  %ranges.at = getelementptr %call, ptr %call, i64 0, i32 12
  %ranges = load ptr, ptr %ranges.at, align 8
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %more = icmp ult i64 %i, %rank
  br i1 %more, label %look, label %yes
look:
  %axis = getelementptr %axis, ptr %axes, i64 %i
  %kind = load i64, ptr %axis, align 8
  %binds = icmp eq i64 %kind, 1
  br i1 %binds, label %range, label %step
range:
  %number.at = getelementptr %axis, ptr %axis, i64 0, i32 1
  %number = load i64, ptr %number.at, align 8
  %d.at = getelementptr i64, ptr %shape, i64 %i
  %size = load i64, ptr %d.at, align 8
  %scale.at = getelementptr %axis, ptr %axis, i64 0, i32 2
  %scale = load i64, ptr %scale.at, align 8
  %added.at = getelementptr %axis, ptr %axis, i64 0, i32 3
  %added = load i64, ptr %added.at, align 8
  %part = sub i64 %size, %added
  %once = icmp eq i64 %scale, 1
  br i1 %once, label %limits, label %divide
divide: ; what is left is found by `shaped`
  %times = sdiv i64 %part, %scale
  br label %limits
limits:
  %d = phi i64 [ %part, %range ], [ %times, %divide ]
  %lo.at = getelementptr %range, ptr %ranges, i64 %number
  %lo = load i64, ptr %lo.at, align 8
  %hi.at = getelementptr %range, ptr %ranges, i64 %number, i32 1
  %hi = load i64, ptr %hi.at, align 8
  %above = icmp sge i64 %d, %lo
  %below = icmp sle i64 %d, %hi
  %inside = and i1 %above, %below
  %to = getelementptr i64, ptr %dims, i64 %number
  store i64 %d, ptr %to, align 8
  br i1 %inside, label %step, label %no
step:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i64 @extent(ptr %axis, ptr %dims, ptr %values) nounwind {
  %kind = load i64, ptr %axis, align 8
  %number.at = getelementptr %axis, ptr %axis, i64 0, i32 1
  %number = load i64, ptr %number.at, align 8
  %constant = icmp eq i64 %kind, 0
  br i1 %constant, label %itself, label %table
itself:
  ret i64 %number
table:
  %valued = icmp eq i64 %kind, 3
  %from = select i1 %valued, ptr %values, ptr %dims
  %at = getelementptr i64, ptr %from, i64 %number
  %found = load i64, ptr %at, align 8
  %scale.at = getelementptr %axis, ptr %axis, i64 0, i32 2
  %scale = load i64, ptr %scale.at, align 8
  %added.at = getelementptr %axis, ptr %axis, i64 0, i32 3
  %added = load i64, ptr %added.at, align 8
  %scaled = mul i64 %found, %scale
  %extent = add i64 %scaled, %added
  ret i64 %extent
}

; whether the array's shape is the port's
define internal i1 @shaped(ptr %x, ptr %port, ptr %dims, ptr %values) nounwind {
entry:
  %rank.at = getelementptr %port, ptr %port, i64 0, i32 1
  %rank = load i64, ptr %rank.at, align 8
  %axes.at = getelementptr %port, ptr %port, i64 0, i32 2
  %axes = load ptr, ptr %axes.at, align 8
  %shape.at = getelementptr i8, ptr %x, i64 32
  %shape = load ptr, ptr %shape.at, align 8
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %more = icmp ult i64 %i, %rank
  br i1 %more, label %step, label %yes
step:
  %axis = getelementptr %axis, ptr %axes, i64 %i
  %want = call i64 @extent(ptr %axis, ptr %dims, ptr %values)
  %d.at = getelementptr i64, ptr %shape, i64 %i
  %d = load i64, ptr %d.at, align 8
  %same = icmp eq i64 %d, %want
  %i1 = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i64 @elements(ptr %x) nounwind {
entry:
  %nd.at = getelementptr i8, ptr %x, i64 24
  %nd32 = load i32, ptr %nd.at, align 4
  %nd = zext i32 %nd32 to i64
  %shape.at = getelementptr i8, ptr %x, i64 32
  %shape = load ptr, ptr %shape.at, align 8
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %n = phi i64 [ 1, %entry ], [ %n1, %step ]
  %more = icmp ult i64 %i, %nd
  br i1 %more, label %step, label %done
step:
  %d.at = getelementptr i64, ptr %shape, i64 %i
  %d = load i64, ptr %d.at, align 8
  %n1 = mul i64 %n, %d
  %i1 = add i64 %i, 1
  br label %next
done:
  ret i64 %n
}

; whether all integers of an input lie in the port's range
define internal i1 @in_range(ptr %x, ptr %port) nounwind {
entry:
  %size.at = getelementptr %port, ptr %port, i64 0, i32 4
  %size = load i64, ptr %size.at, align 8
  %checked = icmp ne i64 %size, 0
  br i1 %checked, label %begin, label %yes
begin:
  %n = call i64 @elements(ptr %x)
  %data.at = getelementptr i8, ptr %x, i64 16
  %data = load ptr, ptr %data.at, align 8
  %low.at = getelementptr %port, ptr %port, i64 0, i32 5
  %low = load i64, ptr %low.at, align 8
  %span.at = getelementptr %port, ptr %port, i64 0, i32 6
  %span = load i64, ptr %span.at, align 8
  %wide = icmp eq i64 %size, 8
  br label %next
next:
  %i = phi i64 [ 0, %begin ], [ %i1, %test ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %read, label %yes
read:
  br i1 %wide, label %read64, label %read32
read64:
  %at64 = getelementptr i64, ptr %data, i64 %i
  %v64 = load i64, ptr %at64, align 8
  br label %test
read32:
  %at32 = getelementptr i32, ptr %data, i64 %i
  %v = load i32, ptr %at32, align 4
  %v32 = sext i32 %v to i64
  br label %test
test:
  %value = phi i64 [ %v64, %read64 ], [ %v32, %read32 ]
  %above = sub i64 %value, %low
  %inside = icmp ult i64 %above, %span
  %i1 = add i64 %i, 1
  br i1 %inside, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""
