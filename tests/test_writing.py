"""§7.3.1 Sequences that a model writes: greedy, drawn and by beam; and whether a text is a SMILES."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracles import close
from test_sequence import V, nets, padded

from scratchvae.data.smiles import judge, syntactic
from scratchvae.data.tokens import END, PAD
from scratchvae.distributions import Normal
from scratchvae.models.sequence import log_likelihood
from scratchvae.tasks.diagnostics import mutual_information
from scratchvae.tasks.writing import beam, drawn, write
from scratchvae.types import Array

RNG = np.random.default_rng(161)
LIMIT = 4


def log_p_of(x: Array, z: Array, theta: Any) -> Array:
    """log p of rows that were written, which are rows of the model too."""
    return log_likelihood(x, z, theta)[0]


def everything(z: Array, theta: Any) -> tuple[Array, Array]:
    """All strings of at most LIMIT tokens with their END, and those cut there; and log p(x | z) for z (1, K)."""
    whole = padded([list(row) for n in range(LIMIT) for row in product(range(1, V), repeat=n)], LIMIT)
    cut = np.array([list(row) for row in product(range(1, V), repeat=LIMIT)])
    rows = np.concatenate([whole, cut])
    return rows, log_p_of(rows, np.repeat(z, len(rows), axis=0), theta)


def test_the_widest_beam_finds_the_mode() -> None:
    """Catches a finished row that goes on or is paid for again, and states that do not follow their rows."""
    _, theta, _ = nets()
    for z in RNG.standard_normal((4, 1, 2)):
        rows, log_p = everything(z, theta)
        np.testing.assert_array_equal(beam(z, theta, LIMIT, len(rows))[0], rows[log_p.argmax()])


def test_a_beam_of_one_is_greedy_and_a_wider_one_likelier() -> None:
    """Catches scores that are not those of the rows."""
    _, theta, _ = nets()
    z = RNG.standard_normal((6, 2))
    greedy = write(z, theta, LIMIT)
    np.testing.assert_array_equal(beam(z, theta, LIMIT, 1), greedy)
    assert (log_p_of(beam(z, theta, LIMIT, 30), z, theta) >= log_p_of(greedy, z, theta) - 1e-12).all()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_drawn_rows_have_their_probabilities(temperature: float) -> None:
    """Catches a token fed back a step late, an END that does not end, a temperature that is its inverse: frequencies of
    20 000 rows against p(x | z), its first token at the temperature."""
    _, theta, _ = nets()
    z, n = np.array([[0.3, -0.8]]), 20_000
    x = write(np.repeat(z, n, axis=0), theta, LIMIT, RNG.random((n, LIMIT)), temperature)
    rows, log_p = everything(z, theta)
    assert {tuple(row) for row in x} <= {tuple(row) for row in rows}
    if temperature == 1:
        often = {tuple(row): 0 for row in rows}
        for row in x:
            often[tuple(row)] += 1
        counts, expected = np.array([often[tuple(row)] for row in rows]), n * np.exp(log_p)
        assert (((counts - expected) ** 2 / expected).sum() - len(rows)) / (2 * len(rows)) ** 0.5 < 4
    first = np.array([np.exp(log_p[rows[:, 0] == token]).sum() for token in range(V)]) ** (1 / temperature)
    close(np.bincount(x[:, 0], minlength=V) / n, first / first.sum(), 0.015)
    ended = (x == END).cumsum(axis=1) - (x == END)
    assert ((x == PAD) == (ended > 0)).all()


def test_draws_at_extremes() -> None:
    """Catches e^10000, and a token of no mass that is drawn at u = 0 or next to 1."""
    logits = np.array([[1e4, 1e4 - np.log(3), 0.0, -np.inf]])
    assert [int(drawn(logits, np.array([u]))[0]) for u in (0.0, 0.74, 0.76, 1 - 1e-12)] == [0, 0, 1, 1]
    assert drawn(np.array([[-np.inf, 0.0]]), np.zeros(1))[0] == 1


def test_mutual_information_of_what_is_known() -> None:
    """Catches a mean over the wrong axis and a log N that is forgotten: q that is alike for all rows knows nothing, q
    that are far apart know log N, and two of N(±m, 1) what quadrature says."""
    eps = RNG.standard_normal((3000, 1))
    assert abs(mutual_information(Normal(np.zeros((3000, 1)), np.zeros((3000, 1))), eps)) < 1e-12
    far = Normal(1e3 * np.arange(300.0)[:, None], np.zeros((300, 1)))
    close(np.array(mutual_information(far, eps[:300])), np.log(300.0))
    m = np.where(np.arange(3000) % 2, 0.8, -0.8)[:, None]
    z = np.linspace(-9, 9, 4001)
    p, q = (np.exp(-0.5 * (z - s) ** 2) / np.sqrt(2 * np.pi) for s in (0.8, -0.8))
    exact = np.trapezoid(p * np.log(2 * p / (p + q)), z)
    assert abs(mutual_information(Normal(m, np.zeros_like(m)), eps) - exact) < 0.03


GOOD = ("CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)C", "C1CC2CC1CC2", "[nH]1cccc1", "Cl.Br", "C%12CC%12",
        "O=S(=O)(N)c1ccc(F)cc1", "C/C=C\\C", "N#C[C@@H]1CC1", "CS(=O)(=O)C")  # fmt: skip
BAD = ("", "C(", "C)", "C1CC", "C(C)(C)(C)(C)C", "F=C", "C==C", "()", "C()C", "(CC)", "C(=)C", "Q", "[C", "C11", "CC=",
       "C.", "OF(C)", "1CC1", "C=1CC-1")  # fmt: skip


@pytest.mark.parametrize(("text", "valid"), [*((t, True) for t in GOOD), *((t, False) for t in BAD)])
def test_syntax_of_smiles(text: str, valid: bool) -> None:
    """Catches a ring that stays open, a valence that is not counted, a bond to nothing. RDKit, where it is installed,
    says the same."""
    assert syntactic(text) is valid
    if judge()[0] == "rdkit":
        assert judge()[1](text) is valid
