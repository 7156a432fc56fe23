"""Engine. Numbers behind the vector functions: how far each power series goes, and why that is enough.

Both element types use the same Taylor series about zero, cut where the next term falls below half an ulp; a minimax
polynomial would save one term of them and could not be checked by eye.
"""

import math

# e^r − 1 = r (1 + r/2! + r²/3! + …),  |r| ≤ ½ log 2 = 0.347         cut after rⁿ: 0.347ⁿ / (n + 1)! < 2⁻²⁵ or 2⁻⁵⁴
#   n = 7: 1.5e-8 (float32)      n = 13: 4e-18 (float64)
# log m = 2 s (1 + s²/3 + s⁴/5 + …),  s = (m − 1)/(m + 1),  m in [√½, √2], s² ≤ 0.0295    n = 5: 2e-9    n = 11: 1e-18
# sin f = f (1 − f²/3! + …),  cos f = 1 − f²/2! + …,  |f| ≤ π/4, f² ≤ 0.617              n = 5: 1e-9    n = 8: 2e-18


def exponential(n: int) -> list[float]:
    """(e^r − 1)/r."""
    return [1 / math.factorial(k + 1) for k in range(n)]


def logarithm(n: int) -> list[float]:
    """log((1 + s)/(1 − s)) / s in powers of s²."""
    return [2 / (2 * k + 1) for k in range(n)]


def sine(n: int) -> list[float]:
    """sin f / f in powers of f²."""
    return [(-1) ** k / math.factorial(2 * k + 1) for k in range(n)]


def cosine(n: int) -> list[float]:
    """cos f in powers of f²."""
    return [(-1) ** k / math.factorial(2 * k) for k in range(n)]


SERIES = {
    "exp": {"float32": exponential(7), "float64": exponential(13)},
    "log": {"float32": logarithm(6), "float64": logarithm(12)},
    "sin": {"float32": sine(5), "float64": sine(9)},
    "cos": {"float32": cosine(6), "float64": cosine(10)},
}

CONSTANTS: dict[str, dict[str, float]] = {
    # log 2 = high + low: high has so few bits that n · high is exact
    "log2_high": {"float32": 0.693359375, "float64": 6.93145751953125e-1},
    "log2_low": {"float32": -2.12194440054691e-4, "float64": 1.42860682030941723212e-6},
    # adding 1½ 2^mantissa rounds to an integer and leaves it in the low bits
    "shifter": {"float32": 1.5 * 2**23, "float64": 1.5 * 2**52},
    # beyond these e^x is 0 or inf, and e^x is still normal
    "exp_most": {"float32": 89.0, "float64": 710.0},
    "exp_least": {"float32": -105.0, "float64": -746.0},
    "exp_normal": {"float32": -87.0, "float64": -708.0},
    "tiny": {"float32": 2.0**-126, "float64": 2.0**-1022},
    "scale_up": {"float32": 2.0**25, "float64": 2.0**54},
    "scaled": {"float32": 25.0, "float64": 54.0},
}
