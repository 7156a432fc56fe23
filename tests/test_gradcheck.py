"""§7.2.4 The gradient checker is itself proved: it finds each planted error, and passes what is right."""

import argparse
import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
from itertools import count, product
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

import scratchvae
from scratchvae.cli import gradcheck
from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.gradcheck import Report, accumulating, check
from scratchvae.gradcheck.contract import cotangent
from scratchvae.gradcheck.library import cases
from scratchvae.gradcheck.report import METHODS
from scratchvae.kernels import NUMPY
from scratchvae.models.vae import LIKELIHOODS
from scratchvae.networks import ACTIVATIONS
from scratchvae.types import Array

rng = np.random.default_rng(7)
X, W, B = rng.normal(size=(3, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)
MU, LOG_VAR, EPS = rng.normal(size=(3, 3, 5))


def dense(x: Array, W: Array, b: Array) -> Array:
    return x @ W + b


def dense_vjp(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)


def bound(mu: Array, log_var: Array, eps: Array) -> Array:
    """A sampled log N(z; 0, I) minus an analytic KL: what a VAE has, without the networks."""
    z = mu + np.exp(log_var / 2) * eps
    return np.asarray(-0.5 * (z**2).sum(1) - 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(1))


def bound_vjp(w: Array, mu: Array, log_var: Array, eps: Array) -> tuple[Array, Array, None]:
    sigma, w = np.exp(log_var / 2), w[:, None]
    dz = -w * (mu + sigma * eps)
    return dz - w * mu, 0.5 * dz * sigma * eps - 0.5 * w * (sigma**2 - 1), None


def worst(report: Report, method: str) -> float:
    error = report.worst(method)
    assert error is not None
    return error


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_right_pairs_pass_every_method_at_full_accuracy(seed: int) -> None:
    for report in (
        check(dense, dense_vjp, (X, W, B), seed=seed),
        check(bound, bound_vjp, (MU, LOG_VAR, EPS), seed=seed, constants=("eps",)),
    ):
        assert report.ok, str(report)
        assert not report.notes
        assert worst(report, "complex") < 1e-13
        assert worst(report, "central") < 1e-9
    assert [row.block for row in report.rows] == ["mu", "log_var"]


WRONG = {
    "sign": lambda dy, x, W, b: (-dy @ W.T, x.T @ dy, dy.sum(axis=0)),
    "dropped term": lambda dy, x, W, b: (dy @ W.T, x.T @ dy, 0 * b),
    "transposed matrix": lambda dy, x, W, b: (dy @ W, x.T @ dy, dy.sum(axis=0)),
    "transposed result": lambda dy, x, W, b: (dy @ W.T, (x.T @ dy).T, dy.sum(axis=0)),
    "mean for sum": lambda dy, x, W, b: (dy @ W.T, x.T @ dy, dy.mean(axis=0)),
    "one element": lambda dy, x, W, b: (dy @ W.T, x.T @ dy + 1e-6 * (W[3, 1] == W), dy.sum(axis=0)),
    "two swapped": lambda dy, x, W, b: (dy @ W.T, x.T @ dy, dy.sum(axis=0)[[1, 0, 2, 3]]),
}


@pytest.mark.parametrize("method", ["complex", "central", "direction"])
@pytest.mark.parametrize("name", WRONG)
def test_a_planted_error_is_found_by_each_method_alone(name: str, method: str) -> None:
    report = check(dense, WRONG[name], (X, W, B), methods=(method,))
    assert not report.ok
    guilty = {"sign": 0, "transposed matrix": 0, "transposed result": 1, "one element": 1}.get(name, 2)
    assert [i for i, row in enumerate(report.rows) if not row.ok] == [guilty]  # and no innocent block is blamed


def test_the_worst_element_and_both_numbers_are_named() -> None:
    report = check(dense, WRONG["one element"], (X, W, B))
    element = report.rows[1].worst
    assert element.at == (3, 1)
    assert element.analytic - element.numeric == pytest.approx(1e-6, rel=1e-3)
    assert "3,1" in str(report)
    assert "FAIL" in str(report)


@pytest.mark.parametrize("method", ["complex", "central", "direction"])
def test_the_lost_half_of_the_log_variance_is_found(method: str) -> None:
    def lost(w: Array, mu: Array, log_var: Array, eps: Array) -> tuple[Array, Array, None]:
        dmu, dlog_var, _ = bound_vjp(w, mu, log_var, eps)
        return dmu, 2 * dlog_var, None

    report = check(bound, lost, (MU, LOG_VAR, EPS), methods=(method,), constants=("eps",))
    assert [row.ok for row in report.rows] == [True, False]
    assert report.rows[1].worst.analytic == pytest.approx(2 * report.rows[1].worst.numeric)


def test_sum_over_the_wrong_axis_is_one_clear_line_or_a_wrong_number() -> None:
    def square(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
        return dy @ W.T, x.T @ dy, dy.sum(axis=1)

    assert check(dense, square, (X, W, B)).problems == ("f_vjp's cotangent of b has shape (3,), expected (4,)",)
    assert not check(dense, square, (np.vstack([X, X[:1]]), W, B)).ok  # 4 rows: the shape fits, the numbers do not


def test_fresh_noise_is_found_wherever_it_is_drawn() -> None:
    noise = np.random.default_rng(0)

    def sample(mu: Array, log_var: Array) -> Array:
        return mu + np.exp(log_var / 2) * noise.normal(size=mu.shape)

    def replayed(mu: Array, log_var: Array) -> Array:
        return np.asarray(mu + np.exp(log_var / 2) * EPS)

    def other(dz: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:  # always the same draw, not the forward's
        return dz, 0.5 * dz * np.exp(log_var / 2) * np.random.default_rng(5).normal(size=mu.shape)

    def fresh(dz: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
        return dz, 0.5 * dz * np.exp(log_var / 2) * noise.normal(size=mu.shape)

    assert "fresh noise between two calls" in check(sample, other, (MU, LOG_VAR)).problems[0]
    assert "f_vjp gave other cotangents" in check(replayed, fresh, (MU, LOG_VAR)).problems[0]
    assert [row.ok for row in check(replayed, other, (MU, LOG_VAR)).rows] == [True, False]


def test_writing_into_arguments_is_found() -> None:
    def spoils(x: Array, W: Array, b: Array) -> Array:
        x += 1
        return dense(x, W, b)

    def spoils_vjp(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
        dx, dW, db = dense_vjp(dy, x, W, b)
        W[0, 0] += 1
        return dx, dW, db

    before = X.copy(), W.copy()
    assert "f changed its argument x" in check(spoils, dense_vjp, (X, W, B)).problems[0]
    assert "f_vjp changed its argument W" in check(dense, spoils_vjp, (X, W, B)).problems[0]
    assert np.array_equal(before[0], X)
    assert np.array_equal(before[1], W)


class Layer(NamedTuple):
    W: Array
    b: Array


def layer(x: Array, p: Layer) -> Array:
    return x @ p.W + p.b


def layer_vjp(dy: Array, x: Array, p: Layer, dp: Layer) -> Array:
    dW, db = dp
    dW += x.T @ dy
    db += dy.sum(axis=0)
    return dy @ p.W.T


def test_accumulating_pairs_pass_and_a_missing_plus_is_found() -> None:
    def assigns(dy: Array, x: Array, p: Layer, dp: Layer) -> Array:
        dx = layer_vjp(dy, x, p, dp)
        dp.b[...] = dy.sum(axis=0)
        return dx

    def rebinds(dy: Array, x: Array, p: Layer, dp: Layer) -> Array:
        dW, db = dp
        dW = dW + x.T @ dy
        db += dy.sum(axis=0)
        return dy @ p.W.T

    args = X, Layer(W, B)
    report = check(layer, accumulating(layer_vjp, into=(1,)), args)
    assert report.ok, str(report)
    assert [row.block for row in report.rows] == ["x", "p.W", "p.b"]
    (problem,) = check(layer, accumulating(assigns, into=(1,)), args).problems
    assert "argument 1.b" in problem
    assert "+=" in problem
    assert [row.ok for row in check(layer, accumulating(rebinds, into=(1,)), args).rows] == [True, False, True]


def test_pytrees_in_and_out_with_constants_among_the_leaves() -> None:
    def f(p: dict[str, Any], scale: float, power: int, word: str) -> dict[str, Any]:
        h = scale * p["layers"][0].W ** power + p["layers"][1]
        return {"h": h, "parts": (h.sum(), word, 3)}

    def f_vjp(dy: dict[str, Any], p: dict[str, Any], scale: float, power: int, word: str) -> tuple[Any, ...]:
        dh = dy["h"] + dy["parts"][0]
        assert dy["parts"][1:] == (None, None)
        w, no_b = p["layers"][0].W, cast(Array, None)
        return {"layers": [Layer(dh * scale * power * w ** (power - 1), no_b), dh]}, (dh * w**power).sum(), None, None

    args = {"layers": [Layer(W, B), 2 * W]}, 0.7, 3, "tanh"
    report = check(f, f_vjp, args)
    assert report.ok, str(report)
    named = check(lambda p: p["q.mu.W"] ** 2, lambda dy, p: {"q.mu.W": 2 * dy * p["q.mu.W"]}, ({"q.mu.W": W},))
    assert named.ok, str(named)  # dots in the keys, as in an arena's views
    assert [(row.block, row.size) for row in report.rows] == [("p.layers.0.W", 16), ("p.layers.1", 16), ("scale", 1)]


@pytest.mark.parametrize(
    ("f", "slope", "reason"),
    [
        (lambda x: np.abs(x), np.ones_like, "dropped the imaginary part"),
        (lambda x: x * x.real, lambda x: 2 * x, "not analytic"),
        (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x)), "refused a complex argument (TypeError"),
        (lambda x: np.exp(np.asarray(x, dtype=float)), np.exp, "refused a complex argument (ComplexWarning"),
    ],
)
def test_where_the_path_is_not_analytic_central_differences_stand_in_and_the_report_says_why(
    f: Any, slope: Any, reason: str
) -> None:
    positive = np.exp(X)  # away from the kink of abs at 0
    report = check(f, lambda dy, x: dy * slope(x), (positive,), methods=("complex", "direction"))
    assert report.ok, str(report)
    assert reason in report.notes[0]
    assert report.worst("complex") is None
    assert report.worst("central") is not None
    assert not check(f, lambda dy, x: dy * slope(x) * (1 + 1e-5), (positive,), methods=("complex",)).ok


def test_large_blocks_go_by_one_direction_and_float32_is_promoted_with_a_note() -> None:
    x, w, b = rng.normal(size=(2, 80)).astype(np.float32), rng.normal(size=(80, 90)), rng.normal(size=90)
    report = check(dense, dense_vjp, (x, w, b))
    assert report.ok, str(report)
    assert "x came as float32 and was checked in float64" in report.notes
    assert any("W has 7200 elements" in note for note in report.notes)
    assert {row.block: [m.method for m in row.measures] for row in report.rows}["W"] == ["direction"]
    assert not check(dense, lambda dy, x, W, b: (dy @ W.T, x.T @ dy * 1.00001, dy.sum(0)), (x, w, b)).ok


def test_central_differences_are_accurate_for_any_scale_of_argument() -> None:
    for scale in (1e-8, 1.0, 1e8):
        report = check(lambda x: np.log(x), lambda dy, x: dy / x, (scale * np.exp(X),), methods=("central",))
        assert worst(report, "central") < 1e-9, (scale, str(report))


def test_nothing_checked_is_never_ok_and_non_finite_numbers_fail() -> None:
    assert "nothing was checked" in check(dense, lambda dy, x, W, b: (None, None, None), (X, W, B)).problems[0]
    assert "2 cotangents for 3 arguments" in check(dense, lambda dy, x, W, b: (X, W), (X, W, B)).problems[0]
    assert "not finite" in check(dense, dense_vjp, (X * np.nan, W, B)).problems[0]
    assert "no floats" in check(lambda x: "text", lambda dy, x: x, (X,)).problems[0]
    report = check(dense, lambda dy, x, W, b: (dy @ W.T, x.T @ dy, b * np.nan), (X, W, B))
    assert not report.ok
    assert worst(report, "complex") == np.inf
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["rows"][2]["measures"][0]["error"] is None


def test_a_call_that_makes_no_sense_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="expected a tuple"):
        check(np.tanh, lambda dy, x: dy, X)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="complex"):
        check(np.tanh, lambda dy, x: dy, (1j * X,))
    with pytest.raises(UsageError, match="methods"):
        check(np.tanh, lambda dy, x: dy, (X,), methods=("forward",))


def test_the_same_call_gives_the_same_report_and_leaves_global_random_state_alone() -> None:
    def state() -> list[int]:
        found = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
        return [*found["key"], found["pos"]]

    before = state()
    first, second = (str(check(bound, bound_vjp, (MU, LOG_VAR, EPS))) for _ in range(2))
    assert first == second
    assert state() == before


def test_stateful_counters_in_f_are_reported() -> None:
    calls = count()
    report = check(lambda x: x * next(calls), lambda dy, x: dy, (X,))
    assert "fresh noise" in report.problems[0]


# --- the library under its own checker ---


@pytest.fixture(scope="module")
def outcome() -> tuple[int, dict[str, Any], str]:
    """The whole `gradcheck --json`, once: exit code, the object, the words."""
    return command("--json")


def command(*arguments: str) -> tuple[int, dict[str, Any], str]:
    parser = argparse.ArgumentParser()
    gradcheck.add(parser.add_subparsers())
    args = parser.parse_args(["gradcheck", *arguments])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = args.run(args)
    return code, json.loads(out.getvalue()) if "--json" in arguments else {"text": out.getvalue()}, err.getvalue()


def test_every_gradient_of_the_library_holds_at_the_stated_accuracy(outcome: tuple[int, dict[str, Any], str]) -> None:
    code, found, words = outcome
    assert found["failures"] == []
    assert (code, found["failed"], found["checks"]) == (0, 0, len(found["details"]))
    assert 0 < found["worst_complex_step"] <= 1e-12
    assert 0 < found["worst_central"] <= 1e-7
    real = {case.name for case in cases() if case.real}  # by differences, of functions that SciPy iterates for
    measures = [(r["name"] in real, m) for r in found["details"] for row in r["rows"] for m in row["measures"]]
    assert all(m["error"] <= (1e-7 if loose else 1e-9) for loose, m in measures if m["method"] == "direction")
    assert "every gradient holds" in words


def test_every_element_is_checked_by_complex_step_and_central_differences(
    outcome: tuple[int, dict[str, Any], str],
) -> None:
    real = {case.name for case in cases() if case.real}
    for report in outcome[1]["details"]:
        name = report["name"]
        assert (name in real) == bool(report["notes"]), name  # a note is a fall-back: not analytic, too large, empty
        needed = {"direction"} if "784" in name else set(METHODS) - ({"complex"} if name in real else set())
        assert all(needed <= {m["method"] for m in row["measures"]} for row in report["rows"]), name


def test_whole_bounds_cover_each_decoder_depth_and_activation(outcome: tuple[int, dict[str, Any], str]) -> None:
    names = {report["name"] for report in outcome[1]["details"]}
    grid = product(LIKELIHOODS, (1, 2), ACTIVATIONS)
    assert {f"vae.elbo[{p}, {depth} hidden, {activation}]" for p, depth, activation in grid} <= names
    full = next(report for report in outcome[1]["details"] if report["name"] == "vae.elbo[784-500-20]")
    assert sum(row["size"] for row in full["rows"]) == 784 * 500 * 2 + 500 * 20 * 3 + 500 * 2 + 20 * 2 + 784


def pairs() -> dict[CodeType, str]:
    """The code of every function with _vjp in its name; not of Numba twins, tools, learners, and what only raises."""
    tools = tuple(f"scratchvae.{room}" for room in ("gradcheck", "cli", "exercises"))
    found: dict[CodeType, str] = {}
    for info in pkgutil.walk_packages(scratchvae.__path__, "scratchvae."):
        if info.name.startswith(tools) or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == info.name]
        owners = [module, *(c for c in classes if not getattr(c, "_is_protocol", False))]  # a protocol has no code
        for name, value in ((n, v) for owner in owners for n, v in vars(owner).items()):
            code = value.__code__ if inspect.isfunction(value) else None
            if "_vjp" in name and not name.endswith("_nb") and code and "NotImplementedError" not in code.co_names:
                found[code] = f"{value.__module__}.{value.__qualname__}"
    return found


def test_no_pair_of_the_library_is_left_out_of_the_checks() -> None:
    called: set[CodeType] = set()

    def watch(frame: FrameType, event: str, argument: object) -> None:
        called.add(frame.f_code)

    for case in cases():
        dy = cotangent(case.f, {str(i): arg for i, arg in enumerate(case.args)}, 0)
        sys.setprofile(watch)
        try:
            case.f_vjp(dy, *case.args)
        finally:
            sys.setprofile(None)
    left = sorted(name for code, name in pairs().items() if code not in called)
    assert not left, f"no case in scratchvae/gradcheck/library calls {', '.join(left)}: add one"
    assert len(pairs()) > 30


def test_a_wrong_gradient_in_the_library_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = NUMPY._replace(normal_kl_vjp=lambda w, mu, log_var: (w[:, None] * mu, w[:, None] * np.expm1(log_var)))
    monkeypatch.setattr(Normal.kl_vjp, "__defaults__", (wrong,))
    code, found, words = command("--json", "--pattern", "distributions.Normal.kl")
    assert (code, found["checks"], found["failures"]) == (1, 1, ["distributions.Normal.kl"])
    assert "1 of 1 checks FAILED" in words
    code, found, _ = command("--pattern", "distributions.Normal.kl")
    assert code == 1
    assert "q.log_var" in found["text"]
    assert "FAIL" in found["text"]


def test_code_that_raises_is_a_failed_check_and_an_unknown_pattern_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(w: Array, mu: Array, log_var: Array) -> None:
        raise IndexError("off by one")

    monkeypatch.setattr(Normal.kl_vjp, "__defaults__", (NUMPY._replace(normal_kl_vjp=broken),))
    code, found, _ = command("--json", "--pattern", "distributions.Normal.kl")
    assert code == 1
    assert found["details"][0]["problems"] == ["raised IndexError: off by one"]
    assert found["worst_complex_step"] is None
    with pytest.raises(UsageError, match="no check is called"):
        command("--pattern", "nothing-like-it")
