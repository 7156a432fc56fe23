"""§7.2.5 The formulas of the hot loops, each a plain NumPy statement `f_np` with its backward `f_vjp_np` right below.

Then their compiled twins `f_nb`, `f_vjp_nb`, and between the two, where a formula is pointwise, its text for a vector
of numbers: the twins call it, and so do the jobs of `fast`, the schedule that a default run takes and that is held
equal to these. A table of kernels is chosen once, at the edge, and passed down as an argument: `k = table("numba")`.
`NUMPY` is the definition, and also takes complex numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UsageError
from . import activations, bernoulli, noise, normal, optimizers, recurrent
from .dense import dense_np, dense_vjp_params_np, dense_vjp_x_np

Kernel = Callable[..., Any]


class Kernels(NamedTuple):
    """One function for each hot loop, here the statements; `name` says which table this is."""

    name: str
    dense: Kernel = dense_np
    dense_vjp_params: Kernel = dense_vjp_params_np
    dense_vjp_x: Kernel = dense_vjp_x_np
    tanh: Kernel = activations.tanh_np
    tanh_vjp: Kernel = activations.tanh_vjp_np
    sigmoid: Kernel = activations.sigmoid_np
    sigmoid_vjp: Kernel = activations.sigmoid_vjp_np
    softplus: Kernel = activations.softplus_np
    softplus_vjp: Kernel = activations.softplus_vjp_np
    relu: Kernel = activations.relu_np
    relu_vjp: Kernel = activations.relu_vjp_np
    leaky_relu: Kernel = activations.leaky_relu_np
    leaky_relu_vjp: Kernel = activations.leaky_relu_vjp_np
    elu: Kernel = activations.elu_np
    elu_vjp: Kernel = activations.elu_vjp_np
    normal_sample: Kernel = normal.normal_sample_np
    normal_sample_vjp: Kernel = normal.normal_sample_vjp_np
    normal_log_prob: Kernel = normal.normal_log_prob_np
    normal_log_prob_vjp: Kernel = normal.normal_log_prob_vjp_np
    normal_masked_log_prob: Kernel = normal.normal_masked_log_prob_np
    normal_masked_log_prob_vjp: Kernel = normal.normal_masked_log_prob_vjp_np
    normal_kl: Kernel = normal.normal_kl_np
    normal_kl_vjp: Kernel = normal.normal_kl_vjp_np
    normal_entropy: Kernel = normal.normal_entropy_np
    normal_entropy_vjp: Kernel = normal.normal_entropy_vjp_np
    bernoulli_log_prob: Kernel = bernoulli.bernoulli_log_prob_np
    bernoulli_log_prob_vjp: Kernel = bernoulli.bernoulli_log_prob_vjp_np
    bernoulli_masked_log_prob: Kernel = bernoulli.bernoulli_masked_log_prob_np
    bernoulli_masked_log_prob_vjp: Kernel = bernoulli.bernoulli_masked_log_prob_vjp_np
    bernoulli_sample: Kernel = bernoulli.bernoulli_sample_np
    bernoulli_entropy: Kernel = bernoulli.bernoulli_entropy_np
    bernoulli_entropy_vjp: Kernel = bernoulli.bernoulli_entropy_vjp_np
    gru_gates: Kernel = recurrent.gru_gates_np
    gru_gates_vjp: Kernel = recurrent.gru_gates_vjp_np
    token_log_prob: Kernel = recurrent.token_log_prob_np
    token_log_prob_vjp: Kernel = recurrent.token_log_prob_vjp_np
    words: Kernel = noise.words_np
    uniforms: Kernel = noise.uniforms_np
    normals: Kernel = noise.normals_np
    adam: Kernel = optimizers.adam_np
    adagrad: Kernel = optimizers.adagrad_np
    momentum: Kernel = optimizers.momentum_np

    def __reduce__(self) -> tuple[Any, ...]:
        """By its name: compiled functions cannot be pickled."""
        return table, (self.name,)


NUMPY = Kernels("numpy")


def table(name: str) -> Kernels:
    """The kernel table called `name`: "numpy" (the statements) or "numba" (their compiled twins)."""
    if name == "numpy":
        return NUMPY
    if name == "numba":
        return Kernels(name, *map(twin, NUMPY[1:]))
    raise UsageError(f"kernels={name!r} is unknown: give 'numpy' or 'numba'")


def twin(f_np: Any) -> Kernel:
    """f_nb, which stands below f_np in its file."""
    f_nb: Kernel = f_np.__globals__[f_np.__name__.removesuffix("_np") + "_nb"]
    return f_nb
