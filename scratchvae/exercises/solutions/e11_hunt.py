"""§7.1.1 Exercise 11: six VAEs, one error each.

hunt/vae_a.py to vae_f.py are one VAE, and somebody made one error in each, all of them published by others before.
Run checks, read the file, and write down the check that finds the error and the function that has it. Where a function
and its vjp both have it, either name will do. What a check measures is said in `scratchvae.exercises.hunt`.

    python exercises/e11_hunt.py a          runs all checks on vae_a.py
    scratchvae exercise 11 --check          --hint where you are stuck
"""

import sys
from pathlib import Path

from scratchvae.exercises.hunt import adding, bound, extremes, moments, slopes, steps

ANSWERS = {  # your turn
    "A": ("bound", "kl"),
    "B": ("steps", "adam"),
    "C": ("slopes", "elbo_vjp"),
    "D": ("extremes", "softplus"),
    "E": ("adding", "dense_vjp"),
    "F": ("moments", "generate"),
}

if __name__ == "__main__":
    for letter in "".join(sys.argv[1:]).lower() or "abcdef":
        for check in (slopes, adding, moments, bound, extremes, steps):
            check(Path(__file__).parent / f"hunt/vae_{letter}.py")
