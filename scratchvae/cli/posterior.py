"""§7.1.1, §7.1.2 `posterior`: all that can be known of z for one row, by every method, and the inference gap."""

import argparse
import math
from typing import Any

import numpy as np

from .. import plots
from ..distributions import Normal
from ..errors import UsageError
from ..tasks import posterior, quadrature
from ..tasks.evidence import Model
from ..tasks.exact import table
from ..tasks.hmc import ChainPlan
from ..tasks.posterior import Gap, Summary
from ..training.evaluate import evaluation_rows
from ..training.objective import encode, joint
from ..types import Array
from .common import (
    SEEDS,
    Commands,
    add_data,
    add_run,
    check_whole,
    command,
    emit,
    open_data,
    open_task,
    report_to,
    say,
    whole,
    write,
    write_rows,
)

ABOUT = """Infer z for one test row: q(z | x) as the encoder gives it and refined for this row, chains on the posterior
(HMC and Metropolis-Hastings), and for one or two latents the grid. Then the gap log p(x) - L in its two parts. After
the sign +- stands the standard deviation of z under p(z | x) as the method has it, not the error of its mean."""
PICTURE = ".png: all of it in one plane, of more than two latents those two that q says most about"


def add(commands: Commands) -> None:
    """Register `posterior`."""
    p = command(commands, "posterior", ABOUT, "scratchvae posterior runs/mnist --row 7")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--row", type=whole(0), default=0, help="which test row")
    p.add_argument("--chains", type=whole(1), default=4, help="chains, from twice as wide as q")
    p.add_argument("--draws", type=whole(4), default=1000, help="kept of each chain (of a random walk every 11th)")
    p.add_argument("--warm-up", type=whole(0), default=500, help="steps in which the step size is tuned")
    p.add_argument("--steps", type=whole(1), default=500, help="of Adam, to refine q for this row")
    p.add_argument(
        "--samples", type=whole(2), default=1000, help="draws from q for each bound; five times that for log p(x)"
    )
    p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names the draws")
    p.add_argument("--out", help=f"{PICTURE}; .npy or .csv of the HMC draws, (chains * draws, K), - for CSV on stdout")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Every method, one table, one gap."""
    state = open_task(args, ".png", ".npy", ".csv")
    found = open_data(args, state)
    if not 0 <= args.row < len(found.test):
        raise UsageError(f"--row {args.row}: the test rows are 0 to {len(found.test) - 1}")
    x = evaluation_rows(state, found.test, args.row, 1)
    index = np.array([args.row])
    check_whole(x, args.command, index)
    model, noise = joint(state), state.noise._replace(seed=args.seed)
    number = state.numbers(x, args.row)  # which names the draws
    q = encode(state, x)
    refined = posterior.refine(model, x, q, noise, args.steps, k=state.k, first_row=number)
    plan = ChainPlan(args.draws, args.warm_up, step_size=0.3, first_row=number)
    hmc = posterior.sample(model, x, refined, noise, args.chains, plan)
    metropolis = posterior.sample(model, x, refined, noise, args.chains, plan._replace(target=0.3), "metropolis")
    methods = {
        "amortised": posterior.of_normal(q),
        "refined": posterior.of_normal(refined),
        "hmc": posterior.of_chains(hmc),
        "metropolis": posterior.of_chains(metropolis),
    }
    if q.mu.shape[1] <= 2:
        methods["exact"] = posterior.exact(model, x, q.mu.shape[1], index)
    for name in ("hmc", "metropolis"):
        if words := posterior.doubts(name, methods[name]):
            say(words)
    gap = posterior.gap(model, x, q, refined, noise, args.samples, number)
    if words := gap.evidence.doubts(index=index):
        say(words)
    about = {"row": args.row, "binarisation": state.config.binarisation, "data": found.name, "step": state.step}
    acceptance = {"hmc": float(hmc.acceptance.mean()), "metropolis": float(metropolis.acceptance.mean())}
    with report_to(args.out):
        show(methods, {**of_gap(gap), **about}, acceptance, args.json)
    draws = {"HMC": hmc.draws.reshape(-1, hmc.draws.shape[-1])}
    if args.out and args.out.endswith(".png"):
        draws["Metropolis-Hastings"] = metropolis.draws.reshape(draws["HMC"].shape)
        drawn = picture(model, x, {"q(z | x), amortised": q, "q refined for this row": refined}, draws)
        drawn.set_title(f"p(z | x) of test row {args.row} of {found.name}", fontsize=10)
        write(args.out, lambda path: plots.save(drawn, path))
    elif args.out:
        write_rows(draws["HMC"], args.out)
    return 0


def picture(model: Model, x: Array, gaussians: dict[str, Normal], draws: dict[str, Array]) -> Any:
    """All methods on one Axes: for one latent curves, else the plane of two."""
    moments = {name: (q.mu[0], np.exp(q.log_var[0] / 2)) for name, q in gaussians.items()}
    first = next(iter(gaussians.values()))
    K = first.mu.shape[1]
    if K > 2:
        kl = Normal(first.mu[..., None], first.log_var[..., None]).kl()[0]
        two = np.sort(np.argsort(-kl)[:2])
        of_two = {name: (mu[two], sd[two]) for name, (mu, sd) in moments.items()}
        of_draws = {name: z[:, two] for name, z in draws.items()}
        paid = [f"z of latent {k}, KL {kl[k]:.2f} of {kl.sum():.2f} nats" for k in two]
        return plots.plot_plane(None, of_draws, of_two, paid)
    exact = quadrature.posterior(model.log_joint, x, K)
    all_moments = [*moments.values(), (exact.mean[0], np.sqrt(np.diagonal(exact.cov[0])))]
    low, high = (f([mu + t * sd for mu, sd in all_moments], axis=0) for f, t in ((np.min, -4), (np.max, 4)))
    resolution = 1001 if K == 1 else 201
    points = quadrature.grid((low + high)[None] / 2, (high - low)[None] / 2, resolution)
    p = np.exp(table(model.log_joint, x, points)[:, 0] - exact.log_marginal[0])
    lines = [np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True)]
    if K == 1:
        return plots.plot_line((lines[0], p), draws, moments)
    names = ("z of latent 0", "z of latent 1")
    return plots.plot_plane((lines[0], lines[1], p.reshape(resolution, resolution)), draws, moments, names)


def of_gap(gap: Gap) -> dict[str, Any]:
    """The report of one row's gap, nats."""
    return {
        "log_likelihood": float(gap.evidence.value[0]),
        "standard_error": float(gap.evidence.standard_error[0]),
        "estimator": gap.evidence.estimator,
        "elbo_refined": float(gap.refined[0]),
        "elbo_amortised": float(gap.amortised[0]),
        "approximation_gap": float(gap.approximation[0]),
        "amortisation_gap": float(gap.amortisation[0]),
        "amortisation_error": float(gap.difference_error[0]),
        "unit": "nats",
    }


def show(methods: dict[str, Summary], report: dict[str, Any], acceptance: dict[str, float], as_json: bool) -> None:
    """A table with a line a latent and a column a method, then the gap; or all of it as JSON."""
    if as_json:
        inner = {name: {**numbers(found), "acceptance": acceptance.get(name)} for name, found in methods.items()}
        emit({**report, "posterior": inner}, True)
        return
    print("latent  " + "".join(f"{name:>18}" for name in methods) + "     R-hat    ESS  (of hmc)")
    chains = methods["hmc"]
    for k in range(chains.mean.shape[1]):
        cells = "".join(f"{found.mean[0, k]:>+9.3f} ± {found.sd[0, k]:<6.3f}" for found in methods.values())
        print(f"{k:>6}  {cells}  {chains.r_hat[0, k]:>8.4f} {chains.ess[0, k]:>6.0f}")
    print("±: the standard deviation of z under p(z | x), as each method has it; no error of the mean")
    for name, rate in acceptance.items():
        print(f"{name}: {100 * rate:.0f} % accepted, worst R-hat {np.max(methods[name].r_hat):.4f}, "
              f"least ESS {np.min(methods[name].ess):.0f}, cost {methods[name].cost}")  # fmt: skip
    emit(report, False)


def numbers(found: Summary) -> dict[str, Any]:
    """Lists for JSON; null where a method has no such number."""
    rows = {"mean": found.mean, "sd": found.sd, "r_hat": found.r_hat, "ess": found.ess}
    lists = {key: [float(v) if math.isfinite(v) else None for v in value[0]] for key, value in rows.items()}
    return {**lists, "cost": found.cost}
