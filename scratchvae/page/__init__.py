"""§7.3.1 One page to play with a trained VAE: a static file with its weights inside, opened from disk.

`page.html`, `page.css` and `page.js` are put together with one block of JSON; there is nothing to build and nothing to
fetch. The weights are float16, two bytes each, little-endian, base64; test rows are bits, packed eight to a byte.
"""

import base64
import json
from importlib.resources import files
from typing import Any

import numpy as np

from ..errors import UsageError
from ..training.state import State
from ..types import Array

LARGEST = float(np.finfo(np.float16).max)
TRAIN = "train one: scratchvae train mnist --latent 2 --out runs/plane"


def check_run(state: State) -> None:
    """Refuse a model that the page cannot show: its plane is that of two latents, its digits are bits. UsageError."""
    config = state.config
    if config.latent != 2 or config.likelihood != "bernoulli" or not state.architecture.scheduled:
        usual = {"posterior": "normal", "prior": "standard", "network": "mlp"}
        parts = ("latent", "likelihood", *(name for name in usual if getattr(config, name) != usual[name]))
        found = ", ".join(f"{name}={getattr(config, name)}" for name in parts)
        raise UsageError(
            f"the page shows two Gaussian latents and a bernoulli decoder, and this run has {found}: {TRAIN}"
        )


def page(state: State, x: Array, shape: tuple[int, int], labels: Array | None = None, about: str = "") -> str:
    """The page, as HTML: the model, test rows x (N, D) of zeros and ones as pictures of `shape` (h, w), and the classes
    that `labels` (N,) name. Raises UsageError for another model, for rows that are no bits, for weights beyond float16.
    """
    check_run(state)
    if x.ndim != 2 or x.shape[1] != state.architecture.columns or shape[0] * shape[1] != x.shape[1] or not len(x):
        raise UsageError(f"x has shape {x.shape} and its pictures {shape}: D={state.architecture.columns}, h * w = D")
    if not np.isin(x, (0, 1)).all():
        raise UsageError(f"the page shows rows of zeros and ones, and these have other values: {TRAIN}")
    if labels is None:
        names, number = None, None
    else:
        names, number = (part.tolist() for part in np.unique(labels, return_inverse=True))
    content = {
        "about": about,
        "shape": list(shape),
        "activation": state.config.activation,
        "layers": len(state.config.hidden),
        "weights": {name: half(name, view) for name, view in state.arena.views.items()},
        "rows": base64.b64encode(np.packbits(x.astype(np.uint8), axis=1).tobytes()).decode(),
        "classes": names and [str(name) for name in names],
        "labels": number,
    }
    return put_together(content)


def half(name: str, array: Array) -> dict[str, Any]:
    """Its shape and float16 values. Raises UsageError where one is no number, or too large for float16."""
    if not (np.abs(array) <= LARGEST).all():
        raise UsageError(f"{name} holds a value that float16 cannot: train with --optimizer adam, or a smaller rate")
    return {"shape": list(array.shape), "f16": base64.b64encode(array.astype("<f2").tobytes()).decode()}


def put_together(content: dict[str, Any]) -> str:
    """The HTML with style, data and script in their places; no text among the data can end its block."""
    here = files(__name__)
    html, css, js = (here.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    for mark, text in (("/*css*/", css), ("/*data*/", data), ("/*js*/", js)):
        head, tail = html.split(mark)
        html = head + text + tail
    return html
