"""§7.2.4 Bugs that were planted in the checker and that no other test saw: each test here failed for one of them."""

import functools
from typing import Any

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.gradcheck import (
    Report,
    Row,
    accumulating,
    check,
    check_expectation,
    check_gradient,
    check_hvp,
    check_jvp,
    numeric,
)
from scratchvae.gradcheck.check import SEEDS
from scratchvae.gradcheck.doors import assert_vjp, together
from scratchvae.gradcheck.report import Measure
from scratchvae.types import Array

X = np.array([0.3, -1.2, 0.7])
ONE = np.ones(1)


def square_vjp(dy: Array, x: Array) -> Array:
    return 2 * dy * x


def methods(report: Report) -> dict[str, float]:
    """The tolerance of each method."""
    return {m.method: m.tolerance for m in report.rows[0].measures}


# --- check --------------------------------------------------------------------------------------------


def test_each_method_has_its_tolerance() -> None:
    """Catches a direction held to the complex step's accuracy by differences, and float32 to float64's."""

    def single(x: Array) -> Array:
        return np.tanh(x.astype(np.float32)).astype(np.float64)

    assert methods(check(np.square, square_vjp, (X,))) == {"complex": 1e-12, "central": 1e-7, "direction": 1e-9}
    rough = check(np.abs, lambda dy, x: dy * np.sign(x), (X,))
    assert methods(rough) == {"central": 1e-7, "direction": 1e-7}
    rough = check(single, lambda dy, x: dy * (1 - np.tanh(x) ** 2), (X,))
    assert methods(rough) == {"central": 1e-4, "direction": 1e-4}


def test_what_was_asked_for_is_no_note() -> None:
    """Catches "checked along one direction" of a block for which nothing else was asked."""
    assert check(np.square, square_vjp, (X,), limit=2, methods=("direction",)).notes == ()


@pytest.mark.parametrize("k", [1e3, 1e12])
def test_a_kink_of_a_fast_function(k: float) -> None:
    """Bug: over steps far longer than 1/k a bounded function has slopes of next to nothing, and hid its kink: the right
    slope k was condemned. Catches steps of 1e-9 and more, for an element that is 0 in a block of 1e-12."""
    x = (np.array([0.0, 1 / k]),)
    for slope, verdict in ((k, "ok"), (2 * k, "wrong")):
        found = check(
            lambda x: np.where(x > 0, np.sin(k * x), 0 * x),
            lambda dy, x, s=slope: dy * np.where(x > 0, k * np.cos(k * x), s),
            x,
            methods=("central",),
        )
        assert found.verdict == verdict, found


def test_a_direction_along_which_all_cancels() -> None:
    """Catches the scale of a sum that is zero by chance, on which its rounding looks like an error."""
    u = numeric.direction(SEEDS, X)
    a = np.array([u[1], -u[0], 0.0]) / 3
    found = check(lambda x: np.sum(a * x), lambda dy, x: dy * a * 1.0000000000001, (X,), methods=("direction",))
    assert found.ok, found
    assert not found.notes


def test_a_doubt_beside_a_wrong_element_does_not_excuse_it() -> None:
    """Catches rounding of one element for which a point near by is asked, where the other is right."""

    def f(x: Array) -> Array:
        return (np.abs(x) - 1) ** 2 + np.array([1e7, 0])

    def f_vjp(dy: Array, x: Array) -> Array:
        return 2 * dy * (np.abs(x) - 1) * np.sign(x) * np.where(np.abs(x - 1) < 1e-3, [1, 1.01], 1)

    assert check(f, f_vjp, (np.full(2, 1 + 1e-6),), methods=("central",)).verdict == "wrong"


def test_rounding_that_hides_more_than_a_point_near_by_can_show() -> None:
    """Catches "right at a point near by" where the cotangent here is lost in terms of 5e11."""

    def f_vjp(dy: Array, x: Array) -> Array:
        terms = 5e11 * np.exp(-(((x - 1) / 0.01) ** 2))
        return (2 * dy * x + terms) - terms

    assert check(np.square, f_vjp, (ONE,)).verdict == "cannot tell"


def test_none_for_a_faint_kink_and_for_a_difference() -> None:
    """Catches an argument whose slopes from both sides have the mean 0, and one of which all elements are moved
    alike."""

    def none(dy: Array, x: Array, b: Array) -> tuple[Array, None]:
        return dy * x / x, None

    for f, b in ((lambda x, b: x + 1 + 1e-11 * np.abs(b), np.zeros(1)), (lambda x, b: x + b[0] - b[1], np.ones(2))):
        found = check(f, none, (X, b))
        assert found.problems[0].startswith("f_vjp returned None for b, but f depends on it"), found


def test_many_elements_beside_an_offset() -> None:
    """Catches right elements condemned by the first look of differences, once eight others had been looked at."""
    x = np.linspace(0.3, 2, 11)
    for slip, verdict in ((1, "ok"), (1 + 1e-4, "wrong")):
        found = check(lambda x: np.sum(x**2) + 1e10, lambda dy, x, s=slip: 2 * s * dy * x, (x,))
        assert found.verdict == verdict, found


def test_rounding_of_eight_elements_does_not_excuse_a_ninth() -> None:
    """Catches a look at the complex step that ends before all are done."""

    def f(x: Array) -> Array:
        terms = 1e7 * x * (np.arange(10) < 9)
        return np.asarray((terms + x**2) - terms)

    x, slip = np.linspace(0.3, 2, 10), 1 + 1e-11 * (np.arange(10) == 9)
    assert check(f, square_vjp, (x,)).verdict == "ok"
    assert check(f, lambda dy, x: 2 * dy * x * slip, (x,)).verdict == "wrong"


def test_an_error_is_relative_to_what_there_is() -> None:
    """Catches the error of a cotangent that should be zero, measured against 1."""
    assert check(lambda x: 0 * x + 1, lambda dy, x: 1e-9 * dy, (X,)).rows[0].worst.error >= 1


def test_options_reach_their_place() -> None:
    """Catches a name that is lost, a branch that is no constant, and a limit that the diagnosis does not keep."""
    args = (X, {"a": {"b": X}, "c": X})
    found = check(
        lambda x, p: x * p["a"]["b"] * p["c"],
        lambda dy, x, p: (dy * p["a"]["b"] * p["c"], {"a": None, "c": dy * x * p["a"]["b"]}),
        args,
        constants=("p.a",),
        name="mine",
    )
    assert (found.name, found.ok) == ("mine", True)
    half = [check(np.square, lambda dy, x: dy * x, (X,), limit=limit) for limit in (3, 2)]
    assert ["½" in str(report) for report in half] == [True, False]


# --- what a pair owes ---------------------------------------------------------------------------------


def test_names_of_arguments_that_have_none() -> None:
    """Catches a keyword that lends its name to an argument, and numbers that do not count from the first."""

    def f(x: Array, *more: Array, slope: float = 1.0) -> Array:
        return np.asarray(x * slope + more[0] + more[1])

    assert [row.block for row in check(f, lambda dy, *_: (dy, dy, dy), (X, X, X)).rows] == ["x", "arg1", "arg2"]


@pytest.mark.parametrize("of", ["f", "f_vjp"])
def test_fresh_noise_in_a_buffer_that_is_used_again(of: str) -> None:
    """Catches an answer compared with itself."""
    buffer, rng = np.empty(3), np.random.default_rng(0)

    def noisy(name: str, value: Array) -> Array:
        buffer[:] = value + (of == name) * rng.normal(size=3)
        return buffer

    found = check(lambda x: noisy("f", x), lambda dy, x: noisy("f_vjp", dy), (X,))
    assert found.problems[0].startswith("f drew fresh noise" if of == "f" else "f_vjp gave other cotangents")
    of = ""
    assert check(lambda x: noisy("f", x), lambda dy, x: noisy("f_vjp", dy), (X,))


def test_structures_of_one() -> None:
    """Catches a list of one array taken for the tuple of one cotangent."""
    assert check(lambda xs: xs[0] ** 2, lambda dy, xs: [2 * dy * xs[0]], ([X],))


def test_each_output_has_weights_of_its_own() -> None:
    """Catches outputs that are swapped on the way back, where each has the same dy."""
    f_vjps = {False: lambda dy, x: 2 * dy[0] + dy[1], True: lambda dy, x: dy[0] + 2 * dy[1]}
    for right, f_vjp in f_vjps.items():
        assert check(lambda x: (x, 2 * x), f_vjp, (X,)).ok is right


def test_infinity_and_no_number() -> None:
    """Catches an infinite value of f that is differentiated, and a NaN of f_vjp that nobody could tell."""
    found = check(lambda x: np.where(x > 0, np.inf, x), lambda dy, x: dy, (X,))
    assert found.problems == ("f(*args) is not finite: choose arguments inside its domain",)
    assert check(np.square, lambda dy, x: 2 * dy * x * [1, np.nan, 1], (X,)).rows[0].verdict == "wrong"


def test_integers_as_floats_give_another_shape() -> None:
    """Catches other outputs that broadcast to the same numbers."""

    def f(x: Array, n: Any) -> Array:
        return np.repeat(x * n, 1 + isinstance(n, int))

    found = check(f, lambda dy, x, n: (np.array([dy.sum() * n]), float(dy.sum() * x[0])), (ONE, 3))
    assert "f gives other numbers for floats there" in found.doubts[0]


def test_many_integers_are_not_all_named() -> None:
    """Catches a list that ends without saying so."""
    for count, end in ((4, "a.3"), (5, "a.3, …")):
        found = check(lambda x, a: x * 1, lambda dy, x, a: (dy, None), (X, [*range(count)]))
        assert found.notes == (f"integers without a cotangent are constants: a.0, a.1, a.2, {end}",)


def test_buffers() -> None:
    """Catches an = beside a larger +=, a NaN called a missing +, a cotangent for an index, and answers miscounted."""

    def gather(x: Array, i: Any, W: Array) -> Array:
        return x[0] + W[i] if isinstance(x, tuple) else x + W[i]

    def gather_vjp(dy: Array, x: Any, i: Any, W: Array, di: Any, dW: Array, how: str = "") -> Any:
        np.add.at(dW, i, dy * (np.nan if how == "nan" else 1))
        if how == "assigned":
            dW[2] = 1e-3
        return (dy, np.zeros(3)) if isinstance(x, tuple) else None if how == "none" else dy

    def report(x: Any, how: str = "", **options: Any) -> Report:
        f_vjp = functools.partial(gather_vjp, how=how)
        return check(gather, accumulating(f_vjp, into=(1, 2)), (x, np.array([0, 0, 1]), 1000 * X), **options)

    assert report(X), report(X)
    assert report((X, X)), report((X, X))
    assert report(X, "none", constants=("x",))
    assert "did not add into the buffer for argument 2" in report(X, "assigned").problems[0]
    assert [row.verdict for row in report(X, "nan").rows] == ["ok", "wrong"]

    def adds(dy: Array, x: Array, y: Array, W: Array, dW: Array) -> None:
        dW += dy * x * y

    assert check(lambda x, y, W: x * y * W, accumulating(adds, into=(2,)), (X, X, X), constants=("x", "y"))


# --- reports ------------------------------------------------------------------------------------------


def measure(error: float, tolerance: float = 1e-7, **more: Any) -> Measure:
    return Measure(more.pop("method", "central"), more.pop("at", (0,)), 1.0, 1 + error, error, tolerance, **more)


def test_the_worst_of_a_row() -> None:
    """Catches errors compared without their tolerances or their verdicts, and nothing measured that is ok."""
    strict, loose = measure(1e-3, 1e-12), measure(2e-3, 1e-7)
    assert Row("x", 1, (strict, loose)).worst is Row("x", 1, (loose, strict)).worst is strict
    unknown = measure(9.0, given="cannot tell")
    assert Row("x", 1, (unknown, loose)).worst is Row("x", 1, (loose, unknown)).worst is loose
    assert Row("x", 1, ()).verdict == "wrong"
    for errors in ((1.0, np.nan), (np.nan, 1.0)):
        assert Report("f", tuple(Row("x", 1, (measure(e),)) for e in errors)).worst("central") == np.inf


def test_the_first_failure_is_the_worst() -> None:
    """Catches a doubt that is shown for what is wrong: a row's, a measure's, a line's; and a reason that is lost."""
    right, unknown = measure(0.0), measure(9.0, at=(2,), given="cannot tell", why="dark")
    wrong = Row("b", 3, (right, unknown, measure(0.5, at=(1,))), ("half", "double"))
    report = Report("f", (Row("a", 3, (unknown,)), wrong))
    assert report.first_failure == "b at [1] is 1 by the vjp and 1.5 numerically (perhaps: half)"
    assert "b: dark" in str(report)
    assert Report("f", (Row("a", 3, (unknown,)),)).first_failure.endswith("(dark)")
    both = Report("f", (wrong,), problems=("p",), doubts=("d",))
    assert both.first_failure == "p"
    assert "  cannot tell: d" in str(both).splitlines()
    assert Report("f", (Row("a", 3, (right,)),), doubts=("d",)).verdict == "cannot tell"


def test_a_report_as_text_and_as_json() -> None:
    """Catches a number without a place, and a measure that is ok in JSON alone."""
    report = check(np.sin, lambda dy, x: dy * np.sin(x), (0.7,))
    assert "scalar" in str(report)
    assert {m["ok"] for m in report.to_json()["rows"][0]["measures"]} == {False}


# --- sets and doors -----------------------------------------------------------------------------------


def sphere(x: Array, v: Array) -> Array:
    x += v  # its own copy
    return np.asarray(x / np.sqrt(np.sum(x**2)))


def test_sets_of_any_size_and_at_an_optimum() -> None:
    """Catches moves as long as 1 of a matrix of 1e-6, a move that may not write, and a curve whose slope is that at x
    wherever it is asked for."""
    S = 1e-6 * np.array([[2.0, 1.0], [1.0, 3.0]])
    symmetric = {"S": lambda S, v: S + (v + v.T) / 2}

    def log_det(S: Array) -> Any:
        return np.log(S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0])

    assert check(log_det, lambda dy, S: dy * np.linalg.inv(S), (S,), move=symmetric)
    x = X / np.linalg.norm(X)
    for slip in (1, 1.01):
        found = check(lambda x: (x @ X) ** 2, lambda dy, x, s=slip: 2 * s * dy * (x @ X) * X, (x,), move={"x": sphere})
        assert found.ok == (slip == 1), found


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ({"n": lambda n, v: n + v}, "give one of the arrays of floats, x"),
        ({"x": lambda x, v: (x + v)[None]}, "is not x"),
    ],
)
def test_moves_that_are_refused(move: Any, said: str) -> None:
    """Catches whole numbers that are moved, and a point of another shape that broadcasts."""
    with pytest.raises(UsageError, match=said):
        check(lambda x, n: np.sum(x) * n[0], lambda dy, x, n: (dy * n[0] + 0 * x, None), (X, np.array([2])), move=move)


def test_a_control_that_nobody_can_tell_is_not_seen() -> None:
    """Catches "cannot tell" taken for a control that was found."""
    with pytest.raises(AssertionError, match="the control was not seen in block x"):
        assert_vjp(lambda x: np.where(x > 0, -x, -2 * x), lambda dy, x: -dy, (np.zeros(1),), control=True)


def test_options_of_the_doors() -> None:
    """Catches options, a name and constants that are lost on the way, and half of a report with nothing in it."""
    one: dict[str, Any] = {"methods": ("direction",), "name": "mine"}
    second = check_hvp(lambda x: np.sum(x**3), lambda x: 3 * x**2, lambda v, x: 6 * x * v, (X,), **one)
    forward = check_jvp(np.square, lambda at, u: 2 * at[0] * u[0], (X,), **one)
    assert [m.method for report in (second, forward) for row in report.rows for m in row.measures] == ["direction"] * 3
    assert (second.name, forward.name) == ("mine", "mine")
    open_ = check_gradient(lambda x, a: a * (x @ x), lambda x, a: 2 * a * x, X, args=(2.0,), constants=())
    assert open_.problems[0].startswith("f_vjp returned None for a")
    assert together("t", a=Report("a"), b=check(np.square, square_vjp, (X,))).verdict == "cannot tell"


# --- diagnosis and expectation ------------------------------------------------------------------------


def test_a_mean_over_all_elements() -> None:
    """Catches lengths of axes alone: 15 is that of none."""
    found = check(lambda x: np.sum(x**2), lambda dy, x: 2 * dy * x / 15, (numeric.spread(3, (3, 5)),))
    assert "15 is the size of x (a mean for a sum?)" in found.rows[0].perhaps[0]


def test_what_lies_at_the_limit_does_not_hide_a_doubt() -> None:
    """Catches a component at |z| = limit, which is ok, ranked as wrong before one that nobody can tell."""

    def sample(seed: int, draws: int) -> Array:
        return np.tile([1 + 4 * 2.0**-10, np.inf], (draws, 1))

    assert check_expectation(sample, np.ones(2), rounding=2.0**-10, draws=100, seeds=2).verdict == "cannot tell"
