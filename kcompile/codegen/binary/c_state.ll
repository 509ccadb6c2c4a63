; Memory of the caller's that a training step keeps its weights in: c_step.py fills in what a model's is.
; It begins with two int64: $MAGIC, and which level's code made the prepared block that lies behind the
; tensors (level + 1; less than 0: the tensors changed since; 0: none).
%kc.tensor = type { ptr, i32, i32, [$RANK x i64], [$RANK x i64] }
%kc.piece = type { i64, i64, i64 } ; offset in the state, in the data (-1: zeros), words of 8 bytes
@$DATA = external hidden constant i8, align $PAGE
@kc_pieces = private constant [$PIECES x %kc.piece] [$PIECE_ROWS], align 16
@kc_resets = private constant [$RESETS x %kc.piece] [$RESET_ROWS], align 16
@kc_offsets = private constant [$PLACES x i64] [$OFFSETS], align 16

define i64 @$PREFIX_state_size() { ret i64 $SIZE }
define i64 @$PREFIX_state_offset(i32 %index) {
  %good = icmp ult i32 %index, $COUNT
  %wide = zext i32 %index to i64
  %near = select i1 %good, i64 %wide, i64 0
  %at = getelementptr i64, ptr @kc_offsets, i64 %near
  %offset = load i64, ptr %at, align 8
  %result = select i1 %good, i64 %offset, i64 -1
  ret i64 %result
}

define internal void @kc_put(ptr %state, ptr %rows, i64 %count) {
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %after, %next ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %piece, label %done
piece:
  %to.at = getelementptr %kc.piece, ptr %rows, i64 %i, i32 0
  %from.at = getelementptr %kc.piece, ptr %rows, i64 %i, i32 1
  %words.at = getelementptr %kc.piece, ptr %rows, i64 %i, i32 2
  %to = load i64, ptr %to.at, align 8
  %from = load i64, ptr %from.at, align 8
  %words = load i64, ptr %words.at, align 8
  %target = getelementptr i8, ptr %state, i64 %to
  %source = getelementptr i8, ptr @$DATA, i64 %from
  %zeros = icmp slt i64 %from, 0
  br label %word
word:
  %k = phi i64 [ 0, %piece ], [ %last, %store ]
  %going = icmp ult i64 %k, %words
  br i1 %going, label %read, label %next
read:
  br i1 %zeros, label %store, label %load
load:
  %value.at = getelementptr i64, ptr %source, i64 %k
  %value = load i64, ptr %value.at, align 8
  br label %store
store:
  %given = phi i64 [ 0, %read ], [ %value, %load ]
  %put = getelementptr i64, ptr %target, i64 %k
  store i64 %given, ptr %put, align 8
  %last = add i64 %k, 1
  br label %word
next:
  %after = add i64 %i, 1
  br label %test
done:
  ret void
}

define i32 @$PREFIX_state_init(ptr %state, i64 %size) {
  %none = icmp eq ptr %state, null
  br i1 %none, label %null, label %there
null:
  ret i32 $NULL
there:
  %at = ptrtoint ptr %state to i64
  %odd = and i64 %at, $PADDING
  %uneven = icmp ne i64 %odd, 0
  br i1 %uneven, label %bad, label %even
bad:
  ret i32 $BAD_STATE
even:
  %short = icmp slt i64 %size, $SIZE
  br i1 %short, label %small, label %go
small:
  ret i32 $WORKSPACE
go:
  call void @kc_put(ptr %state, ptr @kc_pieces, i64 $PIECES)
  store i64 $MAGIC, ptr %state, align 8
  ret i32 $OK
}

define i32 @$PREFIX_state_changed(ptr %state) {
$STATE_CHECKS
$STALE
  ret i32 $OK
null:
  ret i32 $NULL
$STATE_ENDS
}

define i32 @$PREFIX_metrics_reset(ptr %state) {
$STATE_CHECKS
  call void @kc_put(ptr %state, ptr @kc_resets, i64 $RESETS)
  ret i32 $OK
null:
  ret i32 $NULL
$STATE_ENDS
}

; The self-test: a state, the results of a step, and the step's workspace lie in the workspace, in this order.
declare i64 @$PREFIX_train_workspace_size(i64, i32)
declare i32 @$PREFIX_train(i64, ptr, ptr, ptr, ptr, i64, ptr)
define i64 @$PREFIX_train_selftest_size() {
  %run = call i64 @$PREFIX_train_workspace_size(i64 $SAMPLES, i32 1)
  %size = add i64 %run, $SELFTEST_ROUNDED
  ret i64 %size
}
define i32 @$PREFIX_train_selftest(ptr %workspace, i64 %size, ptr %max) {
entry:
  %inputs = alloca [$INPUTS x ptr], align 16
  %outputs = alloca [1 x ptr], align 16
  %none = icmp eq ptr %workspace, null
  br i1 %none, label %null, label %room
null:
  ret i32 $NULL
room:
  %need = call i64 @$PREFIX_train_selftest_size()
  %short = icmp slt i64 %size, %need
  br i1 %short, label %small, label %go
small:
  ret i32 $WORKSPACE
go:
  %at = ptrtoint ptr %workspace to i64
  %minus = sub i64 0, %at
  %pad = and i64 %minus, $PADDING
  %state = getelementptr i8, ptr %workspace, i64 %pad
  %got = getelementptr i8, ptr %state, i64 $SIZE
  %rest = getelementptr i8, ptr %got, i64 $RESULT_BYTES
$INPUT_TABLE
  store ptr %got, ptr %outputs, align $WORD
  %left = call i64 @$PREFIX_train_workspace_size(i64 $SAMPLES, i32 1)
  %begun = call i32 @$PREFIX_state_init(ptr %state, i64 $SIZE)
  br label %step
step:
  %k = phi i64 [ 0, %go ], [ %next, %compare ]
  %worst = phi $REAL [ 0.0, %go ], [ %most, %compare ]
  %status = call i32 @$PREFIX_train(i64 $SAMPLES, ptr %inputs, ptr %outputs, ptr %state, ptr %rest, i64 %left, ptr null)
  %ran = icmp eq i32 %status, $OK
  br i1 %ran, label %compare, label %failed
failed:
  ret i32 %status
compare:
  %from = mul i64 %k, $RESULT_STEP
  %place = add i64 %from, $EXPECTED
  %want = getelementptr i8, ptr @$DATA, i64 %place
  %error = call $REAL @kc_compare_$DTYPE(ptr %got, ptr %want, i64 1)
  %most = call $REAL @llvm.maximum.$BITS($REAL %worst, $REAL %error)
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, $STEPS
  br i1 %more, label %step, label %judge
judge:
  %silent = icmp eq ptr %max, null
  br i1 %silent, label %end, label %tell
tell:
$TELL
  br label %end
end:
  %good = fcmp ole $REAL %most, $TOLERANCE
  %result = select i1 %good, i32 $OK, i32 $SELFTEST
  ret i32 %result
}
