"""§7.2.4 `perhaps:` names the slip that was made, no other, and none where none fits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.gradcheck import Report, Row, check, evidence
from scratchvae.gradcheck.contract import argument_names, promote
from scratchvae.gradcheck.diagnosis import LADDER, explain, explained, perhaps
from scratchvae.gradcheck.evidence import Evidence, gather, moved
from scratchvae.gradcheck.numeric import spread
from scratchvae.gradcheck.products import number
from scratchvae.types import Array

Vjp = Callable[..., Any]
MU, LOG_VAR, EPS = (spread(seed, (3, 4)) for seed in range(3))
BITS = np.array([[1.0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 1, 1]])


def blocks(f: Vjp, args: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments by name, as `check` has them."""
    return promote(dict(zip(argument_names(f, len(args)), args, strict=True)), [])


def said(f: Vjp, f_vjp: Vjp, args: tuple[Any, ...], terms: Any = None, limit: int = 4096) -> dict[str, str]:
    """What is said of each block that is not right, with every error let through."""
    report = check(f, f_vjp, args, constants=tuple(argument_names(f, len(args))), limit=limit)
    assert not report.problems, report
    found = explained(f, f_vjp, blocks(f, args), report, 0, terms or {}, limit)
    assert all(not row.perhaps for row in found.rows if row.ok)
    return {row.block: "".join(row.perhaps) for row in found.rows if not row.ok}


def sample(mu: Array, log_var: Array, eps: Array) -> Array:
    return mu + np.exp(log_var / 2) * eps


def sigma(log_var: Array) -> Array:
    return np.asarray(np.exp(log_var / 2))


def halves(dz: Array, m: Array, v: Array, e: Array) -> Array:
    """The right cotangent of log_var."""
    return dz * sigma(v) * e / 2


SLIPS: dict[str, tuple[Vjp, Vjp]] = {  # what is said of log_var -> (cotangent of mu, cotangent of log_var)
    "not finite": (lambda dz, *_: dz, lambda dz, m, v, e: dz + np.nan),
    "zero: no path reaches it": (lambda dz, *_: dz, lambda dz, *_: 0 * dz),
    "does not depend on dy": (lambda dz, *_: dz, lambda dz, m, v, e: sigma(v) * e / 2),
    "not linear in dy: uses dy twice": (lambda dz, *_: dz, lambda dz, *a: dz * halves(dz, *a)),
    "not linear in dy: divides by dy": (lambda dz, *_: dz, lambda dz, *a: halves(dz, *a) / dz**2),
    "not linear in dy": (lambda dz, *_: dz, lambda dz, *a: np.where(dz > 0, halves(dz, *a), 0)),
    "swapped with the cotangent of mu": (halves, lambda dz, *_: dz),
    "it is the cotangent of mu": (lambda dz, *_: dz, lambda dz, *_: dz),
    "it is minus the cotangent of mu": (lambda dz, *_: dz, lambda dz, *_: -dz),
    "minus the derivative: a flipped sign": (lambda dz, *_: dz, lambda dz, *a: -halves(dz, *a)),
    "2 times the derivative": (lambda dz, *_: dz, lambda dz, *a: 2 * halves(dz, *a)),
    "½ times the derivative": (lambda dz, *_: dz, lambda dz, *a: 0.5 * halves(dz, *a)),
    "1.0001 times the derivative": (lambda dz, *_: dz, lambda dz, *a: 1.0001 * halves(dz, *a)),
    "1/3 of the derivative: 3 is the length of dy's axis 0 (a mean for a sum?)": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a) / 3,
    ),
    "12 times the derivative: 12 is the size of dy (a sum for a mean?)": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a) * 12,
    ),
    "the right numbers, read by columns for rows": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a).T.reshape(3, 4),
    ),
    "the right numbers, axis 1 in reverse": (lambda dz, *_: dz, lambda dz, *a: halves(dz, *a)[:, ::-1]),
    "the right numbers, shifted by one along axis 0": (lambda dz, *_: dz, lambda dz, *a: np.roll(halves(dz, *a), 1, 0)),
    "the right numbers in another order": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a)[[0, 2, 1]][:, [1, 0, 3, 2]],
    ),
    "summed over axis 0 as well": (lambda dz, *_: dz, lambda dz, *a: halves(dz, *a).sum(axis=0) + 0 * dz),
    "averaged over axis 1 as well": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a).mean(axis=1, keepdims=True) + 0 * dz,
    ),
    "right but for index 2 of axis 0, zero there": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a) * np.array([[1], [1], [0]]),
    ),
    "right but for (1, 2), −1 times the derivative there": (
        lambda dz, *_: dz, lambda dz, *a: halves(dz, *a) * (1 - 2 * (np.arange(12).reshape(3, 4) == 6)),
    ),
    "right but below the diagonal, zero there": (lambda dz, *_: dz, lambda dz, *a: np.triu(halves(dz, *a))),
    "right but where log_var < 0, zero there": (lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, v, e) * (v > 0)),
    "where log_var < 0: 2 times the derivative; elsewhere: zero": (
        lambda dz, *_: dz, lambda dz, m, v, e: 2 * halves(dz, m, v, e) * (v < 0),
    ),
    "a factor exp(log_var/2) too many": (lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, 2 * v, e)),
    "lacks the factor ½ · eps": (lambda dz, *_: dz, lambda dz, m, v, e: dz * sigma(v)),
    "has mu in place of eps": (lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, v, m)),
    "missing term −½ · dy · mu": (lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, v, e) + dz * m / 2),
    "missing term 2 · dy · eps (a flipped sign?)": (
        lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, v, e) - 2 * dz * e,
    ),
    "missing terms −dy · cos(eps) and dy · sin(mu)": (
        lambda dz, *_: dz, lambda dz, m, v, e: halves(dz, m, v, e) - dz * (np.sin(m) - np.cos(e)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", SLIPS)
def test_each_rung_names_its_slip(line: str) -> None:
    """Catches a rung that is lost, that speaks for another, or that speaks of the block beside it, which is right."""
    by_mu, by_log_var = SLIPS[line]
    found = said(sample, lambda *a: (by_mu(*a), by_log_var(*a), None), (MU, LOG_VAR, EPS))
    assert found["log_var"] == line
    assert line.startswith("swapped") or set(found) == {"log_var"}


def ridge(X: Array, y: Array, w: Array, lam: float) -> Any:
    return ((X @ w - y) ** 2).mean() / 2 + lam * (w**2).sum() / 2 + 0.01 * w.sum()


def ridge_slope(X: Array, y: Array, w: Array, lam: float) -> Array:
    return X.T @ (X @ w - y) / len(y) + lam * w + 0.01


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("5 times the derivative: 5 is the length of X's axis 0 (a sum for a mean?)", lambda d, X, y, w, s: 5 * d),
        ("2 times the derivative", lambda d, X, y, w, s: 2 * d),
        ("missing term dy · w · lam", lambda d, X, y, w, s: d - s * w),
        ("missing term 0.01 · dy", lambda d, X, y, w, s: d - 0.01),
        ("missing term −0.2 · dy · (y @ X)", lambda d, X, y, w, s: d + X.T @ y / 5),
        ("", lambda d, X, y, w, s: X.T @ (d[0] * X @ w)),
    ],
)
def test_a_loss_of_one_number(line: str, wrong: Vjp) -> None:
    """Least squares with a penalty. Catches a ladder that needs an array for dy, lengths of 2 that are taken for an
    axis, and sums over rows."""
    point = spread(8, (5, 2)), spread(9, (5,)), spread(10, (2,)), 0.37
    found = said(ridge, lambda dy, *a: (None, None, dy * wrong(ridge_slope(*a), *a), None), point)
    assert found == {"w": line}


def test_sums_over_rows() -> None:
    """log N of all rows under one mean and one variance: catches terms that are added up, and so are no product."""

    def f(x: Array, m: Array, v: Array) -> Array:
        return -0.5 * (v + (x - m) ** 2 * np.exp(-v)).sum(axis=-1)

    def f_vjp(dy: Array, x: Array, m: Array, v: Array) -> Any:
        """m is left out, and (x − m)² is."""
        return None, (x * np.exp(-v) * dy[:, None]).sum(axis=0), np.array([-1.5 * dy.sum()])

    def half(dy: Array, x: Array, m: Array, v: Array) -> Any:
        r = (x - m) * np.exp(-v) * dy[:, None]
        return None, r.sum(axis=0), np.array([0.5 * (r * (x - m)).sum()])

    assert said(f, half, (spread(5, (6, 3)), spread(6, (3,)), spread(7, (1,)))) == {"v": "missing term −1.5 · Σ dy"}
    assert said(f, f_vjp, (spread(5, (6, 3)), spread(6, (3,)), spread(7, (1,)))) == {
        "m": "missing term −Σ dy · m / exp(v)",
        "v": "missing term ½ · Σ dy · (x - m)² / exp(v)",
    }


def test_a_square_block_is_transposed() -> None:
    """Catches a transpose that goes by another name, and one that is said of a symmetric cotangent."""
    x, W = spread(3, (5, 4)), spread(4, (4, 4))
    right = lambda dy, x, W: (dy @ W.T, x.T @ dy)  # noqa: E731
    assert said(np.matmul, right, (x, W)) == {}
    assert said(lambda x, W: x @ W, lambda dy, x, W: (dy @ W.T, dy.T @ x), (x, W)) == {"W": "transposed"}
    assert said(lambda x, W: x @ W, lambda dy, x, W: (dy @ W, x.T @ dy), (x, W)) == {"x": ""}


def test_signs_that_may_be_a_swap_say_both() -> None:
    """∂log N/∂z = −∂log N/∂mu: catches a flipped sign that is called a swap, or the cotangent of the other."""

    def f(z: Array, mu: Array) -> Array:
        return -((z - mu) ** 2) / 2

    both = said(f, lambda dy, z, mu: (dy * (z - mu), -dy * (z - mu)), (MU, EPS))
    assert both["z"] == "minus the derivative: a flipped sign, or swapped with mu"
    one = said(f, lambda dy, z, mu: (dy * (z - mu), dy * (z - mu)), (MU, EPS))
    assert one == {"z": "minus the derivative: a flipped sign"}


def test_a_cotangent_that_is_zero_at_one_point_alone_is_not_zero() -> None:
    """Catches "zero: no path reaches it" of an answer that vanishes at the point of the check, and not near by."""
    x = np.ones((2, 3))
    found = said(np.square, lambda dy, x: dy * np.log(x), (x,))
    assert found == {"x": "missing terms 2 · dy · x and −dy · log(x)"}


def test_what_is_nearly_linear_in_dy_is_not() -> None:
    """Catches a part that does not depend on dy and is small, taken for rounding."""
    found = said(lambda x: x + 0, lambda dy, x: dy + 1e-3 * np.sin(x), (MU,))
    assert found == {"x": "not linear in dy"}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mean_with_the_wrong_sign_is_both(sign: int) -> None:
    """Catches a length that is looked for among positive factors alone."""
    rows = spread(3, (5, 2))
    mean = said(lambda x: x.sum(axis=0), lambda dy, x: sign * np.ones((5, 1)) * dy / 5, (rows,))
    assert "(a mean for a sum?)" in mean["x"]
    total = said(lambda x: x.mean(axis=0), lambda dy, x: sign * np.ones((5, 1)) * dy, (rows,))
    assert "(a sum for a mean?)" in total["x"]


def test_what_f_does_not_depend_on_is_zero() -> None:
    """Catches a cotangent of nothing that is called a factor."""
    found = said(lambda x, b: x + 0 * b, lambda dy, x, b: (dy, dy), (MU, EPS))
    assert found == {"b": "not zero, though f does not depend on it"}


def masked(x: Array, m: Array) -> Array:
    return m * x**2 / 2


def test_zeros_of_a_mask_are_not_right_but_for_the_rest() -> None:
    """Catches "right but where m > 0", the false friend of every masked slip; and names a mask that was lost."""

    def vjp(way: Vjp) -> Vjp:
        return lambda dy, x, m: (way(dy, x, m), None)

    assert said(masked, vjp(lambda dy, x, m: 2 * dy * m * x), (MU, BITS)) == {"x": "2 times the derivative"}
    assert said(masked, vjp(lambda dy, x, m: dy * m), (MU, BITS)) == {"x": "lacks the factor x"}
    more = said(masked, vjp(lambda dy, x, m: dy * m * (x + 2 * np.sin(x))), (MU, BITS))
    assert more == {"x": "missing term −2 · dy · sin(x) · m (a flipped sign?)"}
    lost = said(masked, vjp(lambda dy, x, m: dy * x), (MU, BITS))
    assert lost == {"x": "right but where m = 0, where it should be zero"}


def test_rows_of_a_mask_are_no_rows() -> None:
    """At the point itself row 1 is wrong and row 1 is masked: catches the name that the second point refutes."""
    m = np.ones((3, 4))
    m[1] = 0
    by_index = lambda dy, x, m: (dy * x * np.array([[1], [0], [1]]), None)  # noqa: E731
    f = lambda x, m: x**2 / 2 + 0 * m  # noqa: E731
    assert said(f, by_index, (MU, m)) == {"x": "right but for index 1 of axis 0, zero there"}
    assert said(f, lambda dy, x, m: (dy * x * m, None), (MU, m)) == {"x": "right but where m = 0, zero there"}


def rungs(points: list[Evidence]) -> list[str]:
    """Everything that any rung says."""
    with np.errstate(all="ignore"):
        return [line for rung in LADDER if (line := rung(points))]


@pytest.mark.parametrize(
    ("f", "x", "wrong", "friend"),
    [
        (
            lambda x: x + 0,
            2 * np.ones((2, 3)),
            lambda dy, x: 2 * dy * np.cos(x) / np.cos(2.0),
            "2 times the derivative",
        ),
        (
            lambda x: x + 0,
            MU,
            lambda dy, x: dy * (1 + (np.abs(x) == np.abs(MU[1, 1]))),
            "right but for (1, 1), 2 times the derivative there",
        ),
        (lambda x: x + 0, MU, lambda dy, x: dy * np.where(np.abs(x - MU) < 1e-9, x, 1 + x), "a factor x too many"),
        (np.sin, MU, lambda dy, x: dy * np.cos(x) + (x == MU) * dy * x, "missing term −dy · x"),
    ],
)
def test_false_friends_are_refuted_at_the_second_point(f: Vjp, x: Array, wrong: Vjp, friend: str) -> None:
    """What holds at the point of the check alone: catches evidence that is not asked twice. All are silent."""
    args = {"x": x}
    points = [p[("x",)] for p in gather(f, wrong, args, [("x",)])]
    assert len(points) == 2
    assert friend in rungs(points[:1])
    assert friend not in rungs(points)
    assert perhaps(points[:1]) == ()


def test_no_second_point_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """f is defined near one point alone: catches a finding that nobody could confirm."""
    monkeypatch.setattr(evidence, "MOVES", ((True, 10.0), (False, 1.0)))

    def f(x: Array) -> Array:
        if abs(x.real - MU).max() > 0.1:
            raise ValueError("not here")
        return 2 * x

    assert len(gather(f, lambda dy, x: dy, {"x": MU}, [("x",)])) == 1
    wrong = Row("x", 12, ())
    assert explain(f, lambda dy, x: dy, {"x": MU}, Report("f", (wrong,))).rows == (wrong,)


@pytest.mark.parametrize("broken", ["f", "f_vjp", "terms"])
def test_it_never_raises(broken: str) -> None:
    """Catches a diagnosis that ends the check. A report that is right, or has no rows, comes back as it is."""

    def fails(*_: Any) -> Any:
        raise RuntimeError(broken)

    right = check(sample, lambda dz, *a: (dz, halves(dz, *a), None), (MU, LOG_VAR, EPS), constants=("eps",))
    args = blocks(sample, (MU, LOG_VAR, EPS))
    assert explain(fails, fails, args, right) == right
    wrong = Report("f", (Row("mu", 12, ()), Row("nowhere", 1, ())))
    f = fails if broken == "f" else sample
    f_vjp = fails if broken == "f_vjp" else lambda dz, *a: (dz, dz, None)
    terms = {"all": fails} if broken == "terms" else None
    found = explain(f, f_vjp, args, wrong, terms=terms)
    if terms:
        assert found.notes == ("terms were left out: RuntimeError: terms",)
    else:
        assert found == wrong


def test_terms_that_the_author_names() -> None:
    """∂L/∂mu = dy (through z − through KL). Catches a forgotten term, and terms that are not the derivative."""

    def bound(mu: Array, s: Array) -> Array:
        return np.sin(mu * s).sum(axis=-1) - 0.5 * (mu**2).sum(axis=-1)

    def z(dy: Array, mu: Array, s: Array) -> Any:
        return dy[:, None] * np.cos(mu * s) * s, dy[:, None] * np.cos(mu * s) * mu

    def kl(dy: Array, mu: Array, s: Array) -> Any:
        return -dy[:, None] * mu, 0 * mu

    def answer(a: float, b: float) -> Vjp:
        return lambda *p: (a * z(*p)[0] + b * kl(*p)[0], z(*p)[1])

    terms = {"through z": z, "through KL": kl}
    point = MU, EPS
    assert said(bound, answer(1, 1), point, terms) == {}
    assert said(bound, answer(1, 0), point, terms) == {"mu": "through KL: 0"}
    assert said(bound, answer(0.5, 2), point, terms) == {"mu": "through z: ½, through KL: 2"}
    twice = lambda *p: tuple(2 * d for d in kl(*p))  # noqa: E731
    assert said(bound, answer(1, 0), point, {"through z": z, "through KL": twice}) == {"mu": "missing term −dy · mu"}


@pytest.mark.parametrize("f", [sample, lambda mu, log_var, eps: mu.real + np.exp(log_var.real / 2) * eps.real])
@given(seed=st.integers(0, 10**6), c=st.sampled_from([-1, 2, 0.5, -2, 0.25, 1.5, 7]))
@settings(max_examples=4, deadline=None)
def test_a_constant_ratio_is_said_as_that(f: Vjp, seed: int, c: float) -> None:
    """At any point and by either derivative. Catches a number that is rounded away, and central differences that are
    asked for more digits than they have."""
    point = tuple(spread(seed + i, (2, 5)) for i in range(3))
    found = said(f, lambda dz, *a: (dz, c * halves(dz, *a), None), point)["log_var"]
    assert found == ("minus the derivative: a flipped sign" if c == -1 else f"{number(c)} times the derivative")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_what_is_no_slip_of_the_hand_has_no_name(seed: int) -> None:
    """Any numbers at all, linear in dy. Catches a dictionary so large that something always fits."""
    R = spread(seed, (12, 12))
    f_vjp = lambda dz, *a: (dz, (R @ (dz * spread(seed + 1, dz.shape)).ravel()).reshape(dz.shape), None)  # noqa: E731
    assert said(sample, f_vjp, (MU, LOG_VAR, EPS)) == {"log_var": ""}


def test_many_arguments_and_central_differences_have_no_more_names() -> None:
    """Eight arrays and few digits: catches a tolerance that one large element sets for all the others."""

    def f(a: Array, b: Array, c: Array, d: Array, e: Array, g: Array, h: Array, i: Array) -> Array:
        return np.asarray(a.real + b.real * c.real + np.tanh(d.real) * e.real + g.real * h.real + i.real)

    def f_vjp(dy: Array, *x: Array) -> Any:
        _, b, c, d, e, g, h, _ = x
        wrong = dy * (1 - np.tanh(d) ** 2) * e + np.sin(3 * x[0]) * dy
        return dy, dy * c, dy * b, wrong, dy * np.tanh(d), dy * h, dy * g, dy

    assert said(f, f_vjp, tuple(spread(20 + k, (8, 8)) for k in range(8))) == {"d": ""}


def test_a_large_block_is_asked_for_dy_alone() -> None:
    """Above the limit no derivative is taken element by element: catches one that is, and silence over zeros."""
    args = (MU, LOG_VAR, EPS)
    assert said(sample, lambda dz, *a: (dz, 0 * dz, None), args, limit=5) == {"log_var": "zero: no path reaches it"}
    assert said(sample, lambda dz, *a: (dz, 2 * halves(dz, *a), None), args, limit=5) == {"log_var": ""}


def test_the_second_point() -> None:
    """Catches a point that did not move, labels and masks that are none any more, and a block of zeros that stays."""
    args = {"x": np.array([1.0, 2, 3]), "zero": np.zeros(3), "m": np.array([1.0, 0, 1]), "s": 2.0, "i": np.arange(3)}
    there = moved(args, {("x",), ("zero",), ("s",)}, True, 0.1, 0)
    assert there["m"].tolist() == [1, 1, 0]
    assert there["i"].tolist() == [2, 0, 1]
    assert isinstance(there["s"], float)
    assert 0.8 < there["s"] / 2 < 1.2
    assert there["s"] != 2
    assert np.all(there["zero"])
    assert np.all(np.abs(there["x"] / [3, 1, 2] - 1) < 0.16)
