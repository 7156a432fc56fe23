"""§7.3 A folder of images, PNG or JPEG, as bytes: grey (N, h, w) or in colour (N, h, w, 3). Pillow unpacks them (extra
`images`), into memory; what does not fit there is for an .npy, which is mapped.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..types import Array
from .files import Found

ENDINGS = (".png", ".jpg", ".jpeg")
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr", "PA")  # Pillow's modes of 8 bits
LARGEST = 1 << 32  # bytes of all images in memory


def read_images(folder: Path) -> Found | None:
    """The images in a folder, by name, or in its sub-folders, whose names are then the labels; None where there are
    none. Those of sub-folders come mixed, each share of the rows with its share of each: the last tenth are test rows.

    Raises DataError, with the file's name, for an image of another size, 16 bits, or transparent pixels.
    """
    paths, labels = listed_in(folder)
    if not paths:
        return None
    if importlib.util.find_spec("PIL") is None:
        raise DataError(f"{folder} holds images, which need Pillow: pip install 'scratchvae[images]'")
    colours = [coloured(path) for path in paths]
    first = pixels(paths[0], any(colours))
    size = len(paths) * first.nbytes
    if size > LARGEST:
        would = f"{len(paths)} images would take {size / 1e9:.1f} GB in memory, over {LARGEST / 1e9:.1f}"
        raise DataError(f"{folder}: {would}: make them smaller, or save them as one .npy, which is mapped")
    x = np.empty((len(paths), *first.shape), np.uint8)
    for i, path in enumerate(paths):
        image = pixels(path, any(colours))
        if image.shape != first.shape:
            (h, w), (h0, w0) = image.shape[:2], first.shape[:2]
            raise DataError(f"{path} has {w} × {h} pixels, where {paths[0].name} has {w0} × {h0}: make all of one size")
        x[i] = image
    return Found(
        {"train": x, "labels": None if labels is None else np.array(labels)}, notes=notes_on(x, colours, labels)
    )


def notes_on(x: Any, colours: list[bool], labels: list[str] | None) -> tuple[str, ...]:
    """What was found, and what it takes."""
    kind = "in colour" if any(colours) else "grey"
    notes = [f"{len(x)} images of {x.shape[2]} × {x.shape[1]} pixels, {kind}: {x.nbytes / 1e6:.1f} MB in memory"]
    if any(colours) and not all(colours):
        notes.append(f"{colours.count(False)} of them are grey, and taken as coloured")
    if labels:
        notes.append(f"labels are the {len(set(labels))} sub-folders; the rows of each are spread over all")
    return tuple(notes)


def listed_in(folder: Path) -> tuple[list[Path], list[str] | None]:
    """The images in the order that they are read in, and their labels, if they lie in sub-folders."""
    own, within = found_in(folder), {sub: found_in(sub) for sub in sorted(folder.iterdir()) if sub.is_dir()}
    classes = {sub.name: paths for sub, paths in within.items() if paths}
    if own and classes:
        raise DataError(
            f"{folder} has images in it and in {', '.join(classes)}: put all of them into sub-folders, or none"
        )
    if parts := sorted({"train", "test"} & {name.lower() for name in classes}):
        raise DataError(f"{folder} has a sub-folder {' and '.join(parts)}, which is no label: give {folder / 'train'}, "
                        f"and --test {folder / 'test'}")  # fmt: skip
    if not classes:
        return own, None
    mixed = sorted(((i + 0.5) / len(ps), name, path) for name, ps in classes.items() for i, path in enumerate(ps))
    return [path for *_, path in mixed], [name for _, name, _ in mixed]


def found_in(folder: Path) -> list[Path]:
    """Its images by name, without hidden files."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.name[0] != "." and p.is_file())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The image, not yet unpacked. Whatever is wrong with it is one line."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except DataError:
        raise
    except Exception as error:  # as in `files.read`
        raise DataError(
            f"{path} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0][:300]}"
        ) from None


def coloured(path: Path) -> bool:
    """Whether it has colours, by its head."""
    with opened(path) as image:
        if image.mode not in (*GREY, *COLOUR):
            raise DataError(f"{path} has pixels of the kind {image.mode!r}: save it with 8 bits a colour")
        return image.mode in COLOUR


def pixels(path: Path, colour: bool) -> Array:
    """(h, w) or, in colour, (h, w, 3) uint8, turned as its camera says."""
    from PIL import ImageOps

    with opened(path) as image:
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            raise DataError(f"{path} has transparent pixels: put it on a ground of one colour")
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB" if colour else "L"))
