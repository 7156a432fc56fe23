"""§7 The variational autoencoder from scratch: every gradient by hand, every gradient proved.

`VAE` is the model as one object, `elbo` and `elbo_vjp` the pure functions below it; `gradcheck.check` proves a pair.
Names are loaded at first use, so that `import scratchvae` costs no more than NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import moved as moved

if TYPE_CHECKING:
    from . import gradcheck as gradcheck
    from .models.vae import elbo as elbo
    from .models.vae import elbo_vjp as elbo_vjp
    from .vae import VAE as VAE

__version__ = "0.1.0"
__all__ = ["VAE", "elbo", "elbo_vjp", "gradcheck"]

HOME = {"VAE": "scratchvae.vae", "elbo": "scratchvae.models.vae", "elbo_vjp": "scratchvae.models.vae"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in HOME:
        return getattr(import_module(HOME[name]), name)
    if name == "gradcheck":
        return import_module("scratchvae.gradcheck")
    raise AttributeError(f"module 'scratchvae' has no attribute {name!r}")
