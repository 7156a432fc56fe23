"""§7.2.4 Right pairs of everyday arrays: convolution, norms, softmax, FFT, sums along an axis, einsum, indexing."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchvae.types import Array

from .family import Family, Rng, normal, normals


def conv1d(x: Array, w: Array) -> Array:
    """x (B, C, N), w (K, C, T) -> (B, K, N − T + 1)."""
    return np.einsum("bcnt,kct->bkn", sliding_window_view(x, w.shape[2], axis=2), w)


def conv1d_vjp(dy: Array, x: Array, w: Array) -> tuple[Array, Array]:
    dx = np.zeros_like(x)
    for t in range(w.shape[2]):
        dx[:, :, t : t + dy.shape[2]] += np.einsum("bkn,kc->bcn", dy, w[:, :, t])
    return dx, np.einsum("bcnt,bkn->kct", sliding_window_view(x, w.shape[2], axis=2), dy)


def conv2d(x: Array, w: Array) -> Array:
    """x (B, C, H, W), w (K, C, S, T), stride 1, no padding."""
    return np.einsum("bchwst,kcst->bkhw", sliding_window_view(x, w.shape[2:], axis=(2, 3)), w)


def conv2d_vjp(dy: Array, x: Array, w: Array) -> tuple[Array, Array]:
    dx = np.zeros_like(x)
    for s, t in np.ndindex(*w.shape[2:]):
        dx[:, :, s : s + dy.shape[2], t : t + dy.shape[3]] += np.einsum("bkhw,kc->bchw", dy, w[:, :, s, t])
    return dx, np.einsum("bchwst,bkhw->kcst", sliding_window_view(x, w.shape[2:], axis=(2, 3)), dy)


def batch_norm(x: Array, gamma: Array, beta: Array) -> Array:
    c = x - x.mean(axis=0)
    return gamma * c / np.sqrt((c * c).mean(axis=0) + 1e-5) + beta


def batch_norm_vjp(dy: Array, x: Array, gamma: Array, beta: Array) -> tuple[Array, ...]:
    c = x - x.mean(axis=0)
    s = np.sqrt((c * c).mean(axis=0) + 1e-5)
    n, g = c / s, dy * gamma
    return (g - g.mean(axis=0) - n * (g * n).mean(axis=0)) / s, (dy * n).sum(axis=0), dy.sum(axis=0)


def layer_norm(x: Array, gamma: Array, beta: Array) -> Array:
    c = x - x.mean(axis=-1, keepdims=True)
    return gamma * c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-5) + beta


def layer_norm_vjp(dy: Array, x: Array, gamma: Array, beta: Array) -> tuple[Array, ...]:
    c = x - x.mean(axis=-1, keepdims=True)
    s = np.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-5)
    n, g = c / s, dy * gamma
    dx = (g - g.mean(axis=-1, keepdims=True) - n * (g * n).mean(axis=-1, keepdims=True)) / s
    return dx, (dy * n).sum(axis=0), dy.sum(axis=0)


def logsumexp(a: Array) -> Array:
    m = a.real.max(axis=-1, keepdims=True)
    return np.log(np.exp(a - m).sum(axis=-1)) + m[..., 0]


def logsumexp_vjp(dy: Array, a: Array) -> Array:
    return dy[..., None] * np.exp(a - logsumexp(a)[..., None])


def softmax(a: Array) -> Array:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_vjp(dy: Array, a: Array) -> Array:
    p = softmax(a)
    return p * (dy - (p * dy).sum(axis=-1, keepdims=True))


def cross_entropy(a: Array, label: Array) -> Array:
    m = a - a.real.max(axis=1, keepdims=True)
    return (np.log(np.exp(m).sum(axis=1)) - m[np.arange(len(a)), label]).mean()


def cross_entropy_vjp(dy: Array, a: Array, label: Array) -> tuple[Any, Any]:
    p = softmax(a)
    p[np.arange(len(a)), label] -= 1
    return dy * p / len(a), None


def attention(q: Array, k: Array, v: Array) -> Array:
    return softmax(q @ k.T / np.sqrt(q.shape[1])) @ v


def attention_vjp(dy: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    p, scale, dp = softmax(q @ k.T / np.sqrt(q.shape[1])), 1 / np.sqrt(q.shape[1]), dy @ v.T
    da = p * (dp - (p * dp).sum(axis=1, keepdims=True)) * scale
    return da @ k, da.T @ q, p.T @ dy


def fft(x: Array) -> Array:
    y = np.fft.fft(x)
    return np.stack([y.real, y.imag])


def fft_vjp(dy: Array, x: Array) -> Array:
    return len(x) * np.fft.ifft(dy[0] + 1j * dy[1]).real


def power(x: Array) -> Array:
    return np.abs(np.fft.fft(x)) ** 2


def power_vjp(dy: Array, x: Array) -> Array:
    return 2 * len(x) * np.fft.ifft(dy * np.fft.fft(x)).real


def circular(x: Array, w: Array) -> Array:
    return np.fft.ifft(np.fft.fft(x) * np.fft.fft(w)).real


def circular_vjp(dy: Array, x: Array, w: Array) -> tuple[Array, Array]:
    g = np.fft.fft(dy)
    return np.fft.ifft(g * np.fft.fft(w).conj()).real, np.fft.ifft(g * np.fft.fft(x).conj()).real


def sums(x: Array) -> Array:
    return np.cumsum(x * x, axis=1)


def sums_vjp(dy: Array, x: Array) -> Array:
    return 2 * x * dy[:, ::-1].cumsum(axis=1)[:, ::-1]


def products(x: Array) -> Array:
    return np.cumprod(x, axis=1)


def products_vjp(dy: Array, x: Array) -> Array:
    return (dy * np.cumprod(x, axis=1))[:, ::-1].cumsum(axis=1)[:, ::-1] / x


def trilinear(a: Array, b: Array, c: Array) -> Array:
    return np.einsum("ij,jkl,lm->ikm", a, b, c)


def trilinear_vjp(dy: Array, a: Array, b: Array, c: Array) -> tuple[Array, ...]:
    da = np.einsum("ikm,jkl,lm->ij", dy, b, c)
    return da, np.einsum("ikm,ij,lm->jkl", dy, a, c), np.einsum("ikm,ij,jkl->lm", dy, a, b)


def picked(table: Array, index: Array) -> Array:
    return np.sin(table[index])


def picked_vjp(dy: Array, table: Array, index: Array) -> tuple[Any, Any]:
    dtable = np.zeros_like(table)
    np.add.at(dtable, index, dy * np.cos(table[index]))
    return dtable, None


def scattered(x: Array, index: Array) -> Array:
    out = np.zeros((5, *x.shape[1:]), x.dtype)
    np.add.at(out, index, x**3)
    return out


def scattered_vjp(dy: Array, x: Array, index: Array) -> tuple[Any, Any]:
    return 3 * x**2 * dy[index], None


def rms(x: Array) -> Array:
    return np.sqrt((x * x).mean(axis=1))


def rms_vjp(dy: Array, x: Array) -> Array:
    return dy[:, None] * x / (rms(x)[:, None] * x.shape[1])


def spread(x: Array) -> Array:
    return x.std(axis=0)


def spread_vjp(dy: Array, x: Array) -> Array:
    return dy * (x - x.mean(axis=0)) / (len(x) * x.std(axis=0))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def gelu_vjp(dy: Array, x: Array) -> Array:
    t = np.tanh(0.7978845608 * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608 * (1 + 3 * 0.044715 * x**2))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def softplus_vjp(dy: Array, x: Array) -> Array:
    return dy / (1 + np.exp(-x))


def angle_of(y: Array, x: Array) -> tuple[Array, Array]:
    return np.arctan2(y, x), np.hypot(x, y)


def angle_of_vjp(dy: tuple[Array, Array], y: Array, x: Array) -> tuple[Array, Array]:
    r = np.hypot(x, y)
    return dy[0] * x / r**2 + dy[1] * y / r, -dy[0] * y / r**2 + dy[1] * x / r


def outer_sum(a: Array, b: Array) -> Array:
    return np.exp(-0.5 * (a[:, None] - b) ** 2)


def outer_sum_vjp(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    g = dy * outer_sum(a, b) * (a[:, None] - b)
    return -g.sum(axis=1), g.sum(axis=0)


def ten_thousand(x: Array) -> Array:
    return np.tanh(x) + 0.1 * x * np.roll(x, 1)


def ten_thousand_vjp(dy: Array, x: Array) -> Array:
    d = 1 - np.tanh(x) ** 2
    return dy * (d + 0.1 * np.roll(x, 1)) + 0.1 * np.roll(dy * x, -1)


def labels(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 6, 4), rng.integers(0, 4, 6)


def repeats(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 5, 2), rng.integers(0, 5, 9)


NORMED = normals((8, 5), (5,), (5,))
FAMILIES = {
    "convolution": Family(conv1d, conv1d_vjp, normals((2, 3, 8), (4, 3, 3))),
    "convolution in 2-D": Family(conv2d, conv2d_vjp, normals((2, 2, 5, 6), (3, 2, 2, 3))),
    "batch norm": Family(batch_norm, batch_norm_vjp, NORMED),
    "layer norm": Family(layer_norm, layer_norm_vjp, NORMED),
    "logsumexp": Family(logsumexp, logsumexp_vjp, normals((3, 6))),
    "softmax": Family(softmax, softmax_vjp, normals((3, 6))),
    "softmax cross-entropy": Family(cross_entropy, cross_entropy_vjp, labels, ("label",)),
    "attention": Family(attention, attention_vjp, normals((4, 3), (5, 3), (5, 2))),
    "FFT": Family(fft, fft_vjp, normals((9,))),
    "power spectrum": Family(power, power_vjp, normals((8,))),
    "convolution by FFT": Family(circular, circular_vjp, normals((7,), (7,))),
    "cumsum": Family(sums, sums_vjp, normals((3, 6))),
    "cumprod": Family(products, products_vjp, normals((3, 5))),
    "einsum": Family(trilinear, trilinear_vjp, normals((2, 3), (3, 4, 2), (2, 3))),
    "indexing with repeats": Family(picked, picked_vjp, repeats, ("index",)),
    "adding at repeated places": Family(
        scattered, scattered_vjp, lambda rng: (normal(rng, 9, 2), rng.integers(0, 5, 9)), ("index",)
    ),
    "root mean square": Family(rms, rms_vjp, normals((4, 5))),
    "standard deviation": Family(spread, spread_vjp, normals((7, 3))),
    "GELU": Family(gelu, gelu_vjp, normals((9,))),
    "softplus by logaddexp": Family(softplus, softplus_vjp, normals((9,))),
    "arctan2 and hypot": Family(angle_of, angle_of_vjp, normals((5,), (5,))),
    "kernel of two vectors": Family(outer_sum, outer_sum_vjp, normals((4,), (5,))),
    "10⁴ elements": Family(ten_thousand, ten_thousand_vjp, normals((10_000,))),
}
