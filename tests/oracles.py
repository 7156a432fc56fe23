"""What the tests measure with: derivatives without a formula, exact Gaussian expectations, and a small VAE."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from scratchvae.arena import Arena
from scratchvae.conditional import Net
from scratchvae.models.vae import Architecture
from scratchvae.types import Array

STEP = 1e-100


def slopes(f: Callable[[Array], Array], x: Array, dy: Array | float = 1.0) -> Array:
    """d(sum dy f(x))/dx, every element by its own complex step: exact to rounding, and knows no chain rule."""
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * STEP
        out[i] = np.sum(dy * np.imag(f(z))) / STEP
    return out


def close(got: Array, expected: Array, tolerance: float = 1e-12) -> None:
    """Same shape, and no element off by more than `tolerance` of the largest (non-finite ones must be the same)."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, (got.shape, expected.shape)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    scale = max(1.0, float(np.max(np.abs(expected[finite]), initial=0)))
    np.testing.assert_allclose(got[finite], expected[finite], rtol=0, atol=tolerance * scale)


def gauss_hermite(n: int, dims: int = 1) -> tuple[Array, Array]:
    """Nodes (n^dims, dims) and weights of E[f(eps)], eps ~ N(0, I): exact for polynomials of degree 2n - 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    grid = np.array(list(product(nodes, repeat=dims)))
    return grid, np.array([np.prod(c) for c in product(weights / weights.sum(), repeat=dims)])


def small_vae(seed: int = 0, dtype: str = "float64", **options: Any) -> tuple[Architecture, Arena]:
    """An architecture and its parameters, all drawn, biases too: nothing is zero, so nothing can hide behind a zero."""
    arch = Architecture(**{"columns": 5, "latent": 2, "hidden": (4,), **options})
    arena = Arena(arch.shapes(), dtype)
    arena.flat[...] = 0.5 * np.random.default_rng(seed).standard_normal(arena.flat.size)
    return arch, arena


def nets_at(arch: Architecture, flat: Array) -> tuple[Net, Net]:
    """(phi, theta) whose numbers are those of `flat`, of whatever type (complex too)."""
    arena = Arena(arch.shapes(), flat.dtype.name)
    arena.flat[...] = flat
    return arch.nets(arena.views)


def data(rows: int, columns: int, likelihood: str = "bernoulli", seed: int = 1) -> Array:
    """Rows that the likelihood can have made."""
    x = np.random.default_rng(seed).random((rows, columns))
    return (x < 0.5).astype(float) if likelihood == "bernoulli" else x
