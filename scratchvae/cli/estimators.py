"""§7.2.2-7.2.4 `scratchvae estimators`: the variance laboratory, a table and five pictures."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from ..errors import UsageError
from ..estimators import ESTIMATORS
from ..plots import axes, plot_race, plot_waves, save
from ..training import variance_study as laboratory
from ..training.checkpoint import write_atomically
from ..training.config import Config
from ..types import Array
from .common import ROWS, SEEDS, Commands, amount, command, rows_of, say, whole

ABOUT = "Measure every gradient estimator. Bias, variance, signal-to-noise and cost along a training run."
RACERS = ("score", "score_mean", "score_loo", "sgvb_b")
COUNTS = (1, 2, 4, 8, 16, 32, 64)
FREQUENCIES = tuple(0.25 * i for i in range(1, 25))
COLUMNS = {  # of the table, by the names that the JSON has
    "place": "place",
    "estimator": "estimator",
    "variance": "variance",
    "bias": "off",
    "error": "by chance",
    "within_chance": "verdict",
    "snr": "snr",
    "ms_per_row": "ms_per_row",
}
MEANINGS = """\
- place: of the training run that is looked into; its parameters are held fast there.
- variance: of one estimate of a row's gradient, summed over the 2K parameters of q, mean over rows, nats².
- off: how far the mean of all estimates lies from the exact gradient, in lengths of the exact gradient. It is never 0.
- by chance: how far it lies in the root mean square if the estimator has no bias, from the variances and the number of
  draws. Where both are large, the noise hides all there is to see: no bias is shown, and none excluded that is smaller.
- verdict: "within chance" up to twice that; beyond it lies less than one in twenty estimators without bias.
- snr: signal to noise of one estimate, the length of the mean gradient over the root of the variance.
- ms_per_row: processor time of one estimate, forward and backward, without the encoder.

iw and dreg estimate the gradient of a bound of their own, and are held against that; all others against the ELBO's."""


def add(commands: Commands) -> None:
    """Register `estimators`."""
    about = f"{ABOUT}\n\nThe table's columns:\n{MEANINGS}"
    p = command(commands, "estimators", ABOUT, "scratchvae estimators --out laboratory --seed 0", about)
    p.set_defaults(run=run)
    p.add_argument("--list", action="store_true", help="name every estimator and what it needs, and stop")
    p.add_argument("--data", default="mnist", help="a data set's name or a path")
    p.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")
    p.add_argument("--out", default="laboratory", help="folder for laboratory.json, table.md and the pictures")
    p.add_argument("--epochs", type=amount, default=4.0, help="length of the training run that is looked into")
    p.add_argument("--latent", type=whole(1), default=10, help="K")
    p.add_argument("--hidden", type=whole(1), default=200, help="units of the one hidden layer")
    p.add_argument("--samples", type=whole(2), default=4, help="S, samples of z an estimate")
    p.add_argument("--rows", default="0:8", help=ROWS)
    p.add_argument("--draws", type=whole(2), default=1000, help="estimates a row")
    p.add_argument("--steps", type=whole(1), default=1200, help="steps of the race between estimators")
    p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names all noise")
    p.add_argument("--no-pictures", action="store_true", help="leave no PNG files")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout in place of the table")


def run(args: argparse.Namespace) -> int:
    """Train, measure, draw."""
    if args.list:
        print("\n".join(listing()))
        return 0
    found = data.load(args.data, folder=args.data_folder)
    asked = found.test[rows_of(args.rows, len(found.test), alone=False)]
    folder = Path(args.out)
    try:  # before anything is measured
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be made: {error.strerror}; name another folder") from None
    results = measured(args, found.train, asked)
    table = words(results)
    for name, text in (("laboratory.json", json.dumps(results, indent=1)), ("table.md", table)):
        write_atomically(folder / name, [f"{text}\n".encode()])
    if not args.no_pictures:
        draw(results, folder)
    print(json.dumps(results) if args.json else table)
    return 0


def measured(args: argparse.Namespace, train: Array, test: Array) -> dict[str, Any]:
    """Everything, as JSON."""
    options = {"hidden": (args.hidden,), "latent": args.latent, "seed": args.seed, "kernels": "numpy"}
    config = Config(epochs=args.epochs, binarisation="dynamic", **options)
    table: list[Any] = []
    ratios: list[Any] = []
    histograms: dict[str, Any] = {}
    tick = Left(codes(args, len(test)))
    for place in laboratory.places(train, test, config, len(test)):
        for line in laboratory.compare(place, args.samples, args.draws, args.seed, tick=tick):
            table.append(line)
            say(f"{place.name:6}  {line['estimator']:12}  variance {line['variance']:.3g}")
        if place.name == "end":
            ratios = list(laboratory.against_samples(place, COUNTS, max(2, args.draws // 4), args.seed, tick=tick))
            histograms = laboratory.one_component(place, 10 * args.draws, args.seed)
    ratios += laboratory.oracle_against_samples(COUNTS, 20 * args.draws, args.seed)
    race = Config(epochs=1, samples=args.samples, **options)
    say("race: " + ", ".join(RACERS))
    return {
        "command": " ".join(["scratchvae", *sys.argv[1:]]),
        "seed": args.seed,
        "table": table,
        "signal_to_noise": ratios,
        "race": list(laboratory.races(train, race, RACERS, args.steps, max(1, args.steps // 60), tick=tick)),
        "one_component": histograms,
        "squares": laboratory.squares(200_000, args.seed),
        "waves": laboratory.waves(FREQUENCIES),
    }


def codes(args: argparse.Namespace, rows: int) -> int:
    """How many codes z will be decoded, as `laboratory` counts them."""
    S, minibatch = args.samples, Config().batch * args.samples
    # two exact gradients of 4 draws for one; each estimator, the measure-valued one with an eighth of the draws
    lines = 4 * 2 + len(laboratory.SCORES) + len(laboratory.OTHERS) - 1 + laboratory.weight("measure", args.latent) / 8
    place = lines * args.draws * rows * S + 2 * laboratory.WARM_UP * minibatch  # two of them learn a baseline first
    return round(3 * place + rows * args.draws / 2 * sum(COUNTS) + len(RACERS) * args.steps * minibatch)


class Left:
    """Words on the time left, every ten seconds: work is counted in codes that were decoded."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.start = self.shown = time.monotonic()

    def __call__(self, work: int) -> None:
        """So much more is done."""
        self.done, now = self.done + work, time.monotonic()
        if now - self.shown > 10 and self.done < self.total:
            self.shown, part = now, self.done / self.total
            say(f"{100 * part:.0f} % done, about {(now - self.start) * (1 / part - 1):.0f} s left")


def listing() -> list[str]:
    """One line an estimator."""
    lines = ["name          samples  needs"]
    for e in ESTIMATORS.values():
        needs = ["log p(x | z) apart"] if e.analytic_kl else []
        needs += ["d log p/dz, a smooth q"] if e.pathwise else []
        needs += ["a state (baseline)"] if e.initial else []
        needs += ["log p(x, z) factor by factor"] if e.by_factor else []
        lines.append(f"{e.name:12}  {e.samples:>7}  {', '.join(needs) or 'log_joint alone'}")
    return [*lines, "vr:ALPHA, score_constant:NATS take a number"]


def words(results: dict[str, Any]) -> str:
    """The table in Markdown, with what made it."""
    S, command_line = results["table"][0]["samples"], results["command"]
    lines = [f"`{command_line}`, seed {results['seed']}, {S} samples an estimate, variance in nats²", ""]
    lines += ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    for line in results["table"]:
        line = {**line, "within_chance": "within chance" if line["within_chance"] else "**more than chance**"}
        cells = [f"{line[c]:.3g}" if isinstance(line[c], float) else line[c] for c in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", MEANINGS, "", "d/dμ E[z²] = 4 at N(2, 1), one sample:", ""]
    lines += ["| estimator | mean | variance | exact variance |", "|---|---|---|---|"]
    for line in results["squares"]:
        lines.append(f"| {line['estimator']} | {line['mean']:.3f} | {line['variance']:.2f} | {line['exact']:.2f} |")
    return "\n".join(lines)


# --- pictures ---------------------------------------------------------------------------------------


def draw(results: dict[str, Any], folder: Path) -> None:
    """Five PNG files."""
    named = {"variance": variances, "signal_to_noise": ratios, "race": race, "waves": waves}
    for name, picture in {**named, "histograms": histograms}.items():
        save(picture(results), folder / f"{name}.png")


def variances(results: dict[str, Any]) -> Any:
    """The variance of each estimator along the run."""
    ax = axes(None, (8, 4.5))
    names = list(dict.fromkeys(line["estimator"] for line in results["table"]))
    for i, place in enumerate(("start", "middle", "end")):
        values = {line["estimator"]: line["variance"] for line in results["table"] if line["place"] == place}
        heights = [values[n] for n in names]
        ax.bar([j + 0.27 * (i - 1) for j in range(len(names))], heights, width=0.25, label=f"{place} of training")
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set(yscale="log", ylabel="variance of a row's gradient, nats²")
    ax.set_title(f"Variance with {results['table'][0]['samples']} samples each (iw and dreg: of their own bound)")
    ax.grid(axis="y", alpha=0.3)
    ax.legend()
    return ax


def ratios(results: dict[str, Any]) -> Any:
    """Signal to noise against the number of samples."""
    ax = axes()
    for place, line in (("end", "-"), ("linear-Gaussian", "--")):
        for name, colour in (("iw", "tab:red"), ("dreg", "tab:blue")):
            points = [p for p in results["signal_to_noise"] if (p["place"], p["estimator"]) == (place, name)]
            label = f"{name}, {'trained VAE' if place == 'end' else 'linear-Gaussian, wide q'}"
            at, height = [p["samples"] for p in points], [p["snr"] for p in points]
            ax.plot(at, height, line, marker="o", ms=4, color=colour, label=label)
    ax.set(xscale="log", yscale="log", xlabel="samples S of the bound", ylabel="signal-to-noise of q's gradient")
    ax.set_title("A tighter bound starves its encoder; DReG feeds it")
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8)
    return ax


def histograms(results: dict[str, Any]) -> Any:
    """One component of the gradient, estimate by estimate: the same mean, and not the same width."""
    ax, found = axes(None, (7, 4.5)), results["one_component"]
    score, path = (np.array(found[name]) for name in ("score", "sgvb_b"))
    low, high = np.quantile(score, (0.005, 0.995))
    spread = path.min(), path.max()
    bins = np.linspace(min(low, spread[0]), max(high, spread[1]), 201)
    for g, colour, label in ((score, "tab:orange", "score function"), (path, "tab:blue", "pathwise (SGVB B)")):
        label = f"{label}: mean {g.mean():.3g} ± {g.std() / len(g) ** 0.5:.2g}, variance {g.var():.3g}"
        ax.hist(g, bins, density=True, histtype="stepfilled", alpha=0.5, color=colour, label=label)
    ax.set(yscale="log", xlabel=f"∂L/∂μ of row {found['row']}, latent {found['latent']}, one sample of z, nats")
    ax.set_ylabel(f"density of {len(score)} estimates")
    ax.set_title(f"One component of the gradient, variances {score.var():.3g} and {path.var():.3g}")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def race(results: dict[str, Any]) -> Any:
    """The bound against steps, by estimator."""
    lines = results["race"]
    bounds, last = {line["estimator"]: np.array(line["bound"]) for line in lines}, lines[-1]["bound"][-1]
    return plot_race(np.array(lines[0]["step"]), bounds, title=f"One VAE, {lines[0]['samples']} samples a row",
                     ylim=(last - 130, last + 10))  # fmt: skip


def waves(results: dict[str, Any]) -> Any:
    """Where the score function is the better one."""
    found = results["waves"]
    exact = {"score": np.array(found["score"]), "path": np.array(found["pathwise"])}
    return plot_waves(np.array(found["frequency"]), exact)
