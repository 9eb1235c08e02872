"""The call as LLVM text: the vectorcall functions of an executable and of a raw call."""

from __future__ import annotations

__all__ = ["ENTRY"]

ENTRY = """
; slow(self, *args, **kw)
define internal ptr @slowly(ptr %slow, ptr %self, ptr %args, i64 %n, ptr %kw) nounwind {
entry:
  %plain = icmp eq ptr %kw, null
  br i1 %plain, label %copy, label %named
named:
  %k = call i64 @PyTuple_Size(ptr %kw)
  br label %copy
copy:
  %names = phi i64 [ 0, %entry ], [ %k, %named ]
  %all = add i64 %n, %names
  %more = add i64 %all, 1
  %given = alloca ptr, i64 %more, align 8
  store ptr %self, ptr %given, align 8
  %rest = getelementptr ptr, ptr %given, i64 1
  %bytes = shl i64 %all, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %rest, ptr %args, i64 %bytes, i1 false)
  %count = add i64 %n, 1
  %result = call ptr @PyObject_Vectorcall(ptr %slow, ptr %given, i64 %count, ptr %kw)
  ret ptr %result
}

define ptr @nv_call(ptr %self, ptr %args, i64 %nargsf, ptr %kw) nounwind {
entry:
  %call.at = getelementptr i8, ptr %self, i64 <CALL>
  %call = load ptr, ptr %call.at, align 8
  %n = and i64 %nargsf, 9223372036854775807
  %ready = load i64, ptr %call, align 8
  %inputs.at = getelementptr %call, ptr %call, i64 0, i32 7
  %inputs = load i64, ptr %inputs.at, align 8
  %armed = icmp ne i64 %ready, 0
  %count = icmp eq i64 %n, %inputs
  %go = and i1 %armed, %count
  br i1 %go, label %keywords, label %slow
keywords:
  %plain = icmp eq ptr %kw, null
  br i1 %plain, label %begin, label %named
named:
  %names = call i64 @PyTuple_Size(ptr %kw)
  %one = icmp eq i64 %names, 1
  br i1 %one, label %name, label %slow
name:
  %word = call ptr @PyTuple_GetItem(ptr %kw, i64 0)
  %wanted.at = getelementptr %call, ptr %call, i64 0, i32 23
  %wanted = load ptr, ptr %wanted.at, align 8
  %is.out = icmp eq ptr %word, %wanted
  br i1 %is.out, label %value, label %slow
value:
  %value.at = getelementptr ptr, ptr %args, i64 %n
  %given = load ptr, ptr %value.at, align 8
  %none.at = getelementptr %call, ptr %call, i64 0, i32 24
  %none = load ptr, ptr %none.at, align 8
  %is.none = icmp eq ptr %given, %none
  %chosen = select i1 %is.none, ptr null, ptr %given
  br label %begin
begin:
  %out = phi ptr [ null, %keywords ], [ %chosen, %value ]
  %outputs.at = getelementptr %call, ptr %call, i64 0, i32 8
  %outputs = load i64, ptr %outputs.at, align 8
  %symbols.at = getelementptr %call, ptr %call, i64 0, i32 9
  %symbols = load i64, ptr %symbols.at, align 8
  %number.at = getelementptr %call, ptr %call, i64 0, i32 25
  %number = load i64, ptr %number.at, align 8
  %ports.at = getelementptr %call, ptr %call, i64 0, i32 10
  %ports = load ptr, ptr %ports.at, align 8
  %ins = alloca ptr, i64 %inputs, align 8
  %outs = alloca ptr, i64 %outputs, align 8
  %found = alloca ptr, i64 %outputs, align 8
  %dims = alloca i64, i64 %symbols, align 8
  %values = alloca i64, i64 %number, align 8
  br label %input
input:
  %i = phi i64 [ 0, %begin ], [ %i1, %bound ]
  %more = icmp ult i64 %i, %inputs
  br i1 %more, label %array, label %measure
array:
  %x.at = getelementptr ptr, ptr %args, i64 %i
  %x = load ptr, ptr %x.at, align 8
  %port = getelementptr %port, ptr %ports, i64 %i
  ; C_CONTIGUOUS, ALIGNED
  %good = call i1 @is_array(ptr %call, ptr %x, ptr %port, i32 257)
  br i1 %good, label %data, label %slow
data:
  %data.at = getelementptr i8, ptr %x, i64 16
  %pointer = load ptr, ptr %data.at, align 8
  %in.at = getelementptr ptr, ptr %ins, i64 %i
  store ptr %pointer, ptr %in.at, align 8
  %binds = call i1 @bind(ptr %call, ptr %x, ptr %port, ptr %dims)
  br i1 %binds, label %bound, label %slow
bound:
  %i1 = add i64 %i, 1
  br label %input
measure:
  %arena = call i64 @sizes(ptr %call, ptr %dims, ptr %values)
  %cost = load i64, ptr %values, align 8
  br label %again
again:
  %j = phi i64 [ 0, %measure ], [ %j1, %range ]
  %left = icmp ult i64 %j, %inputs
  br i1 %left, label %shape, label %lock
shape:
  %y.at = getelementptr ptr, ptr %args, i64 %j
  %y = load ptr, ptr %y.at, align 8
  %y.port = getelementptr %port, ptr %ports, i64 %j
  %fits = call i1 @shaped(ptr %y, ptr %y.port, ptr %dims, ptr %values)
  br i1 %fits, label %range, label %slow
range:
  %inside = call i1 @in_range(ptr %y, ptr %y.port)
  %j1 = add i64 %j, 1
  br i1 %inside, label %again, label %slow
lock:
  %acquire.at = getelementptr %call, ptr %call, i64 0, i32 19
  %acquire = load ptr, ptr %acquire.at, align 8
  %release.at = getelementptr %call, ptr %call, i64 0, i32 20
  %release = load ptr, ptr %release.at, align 8
  %entered = call i1 @lock(ptr %acquire)
  br i1 %entered, label %where, label %error
where:
  %fresh = icmp eq ptr %out, null
  br i1 %fresh, label %new, label %reuse
reuse:
  %all.fit = call i1 @outputs_fit(ptr %call, ptr %out, ptr %args, ptr %dims, ptr %values, ptr %found, ptr %outs)
  br i1 %all.fit, label %run, label %unlock
new:
  %made = call i64 @new_outputs(ptr %call, ptr %dims, ptr %values, ptr %found, ptr %outs)
  %whole = icmp eq i64 %made, %outputs
  br i1 %whole, label %run, label %no.memory
no.memory:
  ; the slow way says so
  call void @PyErr_Clear()
  call void @drop(ptr %found, i64 %made)
  br label %unlock
run:
  %done = call i1 @run(ptr %call, ptr %ins, ptr %outs, ptr %dims, i64 %arena, i64 %cost)
  br i1 %done, label %finish, label %undo
undo:
  br i1 %fresh, label %forget, label %unlock
forget:
  call void @drop(ptr %found, i64 %outputs)
  br label %unlock
unlock:
  %left.lock = call i1 @lock(ptr %release)
  br i1 %left.lock, label %slow, label %error
finish:
  %left.well = call i1 @lock(ptr %release)
  br i1 %left.well, label %results, label %drop.results
drop.results:
  br i1 %fresh, label %drop.them, label %error
drop.them:
  call void @drop(ptr %found, i64 %outputs)
  br label %error
results:
  br i1 %fresh, label %how.many, label %same
same:
  call void @Py_IncRef(ptr %out)
  ret ptr %out
how.many:
  switch i64 %outputs, label %tuple [ i64 0, label %nothing
                                      i64 1, label %single ]
nothing:
  %nil.at = getelementptr %call, ptr %call, i64 0, i32 24
  %nil = load ptr, ptr %nil.at, align 8
  call void @Py_IncRef(ptr %nil)
  ret ptr %nil
single:
  %only = load ptr, ptr %found, align 8
  ret ptr %only
tuple:
  %all = call ptr @PyTuple_New(i64 %outputs)
  %no.tuple = icmp eq ptr %all, null
  br i1 %no.tuple, label %drop.them, label %fill
fill:
  %k = phi i64 [ 0, %tuple ], [ %k1, %put ]
  %rest = icmp ult i64 %k, %outputs
  br i1 %rest, label %put, label %full
put:
  %item.at = getelementptr ptr, ptr %found, i64 %k
  %item = load ptr, ptr %item.at, align 8
  %set = call i32 @PyTuple_SetItem(ptr %all, i64 %k, ptr %item)
  %k1 = add i64 %k, 1
  br label %fill
full:
  ret ptr %all
error:
  ret ptr null
slow:
  %slow.at = getelementptr %call, ptr %call, i64 0, i32 17
  %function = load ptr, ptr %slow.at, align 8
  %result = call ptr @slowly(ptr %function, ptr %self, ptr %args, i64 %n, ptr %kw)
  ret ptr %result
}

define ptr @nv_call_raw(ptr %self, ptr %args, i64 %nargsf, ptr %kw) nounwind {
entry:
  %raw.at = getelementptr i8, ptr %self, i64 <RAW>
  %raw = load ptr, ptr %raw.at, align 8
  %n = and i64 %nargsf, 9223372036854775807
  %no.args = icmp eq i64 %n, 0
  %no.names = icmp eq ptr %kw, null
  %plain = and i1 %no.args, %no.names
  %call = load ptr, ptr %raw, align 8
  br i1 %plain, label %lock, label %slow
lock:
  %acquire.at = getelementptr %call, ptr %call, i64 0, i32 19
  %acquire = load ptr, ptr %acquire.at, align 8
  %release.at = getelementptr %call, ptr %call, i64 0, i32 20
  %release = load ptr, ptr %release.at, align 8
  %entered = call i1 @lock(ptr %acquire)
  br i1 %entered, label %run, label %error
run:
  %ins.at = getelementptr %raw, ptr %raw, i64 0, i32 1
  %ins = load ptr, ptr %ins.at, align 8
  %outs.at = getelementptr %raw, ptr %raw, i64 0, i32 2
  %outs = load ptr, ptr %outs.at, align 8
  %dims.at = getelementptr %raw, ptr %raw, i64 0, i32 3
  %dims = load ptr, ptr %dims.at, align 8
  %arena.at = getelementptr %raw, ptr %raw, i64 0, i32 4
  %arena = load i64, ptr %arena.at, align 8
  %cost.at = getelementptr %raw, ptr %raw, i64 0, i32 5
  %cost = load i64, ptr %cost.at, align 8
  %done = call i1 @run(ptr %call, ptr %ins, ptr %outs, ptr %dims, i64 %arena, i64 %cost)
  %left = call i1 @lock(ptr %release)
  br i1 %left, label %result, label %error
result:
  br i1 %done, label %none, label %slow
none:
  %nil.at = getelementptr %call, ptr %call, i64 0, i32 24
  %nil = load ptr, ptr %nil.at, align 8
  call void @Py_IncRef(ptr %nil)
  ret ptr %nil
slow:
  %slow.at = getelementptr %raw, ptr %raw, i64 0, i32 6
  %function = load ptr, ptr %slow.at, align 8
  %slowly = call ptr @slowly(ptr %function, ptr %self, ptr %args, i64 %n, ptr %kw)
  ret ptr %slowly
error:
  ret ptr null
}
"""
