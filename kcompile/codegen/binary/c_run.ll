; Memory and call of an entry, as one target's code has them. c_interface.py fills in what a model's is.

@$DATA = external hidden constant i8, align $PAGE
declare i32 @$ENTRY(i64, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
declare i32 @kc_pool_threads(ptr)
$SIZES
$DECLARED
define internal ptr @kc_align(ptr %memory) alwaysinline {
  %at = ptrtoint ptr %memory to i64
  %minus = sub i64 0, %at
  %pad = and i64 %minus, $PADDING
  %aligned = getelementptr i8, ptr %memory, i64 %pad
  ret ptr %aligned
}

; What the entries need (see llvm/memory.py), and $ALIGNMENT bytes to align it; 0 for numbers that are refused.
define $LINKAGE i64 @$PREFIX_$SIZE_OF(i64 %n, i32 %threads) {
  %enough = icmp sge i64 %n, $LEAST
  %few = icmp sle i64 %n, $MOST
  %some = icmp sge i32 %threads, 1
  %sane = icmp sle i32 %threads, $THREADS
  %batch = and i1 %enough, %few
  %count = and i1 %some, %sane
  %good = and i1 %batch, %count
  %wide = sext i32 %threads to i64
$NEEDS
$MORE
  %size = add i64 $ALL, $ALIGNMENT
  %result = select i1 %good, i64 %size, i64 0
  ret i64 %result
}

define $LINKAGE i32 @$PREFIX_$RUN(i64 %n, ptr %inputs, ptr %outputs,$STATE_PARAMETER ptr %workspace,
                         i64 %size, ptr %pool$DRAW_PARAMETER) {
entry:
  %variables = alloca [$VARIABLES x ptr], align 16
$CELLS
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
  %need = call i64 @$PREFIX_$SIZE_OF(i64 %n, i32 %threads)
  %bad = icmp eq i64 %need, 0
  br i1 %bad, label %batch, label %room
room:
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
go:
  %arena = call ptr @kc_align(ptr %workspace)
  %prepared = getelementptr i8, ptr $PREPARED_IN, i64 $PREPARED
  %constants = getelementptr i8, ptr @$DATA, i64 $CONSTANTS
$VARIABLE_TABLE
$DRAW_STORES
$BEFORE
  %status = call i32 @$ENTRY(i64 %n, ptr $GIVEN, ptr %outputs, ptr %variables, ptr %prepared,
                                 ptr %constants, ptr %arena, ptr %pool)
$AFTER
  ret i32 %status
null:
  ret i32 $NULL
batch:
  ret i32 $BATCH
small:
  ret i32 $WORKSPACE
$ENDS
}
