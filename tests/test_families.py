"""§7.2.5 The page on any q and any p: its tables are the registries', and what it promises of mixed columns holds."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench import reparam as side_by_side
from scratchvae import VAE
from scratchvae.distributions.kinds import GAUSSIAN, decoder, posterior
from scratchvae.distributions.latent import POSTERIORS
from scratchvae.distributions.likelihoods import LIKELIHOODS
from scratchvae.errors import UsageError
from scratchvae.models.vae import LIKELIHOODS as FIRST
from scratchvae.noise import Noise, Purpose

PAGE = (Path(__file__).parent.parent / "docs/families.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The first table below a heading: its cells by the name that begins a row."""
    part = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in found}


def test_every_likelihood_is_in_its_table() -> None:
    """Bugs: one that nobody reads of, one that is gone, a mass called a density, a setting that it does not take."""
    found = rows("p(x given z)")
    assert {name.partition(":")[0] for name in found} == {*LIKELIHOODS, *FIRST}
    for name, cells in found.items():
        base, *settings = name.split(":")
        if base in LIKELIHOODS:
            assert cells[1] == ("mass" if LIKELIHOODS[base].mass else "density")
            taken = tuple(s for s in LIKELIHOODS[base].settings if s not in ("variance", "total"))
            assert tuple(s.lower() for s in settings) == taken


def test_every_posterior_is_in_its_table() -> None:
    """Bugs: a family that nobody reads of; a closed KL where there is none, for which `sgvb_b` would be refused."""
    found = rows("q(z given x)")
    assert {name.partition(":")[0] for name in found} == {*POSTERIORS, *GAUSSIAN, "planar"}
    for name, cells in found.items():
        family = posterior(name.replace("LAYERS", "2")).family
        assert cells[2] == ("closed" if hasattr(family, "kl") else "sampled"), name


def test_the_errors_are_those_that_were_measured() -> None:
    """Bug: a figure beside torch, JAX and SciPy that was typed, or is of another version than the file's."""
    made = side_by_side.table(json.loads(side_by_side.RESULTS.read_text()))
    lines = [line for line in made.splitlines() if not re.match(r"\| (-|worst)", line) and line]
    assert len(lines) == 10
    assert not [line for line in lines if line not in PAGE]


def mixed() -> VAE:
    u = Noise(3).uniforms(Purpose.DATA, 0, 60, 3, "float64")
    x = np.stack([20 + 60 * u[:, 0], u[:, 1] < 0.5, np.floor(9 * u[:, 2])], axis=1)
    x[::6, 2] = np.nan
    kinds = "0=gaussian,1=categorical,2=poisson"
    return VAE(latent=2, hidden=(4,), epochs=1, columns=kinds, missing="nan", kernels="numpy").fit(x)


def test_mixed_columns_are_drawn_and_filled() -> None:
    """Bugs: a draw that asks mixed columns for one dtype; an encoder that takes chains for columns; a class of 0.4."""
    model = mixed()
    x = model.sample(5, draw=True)
    assert x.shape == (5, 3)
    assert np.isin(x[:, 1], (0, 1)).all()
    assert (x[:, 2] == np.floor(x[:, 2])).all()
    gap = np.array([[30.0, 1.0, np.nan], [50.0, np.nan, 2.0]])
    filled = model.impute(gap).mean
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[~np.isnan(gap)], gap[~np.isnan(gap)], rtol=1e-6)


def test_a_vamp_prior_is_for_a_normal_q_and_any_likelihood() -> None:
    """Bugs: an assertion without a word for another q; the log of a pseudo-input below 0, which is NaN at step 0."""
    with pytest.raises(UsageError, match="may take mixture:COMPONENTS"):
        VAE(prior="vamp:5", estimator="stl", posterior="gamma")
    with pytest.raises(UsageError, match="over all real numbers"):
        VAE(prior="mixture:5", estimator="stl", posterior="gamma")
    x = np.random.default_rng(0).poisson(3.0, (60, 4)).astype(float)
    small = {"latent": 1, "hidden": (4,), "epochs": 2, "kernels": "numpy", "validation": 0.0}
    for more in ({"likelihood": "poisson"}, {"columns": "0=gaussian,1=categorical,2=poisson,3=negative-binomial"}):
        model = VAE(prior="vamp:5", estimator="stl", **small, **more).fit(x)  # type: ignore[arg-type]
        assert np.isfinite(model.elbo(x)).all()


@pytest.mark.parametrize("name", ["0=gaussian,1=categorical:3,2=poisson", "poisson", "categorical:3"])
def test_what_an_encoder_sees_has_any_leading_axes(name: str) -> None:
    """Bug: features along the second axis, which is that of the rows where there are chains of them."""
    x = np.array([[[0.0, 2, 1], [1, 0, 2]], [[2, 1, 0], [0, 0, 1]], [[1, 1, 1], [2, 2, 2]]])
    m = np.array([[[1, 1, 0], [1, 1, 1]], [[1, 1, 1], [0, 1, 1]], [[0, 0, 0], [1, 0, 1]]])
    for mask in (None, m):
        whole = decoder(name).features(x, mask)
        assert whole.shape == (3, 2, decoder(name).seen(3))
        for i in range(3):
            np.testing.assert_array_equal(whole[i], decoder(name).features(x[i], None if mask is None else mask[i]))
