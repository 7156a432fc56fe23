"""§7.2.4 What a fresh user of the checker met: right pairs condemned, reasons that mislead, refusals without a line."""

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.gradcheck import accumulating, check, check_expectation, check_gradient, check_hvp, check_jvp

X = np.array([0.3, -1.2, 0.7])


@pytest.mark.parametrize(("slope", "verdict"), [(1e-8, "ok"), (1.1e-8, "wrong")])
def test_a_small_block_beside_a_large_one_is_judged_by_the_complex_step(slope: float, verdict: str) -> None:
    """Bug: differences are flat beside 1e12, and "f does not depend on it" condemned the right slope of 1e-8."""
    report = check(
        lambda a, b: (1e-8 * a).sum() + (1e12 * b).sum(),
        lambda dy, a, b: (slope * dy * np.ones(3), 1e12 * dy * np.ones(3)),
        (X, X + 1),
    )
    assert report.verdict == verdict
    assert "does not depend" not in str(report)


def test_an_argument_that_lives_on_a_set_gets_a_reason_that_says_so() -> None:
    """Bug: f refuses every point near by, and the reason was "it vanishes here but for rounding"."""

    def entropy(p: np.ndarray) -> float:
        if abs(np.sum(p) - 1) > 1e-9:
            raise ValueError("not on the simplex")
        return float(-np.sum(p * np.log(p)))

    report = check(entropy, lambda dy, p: -dy * (np.log(p) + 1), (np.array([0.2, 0.3, 0.5]),))
    assert report.verdict == "cannot tell"
    assert "move=" in str(report)


def test_a_term_that_fails_is_noted_and_takes_no_other_finding_with_it() -> None:
    """Bug: a wrong `terms` silently left the block without a diagnosis."""
    report = check(lambda x: x**2, lambda dy, x: dy * x, (X,), terms={"one": lambda dy: dy})
    assert "½ times the derivative" in str(report)
    assert "terms were left out: TypeError" in str(report)


class Tensor:
    """No array."""

    shape = X.shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return X


def test_a_foreign_array_is_named() -> None:
    """Bug: a torch tensor as argument was "no cotangent of a float argument", and nothing said why."""
    assert "x is Tensor" in str(check(lambda x: np.asarray(x) ** 2, lambda dy, x: None, (Tensor(),)))


def test_scipy_shapes() -> None:
    """Bug: lists, ints, a lone `args` and a sparse Jacobian, which SciPy takes, were refused or condemned."""

    class Sparse:
        def toarray(self) -> np.ndarray:
            return np.diag([2.0, 4.0])

    assert check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, [1, 2])
    assert check_gradient(lambda x: x**2, lambda x: 2 * x, 3)
    assert check_gradient(lambda x, a: a * np.sum(x**2), lambda x, a: 2 * a * x, X, args=2.0)
    assert check_gradient(lambda x: 2 * x * np.array([1, 2]), lambda x: Sparse(), np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tolerance": 1e-3}, "tolerance is float"),
        ({"tolerance": {"cntral": 1e-3}}, "tolerance names"),
        ({"move": abs}, "move is"),
        ({"terms": [abs]}, "terms is list"),
        ({"constants": "eps"}, 'constants=\\("eps",\\)'),
        ({"tolerance": {"central": "1"}}, "tolerance has '1'"),
        ({"constants": 3}, "constants is 3; expected a tuple"),
        ({"move": {"x": 3}}, "move has no function at 'x'"),
        ({"terms": {"through z": 3}}, "terms has no function at 'through z'"),
        ({"step": 0}, "step is 0"),
        ({"step": "1"}, "step is '1'"),
        ({"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ({"limit": "3"}, "limit is '3'; expected a whole number"),
        ({"methods": ()}, "methods is empty"),
        ({"methods": None}, "methods is None"),
        ({"methods": "central"}, 'methods=\\("central",\\)'),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line(options: dict[str, object], line: str) -> None:
    """Bug: a TypeError from within, or an option that did nothing without a word."""
    with pytest.raises(UsageError, match=line):
        check(lambda x: x, lambda dy, x: dy, (X,), **options)  # type: ignore[arg-type]


def test_refusals_of_the_other_doors() -> None:
    """Bug: an IndexError for jac=False, a TypeError for f_vjp=None, args=x and names of buffers."""
    with pytest.raises(UsageError, match="jac is False"):
        check_gradient(lambda x: x @ x, False, X)
    with pytest.raises(UsageError, match="f_vjp is NoneType"):
        check(lambda x: x, None, (X,))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected a tuple"):
        check_jvp(np.sin, lambda at, t: t[0], X)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="places among args"):
        accumulating(lambda dy, x, dx: None, into="x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="args has no floats"):
        check_jvp(lambda x: x**2, lambda at, t: 2 * at[0] * t[0], (3,))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"seeds": 1.5}, "seeds is 1.5; expected a whole number, 1 or more"),
        ({"seeds": 0}, "seeds is 0"),
        ({"draws": "3"}, "draws is '3'"),
        ({"limit": "4"}, "limit is '4'; expected a positive number"),
        ({"rounding": 0}, "rounding is 0"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_one_line(options: dict[str, object], line: str) -> None:
    """Bug: a TypeError from within; for a limit of −1, or not a number, a right gradient was condemned."""
    with pytest.raises(UsageError, match=line):
        check_expectation(lambda seed, draws: np.zeros(draws), 0.0, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sample_gradient is float"):
        check_expectation(0.5, 0.5)  # type: ignore[arg-type]


def kl(mu: np.ndarray, log_var: np.ndarray) -> float:
    """KL from N(mu, e^log_var) to N(0, 1), nats; zero, and flat, where both are."""
    return float(np.sum(mu**2 + np.exp(log_var) - 1 - log_var)) / 2


def kl_by_complex(mu: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """The same, for complex numbers as well."""
    return np.asarray(np.sum(mu**2 + np.exp(log_var) - 1 - log_var) / 2)


@pytest.mark.parametrize("f", [kl, kl_by_complex])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_an_optimum_is_no_proof_of_float32_or_of_a_dropped_imaginary_part(f: object, factor: float) -> None:
    """Bug: of a gradient that is rounding, differences and a true zero were told apart as "dropped", and beside f = 0
    all noise was float32's; judged by that, twice the cotangent of log_var passed."""

    def f_vjp(dy: float, mu: np.ndarray, log_var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dy * mu, factor * dy * (np.exp(log_var) - 1) / 2

    report = check(f, f_vjp, (np.zeros(3), np.zeros(3)))  # type: ignore[arg-type]
    assert report.verdict == ("ok" if factor == 1 else "wrong")
    assert [row.block for row in report.failed()] == ["log_var"] * (factor != 1)
    assert "float32" not in str(report)
    assert "dropped" not in str(report)


def test_the_flat_side_of_a_kink_is_no_dropped_imaginary_part() -> None:
    """Bug: relu at 0 along a negative direction has a complex step of zero, and "the code dropped" it."""
    report = check(lambda x: np.maximum(x, 0).sum(), lambda dy, x: dy * (x > 0), (np.zeros(1),))
    assert report, report
    assert "dropped" not in str(report)


@pytest.mark.parametrize("layout", ["csr_matrix", "csr_array", "coo_array"])
def test_a_sparse_cotangent_is_read(layout: str) -> None:
    """Bug: "csr_matrix of object: return a plain array of real numbers", though its numbers were right."""
    made = getattr(pytest.importorskip("scipy.sparse"), layout)
    W = np.array([[1.0, 2.0], [0.0, 3.0]])
    for slip in (1.0, 1.001):
        report = check(lambda W: W**2, lambda dy, W: made(slip * 2 * dy * W), (W,))  # noqa: B023
        assert report.ok == (slip == 1.0), report


def test_integers_alone_are_checked_as_floats() -> None:
    """Bug: 3² is an integer, and the pair was wrong: "f returned no floats"."""
    report = check(lambda x, n: x**2 * n, lambda dy, x, n: (2 * dy * x * n, None), (3, 4))
    assert report, report
    assert "x came as int64 and was checked in float64" in report.notes
    assert "integers without a cotangent are constants: n" in report.notes
    assert check(lambda x: x**2, lambda dy, x: 3 * dy * x, (np.array([3, 4]),)).verdict == "wrong"
    assert check_hvp(lambda x: x**3, lambda x: 3 * x**2, lambda v, x: 6 * x * v, (3,))
    index = check(lambda i: np.arange(5)[i], lambda dy, i: 0 * i, (np.array([3, 4]),))
    assert index.verdict == "cannot tell", index
    assert "no floats" in str(check(lambda x: x > 2, lambda dy, x: 0.0, (3,)))


def test_a_kink_is_told_once() -> None:
    """Bug: an element's line and a direction's, alike but for their numbers, and nothing said which was which."""
    wrong = check(lambda x: np.max(x), lambda dy, x: 2 * dy * np.array([1.0, 0, 0]), (np.ones(3),))
    assert str(wrong).count("a kink") == 1, wrong
    mixed = check(lambda x: np.sum(np.abs(x)), lambda dy, x: dy * np.ones(3), (np.zeros(3),))
    assert str(mixed).count("x: a kink") == str(mixed).count("x, along a direction: a kink") == 1, mixed


@pytest.mark.parametrize(("own", "verdict"), [(True, "wrong"), (False, "ok")])
def test_a_baseline_of_its_own_draws_is_seen_in_few_draws(own: bool, verdict: str) -> None:
    """Catches a check that cannot be asked for few draws: such a baseline shrinks the gradient by 1 − 1/draws, which of
    10 000 nobody sees, and of two is half. The mean of the other draws has no bias. Score function of E[z²],
    z ~ N(½, 1), whose gradient is 1."""

    def sample(seed: int, draws: int) -> np.ndarray:
        eps = np.random.default_rng(seed).standard_normal(draws)
        value = (0.5 + eps) ** 2
        return np.asarray((value - (value.sum() - (not own) * value) / (draws - (not own))) * eps)

    assert check_expectation(sample, 1.0)
    assert check_expectation(sample, 1.0, draws=2, seeds=2000).verdict == verdict
