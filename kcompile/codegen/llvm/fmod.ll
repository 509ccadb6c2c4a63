; C's fmod by long division, exact, because LLVM's frem is a call into the C library: the divisor is
; doubled as long as it fits, then halved back and taken away where it fits.
define internal $KIND @kc_fmod($KIND %x, $KIND %y) #0 {
entry:
  %a = call $KIND @llvm.fabs.$SUFFIX($KIND %x)
  %b = call $KIND @llvm.fabs.$SUFFIX($KIND %y)
  %finite = fcmp olt $KIND %a, 0x7FF0000000000000
  %positive = fcmp ogt $KIND %b, 0.0
  %defined = and i1 %finite, %positive
  br i1 %defined, label %up, label %undefined
undefined:
  ret $KIND 0x7FF8000000000000
up:
  %t = phi $KIND [ %b, %entry ], [ %t2, %up ]
  %t2 = fadd $KIND %t, %t
  %fits = fcmp ole $KIND %t2, %a
  br i1 %fits, label %up, label %down
down:
  %r = phi $KIND [ %a, %up ], [ %rest, %down ]
  %d = phi $KIND [ %t, %up ], [ %half, %down ]
  %take = fcmp oge $KIND %r, %d
  %less = fsub $KIND %r, %d
  %rest = select i1 %take, $KIND %less, $KIND %r
  %half = fmul $KIND %d, 0.5
  %last = fcmp ole $KIND %d, %b
  br i1 %last, label %end, label %down
end:
  %signed = call $KIND @llvm.copysign.$SUFFIX($KIND %rest, $KIND %x)
  ret $KIND %signed
}
