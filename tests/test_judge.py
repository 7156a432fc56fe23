"""§7.2.4 How sure a derivative is: no right pair is condemned for rounding or a kink, no wrong one is excused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.gradcheck import Report, check, numeric
from scratchvae.gradcheck.judge import Block, Point
from scratchvae.types import Array

ONE = np.ones(1)
SLOPES = st.integers(-40, 40).map(lambda n: n / 20)


def line(f: Callable[[Array], Array], x: float) -> numeric.Slopes:
    """What differences say of f at x."""
    at = np.array([x])
    return numeric.slopes(f, at, ONE, numeric.ladder(numeric.size(at), abs(x) or 1.0))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(np.exp, np.exp), (np.sin, np.cos), (np.tanh, lambda x: 1 - np.tanh(x) ** 2)]),
    st.floats(0.1, 3).flatmap(lambda x: st.sampled_from([x, -x])),
    st.sampled_from([1e-6, 1e-3, 1.0, 1e3]),
    st.sampled_from([0.0, 1.0, 1e6, 1e10]),
)
def test_the_error_of_a_difference_is_not_beyond_what_is_said(pair: Any, a: float, scale: float, offset: float) -> None:
    """Catches an error that forgets the rounding of an offset, which then passes for a slope, and one so cautious that
    nothing could be told: s (f(x / s) + c) has the slope f'(x / s) at any scale s."""
    f, slope = pair
    found = line(lambda x: scale * (f(x / scale) + offset), a * scale)
    apart = abs(float(found.middle[0]) - float(slope(a)))
    assert apart <= 3 * found.error[0] + 1e-13
    assert found.error[0] <= 1e-7 + 1e-12 * offset
    assert not found.kinked[0]


@settings(max_examples=25, deadline=None)
@given(st.floats(-9, 0), st.sampled_from([-1.0, 1.0]), SLOPES, SLOPES)
def test_a_kink_is_at_x_or_it_is_none(decade: float, side: float, left: float, right: float) -> None:
    """Catches a kink near by that is taken for one at x, and one at x that is smoothed over."""

    def f(x: Array) -> Array:
        return np.where(x > 0, right, left) * x

    near, at = line(f, side * 10**decade), line(f, 0.0)
    assert near.middle[0] == pytest.approx(right if side > 0 else left, abs=1e-6)
    assert not near.kinked[0]
    assert bool(at.kinked[0]) is (left != right)
    if at.kinked[0]:
        assert (at.left[0], at.right[0]) == (pytest.approx(left, abs=1e-9), pytest.approx(right, abs=1e-9))


def test_the_noise_of_a_function_is_what_its_last_digits_do() -> None:
    """Catches noise that smooth curvature passes for, and that of float32 or of a large term which goes unseen."""
    at = np.array([0.3])
    for f, low, high in (
        (lambda x: np.exp(30 * x), 0, 1e-11),
        (lambda x: np.exp(x).astype(np.float32), 1e-9, 1e-7),
        (lambda x: (x + 1e10) - 1e10, 1e-8, 2e-6),
    ):
        sigma = numeric.noise(numeric.tolerant(f, at, ONE), 1.0)[0]
        assert low <= sigma <= high


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("slope", "verdict", "words"),
    [
        (0.0, "ok", "yours is the left one"),
        (1.0, "ok", "yours is the right one"),
        (0.5, "cannot tell", "lies between"),
        (1.5, "wrong", "lies outside"),
    ],
)
def test_at_a_kink_either_side_is_right(slope: float, verdict: str, words: str) -> None:
    """Catches ½ at relu(0) that is ok, which a mean of both slopes confirms, and 0 or 1 that is not."""
    found = check(relu, lambda dy, x: dy * np.where(x == 0, slope, x > 0), (np.array([0.0, 1.0, -2.0]),))
    assert found.verdict == verdict, found
    assert "x: a kink: slopes 0 from the left, " in str(found)
    assert words in str(found)


def test_at_many_kinks_each_output_has_its_side() -> None:
    """Catches the slope 0 of relu at 0, of weights of either sign, condemned for being left of one output and right of
    the other."""
    W = np.array([[1.0, -2.0, 3.0]])
    found = check(lambda x: relu(x @ W), lambda dy, x: (dy * (x @ W > 0)) @ W.T, (np.zeros((1, 1)),))
    assert found, found
    assert "one side's at each output" in str(found)
    assert check(lambda x: relu(x @ W), lambda dy, x: 0.5 * dy @ W.T, (np.zeros((1, 1)),)).verdict == "cannot tell"


def squares(factor: float, at: float) -> Report:
    """Least squares at, or `at` off, its optimum, with a factor in its gradient."""
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    w = np.linalg.lstsq(A, y, rcond=None)[0] + at

    def vjp(dy: Array, w: Array) -> Array:
        return dy * factor * A.T @ (A @ w - y)

    return check(lambda w: 0.5 * np.sum((A @ w - y) ** 2), vjp, (w,))


@pytest.mark.parametrize("at", [0.0, 1e-8, 1e-6])
def test_at_an_optimum_what_is_left_is_rounding(at: float) -> None:
    """Catches a right gradient condemned where it vanishes, and a wrong one passed there: a point near by is asked."""
    assert squares(1, at), squares(1, at)
    assert squares(2, at).verdict == "wrong"
    assert squares(-1, at).verdict == "wrong"
    assert squares(1 + 1e-4, at).verdict == "wrong"


def test_a_block_of_zeros_that_vanishes_is_asked_elsewhere() -> None:
    """Catches x² at 0 with the gradient 7x, which is 0 there as well."""
    zero = (np.zeros(3),)
    assert check(lambda x: x**2, lambda dy, x: 2 * dy * x, zero)
    assert check(lambda x: x**2, lambda dy, x: 7 * dy * x, zero).verdict == "wrong"
    assert check(lambda x: 0 * x + 1, lambda dy, x: 0 * dy, zero)


def test_blocks_of_any_scale_are_judged_by_their_own() -> None:
    """Catches a wrong slope of 1e-8 that hides behind one of 1e12."""

    def f(a: Array, b: Array) -> Array:
        return np.sin(a * 1e12).sum() + np.cos(b * 1e-8).sum()

    def vjp(sign: float) -> Callable[..., Any]:
        return lambda dy, a, b: (dy * 1e12 * np.cos(a * 1e12), -sign * dy * 1e-8 * np.sin(b * 1e-8))

    point = np.array([0.3e-12, 1.1e-12]), np.array([0.7e8, 1.9e8])
    assert check(f, vjp(1), point), check(f, vjp(1), point)
    assert [row.verdict for row in check(f, vjp(-1), point).rows] == ["ok", "wrong"]


def test_float32_inside_is_said_and_judged_by_its_rounding() -> None:
    """Catches a right pair condemned for computing in float32, and a wrong one excused by it."""

    def f(x: Array) -> Array:
        return np.tanh(x.astype(np.float32)).astype(np.float64)

    def vjp(factor: float) -> Callable[..., Any]:
        return lambda dy, x: factor * dy * (1 - np.tanh(x) ** 2)

    x = (np.array([0.3, -0.8, 1.1]),)
    found = check(f, vjp(1), x)
    assert found, found
    assert "f rounds to float32 on the way" in str(found)
    assert not check(f, vjp(1.003), x)


def test_what_rounding_hides_nobody_can_tell() -> None:
    """Catches ok for a slope that differences of |x| + 1e12 cannot see, and wrong for it."""
    x = (np.array([0.3, -0.8]),)

    def f(x: Array) -> Array:
        return np.abs(x).sum() + 1e12

    found = check(f, lambda dy, x: dy * np.sign(x), x)
    assert found.verdict == "cannot tell"
    assert not found
    assert "the rounding of f" in str(found)
    assert check(f, lambda dy, x: 3 * dy * np.sign(x), x).verdict == "wrong"


def test_a_slope_that_is_zero_but_for_rounding_is_none() -> None:
    """Catches the bias before a batch normalization, which moves nothing: its cotangent is rounding everywhere, and
    nobody could tell. A cotangent that is not there is wrong."""

    def f(x: Array, b: Array) -> Array:
        h = np.abs(x) + b  # no complex step
        return (h - h.mean(axis=0)) / h.std(axis=0)

    def vjp(slip: float) -> Callable[..., Any]:
        def f_vjp(dy: Array, x: Array, b: Array) -> tuple[Array, Array]:
            h = np.abs(x) + b
            y, sd = (h - h.mean(axis=0)) / h.std(axis=0), h.std(axis=0)
            dh = (dy - dy.mean(axis=0) - y * (dy * y).mean(axis=0)) / sd
            return dh * np.sign(x), dh.sum(axis=0) + slip

        return f_vjp

    x, b = np.random.default_rng(1).normal(size=(6, 3)), np.array([0.3, -0.7, 1.1])
    found = check(f, vjp(0), (x, b))
    assert found, found
    assert "b has no slope here, nor at a point near by, but for rounding" in str(found)
    assert check(f, vjp(1e-6), (x, b)).verdict == "wrong"


@pytest.mark.parametrize(
    ("apart", "error", "verdict"),
    [
        (0.5e-7, 0, "ok"),
        (0.5e-6, 1e-6, "ok"),
        (2e-6, 1e-6, "cannot tell"),
        (4e-6, 1e-6, "wrong"),
        (0, 2e-5, "cannot tell"),
        (1e-4, 2e-5, "wrong"),
    ],
)
def test_the_three_rules(apart: float, error: float, verdict: str) -> None:
    """Catches wrong within three errors, ok beyond one, and ok where a factor of 1 + 1e-4 would not have been seen."""
    x = np.ones(2)
    block = Block(Point(np.square, None, {"x": x}, x, {("x",): 2 * x}), ("x",), 1e-3, 1e-7, False)
    assert block.verdict(1 + apart, 1.0, 1.0, error).verdict == verdict
    assert block.verdict(1.0, 1 + apart, 1.0, error).verdict == verdict


@pytest.mark.parametrize("f", [np.square, lambda x: abs(x) ** 2], ids=["complex step", "differences"])
def test_the_rounding_of_f_vjp_itself_condemns_nobody(f: Callable[[Array], Array]) -> None:
    """Catches "wrong" for a right cotangent whose own terms cancel, where f has no rounding to speak of."""
    x = (np.array([0.3, -0.8, 1.1]),)
    for offset in (1e9, 1e10):
        assert check(f, lambda dy, x, a=offset: (2 * dy * x + a) - a, x).verdict == "ok"
        assert check(f, lambda dy, x, a=offset: (2.01 * dy * x + a) - a, x).verdict == "wrong"


def test_the_rounding_of_the_complex_step_condemns_nobody() -> None:
    """Catches "wrong" where f's own terms cancel, and its slope by the complex step has lost digits with them."""
    x = (np.array([0.3, -0.8, 1.1]),)

    def f(x: Array) -> Array:
        return np.asarray((1e9 * x + x**2) - 1e9 * x)

    assert check(f, lambda dy, x: 2 * dy * x, x).verdict == "ok"
    assert check(f, lambda dy, x: 2.01 * dy * x, x).verdict == "wrong"


def test_a_steep_kink_is_judged_by_its_own_slopes() -> None:
    """Catches a rounding of the side's slope condemned by the scale of the others: between the sides the mean is 0."""
    x = (np.array([0.0, 1.0]),)
    for slip, verdict in ((1 + 1e-8, "ok"), (1 + 1e-4, "wrong")):
        steep = np.array([1e6 * slip, 1.0])
        found = check(lambda x: np.abs(x) * [1e6, 1], lambda dy, x, s=steep: dy * s, x, methods=("central",))
        assert found.verdict == verdict, found


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "ok"), (0.5, "cannot tell"), (1.5, "wrong")])
def test_a_kink_beside_a_smooth_output(slope: float, verdict: str) -> None:
    """Catches bounds of the slopes from either side that leave the other outputs out."""

    def f(x: Array) -> Array:
        return np.stack([np.maximum(x, 0), 5 * x])

    assert check(f, lambda dy, x: dy[0] * slope + 5 * dy[1], (np.zeros(1),)).verdict == verdict


@pytest.mark.parametrize("beyond", [np.nan, np.inf, None])
def test_an_optimum_near_an_edge(beyond: float | None) -> None:
    """Catches a point near by that lies beyond f's domain, and none nearer."""

    def f(x: Array) -> Array:
        if np.any(np.abs(x - 1) > 0.05):
            return np.full(1, beyond, dtype=float) if beyond else x[:, 2]
        return (x - 1) ** 2

    for slip, verdict in ((1, "ok"), (1.01, "wrong")):
        found = check(f, lambda dy, x, s=slip: 2 * s * dy * (x - 1), (ONE,))
        assert found.verdict == verdict, found
        assert "float32" not in str(found)


def test_an_empty_block_beside_one_of_rounding() -> None:
    """Catches the size of nothing, asked for while all arguments move."""
    found = check(
        lambda x, e: x**2, lambda dy, x, e: ((2 * dy * x + 1e6) - 1e6, e), (np.array([0.3, -1.2]), np.zeros(0))
    )
    assert found, found


def test_a_kink_near_by_is_no_rounding() -> None:
    """Catches the larger of two estimates of noise, one of which has a kink in it."""
    for side in (-40, 40):

        def distance(t: float, side: int = side) -> Array:
            return np.array([np.abs(t - side * numeric.NEAR)])

        assert numeric.noise(distance, 1.0)[0] < 1e-15
