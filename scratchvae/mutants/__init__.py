"""§7.2 Mutation proof: are the checks worth anything? Plant an error, and see that a check finds it.

    python -m scratchvae.mutants              automatic mutants: of the mathematics against the tests, of the schedule
                                              against the mathematics; prints survivors
    python -m scratchvae.mutants --gallery    the errors of other people's VAEs, and which check kills which

A mutant is one small change of one function (`operators` makes them from the syntax tree, `gallery` names famous ones).
It is planted by exchanging the function's code object, so every caller sees it, through whatever table or import.
"""

from .plant import Edit, planted

__all__ = ["Edit", "planted"]
