"""§7.3 A model placed: every net, every latent layer and every cotangent of a step gets its room.

The VAE is the ladder with one arrow each way. Beside the model lie what an estimator asks for: a second cotangent of
q's upper nets where φ and z have weights of their own (sticking the landing, DReG), a learned baseline's network, and
the decoder once more for z with one latent moved (measure-valued).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchvae.estimators.baselines import UNITS
from scratchvae.fast.layout import LATENT, LAYER, Builder, Net, Place
from scratchvae.models.ladder import LadderArchitecture
from scratchvae.models.vae import Architecture
from scratchvae.types import Array


@dataclass
class Wants:
    """What an estimator asks for beside the model."""

    analytic: bool  # KL in closed form
    path: bool  # z's cotangent
    apart: bool  # φ's and z's cotangents differ
    network: bool  # a learned baseline with a network
    moved: bool  # z with one latent moved
    weighed: bool  # θ's weights hang on r: dW is that of an input times them


@dataclass
class Placed:
    """A model's records; nets from x upwards."""

    b: Builder
    columns: int
    sizes: tuple[int, ...]  # of the latent layers
    x: Place
    target: int
    z: list[Place] = field(default_factory=list)
    q: list[Net] = field(default_factory=list)
    p: list[Net] = field(default_factory=list)
    weighed: list[tuple[int, ...]] = field(default_factory=list)  # p's heads, their input times θ's weights
    shadows: dict[int, Net] = field(default_factory=dict)  # of q's nets, by their number
    baseline: Net = field(default_factory=lambda: Net((), ()))
    moved: Net = field(default_factory=lambda: Net((), ()))
    latents: list[dict[str, int]] = field(default_factory=list)
    draws: list[tuple[int, int]] = field(default_factory=list)  # (columns, where) of each run of a sample's normals
    owners: int = 0  # so many layers own their weights: the first
    parts: int = 0  # rows of `Workspace.parts` that add up to r

    def layers(self) -> Array:
        """LAYER records."""
        return np.array(self.b.layers, LAYER)

    def latent_records(self) -> Array:
        """LATENT records."""
        assert LATENT.names
        return np.array([tuple(z.get(name, -1) for name in LATENT.names) for z in self.latents], LATENT)


def nets_of(a: Architecture | LadderArchitecture) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Sizes of the latent layers from x upwards, and of the hidden layers of the net to each."""
    if isinstance(a, LadderArchitecture):
        return a.latent, a.hidden
    return (a.latent,), (a.hidden,)


def place(
    a: Architecture | LadderArchitecture, rows: int, dtype: str, heads: int, prior: bool, missing: bool, wants: Wants
) -> Placed:
    """Room for at most `rows` rows; `heads` of p(x | z); `prior` pulls p's weights towards zero."""
    b = Builder(rows, dtype)
    sizes, hidden = nets_of(a)
    below, activation = (a.columns, *sizes), a.activation
    x = b.place(a.columns, ones=True)
    made = Placed(b, a.columns, sizes, x, b.take(a.columns) if missing else x.panels)
    made.z = [b.place(size, ones=True) for size in sizes]
    places, owner = [x, *made.z], "prior" if prior else ""
    for l, size in enumerate(sizes):
        made.q.append(b.net(places[l], (below[l], *hidden[l]), (size, size), activation, keep=True))
    for l, size in enumerate(sizes):
        outputs = (below[l],) * (2 if l else heads)
        made.p.append(b.net(places[l + 1], (size, *hidden[l][::-1]), outputs, activation, owner))
    if wants.network:
        y, out = b.place(UNITS, ones=True), b.place(1, ones=True)
        one = b.layer(x, y, (a.columns, UNITS), 0, "baseline")
        made.baseline = Net((one,), (b.layer(y, out, (UNITS, 1), -1, "baseline"),))
    made.owners = len(b.layers)
    if wants.weighed:
        made.weighed = [b.weighed(net.heads) for net in made.p]
    if wants.apart:
        for l in range(1, len(sizes)):
            widths = (below[l], *hidden[l])
            made.shadows[l] = b.net(places[l], widths, (sizes[l],) * 2, activation, "", made.q[l], same_outputs=True)
    place_latents(made, wants)
    if wants.moved:
        place_moved(made, hidden[0], activation, heads)
    return made


def place_latents(made: Placed, wants: Wants) -> None:
    """The records of the latent layers, and the rows of `parts`: log p(x | z), the densities between, q's."""
    b, sizes, last = made.b, made.sizes, len(made.sizes) - 1
    count = panels(made.columns, b) + sum(panels(size, b) for size in sizes[:-1])
    for l, size in enumerate(sizes):
        z = {"columns": size, "eps": b.take(size), "z": made.z[l].panels, "packed_z": made.z[l].packed}
        z |= dict(zip(("mu", "log_var"), made.q[l].heads, strict=True))
        if l in made.shadows:
            z |= dict(zip(("shadow_mu", "shadow_log_var"), made.shadows[l].heads, strict=True))
        if wants.path:
            z["dparent"] = b.take(size)
        if l < last:
            z |= {"dvalue": b.take(size)} | ({"dbelow": b.take(size)} if wants.path else {})
        z |= {"fan": int(l == 0), "top": int(l == last), "analytic": int(wants.analytic and l == last), "parts": count}
        made.latents.append(z)
        made.draws.append((size, z["eps"]))
        count += panels(size, b)
    made.parts = count


def place_moved(made: Placed, hidden: tuple[int, ...], activation: str, heads: int) -> None:
    """The decoder once more, at z with one latent moved, and two more normals for each latent."""
    b, size, z = made.b, made.sizes[0], made.b.place(made.sizes[0], ones=True)
    made.draws += [(size, b.take(size)) for _ in range(2)]
    widths = (size, *hidden[::-1])
    made.moved = b.net(z, widths, (made.columns,) * heads, activation, shadow_of=made.p[0])
    at = made.parts + panels(made.columns, b)
    made.latents.append({"columns": size, "z": z.panels, "packed_z": z.packed, "parts": at})


def panels(columns: int, b: Any) -> int:
    """Micropanels of so many columns."""
    return -(-columns // int(b.panel))
