"""§7.2.5 A posterior of any shape by planar flows (Rezende & Mohamed 2015): N(μ, diag σ²) folded along F planes.

    z' = z + û tanh(wᵀz + b),      log |det ∂z'/∂z| = log(1 + wᵀû (1 − tanh²))

A layer can be undone if and only if wᵀû > −1. So û is u with its part along w exchanged, wᵀû = n − 1 with n > 0:

    û = u + e w / ‖w‖²,    n = softplus(wᵀu + c) > 0,    e = n − 1 − wᵀu,    c = log(e − 1)

The paper has c = 0, which is the same family of maps: c moves u along w, so that u = 0 is the identity and û stays
bounded as w goes to 0. (With ‖w‖ for ‖w‖², as published more than once, log det is right and wᵀû may be below −1.)
"""

import math
from typing import ClassVar, NamedTuple

import numpy as np

from ..kernels import NUMPY, Kernels
from ..kernels.activations import softplus_np
from ..types import Array
from .normal import Normal
from .shared import column, dot, fitted, narrow, quiet, wide

C = math.log(math.e - 1)
STEPS = 200  # of Newton's method; each is safe, and nearly all are done after eight


def bend(s: Array) -> Array:
    """1 − tanh² s, to the last digit also where tanh is nearly ±1."""
    e = np.exp(np.where(s.real < 0, 2 * s, -2 * s))
    return np.asarray(4 * e / (1 + e) ** 2)


def inverse_square(w: Array) -> Array:
    """1 / ‖w‖² (..., 1); 1 at w = 0, where the layer is a shift and any number will do."""
    square = dot(w, w)
    return np.asarray(1 / np.where(square == 0, 1, square))


# e(x) = log(1 + (e^−x − 1) / e): to the last digit near x = 0; where e^−x is big, log(1 + (1 − 1/e)(e^x − 1)) − x
#   ∂e/∂x = −sigmoid(−x − c),   ∂n/∂x = 1 + ∂e/∂x
def constrained(u: Array, w: Array) -> tuple[Array, Array]:
    """û (..., K), and n = 1 + wᵀû (..., 1), positive."""
    x = dot(w, u)
    far = x.real < -1
    near, rest = np.where(far, 0, x), np.where(far, x, 0)
    e = np.where(far, np.log1p((1 - 1 / math.e) * np.expm1(rest)) - rest, np.log1p(np.expm1(-near) / math.e))
    return u + e * inverse_square(w) * w, softplus_np(x + C)


def constrained_vjp(du_hat: Array, dn: Array, u: Array, w: Array) -> tuple[Array, Array]:
    """Cotangents (du, dw) for those of û and n."""
    x, per = dot(w, u), inverse_square(w)
    u_hat, _ = constrained(u, w)
    moved = dot(du_hat, w) * per  # de
    slope = -np.exp(-softplus_np(x + C))  # de/dx
    dx = moved * slope + dn * (1 + slope)
    along = dot(u_hat - u, w) * per  # e / ‖w‖²
    return du_hat + dx * w, dx * u + along * du_hat - 2 * along * moved * w


# s + (n − 1) tanh s = a rises with s, and is odd. For a ≥ 0 it is concave if n > 1, convex if n < 1: from below the
# root in the one case, from above in the other, no step of Newton goes beyond it: s stays between its start and
# a, except by rounding. One step more in complex numbers carries a complex step's slopes:
#   ds = (da − tanh s dn) / (tanh² s + n (1 − tanh² s)), a sum of positive terms
@quiet
def root(a: Array, n: Array) -> Array:
    """s with s + (n − 1) tanh s = a, to full precision."""
    c, m = np.abs(a.real), n.real - 1
    s = np.where(m > 0, np.fmax(c - m, c / n.real), np.fmin(c - m, c / n.real))
    for _ in range(STEPS):
        h = np.tanh(s)
        step = (s + m * h - c) / (h * h + n.real * bend(s))
        new = np.where(m > 0, np.clip(s - step, s, c), np.clip(s - step, c, s))
        if (np.abs(new - s) <= 4e-16 * new).all():
            break
        s = new
    s = np.copysign(new, a.real)
    if np.iscomplexobj(a) or np.iscomplexobj(n):
        h = np.tanh(s)
        s = s - (s + (n - 1) * h - a) / (h * h + n * bend(s))
    return s


# One layer:  h = tanh(wᵀz + b),  z' = z + û h,   ∂h = (1 − h²) (wᵀ∂z + zᵀ∂w + ∂b)
def fold(z: Array, u: Array, w: Array, b: Array) -> Array:
    """z after a layer (..., K); b (..., 1)."""
    return np.asarray(z + constrained(u, w)[0] * np.tanh(dot(w, z) + b))


def fold_vjp(dz: Array, z: Array, u: Array, w: Array, b: Array) -> tuple[Array, ...]:
    """Cotangents of z, u, w and b."""
    a = dot(w, z) + b
    h = np.tanh(a)
    da = dot(constrained(u, w)[0], dz) * bend(a)
    du, dw = constrained_vjp(dz * h, np.zeros_like(h), u, w)
    return dz + da * w, du, dw + da * z, da


# One layer undone:  s = root(wᵀz' + b),  h = tanh s,  z = z' − û h,  g = h² + n (1 − h²) = det,  so
#   ∂h = (1 − h²) ds,    ∂ log g = (−2 (n − 1) h ∂h + (1 − h²) ∂n) / g,    ds = (w dz' + z' dw + db − h dn) / g
def undo(z: Array, u: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """z before a layer (..., K), and the layer's log det (..., 1); b (..., 1)."""
    u_hat, n = constrained(u, w)
    s = root(dot(w, z) + b, n)
    h = np.tanh(s)
    return z - u_hat * h, np.log(h * h + n * bend(s))


def undo_vjp(dz: Array, dlog: Array, z: Array, u: Array, w: Array, b: Array) -> tuple[Array, ...]:
    """Cotangents of z, u, w and b, for those of `undo`'s results; the root's slopes by the implicit function."""
    u_hat, n = constrained(u, w)
    s = root(dot(w, z) + b, n)
    h, dh_ds = np.tanh(s), bend(s)
    g = h * h + n * dh_ds
    dh = -dot(u_hat, dz) - dlog * 2 * (n - 1) * h / g
    da = dh * dh_ds / g
    du, dw = constrained_vjp(-dz * h, dlog * dh_ds / g - da * h, u, w)
    return dz + da * w, du, dw + da * z, da


class PlanarHeads(NamedTuple):
    """mu and log_var (..., K), u and w (..., F, K), b (..., F)."""

    mu: Array
    log_var: Array
    u: Array
    w: Array
    b: Array


class Planar(PlanarHeads):
    """N(mu, e^log_var) through F planar layers; also their cotangents. A network gives it by `planar`.

    Amortised: every row has its own layers. log_prob takes any z, as it undoes the layers; there is no closed KL.
    All heads 0 is N(0, I), but nothing there pulls u and w away: a network must not start with all of them at 0.
    """

    __slots__ = ()
    noise: ClassVar[str] = "normals"

    @property
    def mean(self) -> Array:
        """Where the flow takes q₀'s mean; E[z] has no closed form."""
        return self.sample(np.zeros_like(self.mu))

    def standard(self) -> "Planar":
        """N(0, I): all heads 0."""
        return Planar(*(np.zeros_like(h) for h in self))

    def sample(self, eps: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = g_F(… g_1(μ + σ ε)); eps (..., K) standard normal."""
        q, (eps,) = Planar(*wide(*self)), wide(eps)
        z = q.mu + np.exp(0.5 * q.log_var) * eps
        for layer in q._layers():
            z = fold(z, *layer)
        return narrow(z, *self)

    def sample_vjp(self, dz: Array, eps: Array, k: Kernels = NUMPY) -> "Planar":
        """Cotangents of the heads, summed over samples: the layers in reverse."""
        q, (dz, eps) = Planar(*wide(*self)), wide(dz, eps)
        sigma, layers = np.exp(0.5 * q.log_var), q._layers()
        zs, slopes = [q.mu + sigma * eps], []
        for layer in layers:
            zs.append(fold(zs[-1], *layer))
        for z, layer in zip(zs[-2::-1], layers[::-1], strict=True):
            dz, *slope = fold_vjp(dz, z, *layer)
            slopes.append(slope)
        return self._gathered(dz, 0.5 * dz * sigma * eps, slopes[::-1])

    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log q(z) = log N(z_0; μ, σ²) − Σ log det, nats, z_0 by undoing the layers."""
        q, (value,) = Planar(*wide(*self)), wide(z)
        log_det = np.zeros(())
        for layer in q._layers()[::-1]:
            value, part = undo(value, *layer)
            log_det = log_det + part[..., 0]
        return narrow(Normal(q.mu, q.log_var).log_prob(value) - log_det, z, *self)

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "Planar"]:
        """Cotangents of z and of the heads, for w the cotangent of log_prob."""
        q, zs = Planar(*wide(*self)), wide(z)
        layers = q._layers()
        for layer in layers[::-1]:
            zs.append(undo(zs[-1], *layer)[0])
        first = np.broadcast_arrays(zs[-1], q.mu, q.log_var)[0]
        rows = column(w, first.shape)
        dz, base = Normal(q.mu, q.log_var).log_prob_vjp(rows[..., 0], first)
        slopes = []
        for after, layer in zip(zs[-2::-1], layers, strict=True):
            dz, *slope = undo_vjp(dz, -rows, after, *layer)
            slopes.append(slope)
        return fitted(dz, z), self._gathered(base.mu, base.log_var, slopes)

    def _layers(self) -> list[tuple[Array, Array, Array]]:
        """u and w (..., K) and b (..., 1) of each layer."""
        return [(self.u[..., f, :], self.w[..., f, :], self.b[..., f : f + 1]) for f in range(self.b.shape[-1])]

    def _gathered(self, dmu: Array, dlog_var: Array, slopes: list[list[Array]]) -> "Planar":
        """Cotangents of the heads from those of the layers, in order, summed over what was broadcast."""
        if not slopes:
            return Planar(fitted(dmu, self.mu), fitted(dlog_var, self.log_var), *self[2:])  # which are empty
        du, dw, db = (np.stack(np.broadcast_arrays(*part), axis=-2) for part in zip(*slopes, strict=True))
        parts = (dmu, dlog_var, du, dw, db[..., 0])
        return Planar(*(fitted(d, h) for d, h in zip(parts, self, strict=True)))


def planar(mu: Array, log_var: Array, u: Array, w: Array, b: Array) -> Planar:
    """What flat heads describe: mu and log_var (..., K), u and w (..., F·K), layer by layer, and b (..., F)."""
    shape = (*b.shape, mu.shape[-1])
    return Planar(mu, log_var, u.reshape(shape), w.reshape(shape), b)


def planar_vjp(dq: Planar) -> tuple[Array, ...]:
    """Cotangents of the flat heads."""
    return dq.mu, dq.log_var, *(d.reshape(*dq.b.shape[:-1], -1) for d in (dq.u, dq.w)), dq.b
