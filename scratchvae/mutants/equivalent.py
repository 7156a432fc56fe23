"""§7.2 Mutants that change no value, each with the reason: patterns of names (`fnmatch`) -> why."""

EQUIVALENT: dict[str, str] = {
    "kernels.activations.softplus_np | factor or axis changed | positive = a.real > 0 -> positive = a.real > 1":
        "both forms of log(1 + e^a) are exact where neither overflows; the split only has to be far below 700",
    "kernels.normal.normal_entropy_vjp_np | factor inverted | *":
        "dividing by ones, which are there for their shape",
    "*reshape(-2*":
        "NumPy takes any negative length as 'whatever is left'",
    "distributions.unbroadcast | branch always taken | * -> summed: Array = d.sum(axis=axes).reshape(shape)":
        "a sum over no axes is the array itself",
    "distributions.Normal.log_prob | operands swapped | * -> shape, rows = as_rows(self.mu, z, self.log_var)":
        "N(z; mu, s) = N(mu; z, s): the density is symmetric in the two",
    "conditional.from_heads_vjp | function dropped | return tuple(dp) -> return dp":
        "a NamedTuple is a tuple; the word is for the type checker",
    "*strict=True* -> *":
        "strict=True stops lengths that cannot differ: a guard, not a value",
    "models.vae.Architecture.__post_init__ | operands swapped | if min(*":
        "a minimum does not see the order",
    "kernels.activations.elu_np | factor or axis changed | * -> *np.where(positive, 1, a)))":
        "the branch that is not taken is fed any harmless number",
    "* | operands swapped | *(z - mu) ** 2* -> *(mu - z) ** 2*":
        "a square has no sign",
    "networks.mlp_vjp | operand swapped | for l in * -> for l in reversed(range(len(dlayers))):":
        "layers and their cotangents are as many",
    "models.linear_gaussian.* | operands swapped | r = x - *m - * -> r = *":
        "r = x - m - zW is only ever squared here",
    "models.linear_gaussian.* | operands swapped | *swapaxes(L, -2, -1)* -> *":
        "exchanging two axes does not see which is named first",
    "models.linear_gaussian.* | operand swapped | *np.eye(mu.shape[[]-1])* -> *":
        "mu and log_var have one shape",
    "models.linear_gaussian.* | sign flipped | *mu.shape[[]-1]* -> *mu.shape[[]1]*":
        "mu has two axes: the last is axis 1",
    "models.linear_gaussian.LinearGaussian.log_marginal_vjp | sign flipped | * -> *mean.shape[[]1]*":
        "mean has two axes: the last is axis 1",
    "models.linear_gaussian.elbo_vjp | operands swapped | *(v @ squares* -> *(squares @ v*":
        "a product of two vectors",
    "models.linear_gaussian.maximum_likelihood | * | values, vectors = *(x - m).T @ (x - m)* -> *":
        "the centred data sum to zero, so a constant on the other side of the product drops out",
    "models.linear_gaussian._log_det | function dropped | return np.asarray(*":
        "a NumPy scalar behaves as the array of no axes that it becomes",
    "models.ladder.up_arrow | operands swapped | total = add(through_z, [*]dq) -> *":
        "a sum does not see the order",
    "models.ladder.up_arrow | condition turned | * need_dx=False) -> * need_dx=True)":
        "computes a product that nobody takes: time, not numbers",
    "models.vae.check_noise | factor or axis changed | B, K = * -> B, K = (len(x), phi.heads[[]1].W.shape[[]1])":
        "both heads of an encoder have K columns",
    "models.ladder.ancestors | operand swapped | for l in * -> for l in reversed(range(1, len(eps))):":
        "there is one noise for each layer",
}  # fmt: skip
