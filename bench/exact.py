"""§7.2.4 What the slopes of samples are, in mpmath's digits, from the CDFs alone; and random points to ask for them at.

`mp` is mpmath's own `mp`, at the digits that the caller set: 80 for all but von Mises, whose quadrature takes 30.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.types import Array


def by_difference(F: Callable[..., Any], p: Any, mp: Any) -> Any:
    """∂F/∂p in 80 digits: a step of 1e−25 leaves 1e−50."""
    h = mp.mpf(10) ** -25 * p
    return (F(p + h) - F(p - h)) / (2 * h)


def gamma_right(mp: Any, alpha: float, log_z: float) -> Any:
    """d ln z/dα = −(∂P/∂α)/(z f)."""
    a, z = mp.mpf(alpha), mp.exp(mp.mpf(log_z))
    f = mp.exp(a * mp.log(z) - z - mp.loggamma(a))
    ends = (0, z) if z < a else (z, mp.inf)
    return by_difference(lambda v: mp.gammainc(v, *ends, regularized=True), a, mp) / f * (-1 if z < a else 1)


def beta_right(mp: Any, a: float, b: float, logit: float) -> tuple[Any, Any]:
    """∂logit/∂a and ∂logit/∂b = −(∂I/∂·)/(x (1−x) f)."""
    a, b, e = mp.mpf(a), mp.mpf(b), mp.exp(mp.mpf(logit))
    x, y = e / (1 + e), 1 / (1 + e)

    def lower(p: Any, q: Any, v: Any) -> Any:
        return mp.exp(p * mp.log(v) + q * mp.log1p(-v)) / (p * mp.beta(p, q)) * mp.hyp2f1(1, p + q, p + 1, v)

    def F(p: Any, q: Any) -> Any:
        return lower(p, q, x) if x < 0.5 else -lower(q, p, y)

    f = mp.exp(a * mp.log(x) + b * mp.log(y)) / mp.beta(a, b)
    return by_difference(lambda p: F(p, b), a, mp) / -f, by_difference(lambda q: F(a, q), b, mp) / -f


def von_mises_right(mp: Any, kappa: float, z: float) -> Any:
    """dz/dκ as −(∂F/∂κ)/f, F by quadrature from the nearer end."""
    k, z = mp.mpf(kappa), mp.mpf(z)
    A = mp.besseli(1, k) / mp.besseli(0, k)
    near = mp.cos(z) > A
    points = mp.linspace(0 if near else abs(z), abs(z) if near else mp.pi, 9)
    integral = mp.quad(lambda t: (mp.cos(t) - A) * mp.exp(k * (mp.cos(t) - mp.cos(z))), points)
    return mp.sign(z) * (-integral if near else integral)


def student_right(mp: Any, nu: float, z: float) -> Any:
    """dz/dν = −(∂F/∂ν)/f, F by the incomplete beta."""
    n, t = mp.mpf(nu), mp.mpf(z)

    def middle(v: Any) -> Any:  # F(z) − ½
        return t * mp.hyp2f1(0.5, (v + 1) / 2, 1.5, -t * t / v) / mp.sqrt(v) / mp.beta(v / 2, mp.mpf(0.5))

    f = mp.exp(-(n + 1) / 2 * mp.log1p(t * t / n)) / mp.sqrt(n) / mp.beta(n / 2, mp.mpf(0.5))
    return -by_difference(middle, n, mp) / f


def points(n: int, *, low: float, high: float, shapes: int, seed: int) -> tuple[list[Array], Array]:
    """Shapes log-uniform on (low, high), and u: half of them uniform, half in the tails."""
    rng = np.random.default_rng(seed)
    u, tail = rng.random(n), 10.0 ** rng.uniform(-12, -1, n)
    u = np.where(np.arange(n) % 4 == 0, tail, np.where(np.arange(n) % 4 == 1, 1 - tail, u))
    return [np.exp(rng.uniform(np.log(low), np.log(high), n)) for _ in range(shapes)], u
