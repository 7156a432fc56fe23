"""§7.2.5 Convolution and its transpose, of odd and even images, and the bound of a VAE made of them."""

from collections.abc import Iterator
from typing import Any

from ...conditional import Net
from ...convolution import Conv, Geometry, conv, conv_vjp, conv_vjp_params, patches, patches_vjp
from ...models.vae import Architecture
from ...networks import affine, affine_vjp, affine_vjp_params
from ...types import Array
from .. import accumulating
from . import Case, at
from .vae import DATA, ROWS, bound, bound_vjp

SIZES = (Geometry((5, 4, 2), 3), Geometry((4, 3, 1), 2, kernel=3, stride=1), Geometry((5, 5, 1), 2, kernel=2, pad=0))


def parameters(g: Geometry, transposed: bool, seed: int) -> Conv:
    """Fixed weights, and a bias for each channel."""
    return Conv(at(seed, *g.weights) / 4, at(seed + 1, g.image[2] if transposed else g.channels), g, transposed)


def cases() -> Iterator[Case]:
    """Both directions at three sizes, a bias for each value, and whole bounds of one image with and without colour."""
    for i, g in enumerate(SIZES):
        (H, W, C), (h, w, O) = g.image, g.small
        there = lambda dp, x, g: (patches_vjp(dp, g), None)  # noqa: E731
        yield Case(f"convolution.patches[{H} by {W}]", patches, there, (at(70 + i, 2, H * W * C), g), constants=("g",))
        for transposed in (False, True):
            p = parameters(g, transposed, 72 + i)
            x = at(76, 2, h * w * O if transposed else H * W * C)
            label, fixed = f"{'transposed, ' * transposed}{H} by {W}", ("p.geometry", "p.transposed")
            yield Case(f"convolution.conv[{label}]", conv, accumulating(conv_vjp, into=(1,)), (x, p), constants=fixed)
            yield Case(
                f"networks.affine[{label}]", affine, accumulating(affine_vjp, into=(1,)), (x, p), constants=fixed
            )
            for name, f, back in (
                ("convolution.conv", conv, conv_vjp_params),
                ("networks.affine", affine, affine_vjp_params),
            ):
                yield Case(f"{name}[{label}, params]", f, params_only(back), (x, p), constants=("x", *fixed))
    for likelihood, image in (("bernoulli", (5, 3)), ("gaussian", (3, 2, 2))):
        columns = 15 if likelihood == "bernoulli" else 12
        a = Architecture(columns, 2, (3,), "tanh", likelihood, 0.3, network="conv:2,3", image=image)
        views = {n: at(800 + i, *s) / (4 if len(s) > 1 else 10) for i, (n, s) in enumerate(a.shapes().items())}
        phi, theta = a.nets(views)
        args = abs(at(61, ROWS, columns)) - 0.5, at(62, ROWS, 2), phi, theta
        vjp = accumulating(bound_vjp, into=(2, 3))
        constant = (*DATA, *whole(phi, "phi"), *whole(theta, "theta"))
        yield Case(f"vae.elbo[{likelihood}, convolutional]", bound, vjp, args, constants=constant)


def whole(net: Net, name: str) -> list[str]:
    """What is no number to take a slope by in a net's convolutions."""
    layers = {f"{name}.{part}.{i}": p for part in ("hidden", "heads") for i, p in enumerate(getattr(net, part))}
    return [f"{at}.{field}" for at, p in layers.items() if isinstance(p, Conv) for field in ("geometry", "transposed")]


def params_only(back: Any) -> Any:
    """The half that the first layer uses: x gets no cotangent."""

    def vjp(dy: Array, x: Array, p: Conv, dp: Conv) -> None:
        back(dy, x, dp)

    return accumulating(vjp, into=(1,))
