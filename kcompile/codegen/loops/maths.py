"""Elementary functions and random numbers in the loop language.

What enters: expressions, float32 or float64, of any lanes. What leaves: expressions made of the
loop language's own operations, without branches or tables, so every kernel vectorises, all targets
with fused multiply-add give the same bits, and no mathematical library is called. NaN, infinities,
both zeros and denormal numbers are treated as IEEE 754 and C say. `ULP_BOUNDS` holds the largest
error of each function.

An argument is mentioned many times in its result. The emitter evaluates a shared subexpression of
one statement once; across statements, `Let` the argument and the result.

Method: arguments are reduced as in Cody and Waite, "Software Manual for the Elementary Functions"
(1980), with fused multiply-add. `t = fma(x, 1/c, magic)` rounds x/c to an integer n, which then
stands in the low bits of t, and n = t - magic. The polynomials are in `polynomials`. `near_fma` is
used where a product that is rounded too keeps the bounds: a target without the instruction is so
some ten times faster, and its bits are others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

from kcompile.codegen.loops import (
    Expr,
    Operand,
    Ramp,
    binary,
    bitcast,
    broadcast,
    cast,
    const,
    fma,
    ramp,
    select,
    unary,
    wrap,
)
from kcompile.codegen.loops.polynomials import FORMATS, TWO_OVER_PI, Format

ULP_BOUNDS: dict[str, dict[str, float]] = {
    "float32": {
        "exp": 1.0,
        "expm1": 1.5,
        "log": 1.0,
        "log1p": 1.5,
        "tanh": 1.5,
        "sigmoid": 2.25,
        "softplus": 2.0,
        "erf": 1.0,
        "sin": 1.75,
        "cos": 1.75,
        "rsqrt": 1.5,
        "pow": 1.25,
    },
    "float64": {
        "exp": 1.0,
        "expm1": 2.0,
        "log": 1.5,
        "log1p": 2.0,
        "tanh": 1.75,
        "sigmoid": 2.25,
        "softplus": 2.25,
        "erf": 1.5,
        "sin": 1.75,
        "cos": 1.75,
        "rsqrt": 1.5,
        "pow": 1.25,
    },
}
"""The largest error in units in the last place of the exact result, with fused multiply-add."""

WITHOUT_FMA = 0.4
"""What a target without the instruction adds to the bounds."""

INF, NAN = float("inf"), float("nan")


def format_of(x: Expr) -> Format:
    """The constants of x's type. Raises TypeError for a type that is not floating point."""
    if x.dtype not in FORMATS:
        raise TypeError(f"expected one of {', '.join(FORMATS)}. Received: {x.dtype}")
    return FORMATS[x.dtype]


# ---------------------------------------------------------------- exponentials


def exp(x: Expr) -> Expr:
    """e^x, within 1 ulp. 0 below the smallest denormal number, inf above the largest."""
    return _exp_of_sum(x, None)


def _exp_of_sum(x: Expr, low: Expr | None) -> Expr:
    """e^(x + low), where |low| is at most an ulp of x.

    The exponent of the result spans more than one number holds, so 2^n is applied as 2^(n -+ 64)
    and 2^(+-64), the last multiplication being the one that rounds to denormal numbers. The result
    for small x is cut with a select so that masked softmax rows do not run on denormal numbers,
    which processors multiply slowly.
    """
    f = format_of(x)
    negative = binary("lt", x, 0.0)
    magic = _pick(negative, f.magic + f.bias + 64, f.magic + f.bias - 64, f)
    top = binary("min", x, f.exp_high)
    t = near_fma(top, f.log2_e, magic)
    r = _minus(top, t - magic, f.ln2)
    r = r if low is None else r + low
    y = horner(r, (1.0, 1.0, *f.exp)) * _power(t, f) * _pick(negative, 2.0**-64, 2.0**64, f)
    return select(binary("lt", x, f.exp_low), 0.0, y)


def expm1(x: Expr) -> Expr:
    """e^x - 1, within 1.5 ulp (float64: 2), also near 0."""
    f = format_of(x)
    magic = f.magic + f.bias - 1
    inside = binary("max", binary("min", x, f.exp_high), -50.0)
    t = near_fma(inside, f.log2_e, magic)
    r = _minus(inside, t - magic, f.ln2)
    half = _power(t, f)  # 2^n / 2, for 2^n itself overflows when the result need not
    y = near_fma(half, _expm1_of_reduced(r, f), half - 0.5)
    return select(binary("lt", unary("abs", x), f.epsilon), x, y + y)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x), within 2.25 ulp, also where it is close to 0. With z = e^-|x|, which is at most
    1, it is 1 / (1 + z) or z / (1 + z): dividers work beside what multiplies and adds."""
    f = format_of(x)
    magic = f.magic + f.bias + 64
    a = binary("max", -unary("abs", x), f.exp_low)
    t = near_fma(a, f.log2_e, magic)
    r = _minus(a, t - magic, f.ln2)
    z = horner(r, (1.0, 1.0, *f.exp)) * _power(t, f) * 2.0**-64  # rounded once where it is denormal
    return binary("div", select(binary("ge", x, 0.0), 1.0, z), 1.0 + z)


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent, within 1.5 ulp (float64: 1.75): x + x^3 P(x^2) up to 9/16, then
    1 - 2 / (e^2|x| + 1), where the error of the quotient weighs little."""
    f = format_of(x)
    a = binary("min", unary("abs", x), f.tanh_one)
    z = a * a
    near = near_fma(a * z, horner(z, f.tanh), a)
    magic = f.magic + f.bias
    t = near_fma(a, 2.0 * f.log2_e, magic)
    r = near_fma(t - magic, -f.ln2[0], a + a)
    s = _power(t, f)
    far = 1.0 - binary("div", const(2.0, f.dtype), near_fma(s, _expm1_of_reduced(r, f), s + 1.0))
    return _with_sign(select(binary("lt", a, 0.5625), near, far), x, f)


def erf(x: Expr) -> Expr:
    """The error function, within 1 ulp (float64: 1.5): x + x P(x^2) up to 1, then 1 - e^Q(|x|)."""
    f = format_of(x)
    a = binary("min", unary("abs", x), f.erf_one)
    near = near_fma(a, horner(a * a, f.erf), a)
    q = horner(a, f.erfc)
    magic = f.magic + f.bias
    t = near_fma(q, f.log2_e, magic)
    r = near_fma(t - magic, -f.ln2[0], q)
    s = _power(t, f)
    far = near_fma(-s, _expm1_of_reduced(r, f), 1.0 - s)
    return _with_sign(select(binary("lt", a, 1.0), near, far), x, f)


def _expm1_of_reduced(r: Expr, f: Format) -> Expr:
    """e^r - 1 for |r| up to about log(2) / 2."""
    return near_fma(r * r, horner(r, f.exp), r)


def _power(t: Expr, f: Format) -> Expr:
    """2^n, where t is n plus a magic number that contains the exponent's bias."""
    return bitcast(binary("shl", bitcast(t, f.integer), f.mantissa), f.dtype)


# ---------------------------------------------------------------- logarithms


def log(x: Expr) -> Expr:
    """The natural logarithm, within 1 ulp (float64: 1.5). log(+-0) is -inf, of negative numbers it
    is NaN."""
    f = format_of(x)
    m, exponent = _mantissa_and_exponent(x, f)
    y = _log_of_parts(m - 1.0, exponent, f)
    return _log_specials(x, y, 0.0)


def log1p(x: Expr) -> Expr:
    """log(1 + x), within 1.5 ulp (float64: 2), also near 0. log1p(-1) is -inf, below it NaN."""
    f = format_of(x)
    u = 1.0 + x
    m, shift = _normalise(u, f)
    # What u lost by rounding, halved, times twice the scale of m, which so never overflows.
    lost = fma(x, 0.5, -fma(u, 0.5, -0.5))
    scale = bitcast(shift + (f.one + (1 << f.mantissa)), f.dtype)
    reduced = fma(lost, scale, -(1.0 - m))  # not m - 1.0, for log1p(-0) is -0
    y = _log_of_parts(reduced, cast(bitcast(shift, f.signed), f.dtype), f)
    return _log_specials(x, y, -1.0)


def softplus(x: Expr) -> Expr:
    """log(1 + e^x), within 2 ulp (float64: 2.25), without overflow: max(x, 0) + log1p(e^-|x|)."""
    f = format_of(x)
    z = exp(-unary("abs", x))
    # 1 + z is in [1, 2], so its reduction is one comparison.
    upper = binary("gt", z, 0.4140625)
    y = _log_of_reduced(select(upper, near_fma(z, 0.5, -0.5), z), f)
    return binary("max", x, 0.0) + (_pick(upper, f.ln2[0], 0.0, f) + y)


def _normalise(x: Expr, f: Format) -> tuple[Expr, Expr]:
    """(m, s): x = m 2^k for normal x > 0, with m from sqrt(1/2) to sqrt(2), and the integer
    s = -k 2^mantissa, which is what takes k out of the bits of x."""
    bits = bitcast(x, f.integer)
    rounded = binary("and", bits + (f.one - f.sqrt_half), f.exponent_mask)
    shift = f.one - rounded
    return bitcast(bits + shift, f.dtype), shift


def _mantissa_and_exponent(x: Expr, f: Format) -> tuple[Expr, Expr]:
    """m and -k 2^mantissa, both floating point, for any finite x > 0."""
    small = binary("lt", x, f.smallest_normal)
    up = f.mantissa + 1
    m, shift = _normalise(select(small, x * 2.0**up, x), f)
    exponent = cast(bitcast(shift, f.signed), f.dtype)
    return m, select(small, exponent + up * 2.0**f.mantissa, exponent)


def _log_of_reduced(r: Expr, f: Format) -> Expr:
    """log(1 + r) for 1 + r from sqrt(1/2) to sqrt(2)."""
    return near_fma(r * r, horner(r, f.log), r)


def _log_of_parts(r: Expr, exponent: Expr, f: Format) -> Expr:
    """log((1 + r) 2^k), where `exponent` is -k 2^mantissa; it is negative so that -0 stays -0."""
    return near_fma(exponent, -f.ln2[0] * 2.0**-f.mantissa, _log_of_reduced(r, f))


def _log_specials(x: Expr, y: Expr, pole: float) -> Expr:
    """y for finite x above the pole; elsewhere the logarithm's special value (-inf, inf or NaN)."""
    y = select(binary("lt", x, INF), y, x)
    f = format_of(x)
    outside = _pick(binary("eq", x, pole), -INF, NAN, f)
    return select(binary("le", x, pole), outside, y)


# ---------------------------------------------------------------- powers


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x), within 1.5 ulp. rsqrt(+-0) is +-inf, of negative numbers NaN."""
    return binary("div", wrap(1.0, x.dtype), unary("sqrt", x))


def pow(x: Expr, y: Expr) -> Expr:
    """x^y, within 1.25 ulp, with the special cases of C's pow: 1 for y = 0 and for x = 1 whatever
    the other is, NaN for a negative x and a y that is no integer, signed zeros and infinities."""
    f = format_of(x)
    a = unary("abs", x)
    high, low = _log_extended(a, f)
    high = select(binary("lt", a, INF), high, a)
    high = select(binary("eq", a, 0.0), -INF, high)
    product = y * high
    rest = fma(y, high, -product) + y * low
    moderate = binary("lt", unary("abs", product), 2.0 * f.exp_high)
    size = _exp_of_sum(product, select(moderate, rest, 0.0))

    whole = binary("eq", unary("floor", y), y)
    half = y * 0.5
    odd = binary("and", whole, binary("ne", unary("floor", half), half))
    signed = select(odd, _with_sign(size, x, f), size)
    root = binary("and", binary("lt", x, 0.0), binary("gt", x, -INF))
    result = select(binary("and", root, unary("not", whole)), NAN, signed)
    one = binary("and", binary("eq", a, 1.0), binary("eq", unary("abs", y), INF))
    one = binary("or", one, binary("or", binary("eq", x, 1.0), binary("eq", y, 0.0)))
    return select(one, 1.0, result)


def _log_extended(x: Expr, f: Format) -> tuple[Expr, Expr]:
    """log(x) for finite x > 0 as a sum of two numbers, good to about 12 bits more than one.

    With s = (m - 1) / (m + 1): log(m) = 2 s + 2/3 s^3 + s^5 P(s^2), where s, s^3 and 2/3 are sums
    of two numbers each. The error-free sums and products are Dekker's and Knuth's.
    """
    m, exponent = _mantissa_and_exponent(x, f)
    r, d = m - 1.0, m + 1.0
    s = r / d
    minus_s = -s
    s_low = fma(minus_s, m - (d - 1.0), fma(minus_s, d, r)) / d
    z = s * s
    z_low = fma(s + s, s_low, _product_error(s, s, z))
    cube = s * z
    cube_low = fma(s, z_low, fma(s_low, z, _product_error(s, z, cube)))
    third = cube * f.two_thirds[0]
    third_low = fma(cube, f.two_thirds[1], fma(cube_low, f.two_thirds[0], fma(cube, f.two_thirds[0], -third)))
    tail = fma(cube * z, horner(z, f.atanh), third_low) + (s_low + s_low)
    first, first_low = _ordered_sum(s + s, third)
    unit = 2.0**-f.mantissa
    whole = exponent * (-f.ln2[0] * unit)
    whole_low = fma(exponent, -f.ln2[1] * unit, fma(exponent, -f.ln2[0] * unit, -whole))
    total, total_low = _ordered_sum(whole, first)
    return _ordered_sum(total, total_low + (whole_low + (first_low + tail)))


def _product_error(a: Expr, b: Expr, product: Expr) -> Expr:
    return fma(a, b, -product)


def _ordered_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b and its rounding error, where |a| >= |b| or a is 0."""
    s = a + b
    return s, b - (s - a)


# ---------------------------------------------------------------- circular functions


def sin(x: Expr) -> Expr:
    """The sine, within 1.75 ulp for all finite float32, and for float64 up to 2^45; beyond that NaN, an
    honest error instead of a number without meaning."""
    f = format_of(x)
    r, turns = _quarter_turns(x, f)
    return _flip(_sin_or_cos(r, turns, 1, f), turns, 0, bitcast(x, f.integer), f)


def cos(x: Expr) -> Expr:
    """The cosine, within 1.75 ulp for the range that `sin` has."""
    f = format_of(x)
    r, turns = _quarter_turns(x, f)
    return _cos_of_parts(r, turns, f)


def _cos_of_parts(r: Expr, turns: Expr, f: Format) -> Expr:
    """cos(r + turns * pi/2)."""
    return _flip(_sin_or_cos(r, turns, 0, f), turns, 1, None, f)


def _quarter_turns(x: Expr, f: Format) -> tuple[Expr, Expr]:
    """(r, n): |x| = r + n pi/2, |r| up to about pi/4, n the low bits of an integer."""
    a = unary("abs", x)
    t = fma(a, f.two_over_pi, f.magic)
    r = _minus(a, t - f.magic, f.half_pi, exact=True)
    near = binary("le", a, f.circular_limit)
    if f.dtype != "float32":
        return select(near, r, NAN), bitcast(t, f.integer)
    far, far_turns = _far_quarter_turns(bitcast(a, "uint32"))
    r = select(near, r, select(binary("lt", a, INF), far, NAN))
    return r, select(near, bitcast(t, "uint32"), far_turns)


def _far_quarter_turns(bits: Expr) -> tuple[Expr, Expr]:
    """(r, n) for the bits of a float32 above 2^19: the product with 2 / pi modulo 4 in fixed point.

    Source: Payne and Hanek, "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983.
    x = m 2^(e - 150) for the exponent's bits e; of 2 / pi only the 96 bits from the (e - 151)th on count:
    bits before them give multiples of 4, bits behind them less than what float32 shows.
    """
    place = binary("shr", bits, 23) - 120  # of the first of them in TWO_OVER_PI
    shift = binary("and", place, 31)
    beyond = [binary("ge", place, 32 * k) for k in range(1, 5)]
    words = []
    for i in range(4):
        word = broadcast(const(TWO_OVER_PI[i], "uint32"), bits.lanes)
        for k in range(1, 5):
            word = select(beyond[k - 1], const(TWO_OVER_PI[k + i], "uint32"), word)
        words.append(word)
    window = [
        cast(
            binary("or", binary("shl", high, shift), binary("shr", binary("shr", low, 1), 31 - shift)),
            "uint64",
        )
        for high, low in pairwise(words)
    ]
    m = cast(binary("or", binary("and", bits, 0x7FFFFF), 0x800000), "uint64")
    first, second, third = (m * word for word in window)
    product = binary("shl", first, 32) + second + binary("shr", third, 32)  # 2 bits before the point
    turns = binary("shr", product + (1 << 61), 62)
    rest = cast(bitcast(binary("shl", product, 2), "int64"), "float64")
    return cast(rest * (math.pi / 2.0**65), "float32"), cast(turns, "uint32")


def _sin_or_cos(r: Expr, turns: Expr, sin_when: int, f: Format) -> Expr:
    """sin(r) or cos(r): the sine where the lowest bit of `turns` differs from `sin_when`."""
    z = r * r
    sine = fma(r * z, horner(z, f.sin), r)
    cosine = fma(z * z, horner(z, f.cos), fma(z, -0.5, 1.0))
    return select(binary("ne", binary("and", turns, 1), sin_when), sine, cosine)


def _flip(y: Expr, turns: Expr, ahead: int, sign: Expr | None, f: Format) -> Expr:
    """y negated where `turns + ahead` is 2 or 3 modulo 4, and again where `sign` is negative."""
    half = binary("shl", turns + ahead if ahead else turns, f.bits - 2)
    flips = half if sign is None else binary("xor", half, sign)
    return bitcast(binary("xor", bitcast(y, f.integer), binary("and", flips, f.sign)), f.dtype)


# ---------------------------------------------------------------- random numbers


def threefry(key0: Operand, key1: Operand, counter0: Expr, counter1: Operand) -> tuple[Expr, Expr]:
    """Threefry-2x32 with 20 rounds on uint32: the function of `kcompile.ir.random.threefry`, which names its
    source."""
    key0, key1 = wrap(key0, "uint32"), wrap(key1, "uint32")
    keys = (key0, key1, binary("xor", binary("xor", key0, 0x1BD11BDA), key1))
    x0, x1 = counter0 + keys[0], wrap(counter1, "uint32") + keys[1]
    for group in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            x0 = x0 + x1
            turned = binary("or", binary("shl", x1, distance), binary("shr", x1, 32 - distance))
            x1 = binary("xor", turned, x0)
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + (keys[(group + 2) % 3] + (group + 1))
    return x0, x1


def random_words(seed: Operand, stream: Operand, step: Operand, index: Expr) -> tuple[Expr, Expr]:
    """Two words of 32 random bits for each element: `index` is its flat number (int64, of any
    lanes), the other three are uint32. The bits of `kcompile.ir.random.random_words`."""
    if isinstance(index, Ramp):
        lanes = cast(ramp(0, index.lanes, index.stride), "uint32")
        counter = broadcast(cast(index.base, "uint32"), index.lanes) + lanes
    else:
        counter = cast(index, "uint32")
    return threefry(seed, stream, counter, step)


def uniform(bits: Expr) -> Expr:
    """float32 in [0, 1) from the upper 24 of 32 random bits, exactly."""
    return _upper_bits(bits) * 2.0**-24


def normal(bits0: Expr, bits1: Expr) -> Expr:
    """Normally distributed float32 from 64 random bits, at most 5.77 in size: sqrt(-2 log(u)) *
    cos(2 pi v), Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    u is in (0, 1], v in [0, 1), so nothing is special and the angle is reduced exactly."""
    f = FORMATS["float32"]
    u = fma(_upper_bits(bits0), 2.0**-24, 2.0**-24)
    m, shift = _normalise(u, f)
    logarithm = _log_of_parts(m - 1.0, cast(bitcast(shift, f.signed), f.dtype), f)
    angle = binary("shr", bits1, 8)
    turns = binary("shr", angle + (1 << 21), 22)
    rest = bitcast(angle - binary("shl", turns, 22), "int32")
    r = cast(rest, "float32") * (f.half_pi[0] * 2.0**-22)
    return unary("sqrt", logarithm * -2.0) * _cos_of_parts(r, turns, f)


def _upper_bits(bits: Expr) -> Expr:
    """The upper 24 of 32 bits as a float32."""
    return cast(bitcast(binary("shr", bits, 8), "int32"), "float32")


# ---------------------------------------------------------------- common parts


def horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial with these coefficients, lowest power first."""
    top: Expr = const(coefficients[-1], x.dtype)
    return reduce(lambda sum, c: near_fma(x, sum, c), reversed(coefficients[:-1]), top)


def near_fma(a: Expr, b: Operand, c: Operand) -> Expr:
    """a * b + c, rounded once on targets with the instruction, else twice."""
    return fma(a, b, c, exact=False)


def _minus(x: Expr, n: Expr, parts: Sequence[float], exact: bool = False) -> Expr:
    """x - n * (sum of parts), where the parts are of decreasing size. Unless `exact`, n is an integer
    of about ten bits at most."""
    return reduce(lambda rest, part: fma(n, -part, rest, exact), parts, x)


def _pick(condition: Expr, a: float, b: float, f: Format) -> Expr:
    """One of two constants, lane by lane."""
    return select(condition, const(a, f.dtype), const(b, f.dtype))


def _with_sign(y: Expr, x: Expr, f: Format) -> Expr:
    """y >= 0 with the sign of x."""
    sign = binary("and", bitcast(x, f.integer), f.sign)
    return bitcast(binary("or", bitcast(y, f.integer), sign), f.dtype)
