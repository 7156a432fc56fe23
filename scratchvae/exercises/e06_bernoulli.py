"""§7.2.3 Exercise 6: the Bernoulli by logits: a probability of whole images, finite at any logit."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, one_a_row

LOGITS = np.array([[0.4, -1.3, 2.1]])
FAR = 1000.0
ROUGH = {"complex": 1e-5, "central": 1e-5, "direction": 1e-5}  # what a clamp of 1e-8 moves is for the laws to say
CLAMPS = ("1e-8", "1e-7", "1e-6", "1e-10", "1e-12")
LOG_PROB = "(x * logits - np.logaddexp(0, logits))"

HINTS = (
    "log p(x) of a pixel is x l − log(1 + e^l). Where l is 1000, e^l is too large for a float, but the logarithm is "
    "1000: look for a way to log(1 + e^l) that never forms e^1000 (numpy has one).",
    "log(e^0 + e^l) is np.logaddexp. The slope of log(1 + e^l) by l is P(x = 1), which is 1/(1 + e^−l). The pixels of "
    "a row are summed; on the way back every pixel gets the row's w.",
)


def clamped(least: str) -> Slip:
    """log(p + least), as people write it."""
    new = f"(x * np.log(mean(logits) + {least}) + (1 - x) * np.log(1 - mean(logits) + {least}))"
    return Slip("the logarithm of a clamped probability", "many", ((LOG_PROB, new),))


SLIPS = {
    "log of a clamped probability": clamped(CLAMPS[0]),
    **{f"log of a probability clamped at {least}": clamped(least) for least in CLAMPS[1:]},
    "log(1 + exp) overflows": Slip(
        "e^l overflows, though the result is an ordinary number",
        "synthcity#331, WorldModels#9",
        (("np.logaddexp(0, logits)", "np.log(1 + np.exp(logits))"),),
    ),
    "softplus shown as a probability": Slip(
        "a softplus shown as a probability",
        "jax mnist_vae",
        (
            ("0.5 * (1 + np.tanh(0.5 * logits))", "np.logaddexp(0, logits)"),
            ("mean(logits))", "1 / (1 + np.exp(-logits)))"),
        ),
    ),
    "mean over the pixels": Slip(
        "the pixels are averaged where they are summed: nats a pixel, under a KL in nats a datapoint",
        "sigma-vae-tensorflow#2",
        ((".sum(axis=-1)", ".mean(axis=-1)"), ("w[:, None] * (", "w[:, None] / x.shape[-1] * (")),
    ),
    "x and its probability exchanged": Slip(
        "the way back goes downhill: x and its mean are exchanged",
        "",
        (("(x - mean(logits))", "(mean(logits) - x)"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Two rows of three pixels."""
    args = {"x": (normals(2, 3) > 0).astype(np.float64), "logits": normals(2, 3)}
    options = {"constants": ("x",), "tolerance": ROUGH}
    yield Pair(one_a_row(names, "bernoulli_log_prob"), names["bernoulli_log_prob_vjp"], args, options)


def laws(names: Names) -> Iterator[Law]:
    """All images together have probability 1, each number is right at any logit, and the mean is P(x = 1)."""
    log_prob, mean, vjp = names["bernoulli_log_prob"], names["mean"], names["bernoulli_log_prob_vjp"]
    images = np.array([*product((0.0, 1.0), repeat=3)])
    total = float(np.exp(log_prob(images, np.repeat(LOGITS, 8, axis=0))).sum())
    yield Law(abs(total - 1) < 1e-4, f"the probabilities of all 8 images of 3 bits sum to {total:.4f}")
    bit = LOGITS[:, :1]
    said, expected = float(mean(bit)[0, 0]), float(np.exp(log_prob(np.ones((1, 1)), bit))[0])
    yield Law(abs(said - expected) < 1e-4, f"mean(0.4) is {said:.4f}, and e^log p(1) is {expected:.4f}")
    l, x = np.array([[-FAR], [-FAR], [FAR], [FAR]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    p = (l > 0).astype(np.float64)
    yield far("log p(x)", log_prob(x, l), np.where(x == p, 0, -FAR))
    yield far("the mean", mean(l), p)
    yield far("the slope of log p(x)", vjp(np.ones(4), x, l)[1], x - p)


def far(name: str, yours: Array, right: Array) -> Law:
    """Four numbers, at both ends of the logits."""
    a, b = (np.round(np.ravel(v), 3) + 0.0 for v in (yours, right))
    said, expected = (", ".join(f"{v:g}" for v in u) for u in (a, b))
    holds = np.array_equal(a, b)
    where = f"at logits of -1000, -1000, 1000, 1000, and x = 0, 1, 0, 1, {name} is {said}"
    return Law(holds, where if holds else f"{where}, and must be {expected}")


EXERCISE = Exercise(
    6,
    "bernoulli",
    "Nats a datapoint, summed over pixels",
    "§7.2.3",
    ("mean", "bernoulli_log_prob", "bernoulli_log_prob_vjp"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
