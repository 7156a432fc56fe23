"""§7.2.5 The hot loops: every kernel as a plain NumPy statement `name_np`, with its Numba twin `name_nb` right below.

A kernel table is chosen once, at the edge, and passed down as an argument: `k = table("numba")`. Training, gradient
checks and study run the same pairs; only the table differs. `NUMPY` is the definition, and also takes complex numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UsageError
from . import activations, bernoulli, dense, noise, normal, optimizers

Kernel = Callable[..., Any]


class Kernels(NamedTuple):
    """One function for each hot loop; `name` says which table this is."""

    name: str
    dense: Kernel
    dense_vjp_params: Kernel
    dense_vjp_x: Kernel
    tanh: Kernel
    tanh_vjp: Kernel
    sigmoid: Kernel
    sigmoid_vjp: Kernel
    softplus: Kernel
    softplus_vjp: Kernel
    relu: Kernel
    relu_vjp: Kernel
    leaky_relu: Kernel
    leaky_relu_vjp: Kernel
    elu: Kernel
    elu_vjp: Kernel
    normal_sample: Kernel
    normal_sample_vjp: Kernel
    normal_log_prob: Kernel
    normal_log_prob_vjp: Kernel
    normal_masked_log_prob: Kernel
    normal_masked_log_prob_vjp: Kernel
    normal_kl: Kernel
    normal_kl_vjp: Kernel
    normal_entropy: Kernel
    normal_entropy_vjp: Kernel
    bernoulli_log_prob: Kernel
    bernoulli_log_prob_vjp: Kernel
    bernoulli_masked_log_prob: Kernel
    bernoulli_masked_log_prob_vjp: Kernel
    bernoulli_sample: Kernel
    bernoulli_entropy: Kernel
    bernoulli_entropy_vjp: Kernel
    words: Kernel
    uniforms: Kernel
    normals: Kernel
    adam: Kernel
    adagrad: Kernel
    momentum: Kernel

    def __reduce__(self) -> tuple[Any, ...]:
        """By its name: compiled functions cannot be pickled."""
        return table, (self.name,)


SUFFIX = {"numpy": "_np", "numba": "_nb"}
MODULES = (dense, activations, normal, bernoulli, noise, optimizers)


def table(name: str) -> Kernels:
    """The kernel table called `name`: "numpy" (the statements) or "numba" (their compiled twins)."""
    if name not in SUFFIX:
        raise UsageError(f"kernels={name!r} is unknown: give 'numpy' or 'numba'")
    found = {key: value for module in MODULES for key, value in vars(module).items()}
    return Kernels(name, *(found[field + SUFFIX[name]] for field in Kernels._fields[1:]))


NUMPY = table("numpy")
