; The largest |got - want| / (1 + |want|) of two arrays; equal values and two NaNs differ by 0, a NaN beside a
; number makes the result NaN, which no tolerance admits.
define internal double @kc_compare_$DTYPE(ptr %got, ptr %want, i64 %count) {
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %worst = phi double [ 0.0, %entry ], [ %most, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %g.at = getelementptr $KIND, ptr %got, i64 %i
  %g.raw = load $KIND, ptr %g.at, align $SIZE
  %g = $CONVERT_GOT
  %w.at = getelementptr $KIND, ptr %want, i64 %i
  %w.raw = load $KIND, ptr %w.at, align $SIZE
  %w = $CONVERT_WANT
  %equal = fcmp oeq double %g, %w
  %g.nan = fcmp uno double %g, 0.0
  %w.nan = fcmp uno double %w, 0.0
  %nans = and i1 %g.nan, %w.nan
  %same = or i1 %equal, %nans
  %difference = fsub double %g, %w
  %size = call double @llvm.fabs.f64(double %difference)
  %scale.0 = call double @llvm.fabs.f64(double %w)
  %scale = fadd double %scale.0, 1.0
  %relative = fdiv double %size, %scale
  %error = select i1 %same, double 0.0, double %relative
  %most = call double @llvm.maximum.f64(double %worst, double %error)
  %next = add i64 %i, 1
  br label %test
done:
  ret double %worst
}
