"""§7.3 The kinds of model that a run may train, by name, and what a model with classes has no place for.

Refused here, in one line, before any data are read. The model is `models.semi_supervised`, its objective
`semi_supervised`, its labels `labels`.
"""

from typing import TYPE_CHECKING

from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .config import Config

MODELS = ("vae", "m2")
OWN = {"labels": 0, "labels_from": "", "alpha": 0.1}  # its own options
USUAL = {"latent": 50, "activation": "softplus", "epochs": 50.0}  # of its runs, where nothing is given
NO_PLACE = {  # options of other models, as they usually are
    "columns": "", "weights": "", "missing": "", "posterior": "normal", "prior": "standard", "algorithm": "aevb",
    "estimator": "sgvb_b", "samples": 1, "validation": 0.0, "beta": 1.0, "warm_up": 0.0,
}  # fmt: skip


def check_labels(config: "Config") -> None:
    """One clear line where a model has no place for what else the config asks for."""
    if config.model not in MODELS:
        raise unknown("model", config.model, MODELS)
    if config.model != "m2":
        if odd := next((name for name, usual in OWN.items() if getattr(config, name) != usual), None):
            raise UsageError(f"{odd}={getattr(config, odd)!r} is for model='m2', and model is {config.model!r}")
        return
    if odd := next((name for name, usual in NO_PLACE.items() if getattr(config, name) != usual), None):
        raise UsageError(f"model='m2' has no place for {odd}={getattr(config, odd)!r}: leave that out")
    if isinstance(config.latent, list | tuple):
        raise UsageError(f"model='m2' has one latent layer, and latent is {config.latent}")
    if config.labels < 0 or config.alpha < 0:
        raise UsageError(f"labels={config.labels}, alpha={config.alpha}: expected 0 (all rows) or more, and a weight")
