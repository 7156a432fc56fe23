"""§7.3 Exercise 10: the whole, and the step uphill.

Write `elbo_vjp` out of the pairs that stand here, which are those of the lessons before, and `adam`.
phi and theta are dicts of arrays: "W", "b" the tanh layer; "W_mu", "b_mu", "W_log_var", "b_log_var" the encoder's two
heads, "W_logits", "b_logits" the decoder's one. x (B, D) are bits, eps (B, K) is noise, bounds are in nats.

    scratchvae exercise 10 --check          --hint where you are stuck
"""

import numpy as np


def encode(x, phi):
    """mu and log_var (B, K) of q(z | x), and the layer h (B, H)."""
    h = np.tanh(x @ phi["W"] + phi["b"])
    return h @ phi["W_mu"] + phi["b_mu"], h @ phi["W_log_var"] + phi["b_log_var"], h


def encode_vjp(dmu, dlog_var, x, h, phi):
    """dphi, a dict like phi."""
    da = (dmu @ phi["W_mu"].T + dlog_var @ phi["W_log_var"].T) * (1 - h * h)
    dphi = {"W": x.T @ da, "b": da.sum(0), "W_mu": h.T @ dmu, "b_mu": dmu.sum(0)}
    return {**dphi, "W_log_var": h.T @ dlog_var, "b_log_var": dlog_var.sum(0)}


def sample(mu, log_var, eps):
    """z = μ + σ ε, (B, K)."""
    return mu + np.exp(log_var / 2) * eps


def sample_vjp(dz, log_var, eps):
    """dmu and dlog_var, (B, K) each."""
    return dz, dz * np.exp(log_var / 2) * eps / 2


def decode(z, theta):
    """logits (B, D) of p(x | z), and the layer g (B, H)."""
    g = np.tanh(z @ theta["W"] + theta["b"])
    return g @ theta["W_logits"] + theta["b_logits"], g


def decode_vjp(dlogits, z, g, theta):
    """dz (B, K), and dtheta, a dict like theta."""
    da = dlogits @ theta["W_logits"].T * (1 - g * g)
    dtheta = {"W": z.T @ da, "b": da.sum(0), "W_logits": g.T @ dlogits, "b_logits": dlogits.sum(0)}
    return da @ theta["W"].T, dtheta


def log_prob(x, logits):
    """log p(x | z) of bits, (B,)."""
    return (x * logits - np.logaddexp(0, logits)).sum(1)


def log_prob_vjp(w, x, logits):
    """dlogits (B, D), for w (B,) the cotangent of log_prob."""
    return w[:, None] * (x - 1 / (1 + np.exp(-logits)))


def kl(mu, log_var):
    """KL(q ‖ N(0, I)), (B,)."""
    return (mu * mu + np.exp(log_var) - 1 - log_var).sum(1) / 2


def kl_vjp(w, mu, log_var):
    """dmu and dlog_var (B, K), for w (B,) the cotangent of kl."""
    return w[:, None] * mu, w[:, None] * (np.exp(log_var) - 1) / 2


def elbo(x, eps, phi, theta):
    """The bound of each row, (B,): log p(x | z) − KL at z = μ + σ ε."""
    mu, log_var, _ = encode(x, phi)
    logits, _ = decode(sample(mu, log_var, eps), theta)
    return log_prob(x, logits) - kl(mu, log_var)


def elbo_vjp(w, x, eps, phi, theta):
    """The cotangents of (x, eps, phi, theta): None, None, a dict like phi and one like theta; w (B,) is elbo's."""
    mu, log_var, h = encode(x, phi)
    z = sample(mu, log_var, eps)
    logits, g = decode(z, theta)
    dz, dtheta = decode_vjp(log_prob_vjp(w, x, logits), z, g, theta)
    dmu, dlog_var = sample_vjp(dz, log_var, eps)
    dmu_kl, dlog_var_kl = kl_vjp(-w, mu, log_var)
    dphi = encode_vjp(dmu + dmu_kl, dlog_var + dlog_var_kl, x, h, phi)
    return None, None, dphi, dtheta


def adam(theta, g, m, v, t, rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Step number t = 1, 2, … uphill: the new theta, m and v, arrays of one shape. g is the gradient at theta.

    m and v are 0 before the first step (Kingma & Ba 2015, Algorithm 1, which goes downhill).
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta + rate * m_hat / (np.sqrt(v_hat) + epsilon), m, v
