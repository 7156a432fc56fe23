"""§7.2.4 What the chapter and the paper say of costs and of samples, and what is so: in numbers, by NumPy alone."""

import re
from pathlib import Path

import numpy as np
from scipy import special

from scratchvae.noise import Noise, Purpose
from scratchvae.reparam import gamma

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/corrections.md").read_text(encoding="utf-8")


def test_every_row_has_its_test() -> None:
    """Bug: a correction that nothing shows, or whose test has moved."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py"))
    shown = [re.findall(r"`(test_\w+)`", row[-1]) for row in rows if "shown by" not in row[-1]]
    assert len(shown) >= 12
    assert all(shown)
    assert not [name for names in shown for name in names if f"def {name}(" not in tests]


def test_a_sum_of_exponentials_has_no_slope_in_its_shape() -> None:
    """Section 2.4 of the paper has a gamma as a sum of α exponentials. Its law is right where α is a whole number; from
    one to the next z jumps by a whole exponential, as far as u may have it, where by the CDF it glides."""
    u = (Noise(5).uniforms(Purpose.DATA, 0, 40_000, 4, "float64") * 2**24 + 0.5) / (2**24 + 1)
    sums = np.cumsum(-np.log(u), axis=1)
    for k in (1, 2, 3, 4):
        share = special.gammainc(k, sums[:, k - 1])  # of the right law: uniform
        assert abs(share.mean() - 0.5) < 0.01
        assert abs(share.var() - 1 / 12) < 0.002
    jump = sums[:, 2] - sums[:, 1]  # at the same noise, from shape 2 to shape 3: all there is between them
    held = gamma.log_sample(np.full(999, 2.0), np.arange(1, 1000) / 1000)
    glide = np.exp(held) * gamma.log_slope(np.full(999, 2.0), held)
    assert abs(jump.mean() - 1) < 0.02 > abs(glide.mean() - 1)  # both means move by one …
    assert abs(np.corrcoef(jump, sums[:, 1])[0, 1]) < 0.02  # … but the jump knows nothing of z
    assert np.corrcoef(glide, np.exp(held))[0, 1] > 0.95


def test_a_blanket_costs_by_its_factors() -> None:
    """Section 7.1.2 has a mean-field step cost e^(Markov blanket). So it does for one factor over all of it: the
    log odds of x₀ over n neighbours are 2ⁿ free numbers. Of pairwise factors they are n + 1 numbers and a sum."""
    n = 6
    x = np.array(np.meshgrid(*[[0.0, 1.0]] * n)).reshape(n, -1).T  # the neighbours, 2ⁿ rows
    normals = Noise(6).normals(Purpose.DATA, 0, 2, 2**n, np.float64)
    pairwise = normals[0, 0] + x @ normals[0, 1 : n + 1]
    terms = np.hstack([np.ones((2**n, 1)), x])
    for log_odds, off in ((pairwise, 0.0), (normals[1], 0.5)):
        found = np.linalg.lstsq(terms, log_odds, rcond=None)[0]
        left = np.abs(terms @ found - log_odds).max()
        assert left < 1e-12 if not off else left > off
    # the mean field step itself, E[log odds] under independent q: by n + 1 numbers what the sum over 2ⁿ rows gives
    q = special.expit(normals[1, :n])
    rows = np.prod(np.where(x == 1, q, 1 - q), axis=1)
    np.testing.assert_allclose(rows @ pairwise, normals[0, 0] + q @ normals[0, 1 : n + 1], rtol=1e-12)


def test_the_path_through_a_rejection_sampler_is_biased() -> None:
    """Marsaglia and Tsang's z = h(ε, α) at accepted ε: the draws are right, the mean of ∂h/∂α is not 1, for which ε are
    accepted depends on α. The implicit slope has the right mean at the same draws."""
    alpha, noise = 1.0, Noise(13)
    eps = noise.normals(Purpose.DATA, 0, 1, 20_000, np.float64)[0]
    u = noise.uniforms(Purpose.DATA, 1, 1, 20_000, "float64")[0]
    d, v = alpha - 1 / 3, np.maximum(1 + eps / np.sqrt(9 * alpha - 3), 1e-300)
    kept = np.log(np.maximum(u, 1e-300)) < eps**2 / 2 + d - d * v**3 + 3 * d * np.log(v)
    eps, v = eps[kept], v[kept]
    z = d * v**3
    by_h = v**3 - 3 * v**2 * eps * d * 4.5 / (9 * alpha - 3) ** 1.5
    implicit = z * gamma.log_slope(np.full(len(z), alpha), np.log(z))
    assert abs(z.mean() - alpha) < 0.02
    assert abs(implicit.mean() - 1) < 0.015
    assert 1.015 < by_h.mean() < 1.035
