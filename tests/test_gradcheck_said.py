"""§7.2.4 A report's ok is ok: all that f_vjp returns is looked at or named, and a kink near by condemns nobody."""

from typing import Any

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.gradcheck import Report, accumulating, check
from scratchvae.gradcheck.report import METHODS, Measure
from scratchvae.tree import changes, copied, unchanged
from scratchvae.types import Array

X, B = np.array([[0.3, -1.2], [0.7, 0.4], [-0.9, 1.1]]), np.array([0.2, -0.5])
W = np.array([[1.0, 2.0], [-1.0, 3.0]])


def product(x: Array, W: Any) -> Array:
    return np.asarray(x @ W)


def shifted(x: Array, b: Any) -> Array:
    return np.asarray(x + b)


def summed(dy: Array, b: Any) -> Any:
    """The cotangent of a bias, a row or one number."""
    return dy.sum(axis=0) if np.ndim(b) else dy.sum()


def test_what_differs_is_named_by_its_path() -> None:
    """Catches a NaN that differs from itself, which condemns a function that returns one, and a block that is in one
    tree alone."""
    one, more = {"a": np.array([1.0, np.nan])}, {"a": np.array([1.0, np.nan]), "b": [np.zeros(2), 3]}
    assert unchanged(one, {"a": one["a"].copy()})
    assert [*changes(one, more)] == [*changes(more, one)] == [("b", "0"), ("b", "1")]
    assert [*changes(more, {**more, "b": [np.zeros(2), 4]})] == [("b", "1")]
    copied(one)["a"][0] = 2
    assert one["a"][0] == 1


def test_a_report_is_true_where_it_is_ok_and_shows_its_table() -> None:
    """Catches `assert check(...)`, which passed for a wrong pair; rows and measures, which were true as tuples are."""
    right = check(shifted, lambda dy, x, b: (dy, summed(dy, b)), (X, B))
    wrong = check(shifted, lambda dy, x, b: (dy, 7 * summed(dy, b)), (X, B))
    nothing = Report("nothing")
    assert right
    assert not wrong
    assert not nothing
    assert [bool(row) for row in wrong.rows] == [True, False]
    assert [bool(m) for m in wrong.rows[1].measures] == [False] * 3
    assert repr(wrong) == str(wrong)
    assert "FAIL" in repr(wrong.rows[1])
    assert "ok" in repr(wrong.rows[0])
    assert repr(wrong.rows[1].measures[0]).endswith("FAIL")
    assert repr(wrong.rows[1].measures[2]).startswith("direction at a direction: analytic ")
    assert "nothing measured" in repr(right.rows[0]._replace(measures=()))


@pytest.mark.parametrize("b", [np.array([1, 2]), np.array([True, False]), 3, True, np.int8(3), np.array(4)])
def test_a_cotangent_of_integers_is_checked(b: Any) -> None:
    """Catches 7 times the right cotangent, ok because the bias came as integers."""
    right = check(shifted, lambda dy, x, b: (dy, summed(dy, b)), (X, b))
    assert right, right
    assert right.notes[0] == f"b came as {np.asarray(b).dtype} and was checked in float64"
    wrong = check(shifted, lambda dy, x, b: (dy, 7 * summed(dy, b)), (X, b))
    assert [row.block for row in wrong.rows if not row] == ["b"]


def test_a_cotangent_of_an_integer_leaf_or_through_a_buffer_is_checked() -> None:
    """Catches the same in a dict, and in a buffer that integers got none of."""

    def f(p: Any) -> Array:
        return product(p["x"], p["W"])

    def adds(factor: float) -> Any:
        def vjp(dy: Array, x: Array, W: Array, dW: Array) -> Array:
            dW += factor * x.T @ dy
            return dy @ W.T

        return accumulating(vjp, into=(1,))

    for factor, ok in ((1, True), (7, False)):
        tree = {"x": X, "W": W.astype(int)}
        found = check(f, lambda dy, p, s=factor: {"x": dy @ p["W"].T, "W": s * p["x"].T @ dy}, (tree,))
        assert bool(found) is ok
        assert bool(check(product, adds(factor), (X, W.astype(int)))) is ok


def test_a_cotangent_that_cannot_be_checked_is_named_and_not_ok() -> None:
    """Catches silence over an index, a wrapping byte, a sparse matrix, and a branch that args do not have."""

    def gather_vjp(dy: Array, t: Array, i: Any) -> tuple[Array, Array]:
        d = np.zeros_like(t)
        np.add.at(d, i, dy)
        return d, np.zeros(len(i))

    index = np.array([1, 1, 0])
    found = check(lambda t, i: t[i], gather_vjp, (X, index))
    assert "i is int64, and f refuses floats there (IndexError" in found.doubts[0]
    assert not found
    found = check(lambda t, i: t[i], lambda dy, t, i: (gather_vjp(dy, t, i)[0], None), (X, index))
    assert found, found
    assert found.notes == ("integers without a cotangent are constants: i",)
    byte = np.array([100, 200], np.uint8)
    found = check(lambda x, b: x + (b + np.uint8(100)), lambda dy, x, b: (dy, summed(dy, b)), (X, byte))
    assert "f gives other numbers for floats there" in found.doubts[0]
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(W)
    found = check(product, lambda dy, x, W: (dy @ W.T, 7 * x.T @ dy), (X, sparse))
    assert not found
    assert "W is csr_matrix: the cotangent that f_vjp returned for it was not checked" in found.doubts[0]
    assert found.rows[0].ok
    found = check(lambda p: p["x"], lambda dy, p: {"x": dy, "b": X}, ({"x": X},))
    assert found.problems == ("f_vjp's cotangent has an extra p.b: expected the structure of args",)


def test_none_for_what_moves_f_is_a_problem_unless_it_is_a_constant_by_name() -> None:
    """Catches a forgotten cotangent, ok in silence: of an argument, of a leaf, of a sparse matrix."""

    def half(dy: Array, x: Array, W: Any) -> tuple[Array, None]:
        return dy @ W.T, None

    found = check(product, half, (X, W))
    assert not found
    assert found.problems[0].startswith("f_vjp returned None for W, but f depends on it (slope ")
    assert found.problems[0].endswith('return its cotangent, or say constants=("W",)')
    assert check(product, half, (X, W), constants=("W",))
    found = check(lambda p: p["x"] * p["b"], lambda dy, p: {"x": dy * p["b"], "b": None}, ({"x": X, "b": B},))
    assert found.problems[0].startswith("f_vjp returned None for p.b, but f depends on it")
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(W)
    assert "which cannot be moved" in check(product, half, (X, sparse)).doubts[0]
    assert check(product, half, (X, sparse), constants=("W",))
    found = check(lambda x, n: x[: int(n / 2)], lambda dy, x, n: (np.pad(dy, ((0, 2), (0, 0))), None), (X, 3.0))
    assert found, found
    assert found.notes[-1] == "n got no cotangent, and f does not depend on it"
    found = check(lambda x, p: x * np.arccos(p), lambda dy, x, p: (dy * np.arccos(p), None), (X, 0.9))
    assert found.problems[0].startswith("f_vjp returned None for p, but f depends on it")
    found = check(lambda x, n: x[{2.0: 0}[n]], lambda dy, x, n: (np.pad(dy[None], ((0, 2), (0, 0))), None), (X, 2.0))
    assert "f fails where it is moved (KeyError" in found.doubts[0]
    with pytest.raises(UsageError, match=r"constants names 'V'; expected a tuple of names out of x, W"):
        check(product, half, (X, W), constants=("V",))


def test_a_constant_excuses_itself_alone_and_one_output_that_moves_is_enough() -> None:
    """Catches constants=("W",) that excuses W2 as well, and a None for what moves one of two outputs."""
    found = check(lambda W, W2: W * W2, lambda dy, W, W2: (dy * W2, None), (B, B + 1), constants=("W",))
    assert found.problems[0].startswith("f_vjp returned None for W2, but f depends on it")

    def by_x(dy: Any, x: Array, b: Array) -> tuple[Array, None]:
        return dy[0] + np.pad(dy[1][None] * b, ((0, 2), (0, 0))), None

    found = check(lambda x, b: (x * 1, x[0] * b), by_x, (X, B))
    assert found.problems[0].startswith("f_vjp returned None for b, but f depends on it")
    found = check(lambda x, b: x + 1e-6 * b, lambda dy, x, b: (dy, None), (X, B))
    assert found.problems[0].startswith("f_vjp returned None for b, but f depends on it")  # however little


def test_many_kinks_near_by_condemn_nobody() -> None:
    """Catches a second look at the worst element alone; and a wrong slope is found among as many."""
    x = np.append(np.arange(1, 9) * 1e-4, [1.0, -2.0])
    for slip in (1.0, 1.01):
        found = check(lambda x: np.maximum(x, 0), lambda dy, x, s=slip: dy * (x > 0) * s, (x,), methods=("central",))
        assert found.ok == (slip == 1), found


class Holder:
    """Numbers as an attribute."""

    def __init__(self) -> None:
        self.weights = B.copy()


def test_writing_into_integers_and_into_objects_is_found() -> None:
    """Catches what only looked at arrays of floats: an index or the inside of an object that f changed."""

    def counts(x: Array, n: Array) -> Array:
        n += 1
        return x * 1

    def tunes(x: Array, h: Holder) -> Array:
        h.weights *= 2
        return x * 1

    holder = Holder()
    found = check(counts, lambda dy, x, n: (dy, None), (X, np.array([0])))
    assert found.problems == ("f changed its argument n: a pure function leaves arguments alone",)
    found = check(tunes, lambda dy, x, h: (dy, None), (X, holder))
    assert "f changed its argument h.weights" in found.problems[0]
    np.testing.assert_array_equal(holder.weights, B)


def test_masks_matrices_and_complex_numbers_are_refused() -> None:
    """Catches a mask that NumPy loses, a product that turns elementwise, an imaginary part that is dropped."""
    for x, words in ((np.ma.masked_array(X, X > 0), "x is a MaskedArray"), (X.view(np.matrix), "x is a matrix")):
        with pytest.raises(UsageError, match=words):
            check(lambda x: x * 1, lambda dy, x: dy, (x,))
    for f, vjp, words in (
        (lambda x: x * 1j, lambda dy, x: dy, "f returned complex numbers"),
        (lambda x: np.ma.masked_array(x, x > 0), lambda dy, x: dy, "f returned a MaskedArray"),
        (lambda x: x * 1, lambda dy, x: dy * 1j, "f_vjp's cotangent of x is ndarray of complex128"),
        (lambda x: x * 1, lambda dy, x: np.ma.masked_array(dy, x > 0), "f_vjp's cotangent of x is MaskedArray"),
        (lambda x: x * 1, lambda dy, x: [dy, [1.0]], "f_vjp's cotangent of x is list of object"),
    ):
        assert words in check(f, vjp, (X,)).problems[0]


@pytest.mark.parametrize("methods", [METHODS, ("central",), ("direction",)])
@pytest.mark.parametrize("near", [1e-4, -1e-4, 3e-6, -1e-6])
def test_a_kink_near_by_condemns_nobody(near: float, methods: tuple[str, ...]) -> None:
    """Catches a right slope refused for a kink within a step, and a wrong one excused by it."""
    x = np.array([near, 1.0, -2.0])
    for f, slope in (
        (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
        (np.abs, np.sign),
        (lambda x: np.where(x > 0, np.sin(x), 3 * x), lambda x: np.where(x > 0, np.cos(x), 3.0)),
    ):
        assert check(f, lambda dy, x, s=slope: dy * s(x), (x,), methods=methods)
        assert not check(f, lambda dy, x, s=slope: dy * s(x) * (1 + 1e-5), (x,), methods=methods)
        assert not check(f, lambda dy, x, s=slope: dy * (s(x) + (x == near)), (x,), methods=methods)


@pytest.mark.parametrize("offset", 10.0 ** np.arange(0, 13, 2))
def test_smaller_steps_do_not_excuse_a_slope_of_lost_digits(offset: float) -> None:
    """Catches a slope of zero that the stair of rounding seems to confirm, where f's own terms are far larger."""
    for factor in (0.0, 1.01, -1.0):
        assert not check(lambda x: (x + offset) - offset, lambda dy, x, s=factor: s * dy, (B,), methods=("central",))


def test_none_at_an_optimum_is_found() -> None:
    """Catches x² + y² at y = 0, where f has no slope by y and None looks right."""
    found = check(lambda x, y: x**2 + y**2, lambda dy, x, y: (2 * dy * x, None), (np.ones(2), np.zeros(2)))
    assert found.problems[0].startswith("f_vjp returned None for y, but f depends on it")


def test_an_error_that_is_no_number_is_wrong() -> None:
    """Catches `wrong if error > tolerance`, which lets a NaN pass."""
    assert Measure("central", (0,), np.nan, 1.0, np.nan, 1e-7).verdict == "wrong"
