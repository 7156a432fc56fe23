"""§7.3.1 Whether a text is a SMILES: by RDKit where it is installed, else by syntax alone, and then so named.

Syntactic validity: known atoms, brackets that close, branches that begin after an atom and hold one, ring bonds in
pairs, no bond without two atoms, and no more bonds than an atom outside of brackets may have. It does not see what
asks for the molecule as a whole, such as a ring that cannot be aromatic.
"""

import contextlib
import re
from collections.abc import Callable

VALENCE = {"B": 3, "C": 4, "N": 5, "O": 2, "P": 5, "S": 6, "F": 1, "Cl": 1, "Br": 1, "I": 1,
           "b": 3, "c": 4, "n": 3, "o": 2, "p": 5, "s": 6}  # fmt: skip
BONDS = {"-": 1, "=": 2, "#": 3, ":": 1, "/": 1, "\\": 1}
PARTS = re.compile(r"\[\d*(?:[A-Z][a-z]?|[a-z]{1,2}|\*)@{0,2}(?:H\d?)?(?:[+-]+\d?)?(?::\d+)?\]|Br|Cl|%\d\d|.")


def syntactic(text: str) -> bool:
    """Whether the text can be a SMILES by its syntax."""
    atoms: list[list[int]] = []  # bonds that an atom has, and may have
    open_rings: dict[str, tuple[int, int]] = {}
    branches: list[tuple[int, int]] = []  # the atom that a branch leaves, and how many there were before it
    here, bond = -1, 0
    for part in PARTS.findall(text):
        if part in VALENCE or (part[0] == "[" and len(part) > 1):
            atoms.append([0, VALENCE.get(part, 99)])
            if here >= 0:
                joined(atoms, here, len(atoms) - 1, bond)
            here, bond = len(atoms) - 1, 0
        elif part in BONDS:
            if bond or here < 0:
                return False
            bond = BONDS[part]
        elif part == "(":
            if here < 0 or bond:
                return False
            branches.append((here, len(atoms)))
        elif part == ")":
            if not branches or bond or branches[-1][1] == len(atoms):
                return False
            here = branches.pop()[0]
        elif part.strip("%").isdecimal():
            if here < 0:
                return False
            begin, first = open_rings.pop(part, (-1, 0))
            if begin < 0:
                open_rings[part] = here, bond
            elif begin == here or (bond and first and bond != first):
                return False
            else:
                joined(atoms, begin, here, bond or first)
            bond = 0
        elif part == "." and here >= 0 and not bond and not branches:
            here = -1
        else:
            return False
    whole = bool(atoms) and not (open_rings or branches or bond) and here >= 0
    return whole and all(has <= may for has, may in atoms)


def joined(atoms: list[list[int]], i: int, j: int, bond: int) -> None:
    """A bond more for both, single where it is not written."""
    atoms[i][0] += bond or 1
    atoms[j][0] += bond or 1


def judge() -> tuple[str, Callable[[str], bool]]:
    """What judges here, by name: "rdkit" or "syntactic"."""
    with contextlib.suppress(ImportError):
        from rdkit import Chem, RDLogger

        RDLogger.DisableLog("rdApp.*")
        return "rdkit", lambda text: bool(text) and Chem.MolFromSmiles(text) is not None
    return "syntactic", syntactic
