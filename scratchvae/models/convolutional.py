"""§7.3 A VAE whose encoder and decoder are convolutional: the layers of its two nets, by name and shape.

    q: image → conv → … → conv → dense `hidden` → heads        p: z → dense, mirrored → convᵀ → … → heads, each a convᵀ

Rows are images, channels last. A head of the decoder has its own bias for each value, as that of an mlp has, so that it
starts at the mean of the data. All else, bound and estimators, sees a `Net` as ever.
"""

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from ..conditional import Family, Net
from ..convolution import Conv, Geometry
from ..errors import UsageError
from ..networks import Dense, Layer
from ..types import Array

if TYPE_CHECKING:
    from .vae import Architecture

CHANNELS = (32, 64)
Planned = Geometry | tuple[int, int]  # of a convolution its geometry, of a dense layer in and out
Plan = dict[str, Planned]  # a net's layers by name


def channels(network: str) -> tuple[int, ...]:
    """ "conv" → (32, 64), "conv:16,32,64" → those, "mlp" → (). Raises UsageError for what is neither."""
    if network == "mlp":
        return ()
    name, _, given = network.partition(":")
    sizes = given.split(",") if given else [str(size) for size in CHANNELS]
    sound = all(size.isdecimal() and 0 < int(size) < 2**16 for size in sizes)
    if name != "conv" or network.endswith(":") or not sound:
        raise UsageError(f"network={network!r}: expected mlp, conv, or channels from the image inwards, as conv:32,64")
    return tuple(map(int, sizes))


def as_image(image: tuple[int, ...] | None, columns: int) -> tuple[int, int, int]:
    """(H, W, C) of rows of so many columns. Raises UsageError where they are no images."""
    way = "give --image H,W or H,W,C (image=(H, W) in Python), or --network mlp"
    if not image:
        raise UsageError(f"network conv wants images, and nothing says how {columns} columns are one: {way}")
    if len(image) == 3 and image[0] in (1, 3) and image[2] > 4:
        raise UsageError(f"network conv wants channels last, and an image here is {image}: give rows of H, W, C")
    if len(image) not in (2, 3) or math.prod(image) != columns:
        kept = "; constant columns are dropped unless --no-standardise" if math.prod(image) > columns else ""
        raise UsageError(f"network conv wants images, and {columns} columns are none of {image}: {way}{kept}")
    H, W, C = (*image, 1)[:3]
    return H, W, C


def plans(a: "Architecture") -> tuple[Plan, Plan]:
    """The layers of the encoder and of the decoder."""
    (seen, *_), q, latent = a.encoder
    (codes, *_), p, columns = a.decoder
    H, W, C = as_image(a.image, columns)
    geometries: list[Geometry] = []
    large = (H, W, seen // (H * W))
    for O in channels(a.network):
        geometries.append(Geometry(large, O))
        large = geometries[-1].small
    first, *inner = geometries
    widths = (math.prod(large), *a.hidden)
    back = (codes, *widths[::-1])
    into: list[Planned] = [*geometries, *pairwise(widths)]
    out: list[Planned] = [*pairwise(back), *inner[::-1]]
    encoder, decoder = ({f"hidden.{l}": layer for l, layer in enumerate(layers)} for layers in (into, out))
    encoder |= {head: (widths[-1], width) for head, width in q.widths(latent).items()}
    decoder |= {head: first._replace(image=(H, W, width // (H * W))) for head, width in p.widths(H * W * C).items()}
    return encoder, decoder


def shapes(a: "Architecture") -> dict[str, tuple[int, ...]]:
    """Every parameter's name and shape: "q.hidden.0.W" (4, 4, 1, 32) … "p.logits.b" (D,)."""
    found: dict[str, tuple[int, ...]] = {}
    for prefix, plan in zip("qp", plans(a), strict=True):
        for name, layer in plan.items():
            W: tuple[int, ...] = layer.weights if isinstance(layer, Geometry) else layer
            out = W[-1]
            if isinstance(layer, Geometry) and prefix == "p":
                out = layer.image[2] if name.startswith("hidden.") else math.prod(layer.image)
            found |= {f"{prefix}.{name}.W": W, f"{prefix}.{name}.b": (out,)}
    return found


def nets(a: "Architecture", views: dict[str, Array]) -> tuple[Net, Net]:
    """(phi, theta) over named arrays."""
    encoder, decoder = plans(a)
    phi = view("q", encoder, a.encoder[1], views)
    theta = view("p", decoder, a.decoder[1], views)
    return Net(*phi, a.activation, a.encoder[1], a.enter), Net(*theta, a.activation, a.decoder[1], a.circle)


def view(
    prefix: str, plan: Plan, family: Family, views: dict[str, Array]
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """A net's hidden layers, and its heads."""
    found: dict[str, Layer] = {}
    for name, layer in plan.items():
        W, b = views[f"{prefix}.{name}.W"], views[f"{prefix}.{name}.b"]
        found[name] = Conv(W, b, layer, prefix == "p") if isinstance(layer, Geometry) else Dense(W, b)
    hidden = tuple(layer for name, layer in found.items() if name.startswith("hidden."))
    return hidden, tuple(found[head] for head in family.heads)
