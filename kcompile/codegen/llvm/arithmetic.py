"""Arithmetic of the loop language as LLVM instructions: one function per kind of expression.

What enters: an expression and the `Block` that it belongs to. What leaves: its value, and the lines
that compute it. There are no fast-math flags: bits are the same in vectors and in scalars, and on
all targets.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

from kcompile.codegen import loops
from kcompile.codegen.llvm.access import ALL_OFF, ALL_ON, load
from kcompile.codegen.llvm.template import filled
from kcompile.codegen.llvm.values import (
    BITS,
    SCALAR,
    Block,
    Emitters,
    ScalarIndex,
    Value,
    VectorIndex,
    literal,
    mangled,
    splat,
    type_name,
    typed,
)
from kcompile.codegen.loops import COMPARISONS, FLOATS
from kcompile.codegen.targets import Target
from kcompile_runtime.layout import ELEMENTS

_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "div": "div",
    "mod": "rem",
    "and": "and",
    "or": "or",
    "xor": "xor",
    "shl": "shl",
}


def signed(dtype: str) -> bool:
    return ELEMENTS[dtype].kind == "i"


def fmod_ir(target: Target) -> str:
    """The definition of `kc_fmod`."""
    kind, suffix = ("float", "f32") if target.is_bare else ("double", "f64")
    return filled(Path(__file__).with_name("fmod.ll"), KIND=kind, SUFFIX=suffix)


def _const(b: Block, e: loops.Const) -> Value:
    return typed(literal(e.value, e.dtype), e.dtype, 1)


def _var(b: Block, e: loops.Var) -> Value:
    v = b.variables.get(e.name)
    if v is None:
        raise b.error(f"variable {e.name!r} is used outside its scope")
    return v


def _binary(b: Block, e: loops.Binary) -> Value:
    if e.a.dtype == "int64":
        known = b.affine(e.op, b.value(e.a), b.value(e.b))
        if known is not None:
            return known
    x, y = b.operand(e.a), b.operand(e.b)
    return typed(binary(b, e.op, x, y, e.a.dtype, e.lanes), e.dtype, e.lanes)


def binary(b: Block, op: str, x: str, y: str, dtype: str, lanes: int) -> str:
    """`x op y` on operands of one type."""
    kind = type_name(dtype, lanes)
    if dtype == "bool":
        return _logic(b, op, x, y, kind)
    if dtype in FLOATS:
        return _float_binary(b, op, x, y, dtype, lanes)
    sign = "s" if signed(dtype) else "u"
    if op in COMPARISONS:
        return b.op(f"icmp {op if op in ('eq', 'ne') else sign + op} {kind} {x}, {y}")
    if op in ("min", "max"):
        return b.call(sign + op, dtype, lanes, x, y)
    if op == "shr":
        return b.op(f"{'ashr' if sign == 's' else 'lshr'} {kind} {x}, {y}")
    return b.op(f"{sign if op in ('div', 'mod') else ''}{_BINARY[op]} {kind} {x}, {y}")


def _float_binary(b: Block, op: str, x: str, y: str, dtype: str, lanes: int) -> str:
    kind = type_name(dtype, lanes)
    if op in ("min", "max"):
        return _extremum(b, op, x, y, kind, lanes)
    if op in COMPARISONS:
        return b.op(f"fcmp {'une' if op == 'ne' else 'o' + op} {kind} {x}, {y}")
    if op == "mod" and lanes > 1:
        raise b.error("float mod is not available in vectors")
    if op == "mod":
        return _fmod(b, x, y, dtype)
    if op not in ("add", "sub", "mul", "div"):
        raise b.error(f"{op} is not defined for {dtype}")
    return b.op(f"f{_BINARY[op]} {kind} {x}, {y}")


def _fmod(b: Block, x: str, y: str, dtype: str) -> str:
    """The remainder of float32 is computed in float64, if there is any: it is exact, and a float32."""
    if b.target.is_bare:
        return b.op(f"call float @kc_fmod(float {x}, float {y})")
    wide = [v if dtype == "float64" else b.op(f"fpext float {v} to double") for v in (x, y)]
    text = b.op(f"call double @kc_fmod(double {wide[0]}, double {wide[1]})")
    return text if dtype == "float64" else b.op(f"fptrunc double {text} to float")


def _logic(b: Block, op: str, x: str, y: str, kind: str) -> str:
    op = {"min": "and", "mul": "and", "max": "or"}.get(op, op)
    if op in ("and", "or"):
        for one, other in ((x, y), (y, x)):
            if one in ALL_ON:
                return other if op == "and" else one
            if one in ALL_OFF:
                return one if op == "and" else other
    if op in COMPARISONS:
        return b.op(f"icmp {op if op in ('eq', 'ne') else 'u' + op} {kind} {x}, {y}")
    if op not in ("and", "or", "xor"):
        raise b.error(f"{op} is not defined for bool")
    return b.op(f"{op} {kind} {x}, {y}")


def _extremum(b: Block, op: str, x: str, y: str, kind: str, lanes: int) -> str:
    """min or max that gives NaN when either side is NaN. Against a constant one select is enough
    (and one instruction on x86: the second operand is the answer when the comparison is false)."""
    order = "ogt" if op == "max" else "olt"
    condition = f"<{lanes} x i1>" if lanes > 1 else "i1"
    if x[0] != "%":
        x, y = y, x
    if y[0] != "%" and not _is_nan(y):
        test = b.op(f"fcmp {order} {kind} {y}, {x}")
        return b.op(f"select {condition} {test}, {kind} {y}, {kind} {x}")
    test = b.op(f"fcmp {order} {kind} {x}, {y}")
    best = b.op(f"select {condition} {test}, {kind} {x}, {kind} {y}")
    nan = b.op(f"fcmp uno {kind} {x}, {x}")
    return b.op(f"select {condition} {nan}, {kind} {x}, {kind} {best}")


def _is_nan(text: str) -> bool:
    digits = text.split("0x")[-1].rstrip(")")
    value = struct.unpack("<d", int(digits, 16).to_bytes(8, "little"))[0]
    return bool(value != value)


def _unary(b: Block, e: loops.Unary) -> Value:
    if e.dtype == "int64" and e.op == "neg":
        known = b.affine("mul", b.value(e.a), _minus_one(e.lanes))
        if known is not None:
            return known
    x, kind = b.operand(e.a), type_name(e.dtype, e.lanes)
    if e.op == "not":
        if e.dtype in FLOATS:
            raise b.error(f"not is not defined for {e.dtype}")
        ones = splat("true" if e.dtype == "bool" else "-1", e.dtype, e.lanes)
        if e.dtype == "bool" and x[0] != "%":
            return x.replace("true", "?").replace("false", "true").replace("?", "false")
        text = b.op(f"xor {kind} {x}, {ones}")
    elif e.dtype in FLOATS:
        if e.op == "neg":
            text = b.op(f"fneg {kind} {x}")
        elif e.op not in loops.UNARY:
            raise b.error(f"unknown operation {e.op!r}")
        else:
            text = b.call({"abs": "fabs"}.get(e.op, e.op), e.dtype, e.lanes, x)
    elif e.op == "neg":
        text = b.op(f"sub {kind} {splat('0', e.dtype, e.lanes)}, {x}")
    elif e.op == "abs":
        text = b.call("abs", e.dtype, e.lanes, x, extra=", i1 false") if signed(e.dtype) else x
    elif e.op == "floor":
        text = x
    else:
        raise b.error(f"{e.op} is not defined for {e.dtype}")
    return typed(text, e.dtype, e.lanes)


def _minus_one(lanes: int) -> Value:
    return ScalarIndex(None, -1) if lanes == 1 else VectorIndex(ScalarIndex(None, -1), 0, lanes)


def _fma(b: Block, e: loops.Fma) -> Value:
    x, y, z = b.operand(e.a), b.operand(e.b), b.operand(e.c)
    if b.target.fma:
        return b.call("fma", e.dtype, e.lanes, x, y, z)
    if not e.exact:
        return _fma_by_parts(b, e, x, y, z)
    if e.dtype == "float32":
        return _fma_in_double(b, x, y, z, e.lanes)
    return _fma_of_doubles(b, x, y, z, e.lanes)


def _fma_by_parts(b: Block, e: loops.Fma, x: str, y: str, z: str) -> str:
    """x * y + z with a rounded product. A constant factor is split into a head of few bits and a tail, so
    that in the reduction of an argument, where most of z cancels, the product with the head is exact (Cody
    and Waite, 1980)."""
    kind = type_name(e.dtype, e.lanes)
    if _constant(e.a) is not None:
        x, y = y, x
    value = _constant(e.a) if _constant(e.b) is None else _constant(e.b)
    parts = [y]
    if value is not None and value == value and abs(value) != float("inf"):
        parts = [splat(literal(v, e.dtype), e.dtype, e.lanes) for v in _split(value, e.dtype)]
    for part in parts:
        z = b.op(f"fadd {kind} {b.op(f'fmul {kind} {x}, {part}')}, {z}")
    return z


def _constant(e: loops.Expr) -> float | None:
    e = e.a if isinstance(e, loops.Broadcast) else e
    return float(e.value) if isinstance(e, loops.Const) else None


def _split(value: float, dtype: str) -> list[float]:
    """A constant as a sum of its upper half of bits and, if it is not zero, the rest."""
    keep = 12 if dtype == "float32" else 26
    mantissa, exponent = math.frexp(value)
    first = math.ldexp(float(int(mantissa * 2**keep)), exponent - keep)
    return [v for v in (first, value - first) if v] or [0.0]


def _fma_of_doubles(b: Block, x: str, y: str, z: str, lanes: int) -> str:
    """float64 fma in float64: the product and two sums are computed with their errors, which are added and
    rounded to odd (Boldo and Melquiond, 2008). Where an error may overflow or underflow (an operand is beyond
    2^1000, or the product below 2^-900), the product is rounded too."""
    kind, bits, flag = (type_name(d, lanes) for d in ("float64", "int64", "bool"))

    def do(op: str, p: str, q: str) -> str:
        return b.op(f"{op} {kind} {p}, {q}")

    def halves(v: str) -> tuple[str, str]:
        """The upper 26 bits, to the nearest, and the rest, of 26 bits and a sign."""
        up = b.op(
            f"add {bits} {b.op(f'bitcast {kind} {v} to {bits}')}, {splat(str(1 << 26), 'int64', lanes)}"
        )
        cut = b.op(f"and {bits} {up}, {splat(str(-(1 << 27)), 'int64', lanes)}")
        high = b.op(f"bitcast {bits} {cut} to {kind}")
        return high, do("fsub", v, high)

    def sum_of(p: str, q: str) -> tuple[str, str]:
        """p + q and its error."""
        s = do("fadd", p, q)
        back = do("fsub", s, p)
        return s, do("fadd", do("fsub", p, do("fsub", s, back)), do("fsub", q, back))

    product = do("fmul", x, y)
    (x1, x2), (y1, y2) = halves(x), halves(y)
    rest = do("fsub", do("fmul", x1, y1), product)
    for p, q in ((x1, y2), (x2, y1), (x2, y2)):
        rest = do("fadd", rest, do("fmul", p, q))
    inner, inner_error = sum_of(z, rest)
    outer, outer_error = sum_of(product, inner)
    odd = _to_odd(b, *sum_of(inner_error, outer_error), lanes)
    plain, exact = do("fadd", product, z), do("fadd", outer, odd)
    low, high = (splat(literal(2.0**k, "float64"), "float64", lanes) for k in (-900, 1000))
    sizes = [b.call("fabs", "float64", lanes, v) for v in (product, x, y, z)]
    large = do("fadd", do("fadd", sizes[0], sizes[1]), do("fadd", sizes[2], sizes[3]))
    inside = b.op(
        f"and {flag} {b.op(f'fcmp ogt {kind} {sizes[0]}, {low}')}, {b.op(f'fcmp olt {kind} {large}, {high}')}"
    )
    return b.op(f"select {flag} {inside}, {kind} {exact}, {kind} {plain}")


def _fma_in_double(b: Block, x: str, y: str, z: str, lanes: int) -> str:
    """float32 fma in float64: the product is exact, and the sum is rounded to odd so that the rounding to
    float32 after it is right (Boldo and Melquiond, Emulation of a FMA, 2008)."""
    single, kind = type_name("float32", lanes), type_name("float64", lanes)
    a, c, d = (b.op(f"fpext {single} {v} to {kind}") for v in (x, y, z))
    p = b.op(f"fmul {kind} {a}, {c}")
    s = b.op(f"fadd {kind} {p}, {d}")
    back = b.op(f"fsub {kind} {s}, {p}")
    rest = b.op(f"fsub {kind} {s}, {back}")
    error = b.op(f"fadd {kind} {b.op(f'fsub {kind} {p}, {rest}')}, {b.op(f'fsub {kind} {d}, {back}')}")
    return b.op(f"fptrunc {kind} {_to_odd(b, s, error, lanes)} to {single}")


def _to_odd(b: Block, s: str, error: str, lanes: int) -> str:
    """s + error rounded to odd, where s is that sum rounded to the nearest: s if the sum is exact, else that
    of its two neighbours which has an odd last bit."""
    kind, bits, flag = (type_name(d, lanes) for d in ("float64", "int64", "bool"))
    zero, one = splat(literal(0, "float64"), "float64", lanes), splat("1", "int64", lanes)
    inexact = b.op(f"fcmp one {kind} {error}, {zero}")
    pattern = b.op(f"bitcast {kind} {s} to {bits}")
    even = b.op(f"icmp eq {bits} {b.op(f'and {bits} {pattern}, {one}')}, {splat('0', 'int64', lanes)}")
    away = b.op(
        f"xor {flag} {b.op(f'fcmp olt {kind} {error}, {zero}')}, {b.op(f'fcmp olt {kind} {s}, {zero}')}"
    )
    step = b.op(f"select {flag} {away}, {bits} {splat('-1', 'int64', lanes)}, {bits} {one}")
    odd = b.op(f"add {bits} {pattern}, {step}")
    fix = b.op(f"and {flag} {inexact}, {even}")
    chosen = b.op(f"select {flag} {fix}, {bits} {odd}, {bits} {pattern}")
    return b.op(f"bitcast {bits} {chosen} to {kind}")


def _dot_bytes(b: Block, e: loops.DotBytes) -> Value:
    """By the instruction for it; else in halves of words, as pairs of products of 16 bits, which an unsigned
    and a signed byte fill (their sum in 16 bits would not be exact); else byte by byte."""
    x, y, z = b.operand(e.a), b.operand(e.b), b.operand(e.c)
    kind, bits = type_name("int32", e.lanes), 32 * e.lanes
    whole = b.target.vector_bits == bits
    if b.target.byte_dots and whole:
        narrow = type_name("int8", 4 * e.lanes)
        x, y = (b.op(f"bitcast {kind} {v} to {narrow}") for v in (x, y))
        text = f"call {kind} @llvm.x86.avx512.vpdpbusd.{bits}({kind} {z}, {narrow} {x}, {narrow} {y})"
        return typed(b.op(text), "int32", e.lanes)
    architecture = b.target.architecture
    if architecture.byte_pairs is not None and e.lanes == 1:
        unsigned, sign, multiply = (f"call i32 @llvm.{name}" for name in architecture.byte_pairs)
        for shift in (0, 8):  # the first and third bytes, then the others
            left, right = (b.op(f"lshr i32 {v}, {shift}") if shift else v for v in (x, y))
            left, right = b.op(f"{unsigned}(i32 {left})"), b.op(f"{sign}(i32 {right})")
            z = b.op(f"{multiply}(i32 {left}, i32 {right}, i32 {z})")
        return typed(z, "int32", 1)
    pairs = architecture.dots.get(bits) if whole else None
    sums = architecture.pair_sums.get(bits) if whole else None
    if pairs is None and sums is None:
        for i in range(4):
            of_x = _bits_of(b, "lshr", x, 8 * i, 24, e.lanes)
            of_y = _bits_of(b, "ashr", y, 8 * i, 24, e.lanes)
            z = b.op(f"add {kind} {z}, {b.op(f'mul {kind} {of_x}, {of_y}')}")
        return typed(z, "int32", e.lanes)
    half = type_name("int16", 2 * e.lanes)

    def halves(v: str, shift: str) -> list[str]:
        """The lower and the upper bytes of each half of a word, in 16 bits."""
        v = b.op(f"bitcast {kind} {v} to {half}")
        eight = splat("8", "int16", 2 * e.lanes)
        return [
            b.op(f"{shift} {half} {b.op(f'shl {half} {v}, {eight}')}, {eight}"),
            b.op(f"{shift} {half} {v}, {eight}"),
        ]

    for left, right in zip(halves(x, "lshr"), halves(y, "ashr")):
        given = f"{half} {left}, {half} {right}"
        if pairs is None:
            given = f"{half} {b.op(f'mul {half} {left}, {right}')}"
        z = b.op(f"add {kind} {z}, {b.op(f'call {kind} @llvm.{pairs or sums}({given})')}")
    return typed(z, "int32", e.lanes)


def _dot_halves(b: Block, e: loops.DotHalves) -> Value:
    """By the instruction for it; else as two multiply-adds."""
    x, y, z = b.operand(e.a), b.operand(e.b), b.operand(e.c)
    kind, words = type_name("float32", e.lanes), type_name("uint32", e.lanes)
    if b.target.bfloat16_dots and b.target.vector_bits == 32 * e.lanes:
        half = _half_type(2 * e.lanes)
        x, y = (b.op(f"bitcast {words} {v} to {half}") for v in (x, y))
        name = f"@llvm.x86.avx512bf16.dpbf16ps.{32 * e.lanes}"
        return b.op(f"call {kind} {name}({kind} {z}, {half} {x}, {half} {y})")
    for cut in (
        f"and {words} {{}}, {splat(str(-(1 << 16)), 'uint32', e.lanes)}",
        f"shl {words} {{}}, {splat('16', 'uint32', e.lanes)}",
    ):
        p, q = (b.op(f"bitcast {words} {b.op(cut.format(v))} to {kind}") for v in (x, y))
        z = (
            b.call("fma", "float32", e.lanes, p, q, z)
            if b.target.fma
            else b.op(f"fadd {kind} {z}, {b.op(f'fmul {kind} {p}, {q}')}")
        )
    return z


def _halves(b: Block, e: loops.Halves) -> Value:
    """The instruction puts the one operand's numbers behind the other's; then they change places."""
    x, y = b.operand(e.a), b.operand(e.b)
    bits, kind, half = 32 * e.lanes, type_name("float32", e.lanes), _half_type(2 * e.lanes)
    if not (b.target.bfloat16_dots and b.target.vector_bits == bits):
        raise b.error(f"halves are made of whole vectors. Received: {e.lanes} lanes")
    name = f"@llvm.x86.avx512bf16.cvtne2ps2bf16.{bits}"
    both = b.op(f"call {half} {name}({kind} {y}, {kind} {x})")
    order = ", ".join(f"i32 {i}, i32 {i + e.lanes}" for i in range(e.lanes))
    text = b.op(f"shufflevector {half} {both}, {half} poison, <{2 * e.lanes} x i32> <{order}>")
    return b.op(f"bitcast {half} {text} to {type_name('uint32', e.lanes)}")


def _half_type(lanes: int) -> str:
    return f"<{lanes} x bfloat>"


def _bits_of(b: Block, shift: str, x: str, first: int, above: int, lanes: int) -> str:
    """The bits of an int32 from `first` on, without those that are `above` more than it has, shifted down."""
    kind = type_name("int32", lanes)
    if above > first:
        x = b.op(f"shl {kind} {x}, {splat(str(above - first), 'int32', lanes)}")
    return b.op(f"{shift} {kind} {x}, {splat(str(above), 'int32', lanes)}")


def _select(b: Block, e: loops.Select) -> Value:
    condition = b.operand(e.condition)
    if condition in ALL_ON:
        return b.value(e.a)
    if condition in ALL_OFF:
        return b.value(e.b)
    kind, flag = type_name(e.dtype, e.lanes), type_name("bool", e.lanes)
    x, y = b.operand(e.a), b.operand(e.b)
    return typed(b.op(f"select {flag} {condition}, {kind} {x}, {kind} {y}"), e.dtype, e.lanes)


def _cast(b: Block, e: loops.Cast) -> Value:
    to, source = e.dtype, e.a.dtype
    x, kind, old = b.operand(e.a), type_name(to, e.lanes), type_name(source, e.lanes)
    if e.bits:
        if "bool" in (to, source):
            raise b.error("a bool has no bits to reinterpret")
        text = x if SCALAR[to] == SCALAR[source] else b.op(f"bitcast {old} {x} to {kind}")
        return typed(text, to, e.lanes)
    return typed(_convert(b, x, source, to, old, kind, e.lanes), to, e.lanes)


def _convert(b: Block, x: str, source: str, to: str, old: str, kind: str, lanes: int) -> str:
    zero = splat(literal(0, source), source, lanes)
    if to == "bool":
        return b.op(f"fcmp une {old} {x}, {zero}" if source in FLOATS else f"icmp ne {old} {x}, {zero}")
    if source in FLOATS:
        if to in FLOATS:
            return b.op(f"{'fptrunc' if to == 'float32' else 'fpext'} {old} {x} to {kind}")
        # Saturating, because the plain conversion is undefined out of range: bits would differ.
        name = f"fpto{'s' if signed(to) else 'u'}i.sat"
        return b.op(f"call {kind} @llvm.{name}.{mangled(to, lanes)}.{mangled(source, lanes)}({old} {x})")
    if to in FLOATS:
        return b.op(f"{'s' if signed(source) else 'u'}itofp {old} {x} to {kind}")
    if BITS[to] < BITS[source]:
        return b.op(f"trunc {old} {x} to {kind}")
    if BITS[to] == BITS[source]:
        return x
    return b.op(f"{'sext' if signed(source) else 'zext'} {old} {x} to {kind}")


def _ramp(b: Block, e: loops.Ramp) -> Value:
    return VectorIndex(b.index(e.base), e.stride, e.lanes)


def _broadcast(b: Block, e: loops.Broadcast) -> Value:
    v = b.value(e.a)
    if type(v) is ScalarIndex:
        return VectorIndex(v, 0, e.lanes)
    return b.spread(b.operand(e.a), e.dtype, e.lanes)


def _reduce_lanes(b: Block, e: loops.ReduceLanes) -> Value:
    x, lanes = b.operand(e.a), e.a.lanes
    if lanes & (lanes - 1):
        raise b.error(f"a reduction across lanes needs a power of two. Received: {lanes} lanes")
    while lanes > 1:
        kind, lanes = type_name(e.dtype, lanes), lanes // 2
        low, high = (
            b.op(
                f"shufflevector {kind} {x}, {kind} poison, <{lanes} x i32> <"
                + ", ".join(f"i32 {start + i}" for i in range(lanes))
                + ">"
            )
            for start in (0, lanes)
        )
        if lanes == 1:
            low, high = (b.op(f"extractelement {type_name(e.dtype, 2)} {x}, i64 {i}") for i in range(2))
        x = binary(b, e.op, low, high, e.dtype, lanes)
    return typed(x, e.dtype, 1)


def _shuffle(b: Block, e: loops.Shuffle) -> Value:
    kind = type_name(e.dtype, e.a.lanes)
    order = ", ".join(f"i32 {i}" for i in e.order)
    x, y = b.operand(e.a), b.operand(e.b)
    return b.op(f"shufflevector {kind} {x}, {kind} {y}, <{e.lanes} x i32> <{order}>")


EMITTERS: Emitters = {
    loops.Const: _const,
    loops.Var: _var,
    loops.Binary: _binary,
    loops.Unary: _unary,
    loops.Fma: _fma,
    loops.DotBytes: _dot_bytes,
    loops.DotHalves: _dot_halves,
    loops.Halves: _halves,
    loops.Select: _select,
    loops.Cast: _cast,
    loops.Load: load,
    loops.Ramp: _ramp,
    loops.Broadcast: _broadcast,
    loops.ReduceLanes: _reduce_lanes,
    loops.Shuffle: _shuffle,
}
