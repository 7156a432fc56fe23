"""§7.2.5 The same of the families: branches that are not taken, switches where both forms hold, symmetry."""

UNTAKEN = "the branch that is not taken is fed any harmless number"
BOTH = "both forms hold on either side of the switch, and some way beyond"
ROUNDING = "terms below rounding: time, not numbers"
ORDER = "a sum or a product of finite numbers, in any order"
TYPES = "the widest of several types, in any order"
SQUARE = "a square, an absolute value or a logarithm of one has no sign"
SHAPE = "all of them have one shape"

FAMILIES: dict[str, str] = {
    # --- branches that are not taken
    "distributions.* | factor or axis changed | *np.where(large, 0, w)* -> *np.where(large, 1, w)*": UNTAKEN,
    "distributions.* | factor or axis changed | *np.where(large, w, 3)* -> *np.where(large, w, 4)*": UNTAKEN,
    "distributions.saddle.excess | * | small, up, down = * -> *np.where(near, y, 1), *": UNTAKEN,
    "distributions.saddle.excess | * | small, up, down = * -> *np.where(above, y, 2), *": UNTAKEN,
    "distributions.saddle.excess | * | small, up, down = * -> *np.where(near | above, [-12]*": UNTAKEN,
    "distributions.saddle.excess_vjp | factor or axis changed | up = * -> up = np.where(y > 0, y, 1)": UNTAKEN,
    "distributions.saddle.excess_vjp | * | rise = * -> *np.expm1(np.where(0, y > 0, y)))": UNTAKEN,
    "distributions.saddle.excess_vjp | * | rise = * -> *np.expm1(np.where(y > [01], [01], y)))":
        "of numbers up to 0 alone it is taken",
    "distributions.saddle.soft | * | ratio = * -> *np.where(tiny, 2, e))": UNTAKEN,
    "distributions.saddle.soft* | * | *np.where(low, d, 0)* -> *np.where(low, d, 1)*": UNTAKEN,
    "distributions.saddle.soft | * | return * -> *np.where(low, 1, d) *": UNTAKEN,
    "distributions.saddle.soft | * | return * -> *np.where(0, low, d) *": UNTAKEN,
    "distributions.saddle.log_near | * | return * -> *np.log1p(np.where(near, u, 1)), far)": UNTAKEN,
    "distributions.curves.rest* | factor changed | * -> *np.where(a* < FAR, a, 2.0)*": UNTAKEN,
    "distributions.curves.box* | factor changed | m = * -> m = np.where(small, 2.0, *": UNTAKEN,
    "distributions.curves.box* | factor changed | s = * -> s = np.where(small, l, 1.0)": UNTAKEN,
    "distributions.curves.box* | * | *np.where(l.real < 0, * -> *np.where(l.real < 1, *": "beyond ±1 alone it is taken",
    "distributions.curves.* | * | * = power_series(*np.where(small, kappa, 0.0)* -> *np.where(small, kappa, 1.0)*":
        UNTAKEN,
    "distributions.curves.log_i0 | * | far = * -> far = np.where(small, 4.0, kappa)": UNTAKEN,
    "distributions.positive.* | * | log_x = * -> log_x = np.log(np.where(x == 1, 1, x))": UNTAKEN,
    "distributions.positive.* | * | log_x = * -> log_x = np.log(np.where(x == 0, 2, x))": UNTAKEN,
    "distributions.positive.fractions | * | inner = * -> inner = np.where((x == 1) | (x == 1), *": UNTAKEN,
    "distributions.positive.fractions | * | inner = * -> inner = np.where((x == 0) | (x == 2), *": UNTAKEN,
    "distributions.positive.fractions | * | inner = * -> inner = np.where((x == 0) | (x == 1), 1.0, x)": UNTAKEN,
    "distributions.student.student_vjp | * | by_x = * -> *np.where(x == mu, 2, x - mu)": "there it divides a pull of 0",
    "distributions.student.StudentT.variate | * | return * -> *np.where(many, 1, self.log_nu)*": UNTAKEN,
    "distributions.student.StudentT.variate | * | return * -> *np.where(0, many, self.log_nu)*": UNTAKEN,
    "distributions.counts.ratios | * | log_x, d = * -> *np.where(x == [01], [12], x)*": UNTAKEN,
    "distributions.counts.ratios | * | y2 = * -> *np.where(x == [01], [12], x)*": UNTAKEN,
    "distributions.counts.NegativeBinomial.sample | * | clear = * -> clear = np.where(poisson, 2, theta)": UNTAKEN,
    "distributions.counts.binomial | * | * -> *np.where(inside, [axm], [23])*": UNTAKEN,
    "distributions.counts.Binomial.sample | function dropped | return * -> *special.betaincc(x + 1, n - x, p), 1)":
        UNTAKEN,
    "distributions.counts.Binomial.sample | * | return * -> *, 2)": "as little below u as 1",
    "distributions.counts.multinomial | * | * -> *np.where(some, x, 2)*": UNTAKEN,
    "distributions.counts.multinomial | * | log_x, log_n = * -> *np.where(n > [01], n, [12])*": UNTAKEN,
    "distributions.levels.log_bin | * | delta = * -> *np.where(v.real < -40, 1, v))": UNTAKEN,
    "distributions.levels.mixed | * | shift = * -> shift = np.where(np.isneginf(top), 1, top)": UNTAKEN,
    "distributions.discrete.Poisson.log_prob | * | log_x = * -> *np.where(value == [01], [12], value))": UNTAKEN,
    "distributions.discrete.Poisson.below | factor changed | some = * -> some = np.where(few, eta, 1.0)": UNTAKEN,
    "distributions.discrete.Poisson.entropies* | * | r = * -> r = np.exp(-np.where(few, *self.summed*, *": UNTAKEN,
    "distributions.continuous.box_quantile | * | some = * -> *": UNTAKEN,
    "distributions.continuous.box_quantile | * | return * -> *np.where(high, l, 2), *": UNTAKEN,
    "distributions.continuous.box_quantile_slope | * | s = * -> s = np.where(small, L, 1.0)": UNTAKEN,
    "distributions.continuous.box_quantile_slope | * | lift = * -> *np.where(s == [01], [12], s))": UNTAKEN,
    "distributions.continuous.box_quantile_slope | * | return * -> *np.where(small, 2, L))": UNTAKEN,
    # --- switches
    "distributions.* | function changed | large = * -> large = *log1p(SMALL)": BOTH,
    "distributions.saddle.excess | * | near, above = * -> *": BOTH,
    "distributions.saddle.soft* | * | low = * -> low = d* < 1": BOTH,
    "distributions.saddle.soft | * | tiny = * -> tiny = e.real < 0.04": BOTH,
    "distributions.curves.log_i0 | * | small = kappa < 2 -> small = kappa < 3": BOTH,
    "distributions.curves.bessel_ratio | * | edge, terms = * -> *": BOTH,
    "distributions.student.StudentT.variate | * | many = * -> many = self.log_nu > np.log*(*000000000.0)": BOTH,
    "distributions.counts.step | * | return * -> *np.where(log_theta > np.log*(1[01]), *": BOTH,
    "distributions.counts.NegativeBinomial.sample | * | poisson = * -> poisson = log_theta - *log_mean* > 3[23]": BOTH,
    "distributions.levels.log_bin | * | * -> *np.where(v.real < -41, *": BOTH,
    "distributions.levels.log_bin | * | log_width = * -> *np.where(delta.real < 1.4, *": BOTH,
    "distributions.discrete.Poisson.below | function changed | few = * -> few = np.expm1(*": BOTH,
    "distributions.continuous.box_quantile | * | high = l.real > 500 -> high = l.real > 501": BOTH,
    "distributions.continuous.box_quantile_slope | * | small = L < 1 -> small = L < 2": BOTH,
    "distributions.exponential.bregman | term dropped | near = * -> *": BOTH,
    "distributions.exponential.* | factor or axis changed | * -> *<= 3 * *": BOTH,
    "distributions.saddle.log_gamma | branch always taken | * -> return np.asarray(special.loggamma(a))":
        "of a real a > 0 the two say the same",
    "distributions.shared.as_rows | branch always taken | arrays = * -> arrays = tuple((np.broadcast_to(*":
        "broadcast to its own shape, an array is itself: time, not numbers",
    # --- beyond rounding, or a search with more steps
    "distributions.curves.rest* | * | tail = * -> *BERNOULLI[[]:8]*": ROUNDING,
    "distributions.curves.log_i0 | * | near, _, _ = * -> *, 81)": ROUNDING,
    "distributions.discrete.Poisson.below | * | top = * -> *": ROUNDING,
    "distributions.discrete.Poisson.below | * | return * -> *1[23] * * + 4[01]))": ROUNDING,
    "distributions.continuous.box_quantile | * | return * -> *np.log(u + *np.exp(-l)) / *":
        "1 − u is 1 wherever e^−l counts beside u",
    "distributions.shared.counted | * | for * -> for _ in range(64):*": ROUNDING,
    "distributions.shared.counted | * | if (high - low * -> if (high* <= 1).all():":
        "0 and 1 are neighbours; others are halved again, which moves nothing",
    "distributions.shared.counted | * | low, high = * -> *":
        "a wider or a moved start of the search: time, not numbers",
    "distributions.shared.counted | * | middle = * -> middle = np.where(high* > 1, (low + high) / 2, high)":
        "where they are neighbours it is the lower one again, which is short",
    "distributions.counts.Multinomial.sample | * | for * -> for d in range(u.shape[[]-1] - 2, -2, -1):":
        "after the last column is nothing, and nobody reads it",
    # --- what is symmetric
    "distributions.* | operands swapped | * -> *log_add(*)*": "a sum of two, in any order",
    "distributions.exponential.* | operands swapped | * -> *inner(*)*": ORDER,
    "distributions.exponential.*.eta_vjp | operands swapped | deta = * -> *zip(self.eta(), deta*": ORDER,
    "distributions.exponential.mean_difference | operands swapped | far = far + * -> *": "both ends are asked the same",
    "distributions.exponential.mean_difference | term dropped | far = far + * -> *> NEAR * np.abs([hl]) *": BOTH,
    "distributions.exponential.pairs | operands swapped | return * -> *": "what is asked of them is symmetrical",
    "distributions.exponential.ExponentialFamily.difference | function dropped | steps = * -> *":
        "one operand that is float64 makes the difference so",
    "distributions.exponential.integral | operands swapped | first, last = * -> *": "both ends are asked the same",
    "distributions.exponential.integral | factor dropped | rough = * -> *((first <= last) &*":
        "many panels where one would do: time, not numbers",
    "distributions.exponential.integral | factor dropped | rough = * -> *& (last <= first)*":
        "many panels where one would do: time, not numbers",
    "distributions.exponential.mean_difference | operands swapped | first, last = * -> *":
        "both ends are asked the same",
    "distributions.exponential.mean_difference | operands swapped | far = * -> *pairs(last, first))))":
        "both ends are asked the same",
    "distributions.exponential.mean_difference | * | far = * -> *, 0, 2) for *": "any number above none says the same",
    "distributions.exponential.mean_difference | * | summed* -> *[[]0.0] * len(one)": "both have as many blocks",
    "distributions.positive.*_vjp | operands swapped | * -> *times(rise, dy), *": ORDER,
    "distributions.positive.log_normal_vjp | operands swapped | * -> *(times(r, d) - 1))*": "r is 0 where d is",
    "distributions.student.student_vjp | operands swapped | return * -> *times(pull - 1, dy), *": ORDER,
    "distributions.student.squared | operands swapped | d = x - mu -> d = mu - x": SQUARE,
    "distributions.student.student* | operands swapped | e, w = * -> e, w = (squared(mu, x, *": SQUARE,
    "distributions.discrete.Categorical.curvature | operands swapped | off = * -> *": SQUARE,
    "distributions.continuous.Gamma.curvature | operands swapped | * -> *": SQUARE,
    "distributions.levels.* | operands swapped | return np.clip(* -> return np.clip(0, *":
        "the middle one of three numbers, in any order where its bounds are",
    # --- shapes and types
    "distributions.* | operands swapped | return summed(* -> return summed(*": TYPES,
    "distributions.levels.LogisticMixture.log_prob | * | return * -> *[*]self[[]:4])":
        "a whole number has no say in the type",
    "distributions.exponential.* | operands swapped | return narrow(* -> *": TYPES,
    "distributions.positive.LogNormal.mean | * | * -> *.astype(self.log_var.dtype)": "two heads have one type",
    "distributions.positive.LogNormal.divergences | * | * -> *np.zeros_like(self.log_var), *": SHAPE,
    "distributions.* | * | *parts[[]0].shape* -> *parts[[]1].shape*": SHAPE,
    "distributions.discrete.Classes.log_prob_vjp | * | *slope[[]..., 0]* -> *slope[[]..., 1]*": SHAPE,
    "distributions.positive.beta_vjp | * | * = fractions(* -> * = fractions(log_a, log_a, log_b)":
        "what depends on x is not taken",
    "distributions.levels.*.sample | function dropped | return np.asarray(* -> return np.take_along_axis(*":
        "an array already: the word is for the type checker",
    "distributions.* | option dropped | *np.take_along_axis(*, axis=-1)* -> *":
        "NumPy's own choice since 2.3; before, it refuses",
    "distributions.*.*sample* | function dropped | *widened(u)* -> *":
        "SciPy widens what meets float64, and NumPy's formulas here do not subtract u from 1 before",
    "distributions.shared.column | function dropped | * -> return per_row(*": "what it multiplies is float64",
    "distributions.exponential.ExponentialFamily.log_h | sign flipped | * -> *":
        "NumPy takes −0 for 0 wherever it is added",
    "distributions.exponential.ExponentialFamily.heads | function dropped | * -> *":
        "a NamedTuple is a tuple; the word is for the type checker",
    "distributions.exponential.ExponentialFamily.kl_to | function dropped | kl = * -> *":
        "a list is walked as a tuple is",
}  # fmt: skip
