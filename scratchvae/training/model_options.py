"""§7.3 The kinds of model that a run may train, by name: options of its own, and what it has no place for.

That is refused here, in one line, before any data are read. The models are `models.vae`, `models.ladder`,
`models.semi_supervised` and `models.sequence`, their objectives `objective`, `semi_supervised` and `sequences`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.tokens import NAMES, TOKENS
from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .config import Config

PLAIN = {"columns": "", "weights": "", "missing": "", "posterior": "normal", "prior": "standard", "algorithm": "aevb",
         "estimator": "sgvb_b", "samples": 1}  # fmt: skip


class Options(NamedTuple):
    """Names of options and values: those of no other model, those that its runs have where nothing is given, and those
    that must be as they usually are."""

    own: dict[str, Any]
    usual: dict[str, Any]
    no_place: dict[str, Any]


MODELS = {
    "vae": Options({}, {}, {}),
    "m2": Options(
        {"labels": 0, "labels_from": "", "alpha": 0.1},
        {"latent": 50, "activation": "softplus", "epochs": 50.0},
        {**PLAIN, "validation": 0.0, "beta": 1.0, "warm_up": 0.0, "network": "mlp"},
    ),
    "sequence": Options(
        {"tokens": "characters", "embedding": 32, "word_dropout": 0.0, "free_bits": 0.0},
        {"binarisation": "none", "latent": 64, "hidden": (256,), "batch": 128},
        {**PLAIN, "likelihood": "bernoulli", "leave_out": (), "activation": "tanh", "variance": None,
         "standardise": True, "network": "mlp"},
    ),
}  # fmt: skip


def check_model(config: "Config") -> None:
    """One clear line where the model has no place for what else the config asks for."""
    if config.model not in MODELS:
        raise unknown("model", config.model, tuple(MODELS))
    if config.data in NAMES and config.model != "sequence":
        raise UsageError(f"{config.data} is a text: train it with model='sequence' (--model sequence)")
    for model, options in MODELS.items():
        if model != config.model and (odd := unusual(config, options.own)):
            raise UsageError(f"{odd}={getattr(config, odd)!r} is for model={model!r}, and model is {config.model!r}")
    if odd := unusual(config, MODELS[config.model].no_place):
        raise UsageError(f"model={config.model!r} has no place for {odd}={getattr(config, odd)!r}: leave that out")
    {"vae": lambda _: None, "m2": check_labels, "sequence": check_sequence}[config.model](config)


def unusual(config: "Config", usual: dict[str, Any]) -> str | None:
    """The first of these options that is not as it usually is."""
    return next((name for name, value in usual.items() if getattr(config, name) != value), None)


def check_labels(config: "Config") -> None:
    """Of a model with classes."""
    if isinstance(config.latent, list | tuple):
        raise UsageError(f"model='m2' has one latent layer, and latent is {config.latent}")
    if config.labels < 0 or config.alpha < 0:
        raise UsageError(f"labels={config.labels}, alpha={config.alpha}: expected 0 (all rows) or more, and a weight")


def check_sequence(config: "Config") -> None:
    """Of a model of sequences; rows of tokens are not binarised."""
    if config.binarisation not in ("none", "dynamic"):
        raise UsageError(f"model='sequence' has tokens, and binarisation is {config.binarisation!r}: leave that out")
    object.__setattr__(config, "binarisation", "none")
    if isinstance(config.latent, tuple) or len(config.hidden) != 1:
        sizes = f"latent={config.latent}, hidden={config.hidden}"
        raise UsageError(f"model='sequence' has one latent layer and one of units, but {sizes}: give 64 and 256")
    if config.tokens not in TOKENS:
        raise unknown("tokens", config.tokens, tuple(TOKENS))
    if not 0 <= config.word_dropout < 1 or config.free_bits < 0:
        raise UsageError(f"word_dropout={config.word_dropout} is a share of the tokens, from 0 to below 1, and "
                         f"free_bits={config.free_bits} nats a latent, 0 or more")  # fmt: skip
    if config.latent == 0 and (config.free_bits or config.warm_up or config.beta != 1):
        raise UsageError("latent=0 is a language model, without KL: leave out free_bits, beta and warm_up")
