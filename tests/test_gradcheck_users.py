"""§7.2.4 What a fresh user of the checker met: right pairs condemned, reasons that mislead, refusals without a line."""

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.gradcheck import accumulating, check, check_gradient, check_jvp

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
        ({"step": 0}, "step is 0"),
        ({"methods": ()}, "methods is empty"),
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
