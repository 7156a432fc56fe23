"""§7.2.1 Other people's models, under every method that calls them: kinks are no errors, written arguments are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratchvae.distributions import Normal
from scratchvae.errors import CheckFailed, UsageError
from scratchvae.gradcheck import in_expectation as verify
from scratchvae.models.protocol import Functions
from scratchvae.noise import Noise
from scratchvae.tasks import ais, appendix_d, evidence, exact, posterior, proposals, quadrature
from scratchvae.tasks.bbvi import fit
from scratchvae.tasks.hmc import ChainPlan, hmc, metropolis
from scratchvae.types import Array

# --- kinks ------------------------------------------------------------------------------------------


class Laplace(NamedTuple):
    """p(z) = Laplace(0, 1) a row, x = z + noise; `slip` multiplies the slope."""

    slip: Any = 1.0

    def log_joint(self, x: Array, z: Array, theta: None) -> Array:
        return np.asarray(-np.abs(z).sum(axis=-1) - 0.5 * ((x - z) ** 2).sum(axis=-1))

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: None, dtheta: None) -> Array:
        return np.asarray(w[..., None] * (x - z - np.sign(z)) * self.slip)


class Relu(NamedTuple):
    """A decoder of one layer of relu units, x ~ N(V relu(z W + b), 1); `slip` multiplies the slope of W."""

    slip: Any = 1.0

    def log_joint(self, x: Array, z: Array, theta: Any) -> Array:
        h = np.maximum(z @ theta["W"] + theta["b"], 0)
        return np.asarray(-0.5 * (z**2).sum(axis=-1) - 0.5 * ((x - h @ theta["V"]) ** 2).sum(axis=-1))

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: Any, dtheta: Any) -> Array:
        a = z @ theta["W"] + theta["b"]
        dout = w[..., None] * (x - np.maximum(a, 0) @ theta["V"])
        da = (dout @ theta["V"].T) * (a > 0)
        if dtheta is not None:
            dtheta["W"] += self.slip * np.einsum("sbk,sbh->kh", z, da)
            dtheta["b"] += da.sum(axis=(0, 1))
            dtheta["V"] += np.einsum("sbh,sbd->hd", np.maximum(a, 0), dout)
        return np.asarray(da @ theta["W"].T - w[..., None] * z)


def kinked(kind: Any, seed: int) -> tuple[Array, Normal, Any]:
    """x, q and theta at which 10 of 10 seeds were refused: 1000 rows, or 50 units over 50 rows."""
    g, (rows, D) = np.random.default_rng(seed), (1000, 2) if kind is Laplace else (50, 20)
    theta = {"W": g.standard_normal((2, 50)), "b": np.zeros(50), "V": g.standard_normal((50, D)) / 7}
    q = Normal(0.5 * g.standard_normal((rows, 2)), np.zeros((rows, 2)))
    return g.standard_normal((rows, D)), q, None if kind is Laplace else theta


@pytest.mark.parametrize("kind", [Laplace, Relu])
def test_a_kink_near_by_is_no_wrong_slope(kind: Any) -> None:
    """Catches one difference of 1e-3 along all of z, which crosses a kink of some row and condemns a right model."""
    for seed in range(10):
        x, q, theta = kinked(kind, seed)
        fit(kind(), x, q, theta, estimator="stl", samples=2, steps=1, seed=seed)


ONE = np.ones((1000, 2))
ONE[417, 1] = 1.1


@pytest.mark.parametrize(
    ("model", "block"),
    [(Laplace(1.01), "z"), (Laplace(-1), "z"), (Laplace(0), "z"), (Laplace(ONE), "z"), (Relu(1.01), "theta.W"),
     (Relu(0), "theta.W"), (Relu(1 + 0.1 * np.eye(2, 50)), "theta.W")],
)  # fmt: skip
def test_a_wrong_slope_among_kinks_is_found(model: Any, block: str) -> None:
    """Catches a check that blames every difference on a kink: a factor, a sign, none at all, one element of 2000."""
    x, q, theta = kinked(type(model), 0)
    with pytest.raises(CheckFailed, match=rf"disagrees with log_joint: {block} along a direction is "):
        fit(model, x, q, theta, estimator="stl", samples=2, steps=1)


def test_a_large_constant_in_log_p_hides_no_slope_and_condemns_none() -> None:
    """Catches steps so small that the last digits of a large log p blur a right slope, or excuse a wrong one."""

    def large(x: None, z: Array, theta: None) -> Array:
        return np.asarray(-1e7 - 0.5 * ((z - 3) ** 2).sum(axis=-1))

    q = Normal(np.zeros((1, 4)), np.zeros((1, 4)))
    for factor in (1.0, 1.01, 0.0):
        model = Functions(large, lambda w, x, z, theta, dtheta, s=factor: -s * w[..., None] * (z - 3))
        if factor == 1:
            fit(model, None, q, estimator="stl", steps=1)
        else:
            with pytest.raises(CheckFailed, match="disagrees with log_joint: z at "):
                fit(model, None, q, estimator="stl", steps=1)


def test_a_forgotten_slope_of_z_is_found() -> None:
    """Catches None for dz where the estimator goes through z: it passed as a constant if θ had a slope."""

    class Forgets(Relu):
        def log_joint_vjp(self, *args: Any) -> Any:
            super().log_joint_vjp(*args)

    x, q, theta = kinked(Relu, 0)
    with pytest.raises(CheckFailed, match=r"returned None for z, but f depends on it .*: return its cotangent$"):
        fit(Forgets(), x, q, theta, estimator="stl", samples=2, steps=1)


# --- what is somebody else's ------------------------------------------------------------------------


class Writes(NamedTuple):
    """N(z; 3, 1), in place; writes into the argument that is named."""

    into: str

    def log_joint(self, x: Any, z: Array, theta: Any) -> Array:
        if self.into == "log_joint z":
            z -= 3
            return np.asarray(-0.5 * (z**2).sum(axis=-1))
        if self.into == "log_joint x":
            x["rows"] -= x["rows"].mean()
        if self.into == "log_joint theta.shift":
            theta["shift"][0] = 1
        return np.asarray(-0.5 * ((z - 3) ** 2).sum(axis=-1))

    def log_joint_vjp(self, w: Array, x: Any, z: Array, theta: Any, dtheta: Any) -> Array:
        for name, argument in (("w", w), ("z", z), ("x", x["rows"])):
            if self.into == f"log_joint_vjp {name}":
                argument *= 2
        return np.asarray(-w[..., None] * (z - 3))

    def log_likelihood(self, x: Any, z: Array, theta: Any) -> Array:
        z -= 3
        return np.asarray(-0.5 * (z**2).sum(axis=-1))

    def log_factors(self, x: Any, z: Array, theta: Any) -> Array:
        z -= 3
        return z

    def blankets(self, latents: int) -> Array:
        return np.eye(latents, dtype=bool)


@pytest.mark.parametrize(
    ("into", "estimator"),
    [*((f"log_joint {name}", "score_loo") for name in ("z", "x.rows", "theta.shift")),
     *((f"log_joint_vjp {name}", "stl") for name in ("w", "z", "x.rows")),
     ("log_likelihood z", "score_kl"), ("log_factors z", "score_rb")],
)  # fmt: skip
def test_a_model_that_writes_into_its_arguments_is_named(into: str, estimator: str) -> None:
    """Catches z -= 3 in a log_joint (posterior mean 0 for 3, without a word), and a caller's x that was centred."""
    function, _, argument = into.partition(" ")
    x, theta = {"rows": np.arange(4.0)}, {"shift": np.zeros(1)}
    model, q = Writes(into.replace("x.rows", "x")), Normal(np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(UsageError, match=rf"^{function} changed its argument {argument}: "):
        fit(model, x, q, theta if "theta" in into else None, estimator=estimator, steps=3)
    assert x["rows"].tolist() == [0, 1, 2, 3]
    assert theta["shift"] == 0


def test_a_model_that_writes_into_an_object_is_named() -> None:
    """Catches copies that share what an object holds: rows that are centred in place, in whatever carries them."""

    class Rows:
        def __init__(self) -> None:
            self.rows = np.arange(4.0)

    def centred(x: Rows, z: Array, theta: None) -> Array:
        x.rows -= x.rows.mean()
        return np.asarray(-((z - x.rows[0]) ** 2).sum(axis=-1))

    x = Rows()
    with pytest.raises(UsageError, match=r"^log_joint changed its argument x\.rows: "):
        fit(Functions(centred), x, Normal(np.zeros((1, 2)), np.zeros((1, 2))), steps=3)
    assert x.rows.tolist() == [0, 1, 2, 3]


def test_a_family_that_writes_into_its_arguments_is_named() -> None:
    """Catches a user's own q whose density centres z in place: the model then sees another z."""

    class Own(Normal):
        def log_prob(self, z: Array, k: Any = None) -> Array:
            z -= self.mu
            return np.asarray(-0.5 * (z**2).sum(axis=-1))

    with pytest.raises(UsageError, match=r"^q\.log_prob changed its argument z: "):
        fit(Functions(lambda x, z, theta: -(z**2).sum(axis=-1)), None, Own(np.ones((2, 3)), np.zeros((2, 3))))


class Density(NamedTuple):
    """N(z; x, 1) for chains and evidence; writes into `into` ("log_joint z", say), or nowhere."""

    into: str = ""

    def log_joint(self, x: Array, z: Array) -> Array:
        mean = x[:, :2].copy()
        for name, argument in (("x", x), ("z", z)):
            if self.into == f"log_joint {name}":
                argument -= 3
        return np.asarray(-0.5 * ((z - mean) ** 2).sum(axis=-1))

    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Any = None) -> Array:
        dz = -w[..., None] * (z - x[:, :2])
        for name, argument in (("w", w), ("x", x), ("z", z)):
            if self.into == f"log_joint_vjp {name}":
                argument -= 3
        return np.asarray(dz)


class Same(NamedTuple):
    """A Density by the signatures of the estimators."""

    of: Density

    def log_joint(self, x: Array, z: Array, theta: None) -> Array:
        return self.of.log_joint(x, z)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: None, dtheta: None) -> Array:
        return self.of.log_joint_vjp(w, x, z)


def one_row(m: Density, x: Array, q: Normal) -> verify.Problem:
    """A problem whose exact gradient does not matter."""
    row = Normal(q.mu[:1], q.log_var[:1])
    return verify.Problem("own", Same(m), x[:1], row, None, lambda p: np.zeros(2 * p.q.mu.size))


NOISE, BETAS = Noise(0), ais.Annealing(ais.schedule(2), leapfrog=1)
SHORT = ChainPlan(draws=8, warm_up=2, leapfrog=1)
METHODS: dict[str, Callable[[Density, Array, Normal], Any]] = {
    "importance": lambda m, x, q: evidence.importance(m, x, q, NOISE, 4),
    "quadrature": lambda m, x, q: quadrature.posterior(m.log_joint, x, 2, resolution=33, tolerance=1),
    "exact": lambda m, x, q: exact.posterior(m.log_joint, x, exact.bits(2, 3)),
    "annealed": lambda m, x, q: ais.annealed(m, x, q, NOISE, 2, BETAS),
    "sandwich": lambda m, x, q: ais.sandwich(m, x, q.mu, q, NOISE, 2, BETAS),
    "appendix D": lambda m, x, q: appendix_d.appendix_d(m, x, q, NOISE, 16, 2, plan=SHORT),
    "refine": lambda m, x, q: posterior.refine(m, x, q, NOISE, 2, 2),
    "bound": lambda m, x, q: posterior.bound(m, x, q, NOISE, 2),
    "hmc": lambda m, x, q: posterior.sample(m, x, q, NOISE, 2, SHORT),
    "metropolis": lambda m, x, q: posterior.sample(m, x, q, NOISE, 2, SHORT, "metropolis"),
    "expectation": lambda m, x, q: verify.compare("stl", one_row(m, x, q), 2, 100, 2),
    "resampled": lambda m, x, q: proposals.resampled(m, x, q, NOISE, 8, 2),
    "exact bound": lambda m, x, q: exact.elbo_vjp(
        np.ones(3), m.log_joint, x, q, exact.bits(2, 3), m.log_joint_vjp, dtheta=0
    ),
}
SLOPED = ("annealed", "sandwich", "appendix D", "refine", "hmc", "exact bound", "expectation")
WRITES = [
    *((name, f"log_joint {argument}") for name in METHODS for argument in "xz"),
    *((name, f"log_joint_vjp {argument}") for name in SLOPED for argument in "wxz"),
]


@pytest.mark.parametrize(("method", "into"), WRITES)
def test_every_method_names_a_model_that_writes(method: str, into: str) -> None:
    """Catches wrong evidence, moments and bounds, and a caller's x overwritten, without a word."""
    x, q = np.linspace(0, 1, 6).reshape(3, 2), Normal(np.zeros((3, 2)), np.zeros((3, 2)))
    METHODS[method](Density(), x, q)  # one that writes nothing goes through
    function, argument = into.split()
    with pytest.raises(UsageError, match=f"^{function} changed its argument {argument}: "):
        METHODS[method](Density(into), x, q)
    np.testing.assert_array_equal(x.ravel(), np.linspace(0, 1, 6))
    assert not q.mu.any()


def spoiling(z: Array) -> Array:
    """A density of N(0, 1) that writes into z."""
    z -= 3
    return np.asarray(-0.5 * (z**2).sum(-1))


def test_chains_leave_their_start_alone() -> None:
    """Catches a density or a slope that overwrites `start`."""
    start = np.ones((2, 3, 1))
    for run, name in (
        (lambda: hmc(spoiling, lambda z: -z, start, Noise(0)), "log_density"),
        (lambda: hmc(lambda z: -0.5 * (z**2).sum(-1), lambda z: np.negative(z, out=z), start, Noise(0)), "slope"),
        (lambda: metropolis(spoiling, start, Noise(0)), "log_density"),
    ):
        with pytest.raises(UsageError, match=f"^{name} changed its argument z: it must leave arguments alone"):
            run()  # type: ignore[no-untyped-call]
        assert (start == 1).all()


def test_functions_that_reuse_what_they_return_change_no_chain() -> None:
    """Catches a first log density that the second overwrites: every proposal then seemed as good as the start."""
    out, slope = np.empty((2, 3)), np.empty((2, 3, 2))

    def reused(z: Array) -> Array:
        out[...] = -0.5 * (z**2).sum(-1)
        return out

    def reused_slope(z: Array) -> Array:
        return np.negative(z, out=slope)

    start, plan = np.full((2, 3, 2), 3.0), ChainPlan(draws=5, warm_up=0, step_size=2.0)
    plain = hmc(lambda z: -0.5 * (z**2).sum(-1), lambda z: -z, start, Noise(0), plan)
    np.testing.assert_array_equal(hmc(reused, reused_slope, start, Noise(0), plan).draws, plain.draws)
    plain = metropolis(lambda z: -0.5 * (z**2).sum(-1), start, Noise(0), plan)
    np.testing.assert_array_equal(metropolis(reused, start, Noise(0), plan).draws, plain.draws)
