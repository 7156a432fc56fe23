"""§7.3 `train`: maximise the bound on a data set, into a folder that every other command reads."""

import argparse
import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from .. import data
from ..data.tokens import TOKENS
from ..errors import DataError, UsageError
from ..initial import INITIALISERS
from ..networks import ACTIVATIONS
from ..training import compiled, labels, rivals, weights
from ..training.config import BINARISATIONS, Config, known, read_json
from ..training.evaluate import elbo_over
from ..training.likelihood import kinds_in_words, resolved
from ..training.loop import Interrupted, Plan, train
from ..training.model_options import MODELS
from ..training.optim import SCHEDULES, SLOTS, Optimizer
from ..training.reading import Reading, digest, learn, wild
from ..training.run import MEASURED, Run
from ..training.state import State, Steps, width
from ..training.stopping import at_length, best_step, held_out, over, why_it_ended
from ..types import Array
from . import texts
from .common import SEEDS, Commands, amount, command, emit, flat, fraction, image, names, say, threads_for, whole
from .progress import Progress
from .sizes import hidden, latent, milestones

ABOUT = "Train a VAE by hand-written gradients. Leaves a checkpoint, metrics.jsonl and pictures in the folder --out."

LENGTH = ("epochs", "patience")  # what a run that is resumed may have in another size
DATA = "mnist, fashion-mnist, freyfaces, or a path: csv, npy (memory map), npz, IDX, xlsx, a folder of images, …"


def add(commands: Commands) -> None:
    """Register `train`."""
    p = command(commands, "train", ABOUT, "scratchvae train mnist --latent 2 --epochs 20 --out runs/mnist-2d")
    p.set_defaults(run=run)
    p.add_argument("data", nargs="?", help=f"{DATA} (default: mnist)")
    p.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")
    p.add_argument("--test", help="path of the test rows, where the data bring none (default: the last tenth)")
    p.add_argument("--out", default="runs/mnist", help="the run's folder; must not hold a run yet")
    p.add_argument("--resume", action="store_true", help="continue the run in --out from its checkpoint, bit for bit")
    p.add_argument("--config", help="JSON file of options, as in a run's config.json; options given here win")
    p.add_argument("--samples-seen", type=amount, help="stop after that many training rows, instead of --epochs")
    period = "(default: 1, or from look to look where rows are held out)"
    p.add_argument("--evaluate-every", type=amount, help=f"epochs between two test bounds {period}")
    p.add_argument("--save-every", type=amount, help=f"epochs between two checkpoints {period}")
    p.add_argument("--threads", type=whole(1), help="at most one a core (default: OMP_NUM_THREADS, else all)")
    p.add_argument("--force", action="store_true", help="with --resume: go on though the data are not the same rows")
    p.add_argument("--no-pictures", action="store_true", help="leave no PNG files")
    p.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    add_model(p.add_argument_group("model"))
    add_training(p.add_argument_group("training"))


def add_model(p: Any) -> None:
    """Options of the model; absent ones keep the config's value."""
    families = (
        "bernoulli, gaussian, gaussian-sigmoid (the paper's for Frey Face), gaussian-fixed, poisson, categorical, …"
    )
    option(p, "--model", choices=tuple(MODELS), help="m2: p(x | z, y), classes y of rows of which few tell theirs, or "
           "all; sequence: of lines of text or SMILES, with --latent 0 a language model")  # fmt: skip
    option(p, "--tokens", choices=tuple(TOKENS), help="of a text: what stands at a place of a sequence")
    option(p, "--embedding", type=whole(1), help="numbers that stand for a token")
    option(p, "--likelihood", help=f"p(x | z): {families}; with a number as binomial:16, else read from the data")
    option(p, "--columns", help="p(x | z) column by column, as age=gaussian,sex=categorical,visits=negative-binomial, "
           "or auto: found in the data, as it is without being asked where they hold words; auto,grade=ordinal finds "
           "the rest")  # fmt: skip
    option(p, "--leave-out", type=names, metavar="NAME,NAME", help="columns not to be taken; later files may have them")
    option(p, "--latent", type=latent, help="K, the size of z; several, as 100,50, make a ladder of latent layers")
    option(p, "--posterior", help="q(z | x): normal, laplace, gamma, beta, dirichlet, von-mises, … or planar:LAYERS")
    option(p, "--prior", help="p(z): standard, that of q's family; mixture:COMPONENTS or vamp:PSEUDO-INPUTS, learned")
    option(p, "--hidden", type=hidden, help="widths from x inwards, mirrored; 200,200, or 200,200/100,100 for a ladder")
    option(p, "--activation", choices=ACTIVATIONS, help="of every hidden layer")
    option(p, "--network", help="mlp; conv:CHANNELS,… has convolutions (4 by 4, stride 2) between the image and "
           "--hidden, mirrored; conv is conv:32,64")  # fmt: skip
    option(
        p, "--image", type=image, metavar="H,W", help="a row as a picture; H,W,3 in colour (default: as the data say)"
    )
    option(p, "--variance", type=amount, help="floor of a learned σ², or σ² itself for gaussian-fixed, in units of the "
           "raw columns (default: 1/255²; of standardised ones a thousandth of the unit's square or what rounding to "
           "their grain costs, for gaussian-fixed the unit's square)")  # fmt: skip
    p.add_argument("--no-standardise", dest="standardise", action="store_false", default=argparse.SUPPRESS,
                   help="leave real columns of gaussian and gaussian-fixed in their units")  # fmt: skip
    option(p, "--initial", choices=INITIALISERS, help="first weights; paper is N(0, 0.01)")
    option(p, "--binarisation", choices=BINARISATIONS, help="how grey levels become bits; none keeps them grey")


def add_training(p: Any) -> None:
    """Options of the optimisation; absent ones keep the config's value."""
    length = "at most so many passes over the data; where this is not given, real-valued tables get 2000 steps or more"
    option(p, "--epochs", type=amount, help=length)
    held = "share of the training rows held out, to end the run when their bound rises no more; real-valued tables 0.1"
    option(p, "--validation", type=fraction, help=held)
    option(p, "--patience", type=whole(1), help="looks at those rows, one after the other without a rise, that end it")
    option(p, "--order", help="of rows in an epoch: permutation, keyed (needs no memory; 2^24 rows or more get it), or "
           "blocks:ROWS, for disks that want to read on")  # fmt: skip
    option(p, "--batch", type=whole(1), help="M, rows a minibatch")
    rivals = "wake-sleep[:means], reweighted-wake-sleep:K[:SHARE of wake-φ], mcem, full-vb"
    option(p, "--algorithm", help=f"aevb, or a rival of §7.1.2: {rivals}")
    option(p, "--estimator", help="of the gradient: sgvb_b, stl, iw, dreg, nvil, … (scratchvae estimators --list)")
    option(p, "--samples", type=whole(1), help="L of eq. 7, samples of z a row; K of iw and dreg")
    option(p, "--optimizer", choices=tuple(SLOTS), dest="name", help="adagrad is the paper's")
    option(p, "--learning-rate", type=amount, help="α")
    option(p, "--beta1", type=fraction, help="decay of Adam's first moment")
    option(p, "--beta2", type=fraction, help="decay of Adam's second moment")
    option(p, "--epsilon", type=amount, help="added to the root in Adam and Adagrad")
    option(p, "--momentum", type=fraction, help="of sgd")
    option(p, "--decay", type=fraction, help="λ of adamw")
    option(p, "--clip", type=amount, help="largest norm of the mean bound's gradient; a longer one is shortened to it")
    option(p, "--schedule", choices=SCHEDULES, help="of the learning rate")
    option(p, "--milestones", type=milestones, help="EPOCH:FACTOR,… of the step schedule")
    option(p, "--weights", metavar="COLUMN", help="that weighs rows, and is not taken; or a .npy, one number a row")
    option(p, "--labels", type=whole(0), help="rows that tell their class, as many of each; 0: all, a conditional VAE")
    option(p, "--labels-from", metavar="COLUMN", help="that holds the classes, where the data bring none; not taken")
    option(p, "--alpha", type=amount, help="weight of the mean of log q(y | x) over rows that tell, beside the bound")
    option(p, "--missing", help="values not to be seen: nan for NaN in the data, random:0.5 for half of all, hidden")
    option(p, "--weight-prior", action="store_true", help="weight decay as MAP: p(θ) = N(0, I), eq. 8 of the paper")
    option(p, "--beta", type=amount, help="weight of the KL in what is maximised; every figure is a bound all the same")
    option(p, "--word-dropout", type=fraction, help="share of the tokens that a decoder of sequences is not shown")
    option(p, "--free-bits", type=amount, help="nats of KL that each latent of a sequence's model has for nothing")
    option(p, "--warm-up", type=amount, help="epochs in which the KL's weight rises from 0")
    option(p, "--seed", type=whole(0, SEEDS), help="names all noise, the order of rows and the first weights")
    option(p, "--dtype", choices=("float32", "float64"), help="of parameters and activations")
    option(p, "--kernels", choices=("numpy", "numba"), help="the NumPy statements, or their compiled twins")


def option(group: Any, *names: str, **settings: Any) -> None:
    """An option of the config: not given means not set, and its default is the config's."""
    dest = settings.get("dest", names[0].lstrip("-").replace("-", "_"))
    owner = Optimizer() if hasattr(Optimizer(), dest) else Config()
    usual = getattr(owner, dest)
    shown = ",".join(map(str, usual)) if isinstance(usual, tuple) else f"{usual:.6g}" if type(usual) is float else usual
    settings["help"] += f" (default: {shown})" if shown not in ("", False, None) else ""
    group.add_argument(*names, default=argparse.SUPPRESS, **settings)


def config_from(args: argparse.Namespace, base: dict[str, Any]) -> Config:
    """The config: a run's or a file's values, with the options given on top; only Bernoulli rows are binarised."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    values, optimizer = dict(base), base.get("optimizer", {})
    optimizer = {"name": optimizer} if isinstance(optimizer, str) else optimizer
    if not isinstance(optimizer, dict):
        raise UsageError(f"optimizer={optimizer!r} in {args.config}: expected a name, or an object of its options")
    values |= {field.name: given[field.name] for field in dataclasses.fields(Config) if field.name in given}
    optimizer = optimizer | {f.name: given[f.name] for f in dataclasses.fields(Optimizer) if f.name in given}
    if values.get("likelihood", "bernoulli") != "bernoulli" or values.get("columns"):
        values.setdefault("binarisation", "none")
    values = {**MODELS[values["model"]].usual, **values} if values.get("model") in MODELS else values
    values["optimizer"] = known(Optimizer, optimizer, "the config's optimizer")
    found: Config = known(Config, values, args.config or "the config")
    return found


def read_config(path: str | None) -> dict[str, Any]:
    """The JSON object in a config file."""
    if path is None:
        return {}
    try:
        values = read_json(Path(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {path} is not a JSON object of options")
    return values


def run(args: argparse.Namespace) -> int:
    """Train, evaluate at the end, leave pictures; others are kept out of the folder until then."""
    with contextlib.ExitStack() as held:
        return run_alone(args, held)


def run_alone(args: argparse.Namespace, held: contextlib.ExitStack) -> int:
    """As `run`; the folder's lock is handed to `held`."""
    if not args.out or (args.resume and args.config):
        raise UsageError("--resume takes the run's own config: leave --config out" if args.out else "--out is empty")
    base = resumed(args.out).as_dict() if args.resume else read_config(args.config)
    config = config_from(args, base)
    given = weights.read(config)
    with compiled.prepared(config):
        found, text = read(args, config)
    w = None if given is None else weights.of_training(given, found)
    found = labels.with_labels(found, config)
    config = config if text else resolved(config, found.train, found.names, found.levels)
    config = with_length(args, config, base, found.train)
    folder, state, found, pending = open_folder(args, config, found, text, w, held)
    args.threads = threads_for(args.threads)
    steps = compiled.steps(state, found.train, args.threads, w)
    plan = Plan.of(steps, args.evaluate_every, args.save_every)
    rows, columns = found.train.shape
    for note in found.notes:
        say(note)
    say(f"{found.name}: {rows} rows, {columns} columns, binarisation {config.binarisation}; test: {found.split}")
    if config.missing.startswith("random"):
        say("train bounds count what is seen of a row, test bounds the whole of it")
    if config.weights:
        say(
            f"rows are weighed by {config.weights} in training and where rows are held out; test bounds count each row "
            "alike. Such steps are composed in NumPy: the schedule has no weights of rows"
        )
    say_stop(steps, plan)
    if words := rivals.words(state):
        say(words)
    if over(state, plan.look):
        say(f"nothing is left to do: {why_it_ended(state, plan.look)}")
    elif state.step >= plan.total:
        say(f"nothing is left to do: the run is at step {state.step} of {plan.total}; give more --epochs to go on")
    progress = Progress(plan.total)
    try:
        train(steps, found.test, plan, folder, progress, pending, seconds_of(folder), progress.stopping)
    except Interrupted as stop:
        raise KeyboardInterrupt(str(stop)) from None
    finally:
        progress.close()
    if len(steps.held):
        say(why_it_ended(state, plan.look))
    finish(args, folder, state, found, progress)
    return 0


def read(args: argparse.Namespace, config: Config) -> tuple[data.Dataset, Reading | None]:
    """The data of a run as they stand, and of a text how they are read."""
    if config.model == "sequence":
        return texts.of_config(config, args.data_folder)
    gaps, out = config.missing == "nan", config.beside
    return data.load(config.data, config.test, args.data_folder, gaps, judge=False, leave_out=out), None


def with_length(args: argparse.Namespace, config: Config, base: dict[str, Any], x: Array) -> Config:
    """The config with the length that was given, or else that of `stopping.at_length`."""
    rows = len(x)
    config = config if config.model == "m2" else at_length(config, x, {*vars(args), *base})
    if not args.samples_seen:
        return config
    return dataclasses.replace(config, epochs=args.samples_seen / (rows - held_out(rows, config.validation)))


def say_stop(steps: Steps, plan: Plan) -> None:
    """What is held out, and what for."""
    if held := len(steps.held):
        many = steps.state.config.patience
        looks = f"{many} looks" if many > 1 else "one look"
        say(
            f"{held} of the {held + steps.rows} training rows are held out: the run ends when their bound, looked at "
            f"every {plan.look} steps, has not risen for {looks}, at step {plan.total} at the latest "
            "(--validation 0 holds out none)"
        )


def seconds_of(folder: Run) -> float:
    """Seconds of training that the run's metrics know of; 0 for a new one."""
    return float(sum(record["seconds"] for record in folder.read_metrics(MEASURED)[-1:]))


def resumed(out: str) -> Config:
    """The config of the run in `out`: its checkpoint's, which knows of longer runs asked for since it began."""
    folder = Run(Path(out))
    return folder.load()[0].config if folder.checkpoint.exists() else folder.read_config()


def open_folder(
    args: argparse.Namespace,
    config: Config,
    found: data.Dataset,
    text: Reading | None,
    w: Array | None,
    held: contextlib.ExitStack,
) -> tuple[Run, State, data.Dataset, list[float]]:
    """A new run with fresh parameters, or the one in --out as its checkpoint left it; and the data as it reads them."""
    folder = Run(Path(args.out))
    if args.resume and folder.checkpoint.exists():
        held.enter_context(folder.lock())
        return reopened(args, folder, config, found, text, w)
    if args.resume and folder.read_metrics():
        raise DataError(f"{args.out} has lost its checkpoint: restore it from a copy, or train into another folder")
    learned = text or learn(found.train, config, found.names, found.shape, found.levels)
    learned = learned._replace(where=seen_from(args.out, config), digest=digest_of(found, w))
    found = checked(learned.adopt(found), config)
    state = labels.begun(config, learned, found)
    check_test(found, config)
    held.enter_context(folder.lock())  # after all that may be refused
    folder = folder if args.resume else Run.create(args.out, config)
    folder.save(state, [0.0, 0])  # a run killed before its first epoch can be resumed too
    if words := learned.words(len(found.train)):
        say(words)
    if config.columns.split(",")[0] == "auto":
        kinds = kinds_in_words(found.train, found.levels, found.names, config.likelihood)
        say("columns: " + "; ".join(f"{name} {kind}" for name, kind in kinds))
    for words in wild(learned, found.train, found.origin):
        say(words)
    return folder, state, found, [0.0, 0]


def reopened(
    args: argparse.Namespace, folder: Run, config: Config, found: data.Dataset, text: Reading | None, w: Array | None
) -> tuple[Run, State, data.Dataset, list[float]]:
    """The run in a folder, locked by now, on the data that it had, or with --force on others."""
    state, meta = folder.load()
    pending = folder.pending(meta)
    folder.read_metrics(MEASURED)  # refused before anything is said or done
    now = flat(config.as_dict())
    for name, value in flat(state.config.as_dict()).items():
        if name not in LENGTH and value != now[name]:
            changed = f"{name} was {value!r}, now {now[name]!r}"
            raise UsageError(f"--resume continues a run as it was: {changed}; only {' and '.join(LENGTH)} may change")
    texts.check_same(state, text)
    same = state.reading.digest in ("", digest_of(found, w))  # a run made before digests were kept has none
    found = checked(state.reading.adopt(found), config)
    check_test(found, config)
    if not (same or args.force):
        raise UsageError(
            f"--resume: {found.name} no longer holds the rows that the run was trained on: restore them, or go on with "
            "these by --force"
        )
    state.config = dataclasses.replace(state.config, **{name: getattr(config, name) for name in LENGTH})
    folder.rewind(state.step)
    say(f"resumed at step {state.step}")
    if (lanes := meta.get("vector_width", width(state))) != width(state):
        here = f"here they have {width(state)}: it goes on, to other bits"
        say(f"the run was made with vectors of {lanes} floats, {here}")
    return folder, state, found, pending


def digest_of(found: data.Dataset, w: Array | None) -> str:
    """Of the training rows, and of their weights where they have any."""
    return digest(found.train) + ("" if w is None else digest(w[:, None]))


def checked(found: data.Dataset, config: Config) -> data.Dataset:
    """The data, whose training rows the likelihood can take; a map's are checked when they are read."""
    if config.model != "sequence":
        data.check(found.train, config.likelihood, found.origin, None, config.missing == "nan", config.dtype)
    return found


def check_test(found: data.Dataset, config: Config) -> None:
    """The same of the test rows."""
    if config.model != "sequence":
        data.check_test(found, config.likelihood, config.missing == "nan", config.dtype)


def seen_from(out: str, config: Config) -> str:
    """Where relative paths of the data count from, seen from the run's folder; "" where there are none."""
    paths = [path for path in (config.data, config.test) if path and path not in data.NAMES]
    return os.path.relpath(os.getcwd(), out) if any(not os.path.isabs(path) for path in paths) else ""


def finish(args: argparse.Namespace, folder: Run, state: State, found: data.Dataset, progress: Progress) -> None:
    """The last words: pictures and the report."""
    metrics = folder.read_metrics(MEASURED)
    if not metrics:
        raise UsageError(f"nothing to do: the run is at step {state.step} already; give more --epochs")
    last = metrics[-1]
    if last["step"] != best_step(state):  # an earlier look, or stopped between two evaluations and nothing left to do
        now = elbo_over(state, found.test, threads=args.threads)
        last = {**last, "test_elbo": now.elbo, "test_reconstruction": now.reconstruction, "test_kl": now.kl}
    try:
        if not args.no_pictures:
            from .pictures import picture_run

            picture_run(folder.folder, state, found, metrics)
    finally:  # also where there is no room for pictures, or no time
        emit(report_of(last, state, folder, progress), args.json)


def report_of(last: dict[str, Any], state: State, folder: Run, progress: Progress) -> dict[str, Any]:
    """What the run has come to."""
    return {
        "elbo": last["test_elbo"],
        "reconstruction": last["test_reconstruction"],
        "kl": last["test_kl"],
        **rivals.columns(state),
        "seconds": last["seconds"],
        "examples_per_second": round(progress.rate, 1),
        "peak_memory_mb": peak_memory(),
        "step": state.step,
        "run": str(folder.folder),
    }


def peak_memory() -> float | None:
    """The largest resident size of this process so far, 10^6 bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
