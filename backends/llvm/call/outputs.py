"""The call as LLVM text: whether `out` fits, or new arrays in its place."""

from __future__ import annotations

__all__ = ["OUTPUTS"]

OUTPUTS = """
; whether the bytes of two arrays meet
define internal i1 @overlap(ptr %x, ptr %x.port, ptr %y, ptr %y.port) nounwind {
  %nx = call i64 @elements(ptr %x)
  %ny = call i64 @elements(ptr %y)
  %sx.at = getelementptr %port, ptr %x.port, i64 0, i32 3
  %sx = load i64, ptr %sx.at, align 8
  %sy.at = getelementptr %port, ptr %y.port, i64 0, i32 3
  %sy = load i64, ptr %sy.at, align 8
  %bx = mul i64 %nx, %sx
  %by = mul i64 %ny, %sy
  %x.at = getelementptr i8, ptr %x, i64 16
  %x0 = load i64, ptr %x.at, align 8
  %y.at = getelementptr i8, ptr %y, i64 16
  %y0 = load i64, ptr %y.at, align 8
  %x1 = add i64 %x0, %bx
  %y1 = add i64 %y0, %by
  %a = icmp ult i64 %x0, %y1
  %b = icmp ult i64 %y0, %x1
  %ab = and i1 %a, %b
  ret i1 %ab
}

; whether `out` fits: an array, or a tuple of as many as there are outputs, apart from each other and from the inputs
define internal i1 @outputs_fit(ptr %call, ptr %out, ptr %args, ptr %dims, ptr %values, ptr %found, ptr %outs) nounwind {
entry:
  %inputs.at = getelementptr %call, ptr %call, i64 0, i32 7
  %inputs = load i64, ptr %inputs.at, align 8
  %outputs.at = getelementptr %call, ptr %call, i64 0, i32 8
  %outputs = load i64, ptr %outputs.at, align 8
  %in.ports.at = getelementptr %call, ptr %call, i64 0, i32 10
  %in.ports = load ptr, ptr %in.ports.at, align 8
  %ports.at = getelementptr %call, ptr %call, i64 0, i32 11
  %ports = load ptr, ptr %ports.at, align 8
  %tuple.at = getelementptr %call, ptr %call, i64 0, i32 22
  %tuple = load ptr, ptr %tuple.at, align 8
  %type.at = getelementptr i8, ptr %out, i64 8
  %type = load ptr, ptr %type.at, align 8
  %many = icmp eq ptr %type, %tuple
  br i1 %many, label %count, label %single
single:
  %one = icmp eq i64 %outputs, 1
  store ptr %out, ptr %found, align 8
  br i1 %one, label %each, label %no
count:
  %size = call i64 @PyTuple_Size(ptr %out)
  %enough = icmp eq i64 %size, %outputs
  br i1 %enough, label %item, label %no
item:
  %k = phi i64 [ 0, %count ], [ %k1, %get ]
  %items = icmp ult i64 %k, %outputs
  br i1 %items, label %get, label %each
get:
  %member = call ptr @PyTuple_GetItem(ptr %out, i64 %k)
  %slot = getelementptr ptr, ptr %found, i64 %k
  store ptr %member, ptr %slot, align 8
  %k1 = add i64 %k, 1
  br label %item
each:
  %i = phi i64 [ 0, %single ], [ 0, %item ], [ %i1, %fresh ]
  %more = icmp ult i64 %i, %outputs
  br i1 %more, label %check, label %yes
check:
  %y.at = getelementptr ptr, ptr %found, i64 %i
  %y = load ptr, ptr %y.at, align 8
  %port = getelementptr %port, ptr %ports, i64 %i
  ; C_CONTIGUOUS, ALIGNED, WRITEABLE
  %good = call i1 @is_array(ptr %call, ptr %y, ptr %port, i32 1281)
  br i1 %good, label %shape, label %no
shape:
  %fits = call i1 @shaped(ptr %y, ptr %port, ptr %dims, ptr %values)
  br i1 %fits, label %with.inputs, label %no
with.inputs:
  %j = phi i64 [ 0, %shape ], [ %j1, %input ]
  %others = icmp ult i64 %j, %inputs
  br i1 %others, label %input, label %with.outputs
input:
  %x.at = getelementptr ptr, ptr %args, i64 %j
  %x = load ptr, ptr %x.at, align 8
  %x.port = getelementptr %port, ptr %in.ports, i64 %j
  %meets = call i1 @overlap(ptr %x, ptr %x.port, ptr %y, ptr %port)
  %j1 = add i64 %j, 1
  br i1 %meets, label %no, label %with.inputs
with.outputs:
  %m = phi i64 [ 0, %with.inputs ], [ %m1, %output ]
  %earlier = icmp ult i64 %m, %i
  br i1 %earlier, label %output, label %fresh
output:
  %z.at = getelementptr ptr, ptr %found, i64 %m
  %z = load ptr, ptr %z.at, align 8
  %z.port = getelementptr %port, ptr %ports, i64 %m
  %meets.z = call i1 @overlap(ptr %z, ptr %z.port, ptr %y, ptr %port)
  %m1 = add i64 %m, 1
  br i1 %meets.z, label %no, label %with.outputs
fresh:
  %data.at = getelementptr i8, ptr %y, i64 16
  %data = load ptr, ptr %data.at, align 8
  %to = getelementptr ptr, ptr %outs, i64 %i
  store ptr %data, ptr %to, align 8
  %i1 = add i64 %i, 1
  br label %each
yes:
  ret i1 true
no:
  ret i1 false
}

; new arrays for all outputs; how many were made
define internal i64 @new_outputs(ptr %call, ptr %dims, ptr %values, ptr %found, ptr %outs) nounwind {
entry:
  %shape = alloca [64 x i64], align 8
  %outputs.at = getelementptr %call, ptr %call, i64 0, i32 8
  %outputs = load i64, ptr %outputs.at, align 8
  %ports.at = getelementptr %call, ptr %call, i64 0, i32 11
  %ports = load ptr, ptr %ports.at, align 8
  %memory.at = getelementptr %call, ptr %call, i64 0, i32 26
  %memory = load ptr, ptr %memory.at, align 8
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %i1, %made ]
  %more = icmp ult i64 %i, %outputs
  br i1 %more, label %begin, label %done
begin:
  %port = getelementptr %port, ptr %ports, i64 %i
  %descr = load ptr, ptr %port, align 8
  %rank.at = getelementptr %port, ptr %port, i64 0, i32 1
  %rank = load i64, ptr %rank.at, align 8
  %axes.at = getelementptr %port, ptr %port, i64 0, i32 2
  %axes = load ptr, ptr %axes.at, align 8
  %size.at = getelementptr %port, ptr %port, i64 0, i32 3
  %size = load i64, ptr %size.at, align 8
  br label %next
next:
  %k = phi i64 [ 0, %begin ], [ %k1, %step ]
  %bytes = phi i64 [ %size, %begin ], [ %bytes1, %step ]
  %left = icmp ult i64 %k, %rank
  br i1 %left, label %step, label %make
step:
  %axis = getelementptr %axis, ptr %axes, i64 %k
  %d = call i64 @extent(ptr %axis, ptr %dims, ptr %values)
  %d.at = getelementptr i64, ptr %shape, i64 %k
  store i64 %d, ptr %d.at, align 8
  %bytes1 = mul i64 %bytes, %d
  %k1 = add i64 %k, 1
  br label %next
make:
  %nd = trunc i64 %rank to i32
  call void @Py_IncRef(ptr %descr)
  %y = call ptr @nv_new_array(ptr %memory, ptr %descr, i32 %nd, ptr %shape, i64 %bytes)
  %failed = icmp eq ptr %y, null
  br i1 %failed, label %done, label %made
made:
  %slot = getelementptr ptr, ptr %found, i64 %i
  store ptr %y, ptr %slot, align 8
  %data.at = getelementptr i8, ptr %y, i64 16
  %data = load ptr, ptr %data.at, align 8
  %to = getelementptr ptr, ptr %outs, i64 %i
  store ptr %data, ptr %to, align 8
  %i1 = add i64 %i, 1
  br label %each
done:
  ret i64 %i
}

define internal void @drop(ptr %found, i64 %n) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %step, label %done
step:
  %at = getelementptr ptr, ptr %found, i64 %i
  %x = load ptr, ptr %at, align 8
  call void @Py_DecRef(ptr %x)
  %i1 = add i64 %i, 1
  br label %next
done:
  ret void
}
"""
