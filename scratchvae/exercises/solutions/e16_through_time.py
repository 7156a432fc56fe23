"""§7.2.4 Exercise 16: backpropagation through time, of a gated recurrent unit.

Write `states` and `states_vjp`. Each step takes the input's share a_t and the state before, with three gates side by
side, r, u, n, of H columns each ("reset after", as torch has it):

    s = h U + c     r = σ(a_r + s_r)     u = σ(a_u + s_u)     n = tanh(a_n + r s_n)     h' = (1 − u) n + u h

    scratchvae exercise 16 --check          --hint where you are stuck
"""

import numpy as np


def sigmoid(a):
    """σ(a) = 1 / (1 + e^−a). Given."""
    return 0.5 * (1 + np.tanh(0.5 * a))


def gates(a, h, U, c):
    """r, u, n and s_n of a step, each (B, H); a (B, 3H), h (B, H), U (H, 3H), c (3H,). Given."""
    (a_r, a_u, a_n), (s_r, s_u, s_n) = np.split(a, 3, axis=1), np.split(h @ U + c, 3, axis=1)
    r, u = sigmoid(a_r + s_r), sigmoid(a_u + s_u)
    return r, u, np.tanh(a_n + r * s_n), s_n


def states(a, h0, U, c):
    """The state after each step, (T, B, H); a (T, B, 3H), h0 (B, H)."""
    hs, h = [], h0
    for t in range(len(a)):
        _, u, n, _ = gates(a[t], h, U, c)
        h = (1 - u) * n + u * h
        hs.append(h)
    return np.array(hs)


def states_vjp(dhs, a, h0, U, c):
    """da, dh0, dU, dc, for dhs (T, B, H) the cotangents of all states."""
    hs = states(a, h0, U, c)
    da, dU, dc, dh = np.zeros_like(a), np.zeros_like(U), np.zeros_like(c), np.zeros_like(h0)
    for t in reversed(range(len(a))):
        h = hs[t - 1] if t > 0 else h0
        r, u, n, s_n = gates(a[t], h, U, c)
        dh = dh + dhs[t]
        dn = (1 - u) * dh * (1 - n**2)
        dr, du = dn * s_n * (r * (1 - r)), dh * (h - n) * (u * (1 - u))
        da[t] = np.concatenate([dr, du, dn], axis=1)
        ds = np.concatenate([dr, du, dn * r], axis=1)
        dU += h.T @ ds
        dc += ds.sum(axis=0)
        dh = u * dh + ds @ U.T
    return da, dh, dU, dc
