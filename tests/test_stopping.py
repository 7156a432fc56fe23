"""§7.3 How long a table is trained: its length, the rows held out, and the best parameters kept, through every stop."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call, Done

from scratchvae import VAE
from scratchvae.errors import UsageError
from scratchvae.training import compiled, stopping, watch
from scratchvae.training.config import Config, from_dict
from scratchvae.training.evaluate import elbo_over
from scratchvae.training.loop import Interrupted, Plan, train
from scratchvae.training.optim import Optimizer
from scratchvae.training.run import Run
from scratchvae.training.state import State, Steps, load_state, save_state
from scratchvae.types import Array

GAUSSIAN: dict[str, Any] = {"likelihood": "gaussian", "binarisation": "none", "kernels": "numpy", "data": "array"}
SMALL: dict[str, Any] = {**GAUSSIAN, "latent": 2, "hidden": (16,), "batch": 10, "variance": 0.01}


FAST: dict[str, Any] = {"optimizer": Optimizer(learning_rate=0.02)}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look every ten steps, so that a hundred steps without a better one end a run."""
    monkeypatch.setattr(stopping, "LOOK", 10)


def table(n: int = 60, D: int = 5) -> Array:
    """Noise, (n, D) uint8: whatever is learned of one row says nothing of another."""
    return np.random.default_rng(0).integers(0, 256, (n, D)).astype(np.uint8)


def fresh(x: Array, **options: Any) -> Steps:
    state = State(Config(**{**SMALL, **FAST, "epochs": 200.0, "validation": 0.25, **options}), x.shape[1])
    state.initialise(np.zeros(x.shape[1]))
    return compiled.steps(state, x)


class Kept:
    """A record in memory, whose checkpoints are files; it asks for a stop at a step, as Ctrl-C does."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, list[dict[str, Any]]()

    def append(self, metric: dict[str, Any]) -> None:
        self.lines.append({name: value for name, value in metric.items() if name != "seconds"})

    def save(self, state: State, pending: list[float]) -> None:
        save_state(self.path, state, {"bounds": pending})


def to_the_end(steps: Steps, record: Kept, stop_at: int = -1, pending: Any = (0.0, 0)) -> bool:
    """Train, with SIGINT at the first report from step `stop_at` on; False where that stopped it."""

    def report(now: dict[str, Any]) -> None:
        if 0 < stop_at <= now["step"] and "rate" in now:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        train(steps, None, Plan.of(steps), record, report, pending)
    except Interrupted:
        return False
    return True


# ---------------------------------------------------------------- the length


@pytest.mark.parametrize(
    ("rows", "held", "epochs"),
    [
        (142, 20, 1000),
        (1437, 144, 154),
        (30, 15, 2000),
        (7, 3, 2000),
        (2, 1, 2000),
        (1, 0, 2000),
        (50_000, 5000, 20),
        (10**6, 10**4, 20),
    ],
)
def test_a_table_has_two_thousand_steps_and_a_tenth_held_out(rows: int, held: int, epochs: float) -> None:
    """Catches 20 epochs of 142 rows, 40 steps in which nothing is learned; a stop that hangs on two rows; a hundred
    thousand of a million rows read at each look."""
    config = stopping.at_length(Config(**GAUSSIAN), np.zeros((rows, 1), np.float32), ())
    assert (stopping.held_out(rows, config.validation), config.epochs) == (held, epochs)
    assert epochs == 20 or epochs * math.ceil((rows - held) / config.batch) >= 2000


@pytest.mark.parametrize("columns", ["auto", "auto,b=poisson", "a=gaussian,b=poisson", "autonomy=poisson", ""])
def test_columns_that_were_found_are_a_table(columns: str) -> None:
    """Catches 20 epochs for a table whose columns were found but for those named; the others keep their length."""
    config = stopping.at_length(Config(likelihood="0=gaussian,1=poisson", columns=columns), np.zeros((142, 2)), ())
    assert (config.epochs, config.validation > 0) == ((1000, True) if columns[:5] in ("auto", "auto,") else (20, False))


def test_what_is_given_is_obeyed_and_other_data_keep_their_length() -> None:
    config, x = Config(**GAUSSIAN, epochs=3.0), np.zeros((142, 1), np.float32)
    assert stopping.at_length(config, x, {"epochs"}).epochs == 3
    assert stopping.at_length(config, x, {"epochs", "validation"}) == config
    assert stopping.at_length(config, x, {"validation"}).epochs == 1000
    for likelihood in ("bernoulli", "gaussian-sigmoid"):
        other = Config(likelihood=likelihood)
        assert stopping.at_length(other, x, ()) == other
    assert stopping.at_length(Config(**GAUSSIAN), x.astype(np.uint8), ()) == Config(**GAUSSIAN)  # images


def test_a_model_that_was_kept_is_fitted_again_as_it_was(tmp_path: Path) -> None:
    """Catches a length and a stop that were given, and are made anew for a model that comes from a file."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = VAE(**{**SMALL, "data": "array"}, epochs=3, validation=0).fit(x)
    model.save(tmp_path / "m.safetensors")
    again = VAE.load(tmp_path / "m.safetensors").fit(x)
    assert model.state is not None
    assert again.state is not None
    assert model.state.step == again.state.step == 18
    np.testing.assert_array_equal(model.state.arena.flat, again.state.arena.flat)


def test_a_config_from_before_holds_nothing_out() -> None:
    """Catches an old run that goes on with other rows, or whose checkpoint is refused for what it lacks."""
    values = Config(**SMALL).as_dict()
    del values["validation"]
    state = State(from_dict(values), 5)
    assert not any(name.startswith("stopping") for name in state.tensors())
    steps = Steps(state, table())
    assert Plan.of(steps) == Plan(total=120, evaluate=6, save=6)
    seen = np.concatenate([steps.index(i) for i in range(steps.per_epoch)])
    np.testing.assert_array_equal(seen, state.noise.order(0, 60))


# ---------------------------------------------------------------- the rows held out


def test_rows_held_out_take_no_part_in_training() -> None:
    """Catches an order, a prior's share or a last minibatch that still counts all the rows."""
    x, other = table(), table()
    steps = fresh(x, prior=True)
    other[steps.held] = 255 - x[steps.held]
    changed, alone = fresh(other, prior=True), fresh(x, prior=True, validation=0.0)
    assert (len(steps.held), steps.rows, steps.per_epoch) == (15, 45, 5)
    together = [one.advance(12) for one in (steps, changed, alone)]
    np.testing.assert_array_equal(together[0], together[1])
    assert not np.array_equal(together[0], together[2])
    seen = np.concatenate([steps.index(i) for i in range(steps.per_epoch)])
    np.testing.assert_array_equal(np.sort([*seen, *steps.held]), np.arange(60))
    plain = {"optimizer": Optimizer("sgd", learning_rate=0.1), "dtype": "float64"}
    with_prior, without = fresh(x, prior=True, **plain), fresh(x, **plain)
    pull, (begin, end) = -0.1 * with_prior.state.arena.flat / 45, with_prior.generative()  # ∂ log N(θ; 0, I) / rows
    pull[:begin] = pull[end:] = 0
    with_prior.advance(1)
    without.advance(1)
    np.testing.assert_allclose(with_prior.state.arena.flat - without.state.arena.flat, pull, atol=1e-15)


def test_other_seeds_hold_out_other_rows_and_an_epoch_has_one_look_at_most() -> None:
    """Catches rows held out that are the same in each of several runs, and looks that cost more than the training."""
    x = table(400)
    held = [fresh(x, seed=seed).held.tolist() for seed in (0, 1, 1)]
    assert held[0] != held[1] == held[2]
    assert [stopping.period(fresh(x, batch=batch)) for batch in (1, 10, 100)] == [300, 30, 10]


def test_compiled_steps_hold_out_the_same_rows() -> None:
    options: dict[str, Any] = {"prior": True, "dtype": "float64"}
    fast, slow = fresh(table(), kernels="numba", **options), fresh(table(), **options)
    assert isinstance(fast, compiled.Compiled)
    np.testing.assert_allclose(fast.advance(12), slow.advance(12), rtol=1e-9)
    np.testing.assert_allclose(fast.state.arena.flat, slow.state.arena.flat, rtol=1e-6, atol=1e-9)


def test_test_rows_never_decide() -> None:
    """Catches a stop by the rows that the figure is quoted on."""
    x = table() / 255
    models = [VAE(**SMALL, **FAST, epochs=10).fit(x, test) for test in (None, x[:7], 1 - x)]
    for model in models[1:]:
        np.testing.assert_array_equal(model._fitted().arena.flat, models[0]._fitted().arena.flat)
        assert {"test_elbo", "validation_elbo"} <= model.history[0].keys()


# ---------------------------------------------------------------- the end


def test_the_run_ends_with_its_best_parameters() -> None:
    """Rows of noise are learned by heart: catches the last parameters in place of the best, and a run that goes on."""
    steps = fresh(table())
    metrics = train(steps, table(), Plan.of(steps))
    state = steps.state
    bounds = [line["validation_elbo"] for line in metrics]
    best = int(np.argmax(bounds))
    assert elbo_over(state, table()[steps.held]).elbo == bounds[best] > bounds[-1]
    assert state.step == (best + 1 + state.config.patience) * stopping.LOOK < 1000
    assert stopping.best_step(state) == (best + 1) * stopping.LOOK
    assert metrics[-1]["train_elbo"] > metrics[best]["train_elbo"]


def test_looks_without_a_number_leave_the_parameters_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a best that is none: the zeros that stood in its place."""
    steps, watched = fresh(table(), epochs=4.0), fresh(table(), epochs=4.0)
    steps.advance(20)
    monkeypatch.setattr(watch.Watch, "bound", lambda self: math.nan)
    train(watched, None, Plan.of(watched))
    np.testing.assert_array_equal(watched.state.arena.flat, steps.state.arena.flat)


@pytest.mark.parametrize(("kernels", "stops"), [("numpy", (10, 17, 85)), ("numba", (17, 60))])
def test_stopped_and_resumed_is_the_run_that_was_not(kernels: str, stops: tuple[int, ...], tmp_path: Path) -> None:
    """Ctrl-C before the first look, at a look, after it, late: catches a best or a count of looks that the checkpoint
    forgot, the best parameters trained on, and threads that change the bound of a look."""
    options = {"kernels": kernels, "samples": 2}
    whole, parts = Kept(tmp_path / "whole"), Kept(tmp_path / "parts")
    assert to_the_end(fresh(table(), **options), whole)
    steps, pending = fresh(table(), **options), (0.0, 0)
    for threads, stop in enumerate(stops, 1):
        assert not to_the_end(steps, parts, stop, pending)
        state, meta = load_state(parts.path)
        steps, pending = compiled.steps(state, table(), 1 + threads % 2), meta["bounds"]
    assert to_the_end(steps, parts, pending=pending)
    assert parts.lines == whole.lines
    assert parts.path.read_bytes() == whole.path.read_bytes()


def test_a_longer_run_goes_on_where_the_shorter_one_was(tmp_path: Path) -> None:
    """Catches training that goes on from the best parameters, not from the last."""
    long, short = Kept(tmp_path / "long"), Kept(tmp_path / "short")
    assert to_the_end(fresh(table(), epochs=11.0), long)
    assert to_the_end(fresh(table(), epochs=7.0), short)
    state, _ = load_state(short.path)
    assert state.step == 35
    state.config = fresh(table(), epochs=11.0).state.config
    assert to_the_end(Steps(state, table()), short)
    for name, array in load_state(long.path)[0].tensors().items():
        np.testing.assert_array_equal(state.tensors()[name], array)


def test_ctrl_c_leaves_the_best_so_far() -> None:
    x = table() / 255
    whole, cut = VAE(**SMALL, **FAST), VAE(**SMALL, **FAST)

    def report(now: dict[str, Any]) -> None:
        if now["step"] >= 130 and "rate" in now:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        cut.fit(x, report=report)
    whole.fit(x)
    assert stopping.best_step(cut._fitted()) == stopping.best_step(whole._fitted()) < 130
    np.testing.assert_array_equal(cut._fitted().arena.flat, whole._fitted().arena.flat)


# ---------------------------------------------------------------- the command


@pytest.fixture
def real(call: Call) -> Call:
    """`call` in a folder with real.npy, 80 rows."""
    np.save("real.npy", table(80) / 255)
    return call


def train_real(call: Call, *options: str) -> Done:
    small = ["--kernels", "numpy", "--hidden", "16", "--latent", "2", "--batch", "50", "--learning-rate", "0.02"]
    gaussian = ["--likelihood", "gaussian", "--variance", "0.01", "--no-pictures"]
    return call("train", "real.npy", *gaussian, *small, *options)


def test_the_command_says_what_is_held_out_and_why_it_ended(real: Call) -> None:
    done = train_real(real, "--out", "run", "--json")
    assert done.code == 0
    assert "20 of the 72 training rows are held out" in done.words
    report, lines = json.loads(done.out), Run(Path("run")).read_metrics()
    best = max(lines, key=lambda line: line["validation_elbo"])
    assert report["step"] == lines[-1]["step"] == best["step"] + 100 < 2000
    assert f"ended at step {report['step']}: their bound has not risen for 100 steps; it holds step" in done.words
    assert report["elbo"] == best["test_elbo"] != lines[-1]["test_elbo"]
    config, before = Run(Path("run")).read_config(), Run(Path("run")).checkpoint.read_bytes()
    assert (config.epochs, config.validation) == (1000, 20 / 72)
    again = real("train", "--out", "run", "--resume", "--epochs", "5000", "--no-pictures")
    assert again.code == 0
    assert "nothing is left to do: the run ended at step" in again.words
    assert Run(Path("run")).checkpoint.read_bytes() == before
    assert json.loads(real("evaluate", "run", "--json").out)["elbo"] == report["elbo"]


def test_patience_is_so_many_looks_and_may_grow(real: Call) -> None:
    """Catches a patience that is said and not kept, looks counted from the last better one but one, and a run that
    ended and cannot be given more of it, or goes on from its best parameters."""
    ends = {}
    for looks in (1, 3):
        done = train_real(real, "--out", f"run{looks}", "--patience", str(looks), "--json")
        best = max(Run(Path(f"run{looks}")).read_metrics(), key=lambda line: line["validation_elbo"])["step"]
        ends[looks] = best, json.loads(done.out)["step"]
        assert ends[looks][1] == best + 10 * looks
        assert f"has not risen for {'one look' if looks == 1 else '3 looks'}, at step" in done.words
    assert ends[3][1] > ends[1][1]
    assert real("train", "--out", "run1", "--resume", "--patience", "3", "--no-pictures").code == 0
    one, three = (Run(Path(f"run{looks}")).checkpoint.read_bytes() for looks in (1, 3))
    assert one == three
    with pytest.raises(UsageError, match="patience=0: expected so many looks"):
        Config(patience=0)


def test_the_stop_can_be_switched_off(real: Call) -> None:
    done = train_real(real, "--out", "run", "--validation", "0", "--epochs", "4")
    assert done.code == 0
    assert "held out" not in done.words
    lines = Run(Path("run")).read_metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert "validation_elbo" not in lines[0]
    resumed = real("train", "--out", "run", "--resume", "--validation", "0.2")
    assert "validation was 0.0, now 0.2" in resumed.line


def test_samples_seen_count_rows_that_are_trained_on(real: Call) -> None:
    assert train_real(real, "--out", "run", "--samples-seen", "1040").code == 0
    assert Run(Path("run")).read_metrics()[-1]["samples_seen"] == 1040
