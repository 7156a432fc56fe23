"""§7.2.5 The studies of q and p: one unit, orderings that theory gives, and a bound that stays below log p(x)."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.papers import book, columns, decoders, posteriors
from bench.papers.decoders import Row, Study
from scratchvae import plots
from scratchvae.cli import answered
from scratchvae.distributions.kinds import decoder
from scratchvae.errors import CheckFailed, DataError
from scratchvae.types import Array
from scratchvae.vae import VAE

SMALL: dict[str, Any] = {"latent": 1, "hidden": (8,), "learning_rate": 1e-2}


def made(likelihood: str, *outs: Array) -> Any:
    """The distribution of heads' outputs."""
    return decoder(likelihood).of(list(outs))


# ---------------------------------------------------------------- one unit


@pytest.mark.parametrize("scale", [1.0, 256.0])
def test_a_density_is_counted_in_levels(scale: float) -> None:
    """Catches a lost or a wrong −D ln s: the uniform density on s levels is the uniform mass 1/s, whatever s."""
    row, levels = Row("gaussian", scale), np.arange(12).reshape(3, 4)
    log_p = stats.uniform(0, 256 / scale).logpdf(decoders.seen(levels, row, 0)).sum(axis=1)
    np.testing.assert_allclose(decoders.in_levels(log_p, row, 4), -4 * math.log(256), rtol=1e-12)
    mass = decoders.in_levels(log_p, Row("poisson"), 4)
    assert mass is log_p  # a mass is in that unit as it is


def test_dequantised_levels_stay_in_their_cells() -> None:
    """Catches u = 0 or 1, which a beta refuses, and rounding into the next level, also in float32."""
    levels = np.tile(np.array([0, 1, 254, 255]), (2**16, 1))
    x = decoders.seen(levels, Row("beta", 256), 3)
    for found in (x, x.astype(np.float32)):
        assert ((found > 0) & (found < 1)).all()
        np.testing.assert_array_equal(np.floor(found * 256), levels)


def test_a_dequantised_density_is_below_the_mass_of_its_cells() -> None:
    """Jensen: E_u log p(k + u) ≤ log ∫ p over the cell. Catches u of (−1, 1), or noise that is counted twice."""
    rng, k = np.random.default_rng(0), np.arange(1, 16)
    mu, log_s = rng.uniform(0, 16, 15), rng.uniform(-1, 2, 15)
    mass = [made("discretised-logistic:17", *np.array([[m], [s]])).log_prob(np.array([x])) for m, s, x in
            zip(mu, log_s, k, strict=True)]  # fmt: skip
    x = decoders.seen(np.tile(k, (4000, 1)), Row("gaussian", 1), 1) - 0.5  # cells are k ± ½
    below = stats.logistic(mu, np.exp(log_s)).logpdf(x).mean(axis=0)
    assert (below <= np.ravel(mass) + 0.02).all()


# ---------------------------------------------------------------- orderings of theory


def test_richer_decoders_contain_the_plainer() -> None:
    """NB → Poisson as θ → ∞, zero-inflated → NB as the gate closes, a mixture of equals is one: to 1e-9. So at its best
    the richer is no worse; catches a head that cannot reach the limit."""
    rng = np.random.default_rng(0)
    x, mean = rng.poisson(4.0, (50, 3)).astype(float), rng.normal(1, 1, (50, 3))
    theta, far = rng.normal(0, 1, (50, 3)), np.full((50, 3), 25.0)
    poisson, nb = made("poisson", mean).log_prob(x), made("negative-binomial", mean, theta).log_prob(x)
    np.testing.assert_allclose(made("negative-binomial", mean, far).log_prob(x), poisson, atol=1e-8)
    gated = {head: np.full((50, 3), -40.0) for head in decoder("zero-inflated").heads}
    known = dict(zip(decoder("negative-binomial").heads, (mean, theta), strict=True))
    np.testing.assert_allclose(made("zero-inflated", *(gated | known).values()).log_prob(x), nb, atol=1e-9)
    y, mu, log_s = np.minimum(x, 16), rng.uniform(0, 16, (50, 3)), rng.normal(0, 1, (50, 3))
    one = made("discretised-logistic:17", mu, log_s).log_prob(y)
    alike = (np.repeat(outs, 3, axis=1) for outs in (mu, log_s))
    three = made("logistic-mixture:17:3", rng.normal(size=(50, 9)), *alike)
    np.testing.assert_allclose(three.log_prob(y), one, atol=1e-9)


def counts(seed: int, n: int = 900) -> Array:
    """Negative binomial with θ = ½ under a structural zero half of the time: (n, 6)."""
    rng = np.random.default_rng(seed)
    lam = rng.gamma(0.5, 16.0, (n, 6))
    return rng.poisson(lam) * (rng.random((n, 6)) < 0.5)


def two_modes(seed: int, n: int = 900) -> Array:
    """Each cell at level 3 or 13, by a coin of its own: (n, 6)."""
    return np.random.default_rng(seed).binomial(16, np.random.default_rng(seed + 1).choice([0.2, 0.8], (n, 6)))


def study(x: Array) -> Study:
    return Study(x[:600], x[600:], {**SMALL, "epochs": 12.0}, ())


@pytest.mark.parametrize(
    ("x", "worse", "better"),
    [
        (counts(0), "poisson", "negative-binomial"),
        (two_modes(0), "binomial:16", "categorical:17"),
        (two_modes(0), "discretised-logistic:17", "logistic-mixture:17:2"),
    ],
)
def test_richer_decoders_win_where_the_data_are_richer(x: Array, worse: str, better: str) -> None:
    """On data made outside of the plainer family, by five standard errors of the rows' differences, held out. Catches
    a study that measures its training rows, or trains on none."""
    one, other = (decoders.measured(study(x), Row(name), 20)[1] for name in (worse, better))
    assert len(one) == len(study(x).test)
    mean, error = decoders.summary(other - one)
    assert mean > 5 * error


# ---------------------------------------------------------------- the commands


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results go to a folder of the test."""
    monkeypatch.setattr(decoders, "HERE", tmp_path / "decoders.json")
    monkeypatch.setattr(decoders, "KEPT", tmp_path / "rows")
    monkeypatch.setattr(posteriors, "HERE", tmp_path / "posteriors.json")
    return tmp_path


def test_a_study_keeps_rows_that_it_does_not_measure(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a second run that forgets the first, and a difference from another study's rows."""
    small = study(counts(1, 700))._replace(rows=(Row("poisson"), Row("gaussian", 1)))
    monkeypatch.setitem(decoders.STUDIES, "words", lambda _: small)
    assert decoders.main(["words", "--only", "poisson", "--epochs", "2"]) == 0
    assert decoders.main(["words", "--only", "gaussian", "--epochs", "2"]) == 0
    held = json.loads((there / "decoders.json").read_text())["words"]
    assert held["poisson"]["given"] == "mass"
    assert held["gaussian"]["given"] == "density, less D ln 1"
    difference = held["gaussian"]["log_likelihood"][0] - held["poisson"]["log_likelihood"][0]
    assert held["gaussian"]["above_first"][0] == pytest.approx(difference, abs=1e-6)
    assert capsys.readouterr().out.count("| poisson |") == 2


def test_no_book_is_one_line(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback, or a download, where there is no book."""
    assert answered("studies", lambda: decoders.main(["words"])) == 3
    assert capsys.readouterr().err.startswith("studies: words: skipped, for there is no book")
    with pytest.raises(DataError, match="0 chapters"):
        book.word_counts("no headings", 3)


def test_words_are_counted_in_their_chapters() -> None:
    """Catches a heading that is counted, a word at its capital, and test chapters that choose the words."""
    text = "".join(f"2 Kings {i}\n\n  1 And THE king; the end {'king ' * i}.\n" for i in range(1, 19))
    train, test = book.word_counts(text, 2)
    assert (len(train), len(test)) == (16, 2)
    kings, the = np.concatenate([train, test]).T
    assert sorted(kings) == list(range(2, 20))
    assert set(the) == {2}


def test_grey_levels_are_refused_with_their_count() -> None:
    """Exact 0 and 1 have no beta density: catches an ε put in silently."""
    levels = np.array([[0, 128, 255], [7, 0, 3]] * 5)
    assert "15" in decoders.refusal(levels)


def test_mixed_columns_report_two_units() -> None:
    """Densities, masses and KL are the bound's three parts. Catches a sum of both, a part left out, or the fillings'
    hidden cells among those that were seen."""
    pytest.importorskip("sklearn")
    x = columns.rows_of("wine")[:, [0, 4, 13]]
    model = VAE(2, columns="0=gaussian,1=negative-binomial,2=categorical", hidden=(8,), epochs=2.0, missing="nan",
                dtype="float64").fit(x)  # fmt: skip
    x[::2, 0], x[1::3, 2] = np.nan, np.nan
    found, eps = columns.terms(model, x, 4), np.random.default_rng(0).standard_normal((4, len(x), 2))
    np.testing.assert_allclose(found["density"] + found["mass"] - found["kl"], model.elbo(x, eps), rtol=1e-10)
    assert (found["mass"] < 0).all()
    x = columns.rows_of("wine")[:, [0, 4, 13]]
    filled = np.where(np.arange(3) == 2, x, x + 1.0)
    score = columns.scores(x, filled, np.ones(x.shape, bool), np.array([False, False, True]), np.ones(3))
    assert score == {"rmse": pytest.approx(1.0), "right": 1.0, "classes": len(x)}


# ---------------------------------------------------------------- posteriors


def bits(n: int = 24) -> Array:
    """Rows of 10 bits of two kinds."""
    rng = np.random.default_rng(0)
    p = np.where(rng.random((n, 1)) < 0.5, np.linspace(0.1, 0.9, 10), np.linspace(0.9, 0.1, 10))
    return (rng.random((n, 10)) < p).astype(np.uint8)


@pytest.mark.parametrize("q", posteriors.ROWS)
def test_the_bound_is_below_log_p(q: str) -> None:
    """For every row, by two rules that share nothing but the decoder. Catches a prior that is not the one the KL has, a
    Jacobian that is lost, and a grid that ends before the codes do."""
    x = bits()
    model = posteriors.train(q, 2 if q == "dirichlet" else 1, 2, x, x, hidden=(6,), batch=8, dtype="float64")
    assert model.state
    log_p = posteriors.evidence(model.state, x, 4097)
    np.testing.assert_allclose(posteriors.evidence(model.state, x, 2049), log_p, atol=1e-7)
    assert (posteriors.bound(model, x, 400) <= log_p + 1e-6).all()
    every = ((np.arange(2**10)[:, None] >> np.arange(10)) & 1).astype(np.uint8)
    assert np.exp(posteriors.evidence(model.state, every, 1025)).sum() == pytest.approx(1, abs=1e-9)


def test_a_bound_above_log_p_fails(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a check that cannot say no."""
    monkeypatch.setattr(posteriors, "evidence", lambda state, x, n=0: np.full(len(x), -99.0))
    monkeypatch.setattr(posteriors, "SETTINGS", {**posteriors.SETTINGS, "hidden": (6,)})
    with pytest.raises(CheckFailed, match=r"the bound of 24 of 24 rows lies above"):
        posteriors.one("normal", 1, bits(), bits())


def test_rows_of_posteriors_are_drawn(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command a row, and a picture with a name for every curve."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(posteriors, "bits", lambda folder: (bits(64), bits(24)))
    monkeypatch.setattr(posteriors, "SETTINGS", {**posteriors.SETTINGS, "hidden": (6,)})
    monkeypatch.setattr(posteriors, "NOISE", 100)
    sheets: list[Any] = []
    monkeypatch.setattr(plots, "save", lambda sheet, path: sheets.append(sheet))
    assert posteriors.main(["laplace", "--epochs", "2", "--samples", "2"]) == 0
    assert posteriors.main(["normal", "--epochs", "2", "--samples", "2", "--out", "all.png"]) == 0
    found = json.loads((there / "posteriors.json").read_text())
    assert list(found) == ["normal", "laplace"]
    assert all(len(row[key]["curve"]) == 2 for row in found.values() for key in ("eight", "one"))
    assert [{text.get_text() for text in ax.texts} for ax in sheets[0].axes] == [{"normal", "laplace"}] * 2
