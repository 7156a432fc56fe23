"""§7.3 A VAE in plain NumPy, whole. p holds the parameters by name, d their cotangents: a backward adds into d.

x (B, D) bits; eps and z (B, K), u (B, D) are noise, given from outside; what counts a row is (B,), in nats.
"""

import numpy as np


def dense(x, p, name):
    return x @ p[name + ".W"] + p[name + ".b"]


def dense_vjp(dy, x, p, d, name):
    """Adds into d, returns dx."""
    d[name + ".W"] += x.T @ dy
    d[name + ".b"] += dy.sum(0)
    return dy @ p[name + ".W"].T


def encode(x, p):
    """mu and log_var of q(z | x), and the layer under them."""
    h = np.tanh(dense(x, p, "q.hidden"))
    return dense(h, p, "q.mu"), dense(h, p, "q.log_var"), h


def encode_vjp(dmu, dlog_var, x, h, p, d):
    """Adds into d."""
    dh = dense_vjp(dmu, h, p, d, "q.mu") + dense_vjp(dlog_var, h, p, d, "q.log_var")
    dense_vjp((1 - h * h) * dh, x, p, d, "q.hidden")


def sample(mu, log_var, eps):
    return mu + np.exp(log_var / 2) * eps


def sample_vjp(dz, log_var, eps):
    return dz, dz * np.exp(log_var / 2) * eps / 2


def kl(mu, log_var):
    return (mu * mu + np.exp(log_var) - 1 - log_var).sum(1) / 2


def kl_vjp(w, mu, log_var):
    return w[:, None] * mu, w[:, None] * (np.exp(log_var) - 1) / 2


def decode(z, p):
    """logits of p(x | z), and the layer under them."""
    h = np.tanh(dense(z, p, "p.hidden"))
    return dense(h, p, "p.logits"), h


def decode_vjp(dlogits, z, h, p, d):
    """Adds into d, returns dz."""
    dh = dense_vjp(dlogits, h, p, d, "p.logits")
    return dense_vjp((1 - h * h) * dh, z, p, d, "p.hidden")


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-abs(a)))


def sigmoid(a):
    return np.exp(-softplus(-a))


def log_prob(x, logits):
    return (x * logits - softplus(logits)).sum(1)


def log_prob_vjp(w, x, logits):
    return w[:, None] * (x - sigmoid(logits))


def elbo(x, eps, p):
    """The bound of each row: log p(x | z) − KL at z = μ + σ ε."""
    mu, log_var, _ = encode(x, p)
    logits, _ = decode(sample(mu, log_var, eps), p)
    return log_prob(x, logits) - kl(mu, log_var)


def elbo_vjp(w, x, eps, p, d):
    """Adds ∂(Σ w L)/∂p into d."""
    mu, log_var, h_q = encode(x, p)
    z = sample(mu, log_var, eps)
    logits, h_p = decode(z, p)
    dz = decode_vjp(log_prob_vjp(w, x, logits), z, h_p, p, d)
    dmu, dlog_var = sample_vjp(dz, log_var, eps)
    dmu_kl, dlog_var_kl = kl_vjp(-w, mu, log_var)
    encode_vjp(dmu + dmu_kl, dlog_var + dlog_var_kl, x, h_q, p, d)


def generate(z, u, p):
    """x drawn from p(x | z)."""
    logits, _ = decode(z, p)
    return (u < sigmoid(logits)).astype(float)


def adam(p, g, state, rate=1e-3, beta1=0.9, beta2=0.999):
    """One step uphill, in place; state is {"t": 0, "m": zeros, "v": zeros} before the first."""
    state["t"] += 1
    for name in p:
        m, v = state["m"][name], state["v"][name]
        m += (1 - beta1) * (g[name] - m)
        v += (1 - beta2) * (g[name] ** 2 - v)
        m_hat, v_hat = m / (1 - beta1 ** state["t"]), v / (1 - beta2 ** state["t"])
        p[name] += rate * m_hat / (np.sqrt(v_hat) + 1e-8)
