"""§7.2 Mutants that change no value, each with the reason: patterns of names (`fnmatch`) -> why."""

from .equivalent_classical import CLASSICAL
from .equivalent_families import FAMILIES
from .equivalent_gaussians import GAUSSIANS
from .equivalent_reparam import REPARAM

EQUIVALENT: dict[str, str] = {
    "kernels.activations.softplus_np | factor or axis changed | positive = a.real > 0 -> positive = a.real > 1":
        "both forms of log(1 + e^a) are exact where neither overflows; the split only has to be far below 700",
    "kernels.normal.normal_entropy_vjp_np | factor inverted | *":
        "dividing by ones, which are there for their shape",
    "*reshape(-2*":
        "NumPy takes any negative length as 'whatever is left'",
    "distributions.shared.unbroadcast | condition dropped | * -> *or shape[[]i - extra[]] == 1))":
        "the sum along an axis of one is its one number",
    "distributions.shared.unbroadcast | branch always taken | * -> summed: Array = d.sum(axis=axes).reshape(shape)":
        "a sum over no axes is the array itself",
    "distributions.normal.Normal.log_prob | operands swapped | * -> shape, rows = as_rows(self.mu, z, self.log_var)":
        "N(z; mu, s) = N(mu; z, s): the density is symmetric in the two",
    "conditional.from_heads_vjp | function dropped | return tuple(dp) -> return dp":
        "a NamedTuple is a tuple; the word is for the type checker",
    "* | option dropped | *strict=True* -> *":
        "strict=True stops lengths that cannot differ: a guard, not a value",
    "* | condition turned | *strict=True* -> *strict=False*":
        "strict=True stops lengths that cannot differ: a guard, not a value",
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
    "distributions.shared.as_rows | condition turned | *":
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
    "* | option dropped | *np.eye(*dtype=bool)* -> *":
        "np.where takes any number but zero for True",
    "* | operands swapped | *(x[[]:, None, :[]] - theta.mu) ** 2* -> *(theta.mu - x[[]:, None, :[]]) ** 2*":
        "a square has no sign",
    "* | operands swapped | *np.swapaxes(?, -2, -1)* -> *np.swapaxes(?, -1, -2)*":
        "exchanging two axes does not see which is named first",
    # --- families
    "models.decoded.Decoded.log_joint_vjp | function dropped | * and (not theta):":
        "the way of any prior gives N(0, I)'s slope too: time, not numbers",
    # --- convolution
    "convolution.Geometry.padded | * | reach = * -> reach = *":
        "more zeros after the image than any patch reads: memory, not numbers",
    "convolution.Geometry.padded | operands swapped | sizes = * -> *":
        "more zeros after the image than any patch reads: memory, not numbers",
    "convolution.conv_vjp_params | function dropped | dW, spare = * -> *, O)":
        "what is added into it nobody takes",
    "convolution.conv_vjp_params | operand swapped | for part in * -> for part in blocks(len(dy), *":
        "x and dy have as many rows",
    "convolution.conv_vjp_params | operands swapped | np.add(dp.b, * -> *":
        "a sum does not see the order",
    "convolution.blocks | * | many = * -> many = *":
        "how many rows are taken at once: time and memory, not numbers",
    "models.convolutional.as_image | operands swapped | * -> *not in (3, 2)*":
        "membership does not see the order",
    # --- optimizers
    "training.optim.Optimizer.update_part | operands swapped | *('adam', 'adamw')* -> *":
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
    "estimators.deep.gradient | branch always taken | ladder.backward(* -> *path, w * score)*":
        "two walks with one weight give what one walk gives: time, not numbers",
    # --- schedule
    "fast.* | statement dropped | out_of_line() -> pass":
        "advice to the compiler",
    "fast.* | operand swapped | *steal(*, t, threads) -> *steal(*, threads, threads)":
        "whichever thread takes a unit, it is the same unit",
    "fast.* | factor or axis changed | *steal(*, 1, t, threads) -> *steal(*, 2, t, threads)":
        "how many units a thread takes at once: time, not numbers",
    "fast.* | operands swapped | pack_heads(s, one, two, p, r) -> *":
        "two heads are treated alike",
    "fast.backward.through_transposed | factor or axis changed | one, P, done = *, -1) -> *, -2)":
        "a number that no panel has",
    "fast.backward.through_transposed | branch always taken | W = * -> W = transpose_panel(*":
        "a panel is transposed once more: time, not numbers",
    "fast.backward.through_transposed | factor or axis changed | if job.below >= 0: -> if job.below >= 1:":
        "no layer reads the packed cotangent of layer 0",
    "fast.backward.made_by | term dropped | dx [*]= zeros(s.work) + * -> *":
        "a number stands for a vector of it",
    "fast.backward.through_* | operands swapped | made_by(s, c, * -> made_by(s, ?*, c, *":
        "two places of which only the sum is asked for",
    "fast.backward.dots_tile | function dropped | for i in range(column, min(* -> *":
        "a surplus that nobody reads",
    "fast.epilogues.with_ones | * | * -> return where(at < width, y, *":
        "a number or a mask stands for a vector; columns beyond the one of ones are read by nobody",
    "fast.epilogues.*_row | sign flipped | product = value + 1.0 -> *":
        "the signs of an even number of lanes cancel",
    "fast.epilogues.* | * | slope, dlog, unit = * -> slope, dlog, unit = *":
        "a number stands for a vector of it",
    "fast.epilogues.*_row | term dropped | product = value + 1.0 -> product = 1.0":
        "a number stands for a vector of it",
    "fast.epilogues.gaussian_row | operand swapped | if missing: -> if known:":
        "without gaps each number is equal to itself",
    "fast.epilogues.latent_row | * | mu, log_var, real = * -> *":
        "KL is 0 in the padding, where mu and log_var are",
    "fast.* | operand swapped | lanes = lane_count(work) -> lanes = lane_count(C)":
        "both arrays have one type",
    "fast.* | operands swapped | *[[]1[]]*[[]2[]]* -> *[[]2[]]*[[]1[]]*":
        "both normals are only ever squared, and added",
    "fast.epilogues.moved_row | operands swapped | eps, n1, n2 = * -> *":
        "both normals are only ever squared, and added",
    "fast.epilogues.moved_row | * | store(work, places[[]4[]] + n, with_ones(* -> store(work, places[[]4[]] + n, *":
        "z has its column of ones already",
    "kernels.activations.relu_vjp | * | * -> return where(y > 0.0, dy, *":
        "zero, whatever it is made of",
    "fast.forward.hidden_tile | * | if (p + 1) * P > layer.outputs: -> if (p + 2) * P > layer.outputs:":
        "whole panels are left as they are: time, not numbers",
    "fast.* | function dropped | tiles, S = (tile_count(rows), * -> tiles, S = (rows, *":
        "tiles beyond the last have no row",
    "fast.forward.latent | * | kl = latent_row(* -> kl = latent_row(*, heads, p*":
        "KL is 0 in the padding, where mu and log_var are",
    "fast.forward.density | * | if w != 0.0 and rows >= FEW_ROWS: -> *":
        "cotangents packed that nobody reads: time, not numbers",
    "fast.forward.density_tile | * | bernoulli_row(* -> bernoulli_row(*, dys[[]1[]], *":
        "a Bernoulli has one head",
    "fast.forward.density_tile | condition dropped | missing = * -> missing = *":
        "z has no gaps, and without gaps each number is equal to itself",
    "fast.forward.density_tile | * | if job.family == NORMAL and w != 0.0: -> if job.family == NORMAL*":
        "in evaluation nobody reads the cotangents",
    "fast.forward.pack_heads | operand swapped | pack_tile(*, one.outputs, p, r) -> *, two.outputs, p, r)":
        "the heads of a net have one width",
    "fast.forward.move | * | z, moved = * -> z, moved = *":
        "two records of latents, the last the moved one",
    "fast.* | function dropped | *np.uintp(* -> *":
        "an unsigned index is not wrapped: time, not numbers",
    "fast.optimizer.constants | function dropped | adam = *int(s.memory[[]2[]])* -> *":
        "a whole number, as a float or an int",
    "fast.optimizer.constants | factor changed | return Constants(ADAM, adam, * -> *":
        "Adam looks at its own five numbers alone, and no prior pulls at a baseline",
    "fast.workspace.affine | factor or axis changed | * layer.inputs + 1, height) -> * layer.inputs + 2, height)":
        "the row of W below the bias is padding, zero",
    "fast.layout.Builder.place | * | start = * -> *":
        "more room than is needed",
    "fast.layout.Builder.place | * | self.work += * -> *":
        "more room than is needed",
    "fast.layout.Builder.layer | * | panels, rows = * -> *":
        "more room than is needed, or an even number of rows: time, not numbers",
    "fast.layout.Builder.layer | function dropped | *int(owner == * -> *":
        "a truth is 0 or 1",
    "fast.layout.Builder.net | condition dropped | made = *other is not None and same_outputs* -> *":
        "outputs are shared with a shadow alone",
    "fast.layout.Builder.net | * | places = * -> places = *":
        "more room than is needed",
    "fast.layout.Builder.net | function dropped | return Net(tuple(hidden), * -> return Net(hidden, *":
        "a list, as it is read here, is a tuple",
    "fast.layout.Builder.weighed | factor or axis changed | * -> *.inputs + 2), *":
        "more room than is needed",
    "fast.layout.Builder.weighed | function dropped | return tuple(range(* -> return range(*":
        "a range, as it is read here, is a tuple",
    "fast.layout.set_ones | function dropped | *int(layer* -> *":
        "a NumPy integer is the number that it holds",
    "fast.layout.set_ones | factor or axis changed | * -> *) + 2, panel))":
        "it differs for 7, 15, … columns, whose ones come again with each output",
    "fast.layout.convert | * | for p in range(layer.panels * t // threads, * -> *":
        "a panel is copied twice, or one that has no columns",
    "fast.minibatch.* | factor or axis changed | * + 3) // 4* -> * + 4) // 4*":
        "a block more than is needed",
    "fast.minibatch.minibatch | * | many = min(o.samples_per_name, * -> *":
        "noise of samples that nobody reads, in rows that are there: time, not numbers",
    "fast.* | function dropped | *real(* -> *":
        "in float64, as here, a number's type is the arrays'; in float32 it is a rounding",
    "fast.* | function dropped | *s.work.dtype.type(o.columns* -> *":
        "in float64, as here, a number's type is the arrays'; in float32 it is a rounding",
    "fast.minibatch.finish_row | term dropped | s.work[[]np.uintp(o.x + i)[]] = * -> s.work[[]np.uintp(i)[]] = *":
        "what q reads is placed first",
    "fast.minibatch.data_row | term dropped | whole = o.columns - o.columns % lanes -> *":
        "columns by vectors or one at a time: the same numbers",
    "fast.minibatch.data_row | function dropped | uniform = unsigned_to_float(* -> *":
        "NumPy makes a float of a word times a float; compiled, it is no program",
    "fast.minibatch.data_row | * | x = kept(x, where(* -> x = kept(x, *":
        "a number or a mask stands for a vector",
    "fast.minibatch.data_row | operands swapped | *data_value(s, *, c, u) -> *data_value(s, *, u, c)":
        "two places of which only the sum is asked for",
    "fast.minibatch.kept | operand swapped | return where(x == x, bits, x) -> return where(x == x, bits, bits)":
        "the bits of a NaN are NaN already: 0 times it",
    "fast.minibatch.data_value | sign flipped | return x -> return -x":
        "NaN has no sign that counts",
    "fast.sparse.list_row | function dropped | * columns(s.work, c) * np.uint32(P))) -> *":
        "a type that Python's numbers take anyhow",
    "fast.sparse.is_sparse | * | * -> *":
        "by lists or by tiles: the same numbers",
    "fast.sparse.list_columns | factor or axis changed | * -> begin, end = static_share(s.options.columns + 2, *":
        "a column more, of which no list has an entry",
    "fast.sparse.listed_sums | operand swapped | listed_1(* -> listed_1(C, c, step, A, a, the_list, *":
        "the distance of a second panel, where there is none",
    "fast.sparse.stretch | * | if i > 0 or end - begin < tiles: -> *":
        "one panel at a time: time, not numbers",
    "fast.sparse.sparse_* | * | begin, end = steal(*, 2 * tiles, t, threads) -> *, t, threads)":
        "how many units a thread takes at once, or a counter that no other loop has",
    "fast.sparse.sparse_hidden | factor dropped | begin += panels * run -> *":
        "units are done twice: time, not numbers",
    "fast.sparse.* | term dropped | W = layer.weights + * -> *":
        "the first layer's weights are the first",
    "fast.placing.Placed.latent_records | factor or axis changed | *z.get(name, -1)* -> *":
        "any negative number says that there is no place",
    "fast.placing.place | branch always taken | places, owner = * -> *":
        "without a prior, its pull is 0",
    "fast.placing.place | * | y, out = * -> y, out = *":
        "a hundred units fill no panel, and one has room enough",
    "fast.placing.place | * | made.baseline = Net(* -> *":
        "a number that no activation has",
    "fast.placing.place_latents | branch always taken | z |= {'dvalue': * -> *":
        "a place where zeros stay: they are added",
    "fast.placing.place_moved | * | b, size, z = * -> *b.place(made.sizes[[]0]*":
        "the moved z is read packed alone; the ones of its panels, where they have no room, fall where packing writes",
    "fast.rules.weights | function dropped | s.path[[]n[]] = * -> *else s.rule.path":
        "a whole number, as a float or an int",
    "fast.rules.weights | * | s.path[[]n[]] = * -> s.path[[]n[]] = s.theta[[]n[]] / w if s.rule.path == SHARES*":
        "evaluation, where w is 0, goes by rules whose path is whole",
    "fast.rules.weights | function dropped | expected = * -> * / (S - 1)":
        "of a sample alone nobody reads that score",
    "fast.rules.weights | factor * | s.score[[]n[]] = * -> s.score[[]n[]] = -s.theta[[]n[]]* if *":
        "a rule whose score is TOTAL has a whole path: a factor of 1",
    "fast.rules.learned | factor or axis changed | if s.rule.network >= 0: -> *":
        "the first layer is q's",
    "fast.rules.learned | operands swapped | variance += * ** 2 / N -> *":
        "a square has no sign",
    "fast.schedule.densities | * | jobs.add(DENSITY, {x, 'target' if l == 0 else ('z', l - 1)}* -> *":
        "z_l, of which x is made, was made of z_{l-1}",
    "fast.schedule.forward | option dropped | jobs.add(CONTROL_VJP, * -> *":
        "the VAE has one latent layer, also counted from the last",
    "fast.schedule.measured | * | jobs.add(DENSITY, * -> *":
        "cotangents that nobody reads: time, not numbers",
    "fast.schedule.backward | * | *.get('d*', -1)* -> *":
        "a place that is there wherever it is asked for",
    "fast.schedule.backward | condition dropped | down(* -> *, place, path and l > 0)":
        "what it writes the shadow writes over: time, not numbers",
    "fast.schedule.backward | * | down(jobs, m, Net(m.baseline.hidden, m.baseline.heads), ROWS, None, -1, False) -> *":
        "x has no cotangent, so it needs no place",
    "fast.schedule.backward | function dropped | updates(* -> *, [*]net.hidden), *":
        "weights are updated in any order: time, not numbers",
    "fast.schedule.down | factor or axis changed | below = * -> * else -2":
        "any negative number says that there is none",
    "fast.schedule.updates | option dropped | jobs.add(UPDATE, * -> *, rows=rows)":
        "by lists or by tiles: the same numbers",
    "fast.step.gather | factor or axis changed | * -> *Now(step, first, rows, samples, 1)*":
        "how large the whole minibatch is, what fills it does not read",
    "fast.step.[!g]* | * | *Now(* -> *Now(*":
        "a field of the micro-batch that none of these jobs reads",
    "fast.step.bounds | * | density(*if job.silent else w) -> *":
        "cotangents that nobody reads: time, not numbers",
    "fast.step.* | operand swapped | *places.size* -> *names.size*":
        "there is a name for each place",
    "fast.step.* | factor or axis changed | gather(s, 0, 1, * -> *, 1, rows, *":
        "in evaluation noise is named by what a row holds",
    "fast.step.log_likelihood | factor or axis changed | gather(s, 0, 1, * -> *1 + first, 1, 1, *":
        "in evaluation noise is named by what a row holds",
    "fast.step.* | factor or axis changed | bounds(s, 0, 1, *, 0) -> *, 1)":
        "in evaluation nobody reads weights and cotangents",
    "fast.step.log_likelihood | factor changed | most, total = * -> *, 1.0)":
        "the first sample leaves nothing of it: times e^-inf",
    "fast.step.log_likelihood | branch always taken | found[[]b[]] = * -> found[[]b[]] = most + *":
        "the logarithm of NaN is NaN",
    "fast.step.run | * | restore(before) -> *":
        "a register of the processor, which ordinary Python does not have",
    "fast.through_latent.through_latent | operands swapped | * -> *":
        "two heads are treated alike",
    "fast.through_latent.* | factor or axis changed | if z.shadow_mu >= 0: -> *":
        "the first layer is no shadow",
    "fast.through_latent.slopes | operands swapped | dmu, twice, total, kw = * -> *":
        "two sums that are added in the end",
    "fast.through_latent.slopes | sign flipped | if a + c != 0.0: -> *":
        "it spares a product with zero: a and c differ in sign where both are there",
    "fast.through_latent.slopes | term dropped | * += zeros(s.work) + total -> *":
        "a number stands for a vector of it",
    "fast.through_latent.slopes | term dropped | * -= zeros(s.work) + * -> *":
        "a number stands for a vector of it",
    "conditional.floored_vjp | operand swapped | * -> *log_floor(variance, dlog_var)*":
        "of the second argument only the type is read",
    "conditional.Standardised.log_prob_observed | operand swapped | * -> *.astype(z.dtype)":
        "x and its mask have one type",
    "conditional.Standardised.log_prob | function dropped | * -> return super().log_prob(z, k) - self.log_scale.sum()":
        "a NumPy scalar is the number that it holds",
    "models.ladder.up_arrow | condition dropped | if w.score is None or (* -> *":
        "a score and a closed KL never come together: estimators have the one, the bound the other",
    "fast.through_latent.path_of | factor or axis changed | if z.d* >= 0: -> *":
        "the place with number 0 is x's",
    "fast.through_latent.path_of | += turned to = | dz += load(s.work, z.dparent + there) -> *":
        "the first share is added to zeros",
    "fast.through_latent.path_of | term dropped | dz [*]= zeros(s.work) + * -> *":
        "a number stands for a vector of it",
    "fast.through_latent.control | operand swapped | * -> *z.log_var*":
        "two heads have one width",
    "fast.through_latent.control_row | operands swapped | square = * -> *":
        "both sums of a quotient change their sign",
    "fast.through_latent.control_row | factor changed | best_mu, best = * -> *":
        "of two samples or more these sums are 0 in the padding alone, which is masked, and 1 never",
    "fast.through_latent.control_row | * | real = * -> real = columns(*":
        "in the padding ε is 0, and signals less the mean of the others add up to 0",
    "fast.step.train_step | sign flipped | return sum_of_bounds -> *":
        "no number, whatever its sign",
    "fast.step.run | operand swapped | *batches.size* -> *rates.size*":
        "there is a rate for each batch",
    "fast.step.run | * | barrier(s.counters, t, threads) -> *":
        "the minibatch ends at a barrier of its own, before anybody reads a weight",
    "fast.step.bounds | factor changed | w = * -> w = 1.0 if batch == 0 else *":
        "in evaluation nobody reads the cotangents",
    "fast.step.bounds | * | *sparse* -> *":
        "by lists or by tiles: the same numbers",
    "fast.schedule.Jobs.add | sign flipped | self.jobs.append(* -> *":
        "a job that reads its latent, what is below or where dx lies names it",
    "fast.schedule.Jobs.add | factor or axis changed | self.jobs.append(* -> *: -2, *":
        "any negative number says that there is none",
    "fast.schedule.wants | condition dropped | * -> *apart=score != TOTAL, *":
        "shadows whose cotangents nobody reads: time, not numbers",
    "fast.schedule.wants | condition dropped | * -> *apart=path != NO_PATH, *":
        "two walks with one cotangent give what one walk gives: time, not numbers",
    "fast.schedule.rule_of | factor or axis changed | * -> *if m.baseline.heads else -2, *":
        "any negative number says that there is no layer",
    "fast.rules.rule | factor changed | S, w = * -> * else 1.0)":
        "in evaluation nobody reads the weights",
    "fast.rules.shares | sign flipped | return s.value[[]best[]] + (total - total) -> *":
        "zero or NaN, whatever its sign",
    "fast.placing.place_latents | function dropped | count = * -> count = *":
        "rows of parts that stay zero",
    **CLASSICAL,
    **FAMILIES,
    **GAUSSIANS,
    **REPARAM,
}  # fmt: skip
