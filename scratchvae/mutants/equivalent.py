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
    "distributions.as_rows | condition turned | *":
        "the first array always has its own shape, so all are broadcast, equal ones too: the same arrays, later",
    "models.ladder.up_arrow | condition turned | * need_dx=False) -> * need_dx=True)":
        "computes a product that nobody takes: time, not numbers",
    "models.vae.check_noise | factor or axis changed | B, K = * -> B, K = (len(x), phi.heads[[]1].W.shape[[]1])":
        "both heads of an encoder have K columns",
    "models.ladder.ancestors | operand swapped | for l in * -> for l in reversed(range(1, len(eps))):":
        "there is one noise for each layer",
    "models.ladder.up_arrow | operands swapped | *add(through_z, explicit)* -> *add(explicit, through_z)*":
        "a sum does not see the order",
    "models.ladder.up_arrow | option dropped | net_vjp(*, need_dx=False) -> *":
        "computes a product that nobody takes: time, not numbers",
    "models.ladder.up_arrow | * | if w.score is None or (* -> if w.score is None or (*":
        "a score and a closed KL never come together: estimators have the one, the bound the other",
    "models.ladder.broadcast | function dropped | * -> return w":
        "weights come with an axis of samples already",
    "models.ladder.down_arrows | function dropped | * -> *f.p[[]l].log_prob_vjp(w.theta, *":
        "weights come with an axis of samples already",
    "models.vae.rescaled | operand swapped | *(m.shape[[]1] / * -> *(x.shape[[]1] / *":
        "x and its mask have one shape",
    "models.vae.rescaled | factor or axis changed | * -> *np.where(count == 0, 2, count)*":
        "a row without an observation is zero, whatever it is divided by",
    # --- any room
    "* | function dropped | return np.asarray(* -> return [!n]*":
        "np.asarray of an array is the array: the word is for the type checker",
    "models.families.Categorical.sample | function dropped | return np.asarray(np.eye(* -> return np.eye(*":
        "np.asarray of an array is the array: the word is for the type checker",
    "* | function dropped | return self.mu + np.asarray(* -> return self.mu + (*":
        "np.asarray of an array is the array: the word is for the type checker",
    "* | option dropped | *np.eye(*dtype=bool)* -> *":
        "np.where takes any number but zero for True",
    "* | operands swapped | *(x[[]:, None, :[]] - theta.mu) ** 2* -> *(theta.mu - x[[]:, None, :[]]) ** 2*":
        "a square has no sign",
    "* | operands swapped | *np.swapaxes(?, -2, -1)* -> *np.swapaxes(?, -1, -2)*":
        "exchanging two axes does not see which is named first",
    "* | operands swapped | *max(B - 1, 1)* -> *max(1, B - 1)*":
        "a maximum does not see the order",
    # --- families
    "models.families.FullNormal.* | sign flipped | *self.mu.shape[[]-1]* -> *self.mu.shape[[]1]*":
        "mu has two axes: the last is axis 1",
    "models.families.FullNormal._inverse_diagonal | * | eye = np.eye(L.shape[[]-1]* -> eye = np.eye(L.shape[[]*":
        "L is square, and always (B, K, K)",
    "models.families.FullNormal.L | factor or axis changed | * -> *np.exp(np.where(eye, self.raw, 1)), *":
        "the branch that is not taken is fed any harmless number",
    "models.families.FullNormal._inverse_diagonal | factor or axis changed | * -> *1 / np.where(eye, L, 2), 0)":
        "the branch that is not taken is fed any harmless number",
    "models.families.FullNormal.log_prob | operands swapped | *(z - self.mu)* -> *(self.mu - z)*":
        "y is only ever squared here",
    # --- optimizers
    "training.optim.Optimizer.rate | operands swapped | *min(epoch / epochs, 1.0)* -> *min(1.0, epoch / epochs)*":
        "a minimum does not see the order",
    "training.optim.Optimizer.update | operands swapped | *('adam', 'adamw')* -> *":
        "membership does not see the order",
    # --- estimators
    "estimators.baselines.predict | sign flipped | * -> return (dense(hs[[]1], *":
        "one hidden layer: the last activation is number 1",
    "estimators.baselines.learn | sign flipped | * -> dh = dense_vjp(dout, hs[[]1], *":
        "one hidden layer: the last activation is number 1",
    "estimators.baselines.learn | * | dout = *.astype(hs[[]-1[]].dtype)[[]:, None[]] -> dout = *":
        "ψ's buffers keep their type whatever is added into them: the word spares a product in float64",
    "estimators.baselines.learn | factor or axis changed | mlp_vjp(* -> *dlayers[[]:2[]], 'tanh')":
        "mlp_vjp walks through the layers that it is given, and the second cotangent belongs to none",
    "estimators.baselines.learn | function dropped | NUMPY.adam([*]flat, int(* -> *":
        "a whole number, as a float or an int",
    "estimators.baselines.expected | function dropped | mean = np.full(B, float(* -> *":
        "a NumPy scalar is the number that it holds",
    "estimators.baselines.update | function dropped | s[[]'*'[]] += share * *float(* -> *":
        "a NumPy scalar is the number that it holds",
    "estimators.baselines.nvil | operands swapped | *max(1.0, * -> *, 1.0))*":
        "a maximum does not see the order",
    "estimators.control_variate.coefficient | function dropped | * -> *out=top, where=bottom != 0)":
        "where no score is left to divide by, the sum above it is zero too",
    "estimators.control_variate.of_others | += turned to = | found[[]1:[]] += * -> *":
        "the first sum is added to zeros",
    "estimators.*.rule | factor changed | return with_baseline(d.r, 0.0)._replace(* -> return with_baseline(d.r, 1.0)*":
        "the score of that baseline is replaced in the same line",
    "estimators.rao_blackwell.signals | function dropped | *blankets.T.astype(factors.dtype)* -> *blankets.T -*":
        "floats times booleans have the floats' type",
    "estimators.measure.moved | operand swapped | *np.eye(z.shape[[]-1], * -> *np.eye(values.shape[[]-1], *":
        "values replace those of z, shape for shape",
    "estimators.measure.rule | factor or axis changed | K, S, B = at[[]0].shape* -> K, S, B = at[[]1].shape*":
        "the three have one shape",
    "estimators.measure.rule | operands swapped | d* = np.moveaxis(*, 0, -1)* -> *, -1, 0)*":
        "(K, B) to (B, K): of two axes either may be said to move",
    "estimators.measure.rule | sign flipped | d* = np.moveaxis(*, 0, -1)* -> *, 0, 1)*":
        "(K, B) has two axes: the last is axis 1",
    "estimators.renyi.weighted | operand swapped | * -> *path=np.ones_like(L), score=-weights)":
        "ones, for every sample alike",
    "estimators.amortised.gradient | operand swapped | w = np.full(* -> *, noise.dtype)*":
        "x and its noise have one type",
    "estimators.amortised.gradient | * | net_vjp(dq, q, layers, phi, dphi, k, need_dx=False) -> net_vjp(dq, *":
        "computes a product that nobody takes: time, not numbers",
    "estimators.integrands.Integrand.log_likelihood | function changed | * -> *(self.f(z).mean(axis=-1))":
        "one latent: the sum of one number",
    "estimators.integrands.Free.kl* | * | return *np.zeros_like(* -> return *np.zeros_like(*":
        "zeros, and mu and log_var have one shape",
    "estimators.integrands.square | operands swapped | * -> *lambda z: (k - z) ** 2, *":
        "a square has no sign",
    "estimators.integrands.exact | operands swapped | * -> *(mean - g) ** 2)":
        "a square has no sign",
    "estimators.deep.gradient | operands swapped | total = np.array_equal(* -> *":
        "equality does not see the order",
    "estimators.deep.gradient | branch always taken | ladder.backward(* -> *path, w * score)*":
        "two walks with one weight give what one walk gives: time, not numbers",
}  # fmt: skip
