"""§7.2.5 Where the compiled step keeps things: every matrix in panels, every layer one record of offsets.

A matrix (R, N) is stored as [N / P][R][P]: P columns (two vectors) side by side, so that a row of a panel is two
registers. Weights (I, O) have the bias as row I, met by a column of ones at I in the input. Sizes are padded with zeros
that stay zero: a padded column of W has no cotangent, so Adam never moves it. Rows are padded to whole tall tiles and
made odd in number, since panels at a power of two apart would meet in a few sets of the cache. Padded rows of
activations hold whatever a tile left there: no sum over rows goes beyond the rows that are real.

What a product reads number by number (x, z, hidden outputs, and cotangents on their way to dx) has *strips* as well,
[R / MR][N + 1, to whole panels][MR]: `engine.tiles` says why.

The network is a list of groups in order: a hidden layer is a group of one; the heads of a net are a group that shares
its input. Records are in the order of the arena: q.hidden.*, q's heads, p.hidden.*, p's heads.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scratchvae.engine import tiles
from scratchvae.engine.jit import internal, jit
from scratchvae.types import Array

FIELDS = (
    "inputs", "outputs",
    "flat",  # where W, then b, lie in the flat arena
    "panels",  # panels of W and of dy; y has one more where its column of ones begins one
    "rows",  # rows of a panel of W: inputs, the bias, padding
    "weights",  # where W's panels lie
    "x", "y", "dy",  # where the panels of input, output and its cotangent lie in the workspace …
    "x_strips", "y_strips", "dy_strips",  # … and their strips
    "activation",  # code of a hidden layer; −1 for a head
    "prior",  # 1 where a MAP prior pulls the layer towards zero
)  # fmt: skip
LAYER = np.dtype([(name, np.int64) for name in FIELDS])
Place = tuple[int, int]  # where a matrix has its panels, and its strips
NOWHERE = -1  # the place of what nobody keeps
# in the order of the codes in `kernels.epilogues`
ACTIVATIONS = ("tanh", "relu", "leaky_relu", "elu", "softplus", "sigmoid", "identity")


class Layout(NamedTuple):
    """Offsets and sizes of one network and batch size; `capacity` is the rows of a panel of activations."""

    layers: Array  # LAYER records
    encoder: int  # hidden layers of q, its heads follow
    decoder: int  # index of p's first record
    heads: int  # index of p's first head
    capacity: int
    panel: int
    x: int  # workspace: the panels of the data …
    z: int  # … of z, with its column of ones
    eps: int  # … of ε
    dz: int  # … and of the cotangent of z
    weights: int  # floats in the weight panels
    work: int  # floats in the workspace
    parts: int  # panels of the data: partial sums of log p(x | z), one for each panel and row; then KL
    turned_room: int  # a panel of the largest Wᵀ
    noise_room: int  # normals that one thread draws at once, with room for a vector of blocks beyond
    word_room: int  # words of one row of the data, with room for two


def ceil_to(n: int, step: int) -> int:
    return -(-n // step) * step


class Builder:
    """Hands out workspace and appends records."""

    def __init__(self, rows: int, panel: int) -> None:
        self.panel, self.capacity = panel, ceil_to(rows, tiles.MR) | 1
        self.records: list[tuple[int, ...]] = []
        self.flat = self.weights = self.work = 0

    def take(self, columns: int) -> int:
        """Workspace for a matrix of that many columns."""
        start = self.work
        self.work += ceil_to(columns, self.panel) * self.capacity
        return start

    def take_strips(self, columns: int) -> int:
        """The same for its strips."""
        start = self.work
        self.work += ceil_to(columns + 1, self.panel) * (self.capacity - 1)
        return start

    def layer(self, x: Place, y: Place, inputs: int, outputs: int, activation: int, prior: int) -> None:
        """Append a record."""
        dy, dy_strips = self.take(outputs), self.take_strips(outputs)
        panels, rows = -(-outputs // self.panel), ceil_to(inputs + 1, tiles.MR_SHORT) | 1
        where = (x[0], y[0], dy, x[1], y[1], dy_strips)
        self.records.append((inputs, outputs, self.flat, panels, rows, self.weights, *where, activation, prior))
        self.flat += (inputs + 1) * outputs
        self.weights += panels * rows * self.panel

    def hidden(self, x: Place, sizes: tuple[int, ...], activation: str, prior: int) -> Place:
        """The hidden layers of a net; returns where the last output lies."""
        for inputs, width in pairwise(sizes):
            y = self.take(width + 1), self.take_strips(width)
            self.layer(x, y, inputs, width, ACTIVATIONS.index(activation), prior)
            x = y
        return x


def layout(
    columns: int, latent: int, hidden: tuple[int, ...], activation: str, heads: int, prior: bool, rows: int, dtype: str
) -> Layout:
    """The layout for x → hidden → (μ, log σ²) → z → reversed hidden → `heads` heads, with at most `rows` rows."""
    b = Builder(rows, tiles.panel(np.dtype(dtype)))
    x, z, eps, dz = b.take(columns + 1), b.take(latent + 1), b.take(latent), b.take(latent)
    last = b.hidden((x, b.take_strips(columns)), (columns, *hidden), activation, 0)
    for _ in ("mu", "log_var"):
        b.layer(last, (b.take(latent), NOWHERE), (columns, *hidden)[-1], latent, -1, 0)
    last = b.hidden((z, b.take_strips(latent)), (latent, *hidden[::-1]), activation, int(prior))
    for _ in range(heads):  # a likelihood reads what they give, tile by tile
        b.layer(last, (NOWHERE, NOWHERE), (latent, *hidden[::-1])[-1], columns, -1, int(prior))
    records, n = np.array(b.records, LAYER), len(hidden)
    parts = -(-columns // b.panel) + -(-latent // b.panel)
    sizes = (ceil_to(b.weights, 64) + 64 * b.panel, b.work + 64 * b.panel)
    widest = max(int(l["panels"]) for l in records) * b.panel**2
    rooms = (widest, rows * ceil_to(latent, 4) + 64, ceil_to(columns, 4) + 128)
    return Layout(records, n, n + 2, 2 * n + 2, b.capacity, b.panel, x, z, eps, dz, *sizes, parts, *rooms)


def set_ones(lay: Layout, work: Array) -> None:
    """Write the columns of ones that meet the biases (they also come again with each output, save in whole panels)."""
    for layer in lay.layers:
        column, depth = int(layer["inputs"]), ceil_to(int(layer["inputs"]) + 1, lay.panel)
        panel = int(layer["x"]) + column // lay.panel * lay.capacity * lay.panel
        work[panel + column % lay.panel : panel + lay.capacity * lay.panel : lay.panel] = 1
        strips = work[int(layer["x_strips"]) :][: depth * (lay.capacity - 1)]
        strips.reshape(-1, depth, tiles.MR)[:, column] = 1


@internal
def copy(a: Array, at: int, b: Array, to: int, size: int) -> None:
    """b[to : to + size] = a[at : at + size]; unsigned indices are not wrapped, so the loop becomes vectors."""
    for j in range(size):
        b[np.uintp(to + j)] = a[np.uintp(at + j)]


@jit
def convert(layers: Array, panel: int, flat: Array, panels: Array, pack: bool, t: int, threads: int) -> None:
    """Flat (in, out) arrays, each W followed by its b, into panels, or back: exact. Padding is left alone.

    Thread t takes a run of panels, row by row: the flat side is read in order, each panel is a stream of its own.
    """
    for l in range(layers.size):
        layer = layers[l]
        for i in range(layer.inputs + 1):
            for p in range(layer.panels * t // threads, layer.panels * (t + 1) // threads):
                size = min(panel, layer.outputs - p * panel)
                at, to = layer.flat + i * layer.outputs + p * panel, layer.weights + (p * layer.rows + i) * panel
                if pack:
                    copy(flat, at, panels, to, size)
                else:
                    copy(panels, to, flat, at, size)
