"""§7.2 The errors of hand-written VAEs that people really published, as mutants that can be switched on.

    with planted(GALLERY["kl takes exp(log_var) for sigma"].edits): ...

Which check kills which (`make mutants ARGS=--gallery` measures this table; a test holds it true):

                                          slopes  adding  moments  entropy  bound  evidence  extremes  steps
    y(1 - y) on the log-variance            x       .        .        .       .       .         .        .
    a lost half                             x       .        .        .       .       .         .        .
    variance head's path forgotten          x       .        .        .       .       .         .        .
    backward draws another eps              x       .        .        .       .       .         .        .
    = for +=                                x       x        .        .       .       .         .        .
    sigma' taken of sigma                   x       .        .        .       .       .         .        .
    r of another unit                       x       .        .        .       .       .         .        .
    one step back and no further            x       .        .        .       .       .         .        .
    sampler takes exp(log_var) for sigma    .       .        x        .       x       x         .        .
    KL averaged over the batch              .       .        .        .       x       .         .        .
    KL divided by the columns               .       .        .        .       x       .         .        .
    analytic KL in importance weights       .       .        .        .       .       x         .        .
    log 2 pi pi in the entropy              .       .        .        x       .       .         .        .
    softplus shown as a probability         .       .        x        .       .       .         .        .
    log(1 + exp) overflows                  .       .        .        .       .       .         x        .
    log_var clamped                         .       .        .        .       .       .         x        .
    log of a clamped probability            x       .        .        .       .       .         x        .
    Adam without its bias correction        .       .        .        .       .       .         .        x
    Adam's decay in the wrong convention    .       .        .        .       .       .         .        x
    Adam's second moment starts at one      .       .        .        .       .       .         .        x
    Adam counts parameters as steps         .       .        .        .       .       .         .        x

A gradient check sees no error whose backward agrees with its forward: those rows have no mark under `slopes`, and are
the reason why every forward is held against a law of its own.
"""

from typing import NamedTuple

from .plant import Edit


class Bug(NamedTuple):
    """An error, where it was seen, and what has to be changed here to have it too."""

    seen_in: str
    edits: tuple[Edit, ...]


NORMAL, BERNOULLI, ADAM = "kernels.normal", "kernels.bernoulli", "kernels.optimizers"
RECURRENT = "kernels.recurrent"

GALLERY: dict[str, Bug] = {
    # --- backward passes that do not belong to their forward ---
    "y(1 - y) on the log-variance": Bug("y0ast, VRbound", (
        Edit("conditional", "from_heads_vjp",
             'activate_vjp(dp.mu, p.mu, "sigmoid", k), floored_vjp(dp.log_var, p.log_var, family.variance, k)',
             'activate_vjp(dp.mu, p.mu, "sigmoid", k), '
             'activate_vjp(floored_vjp(dp.log_var, p.log_var, family.variance, k), p.mu, "sigmoid", k)'),
    )),
    "a lost half": Bug("y0ast, VRbound", (
        Edit(NORMAL, "normal_log_prob_vjp_np", "0.5 * w * (r * (z - mu) - 1)", "w * (r * (z - mu) - 1)"),
    )),
    "variance head's path forgotten": Bug("y0ast, VRbound", (
        Edit("conditional", "net_vjp", "sum(parts[1:], parts[0])", "parts[0]"),
    )),
    "backward draws another eps": Bug("kwj2104", (
        Edit("models.vae", "elbo_vjp", "sample_vjp(dz, eps, k)", "sample_vjp(dz, eps[..., ::-1, :], k)"),
    )),
    "= for +=": Bug("many", (
        Edit("kernels.dense", "dense_vjp_params_np", "dW += x.T @ dy", "dW[...] = x.T @ dy"),
    )),
    "sigma' taken of sigma": Bug("CaptainE#2", (
        Edit(RECURRENT, "gru_gates_vjp_np", "(r * (1 - r))", "(sigmoid_np(r) * (1 - sigmoid_np(r)))"),
    )),
    "r of another unit": Bug("AiDotNet#722", (
        Edit(RECURRENT, "gru_gates_vjp_np", "delta * r]", "delta * np.roll(r, 1, axis=1)]"),
    )),
    "one step back and no further": Bug("Element-Research/rnn#31", (
        Edit("recurrent", "gru_vjp", "kept + k.dense_vjp_x(ds[span], p.W)", "k.dense_vjp_x(ds[span], p.W)"),
    )),
    # --- forwards that are wrong, with backwards that agree ---
    "sampler takes exp(log_var) for sigma": Bug("numpy-ml", (
        Edit(NORMAL, "normal_sample_np", "np.exp(0.5 * log_var)", "np.exp(log_var)"),
        Edit(NORMAL, "normal_sample_vjp_np", "0.5 * dz * np.exp(0.5 * log_var)", "dz * np.exp(log_var)"),
    )),
    "KL averaged over the batch": Bug("pytorch/examples#290", (
        Edit("models.vae", "elbo", "axis=0)) - kl", "axis=0)) - kl / x.shape[0]"),
        Edit("models.vae", "elbo_vjp", "kl_vjp(-beta * w, k)", "kl_vjp(-beta * w / x.shape[0], k)"),
    )),
    "KL divided by the columns": Bug("keras#6015, AntixK#11", (
        Edit("models.vae", "elbo", "axis=0)) - kl", "axis=0)) - kl / x.shape[1]"),
        Edit("models.vae", "elbo_vjp", "kl_vjp(-beta * w, k)", "kl_vjp(-beta * w / x.shape[1], k)"),
    )),
    "analytic KL in importance weights": Bug("nips14-ssl, anglepy, VRbound", (
        Edit("training.objective", "VAEObjective.log_weights",
             "-0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)", "-q.kl()"),
    )),
    "log 2 pi pi in the entropy": Bug("anglepy", (
        Edit(NORMAL, "normal_entropy_np", "LOG_2PIE", "LOG_2PI + math.log(math.pi)"),
    )),
    "softplus shown as a probability": Bug("jax mnist_vae", (
        Edit("distributions.bernoulli", "Bernoulli.mean", "NUMPY.sigmoid", "NUMPY.softplus"),
    )),
    # --- numbers out of range, and the clamps that hide them ---
    "log(1 + exp) overflows": Bug("synthcity#331, WorldModels#9", (
        Edit("kernels.activations", "softplus_np",
             "np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))", "np.log(1 + np.exp(a))"),
    )),
    "log_var clamped": Bug("breze PR#84", (
        Edit("conditional", "from_heads", "return Normal(outs[0], outs[1])",
             "return Normal(outs[0], np.where(outs[1].real < -1, -1 + 0 * outs[1], outs[1]))"),
        Edit("conditional", "from_heads_vjp", "return dp.mu, dp.log_var",
             "return dp.mu, np.where(p.log_var.real <= -1, 0 * dp.log_var, dp.log_var)"),
    )),
    "log of a clamped probability": Bug("many", (
        Edit(BERNOULLI, "bernoulli_log_prob_np", "(x * logits - softplus_np(logits))",
             "(x * np.log(sigmoid_np(logits) + 1e-8) + (1 - x) * np.log(1 - sigmoid_np(logits) + 1e-8))"),
    )),
    # --- optimizers that are not the one they are called ---
    "Adam without its bias correction": Bug("y0ast", (
        Edit(ADAM, "adam_np", "m_hat / (np.sqrt(v_hat) + epsilon)", "m / (np.sqrt(v) + epsilon)"),
    )),
    "Adam's decay in the wrong convention": Bug("nips14-ssl", (
        Edit(ADAM, "adam_np", "m *= beta1\n", "m *= 1 - beta1\n"),
        Edit(ADAM, "adam_np", "m += (1 - beta1) * g", "m += beta1 * g"),
        Edit(ADAM, "adam_np", "1 - beta1**t", "1 - (1 - beta1) ** t"),
    )),
    "Adam's second moment starts at one": Bug("IWAE", (
        Edit(ADAM, "adam_np", "v *= beta2", "v[...] = beta2 * (v + (t == 1))"),
    )),
    "Adam counts parameters as steps": Bug("tinygrad's first week", (
        Edit(ADAM, "adam_np", "m / (1 - beta1**t)", "m / (1 - beta1 ** ((t - 1) * m.size + 1 + np.arange(m.size)))"),
    )),
}  # fmt: skip
