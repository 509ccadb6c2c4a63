; The C interface of an artifact, but for `run` and `workspace_size` (c_run.ll, levels.ll). c_interface.py fills in what a model's is.

%kc.tensor = type { ptr, i32, i32, [$RANK x i64], [$RANK x i64] }
@$DATA = external hidden constant i8, align $PAGE
declare i64 @kc_pool_size(i32)
declare i32 @kc_pool_start(ptr, i32)
declare void @kc_pool_stop(ptr)

define i32 @$PREFIX_abi() { ret i32 $ABI }
define i64 @$PREFIX_pool_size(i32 %threads) {
  %size = call i64 @kc_pool_size(i32 %threads)
  ret i64 %size
}
define i32 @$PREFIX_pool_start(ptr %pool, i32 %threads) {
  %none = icmp eq ptr %pool, null
  br i1 %none, label %bad, label %good
bad:
  ret i32 $NULL
good:
  %status = call i32 @kc_pool_start(ptr %pool, i32 %threads)
  ret i32 %status
}
define void @$PREFIX_pool_stop(ptr %pool) {
  call void @kc_pool_stop(ptr %pool)
  ret void
}
declare i64 @$PREFIX_workspace_size(i64, i32)
declare i32 @$PREFIX_run(i64, ptr, ptr, ptr, i64, ptr$DRAW_TYPE)

define internal ptr @kc_align(ptr %memory) alwaysinline {
  %at = ptrtoint ptr %memory to i64
  %minus = sub i64 0, %at
  %pad = and i64 %minus, $PADDING
  %aligned = getelementptr i8, ptr %memory, i64 %pad
  ret ptr %aligned
}

; The self-test: the outputs go to the start of the workspace, the rest of it is `run`'s.
define i64 @$PREFIX_selftest_size() {
  %run = call i64 @$PREFIX_workspace_size(i64 $SAMPLES, i32 1)
  %size = add i64 %run, $SELFTEST_ROUNDED
  ret i64 %size
}
define i32 @$PREFIX_selftest(ptr %workspace, i64 %size, ptr %max) {
entry:
  %inputs = alloca [$INPUTS x ptr], align 16
  %outputs = alloca [$OUTPUTS x ptr], align 16
  %none = icmp eq ptr %workspace, null
  br i1 %none, label %null, label %room
null:
  ret i32 $NULL
room:
  %need = call i64 @$PREFIX_selftest_size()
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
small:
  ret i32 $WORKSPACE
go:
  %start = call ptr @kc_align(ptr %workspace)
  %rest = getelementptr i8, ptr %start, i64 $SELFTEST_BYTES
$INPUT_TABLE
$OUTPUT_TABLE
  %left = call i64 @$PREFIX_workspace_size(i64 $SAMPLES, i32 1)
  %status = call i32 @$PREFIX_run(i64 $SAMPLES, ptr %inputs, ptr %outputs, ptr %rest, i64 %left,
                                   ptr null$DRAW_ARGUMENT)
  %ran = icmp eq i32 %status, $OK
  br i1 %ran, label %compare, label %failed
failed:
  ret i32 %status
compare:
$COMPARES
  %silent = icmp eq ptr %max, null
  br i1 %silent, label %judge, label %tell
tell:
$TELL
  br label %judge
judge:
  %good = fcmp ole $REAL $WORST, $TOLERANCE
  %result = select i1 %good, i32 $OK, i32 $SELFTEST
  ret i32 %result
}
