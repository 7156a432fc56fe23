"""§7.2 Which check kills which bug of the gallery: the table of `scratchvae.mutants.gallery`, measured."""

import json

from scratchvae.mutants.gallery import GALLERY
from scratchvae.mutants.plant import planted

from .checks import CHECKS, verdict


def measure() -> dict[str, dict[str, bool]]:
    """bug -> check -> whether the check kills it. Every check passes on the healthy library, or this says so."""
    for name, check in CHECKS.items():
        if why := verdict(check):
            raise AssertionError(f"the check {name!r} fails without any bug: {why}")
    found = {}
    for name, bug in GALLERY.items():
        with planted(bug.edits):
            found[name] = {check: bool(verdict(f)) for check, f in CHECKS.items()}
    return found


def table(matrix: dict[str, dict[str, bool]]) -> str:
    """The matrix as text, one line a bug."""
    width = max(map(len, matrix))
    lines = [" " * width + "  " + "  ".join(CHECKS)]
    for name, row in matrix.items():
        marks = "  ".join(("x" if row[c] else ".").center(len(c)) for c in CHECKS)
        lines.append(f"{name:<{width}}  {marks}".rstrip())
    return "\n".join(lines)


def main(as_json: bool) -> int:
    """Print the matrix; 1 if a bug survives every check."""
    matrix = measure()
    print(json.dumps(matrix) if as_json else table(matrix))
    return 0 if all(any(row.values()) for row in matrix.values()) else 1
