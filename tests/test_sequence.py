"""§7.3 The VAE on sequences: a distribution over strings, a bound on it, and training that tells the bound alone."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import close

from scratchvae import VAE
from scratchvae.arena import Arena
from scratchvae.data.tokens import END, PAD, UNKNOWN
from scratchvae.errors import UsageError
from scratchvae.gradcheck import library
from scratchvae.kernels import table
from scratchvae.models.sequence import SequenceArchitecture, before, elbo, elbo_vjp, encode, log_likelihood
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.objective import bound, gradient, log_weights
from scratchvae.training.optim import Optimizer
from scratchvae.training.reading import Reading
from scratchvae.training.sequences import SequenceObjective
from scratchvae.training.state import State, latent_noise, load_state, save_state
from scratchvae.types import Array

RNG = np.random.default_rng(160)
V, K = 4, 2
ROWS = [[2, 3, 2], [3], [], [2, 2, 3, 3, 1], [3, 2]]


def padded(rows: list[list[int]], width: int = 0) -> Array:
    """Rows of codes, closed and filled up."""
    width = max(width, 1 + max(map(len, rows)))
    return np.array([[*row, END, *[PAD] * (width - len(row) - 1)] for row in rows])


def nets(latent: int = K, dtype: str = "float64", columns: int = 6) -> tuple[Any, Any, Arena]:
    """φ, θ, and the arena that they view, no number of it 0."""
    arch = SequenceArchitecture(columns, V, latent, hidden=5, embedding=3)
    arena = Arena(arch.shapes(), dtype)
    arena.flat[...] = 0.7 * np.random.default_rng(1).standard_normal(arena.flat.size)
    return *arch.nets(arena.views), arena


def test_strings_have_a_distribution() -> None:
    """Catches a token that sees itself, an END that is not paid for, a z that leaks from another row: Σ p(x | z) over
    all strings of at most three tokens, and over those that go on, is 1."""
    _, theta, _ = nets()
    z = np.array([[0.4, -1.1]])
    whole = [list(row) for n in range(4) for row in product(range(1, V), repeat=n)]
    total = np.exp(log_likelihood(padded(whole), np.repeat(z, len(whole), axis=0), theta)[0]).sum()
    longer = np.array([list(row) for row in product(range(1, V), repeat=4)])  # these have no END
    total += np.exp(log_likelihood(longer, np.repeat(z, len(longer), axis=0), theta)[0]).sum()
    close(total, np.array(1.0))


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_pads_change_no_bit(kernels: str) -> None:
    """Catches a pad that is read, scored or summed: bound and slopes at any padding, to the bit."""
    eps, w, found = RNG.standard_normal((len(ROWS), K)), RNG.standard_normal(len(ROWS)), []
    for width in (0, 9, 40):
        phi, theta, arena = nets()
        gradient = arena.like()
        dphi, dtheta = SequenceArchitecture(6, V, K, hidden=5, embedding=3).nets(gradient.views)
        L, cache = elbo(padded(ROWS, width), eps, phi, theta, table(kernels))
        elbo_vjp(w, cache, eps, phi, theta, dphi, dtheta, table(kernels))
        found.append((L, gradient.flat))
    for L, flat in found[1:]:
        np.testing.assert_array_equal(L, found[0][0])
        np.testing.assert_array_equal(flat, found[0][1])
    assert np.isfinite(found[0][0]).all()


def test_a_row_is_alone_and_in_its_place() -> None:
    """Catches rows that come back in the order of their lengths, or see their neighbours, or another row's z."""
    phi, theta, _ = nets()
    eps, x = RNG.standard_normal((len(ROWS), K)), padded(ROWS)
    L, cache = elbo(x, eps, phi, theta)
    for i, row in enumerate(ROWS):
        alone, one = elbo(padded([row]), eps[i : i + 1], phi, theta)
        close(L[i : i + 1], alone)
        close(cache.kl[i : i + 1], one.kl)


def test_each_head_has_its_meaning() -> None:
    """Catches μ from the head of log σ², and a last state that is another's."""
    phi, _, _ = nets()
    (mu, log_var), cache = encode(padded(ROWS), phi)
    close(mu, cache.h @ phi.mu.W + phi.mu.b)
    close(log_var, cache.h @ phi.log_var.W + phi.log_var.b)
    assert np.abs(mu - log_var).min() > 1e-6


@pytest.mark.parametrize("case", [*library.cases("sequence.*")], ids=lambda case: case.name)
def test_slopes(case: library.Case) -> None:
    """Catches a way back that is not that of its way forward."""
    report = case.run()
    assert report, report


def kl_of(q: Any) -> Array:
    """KL of each latent from N(0, 1), (B, K)."""
    found: Array = 0.5 * (q.mu**2 + np.exp(q.log_var) - 1 - q.log_var)
    return found


@pytest.mark.parametrize("beta", [0.0, 1.5, np.array([2.0, 0.3])], ids=str)
def test_beta_weighs_the_kl_alone(beta: Any) -> None:
    """Catches a β that divides, that reaches one of q's two numbers only, or another latent: the slope of
    Σ w (log p(x | z) − Σ_k β_k KL_k) in one direction, by central differences."""
    phi, theta, arena = nets()
    eps, w, x = RNG.standard_normal((len(ROWS), K)), RNG.standard_normal(len(ROWS)), padded(ROWS)
    gradient, at, v = arena.like(), arena.flat.copy(), RNG.standard_normal(arena.flat.size)
    dphi, dtheta = SequenceArchitecture(6, V, K, hidden=5, embedding=3).nets(gradient.views)
    elbo_vjp(w, elbo(x, eps, phi, theta)[1], eps, phi, theta, dphi, dtheta, beta=beta)
    ends = []
    for h in (1e-5, -1e-5):
        arena.flat[...] = at + h * v
        cache = elbo(x, eps, phi, theta)[1]
        ends.append(w @ (cache.reconstruction - (beta * kl_of(cache.q)).sum(axis=1)))
    assert gradient.flat @ v == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_slopes_are_a_straight_line_in_beta() -> None:
    """Catches a β that divides, or that is squared, to the last digits."""
    phi, theta, arena = nets()
    eps, w, found = RNG.standard_normal((len(ROWS), K)), RNG.standard_normal(len(ROWS)), []
    _, cache = elbo(padded(ROWS), eps, phi, theta)
    for beta in (0.0, 1.0, np.array([2.0, 2.0])):
        gradient = arena.like()
        dphi, dtheta = SequenceArchitecture(6, V, K, hidden=5, embedding=3).nets(gradient.views)
        elbo_vjp(w, cache, eps, phi, theta, dphi, dtheta, beta=beta)
        found.append(gradient.flat)
    close(found[2] - found[1], found[1] - found[0])
    assert np.abs(found[1] - found[0]).max() > 0.1


def test_it_is_a_bound() -> None:
    """Catches a KL of the wrong sign and one that is paid at every token: mean importance weights are p(x), which is a
    sum over a grid of z, and whose log is no less than the bound."""
    state = state_of(latent=K, hidden=(5,), embedding=3)
    state.arena.flat[...] = 0.5 * np.random.default_rng(1).standard_normal(state.arena.flat.size)
    x = padded([[2], [3, 2]], 6).astype("float64")
    eps = np.random.default_rng(3).standard_normal((4000, 2, K))
    L, reconstruction, kl = bound(state, x, eps[:500])
    log_p = np.logaddexp.reduce(log_weights(state, x, eps), axis=0) - np.log(len(eps))
    z = np.array([*product(np.linspace(-7, 7, 71), repeat=K)])
    given = [log_likelihood(np.repeat(row[None], len(z), axis=0), z, state.theta)[0] for row in x]
    log_prior = -0.5 * (z * z).sum(axis=1) - K / 2 * np.log(2 * np.pi) + K * np.log(0.2)
    exact = np.logaddexp.reduce(given + log_prior, axis=1)
    close(log_p, exact, 0.03)
    assert (log_p > L).all()
    close(L, reconstruction - kl)


def state_of(**options: Any) -> State:
    """A run on sequences about to begin."""
    words = ("<end>", "<unknown>", "a", "b")
    usual = {"model": "sequence", "data": "rows.txt", "batch": 8, "dtype": "float64", "kernels": "numpy", "latent": 3}
    config = Config(**{**usual, "hidden": (16,), "embedding": 4, "optimizer": Optimizer(learning_rate=0.02), **options})
    return State.begun(config, Reading(6, "tokens", vocabulary=words), rows())


def rows(n: int = 40) -> Array:
    """Two kinds of rows: one letter alone, three or four times."""
    return padded([[2 + i % 2] * (3 + i // 2 % 2) for i in range(n)], 6).astype(np.int32)


@pytest.mark.parametrize("options", [{}, {"latent": 0}, {"word_dropout": 0.5, "warm_up": 1.0, "free_bits": 0.2}])
def test_it_learns_and_resumes(options: dict[str, Any], tmp_path: Path) -> None:
    """Catches a slope that goes down, and noise or state that a checkpoint does not bring back."""
    state = state_of(**options)
    take = compiled.steps(state, rows())
    first = take.advance(5).mean()
    save_state(tmp_path / "half.safetensors", state, {})
    last = take.advance(55)[-5:].mean()
    again, _ = load_state(tmp_path / "half.safetensors")
    compiled.steps(again, rows()).advance(55)
    np.testing.assert_array_equal(again.arena.flat, state.arena.flat)
    assert last > first + 1


def test_what_is_told_is_the_bound() -> None:
    """Catches a bound with dropped words, free bits, or a KL that is weighed: a step's L is `bound` of its rows."""
    state = state_of(word_dropout=0.6, free_bits=5.0, beta=0.3)
    take = compiled.steps(state, rows())
    x, eps = take.minibatch(0)
    expected = bound(state, x, eps)[0].mean()
    close(np.array(take.one()), np.array(expected))


def test_free_bits_ask_nothing_of_a_cheap_latent() -> None:
    """Catches a mean over the wrong axis, and a λ that is compared with the sum: the slope of L + Σ min(KL_k, λ)."""
    x, eps = rows(6).astype(float), RNG.standard_normal((1, 6, 3))
    free = {}
    for least in (0.0, 1e-9, 1e9):
        state = state_of(free_bits=least, beta=2.0)
        state.beta = 2.0
        gradient(state, x, eps)
        free[least] = state.gradient.flat.copy()
    close(free[1e-9], free[0.0])
    state = state_of(beta=1e-300)  # no KL at all
    state.beta = 0.0
    gradient(state, x, eps)
    close(free[1e9], state.gradient.flat)
    cost = np.sort(kl_of(encode(x, state.phi)[0]).mean(axis=0))
    state = state_of(free_bits=float(cost[:2].mean()), beta=2.0)  # between the cheapest latent and the others
    state.beta = 2.0
    gradient(state, x, eps)
    cache = elbo(x, eps[0], state.phi, state.theta)[1]
    beta = 2.0 * (kl_of(cache.q).mean(axis=0) > cost[0])
    assert sorted(beta) == [0, 2, 2]
    flat, state.gradient.flat[...] = state.gradient.flat.copy(), 0
    elbo_vjp(np.full(6, 1 / 6), cache, eps[0], state.phi, state.theta, state.dphi, state.dtheta, beta=beta)
    close(flat, state.gradient.flat)


def test_word_dropout_hides_tokens_and_no_more() -> None:
    """Catches dropout of pads, of what begins a row, of what is to be guessed; a share that is not the given."""
    state = state_of(word_dropout=0.3)
    x = np.tile(padded([[2, 3, 2, 3, 2]], 9), (4000, 1)).astype(float)
    shown = SequenceObjective(state).shown(x)
    assert set(shown[:, 0]) == {END}
    hidden = shown == UNKNOWN
    assert abs(hidden[:, 1:6].mean() - 0.3) < 0.01
    assert not hidden[:, 6:].any()
    np.testing.assert_array_equal(shown[~hidden], before(x)[~hidden])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"posterior": "gamma"}, "posterior='gamma'"),
        ({"samples": 3}, "samples=3"),
        ({"binarisation": "fixed"}, "binarisation"),
        ({"hidden": (5, 5)}, "one latent layer"),
        ({"tokens": "bytes"}, "tokens"),
        ({"word_dropout": 1.0}, "word_dropout=1.0"),
        ({"latent": 0, "free_bits": 0.1}, "language model"),
        ({"model": "vae", "tokens": "words"}, "is for model='sequence'"),
        ({"model": "vae", "data": "words"}, "is a text"),
        ({"model": "sequences"}, "did you mean"),
    ],
)
def test_what_it_has_no_place_for(options: dict[str, Any], words: str) -> None:
    """Catches an option that is taken and not obeyed."""
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        Config(**{"model": "sequence", "hidden": (5,), **options})


def test_the_object_refuses_sequences(tmp_path: Path) -> None:
    """Catches tokens that are read as numbers, by fit and from a checkpoint."""
    with pytest.raises(UsageError, match="model='sequence' is for scratchvae train"):
        VAE(model="sequence", hidden=(5,))
    save_state(tmp_path / "a.safetensors", state_of(), {})
    with pytest.raises(UsageError, match="model='sequence'"):
        VAE.load(tmp_path / "a.safetensors")


def test_noise_of_another_shape_is_refused() -> None:
    """Catches draws that are shared by broadcasting."""
    phi, theta, _ = nets()
    with pytest.raises(UsageError, match=r"eps has shape \(1, 2\), expected \(5, 2\)"):
        elbo(padded(ROWS), np.zeros((1, K)), phi, theta)


def test_a_language_model_has_no_kl() -> None:
    """Catches a KL or noise that a run without latents would still have: its bound is log p(x)."""
    state = state_of(latent=0)
    x = rows(4).astype("float64")
    L, _, kl = bound(state, x, latent_noise(state, 4, 0, 4, 2))
    assert not kl.any()
    close(log_weights(state, x, np.zeros((2, 4, 0)))[1], L)
    close(L, log_likelihood(x, np.zeros((4, 0)), state.theta)[0])


def test_torch_agrees_with_the_bound() -> None:
    """Catches whatever our own derivations and checks could share as an error: value and slopes by autograd."""
    torch: Any = pytest.importorskip("torch")
    phi, theta, arena = nets()
    x, eps, w = padded(ROWS), RNG.standard_normal((len(ROWS), K)), RNG.standard_normal(len(ROWS))
    views = {name: torch.tensor(view.copy(), requires_grad=True) for name, view in arena.views.items()}

    def unit(net: str, codes: Any, h: Any, extra: Any = 0.0) -> list[Any]:
        found = []
        for t in range(codes.shape[1]):
            a = views[f"{net}.embedding"][codes[:, t]] @ views[f"{net}.input.W"] + views[f"{net}.input.b"] + extra
            s = h @ views[f"{net}.state.W"] + views[f"{net}.state.b"]
            (ar, au, an), (sr, su, sn) = a.chunk(3, 1), s.chunk(3, 1)
            u = (au + su).sigmoid()
            h = (1 - u) * (an + (ar + sr).sigmoid() * sn).tanh() + u * h
            found.append(h)
        return found

    codes = torch.tensor(x.clip(0))
    mask = torch.tensor((x != PAD) * 1.0)
    states = torch.stack(unit("q", codes, torch.zeros(len(x), 5, dtype=torch.float64)), 1)
    last = states[torch.arange(len(x)), mask.sum(1).long() - 1]
    mu, log_var = (last @ views[f"q.{head}.W"] + views[f"q.{head}.b"] for head in ("mu", "log_var"))
    z = mu + (log_var / 2).exp() * torch.tensor(eps)
    h0 = (z @ views["p.start.W"] + views["p.start.b"]).tanh()
    added = z @ views["p.latent.W"] + views["p.latent.b"]
    h = torch.stack(unit("p", torch.tensor(before(x).clip(0)), h0, added), 1)
    log_p = (h @ views["p.logits.W"] + views["p.logits.b"]).log_softmax(-1).gather(2, codes[..., None])[..., 0]
    L = (log_p * mask).sum(1) - 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
    (L * torch.tensor(w)).sum().backward()
    ours, cache = elbo(x, eps, phi, theta)
    gradient = arena.like()
    elbo_vjp(w, cache, eps, phi, theta, *SequenceArchitecture(6, V, K, hidden=5, embedding=3).nets(gradient.views))
    close(ours, L.detach().numpy(), 1e-9)
    for name, view in gradient.views.items():
        close(view, views[name].grad.numpy(), 1e-9)
