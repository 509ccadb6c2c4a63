; Many batches in one native call, and an entry called by one argument. batches.py says what is in a job.
declare void @kc_parallel(ptr, ptr, ptr, i64, i64, i64, ptr, i64)
declare i64 @llvm.umin.i64(i64, i64)

define i32 @kc_batches(ptr %job) {
entry:
  %rows = alloca [4 x i64], align 8
$LOAD_HEAD
  %in.order = icmp eq ptr %order, null
  %all.inputs = getelementptr i64, ptr %job, i64 $HEAD_WORDS
  %words = mul i64 %inputs, $INPUT_WORDS
  %all.outputs = getelementptr i64, ptr %all.inputs, i64 %words
  br label %step
step:
  %start = phi i64 [ %first, %entry ], [ %start.next, %again ]
  %number = phi i64 [ 0, %entry ], [ %number.next, %again ]
  %left = sub i64 %end, %start
  %n = call i64 @llvm.umin.i64(i64 %batch, i64 %left)
  br label %each.input
each.input:
  %i = phi i64 [ 0, %step ], [ %i.next, %next.input ]
  %i.done = icmp eq i64 %i, %inputs
  br i1 %i.done, label %each.output, label %read
read:
  %i.words = mul i64 %i, $INPUT_WORDS
  %input = getelementptr i64, ptr %all.inputs, i64 %i.words
$LOAD_INPUT
  %skipped = mul i64 %start, %bytes
  %here = getelementptr i8, ptr %source, i64 %skipped
  br i1 %in.order, label %next.input, label %gather
gather:
  %mine = getelementptr i64, ptr %order, i64 %start
  store ptr %source, ptr %rows, align 8
  %rows.bytes = getelementptr i64, ptr %rows, i64 1
  store i64 %bytes, ptr %rows.bytes, align 8
  %rows.buffer = getelementptr i64, ptr %rows, i64 2
  store ptr %buffer, ptr %rows.buffer, align 8
  %rows.order = getelementptr i64, ptr %rows, i64 3
  store ptr %mine, ptr %rows.order, align 8
  %least = udiv i64 $THREAD_BYTES, %bytes
  %grain = add i64 %least, 1
  call void @kc_parallel(ptr %pool, ptr @kc_gather, ptr %rows, i64 %n, i64 %n, i64 %grain, ptr null,
                         i64 0)
  br label %next.input
next.input:
  %data = phi ptr [ %here, %read ], [ %buffer, %gather ]
  %slot = getelementptr ptr, ptr %table, i64 %i
  store ptr %data, ptr %slot, align 8
  %i.next = add i64 %i, 1
  br label %each.input
each.output:
  %o = phi i64 [ 0, %each.input ], [ %o.next, %next.output ]
  %o.done = icmp eq i64 %o, %outputs
  br i1 %o.done, label %run, label %next.output
next.output:
  %o.words = mul i64 %o, $OUTPUT_WORDS
  %output = getelementptr i64, ptr %all.outputs, i64 %o.words
$LOAD_OUTPUT
  %passed = mul i64 %number, %stride
  %there = getelementptr i8, ptr %place, i64 %passed
  %o.slot = getelementptr ptr, ptr %results, i64 %o
  store ptr %there, ptr %o.slot, align 8
  %o.next = add i64 %o, 1
  br label %each.output
run:
  %status = call i32 %function(i64 %n, ptr %table, ptr %results, ptr %variables, ptr %prepared,
                            ptr %constants, ptr %arena, ptr %pool)
  %good = icmp eq i32 %status, 0
  %start.next = add i64 %start, %batch
  %some = icmp slt i64 %start.next, %end
  %go = and i1 %good, %some
  br i1 %go, label %again, label %leave
again:
  %number.next = add i64 %number, 1
  br label %step
leave:
  store i64 %start, ptr %first.at, align 8
  ret i32 %status
}

; Copies the rows [begin, end) of an order, in pieces of the largest width that a row has.
define internal void @kc_gather(ptr %rows, i64 %n, i64 %begin, i64 %end, ptr %scratch) {
entry:
$LOAD_ROWS
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %try$WIDEST, label %leave
$COPIES
leave:
  ret void
}

define i32 @kc_call(ptr %words) {
$LOAD_CALL
  %status = call i32 %function(i64 %n, ptr %a0, ptr %a1, ptr %a2, ptr %a3, ptr %a4, ptr %a5, ptr %a6)
  ret i32 %status
}
