"""§7.2.5 The contestants: each module has STEPS and PRODUCTS (names), `version()`, `step(what, work)` and `product(...)`."""

from importlib import import_module
from typing import Any

MODULES = ("ours", "torch_peer", "jax_peer", "numpy_peer")


def load(module: str) -> Any:
    """The peer's module; ImportError where its package is not installed."""
    return import_module(f"bench.peers.{module}")
