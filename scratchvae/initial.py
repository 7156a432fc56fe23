"""§7.3 Where training starts: the paper's N(0, 0.01), Glorot, He, and the output bias at the logit of the data mean."""

import math

import numpy as np

from .errors import unknown
from .types import Array

INITIALISERS = ("glorot", "he", "paper")


def deviation(name: str, fan_in: int, fan_out: int) -> float:
    """The standard deviation of a weight. Glorot & Bengio 2010: 2/(in + out); He et al. 2015: 2/in;
    Kingma & Welling 2014 §5: "N(0, 0.01)", read as a variance, so σ = 0.1."""
    if name not in INITIALISERS:
        raise unknown("initialiser", name, INITIALISERS)
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "paper": 0.01}[name]
    return math.sqrt(variance)


def initialise(views: dict[str, Array], name: str, normals: dict[str, Array]) -> None:
    """Fill the weights with σ ε in place; `normals` holds the noise ε of each weight. Biases start at 0, but the paper
    drew them too."""
    for key, view in views.items():
        if view.ndim > 1 and view.size:
            places = math.prod(view.shape[:-2])  # of a convolution's kernel: each brings its channels
            sizes = view.shape[1:] * 2 if key.endswith("embedding") else view.shape[-2:]  # a token meets one row
            view[...] = deviation(name, *(places * size for size in sizes)) * normals[key]
        else:
            view[...] = 0.1 * normals[key] if name == "paper" else 0


def output_bias(mean: Array, likelihood: str) -> Array:
    """The bias that makes an untrained decoder predict the data mean (D,): its logit where a sigmoid follows.

    The mean is moved off 0 and 1 by half a count in a thousand, since a pixel that is never lit has logit −∞. Beyond
    them, where no sigmoid reaches, the nearest is taken.
    """
    if likelihood not in ("bernoulli", "gaussian-sigmoid"):
        return mean
    inside = (np.clip(mean, 0, 1) * 1000 + 0.5) / 1001
    bias: Array = np.log(inside) - np.log1p(-inside)
    return bias
