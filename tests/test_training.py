"""The loop: a run that was stopped, killed or sliced is the run that was not; what breaks says where."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae.cli import main
from scratchvae.estimators import ESTIMATORS, get
from scratchvae.training import compiled, loop
from scratchvae.training.config import Config, from_dict
from scratchvae.training.evaluate import Bound, log_likelihood
from scratchvae.training.loop import Mean, Plan, train
from scratchvae.training.objective import Diverged
from scratchvae.training.optim import Optimizer, log_prior, log_prior_vjp
from scratchvae.training.run import Run
from scratchvae.training.state import State, Steps, mean_row, save_state
from scratchvae.types import Array
from scratchvae.vae import VAE

SMALL = ["--hidden", "12", "--latent", "3", "--batch", "32", "--no-pictures"]


def stripes(n: int = 300) -> Array:
    """Rows (n, 24) with structure to learn, uint8."""
    phase = np.arange(n)[:, None] * 7 + np.arange(24)[None, :] * (1 + np.arange(n)[:, None] % 3)
    return (phase % 11 * 25).astype(np.uint8)


def small_steps(**options: Any) -> Steps:
    default = {"latent": 3, "hidden": (12,), "batch": 32, "data": "array", "kernels": "numpy"}
    config = Config(**{**default, **options})
    state = State(config, 24)
    state.initialise(mean_row(stripes()))
    return Steps(state, stripes())


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "scratchvae", *args]


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", stripes())
    return tmp_path / "rows.npy"


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "checkpoint.safetensors").read_bytes()).hexdigest()


def test_evaluation_along_the_way_has_the_threads_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int | None] = []

    def elbo_over(state: State, x: Array, threads: int | None = None) -> Bound:
        given.append(threads)
        return Bound(0, 0, 0, len(x))

    monkeypatch.setattr(loop, "elbo_over", elbo_over)
    steps = compiled.steps(small_steps(epochs=2.0).state, stripes(), 3)
    train(steps, stripes(), Plan.of(steps))
    assert given == [3, 3]


def test_training_raises_the_bound() -> None:
    """A gradient of the wrong sign anywhere makes this fall."""
    steps = small_steps(epochs=60.0)
    metrics = train(steps, stripes()[:50], Plan.of(steps))
    assert metrics[-1]["test_elbo"] > metrics[0]["test_elbo"] + 1
    assert metrics[-1]["test_elbo"] == pytest.approx(metrics[-1]["test_reconstruction"] - metrics[-1]["test_kl"])


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
@pytest.mark.parametrize("binarisation", ["dynamic", "fixed", "threshold", "none"])
def test_slices_leave_no_trace(kernels: str, binarisation: str) -> None:
    """Where the loop pauses must not matter: noise keyed by anything but the step would show here."""
    whole, sliced = (small_steps(kernels=kernels, binarisation=binarisation) for _ in range(2))
    together = whole.advance(13)
    apart = np.concatenate([sliced.advance(n) for n in (1, 5, 0, 7)])
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(whole.state.arena.flat, sliced.state.arena.flat)


def test_every_row_is_seen_once_an_epoch() -> None:
    """An order drawn with replacement, or a lost last minibatch, would show."""
    steps = small_steps()
    seen = np.concatenate([steps.index(i) for i in range(steps.per_epoch)])
    assert sorted(seen) == list(range(300))
    assert not np.array_equal(seen, np.concatenate([steps.index(steps.per_epoch + i) for i in range(steps.per_epoch)]))


def test_binarisation_is_fresh_only_where_it_is_dynamic() -> None:
    """Fixed bits follow the row through every epoch; dynamic ones change."""
    for how, same in (("fixed", True), ("dynamic", False)):
        steps = small_steps(binarisation=how)
        rows: list[dict[int, Any]] = [{}, {}]
        for step in range(2 * steps.per_epoch):
            x, _ = steps.minibatch(step)
            rows[step // steps.per_epoch].update(zip(steps.index(step).tolist(), x, strict=True))
        assert all(np.array_equal(rows[0][i], rows[1][i]) for i in range(300)) == same


def test_samples_are_averaged() -> None:
    """L samples (eq. 7) estimate the same bound as one: their mean over many steps agrees, their spread is smaller."""
    one, many = small_steps(binarisation="none"), small_steps(binarisation="none", samples=16)
    rate = Optimizer(learning_rate=1e-12)
    for steps in (one, many):
        object.__setattr__(steps.state.config, "optimizer", rate)
    a, b = one.advance(200), many.advance(200)
    assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(200)


def test_killed_three_times_and_resumed_gives_the_same_bits(rows_file: Path, tmp_path: Path) -> None:
    """SIGKILL at three points, now on one thread, now on two: a checkpoint that forgot a slot, the step or the order,
    and a sum that depends on the threads, would end elsewhere."""
    options = [str(rows_file), *SMALL, "--epochs", "60", "--save-every", "3", "--kernels", "numba"]
    whole = command("train", *options, "--out", str(tmp_path / "whole"), "--threads", "1")
    subprocess.run(whole, check=True, capture_output=True)
    run = tmp_path / "killed"
    for kill in range(3):
        resume = ["--threads", str(1 + kill % 2), *(["--resume"] if kill else [])]
        process = subprocess.Popen(
            command("train", *options, "--out", str(run), *resume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        target = 9 * (kill + 1)
        while process.poll() is None and lines(run / "metrics.jsonl") < target:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, "it finished before it could be killed"
    last = command("train", *options, "--out", str(run), "--resume", "--threads", "2")
    subprocess.run(last, check=True, capture_output=True)
    assert digest(run) == digest(tmp_path / "whole")
    kept = [(m["step"], m["train_elbo"], m["test_elbo"]) for m in metrics_of(run)]
    assert kept == [(m["step"], m["train_elbo"], m["test_elbo"]) for m in metrics_of(tmp_path / "whole")]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_ctrl_c_saves_and_exits_130(rows_file: Path, tmp_path: Path) -> None:
    """And the run that continues is the run that was never stopped."""
    options = [str(rows_file), *SMALL, "--kernels", "numpy"]
    long = command("train", *options, "--out", str(tmp_path / "run"), "--epochs", "100000")
    process = subprocess.Popen(long, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and lines(tmp_path / "run" / "metrics.jsonl") < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert words.index("stopping after the steps in hand") < words.index("--resume")
    assert "Traceback" not in words
    stopped = json.loads(
        subprocess.run(command("info", str(tmp_path / "run"), "--json"), check=True, capture_output=True).stdout
    )
    assert stopped["step"] >= 2 * 9
    epochs = str(math.ceil(stopped["step"] / 9) + 1)
    more = ["--resume", "--epochs", epochs]
    subprocess.run(command("train", *options, "--out", str(tmp_path / "run"), *more), check=True, capture_output=True)
    whole = command("train", *options, "--out", str(tmp_path / "whole"), "--epochs", epochs)
    subprocess.run(whole, check=True, capture_output=True)
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_a_bound_that_breaks_says_step_row_and_term(tmp_path: Path) -> None:
    """exp(log σ²) overflows for one row: the KL is named, and the state is the one before the step."""
    steps = small_steps(binarisation="none")
    steps.advance(3)
    steps.state.arena.views["q.log_var.b"][1] = 1e4
    before = steps.state.arena.flat.copy()
    with pytest.raises(Diverged, match=r"step 3, row 0 of the minibatch: KL\(q \|\| p\) broke"):
        steps.advance(5)
    assert steps.state.step == 3
    np.testing.assert_array_equal(steps.state.arena.flat, before)


def test_divergence_leaves_the_last_checkpoint_intact(rows_file: Path, tmp_path: Path) -> None:
    options = [str(rows_file), *SMALL, "--kernels", "numpy", "--out", str(tmp_path / "run")]
    options += ["--schedule", "step", "--milestones", "2:1e30"]
    subprocess.run(command("train", *options, "--epochs", "2"), check=True, capture_output=True)
    kept = digest(tmp_path / "run")
    done = subprocess.run(command("train", *options, "--epochs", "9", "--resume"), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("scratchvae train: the bound is")
    assert digest(tmp_path / "run") == kept


DENSITIES = ["sgvb_a", "stl", "iw", "dreg"]  # estimators that ask for log q(z)


@pytest.mark.parametrize(
    ("name", "latent"), [(name, latent) for name in DENSITIES for latent in (3, (4, 2))] + [("score_loo", 3)]
)
def test_a_bound_that_breaks_as_estimated_stops_before_the_update(name: str, latent: Any) -> None:
    """A density of z that overflows float32, where the KL in closed form is a number: NaN was trained on, and saved."""
    options: dict[str, Any] = {"hidden": ((12,), (6,))} if isinstance(latent, tuple) else {}
    steps = small_steps(latent=latent, estimator=name, samples=2, binarisation="none", **options)
    steps.advance(3)
    top = "q.1.log_var.b" if isinstance(latent, tuple) else "q.log_var.b"
    steps.state.arena.views[top][1] = -100
    before = steps.state.arena.flat.copy()
    with pytest.raises(Diverged, match=rf"as {name} estimates it is (nan|-?inf) at step 3, row 0"):
        steps.advance(5)
    assert steps.state.step == 3
    np.testing.assert_array_equal(steps.state.arena.flat, before)


class Diary:
    """A record of the steps at which a line was kept, and a checkpoint."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.saved: list[int] = []

    def append(self, metric: dict[str, Any]) -> None:
        self.lines.append(metric["step"])

    def save(self, state: State, pending: list[float]) -> None:
        self.saved.append(state.step)


def test_parameters_that_are_no_numbers_are_not_saved() -> None:
    """A slope may overflow where the bound did not; the next bound would tell, but the run may save before."""
    steps = small_steps()
    take = steps.advance

    def broken(count: int) -> Array:
        bounds = take(count)
        if steps.state.step >= 10:
            steps.state.arena.flat[7] = np.nan
        return bounds

    steps.advance, diary = broken, Diary()  # type: ignore[method-assign]
    with pytest.raises(Diverged, match="no longer numbers after step"):
        train(steps, None, Plan(total=20, evaluate=5, save=5), diary)
    assert diary.saved == [5]


@pytest.mark.parametrize("name", [*ESTIMATORS, "vr:0.5", "score_constant:-12"])
def test_every_estimator_trains_and_resumes(name: str) -> None:
    """A memory (a learned baseline) that the checkpoint forgot would part the two runs."""
    options = {"estimator": name, "samples": max(2, get(name).samples), "binarisation": "none"}
    whole, first, second = (small_steps(**options) for _ in range(3))
    whole.advance(5)
    first.advance(3)
    second.state.restore({key: array.copy() for key, array in first.state.tensors().items()}, 3)
    second.advance(2)
    np.testing.assert_array_equal(whole.state.arena.flat, second.state.arena.flat)


@pytest.mark.parametrize("name", ["sgvb_b", "iw", "dreg", "score_mean"])
def test_ladders_train(name: str) -> None:
    """Two latent layers under several rules; the bound rises."""
    steps = small_steps(latent=(4, 2), hidden=((12,), (6,)), estimator=name, samples=2, binarisation="none")
    bounds = steps.advance(300)
    assert bounds[-30:].mean() > bounds[:30].mean() + 0.3


def test_prior_is_map() -> None:
    """Eq. 8 divided by N: the slope of log p(θ)/N, and only θ feels it."""
    theta, d = np.array([0.5, -2.0, 1.0]), np.zeros(3)
    log_prior_vjp(2.0, theta, 10, d)
    numeric = [(log_prior(theta + h, 10) - log_prior(theta - h, 10)) / 2e-6 for h in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(d, 2 * np.array(numeric), rtol=1e-8)
    free, tied = small_steps(), small_steps(prior=True)
    gradient = []
    for steps in (free, tied):
        steps.advance(1)
        gradient.append(steps.state.gradient.flat.copy())
    start = small_steps()
    first, last = start.generative()
    np.testing.assert_array_equal(gradient[0][:first], gradient[1][:first])
    expected = gradient[0][first:last] - start.state.arena.flat[first:last] / 300
    np.testing.assert_allclose(gradient[1][first:last], expected, rtol=1e-6, atol=1e-9)


def test_mean_is_the_same_however_it_is_sliced() -> None:
    values = np.random.default_rng(0).normal(size=100)
    a, b = Mean(), Mean()
    a.add(values)
    for part in np.split(values, [3, 50, 51]):
        b.add(part)
    assert a.take() == b.take()


def test_a_ladder_is_no_vae(tmp_path: Path) -> None:
    """Catches the checkpoint of a ladder in the face of one layer, which failed at its first use."""
    state = State(Config(latent=(3, 2), hidden=((4,), (4,)), kernels="numpy"), 6)
    save_state(tmp_path / "ladder", state, {})
    with pytest.raises(ValueError, match="holds a ladder of latent layers: read it with"):
        VAE.load(tmp_path / "ladder")
    with pytest.raises(ValueError, match="samples=0: log p"):
        log_likelihood(state, np.zeros((2, 6), np.float32), 0)


def test_an_optimizer_by_its_name_alone_is_refused() -> None:
    """Catches {"optimizer": "adam"} in a config file, which went as far as the first array."""
    with pytest.raises(ValueError, match="optimizer='adam': expected its options, such as"):
        from_dict({"optimizer": "adam"})


def test_unknown_option_in_a_config_is_named() -> None:
    with pytest.raises(ValueError, match="unknown option 'latents' in the config: known are"):
        from_dict({"latents": 3})


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads anonymous memory from /proc")
def test_a_memory_map_eight_times_the_limit_trains_in_64_mb(tmp_path: Path) -> None:
    """512 MB of rows under a limit of 64 MB of anonymous memory: a copy of the data shows."""
    file = tmp_path / "big.npy"
    mapped = np.lib.format.open_memmap(file, "w+", np.uint8, (680_000, 784))
    mapped[::1000] = 200
    del mapped
    program = f"""
import re, numpy as np
from scratchvae import data
from scratchvae.training.config import Config
from scratchvae.training.state import State, Steps, mean_row
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
found = data.load({str(file)!r})
state = State(Config(latent=2, hidden=(16,), kernels="numpy"), 784)
Steps(state, found.train[:200]).advance(1)
before = anonymous()
state.initialise(mean_row(found.train))
Steps(state, found.train).advance(60)
print(anonymous() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert file.stat().st_size > 8 * 64e6
    assert float(done.stdout) < 64


# ---------------------------------------------------------------- what the loop promises


def test_the_end_is_measured_and_saved_whatever_the_periods() -> None:
    diary = Diary()
    metrics = train(small_steps(), stripes()[:20], Plan(total=7, evaluate=3, save=4), diary)
    assert [m["step"] for m in metrics] == diary.lines == [3, 6, 7]
    assert diary.saved == [4, 7]


def test_time_left_is_rows_left_over_rows_a_second() -> None:
    clock = loop.Clock(small_steps())  # an epoch of 300 rows: nine minibatches of 32, and one of 12
    clock.pace, clock.examples = 2.0, 100
    for step, total, left in ((0, 10, 6.0), (0, 20, 12.0), (5, 10, 2.8), (9, 10, 0.24), (10, 10, 0.0)):
        clock.steps.state.step = step
        assert clock.left(total) == pytest.approx(left)


def test_an_epoch_cut_in_two_has_one_mean(rows_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails between a checkpoint at step 8 and the line at step 9: the first eight bounds count, too."""

    def run(name: str, *more: str) -> int:
        options = [*SMALL, "--kernels", "numpy", "--epochs", "1", "--save-every", "0.45", *more]
        return main(["train", str(rows_file), *options, "--out", str(tmp_path / name)])

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    assert run("whole") == 0
    with monkeypatch.context() as patched:
        patched.setattr(Run, "append", power_cut)
        assert run("cut") == 130
    assert Run(tmp_path / "cut").load()[0].step == 8
    assert run("cut", "--resume") == 0
    cut_run, whole = (metrics_of(tmp_path / name) for name in ("cut", "whole"))
    assert [m["train_elbo"] for m in cut_run] == [m["train_elbo"] for m in whole]
