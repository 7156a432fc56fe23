"""§7.2.4 Exercise 16: backpropagation through time, of a gated recurrent unit."""

from collections.abc import Iterator

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

HINTS = (
    "Go from the last step to the first, and carry one array, dh. A state is met three times: it was asked for, u "
    "kept a part of it, and U took it to all three gates of the next step.",
    "dh += dhs_t. Then dn = (1 − u) dh, du = (h − n) dh, each through its function by the gate's own value: 1 − n², "
    "u (1 − u). Of r: s_n times what reached the tanh. Before you go to t − 1: dh = u dh + ds Uᵀ.",
)
SLIPS = {
    "sigma' taken of sigma": Slip(
        "σ' was taken of what is σ already: σ(r) (1 − σ(r)) for r (1 − r)",
        "CaptainE#2",
        (("(r * (1 - r))", "(sigmoid(r) * (1 - sigmoid(r)))"),),
    ),
    "r of another unit": Slip(
        "the gate r has the place of another unit",
        "AiDotNet#722",
        (("dn * r]", "dn * np.roll(r, 1, axis=1)]"),),
    ),
    "one step back and no further": Slip(
        "what a state did to the states after the next one is lost",
        "Element-Research/rnn#31",
        (("dh = u * dh + ds @ U.T", "dh = ds @ U.T"),),
    ),
    "the gates of one step alone": Slip(
        "U's slope is that of one step: the others' are written over",
        "",
        (("dU += h.T @ ds", "dU = h.T @ ds"),),
    ),
    "the state after for the state before": Slip(
        "a step was given the state that it made for the one that it met",
        "",
        (("h = hs[t - 1] if t > 0 else h0", "h = hs[t]"),),
    ),
    "the input's slope goes through r": Slip(
        "r multiplies the state's share alone, and not the input's",
        "",
        (("[dr, du, dn], axis", "[dr, du, dn * r], axis"),),
    ),
}
T, B, H = 4, 2, 3


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Four steps of two rows, three units."""
    args = {"a": normals(T, B, 3 * H), "h0": normals(B, H), "U": normals(H, 3 * H), "c": normals(3 * H)}
    yield Pair(names["states"], names["states_vjp"], args)


def laws(names: Names) -> Iterator[Law]:
    """What a unit does where a gate is shut."""
    normals = drawing(16)
    a, h0, U, c = normals(T, B, 3 * H), normals(B, H), 0 * normals(H, 3 * H), 0 * normals(3 * H)
    kept, fresh = a.copy(), a.copy()
    kept[..., H : 2 * H], fresh[..., H : 2 * H] = 50, -50
    off = float(np.abs(names["states"](kept, h0, U, c)[-1] - h0).max())
    yield Law(off < 1e-12, f"with u = 1 a state stays what it is; yours is {off:.1e} off")
    off = float(np.abs(names["states"](fresh, h0, U, c) - np.tanh(a[..., 2 * H :])).max())
    yield Law(off < 1e-12, f"with u = 0 and no U a state is tanh(a_n); yours is {off:.1e} off")


EXERCISE = Exercise(
    16, "through_time", "Backpropagation through time", "§7.2.4", ("states", "states_vjp"), HINTS, pairs, laws, SLIPS
)
