"""§7.2.4 Right pairs where the gradient vanishes, or nearly: KL, least squares, likelihoods at their optimum."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.types import Array

from .family import Family, Rng, normal, normals

Draw = Callable[[Rng], tuple[Any, ...]]


def gaussian_kl(mu: Array, log_var: Array) -> Array:
    return 0.5 * (mu * mu + np.exp(log_var) - 1 - log_var).sum(axis=-1)


def gaussian_kl_vjp(dy: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
    return dy[..., None] * mu, 0.5 * dy[..., None] * (np.exp(log_var) - 1)


def least_squares(w: Array, X: Array, y: Array) -> Array:
    return 0.5 * ((X @ w - y) ** 2).mean()


def least_squares_vjp(dy: Array, w: Array, X: Array, y: Array) -> tuple[Any, ...]:
    return dy * X.T @ (X @ w - y) / len(y), None, None


def squares_points(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 4), normal(rng, 12, 4), normal(rng, 12)


def squares_optimum(rng: Rng) -> tuple[Any, ...]:
    _, X, y = squares_points(rng)
    return np.linalg.lstsq(X, y)[0], X, y


def logistic(w: Array, X: Array, t: Array) -> Array:
    return np.log1p(np.exp(-t * (X @ w))).sum()


def logistic_vjp(dy: Array, w: Array, X: Array, t: Array) -> tuple[Any, ...]:
    return -dy * X.T @ (t / (1 + np.exp(t * (X @ w)))), None, None


def logistic_points(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 3), normal(rng, 30, 3), rng.choice([-1.0, 1.0], 30)


def logistic_optimum(rng: Rng) -> tuple[Any, ...]:
    """By Newton's method: labels are noise, so that there is an optimum."""
    _, X, t = logistic_points(rng)
    w = np.zeros(3)
    for _ in range(12):
        p = 1 / (1 + np.exp(t * (X @ w)))
        w += np.linalg.solve(X.T @ (X * (p * (1 - p))[:, None]), X.T @ (t * p))
    return w, X, t


def gaussian_likelihood(mu: Array, log_var: Array, x: Array) -> Array:
    return -0.5 * (log_var + (x - mu) ** 2 * np.exp(-log_var) + np.log(2 * np.pi)).sum()


def gaussian_likelihood_vjp(dy: Array, mu: Array, log_var: Array, x: Array) -> tuple[Any, ...]:
    r = (x - mu) * np.exp(-log_var)
    return dy * r.sum(axis=0), 0.5 * dy * ((x - mu) * r - 1).sum(axis=0), None


def likelihood_points(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 3), normal(rng, 3), 3 + 2 * normal(rng, 25, 3)


def likelihood_optimum(rng: Rng) -> tuple[Any, ...]:
    _, _, x = likelihood_points(rng)
    return x.mean(axis=0), np.log(x.var(axis=0)), x


def softmax_entropy(a: Array) -> Array:
    m = a - a.real.max(axis=-1, keepdims=True)
    p = np.exp(m) / np.exp(m).sum(axis=-1, keepdims=True)
    return -(p * np.log(p)).sum(axis=-1)


def softmax_entropy_vjp(dy: Array, a: Array) -> Array:
    m = a - a.max(axis=-1, keepdims=True)
    p = np.exp(m) / np.exp(m).sum(axis=-1, keepdims=True)
    entropy = -(p * np.log(p)).sum(axis=-1, keepdims=True)
    return -dy[..., None] * p * (np.log(p) + entropy)


def exp_less_x(x: Array) -> Array:
    return np.exp(x) - x


def exp_less_x_vjp(dy: Array, x: Array) -> Array:
    return dy * (np.exp(x) - 1)


def rosenbrock(x: Array) -> Array:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_vjp(dy: Array, x: Array) -> Array:
    r, dx = x[1:] - x[:-1] ** 2, np.zeros_like(x)
    dx[1:] += 200 * r
    dx[:-1] += -400 * r * x[:-1] - 2 * (1 - x[:-1])
    return dy * dx


def quartic(x: Array) -> Array:
    return (x**4).sum()


def quartic_vjp(dy: Array, x: Array) -> Array:
    return 4 * dy * x**3


def huber_loss(w: Array, X: Array, y: Array) -> Array:
    r = np.abs(X @ w - y)
    return np.where(r < 1, 0.5 * r * r, r - 0.5).mean()


def huber_loss_vjp(dy: Array, w: Array, X: Array, y: Array) -> tuple[Any, ...]:
    return dy * X.T @ np.clip(X @ w - y, -1, 1) / len(y), None, None


def huber_optimum(rng: Rng) -> tuple[Any, ...]:
    """By Newton's method on the rows with small residuals: no complex step helps here, for |r| is not analytic."""
    w, X, _ = squares_points(rng)
    y = X @ w + 0.3 * rng.uniform(-1, 1, 12)
    return np.linalg.lstsq(X, y)[0], X, y


def filled(value: float, *shapes: tuple[int, ...]) -> Draw:
    """The same point for every seed: zeros or ones."""
    return lambda rng: tuple(np.full(shape, float(value)) for shape in shapes)


def beside(draw: Draw, count: int = 1, distance: float = 1e-6) -> Draw:
    """The first `count` arguments moved by ±distance."""

    def moved(rng: Rng) -> tuple[Any, ...]:
        args = draw(rng)
        near = [a + distance * rng.choice([-1.0, 1.0], np.shape(a)) for a in args[:count]]
        return (*near, *args[count:])

    return moved


def three(name: str, family: Family, optimum: Draw, count: int = 1) -> dict[str, Family]:
    """At random points, at the optimum, and 1e-6 from it."""
    near = {"at its optimum": optimum, "1e-6 from its optimum": beside(optimum, count)}
    return {name: family} | {f"{name} {where}": family._replace(draw=draw) for where, draw in near.items()}


DATA = ("X", "y")
FAMILIES = {
    **three("Gaussian KL", Family(gaussian_kl, gaussian_kl_vjp, normals((3, 4), (3, 4))), filled(0, (3, 4), (3, 4)), 2),
    **three("least squares", Family(least_squares, least_squares_vjp, squares_points, DATA), squares_optimum),
    **three("logistic regression", Family(logistic, logistic_vjp, logistic_points, ("X", "t")), logistic_optimum),
    **three(
        "Gaussian likelihood",
        Family(gaussian_likelihood, gaussian_likelihood_vjp, likelihood_points, ("x",)),
        likelihood_optimum,
        2,
    ),
    **three("softmax entropy", Family(softmax_entropy, softmax_entropy_vjp, normals((3, 5))), filled(0, (3, 5))),
    **three("exp(x) − x", Family(exp_less_x, exp_less_x_vjp, normals((4,))), filled(0, (4,))),
    **three("Rosenbrock", Family(rosenbrock, rosenbrock_vjp, normals((5,))), filled(1, (5,))),
    **three("Huber loss", Family(huber_loss, huber_loss_vjp, squares_points, DATA), huber_optimum),
    "x⁴ at 0": Family(quartic, quartic_vjp, filled(0, (3,))),
}
