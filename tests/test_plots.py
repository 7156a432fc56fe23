"""§7.3.1 Pictures: what is drawn is what was given; an Axes in, the same Axes out; never pyplot, never a window."""

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae import cli, plots
from scratchvae.cli.masks import mask_of
from scratchvae.errors import UsageError
from scratchvae.noise import Noise
from scratchvae.types import Array

pytest.importorskip("matplotlib")

METRICS = [
    {"samples_seen": n, "train_elbo": -200.0 + i, "test_elbo": -190.0 + i} for i, n in enumerate((1000, 2000, 3000))
]
IMAGES = np.linspace(0, 1, 5 * 6).reshape(5, 6)
CODES = np.random.default_rng(0).normal(size=(40, 2))
LINE, ONES = np.linspace(0, 1, 40), np.ones(2)
GAPS = np.where(np.arange(24) % 5, 7.0, np.nan).reshape(2, 12)
DRAW: dict[str, Callable[[Any], Any]] = {
    "bound": lambda ax: plots.plot_bound(METRICS, ax=ax),
    "bound of one point": lambda ax: plots.plot_bound(METRICS[:1], ax=ax),
    "bound over decades": lambda ax: plots.plot_bound([METRICS[0], {**METRICS[1], "samples_seen": 10**7}], ax=ax),
    "images": lambda ax: plots.plot_images(IMAGES, (2, 3), 2, "title", ax=ax),
    "images in colour": lambda ax: plots.plot_images(GAPS, (2, 2, 3), 2, "title", ax=ax),
    "plane": lambda ax: plots.plot_plane((LINE, LINE, CODES @ CODES.T), {"HMC": CODES}, {"q": (CODES[0], ONES)}, ax=ax),
    "line": lambda ax: plots.plot_line((LINE, LINE), {"HMC": CODES[:, :1]}, {"q": (CODES[0, :1], ONES[:1])}, ax=ax),
    "gap": lambda ax: plots.plot_gap(LINE, LINE - 1, 100, ax=ax),
    "race": lambda ax: plots.plot_race(LINE, {"score": LINE, "path": LINE}, 2.0, ax=ax),
    "waves": lambda ax: plots.plot_waves(LINE, {"score": LINE + 1}, LINE[:2], {"score": np.ones((2, 2))}, ax=ax),
    "course": lambda ax: plots.plot_course(LINE, LINE, LINE - 1, ax=ax),
    "below": lambda ax: plots.plot_below(LINE, {"KL": LINE}, ax=ax),
    "walk": lambda ax: plots.plot_walk([("x", "z", 1, 2), ("z", "log p(x|z)", 1, 1), ("log p(x|z)", "L", 1, 1)], ax=ax),
    "codes": lambda ax: plots.plot_latent(CODES, ax=ax),
    "codes with labels": lambda ax: plots.plot_latent(CODES, np.arange(40) % 3, ax=ax),
    "codes with many labels": lambda ax: plots.plot_latent(CODES, np.arange(40), ax=ax),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAW)
def test_axes_given_and_axes_made(name: str, tmp_path: Path) -> None:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    given = Figure().add_subplot()
    assert DRAW[name](given) is given
    made = DRAW[name](None)
    assert isinstance(made, Axes)
    plots.save(made, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_never_pyplot(tmp_path: Path) -> None:
    """pyplot keeps every figure for ever and may want a display: all pictures of a run are made without it."""
    code = """
import sys
import numpy as np
from scratchvae import cli
x = (np.random.default_rng(0).random((60, 12)) < 0.5).astype(np.uint8)
np.save("x.npy", x)
options = "--kernels numpy --hidden 4 --latent 2 --epochs 1 --out run".split()
assert cli.main(["train", "x.npy", *options]) == 0
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert len(list((tmp_path / "run").glob("*.png"))) == 5


def test_matplotlib_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in DRAW.values():
        with pytest.raises(UsageError, match=r"pip install 'scratchvae\[plot\]'"):
            draw(None)


def test_the_bound_is_drawn_as_measured() -> None:
    ax = plots.plot_bound(METRICS)
    train, test = ax.get_lines()
    np.testing.assert_array_equal(test.get_xydata(), [[m["samples_seen"], m["test_elbo"]] for m in METRICS])
    np.testing.assert_array_equal(train.get_ydata(), [m["train_elbo"] for m in METRICS])
    assert ax.get_xscale() == "log"
    assert "nats" in ax.get_ylabel()
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels(minor=True) if label.get_text()] == []


def test_every_image_stands_in_its_place() -> None:
    sheet = plots.tile(IMAGES, (2, 3), columns=2, gap=1)
    assert sheet.shape == (3 * 2 + 2, 2 * 3 + 1)
    for i, image in enumerate(IMAGES):
        top, left = i // 2 * 3, i % 2 * 4
        np.testing.assert_array_equal(sheet[top : top + 2, left : left + 3], image.reshape(2, 3))
    assert (sheet[2] == 1).all()  # the gap
    assert (sheet[:, 3] == 1).all()
    assert (sheet[6:, 4:] == 1).all()  # where the sixth would be


COLOURS = np.linspace(0, 1, 2 * 2 * 4 * 3).reshape(2, 2, 4, 3)


@pytest.mark.parametrize(("rows", "shape"), [(COLOURS, (2, 4, 3)), (np.moveaxis(COLOURS, 3, 1), (3, 2, 4))])
def test_colours_are_colours(rows: Array, shape: tuple[int, ...]) -> None:
    """Catches colours that stand side by side as greys, and the first axis taken for rows of pixels."""
    ax = plots.plot_images(rows.reshape(2, -1), shape, 2, gap=1)
    drawn = ax.get_images()[0].get_array()
    assert drawn.shape == (2, 9, 3)
    np.testing.assert_array_equal(drawn[:, :4], COLOURS[0])
    np.testing.assert_array_equal(drawn[:, 5:], COLOURS[1])


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        *[((4, 3), (4, 3)), ((2, 2, 3), (2, 2, 3)), ((3, 2, 2), (3, 2, 2)), ((4, 3, 1), (4, 3)), ((1, 4, 3), (4, 3))],
        *[((2, 3, 2), None), ((4, 4), None), ((12,), None)],
    ],
)
def test_which_shapes_are_images(shape: tuple[int, ...], image: tuple[int, ...] | None) -> None:
    assert plots.image_of(shape, 12) == image


def test_halves_of_images_in_colour() -> None:
    """The mask's columns were those of the interleaved grey image."""
    for shape in ((2, 4, 3), (3, 2, 4)):
        seen = plots.pictured(mask_of("left-half", np.zeros((1, 24)), shape, Noise(0)), shape)[0]
        np.testing.assert_array_equal(seen, np.broadcast_to([[[0], [0], [1], [1]]], (2, 4, 3)))


def test_a_title_has_room_above_one_narrow_column() -> None:
    """It was cut off at both sides; the sheet's pixels stay whole."""
    ax = plots.plot_images(np.zeros((20, 9)), (3, 3), 1, "a title that is much wider than the sheet below it")
    ax.figure.draw_without_rendering()
    title, whole = ax.title.get_window_extent(), ax.figure.bbox
    assert whole.x0 <= title.x0 < title.x1 <= whole.x1
    left, width = (getattr(ax.get_window_extent(), side) * plots.DPI / 100 for side in ("x0", "width"))
    assert (left, width) == (pytest.approx(round(left)), pytest.approx(12 * 3))


def test_the_ellipses_are_those_of_the_gaussian() -> None:
    """Half axes of one and two standard deviations about the mean; draws where they fell, density where it is."""
    density, sd = np.outer(np.arange(40.0), np.ones(40)), np.array([0.3, 0.1])
    ax = plots.plot_plane((LINE, LINE, density), {"HMC": CODES}, {"q": (np.array([0.2, 0.7]), sd)}, ("a", "b"))
    assert [(e.center[0], e.center[1], e.width, e.height) for e in ax.patches] == [
        (0.2, 0.7, *(2 * t * sd)) for t in (1, 2)
    ]
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), CODES)
    outer = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert outer[:, 0].max() == 1, "the density grows along its first axis, which is the horizontal one"
    assert outer[:, 0].min() > 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")


def test_an_image_pixel_is_a_whole_number_of_pixels() -> None:
    """The figure has exactly the sheet's size times a whole number, and the title stands above it."""
    ax = plots.plot_images(np.zeros((20, 784)), (28, 28), 20)
    width, height = ax.figure.get_size_inches() * plots.DPI
    assert (width, height) == pytest.approx((579 * 2, 28 * 2))
    titled = plots.plot_images(np.zeros((20, 784)), (28, 28), 20, "title")
    box = titled.get_window_extent()
    assert (box.width, box.height) == pytest.approx((579 * 2 * 100 / plots.DPI, 28 * 2 * 100 / plots.DPI))


def test_means_of_a_gaussian_may_leave_the_range_of_grey() -> None:
    drawn = plots.plot_images(np.array([[-1.0, 0.5, 2.0]]), (1, 3)).get_images()[0].get_array()
    np.testing.assert_array_equal(drawn, [[0, 0.5, 1]])


def test_each_label_has_its_own_colour() -> None:
    for kinds in (3, 10, 12):
        labels = np.arange(40) % kinds * 2  # labels need not be 0, 1, 2, ...
        ax = plots.plot_latent(CODES, labels)
        spots = ax.collections[0]
        spots.update_scalarmappable()
        colours = {tuple(colour) for colour in spots.get_facecolors()}
        assert len(colours) == kinds
        legend = ax.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [str(2 * k) for k in range(kinds)]
        shown = [tuple(np.round(h.get_markerfacecolor()[:3], 6)) for h in legend.legend_handles]
        drawn = [tuple(np.round(spots.get_facecolors()[k][:3], 6)) for k in range(kinds)]
        assert shown == drawn, "the legend names another colour than the one that is drawn"


def test_the_manifold_grid_is_the_papers() -> None:
    """z at equal steps of probability: z₁ grows to the right, z₂ upwards, and each strip holds the same mass."""
    z = plots.manifold_grid(5)
    mass = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    steps = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(mass[:5, 0], steps, atol=1e-12)
    np.testing.assert_allclose(mass[::5, 1], steps[::-1], atol=1e-12)


@pytest.mark.parametrize("path", [plots.line, plots.sphere])
def test_paths_have_their_ends(path: Callable[[Array, Array, int], Array]) -> None:
    a, b = np.array([1.0, 0.0, 0.0]), np.array([0.0, 3.0, 0.0])
    z = path(a, b, 5)
    np.testing.assert_allclose(z[[0, -1]], [a, b], atol=1e-12)
    middle = [0.5, 1.5, 0] if path is plots.line else [math.sqrt(2), math.sqrt(2), 0]
    np.testing.assert_allclose(z[2], middle, atol=1e-12)


@pytest.mark.parametrize("b", [[0.0, 0.0], [2.0, 2.0], [-1.0, -1.0]])
def test_a_great_circle_that_is_none_is_a_line(b: list[float]) -> None:
    """From or to the origin, along one ray, or to the opposite point: still no NaN, and both ends included."""
    a = np.array([1.0, 1.0])
    z = plots.sphere(a, np.array(b), 4)
    np.testing.assert_allclose(z, plots.line(a, np.array(b), 4), atol=1e-12)
    np.testing.assert_allclose(plots.sphere(np.array(b), a, 4), z[::-1], atol=1e-12)


def test_pictures_from_a_thread(tmp_path: Path) -> None:
    """Without pyplot there is no state to share: a server may draw from any thread."""
    failed: list[BaseException] = []

    def draw(n: int) -> None:
        try:
            plots.save(plots.plot_latent(CODES), tmp_path / f"{n}.png")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=draw, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize(
    ("columns", "known", "shape"),
    [(784, None, (28, 28)), (560, None, (28, 20)), (12, (4, 3), (4, 3)), (12, (2, 2), (4, 3)), (7, None, (7, 1))],
)
def test_the_shape_of_a_row(columns: int, known: tuple[int, int] | None, shape: tuple[int, int]) -> None:
    from scratchvae.cli.common import image_shape

    assert cli.common.image_shape is image_shape
    assert image_shape(columns, known) == shape
