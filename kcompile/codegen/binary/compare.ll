; The largest |got - want| / (1 + |want|) of two arrays; equal values and two NaNs differ by 0, a NaN beside a
; number makes the result NaN, which no tolerance admits.
define internal $REAL @kc_compare_$DTYPE(ptr %got, ptr %want, i64 %count) {
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %worst = phi $REAL [ 0.0, %entry ], [ %most, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %g.at = getelementptr $KIND, ptr %got, i64 %i
  %g.raw = load $KIND, ptr %g.at, align $SIZE
  %g = $CONVERT_GOT
  %w.at = getelementptr $KIND, ptr %want, i64 %i
  %w.raw = load $KIND, ptr %w.at, align $SIZE
  %w = $CONVERT_WANT
  %equal = fcmp oeq $REAL %g, %w
  %g.nan = fcmp uno $REAL %g, 0.0
  %w.nan = fcmp uno $REAL %w, 0.0
  %nans = and i1 %g.nan, %w.nan
  %same = or i1 %equal, %nans
  %difference = fsub $REAL %g, %w
  %size = call $REAL @llvm.fabs.$BITS($REAL %difference)
  %scale.0 = call $REAL @llvm.fabs.$BITS($REAL %w)
  %scale = fadd $REAL %scale.0, 1.0
  %relative = fdiv $REAL %size, %scale
  %error = select i1 %same, $REAL 0.0, $REAL %relative
  %most = call $REAL @llvm.maximum.$BITS($REAL %worst, $REAL %error)
  %next = add i64 %i, 1
  br label %test
done:
  ret $REAL %worst
}
