"""§7.3.1 Pictures: functions take `ax=None`, return the Axes, never call show. Only this module needs matplotlib."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .errors import UsageError
from .training.checkpoint import replacing
from .types import Array

DPI = 120


def axes(ax: Any = None, size: tuple[float, float] = (6, 4)) -> Any:
    """`ax` itself, or the Axes of a new figure of that size, inches."""
    return figure(size).add_subplot() if ax is None else ax


def figure(size: tuple[float, float], layout: Any = "constrained") -> Any:
    """A figure made without pyplot, so nothing lingers and nothing is shown. Raises UsageError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures need matplotlib: pip install 'scratchvae[plot]'") from None
    made = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(made)
    return made


def save(ax: Any, path: str | Path | IO[bytes], dpi: int = DPI) -> None:
    """Write the figure that `ax` stands in, whole or not at all. Raises UsageError where that cannot be."""
    if not isinstance(path, str | Path):
        ax.figure.savefig(path, dpi=dpi)
        return
    with replacing(path) as file:
        ax.figure.savefig(file, dpi=dpi, format=Path(path).suffix[1:] or None)


def plot_bound(metrics: Sequence[dict[str, Any]], ax: Any = None) -> Any:
    """Train and test bound against samples seen, as in Figure 2 of Kingma & Welling 2014."""
    ax = axes(ax)
    from matplotlib import ticker

    seen = [m["samples_seen"] for m in metrics]
    train = [m["train_elbo"] for m in metrics]
    ax.plot(seen, train, ".-", ms=3, color="tab:gray", label="train, minibatches since the last point")
    if "validation_elbo" in metrics[-1]:
        ax.plot(seen, [m["validation_elbo"] for m in metrics], ".-", ms=3, color="tab:blue", label="held out")
    if "test_elbo" in metrics[-1]:  # a fit without test rows has none
        ax.plot(seen, [m["test_elbo"] for m in metrics], "o-", ms=3, color="tab:red", label="test")
    ax.set(xscale="log", xlabel="training samples seen", ylabel="bound L, nats per datapoint")
    few = bool(seen) and max(seen) < 100 * min(seen)  # matplotlib's own labels overlap below two decades
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def image_of(shape: tuple[int, ...], columns: int) -> tuple[int, ...] | None:
    """The shape of one datum of that many columns as that of an image: (h, w), or in colour (h, w, 3) or (3, h, w); an
    axis of one colour is left out. None where it is no image."""
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        shape = shape[:2] if shape[2] == 1 else shape[1:]
    image = len(shape) == 2 or (len(shape) == 3 and 3 in (shape[0], shape[2]))
    return shape if image and math.prod(shape) == columns else None


def pictured(rows: Array, shape: tuple[int, ...]) -> Array:
    """Rows (N, D) as images (N, h, w), or in colour (N, h, w, 3); `shape` is `image_of`'s: of two axes of 3 the last is
    that of the colours."""
    images = rows.reshape(len(rows), *shape)
    return np.moveaxis(images, 1, 3) if len(shape) == 3 and shape[2] != 3 else images


def tile(images: Array, shape: tuple[int, ...], columns: int, gap: int = 1) -> Array:
    """Rows (N, D) in [0, 1] as one picture of `columns` images a line, (H, W) or (H, W, 3), white between them."""
    images = pictured(images, shape)
    height, width = images.shape[1:3]
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    sheet = np.ones((lines * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:]))
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def grey_levels(x: Array) -> Array:
    """x for a picture, in [0, 1]: cut off where a Gaussian's mean leaves that range, what is missing (NaN) in mid-grey.

    Data of another range, by more than 1, are stretched from their least value to their largest; there every grey is
    a value, and what is missing stays NaN, which is left white.
    """
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if low >= -1 and high <= 2:
        return np.where(np.isnan(x), 0.5, np.clip(x, 0, 1))
    return (x - low) / (high - low or 1)


def plot_images(
    images: Array, shape: tuple[int, ...], columns: int = 10, title: str = "", gap: int = 1, ax: Any = None
) -> Any:
    """A sheet of images, rows (N, D) in [0, 1], white on black or, by `shape` (see `image_of`), in colour; of other
    data see `grey_levels`."""
    sheet = tile(grey_levels(images), shape, columns, gap)
    if sheet.ndim == 3:  # matplotlib has no colour for a missing one
        sheet = np.where(np.isnan(sheet), 1, sheet)
    if ax is None:  # a pixel of an image is a whole number of pixels at DPI: else some lines are thicker than others
        zoom, head = max(1, round(960 / max(sheet.shape))), 0.3 if title else 0.0
        height, width = (n * zoom / DPI for n in sheet.shape[:2])
        beside = max(0, round((0.07 * len(title) - width) * DPI / 2)) / DPI  # room for a title wider than the sheet
        whole, left = width + 2 * beside, beside / (width + 2 * beside)
        ax = figure((whole, height + head), None).add_axes((left, 0, width / whole, height / (height + head)))
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=9)
    return ax


def plot_latent(mu: Array, labels: Array | None = None, ax: Any = None) -> Any:
    """E[z | x] of many rows, mu (N, 2), in the plane of a 2-d latent, coloured by label (N,)."""
    ax = axes(ax, (6.5, 5.5))
    look = {"s": float(np.clip(20_000 / max(1, len(mu)), 4, 20)), "alpha": 0.7, "linewidths": 0}
    kinds, which = (None, None) if labels is None else np.unique(labels, return_inverse=True)
    if kinds is None:
        ax.scatter(mu[:, 0], mu[:, 1], **look)
    elif len(kinds) > 20:  # more than a legend can hold or an eye tell apart
        plain = kinds.dtype.kind in "biuf"
        bar = ax.figure.colorbar(ax.scatter(mu[:, 0], mu[:, 1], c=kinds[which] if plain else which, **look), ax=ax)
        bar.set_label("label")
        if not plain:  # text in its order, a few named
            ticks = np.linspace(0, len(kinds) - 1, 9).round().astype(int)
            bar.set_ticks(ticks, labels=[named(kinds[i]) for i in ticks])
    else:
        cmap, steps = ("tab10", 10) if len(kinds) <= 10 else ("tab20", 20)
        spots = ax.scatter(mu[:, 0], mu[:, 1], c=which, cmap=cmap, vmin=0, vmax=steps - 1, **look)
        handles = spots.legend_elements(num=None, markersize=6, alpha=1)[0]
        names = [named(kind) for kind in kinds]
        ax.legend(handles, names, title="label", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    ax.set(xlabel="E[z | x], latent 0", ylabel="E[z | x], latent 1", aspect="equal")
    return ax


def named(label: Any) -> str:
    """A label as text that matplotlib shows as it is: short, on one line, no formula, and not hidden by a "_"."""
    text = " ".join((label.decode("latin-1") if isinstance(label, bytes) else str(label)).split())
    text = (text if len(text) <= 24 else text[:23] + "…").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def plot_plane(
    density: tuple[Array, Array, Array] | None,
    draws: dict[str, Array],
    gaussians: dict[str, tuple[Array, Array]],
    names: Sequence[str] = ("z, latent 0", "z, latent 1"),
    ax: Any = None,
) -> Any:
    """p(z | x) in the plane of two latents: the exact density at (a (n,), b (m,)), (n, m), the draws (N, 2) of chains,
    and each Gaussian's (mean, standard deviation), (2,) each, as the ellipses of 1 and 2 standard deviations."""
    ax = axes(ax, (7, 6))
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse

    handles: list[Any] = []
    if density is not None:
        a, b, p = density
        levels = p.max() * np.exp(-0.5 * np.array([3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0]) ** 2)
        ax.contourf(a, b, p.T, levels, cmap="Greys", alpha=0.6)
        handles.append(Line2D([], [], color="0.5", lw=6, label="exact p(z | x): falls by exp(−t²/2), t = ½, 1, … 3"))
    for (name, z), colour, marker in zip(draws.items(), ("tab:blue", "tab:green"), ("o", "^"), strict=False):
        ax.plot(z[:, 0], z[:, 1], marker, ms=2, alpha=0.25, color=colour, mew=0)
        handles.append(Line2D([], [], marker=marker, ls="", color=colour, label=f"{len(z)} draws of {name}"))
    for (name, (mu, sd)), colour, style in zip(gaussians.items(), ("tab:red", "tab:orange"), ("--", "-"), strict=False):
        for width in (2, 4):
            ax.add_patch(Ellipse((mu[0], mu[1]), *(width * sd), fill=False, color=colour, ls=style, lw=1.8, zorder=3))
        handles.append(Line2D([], [], color=colour, ls=style, label=f"{name}, 1 and 2 standard deviations"))
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.grid(alpha=0.3)
    ax.legend(handles=handles, fontsize=8)
    return ax


def plot_line(
    density: tuple[Array, Array], draws: dict[str, Array], gaussians: dict[str, tuple[Array, Array]], ax: Any = None
) -> Any:
    """p(z | x) of one latent: the exact density at a (n,), (n,); draws (N, 1) as histograms, Gaussians as curves."""
    ax, (a, p) = axes(ax, (7, 4.5)), density
    for (name, z), colour in zip(draws.items(), ("tab:blue", "tab:green"), strict=False):
        ax.hist(z[:, 0], 60, density=True, histtype="stepfilled", alpha=0.3, color=colour, label=f"{len(z)} of {name}")
    ax.plot(a, p, color="black", lw=2.5, label="exact p(z | x)")
    for (name, (mu, sd)), colour, style in zip(gaussians.items(), ("tab:red", "tab:orange"), ("--", "-"), strict=False):
        curve = np.exp(-0.5 * ((a - mu[0]) / sd[0]) ** 2) / (sd[0] * math.sqrt(2 * math.pi))
        ax.plot(a, curve, style, color=colour, label=name)
    ax.set(xlabel="z", ylabel="density", xlim=(a[0], a[-1]))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def plot_gap(evidence: Array, bound: Array, samples: int, ax: Any = None) -> Any:
    """The bound of each row against its log p(x), both (N,) nats: what lies below the diagonal is KL(q ‖ p(z | x))."""
    ax, gap = axes(ax, (6, 6)), evidence - bound
    ends = min(evidence.min(), bound.min()), max(evidence.max(), bound.max())
    ax.plot(ends, ends, color="black", lw=1, label="L = log p(x): q is the posterior")
    size = float(np.clip(4000 / len(gap), 3, 20))
    ax.scatter(evidence, bound, size, alpha=0.5, linewidths=0, color="tab:red", label=f"{len(gap)} test rows")
    ax.set(xlabel=f"log p(x), {samples} importance samples, nats", ylabel="bound L, nats", aspect="equal")
    ax.set_title(f"gap log p(x) − L: mean {gap.mean():.2f} nats, median {np.median(gap):.2f}, largest {gap.max():.2f}")
    ax.title.set_fontsize(10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def manifold_grid(n: int) -> Array:
    """z (n², 2): the inverse Gaussian CDF of the centres of an n × n grid on the unit square, top row first
    (Kingma & Welling 2014, Figure 4)."""
    from scipy.special import ndtri

    z = ndtri((np.arange(n) + 0.5) / n)
    across, up = np.meshgrid(z, z[::-1])
    return np.stack([across.ravel(), up.ravel()], axis=1)


def line(a: Array, b: Array, steps: int) -> Array:
    """z (steps, K) on the straight line from a to b, both ends included."""
    t = np.linspace(0, 1, steps)[:, None]
    points: Array = (1 - t) * a + t * b
    return points


def sphere(a: Array, b: Array, steps: int) -> Array:
    """z (steps, K) along the great circle from a to b, the length going linearly from one to the other: a Gaussian's
    mass lies in a shell, which the straight line leaves."""
    la, lb = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if la == 0 or lb == 0:  # the origin has no direction
        return line(a, b, steps)
    cosine = float(np.clip(np.dot(a, b) / (la * lb), -1, 1))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:  # the same or the opposite direction: no one great circle
        return line(a, b, steps)
    t = np.linspace(0, 1, steps)[:, None]
    unit = (np.sin((1 - t) * angle) * a / la + np.sin(t * angle) * b / lb) / np.sin(angle)
    points: Array = ((1 - t) * la + t * lb) * unit
    return points


# --- pictures for a lecture --------------------------------------------------------------------------

POINT = 13  # size of the letters, which the last row is to read
BLUE, ORANGE, GREEN, PINK, SKY, DARK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#333333"
HUES = (ORANGE, BLUE, GREEN, PINK, DARK, SKY)  # Okabe & Ito: the colour-blind tell them apart


def slide(ax: Any = None, **labels: Any) -> Any:
    """`ax`, or that of a new figure, for a slide: large letters, no frame; labels as `Axes.set` takes them."""
    ax = axes(ax, (9, 5.2))
    ax.set(**labels)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set_fontsize(POINT)
    ax.tick_params(which="both", labelsize=POINT - 2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    return ax


def plot_curves(x: Array, curves: dict[str, Array], ax: Any = None, **labels: Any) -> Any:
    """Curves over x (T,), (T,) each, and in place of a legend the name of each at its right end."""
    ax = slide(ax, **labels)
    hues = dict(zip(curves, itertools.cycle(HUES), strict=False))
    for name, y in curves.items():
        ax.plot(x, y, color=hues[name], lw=2.2)
    name_ends(ax, {name: (x[-1], y[-1], hues[name]) for name, y in curves.items()})
    return ax


def name_ends(ax: Any, ends: dict[str, tuple[float, float, str]]) -> None:
    """Names beside the ends (x, y, colour) of curves, moved up or down until no two overlap."""
    ax.figure.draw_without_rendering()
    low, high = ax.get_window_extent().extents[[1, 3]]
    apart = 1.3 * POINT * ax.figure.dpi / 72 / (high - low)
    pixels = {name: ax.transData.transform((x, y))[1] for name, (x, y, _) in ends.items()}
    at = {name: float(np.clip((y - low) / (high - low), 0, 1)) for name, y in pixels.items()}
    rising = sorted(at, key=lambda name: at[name])
    for below, above in itertools.pairwise(rising):
        at[above] = max(at[above], at[below] + apart)
    at |= {name: min(at[name], 1 - i * apart) for i, name in enumerate(reversed(rising))}
    for name, (x, _, colour) in ends.items():
        ax.annotate(name, (x, at[name]), (8, 0), ("data", "axes fraction"), "offset points", color=colour,
                    fontsize=POINT, va="center", annotation_clip=False)  # fmt: skip


def plot_waves(
    frequency: Array,
    exact: dict[str, Array],
    at: Array | None = None,
    found: dict[str, Array] | None = None,
    ax: Any = None,
) -> Any:
    """Exact variances of ∂/∂μ E[cos ωz] against ω (T,), by estimator; and at ω (n,) measured ones with their standard
    errors, (n, 2), as points with bars of two of these."""
    labels = {"yscale": "log", "xlabel": "frequency ω of f(z) = cos ωz", "ylabel": "variance of one estimate"}
    ax = plot_curves(frequency, exact, ax, title="d/dμ E[f(z)], z ~ N(1, 1): the path does not always win", **labels)
    for line, name in zip(ax.get_lines(), found or (), strict=False):
        variance, error = (found or {})[name].T
        ax.errorbar(at, variance, 2 * error, fmt="o", ms=6, color=line.get_color(), capsize=3)
    return ax


def plot_race(step: Array, bounds: dict[str, Array], exact: float | None = None, ax: Any = None, **labels: Any) -> Any:
    """The bound of each estimator at steps (T,), (T,) nats; with log p(x), above which none can be, a dashed line."""
    ax = plot_curves(step, bounds, ax, xlabel="steps", ylabel="bound L, nats per datapoint", **labels)
    if exact is not None:
        ax.axhline(exact, color=DARK, lw=1.2, ls="--")
        ax.annotate("exact log p(x)", (step[-1], exact), (-8, 5), textcoords="offset points", ha="right",
                    fontsize=POINT)  # fmt: skip
    return ax


def plot_course(step: Array, log_p: Array, bound: Array, title: str = "", ax: Any = None) -> Any:
    """log p(x) and the bound over training, steps (T,) from 0 on, (T,) nats each; what lies between is the KL."""
    curves = {"log p(x)": log_p, "bound L": bound}
    ax = plot_curves(step + 1, curves, ax, xscale="log", ylabel="nats per datapoint", title=title)
    ax.fill_between(step + 1, bound, log_p, color=SKY, alpha=0.5, lw=0)
    return ax


def plot_below(step: Array, gaps: dict[str, Array], ax: Any = None, **labels: Any) -> Any:
    """log p(x) − L = KL(q ‖ p(z|x)) at steps (T,), (T,) nats each: on a log scale, or from 0 on."""
    if "yscale" not in labels:
        labels["ylim"] = (0, 1.1 * max(gap.max() for gap in gaps.values()))
    return plot_curves(step, gaps, ax, ylabel="KL(q ‖ p(z|x)), nats", **labels)


HEIGHTS = {"μ": 1.0, "log σ²": -1.0, "ε": 2.1, "KL": -2.2, "μ(z)": 1.0, "log σ²(z)": -1.0, "x again": 1.9}
GIVEN = ("x", "x again", "ε")  # data and noise
ALONG = {("μ", "KL"): 0.8, ("log σ²", "KL"): 0.35, ("log σ²", "z"): 0.66}  # where norms stand on edges that cross


def plot_walk(edges: Sequence[tuple[str, str, float, float]], title: str = "", ax: Any = None) -> Any:
    """The graph of `models.walk` by its edges: source, target, norm forwards, norm backwards (NaN for none)."""
    column = {"x": 0.0}
    for source, target, *_ in edges:
        column[target] = max(column.get(target, 0.0), column.get(source, 0.0) + 1)
    column |= {"ε": column["z"], "KL": column["z"], "x again": column["log p(x|z)"]}
    ax = axes(ax, (1.7 * (column["L"] + 1), 6))
    ax.set(xlim=(-0.4, column["L"] + 0.4), ylim=(-2.6, 2.5))
    ax.set_axis_off()
    ax.set_title(title, fontsize=POINT + 1)
    nodes = {}
    for name, x in column.items():
        shown, fill = name.removesuffix(" again").replace("log p(", "log p\n("), "0.88" if name in GIVEN else "white"
        nodes[name] = ax.text(x, HEIGHTS.get(name, 0.0), shown, fontsize=POINT + 1, ha="center", va="center",
                              bbox={"boxstyle": "round,pad=0.45", "fc": fill, "ec": DARK}).get_bbox_patch()  # fmt: skip
    for source, target, forward, back in edges:
        begin = "x again" if (source, target) == ("x", "log p(x|z)") else source
        (x1, y1), (x2, y2) = ((column[n], HEIGHTS.get(n, 0.0)) for n in (begin, target))
        ends = {"patchA": nodes[begin], "patchB": nodes[target], "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", (x2, y2), (x1, y1), arrowprops={"arrowstyle": "-|>", "color": "0.6", "lw": 1.6, **ends})
        t = ALONG.get((source, target), 0.5)
        at = x1 + t * (x2 - x1), y1 + t * (y2 - y1)
        for text, up, hue in ((f"{forward:.3g} →", 9, BLUE), ("" if np.isnan(back) else f"← {back:.3g}", -9, ORANGE)):
            ax.annotate(text, at, (0, up), textcoords="offset points", color=hue, fontsize=POINT, ha="center",
                        va="center", bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    return ax


def plot_roofline(machine: dict[str, Any], rows: Sequence[dict[str, Any]], threads: int, ax: Any = None) -> Any:
    """GFLOP/s reached over operations a byte, float32 on that many threads, under the roofs of the machine."""
    rows = [r for r in rows if r["threads"] == threads and r["dtype"] == "float32"]
    limits, ax = machine["limits"][str(threads)], axes(ax, (8, 5))
    span = [min(0.5, *(r["intensity"] / 2 for r in rows)), 1000.0]  # a step of one row is far to the left
    top = max(v for name, v in limits.items() if name.startswith("fma"))
    ax.plot(span, [top, top], "k-", lw=1, label=f"FMA from registers, {top:.0f} GFLOP/s")
    for level, grey in (("L2", "0.3"), ("L3", "0.5"), ("DRAM", "0.7")):
        xs, read = [span[0], min(span[1], top / limits[level]["read"])], limits[level]["read"]
        ax.plot(xs, [x * read for x in xs], "--", color=grey, lw=1, label=f"{level} read")
    for number, what in enumerate(dict.fromkeys(r["what"] for r in rows)):
        for kind, marker in (("step", "o"), ("product", "x")):
            mine = [r for r in rows if r["what"] == what and r["kind"] == kind]
            ax.plot([r["intensity"] for r in mine], [r["gflops"] for r in mine], marker, color=f"C{number}", ms=5,
                    label=f"{what}, {kind}s" if mine else None)  # fmt: skip
    many = f"{threads} thread{'s' * (threads > 1)}"
    ax.set(xscale="log", yscale="log", xlabel="operations a byte that must move", ylabel="GFLOP/s", xlim=span,
           title=f"{machine['cpu']}, {many}, float32")  # fmt: skip
    ax.legend(fontsize=7, loc="lower right")
    return ax
