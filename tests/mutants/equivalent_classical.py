"""§7.1.2 The same of the classical rivals: where 0 times anything is 0, and sums that have no order."""

CLASSICAL: dict[str, str] = {
    "classical.em.* | function dropped | *float(*":
        "a NumPy scalar is a number; the word is for the type checker",
    "classical.mean_field.gaussian_gap | function dropped | *float(*":
        "a NumPy scalar is a number; the word is for the type checker",
    "classical.mean_field.ising | function dropped | return np.asarray(*":
        "an array already; the word is for the type checker",
    "classical.mean_field.entropy | factor or axis changed | *np.where(p > 0, p, 1)* -> *np.where(p > 0, p, 2)*":
        "the branch that is not taken is fed any harmless number, and meets a p of 0",
    "classical.mean_field.mean | factor or axis changed | *, 0)* -> *, 1)*":
        "what has no weight may be any number",
    "classical.mean_field.belief | factor or axis changed | states = exact.bits(K, 1)* -> *":
        "the states are the same for any number of rows",
    "classical.mean_field.belief | operands swapped | return * -> return [[]Factor(*":
        "a sum over factors does not see their order",
    "classical.mean_field.belief | function dropped | return * -> *Factor(range(K), tied)*":
        "a range is looked up as a tuple is",
    "classical.mean_field.ising_bound | sign flipped | * -> *entropy(0.5 * (1 - m)))":
        "the entropy of a bit is that of its opposite",
    "classical.mean_field.saul | operands swapped | for weight, t in * -> *":
        "the two terms are added up, in any order",
    "classical.wake_sleep.* | * | net_vjp(*, need_dx=False) -> net_vjp(*":
        "computes a product that nobody takes: time, not numbers",
    "classical.mcem.e_step | operand swapped | * -> *v.*":
        "momenta have the shape and the type of z",
    "classical.mcem.m_step | operand swapped | * -> *z.dtype*":
        "x and z are of one type",
    "classical.mcem.tuned | function dropped | * -> return log_step + RATE * (probability.mean() - TARGET)":
        "a NumPy scalar is a number; the word is for the type checker",
    "classical.full_vb.*vjp | operands swapped | for total, [*]* in zip(dq, *": "two shares are added up, in any order",
    "classical.full_vb.* | operands swapped | quadratic = * -> *":
        "a product of two vectors",
    "classical.full_vb.* | function dropped | return float(* -> *":
        "a NumPy scalar is a number; the word is for the type checker",
    "classical.full_vb.* | operands swapped | square = * -> *(a - self.y[[]rows])*":
        "a square has no sign",
}  # fmt: skip
