"""§7.2 Planted errors: one small change of one function, in force inside a block.

    from scratchvae.mutants import Edit, planted
    with planted([Edit("kernels.normal", "normal_kl_np", "0.5", "0.6")]):
        ...                                     # every caller sees it, through whatever table or import

`operators` makes slips of the hand from a function's syntax tree, `gallery` names the errors of other people's VAEs,
`plant` exchanges a function's code object. Whether every one of them is found `make mutants` says, in the repository.
"""

from .plant import Edit, planted

__all__ = ["Edit", "planted"]
