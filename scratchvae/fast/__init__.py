"""§7.3 Whole training steps and log p(x) as a *schedule*: a list of jobs, executed by one compiled loop.

In reading order: `schedule` says which jobs a model and an estimator make, in which phases; `placing` and `layout`
where their matrices lie, `workspace` what threads share. `minibatch`, `forward`, `rules`, `backward`, `through_latent`
and `optimizer` do the jobs, with the formulas of `kernels` called in `epilogues`; `sparse` is the first layer's other
way; `step` is the loop. Composition in NumPy (`training.state.Steps`) stays the definition: tests hold all to it.
"""
