"""§7.3 Where a step keeps things: every matrix in micropanels, every layer and every latent one record of offsets.

A matrix (R, N) is stored as [N / P][R][P]: P columns (two vectors) side by side, so that a row of a micropanel is two
registers. Weights (I, O) have the bias as row I, met by a column of ones at I in the input. Sizes are padded with zeros
that stay zero: a padded column of W has no cotangent, so no optimizer moves it. Rows are padded to whole tall tiles and
made odd in number, since micropanels at a power of two apart would meet in a few sets of the cache. Padded rows of
activations hold whatever a tile left there: no sum over rows goes beyond the rows that are real.

What a product reads number by number (x, z, hidden outputs, and cotangents on their way to dx) is also *packed*,
[R / MR][N + 1, to whole micropanels][MR]: `engine.tiles` says why.

The VAE is the ladder with one arrow each way (`models.ladder`). Layers are records in the order of the arena: the nets
of q from x upwards, then those of p. A *shadow* of a layer shares its weights and has matrices of its own: the same net
at other rows, or with a second cotangent.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scratchvae.engine import tiles
from scratchvae.engine.jit import internal, jit
from scratchvae.networks import ACTIVATIONS
from scratchvae.types import Array


class Layer(NamedTuple):
    """One layer: its sizes, and where its matrices lie."""

    inputs: int
    outputs: int
    flat: int  # where W, then b, lie in the flat arena
    panels: int  # micropanels of W and of dy; y has one more where its column of ones begins one
    rows: int  # rows of a micropanel of W: inputs, the bias, padding
    weights: int  # where W's micropanels lie
    x: int  # where the micropanels of input, output and its cotangent lie in the workspace …
    y: int
    dy: int
    packed_x: int  # … and the same packed
    packed_y: int
    packed_dy: int
    activation: int  # its number in networks.ACTIVATIONS; −1 for a head
    prior: int  # 1 where a MAP prior pulls the layer towards zero
    baseline: int  # 1 where a learned baseline owns it, which has an optimizer of its own


LAYER = np.dtype([(name, np.int64) for name in Layer._fields])

# What is known of one latent layer z: places are micropanels in the workspace, −1 where there is none.
LATENT = np.dtype([(name, np.int64) for name in (
    "columns", "eps", "z", "packed_z",
    "mu", "log_var",  # q's heads, numbers of layers …
    "shadow_mu", "shadow_log_var",  # … and of their shadows
    "dparent",  # dz as the parent of what lies below, through p
    "dvalue",  # dz as a value under p, given what lies above
    "dbelow",  # dz as what q's next net reads
    "fan",  # 1 where each row of q has S samples, as of q(z₁ | x); 0 where each has its own row
    "top",  # 1 where z's prior is N(0, I)
    "analytic",  # 1 where KL(q ‖ N(0, I)) is taken in closed form
    "parts",  # its first row of `Workspace.parts`
)])  # fmt: skip


class Place(NamedTuple):
    """Where a matrix has its micropanels, and where it is packed."""

    panels: int
    packed: int


NOWHERE = Place(-1, -1)


class Net(NamedTuple):
    """The numbers of a net's layers."""

    hidden: tuple[int, ...]
    heads: tuple[int, ...]


def ceil_to(n: int, step: int) -> int:
    return -(-n // step) * step


class Builder:
    """Hands out the workspace and appends records; `rows` is the most that any matrix has."""

    def __init__(self, rows: int, dtype: str) -> None:
        self.panel, self.capacity = tiles.panel(np.dtype(dtype)), ceil_to(rows, tiles.MR) | 1
        self.layers: list[Layer] = []
        self.flat = self.weights = self.work = self.widest = 0

    def take(self, columns: int) -> int:
        """Room for the micropanels of a matrix of that many columns."""
        start = self.work
        self.work += ceil_to(columns, self.panel) * self.capacity
        return start

    def place(self, columns: int, ones: bool = False) -> Place:
        """Room for a matrix, packed as well; with `ones` for a column of them after the last."""
        start = self.take(columns + ones)
        packed = self.work
        self.work += ceil_to(columns + 1, self.panel) * (self.capacity - 1)
        return Place(start, packed)

    def layer(
        self, x: Place, y: Place, sizes: tuple[int, int], activation: int, owner: str, shadow_of: int | None = None
    ) -> int:
        """Append a record, of a shadow with the weights of another; returns its number."""
        (inputs, outputs), dy = sizes, self.place(sizes[1])
        panels, rows = -(-outputs // self.panel), ceil_to(inputs + 1, tiles.MR_SHORT) | 1
        flat, weights = self.flat, self.weights
        if shadow_of is None:
            self.flat += (inputs + 1) * outputs
            self.weights += panels * rows * self.panel
            self.widest = max(self.widest, panels)
        else:
            flat, weights = self.layers[shadow_of].flat, self.layers[shadow_of].weights
        places = (x.panels, y.panels, dy.panels, x.packed, y.packed, dy.packed)
        owned = int(owner == "prior"), int(owner == "baseline")
        self.layers.append(Layer(inputs, outputs, flat, panels, rows, weights, *places, activation, *owned))
        return len(self.layers) - 1

    def weighed(self, heads: tuple[int, ...]) -> tuple[int, ...]:
        """Heads as those, but for an input of their own: the same times the samples' weights."""
        x, first = self.take(self.layers[heads[0]].inputs + 1), len(self.layers)
        self.layers += [self.layers[layer]._replace(x=x) for layer in heads]
        return tuple(range(first, len(self.layers)))

    def net(
        self,
        x: Place,
        sizes: tuple[int, ...],
        heads: tuple[int, ...],
        activation: str,
        owner: str = "",
        shadow_of: Net | None = None,
        same_outputs: bool = False,
        keep: bool = False,
    ) -> Net:
        """Hidden layers x → sizes[1] → …, then `heads` of those widths, whose outputs are kept if asked. A shadow
        shares weights, and with `same_outputs` what the hidden layers gave on the way forward."""
        hidden: list[int] = []
        code = ACTIVATIONS.index(activation)
        for i, pair in enumerate(pairwise(sizes)):
            other = shadow_of.hidden[i] if shadow_of else None
            made = self.layers[other] if other is not None and same_outputs else None
            y = Place(made.y, made.packed_y) if made else self.place(pair[1], ones=True)
            hidden.append(self.layer(x, y, pair, code, owner, other))
            x = y
        others = shadow_of.heads if shadow_of else [None] * len(heads)
        places = [Place(self.take(width), -1) if keep else NOWHERE for width in heads]
        found = [
            self.layer(x, place, (sizes[-1], width), -1, owner, other)
            for place, width, other in zip(places, heads, others, strict=True)
        ]
        return Net(tuple(hidden), tuple(found))


def set_ones(layers: Array, capacity: int, panel: int, work: Array) -> None:
    """Write the columns of ones that meet the biases (they also come again with each output, save where it fills
    its last micropanel)."""
    for layer in layers:
        column, depth = int(layer["inputs"]), ceil_to(int(layer["inputs"]) + 1, panel)
        at = int(layer["x"]) + column // panel * capacity * panel
        work[at + column % panel : at + capacity * panel : panel] = 1
        packed = work[int(layer["packed_x"]) :][: depth * (capacity - 1)]
        packed.reshape(-1, depth, tiles.MR)[:, column] = 1


@internal
def copy(a: Array, at: int, b: Array, to: int, size: int) -> None:
    """b[to : to + size] = a[at : at + size]; unsigned indices are not wrapped, so the loop becomes vectors."""
    for j in range(size):
        b[np.uintp(to + j)] = a[np.uintp(at + j)]


@jit
def convert(layers: Array, panel: int, flat: Array, panels: Array, to_panels: bool, t: int, threads: int) -> None:
    """Flat (in, out) arrays, each W followed by its b, into micropanels, or back: exact. Padding is left alone.

    Thread t takes a run of micropanels, row by row: the flat side is read in order, each of them is a stream.
    """
    for l in range(layers.size):
        layer = layers[l]
        for i in range(layer.inputs + 1):
            for p in range(layer.panels * t // threads, layer.panels * (t + 1) // threads):
                size = min(panel, layer.outputs - p * panel)
                at, to = layer.flat + i * layer.outputs + p * panel, layer.weights + (p * layer.rows + i) * panel
                if to_panels:
                    copy(flat, at, panels, to, size)
                else:
                    copy(panels, to, flat, at, size)
