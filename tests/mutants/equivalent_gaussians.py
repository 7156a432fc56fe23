"""§7.2.5 The same of Gaussians, flows and mixtures: squares, the widest of several types, where two forms hold."""

GAUSSIANS: dict[str, str] = {
    "distributions.gaussians.FullNormal.* | sign flipped | *self.mu.shape[[]-1]* -> *self.mu.shape[[]1]*":
        "mu has two axes: the last is axis 1",
    "distributions.gaussians.FullNormal._inverse_diagonal | * | eye = np.eye(L.shape[[]-1]* -> *(L.shape[[]*":
        "L is square, and always (B, K, K)",
    "distributions.gaussians.FullNormal.L | factor or axis changed | * -> *np.exp(np.where(eye, self.raw, 1)), *":
        "the branch that is not taken is fed any harmless number",
    "distributions.gaussians.FullNormal._inverse_diagonal | factor or axis changed | * -> *1 / np.where(eye, L, 2), 0)":
        "the branch that is not taken is fed any harmless number",
    "distributions.gaussians.solve_lower | operand swapped | for * -> for i in range(L.shape[[]-1]):":
        "L is square, as wide as d",
    "distributions.gaussians.FullNormal._log_det | function dropped | return np.asarray(* -> return np.diagonal(*":
        "a NumPy scalar is the number that it holds",
    "distributions.gaussians.*.log_prob | operands swapped | *value - mu* -> *mu - value*":
        "of the difference there are squares alone",
    "distributions.mixtures.squares | operands swapped | *(z[[]:, None] - mu)* -> *(mu - z[[]:, None])*":
        "a square has no sign",
    "distributions.* | operands swapped | return narrow(*, z, [*]self) -> return narrow(*, [*]self, z)":
        "the widest of several types, in any order",
    "distributions.mixtures.MixtureNormal.sample | operands swapped | return narrow(* -> *, self.log_var, self.mu)":
        "the wider of two types, in any order",
    "distributions.mixtures.MixtureNormal._parts | function dropped | far = * -> far = * + self.mu ** 2":
        "a square has no sign, and an imaginary part is a step of nothing",
    "distributions.mixtures.MixtureNormal._parts | operand swapped | step = * -> *self.log_var*":
        "mu and log_var have one shape",
    "distributions.planar.bend | factor or axis changed | * -> e = np.exp(np.where(s.real < 1, *":
        "both forms hold between 0 and 1",
    "distributions.planar.inverse_square | factor or axis changed | * -> *np.where(square == 0, 2, square)*":
        "at w = 0 it multiplies w",
    "distributions.planar.constrained | * | far = x.real < -1 -> far = x.real < [1-]*":
        "both forms hold between −2 and 1",
    "distributions.planar.constrained | factor or axis changed | near, rest = * -> *np.where(far, 1, x), *":
        "the branch that is not taken is fed any harmless number",
    "distributions.planar.constrained | factor or axis changed | near, rest = * -> *np.where(far, x, 1))":
        "the branch that is not taken is fed any harmless number",
    "distributions.planar.root | operands swapped | new = * -> *np.clip(s, s - step, c)*":
        "the middle one of three numbers, in any order where its bounds are",
    "distributions.planar.root | operands swapped | new = * -> *np.clip(c, s - step, s)*":
        "the middle one of three numbers, in any order where its bounds are",
    "distributions.planar.root | function dropped | new = * -> *, s - step*":
        "no step goes beyond the root except by rounding: time, not numbers",
    "distributions.planar.root | operands swapped | if * -> if (np.abs(s - new) *":
        "a difference under its absolute value has no sign",
    "distributions.planar.root | factor * | if (np.abs(new - s) * -> if (np.abs(new - s) <= [48]e-16*":
        "the error is about this one's square: time, not numbers",
    "distributions.planar.root | * | if (np.abs(new - s) * -> if (np.abs(*) <= 4e-16 * new).all():":
        "it goes on to the last step: time, not numbers",
    "distributions.planar.Planar.mean | operand swapped | * -> return self.sample(np.zeros_like(self.log_var))":
        "noise of zeros, broadcast from either shape",
    "distributions.planar.Planar.log_prob_vjp | operands swapped | first = * -> *, q.log_var, q.mu)[[]0]":
        "only the first of the broadcast arrays is taken",
    "distributions.planar.planar | operand swapped | shape = * -> shape = *log_var.shape[[]-1])":
        "two heads have one width",
    "distributions.planar.planar_vjp | factor or axis changed | * -> *[-]2) for d in *":
        "NumPy finds the length that any negative number stands for",
}  # fmt: skip
