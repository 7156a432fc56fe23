"""§7.2.5 Convolution as a pure pair, over images that are rows: one value after the other, channels last (NHWC).

    y = conv x,   y_{v,u,o} = Σ_{i,j,c} W_{ijco} x_{s·v + i − pad, s·u + j − pad, c}        ⟨y, conv x⟩ = ⟨convᵀ y, x⟩

Taken by patches (im2col) conv is a dense layer. The transposed convolution of a decoder is conv's dx: one function in
two roles, so each is the other's way back, and W has the same cotangent in both. An image of H rows becomes one of
⌈H/s⌉, and convᵀ knows the H that it leads back to: 28 → 14 → 7 → 4 → 7 → 14 → 28, exactly.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .kernels import NUMPY, Kernels
from .types import Array

FITS = 1 << 18  # numbers of a block's patches: they stay in the second-level cache (measured at 2^16 … 2^22)


class Geometry(NamedTuple):
    """A large image, and the small one of `channels` that conv makes of it. A kernel that the stride divides gives each
    place as many terms as its neighbours: no chequerboard."""

    image: tuple[int, int, int]  # (H, W, C) of the large one
    channels: int
    kernel: int = 4
    stride: int = 2
    pad: int = 1  # zeros before the first row and column; after the last as many as the last patch reads

    @property
    def small(self) -> tuple[int, int, int]:
        """(⌈H/s⌉, ⌈W/s⌉, channels)."""
        H, W, _ = self.image
        return -(-H // self.stride), -(-W // self.stride), self.channels

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """The shape of W."""
        return self.kernel, self.kernel, self.image[2], self.channels

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns that hold the image, and every patch whole."""
        reach = self.kernel - self.stride
        sizes = zip(self.small[:2], self.image[:2], strict=True)
        tall, wide = (max(self.stride * n + reach, self.pad + size) for n, size in sizes)
        return tall, wide


class Conv(NamedTuple):
    """The parameters of a convolution, or of its transpose, or their cotangents."""

    W: Array  # (kernel, kernel, channels of the large image, of the small one)
    b: Array  # one for each channel of the result, or one for each of its values
    geometry: Geometry
    transposed: bool = False  # from the small image to the large one


def conv(x: Array, p: Conv, k: Kernels = NUMPY) -> Array:
    """y = conv x + b, or convᵀ x + b; x (..., values of the one image), returns (..., values of the other)."""
    rows = x.reshape(-1, x.shape[-1])
    y = (up if p.transposed else down)(rows, p, k)
    return (y.reshape(-1, p.b.size) + p.b).reshape(*x.shape[:-1], y.shape[1])


def conv_vjp_params(dy: Array, x: Array, dp: Conv, k: Kernels = NUMPY) -> None:
    """dW += patches(large)ᵀ small, db += 1ᵀ dy; of x and dy one is the large image, the other the small."""
    x, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    large, small = (dy, x) if dp.transposed else (x, dy)
    O = dp.geometry.channels
    dW, spare = dp.W.reshape(-1, O), np.zeros(O, dp.W.dtype)
    for part in blocks(len(x), dp.geometry):
        seen = patches(large[part], dp.geometry)
        k.dense_vjp_params(small[part].reshape(-1, O), seen, dW, spare)
    np.add(dp.b, dy.reshape(-1, dp.b.size).sum(axis=0), out=dp.b)


def conv_vjp(dy: Array, x: Array, p: Conv, dp: Conv | None, k: Kernels = NUMPY) -> Array:
    """Of `conv`: adds into dp's arrays (spared where it is None), returns dx = convᵀ dy, or conv dy."""
    if dp is not None:
        conv_vjp_params(dy, x, dp, k)
    return (down if p.transposed else up)(dy.reshape(-1, dy.shape[-1]), p, k).reshape(x.shape)


def down(x: Array, p: Conv, k: Kernels = NUMPY) -> Array:
    """conv x without its bias: rows of large images to rows of small ones."""
    W = p.W.reshape(-1, p.geometry.channels)
    none = np.zeros(W.shape[1], W.dtype)
    y = np.empty((len(x), math.prod(p.geometry.small)), np.result_type(x, W))
    for part in blocks(len(x), p.geometry):
        y[part] = k.dense(patches(x[part], p.geometry), W, none).reshape(-1, y.shape[1])
    return y


def up(y: Array, p: Conv, k: Kernels = NUMPY) -> Array:
    """convᵀ y without its bias: rows of small images to rows of large ones."""
    W = p.W.reshape(-1, p.geometry.channels)
    x = np.empty((len(y), math.prod(p.geometry.image)), np.result_type(y, W))
    for part in blocks(len(y), p.geometry):
        x[part] = patches_vjp(k.dense_vjp_x(y[part].reshape(-1, W.shape[1]), W), p.geometry)
    return x


# p_{v,u,i,j,c} = x_{s·v + i − pad, s·u + j − pad, c}, 0 beyond the edges
#   linear in x    so    ∂L/∂x at a place = Σ of dp over all patches that hold the place


def patches(x: Array, g: Geometry) -> Array:
    """(N h w, kernel kernel C), one row a place of the small image, of rows x (N, H W C)."""
    (H, W, C), (h, w, _), (n, a) = g.image, g.small, (g.kernel, g.stride)
    around: Array = np.zeros((len(x), *g.padded, C), x.dtype)
    around[:, g.pad : g.pad + H, g.pad : g.pad + W] = x.reshape(-1, H, W, C)
    row, down, across, value = around.strides
    steps = (row, a * down, a * across, down, across, value)
    return np.lib.stride_tricks.as_strided(around, (len(x), h, w, n, n, C), steps).reshape(-1, n * n * C)


def patches_vjp(dp: Array, g: Geometry) -> Array:
    """dx (N, H W C), from dp (N h w, kernel kernel C): summed in the order of the kernel's rows and columns."""
    (H, W, C), (h, w, _), (n, a) = g.image, g.small, (g.kernel, g.stride)
    dp = dp.reshape(-1, h, w, n, n, C)
    around: Array = np.zeros((len(dp), *g.padded, C), dp.dtype)
    for i in range(n):
        for j in range(n):
            around[:, i : i + a * h : a, j : j + a * w : a] += dp[:, :, :, i, j]
    return around[:, g.pad : g.pad + H, g.pad : g.pad + W].reshape(len(dp), H * W * C)


def blocks(rows: int, g: Geometry) -> Iterator[slice]:
    """Rows that are taken at once, always the same ones: dW is summed in one order."""
    many = max(1, FITS // (math.prod(g.small[:2]) * g.kernel**2 * g.image[2]))
    return (slice(i, i + many) for i in range(0, rows, many))
