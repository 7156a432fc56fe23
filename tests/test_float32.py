"""§7.2.5 Families in float32: right to its last digits at the rounded heads, since they are worked in float64."""

from typing import Any

import numpy as np
import pytest

from scratchvae.distributions.continuous import Beta, ContinuousBernoulli, Gamma, VonMises

PAIRS = ((-0.1343, -0.0340), (-500.0, 20.0), (1e-6, 0.0))  # of logits, for KL


def test_nasty_numbers_in_float32() -> None:
    """≤ 2e-6 at the rounded heads: catches float32 that is worked in float32, where KL(1e-6 ‖ 0) is 0 or negative."""
    mp = pytest.importorskip("mpmath").mp
    zero = np.zeros(1, "float32")

    def box(l: Any) -> Any:
        return mp.log(mp.expm1(l) / l) if l else mp.mpf(0)

    def mean(l: Any) -> Any:
        return 1 / (1 - mp.exp(-l)) - 1 / l

    def near(got: Any, right: Any) -> None:
        assert got.dtype == np.float32
        assert abs(mp.mpf(float(np.squeeze(got))) - right) <= 2e-6 * abs(right)

    with mp.workdps(80):
        for v in (1e-8, 1e-3, -0.1343, 20, -500, 800):
            p, l = ContinuousBernoulli(np.array([v], "float32")), mp.mpf(float(np.float32(v)))
            near(p.log_prob(zero), -box(l))
            near(p.mean, mean(l))
        for v1, v2 in PAIRS:
            heads = [np.array([v], "float32") for v in (v1, v2)]
            one, two = (mp.mpf(float(h[0])) for h in heads)
            right = box(two) - box(one) - (two - one) * mean(one)
            near(ContinuousBernoulli(heads[0]).kl_to(ContinuousBernoulli(heads[1])), right)
        for v in (1e-8, 700, 1e5):
            q, k, x = VonMises(np.array([v], "float32"), zero), mp.mpf(float(np.float32(v))), np.ones(1, "float32")
            log_i0, A = mp.log(mp.besseli(0, k)), mp.besseli(1, k) / mp.besseli(0, k)
            near(q.kl(), k * A - log_i0)
            near(q.log_prob(x), k * mp.cos(1) - mp.log(2 * mp.pi) - log_i0)
            near(q.log_prob_vjp(np.ones((), "float32"), x)[1].a, mp.cos(1) - A)
        a, b, x = np.array([[1, 8, 0], [1, 1, 0], [1, 1, 1], [2, 2, 0]], "float32").T[..., None]
        got = Beta(np.log(a), np.log(b)).log_prob(x)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, [np.log(8), 0, 0, -np.inf], rtol=2e-6)


@pytest.mark.parametrize("kind", [Gamma, Beta])
def test_samples_of_float32_are_worked_in_float64(kind: Any) -> None:
    """Catches α, ln z or a slope formed in float32: heads from e^−4 to e^8, against float64 at the same numbers."""
    rng, n = np.random.default_rng(14), 300
    heads = [rng.uniform(-4, 8, (n, 1)).astype("float32") for _ in range(2)]
    u = ((np.floor(rng.random((n, 1)) * 2**24) + 0.5) / 2**24).astype("float64")
    p, wide = kind(*heads), kind(*(h.astype("float64") for h in heads))
    dz = np.ones((n, 1), "float32")
    for got, right in zip((p.sample(u), *p.sample_vjp(dz, u)), (wide.sample(u), *wide.sample_vjp(dz, u)), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, right, rtol=2e-6, atol=1e-37)
