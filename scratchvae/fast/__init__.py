"""§7.3 Whole training steps and log p(x) as a *schedule*: a list of jobs, executed by one compiled loop.

In reading order: `schedule` says which jobs a model and an estimator make, in which phases; `placing` and `layout`
where their matrices lie, `workspace` what threads share. `minibatch`, `forward`, `rules`, `backward`, `through_latent`
and `optimizer` do the jobs, with the formulas of `kernels` called in `epilogues`; `sparse` is the first layer's other
way; `step` is the loop. Composition in NumPy (`training.state.Steps`) stays the definition: tests hold all to it.

Letters of the jobs, of which p, q and r are not the chapter's:

    s, t    the workspace; a thread, of `threads`        p, P    a micropanel's number; a micropanel's width
    b, n    a row of x; a sample, of S for each row      r, q    a tile's first row; a row within the tile
    j       a place in a row of a micropanel             c       where in the scratch the tile in hand begins
"""
