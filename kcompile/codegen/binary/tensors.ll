; The table of inputs, or of outputs, and the functions that give its length and elements.
@$WHATs = private constant [$COUNT x %kc.tensor] [$ROWS], align 16
define i32 @$PREFIX_$WHAT_count() { ret i32 $COUNT }
define ptr @$PREFIX_$WHAT(i32 %index) {
  %good = icmp ult i32 %index, $COUNT
  %wide = zext i32 %index to i64
  %row = getelementptr %kc.tensor, ptr @$WHATs, i64 %wide
  %result = select i1 %good, ptr %row, ptr null
  ret ptr %result
}
