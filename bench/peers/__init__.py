"""§7.2.5 The contestants by name; each module has `version()` and a function (what, job) → Contestant for each kind of
work that FIELD has it in."""

from importlib import import_module
from typing import Any

FIELD = {  # kind of work → contestant → module
    "step": {
        "ours": "ours",
        "ours, inverted images": "ours",  # 87 ones in a hundred: every product dense, every operation really done
        "ours, composed in NumPy": "ours",
        "torch eager": "torch_peer",
        "torch fused Adam": "torch_peer",
        "torch.compile + fused Adam": "torch_peer",
        "JAX step": "jax_peer",
        "JAX scan": "jax_peer",
        "NumPy": "numpy_peer",
    },
    "evidence": {"ours": "ours", "JAX": "jax_peer"},
    "product": {"ours": "ours", "torch": "torch_peer", "JAX": "jax_peer", "NumPy": "numpy_peer"},
}

EVERY = ("ours", "JAX step", "JAX scan")  # they know every model and estimator; the others the VAE by SGVB B and Adam

# to build or to run, or for a question of their own: timed only in these cells
SLOW = ("torch.compile + fused Adam", "ours, composed in NumPy", "ours, inverted images")
DECISIVE = (("784-500-20", 100), ("784-200-200-50", 20))  # network, batch


def load(module: str) -> Any:
    """The peer's module; ImportError where its package is not installed."""
    return import_module(f"bench.peers.{module}")
