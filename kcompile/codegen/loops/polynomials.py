"""The constants of `maths`: the format of each floating-point type, and the polynomials for it.

The coefficients were fitted for this project: weighted least squares on Chebyshev nodes, reweighted
towards the minimax solution (C. L. Lawson, 1961), with 220 bits, rounding one coefficient at a
time, lowest power first, and fitting the others again. Errors are given as the part of the
function's value that the polynomial misses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A floating-point type.

    integer, signed: the integer types of its size. mantissa: bits stored of it; bias: of the
    exponent; sqrt_half: the bits of sqrt(1/2). ln2, half_pi, two_thirds: sums of numbers of
    decreasing size. exp_low, exp_high: beyond them exp is 0 or inf. tanh_one, erf_one: from here on
    the rounded value is 1. circular_limit: up to where sin and cos reduce by half_pi.

    Polynomials, lowest power first:
    exp    (e^r - 1 - r) / r^2 for |r| <= log(2)/2; relative error of e^r 2^-28.2, 2^-63.8
    log    (log(1 + r) - r) / r^2 for 1 + r from sqrt(1/2) to sqrt(2); 2^-27.8, 2^-59.3
    tanh   (tanh(x) - x) / x^3 in x^2 for |x| <= 9/16; 2^-29.4, 2^-59.8
    sin    (sin(r) - r) / r^3 in r^2 for |r| <= 0.83; 2^-27.3, 2^-63.1
    cos    (cos(r) - 1 + r^2/2) / r^4 in r^2 for |r| <= 0.83; absolute error 2^-32.4, 2^-68.8
    erf    erf(x) / x - 1 in x^2 for |x| <= 1; 2^-29.4, 2^-56.3
    erfc   log(1 - erf(x)) for x from 1 to erf_one; absolute error of erf 2^-29.8, 2^-59.5
    atanh  (2 atanh(s) - 2s - 2/3 s^3) / s^5 in s^2 for |s| <= 0.172; 2^-35.8, 2^-76
    """

    dtype: str
    integer: str
    signed: str
    bits: int
    mantissa: int
    bias: int
    sqrt_half: int
    log2_e: float
    two_over_pi: float
    ln2: tuple[float, float]
    half_pi: tuple[float, float, float]
    two_thirds: tuple[float, float]
    exp_low: float
    exp_high: float
    tanh_one: float
    erf_one: float
    circular_limit: float
    exp: tuple[float, ...]
    log: tuple[float, ...]
    tanh: tuple[float, ...]
    sin: tuple[float, ...]
    cos: tuple[float, ...]
    erf: tuple[float, ...]
    erfc: tuple[float, ...]
    atanh: tuple[float, ...]

    @property
    def magic(self) -> float:
        """Adding it rounds to an integer, which then stands in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.mantissa

    @property
    def sign(self) -> int:
        """The bit of the sign."""
        return 1 << (self.bits - 1)

    @property
    def exponent_mask(self) -> int:
        """The bits of the exponent, and the sign."""
        return (1 << self.bits) - (1 << self.mantissa)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def epsilon(self) -> float:
        """Half an ulp of 1: functions f(x) = x + O(x^2) are x below it."""
        return 2.0 ** -(self.mantissa + 1)


# The bits of 2 / pi behind the point, 32 in a word, after a word of zeros.
TWO_OVER_PI = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)

FLOAT32 = Format(
    dtype="float32",
    integer="uint32",
    signed="int32",
    bits=32,
    mantissa=23,
    bias=127,
    sqrt_half=0x3F3504F3,
    log2_e=1.4426950216293335,
    two_over_pi=0.6366197466850281,
    ln2=(0.6931471824645996, -1.9046542121259336e-09),
    half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    two_thirds=(0.6666666865348816, -1.9868215517249155e-08),
    exp_low=-104.0,
    exp_high=89.0,
    tanh_one=9.1,
    erf_one=4.0,
    circular_limit=2.0**19,
    exp=(
        0.4999999403953552,
        0.1666651964187622,
        0.04166824743151665,
        0.00836884044110775,
        0.0013822627952322364,
    ),
    log=(
        -0.49999988079071045,
        0.33333325386047363,
        -0.2500160038471222,
        0.20001959800720215,
        -0.16608698666095734,
        0.14182277023792267,
        -0.13246655464172363,
        0.12901712954044342,
        -0.07608713209629059,
    ),
    tanh=(
        -0.3333331346511841,
        0.13332438468933105,
        -0.05383608862757683,
        0.021002372726798058,
        -0.0061731799505651,
    ),
    sin=(-0.16666649281978607, 0.008331847377121449, -0.00019475148292258382),
    cos=(0.04166663810610771, -0.0013886954402551055, 2.4392802515649237e-05),
    erf=(
        0.12837916612625122,
        -0.3761262595653534,
        0.11283580958843231,
        -0.026853546500205994,
        0.005187740549445152,
        -0.0008004633127711713,
        7.834699499653652e-05,
    ),
    erfc=(
        -0.0003540350589901209,
        -1.1270389556884766,
        -0.6382271647453308,
        -0.1030363067984581,
        0.021804897114634514,
        -0.002939517144113779,
        0.0001855656737461686,
    ),
    atanh=(0.40000152587890625, 0.2854708135128021, 0.23420032858848572),
)

FLOAT64 = Format(
    dtype="float64",
    integer="uint64",
    signed="int64",
    bits=64,
    mantissa=52,
    bias=1023,
    sqrt_half=0x3FE6A09E667F3BCD,
    log2_e=1.4426950408889634,
    two_over_pi=0.6366197723675814,
    ln2=(0.6931471805599453, 2.3190468138462996e-17),
    half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    two_thirds=(0.6666666666666666, 3.700743415417188e-17),
    exp_low=-746.0,
    exp_high=710.0,
    tanh_one=19.1,
    erf_one=6.0,
    circular_limit=2.0**45,
    exp=(
        0.5,
        0.16666666666666682,
        0.04166666666666646,
        0.008333333333317578,
        0.0013888888889004264,
        0.00019841269895398933,
        2.4801587082540814e-05,
        2.75572355945394e-06,
        2.7557478658223893e-07,
        2.5111846239560655e-08,
        2.085278797439208e-09,
    ),
    log=(
        -0.5,
        0.33333333333333454,
        -0.24999999999998906,
        0.19999999999945636,
        -0.16666666666917412,
        0.14285714293907,
        -0.12499999981800881,
        0.11111110511843691,
        -0.1000000038968137,
        0.09090933655113527,
        -0.08333345722395713,
        0.07691711382772298,
        -0.07141997915416996,
        0.06675184963487338,
        -0.06269854865635884,
        0.05817553604317107,
        -0.0532627782327856,
        0.054164620591765494,
        -0.06276839867604259,
        0.05697476174081612,
        -0.02426861745168437,
    ),
    tanh=(
        -0.33333333333333276,
        0.13333333333322853,
        -0.053968253961581246,
        0.02186948832362974,
        -0.008863231583362956,
        0.0035920817553608585,
        -0.0014554767205815628,
        0.0005881725558384335,
        -0.00023269003808334672,
        8.232598045972444e-05,
        -1.8883801475655007e-05,
    ),
    sin=(
        -0.16666666666666666,
        0.008333333333333068,
        -0.0001984126984101434,
        2.7557319109593115e-06,
        -2.5052081911015342e-08,
        1.6055876190755846e-10,
        -7.473158218017219e-13,
    ),
    cos=(
        0.041666666666666664,
        -0.0013888888888888425,
        2.4801587301239232e-05,
        -2.7557319094651697e-07,
        2.087673124536194e-09,
        -1.146805185163921e-11,
        4.6513759980268525e-14,
    ),
    erf=(
        0.1283791670955126,
        -0.3761263890318408,
        0.11283791670969842,
        -0.026866170647756336,
        0.005223977649827266,
        -0.0008548328365652199,
        0.00012055379911489647,
        -1.4926730632315812e-05,
        1.6478662927878114e-06,
        -1.6532142966374198e-07,
        1.584874457983946e-08,
        -1.5845034428264853e-09,
        1.332521300308965e-10,
    ),
    erfc=(
        -1.844053799996313e-07,
        -1.128377282212217,
        -0.636628704514891,
        -0.10274664056536398,
        0.01907695176934046,
        0.00028223302819364393,
        -0.001770929158861724,
        0.0006428357946712439,
        -4.5956503247743586e-05,
        -6.975066049118959e-05,
        4.4770248883842416e-05,
        -1.6421678622981232e-05,
        4.301855453163011e-06,
        -8.452134315492008e-07,
        1.2483489069923297e-07,
        -1.3522794180552529e-08,
        1.0171009148518554e-09,
        -4.752016553113095e-11,
        1.039131659251845e-12,
    ),
    atanh=(
        0.4,
        0.28571428571426893,
        0.222222222227133,
        0.18181818106723271,
        0.15384622106892457,
        0.13332964854619095,
        0.11777090615689331,
        0.10282329014484837,
        0.12002464143988097,
    ),
)

FORMATS = {f.dtype: f for f in (FLOAT32, FLOAT64)}
