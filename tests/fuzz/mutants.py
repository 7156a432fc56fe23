"""§7.3 Mutants of a file: bits, bytes, boundary values of fields, pieces cut, doubled and spliced, words of a text."""

import random
import re
from collections.abc import Callable
from typing import NamedTuple

EDGES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (b"null", b"true", b"[]", b"{}", b'"x"', b"-1", b"0", b"1.5", b"1e999", b"NaN", b"#", b"", b"9" * 400)
TOKEN = re.compile(rb'"[^"]*"|[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?|true|false|null|[\[\]{},:;#\n]')


class Seed(NamedTuple):
    """A valid file; with what it packs, and how, if mutants are to be made inside it too."""

    raw: bytes
    inner: bytes = b""
    wrap: Callable[[bytes], bytes] = bytes


def mutated(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to three small changes, half of them near the head."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(min(len(out), rng.choice((40, 200, 1 << 20))) or 1)
        n, how = rng.choice((1, 2, 4, 8, 16, 64)), rng.randrange(10)
        if how == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and out:
            out[at] = rng.choice((0, 1, 10, 32, 127, 128, 255, rng.randrange(256)))
        elif how == 2:
            del out[rng.randrange(len(out) + 1) :]
        elif how == 3:
            out[at:at] = rng.choice((rng.randbytes(n), bytes(n), b"\n", out[at : at + n]))
        elif how == 4:
            del out[at : at + n]
        elif how == 5:
            out[at:] = other[rng.randrange(len(other) + 1) if rng.random() < 0.5 else at :]
        elif how == 6:
            width = rng.choice((1, 2, 4, 8))
            out[at : at + width] = (rng.choice(EDGES) % 256**width).to_bytes(width, rng.choice(("little", "big")))
        elif tokens := [*TOKEN.finditer(out, 0, 4000)]:
            words = (*WORDS, b"[" * 3000, rng.choice(tokens)[0], str(rng.choice(EDGES)).encode())
            token, word = rng.choice(tokens), rng.choice(words)
            if how == 7:
                out[token.start() : token.end()] = word
            else:  # a run of tokens stands twice, here or elsewhere: a key, an entry, a line
                first, last = sorted(rng.sample(range(len(tokens)), 2)) if len(tokens) > 1 else (0, 0)
                last = min(last, first + rng.choice((1, 3, 4)))
                piece, place = out[tokens[first].start() : tokens[last].start()], rng.choice((first, last))
                out[tokens[place].start() : tokens[place].start()] = piece
    return bytes(out)
