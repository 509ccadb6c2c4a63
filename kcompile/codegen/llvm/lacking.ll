; Functions for processors without the instructions: see lacking.py. Each is whole; what it calls is here too.

; Quotients toward zero, remainders of the dividend's sign. Small numbers, which indices are, take the
; processor's own division; others take long division, a bit at a time. By zero: what it gives means nothing.
define linkonce_odr hidden i64 @kc_udiv(i64 %a, i64 %b) nounwind {
  %both = call { i64, i64 } @kc_udivrem(i64 %a, i64 %b)
  %quotient = extractvalue { i64, i64 } %both, 0
  ret i64 %quotient
}
define linkonce_odr hidden i64 @kc_urem(i64 %a, i64 %b) nounwind {
  %both = call { i64, i64 } @kc_udivrem(i64 %a, i64 %b)
  %rest = extractvalue { i64, i64 } %both, 1
  ret i64 %rest
}
define linkonce_odr hidden i64 @kc_sdiv(i64 %a, i64 %b) nounwind {
  %x = call i64 @llvm.abs.i64(i64 %a, i1 false)
  %y = call i64 @llvm.abs.i64(i64 %b, i1 false)
  %both = call { i64, i64 } @kc_udivrem(i64 %x, i64 %y)
  %quotient = extractvalue { i64, i64 } %both, 0
  %signs = xor i64 %a, %b
  %negative = icmp slt i64 %signs, 0
  %minus = sub i64 0, %quotient
  %result = select i1 %negative, i64 %minus, i64 %quotient
  ret i64 %result
}
define linkonce_odr hidden i64 @kc_srem(i64 %a, i64 %b) nounwind {
  %x = call i64 @llvm.abs.i64(i64 %a, i1 false)
  %y = call i64 @llvm.abs.i64(i64 %b, i1 false)
  %both = call { i64, i64 } @kc_udivrem(i64 %x, i64 %y)
  %rest = extractvalue { i64, i64 } %both, 1
  %negative = icmp slt i64 %a, 0
  %minus = sub i64 0, %rest
  %result = select i1 %negative, i64 %minus, i64 %rest
  ret i64 %result
}
define linkonce_odr hidden { i64, i64 } @kc_udivrem(i64 %a, i64 %b) nounwind {
entry:
  %any = or i64 %a, %b
  %upper = lshr i64 %any, 32
  %small = icmp eq i64 %upper, 0
  br i1 %small, label %short, label %long
short:
  %a.low = trunc i64 %a to i32
  %b.low = trunc i64 %b to i32
  %q.low = udiv i32 %a.low, %b.low
  %back = mul i32 %q.low, %b.low
  %r.low = sub i32 %a.low, %back
  %q.wide = zext i32 %q.low to i64
  %r.wide = zext i32 %r.low to i64
  %s.first = insertvalue { i64, i64 } poison, i64 %q.wide, 0
  %s.both = insertvalue { i64, i64 } %s.first, i64 %r.wide, 1
  ret { i64, i64 } %s.both
long:
  %i = phi i32 [ 63, %entry ], [ %next, %long ]
  %q = phi i64 [ 0, %entry ], [ %q.next, %long ]
  %r = phi i64 [ 0, %entry ], [ %r.next, %long ]
  %place = zext i32 %i to i64
  %moved = lshr i64 %a, %place
  %bit = and i64 %moved, 1
  %twice = shl i64 %r, 1
  %more = or i64 %twice, %bit
  %over = icmp slt i64 %r, 0
  %enough = icmp uge i64 %more, %b
  %fits = or i1 %over, %enough
  %less = sub i64 %more, %b
  %r.next = select i1 %fits, i64 %less, i64 %more
  %digit = zext i1 %fits to i64
  %q.twice = shl i64 %q, 1
  %q.next = or i64 %q.twice, %digit
  %next = sub i32 %i, 1
  %last = icmp eq i32 %i, 0
  br i1 %last, label %end, label %long
end:
  %first = insertvalue { i64, i64 } poison, i64 %q.next, 0
  %both = insertvalue { i64, i64 } %first, i64 %r.next, 1
  ret { i64, i64 } %both
}

; An integer as a floating-point number of `bits` bits after the leading one, rounded to the nearest, ties to
; even: its leading bit moves to bit 63, what is below the last bit decides.
define linkonce_odr hidden float @kc_si64_to_f32(i64 %x) nounwind {
  %size = call i64 @llvm.abs.i64(i64 %x, i1 false)
  %word = call i32 @kc_ui64_bits(i64 %size)
  %wide = lshr i64 %x, 32
  %upper = trunc i64 %wide to i32
  %sign = and i32 %upper, -2147483648
  %bits = or i32 %word, %sign
  %result = bitcast i32 %bits to float
  ret float %result
}
define linkonce_odr hidden float @kc_ui64_to_f32(i64 %x) nounwind {
  %word = call i32 @kc_ui64_bits(i64 %x)
  %result = bitcast i32 %word to float
  ret float %result
}
define linkonce_odr hidden i32 @kc_ui64_bits(i64 %x) nounwind {
  %none = icmp eq i64 %x, 0
  %zeros = call i64 @llvm.ctlz.i64(i64 %x, i1 false)
  %zeros.inside = and i64 %zeros, 63
  %high = shl i64 %x, %zeros.inside
  %kept = lshr i64 %high, 40
  %rest = and i64 %high, 1099511627775
  %odd = and i64 %kept, 1
  %judged = add i64 %rest, %odd
  %up = icmp ugt i64 %judged, 549755813888
  %up.bit = zext i1 %up to i64
  %rounded = add i64 %kept, %up.bit
  %mantissa = trunc i64 %rounded to i32
  %zeros.word = trunc i64 %zeros.inside to i32
  %exponent = sub i32 189, %zeros.word
  %place = shl i32 %exponent, 23
  %bits = add i32 %place, %mantissa
  %result = select i1 %none, i32 0, i32 %bits
  ret i32 %result
}
define linkonce_odr hidden double @kc_si64_to_f64(i64 %x) nounwind {
  %none = icmp eq i64 %x, 0
  %size = call i64 @llvm.abs.i64(i64 %x, i1 false)
  %zeros = call i64 @llvm.ctlz.i64(i64 %size, i1 false)
  %zeros.inside = and i64 %zeros, 63
  %high = shl i64 %size, %zeros.inside
  %kept = lshr i64 %high, 11
  %rest = and i64 %high, 2047
  %odd = and i64 %kept, 1
  %judged = add i64 %rest, %odd
  %up = icmp ugt i64 %judged, 1024
  %up.bit = zext i1 %up to i64
  %rounded = add i64 %kept, %up.bit
  %exponent = sub i64 1085, %zeros.inside
  %place = shl i64 %exponent, 52
  %number = add i64 %place, %rounded
  %sign = and i64 %x, -9223372036854775808
  %signed = or i64 %number, %sign
  %bits = select i1 %none, i64 0, i64 %signed
  %result = bitcast i64 %bits to double
  ret double %result
}

; The integer part of a float32, the nearest integer there is for what is beyond, 0 for NaN.
define linkonce_odr hidden i64 @kc_f32_to_si64(float %x) nounwind {
  %bits = bitcast float %x to i32
  %plain = and i32 %bits, 2147483647
  %size.float = bitcast i32 %plain to float
  %size = call i64 @kc_f32_to_ui64(float %size.float)
  %over = icmp slt i64 %size, 0
  %negative = icmp slt i32 %bits, 0
  %minus = sub i64 0, %size
  %signed = select i1 %negative, i64 %minus, i64 %size
  %most = select i1 %negative, i64 -9223372036854775808, i64 9223372036854775807
  %result = select i1 %over, i64 %most, i64 %signed
  ret i64 %result
}
define linkonce_odr hidden i64 @kc_f32_to_ui64(float %x) nounwind {
  %bits = bitcast float %x to i32
  %exponent = lshr i32 %bits, 23
  %below = icmp ult i32 %exponent, 127
  %over = icmp ugt i32 %exponent, 190
  %nan = fcmp uno float %x, %x
  %negative = icmp slt i32 %bits, 0
  %fraction = and i32 %bits, 8388607
  %mantissa = or i32 %fraction, 8388608
  %wide = zext i32 %mantissa to i64
  %high = shl i64 %wide, 40
  %distance = sub i32 190, %exponent
  %inside = and i32 %distance, 63
  %inside.wide = zext i32 %inside to i64
  %moved = lshr i64 %high, %inside.wide
  %most = select i1 %over, i64 -1, i64 %moved
  %bad = or i1 %below, %nan
  %none = or i1 %bad, %negative
  %result = select i1 %none, i64 0, i64 %most
  ret i64 %result
}

define linkonce_odr hidden float @kc_floor(float %x) nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %inside = fcmp olt float %size, 8388608.0
  %safe = select i1 %inside, float %x, float 0.0
  %integer = fptosi float %safe to i32
  %whole = sitofp i32 %integer to float
  %above = fcmp ogt float %whole, %safe
  %less = fsub float %whole, 1.0
  %down = select i1 %above, float %less, float %whole
  %signed = call float @llvm.copysign.f32(float %down, float %x)
  %result = select i1 %inside, float %signed, float %x
  ret float %result
}

define linkonce_odr hidden float @kc_maximum(float %x, float %y) nounwind {
  %more = fcmp ugt float %x, %y
  %larger = select i1 %more, float %x, float %y
  %nan = fcmp uno float %y, %y
  %result = select i1 %nan, float %y, float %larger
  ret float %result
}

; The square root, digit by digit, rounded to the nearest: of x = m 2^(2k), m in [1, 4), that of m is found to
; 25 bits, of which the last, and what is left, decide.
define linkonce_odr hidden float @kc_sqrt(float %x) nounwind {
entry:
  %bits = bitcast float %x to i32
  %plain = and i32 %bits, 2147483647
  %zero = icmp eq i32 %plain, 0
  %large = icmp uge i32 %plain, 2139095040
  %negative = icmp slt i32 %bits, 0
  %odd.ones = or i1 %zero, %large
  %special = or i1 %odd.ones, %negative
  br i1 %special, label %specials, label %scale
specials:
  %is.nan = icmp ugt i32 %plain, 2139095040
  %kept = or i1 %zero, %is.nan
  %positive = xor i1 %negative, true
  %same = or i1 %kept, %positive
  %special.result = select i1 %same, float %x, float 0x7FF8000000000000
  ret float %special.result
scale:
  %fraction = and i32 %plain, 8388607
  %power = lshr i32 %plain, 23
  %normal = icmp ne i32 %power, 0
  %zeros = call i32 @llvm.ctlz.i32(i32 %fraction, i1 false)
  %short = sub i32 %zeros, 8
  %moved = shl i32 %fraction, %short
  %one = or i32 %fraction, 8388608
  %mantissa = select i1 %normal, i32 %one, i32 %moved
  %low.power = sub i32 1, %short
  %exponent = select i1 %normal, i32 %power, i32 %low.power
  %away = sub i32 %exponent, 127
  %odd = and i32 %away, 1
  %even = sub i32 %away, %odd
  %half = ashr i32 %even, 1
  %twice = shl i32 %mantissa, %odd
  %wide = zext i32 %twice to i64
  %number = shl i64 %wide, 25
  br label %digit
digit:
  %bit = phi i64 [ 16777216, %scale ], [ %bit.next, %digit ]
  %root = phi i64 [ 0, %scale ], [ %root.next, %digit ]
  %tried = or i64 %root, %bit
  %square = mul i64 %tried, %tried
  %fits = icmp ule i64 %square, %number
  %root.next = select i1 %fits, i64 %tried, i64 %root
  %bit.next = lshr i64 %bit, 1
  %done = icmp eq i64 %bit.next, 0
  br i1 %done, label %round, label %digit
round:
  %of.root = mul i64 %root.next, %root.next
  %exact = icmp eq i64 %of.root, %number
  %inexact = xor i1 %exact, true
  %half.wide = lshr i64 %root.next, 1
  %last = trunc i64 %root.next to i1
  %next.odd = trunc i64 %half.wide to i1
  %beyond = or i1 %inexact, %next.odd
  %up = and i1 %last, %beyond
  %up.bit = zext i1 %up to i64
  %rounded = add i64 %half.wide, %up.bit
  %result.mantissa = trunc i64 %rounded to i32
  %result.power = add i32 %half, 126
  %place = shl i32 %result.power, 23
  %result.bits = add i32 %place, %result.mantissa
  %result = bitcast i32 %result.bits to float
  ret float %result
}

; float64 for what code of float32 has of it: normal numbers, and zero. Results that are no normal float32 are
; zero.
define linkonce_odr hidden double @kc_fmul_f64(double %x, double %y) nounwind {
  %a = bitcast double %x to i64
  %b = bitcast double %y to i64
  %signs = xor i64 %a, %b
  %sign = and i64 %signs, -9223372036854775808
  %a.moved = lshr i64 %a, 52
  %b.moved = lshr i64 %b, 52
  %a.power = and i64 %a.moved, 2047
  %b.power = and i64 %b.moved, 2047
  %a.none = icmp eq i64 %a.power, 0
  %b.none = icmp eq i64 %b.power, 0
  %none = or i1 %a.none, %b.none
  %a.high = shl i64 %a, 11
  %b.high = shl i64 %b, 11
  %a.one = or i64 %a.high, -9223372036854775808
  %b.one = or i64 %b.high, -9223372036854775808
  %a.upper = lshr i64 %a.one, 32
  %b.upper = lshr i64 %b.one, 32
  %a.lower = and i64 %a.one, 4294967295
  %b.lower = and i64 %b.one, 4294967295
  %low = mul i64 %a.lower, %b.lower
  %cross = mul i64 %a.upper, %b.lower
  %across = mul i64 %a.lower, %b.upper
  %high = mul i64 %a.upper, %b.upper
  %low.upper = lshr i64 %low, 32
  %cross.lower = and i64 %cross, 4294967295
  %across.lower = and i64 %across, 4294967295
  %middle.first = add i64 %low.upper, %cross.lower
  %middle = add i64 %middle.first, %across.lower
  %carry = lshr i64 %middle, 32
  %cross.upper = lshr i64 %cross, 32
  %across.upper = lshr i64 %across, 32
  %high.first = add i64 %high, %cross.upper
  %high.second = add i64 %high.first, %across.upper
  %upper = add i64 %high.second, %carry
  %middle.lower = and i64 %middle, 4294967295
  %low.lower = and i64 %low, 4294967295
  %below = or i64 %middle.lower, %low.lower
  %sticky = icmp ne i64 %below, 0
  %sticky.bit = zext i1 %sticky to i64
  %whole = or i64 %upper, %sticky.bit
  %led = icmp slt i64 %whole, 0
  %twice = shl i64 %whole, 1
  %normal = select i1 %led, i64 %whole, i64 %twice
  %led.bit = zext i1 %led to i64
  %kept = lshr i64 %normal, 11
  %rest = and i64 %normal, 2047
  %odd = and i64 %kept, 1
  %judged = add i64 %rest, %odd
  %up = icmp ugt i64 %judged, 1024
  %up.bit = zext i1 %up to i64
  %rounded = add i64 %kept, %up.bit
  %powers = add i64 %a.power, %b.power
  %power.first = add i64 %powers, %led.bit
  %power = sub i64 %power.first, 1024
  %place = shl i64 %power, 52
  %number = add i64 %place, %rounded
  %size = select i1 %none, i64 0, i64 %number
  %bits = or i64 %size, %sign
  %result = bitcast i64 %bits to double
  ret double %result
}
define linkonce_odr hidden float @kc_f64_to_f32(double %x) nounwind {
  %bits = bitcast double %x to i64
  %wide.sign = lshr i64 %bits, 63
  %sign.bit = trunc i64 %wide.sign to i32
  %sign = shl i32 %sign.bit, 31
  %moved = lshr i64 %bits, 52
  %power.wide = and i64 %moved, 2047
  %power = trunc i64 %power.wide to i32
  %exponent = sub i32 %power, 896
  %none = icmp slt i32 %exponent, 1
  %fraction = and i64 %bits, 4503599627370495
  %kept = lshr i64 %fraction, 29
  %rest = and i64 %fraction, 536870911
  %odd = and i64 %kept, 1
  %judged = add i64 %rest, %odd
  %up = icmp ugt i64 %judged, 268435456
  %up.bit = zext i1 %up to i64
  %rounded = add i64 %kept, %up.bit
  %mantissa = trunc i64 %rounded to i32
  %place = shl i32 %exponent, 23
  %number = add i32 %place, %mantissa
  %size = select i1 %none, i32 0, i32 %number
  %result.bits = or i32 %size, %sign
  %result = bitcast i32 %result.bits to float
  ret float %result
}
define linkonce_odr hidden double @kc_f32_to_f64(float %x) nounwind {
  %bits = bitcast float %x to i32
  %wide = zext i32 %bits to i64
  %upper = and i64 %wide, 2147483648
  %sign = shl i64 %upper, 32
  %plain = and i64 %wide, 2147483647
  %none = icmp ult i64 %plain, 8388608
  %beyond = icmp uge i64 %plain, 2139095040
  %moved = shl i64 %plain, 29
  %number = add i64 %moved, 4035225266123964416
  %special = or i64 %moved, 9218868437227405312
  %size.first = select i1 %beyond, i64 %special, i64 %number
  %size = select i1 %none, i64 0, i64 %size.first
  %result.bits = or i64 %size, %sign
  %result = bitcast i64 %result.bits to double
  ret double %result
}
