"""§7.2.5 Counts of words, chapter by chapter, of a book as text."""

import re
from collections import Counter

import numpy as np

from scratchvae.errors import DataError
from scratchvae.types import Array

HEADING = re.compile(r"^[A-Z1-3][A-Za-z0-9 ]* \d+$", re.MULTILINE)  # "Genesis 1", "2 Kings 4"
WORD = re.compile(r"[a-z]+")


def chapters(text: str) -> list[Counter[str]]:
    """How often each word, in small letters, stands in every chapter. Raises DataError for a text without chapters."""
    parts = HEADING.split(text)[1:]
    if len(parts) < 9:
        raise DataError(f"the book has {len(parts)} chapters, under lines such as 'Genesis 1': give one with 9 or more")
    return [Counter(WORD.findall(part.lower())) for part in parts]


def word_counts(text: str, words: int, seed: int = 0) -> tuple[Array, Array]:
    """Counts (chapters, words) to train on and, a ninth of them, to test on: the words most frequent in the former."""
    found = chapters(text)
    order = np.random.default_rng(seed).permutation(len(found))
    cut = len(found) // 9
    parts = [[found[i] for i in some] for some in (order[cut:], order[:cut])]
    total: Counter[str] = sum(parts[0], Counter())
    chosen = sorted(total, key=lambda word: (-total[word], word))[:words]
    train, test = (np.array([[one[word] for word in chosen] for one in part]) for part in parts)
    return train, test
