; C's fmod by long division, exact, because LLVM's frem is a call into the C library: the divisor is
; doubled as long as it fits, then halved back and taken away where it fits.
define internal double @kc_fmod(double %x, double %y) #0 {
entry:
  %a = call double @llvm.fabs.f64(double %x)
  %b = call double @llvm.fabs.f64(double %y)
  %finite = fcmp olt double %a, 0x7FF0000000000000
  %positive = fcmp ogt double %b, 0.0
  %defined = and i1 %finite, %positive
  br i1 %defined, label %up, label %undefined
undefined:
  ret double 0x7FF8000000000000
up:
  %t = phi double [ %b, %entry ], [ %t2, %up ]
  %t2 = fadd double %t, %t
  %fits = fcmp ole double %t2, %a
  br i1 %fits, label %up, label %down
down:
  %r = phi double [ %a, %up ], [ %rest, %down ]
  %d = phi double [ %t, %up ], [ %half, %down ]
  %take = fcmp oge double %r, %d
  %less = fsub double %r, %d
  %rest = select i1 %take, double %less, double %r
  %half = fmul double %d, 0.5
  %last = fcmp ole double %d, %b
  br i1 %last, label %end, label %down
end:
  %signed = call double @llvm.copysign.f64(double %rest, double %x)
  ret double %signed
}
