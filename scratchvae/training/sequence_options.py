"""§7.3 The kinds of model that a run may train, by name, and what a model of sequences has no place for.

Refused here, in one line, before any data are read. The model is `models.sequence`, its objective `sequences`.
"""

from typing import TYPE_CHECKING

from ..data.tokens import NAMES, TOKENS
from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .config import Config

MODELS = ("vae", "sequence")
OWN = {"tokens": "characters", "embedding": 32, "word_dropout": 0.0, "free_bits": 0.0}  # its own options
USUAL = {"binarisation": "none", "latent": 64, "hidden": (256,), "batch": 128}  # of its runs, where nothing is given
NO_PLACE = {  # options of other models, as they usually are
    "likelihood": "bernoulli", "columns": "", "leave_out": (), "activation": "tanh", "variance": None, "weights": "",
    "missing": "", "posterior": "normal", "prior": "standard", "algorithm": "aevb", "estimator": "sgvb_b", "samples": 1,
    "standardise": True,
}  # fmt: skip


def check_model(config: "Config") -> None:
    """One clear line where the model has no place for what else the config asks for; rows of tokens are not
    binarised."""
    if config.model not in MODELS:
        raise unknown("model", config.model, MODELS)
    if config.model != "sequence":
        if config.data in NAMES:
            raise UsageError(f"{config.data} is a text: train it with model='sequence' (--model sequence)")
        if odd := next((name for name, usual in OWN.items() if getattr(config, name) != usual), None):
            raise UsageError(f"{odd}={getattr(config, odd)!r} is for model='sequence', and model is {config.model!r}")
        return
    if odd := next((name for name, usual in NO_PLACE.items() if getattr(config, name) != usual), None):
        raise UsageError(f"model='sequence' has no place for {odd}={getattr(config, odd)!r}: leave that out")
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
