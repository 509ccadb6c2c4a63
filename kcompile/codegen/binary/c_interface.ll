; The C interface of an artifact, around the entry "predict". c_interface.py fills in what a model's is.

%kc.tensor = type { ptr, i32, i32, [$RANK x i64], [$RANK x i64] }
@$DATA = external hidden constant i8, align $PAGE
declare i32 @kc_predict(i64, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
declare i32 @kc_pool_threads(ptr)
declare i64 @kc_pool_size(i32)
declare i32 @kc_pool_start(ptr, i32)
declare void @kc_pool_stop(ptr)
declare double @llvm.fabs.f64(double)
declare double @llvm.maximum.f64(double, double)

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
define internal ptr @kc_align(ptr %memory) alwaysinline {
  %at = ptrtoint ptr %memory to i64
  %minus = sub i64 0, %at
  %pad = and i64 %minus, $PADDING
  %aligned = getelementptr i8, ptr %memory, i64 %pad
  ret ptr %aligned
}

; Arena, scratch for each thread, and $ALIGNMENT bytes to align them; 0 for numbers that are refused.
define i64 @$PREFIX_workspace_size(i64 %n, i32 %threads) {
  %enough = icmp sge i64 %n, $LEAST
  %few = icmp sle i64 %n, $MOST
  %some = icmp sge i32 %threads, 1
  %sane = icmp sle i32 %threads, $THREADS
  %batch = and i1 %enough, %few
  %count = and i1 %some, %sane
  %good = and i1 %batch, %count
  %samples = mul i64 %n, $ARENA_PER_SAMPLE
  %arena = add i64 %samples, $ARENA_ROUNDED
  %round = and i64 %arena, -$ALIGNMENT
  %wide = sext i32 %threads to i64
  %scratch = mul i64 %wide, $SCRATCH
  %both = add i64 %round, %scratch
  %size = add i64 %both, $ALIGNMENT
  %result = select i1 %good, i64 %size, i64 0
  ret i64 %result
}

define i32 @$PREFIX_run(i64 %n, ptr %inputs, ptr %outputs, ptr %workspace, i64 %size,
                         ptr %pool$DRAW_PARAMETER) {
entry:
  %variables = alloca [$VARIABLES x ptr], align 16
$DRAW_CELLS
  %no.inputs = icmp eq ptr %inputs, null
  %no.outputs = icmp eq ptr %outputs, null
  %no.workspace = icmp eq ptr %workspace, null
  %no.arrays = or i1 %no.inputs, %no.outputs
  %nothing = or i1 %no.arrays, %no.workspace
  br i1 %nothing, label %null, label %tables
tables:
$CHECKS
  %threads = call i32 @kc_pool_threads(ptr %pool)
  %need = call i64 @$PREFIX_workspace_size(i64 %n, i32 %threads)
  %bad = icmp eq i64 %need, 0
  br i1 %bad, label %batch, label %room
room:
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
go:
  %arena = call ptr @kc_align(ptr %workspace)
  %prepared = getelementptr i8, ptr @$DATA, i64 $PREPARED
  %constants = getelementptr i8, ptr @$DATA, i64 $CONSTANTS
$VARIABLE_TABLE
$DRAW_STORES
  %status = call i32 @kc_predict(i64 %n, ptr %inputs, ptr %outputs, ptr %variables, ptr %prepared,
                                 ptr %constants, ptr %arena, ptr %pool)
  ret i32 %status
null:
  ret i32 $NULL
batch:
  ret i32 $BATCH
small:
  ret i32 $WORKSPACE
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
  store double $WORST, ptr %max, align 8
  br label %judge
judge:
  %good = fcmp ole double $WORST, $TOLERANCE
  %result = select i1 %good, i32 $OK, i32 $SELFTEST
  ret i32 %result
}
