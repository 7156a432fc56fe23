"""§7.2.4 The same of samples by their slopes: where two forms hold, where a sum ends, and what no branch takes."""

REPARAM: dict[str, str] = {
    "reparam.gamma._expansion | factor or axis changed | * -> n = np.arange(DEGREE + 3 * ORDERS)":
        "as many powers as are asked for, and some that are cut off",
    "reparam.gamma._series | factor * | while * -> *ENOUGH*":
        "terms beyond rounding: time, not numbers",
    "reparam.*._fraction | * | on &= * -> on[[]...] = *":
        "a number at rest is only rounded again",
    "reparam.*._fraction | operands swapped | on &= * -> *(np.abs(1 - step) *":
        "a difference under its absolute value has no sign",
    "reparam.*._fraction | function dropped | on &= * -> on &= *":
        "value and derivatives come to rest within a few steps: time, not numbers",
    "reparam.*._fraction | factor * | on &= * -> on &= (np.abs(step - 1) > *":
        "value and derivatives come to rest within a few steps: time, not numbers",
    "reparam.gamma._fraction | function * | c, dc = * -> c, dc = (np.full_like(b, np.inf), *":
        "over the first c, which is infinite, it is nothing",
    "reparam.*._* | function dropped | d* = np.array([[]* -> d* = [[]*":
        "NumPy makes an array of a list that meets one",
    "reparam.* | * | *np.where(d == 0, 1.0, d)* -> *np.where(d == 0, 2.0, d)*":
        "the branch that is not taken is fed any harmless number",
    "reparam.* | factor * | z = np.where(tiny, 1.0, * -> z = np.where(tiny, 2.0, *":
        "the branch that is not taken is fed any harmless number",
    "reparam.* | factor * | *np.log(np.where(tiny, 1.0, x))* -> *np.log(np.where(tiny, 2.0, x))*":
        "the branch that is not taken is fed any harmless number",
    "reparam.beta._log_lower | factor * | *np.minimum(small, 0)* -> *np.minimum(small, 1)*":
        "the branch that is not taken is fed any harmless number",
    "reparam.beta._large | factor * | E = * -> E = np.where(t == 0, 2, *":
        "the branch that is not taken is fed any harmless number",
    "reparam.beta.logit_slopes | factor * | p, q = * -> p, q = *np.where(large, 2, *":
        "the branch that is not taken is fed any harmless number",
    "reparam.student_t._slope_by_integral | factor * | safe = * -> safe = np.where(tail, z, 2)":
        "the branch that is not taken is fed any harmless number",
    "reparam.student_t._slope_by_integral | factor * | t = * -> t = *np.where(tail, v, 1)*":
        "the branch that is not taken is fed any harmless number",
    "reparam.von_mises._log_tail | factor * | log_tail = * -> log_tail = *np.where(tail, part, 2)*":
        "the branch that is not taken is fed any harmless number",
    "reparam.gamma.log_slope | operands swapped | near = * -> *np.abs(np.log(alpha) - log_z)*":
        "a difference under its absolute value has no sign",
    "reparam.gamma.log_slope | function changed | near = * -> *np.abs(log_z - np.log1p(alpha))*":
        "both forms hold at the switch, and a thousandth beside it",
    "reparam.gamma.log_slope | * | low = * -> low = ~near & (log_z <= np.log*(np.maximum(alpha, [12])))":
        "both forms hold for z as far as α + 1",
    "reparam.gamma.log_slope | operands swapped | for where, form in * -> *":
        "three parts that have no number in common, in any order",
    "reparam.* | operand swapped | * = np.empty(* -> *":
        "all have the shape to which they were broadcast",
    "reparam.student_t.* | operand swapped | *nu.shape* -> *[uz].shape*":
        "all have the shape to which they were broadcast",
    "reparam.beta._lower | factor changed | rise = * -> rise = np.where(b < 1.0, *":
        "both forms of ψ hold between ½ and 1",
    "reparam.student_t._score | function * | series = np.zeros_like(y) -> series = *":
        "what it starts with ends below y²⁸ ≤ 4⁻²⁸",
    "reparam.student_t._score | factor * | for n in * -> for n in range(29, 1, -1):":
        "a term below rounding: time, not numbers",
    "reparam.student_t._slope_by_integral | * | end = * -> end = *np.log1p(*expm1(*":
        "the tail ends far enough out, wherever it does: what is beyond is below rounding",
    "reparam.von_mises._nodes | factor * | end = * -> *np.sin(z / 2) ** 2 + SPENT */*np.maximum(kappa, [12])*":
        "the tail ends far enough out, wherever it does: what is beyond is below rounding",
    "reparam.von_mises.slope | * | tail = * -> tail = [23] * *size / [23]) ** 2 >= far":
        "both integrals hold near the switch",
    "reparam.von_mises._log_tail | * | tail = z > 1 / np.sqrt(1 + kappa) -> tail = z > [12] / *(*1 + kappa)":
        "both integrals hold near the switch, and F is no smaller than ½",
    "reparam.von_mises._log_tail | factor * | tail = * -> tail = z > 1 / np.sqrt(2 + kappa)":
        "both integrals hold near the switch",
    "reparam.von_mises.sample | factor * | for * -> for _ in range(61):":
        "it has ended long before",
    "reparam.von_mises.sample | term dropped | inside = * -> inside = (z >= low) & *":
        "ln(1 − F) is concave: Newton's steps never fall short of the bracket's lower end",
    "reparam.von_mises.sample | operands swapped | if * -> if (np.abs(last - z) *":
        "a difference under its absolute value has no sign",
    "reparam.von_mises.sample | factor changed | if * -> if (np.abs(z - last) <= 2e-08 *":
        "the error is this one's square: below rounding too",
    "reparam.von_mises.sample | * | z = normal = * -> z = normal = np.minimum(-special.ndtri(p) / np.sqrt(*":
        "where Newton's method starts: time, not numbers",
    "reparam.von_mises.sample | operand swapped | z = np.where(* -> z = np.where(u > NORMAL, *":
        "at such κ Newton's method finds the normal's quantile too",
}  # fmt: skip
