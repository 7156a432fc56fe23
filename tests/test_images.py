"""§7.3 Folders of images: the pixels that were written, labels by sub-folder, colours in the sheets, clear refusals."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said
from made_files import refused

from scratchvae.cli import main
from scratchvae.data import images, load
from scratchvae.types import Array

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 6, 5)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (20, 6, 5, 3)).astype(np.uint8)


def folder_of(folder: Path, x: Array, ending: str = ".png", **options: Any) -> Path:
    """Its images, the last first."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in reversed(range(len(x))):
        Image.fromarray(x[i]).save(folder / f"{i:03d}{ending}", **options)
    return folder


@pytest.mark.parametrize("x", [GREY, COLOUR], ids=["grey", "colour"])
def test_pixels_by_name(tmp_path: Path, x: Array) -> None:
    """Catches an order of the disk's, axes in another order, and hidden or other files that are read."""
    folder = folder_of(tmp_path / "x", x)
    for name in ("._000.png", "readme.txt"):
        (folder / name).write_bytes(b"?")
    found = load(folder)
    assert (found.train.dtype, found.shape, found.labels) == (np.dtype("u1"), x.shape[1:], None)
    np.testing.assert_array_equal(np.concatenate([found.train, found.test]), x.reshape(20, -1))
    kind = "in colour: 0.0 MB" if x.ndim == 4 else "grey: 0.0 MB"
    assert found.notes == (f"20 images of 5 × 6 pixels, {kind} in memory",)


def test_jpeg(tmp_path: Path) -> None:
    """Within what its compression loses."""
    smooth = np.add.outer(np.arange(20) * 9, np.add.outer(np.arange(16) * 3, np.arange(16))).astype(np.uint8)
    found = load(folder_of(tmp_path / "x", smooth, ".JPG", quality=95))
    assert abs(np.concatenate([found.train, found.test]).astype(int) - smooth.reshape(20, -1)).max() < 9


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    """Catches test rows that are all of the last class, and labels of other rows."""
    for name, part in (("cat", COLOUR[:10]), ("dog", COLOUR[:30]), ("owl", COLOUR)):
        folder_of(tmp_path / "x" / name, part)
    found = load(tmp_path / "x", test=tmp_path / "x")
    assert found.labels is not None
    assert Counter(found.labels.tolist()) == {"cat": 10, "dog": 20, "owl": 20}
    for name, part in (("cat", COLOUR[:10]), ("owl", COLOUR)):
        np.testing.assert_array_equal(found.train[found.labels == name], part.reshape(len(part), -1))
    tenth = load(tmp_path / "x").test_labels
    assert tenth is not None
    assert set(tenth) == {"cat", "dog", "owl"}
    assert "labels are the 3 sub-folders" in found.notes[1]


def test_kinds_of_pixels(tmp_path: Path) -> None:
    """Catches a grey image among coloured ones that stops all, one that lies on its side, palettes, opaque alpha."""
    folder = folder_of(tmp_path / "x", COLOUR[:3])
    Image.fromarray(GREY[0]).save(folder / "3.png")
    Image.fromarray(COLOUR[4]).convert("P").save(folder / "4.png")
    Image.fromarray(COLOUR[5]).convert("RGBA").save(folder / "5.png")
    turned = Image.fromarray(np.rot90(COLOUR[6]))
    turned.getexif()[0x0112] = 6  # to be turned clockwise by 90 degrees
    turned.save(folder / "6.png", exif=turned.getexif())
    found = load(folder, test=folder)
    x = found.train.reshape(-1, 6, 5, 3)
    np.testing.assert_array_equal(x[3], np.stack([GREY[0]] * 3, axis=2))
    np.testing.assert_array_equal(x[5:], COLOUR[5:7])
    assert "1 of them are grey" in found.notes[1]


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a refusal without the file's name or the way out, and a folder that fills the memory."""
    folder = folder_of(tmp_path / "x", GREY)
    bad = folder / "007.png"
    Image.fromarray(GREY[:2].reshape(12, 5)).save(bad)
    refused(r"007.png has 5 × 12 pixels, where 000.png has 5 × 6: make all of one size", folder)
    Image.fromarray(GREY[0].astype(np.uint16) * 200).save(bad)
    refused("007.png has pixels of the kind 'I;16': save it with 8 bits", folder)
    Image.fromarray(np.dstack([COLOUR[0], GREY[0]])).save(bad)
    refused("007.png has transparent pixels", folder)
    whole = bad.read_bytes()
    for raw in (b"", b"no image", whole[: len(whole) // 2]):
        bad.write_bytes(raw)
        refused("007.png cannot be read", folder)
    bad.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(images, "LARGEST", 500)
        refused("19 images would take 0.0 GB in memory, over 0.0: .* save them as one .npy", folder)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        refused(r"pip install 'scratchvae\[images\]'", folder)
    folder_of(folder / "more", GREY)
    refused("has images in it and in more", folder)
    folder_of(tmp_path / "y/train", GREY)
    refused(f"a sub-folder train, which is no label: give .*{Path('y', 'train')}, and --test", tmp_path / "y")
    (tmp_path / "z").mkdir()
    refused("has no train-images.* and no PNG or JPEG", tmp_path / "z")


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a small file that unpacks to a wall."""
    folder = folder_of(tmp_path / "x", np.zeros((1, 100, 150), np.uint8))
    for most in (100, 10_000):  # of more than twice as many it is an error, of less a warning
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        refused(
            f"000.png cannot be read: Image size .15000 pixels. exceeds limit of {most * (1 + (most < 1000))}", folder
        )


def test_from_a_folder_to_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches colours that are lost between folder, checkpoint and sheet, and --data that takes a tenth of a folder."""
    pytest.importorskip("matplotlib")
    red = np.zeros((30, 4, 4, 3), np.uint8)
    red[..., 0] = RNG.integers(180, 256, (30, 1, 1))
    folder, run, sheet = folder_of(tmp_path / "red", red), str(tmp_path / "run"), str(tmp_path / "sheet.png")
    options = ("--likelihood", "gaussian-sigmoid", "--hidden", "8", "--latent", "2", "--epochs", "3")
    assert main(["train", str(folder), "--out", run, *options, "--kernels", "numpy", "--no-pictures"]) == 0
    assert main(["sample", run, "--count", "4", "--out", sheet]) == 0
    capsys.readouterr()
    pixels = np.asarray(Image.open(sheet).convert("RGB")).reshape(-1, 3).astype(int)
    coloured = pixels[pixels.min(axis=1) < 200]  # without the white ground
    assert (coloured[:, 0] > coloured[:, 1:].max(axis=1) + 100).mean() > 0.5
    assert said(capsys, "info", run)["reading"]["image"] == [4, 4, 3]
    assert len(said(capsys, "score", run, str(folder), "--samples", "2")["rows"]) == 30


def test_nothing_is_imported_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a reader that wants Pillow where there are no images."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.save(tmp_path / "x.npy", GREY)
    assert load(tmp_path / "x.npy").train.shape == (18, 30)
