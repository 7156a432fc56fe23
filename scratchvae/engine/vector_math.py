"""Engine. exp, log, tanh and their kin for vectors, float32 and float64: a few multiplications, no branch, no call.

Each is within 4 ulp over its whole range, and NaN and infinities pass as in libm. The reductions:

    e^x        x = n log 2 + r,  |r| ≤ ½ log 2:   e^x = 2ⁿ (1 + q),  q = e^r − 1 by its series
    e^x − 1    = 2ⁿ q + (2ⁿ − 1):                 no cancellation, since q is exact where n = 0
    tanh x     = −t / (t + 2),  t = e^(−2|x|) − 1, with the sign of x: t is never large, and exact near zero
    log x      x = 2ᵏ m,  m in [√½, √2]:          k log 2 + log m,  log m = 2 artanh((m − 1)/(m + 1))
"""

from typing import Any

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.vectors import (
    absolute,
    bits_to_float,
    constant,
    copysign,
    float_to_bits,
    fma,
    mantissa,
    polynomial,
    rint,
    signed_to_float,
    where,
)

LOG2E = 1.4426950408889634
SQRT_HALF = 0.7071067811865476


@inline
def power_of_two(n: Any) -> Any:
    """2ⁿ for whole n within the normal exponents: n is put where the exponent lies."""
    return bits_to_float((float_to_bits(n + constant(n, "shifter")) << mantissa(n)) + float_to_bits(n * 0.0 + 1.0))


@inline
def reduced(x: Any) -> Any:
    """(n, q) with e^x = 2ⁿ (1 + q)."""
    n = rint(x * LOG2E)
    r = fma(n, -constant(x, "log2_low"), fma(n, -constant(x, "log2_high"), x))
    return n, r * polynomial(r, "exp")


@inline
def clamped(x: Any) -> Any:
    """x between the points where e^x is 0 and inf; a NaN passes."""
    x = where(x > constant(x, "exp_most"), constant(x, "exp_most"), x)
    return where(x < constant(x, "exp_least"), constant(x, "exp_least"), x)


@internal
def exp(x: Any) -> Any:
    """e^x; 2ⁿ is applied in two halves, so that the ends of the range come out as inf and as subnormals."""
    n, q = reduced(clamped(x))
    half = rint(n * 0.5)
    scale = power_of_two(half)
    return fma(scale, q, scale) * power_of_two(n - half)


@internal
def expm1(x: Any) -> Any:
    """e^x − 1 = (2ʰ q + (2ʰ − 2⁻ᵏ)) 2ᵏ with n = h + k."""
    n, q = reduced(clamped(x))
    half = rint(n * 0.5)
    rest = n - half
    scale = power_of_two(half)
    return fma(scale, q, scale - power_of_two(-rest)) * power_of_two(rest)


@internal
def exp_below(x: Any) -> Any:
    """e^x for x ≤ 0, cheaper: what would be subnormal is the least normal number."""
    n, q = reduced(where(x < constant(x, "exp_normal"), constant(x, "exp_normal"), x))
    scale = power_of_two(n)
    return fma(scale, q, scale)


@internal
def expm1_below(x: Any) -> Any:
    """e^x − 1 for x ≤ 0."""
    n, q = reduced(where(x < constant(x, "exp_normal"), constant(x, "exp_normal"), x))
    scale = power_of_two(n)
    return fma(scale, q, scale - 1.0)


@internal
def tanh(x: Any) -> Any:
    """tanh x = −t / (t + 2)."""
    t = expm1_below(absolute(x) * -2.0)
    return copysign(t / (t + 2.0), x)


@internal
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^−x) with e^−|x|, which cannot overflow."""
    e = exp(-absolute(x))
    return where(x < 0.0, e, e * 0.0 + 1.0) / (e + 1.0)


@inline
def split(x: Any) -> Any:
    """(k, s) with x = 2ᵏ m, m in [√½, √2), s = (m − 1)/(m + 1), for positive normal x."""
    one = float_to_bits(x * 0.0 + 1.0)
    offset = one - float_to_bits(x * 0.0 + SQRT_HALF)  # so that the exponent steps at √½ and not at 1
    shifted = float_to_bits(x) + offset
    k = signed_to_float(shifted >> mantissa(x), x) - signed_to_float(one >> mantissa(x), x)
    m = bits_to_float(float_to_bits(x) - (((shifted >> mantissa(x)) - (one >> mantissa(x))) << mantissa(x)))
    return k, (m - 1.0) / (m + 1.0)


@internal
def log_normal(x: Any) -> Any:
    """log x for positive normal x, and nothing else."""
    k, s = split(x)
    return fma(k, constant(x, "log2_high"), fma(k, constant(x, "log2_low"), s * polynomial(s * s, "log")))


@internal
def log(x: Any) -> Any:
    """log x: −inf at 0, NaN below."""
    small = x < constant(x, "tiny")
    y = log_normal(where(small, x * constant(x, "scale_up"), x))
    y = where(small, y - constant(x, "scaled") * 0.6931471805599453, y)
    y = where(x == 0.0, x * 0.0 - 1.0 / absolute(x), y)
    infinite = x - x != 0.0  # inf and NaN
    return where(infinite, where(x > 0.0, x, x - x), where(x < 0.0, x * 0.0 / (x * 0.0), y))


@internal
def log1p(x: Any) -> Any:
    """log(1 + x), for x ≥ 0: what rounding 1 + x lost, over 1 + x, is added."""
    u = x + 1.0
    y = log(u) + (x - (u - 1.0)) / u
    return where(u - u == 0.0, y, u)


@internal
def softplus(x: Any) -> Any:
    """log(1 + e^x) = max(x, 0) + log1p(e^−|x|)."""
    e = exp(-absolute(x))
    u = e + 1.0
    return where(x > 0.0, x, e * 0.0) + log_normal(u) + (e - (u - 1.0)) / u


@inline
def softplus_parts(x: Any) -> Any:
    """(max(x, 0), u, sigmoid(x), sigmoid(−x)) by one e = e^−|x|, u = 1 + e; softplus x is the first + log u."""
    e = exp_below(-absolute(x))
    u = e + 1.0
    large, small, positive = 1.0 / u, e / u, x > 0.0
    return where(positive, x, 0.0), u, where(positive, large, small), where(positive, small, large)


@internal
def sin_cos(f: Any) -> Any:
    """(sin f, cos f) for |f| ≤ π/4."""
    square = f * f
    return f * polynomial(square, "sin"), polynomial(square, "cos")
