"""§7.3 Texts as data: the lines of a file, one sequence each, by path or by name, in two parts.

A text is a `Dataset` of codes, with the vocabulary that they are of (`data.tokens`).
"""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from . import LAST_TENTH, Dataset, Origin, _places
from .tokens import NAMES, PAD, Lines, Vocabulary

COLUMNS = ("smiles", "text")  # of a csv file, by their names; else its first


def load_text(
    source: str,
    test: str | None = None,
    folder: str | Path | None = None,
    kind: str = "characters",
    known: Vocabulary | None = None,
    width: int | None = None,
) -> tuple[Dataset, Vocabulary]:
    """A text, one sequence a row, by name (`tokens.NAMES`) or path, as codes of tokens of that kind: by the vocabulary
    and within the width that are known to a run, else by its own. With `test` equal to the source all rows are test
    rows. Raises DataError."""
    found = read_lines(path_of(source, folder), source)
    train, rest = parted(found, None if test is None else read_lines(path_of(test, folder), test))
    vocabulary = known or Vocabulary.of(kind, train.texts, rest.texts)
    parts = [vocabulary.encode(part, width) for part in (train, rest)]
    wide = max(x.shape[1] for x in parts)
    x, y = (np.pad(part, ((0, 0), (0, wide - part.shape[1])), constant_values=PAD) for part in parts)
    split = LAST_TENTH if test is None else f"the rows of {test}"
    about = split, None, (), Origin(train.name), Origin(rest.name)
    return Dataset(source, x, y, None, None, None, *about), vocabulary


def read_lines(path: Path, name: str = "") -> Lines:
    """The texts of a file that are not blank: its lines, of .smi what stands before a blank, of .csv one column; also
    .gz. Raises DataError."""
    plain = path.name.lower().removesuffix(".gz")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        whole = raw.decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as text in UTF-8: {reason}") from None
    first = 1
    if plain.endswith(".csv"):
        whole, first = column_of(whole), 2
    elif plain.endswith(".smi"):
        whole = [(line.split() or [""])[0] for line in whole]
    rows = [(line.strip(), i) for i, line in enumerate(whole, first) if line.strip()]
    if not rows:
        raise DataError(f"{path} holds no text: give one sequence a line")
    return Lines(name or str(path), [text for text, _ in rows], [i for _, i in rows])


def column_of(whole: list[str]) -> list[str]:
    """The column of a csv file that holds the texts, without its name."""
    table = list(csv.reader(whole))
    names = [name.strip().lower() for name in table[0]] if table else []
    place = next((names.index(name) for name in COLUMNS if name in names), 0)
    return [row[place] if place < len(row) else "" for row in table[1:]]


def parted(found: Lines, test: Lines | None) -> tuple[Lines, Lines]:
    """Training and test rows: those of `test`, else the last tenth."""
    if test is not None:
        return found, test
    if len(found.texts) < 2:
        raise DataError(f"{found.name} has one row, which cannot be split into train and test; give test rows too")
    keep = len(found.texts) - max(1, len(found.texts) // 10)
    return (
        Lines(found.name, found.texts[:keep], found.lines[:keep]),
        Lines(f"{found.name} (test)", found.texts[keep:], found.lines[keep:]),
    )


def path_of(source: str, folder: str | Path | None) -> Path:
    """The file of a text by path, or by name as `data.load` looks for it. Raises DataError, one line."""
    places = _places(source, folder)
    if source not in NAMES:
        if not Path(source).is_file():
            raise DataError(f"{source!r} is neither a text ({', '.join(NAMES)}) nor a file: give one sequence a line, "
                            "as .txt, .smi or .csv, also .gz")  # fmt: skip
        return Path(source)
    files = [place / f"{source}.txt" for place in places]
    if found := next((path for path in files if path.is_file()), None):
        return found
    raise DataError(f"{source} is not in {', '.join(map(str, places))}; it is in data/{source} of scratchvae's "
                    "repository: name its folder by --data-folder")  # fmt: skip
