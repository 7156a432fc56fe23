"""§7.3 `plan`: the time and the price of a run on n ranks, from what a step takes here and what a link can do."""

import argparse

from ..errors import UsageError
from ..training import plan, speed
from .bench import opened
from .bench import threads as counted
from .common import Commands, amount, command, emit, say, threads_for, whole

BATCHES = (1, 8, 32, 128, 512, 2048)  # that are timed where no file of `bench` is given
ABOUT = """Predict what a run would take on n ranks, and where more of them stop to help.

formula   T(n) = t(B/n) + log2 n (latency + 4P/bandwidth + 4P/adding),   an epoch: N/B steps
          t(b) is a step of b rows on one rank: of a --bench file, or timed now, in seconds. P parameters are
          exchanged as float32 in log2 n rounds of a fixed binary tree, which gives the same bits on any number of
          ranks. Efficiency is T(1) / (n T(n)); price is n x threads x hours x --price.
links     {links}
          are typical ones, not measured: give --latency and --bandwidth of your own network where you know them.
left out  reading rows from disk, stragglers, evaluation, checkpoints; other likelihoods than Bernoulli bits.
error     of t: `python -m bench.planned` in the repository measures it. The exchange is from a model alone.
"""
EXAMPLES = """examples:  scratchvae plan --rows 1e9 --ranks 64 --link 10GbE --batch 4096
           scratchvae plan --rows 1e9 --ranks 64 --link infiniband --bench here.json --price 0.04
           scratchvae plan --rows 1e9 --hidden 1000,500 --latent 50 --ranks 16"""


def add(commands: Commands) -> None:
    """Register `plan`."""
    links = "\n          ".join(f"{name}: {l.latency * 1e6:g} µs, {l.bandwidth / 1e9:g} GB/s" for name, l in
                                plan.LINKS.items())  # fmt: skip
    about = "Predict time and price of a run on n ranks, and where scaling stops"
    p = command(commands, "plan", about, EXAMPLES, ABOUT.format(links=links))
    p.set_defaults(run=run)
    p.add_argument("--rows", type=amount, default=1e9, help="rows of the data (default: 1e9)")
    p.add_argument("--epochs", type=amount, default=1.0, help="times that each is seen (default: 1)")
    p.add_argument("--batch", type=whole(1, 1 << 24), default=4096, help="rows of a step, of all ranks (default: 4096)")
    p.add_argument("--ranks", type=whole(1, 1 << 20), default=64, help="predict 1, 2, 4, ... up to these (default: 64)")
    p.add_argument("--threads", type=whole(1, 4096), help="of one rank (default: one a processor)")
    p.add_argument("--link", choices=tuple(plan.LINKS), default="10GbE", help="between ranks (default: 10GbE)")
    p.add_argument("--latency", type=amount, metavar="US", help="of the link, microseconds")
    p.add_argument("--bandwidth", type=amount, metavar="GB/S", help="of the link")
    p.add_argument("--price", type=amount, metavar="P", help="of one core for one hour, in any currency")
    p.add_argument("--bench", metavar="FILE", help="t(b) from `scratchvae bench --out FILE.json`, of any processor")
    p.add_argument("--hidden", type=sizes, default=(500,), metavar="H,H", help="hidden layers of q (default: 500)")
    p.add_argument("--latent", type=whole(1, 10_000), default=20, help="latents (default: 20); x has 784 columns")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def sizes(text: str) -> tuple[int, ...]:
    """ "200,200" → (200, 200)."""
    return tuple(whole(1, 100_000)(part) for part in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Print the forecast."""
    preset = plan.LINKS[args.link]
    link = plan.Link((args.latency or preset.latency * 1e6) * 1e-6, (args.bandwidth or preset.bandwidth / 1e9) * 1e9)
    costs, threads, where = from_file(args) if args.bench else measured(args)
    job = plan.Job(args.rows * args.epochs, args.batch, threads, args.price or 0.0)
    found = plan.doublings(costs, link, job, args.ranks)
    ended = plan.end(found)
    if args.json:
        rows = [{**f._asdict(), "step": f.step} for f in found]
        said = {"costs": costs._asdict(), "link": link._asdict(), "threads": threads}
        emit({**said, "forecast": rows, "end": ended}, True)
        return 0
    print(f"{where}, {threads} thread{'s' * (threads > 1)} a rank; {costs.parameters:,} parameters; link: "
          f"{link.latency * 1e6:g} µs, {link.bandwidth / 1e9:g} GB/s")  # fmt: skip
    print(f"{'ranks':>6} {'step, ms':>9} {'rows':>7} {'exchange':>9} {'hours':>9} {'efficiency':>11}"
          + " price" * bool(args.price))  # fmt: skip
    for f in found:
        price = f" {f.price:.2f}" if args.price else ""
        print(f"{f.ranks:6} {f.step * 1e3:9.2f} {f.rows * 1e3:7.2f} {(f.step - f.rows) * 1e3:9.2f} "
              f"{f.total / 3600:9.2f} {f.efficiency:11.0%}{price}")  # fmt: skip
    print(ended)
    return 0


def from_file(args: argparse.Namespace) -> tuple[plan.Costs, int, str]:
    """Costs, threads and processor of a file of `bench`."""
    held, network = opened(args.bench), "-".join(map(str, (speed.COLUMNS, *args.hidden, args.latent)))
    threads = args.threads or max(counted(held))
    cells = {r["batch"]: r["microseconds"] / 1e6 for r in held["rows"]
             if (r["kind"], r["network"], r["threads"]) == ("step", network, threads)}  # fmt: skip
    if len(cells) < 2:
        raise UsageError(f"{args.bench} has no batches of {network} on {threads} threads: leave --bench out, and "
                         "they are timed here")  # fmt: skip
    # bytes of what came, added a second: three arrays pass for each, and the limit is of what one reads and writes
    adding = held["machine"]["limits"][str(threads)]["DRAM"]["update"] / 1.5 * 1e9
    batches = tuple(sorted(cells))
    shape = (args.hidden, args.latent)
    return (
        plan.Costs(batches, tuple(cells[b] for b in batches), speed.parameters(shape), adding),
        threads,
        held["machine"]["cpu"],
    )


def measured(args: argparse.Namespace) -> tuple[plan.Costs, int, str]:
    """The same, timed now."""
    threads, shape = threads_for(args.threads), (args.hidden, args.latent)
    seconds: list[float] = []
    for batch in BATCHES:
        say(f"timing a step of {batch}")
        seconds.append(speed.step_of(shape, batch, threads, quick=True).median)
    return plan.Costs(BATCHES, tuple(seconds), speed.parameters(shape), plan.adding_speed()), threads, "this machine"
