"""§7.3 A run's folder: nothing of another run is overwritten, nothing half written is believed."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, bits

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.errors import DataError, UsageError
from scratchvae.training import checkpoint
from scratchvae.training.config import Config
from scratchvae.training.run import MEASURED, Run
from scratchvae.training.state import State


def measured(step: int, **values: Any) -> dict[str, Any]:
    """A line of metrics."""
    bounds = {"train_elbo": -2.0, "test_elbo": -3.0, "test_reconstruction": -2.5, "test_kl": 0.5}
    return {"step": step, "epoch": step / 10, "samples_seen": 9 * step, "seconds": 0.5, **bounds, **values}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs" / "one", Config(seed=7, hidden=(5, 3), latent=2))


def test_config_comes_back(run: Run) -> None:
    assert run.read_config() == Config(seed=7, hidden=(5, 3), latent=2)
    assert os.listdir(run.folder) == ["config.json"]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoint.safetensors"])
def test_another_run_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(UsageError, match=r"already holds a run .*--resume"):
        Run.create(tmp_path, Config())
    assert (tmp_path / name).read_text() == "old"


def test_a_folder_with_other_files_is_fine(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert Run.create(tmp_path, Config()).read_config() == Config()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made: Not a directory"):
        Run.create(tmp_path / "file" / "run", Config())
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UsageError, match="cannot be written: Permission denied"):
            Run.create(tmp_path / "locked", Config())
    with pytest.raises(UsageError, match=r"metrics.jsonl cannot be written"):
        Run(tmp_path / "nowhere").append({"step": 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"latnet": 3}', "unknown option 'latnet'"),
        ('{"latent": 3', "config.json is not JSON"),
        ("[1]", "not a JSON object"),
        ("\xff", "not JSON"),
        ('{"latent": [[], 1]}', r"latent=\[\[\], 1\] in the config: expected a value such as 20"),  # was a TypeError
        ("[" + "[]," * 333_333 + "[]]", "more than 1000000 bytes"),  # 28 MB cost 0.8 GB and 13 s
    ],
)
def test_a_bad_config(run: Run, text: str, words: str) -> None:
    run.config.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=words) as caught:
        run.read_config()
    assert "\n" not in str(caught.value)


def test_metrics_are_rewound_to_the_checkpoint(run: Run) -> None:
    """A run killed after the evaluation of step 30, in the middle of writing 40's, resumes at the checkpoint of 20."""
    for step in (10, 20, 30):
        run.append(measured(step))
    with open(run.metrics, "a") as file:
        file.write('{"step": 40, "test_el')
    assert [record["step"] for record in run.read_metrics()] == [10, 20, 30]
    run.rewind(20)
    run.append(measured(30, test_elbo=-1.0))
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [10, 20, 30]
    assert run.read_metrics()[-1]["test_elbo"] == -1.0


@pytest.mark.parametrize("line", ["{", "3", '{"elbo": 1}', '{"step": "x"}', "[" * 9999])
def test_a_damaged_line_of_metrics(run: Run, line: str) -> None:
    run.append(measured(1))
    run.metrics.write_text(run.metrics.read_text() + line + "\n" + json.dumps(measured(2)) + "\n")
    with pytest.raises(DataError, match=r"metrics.jsonl has a line, number 2, .*remove that line"):
        run.rewind(2)


# ---------------------------------------------------------------- a hand has been at it

ODD: list[Any] = [None, [], {}, "", "x", -1, 0, 1.5, float("inf"), float("nan"), True, 10**400, [[]], {"a": None}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch in a folder; nobody writes there."""
    folder = tmp_path_factory.mktemp("trained")
    np.save(folder / "rows.npy", bits())
    options = [*QUIET, "--epochs", "1"]
    assert main(["train", str(folder / "rows.npy"), "--out", str(folder / "run"), *options]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and a disk takes its time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_a_line_of_metrics_is_on_the_disk_before_the_checkpoint_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a plug that is pulled: the checkpoint is there, the line measured before it is not, nor ever will be."""
    synced, seen, replace = dict[int, int](), list[int](), os.replace

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    def replaced(source: Any, target: Any) -> None:
        metrics = tmp_path / "run" / "metrics.jsonl"
        if str(target).endswith(".safetensors") and metrics.exists():
            found = metrics.stat()
            seen.append(synced.get(found.st_ino, 0) - found.st_size)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    np.save(tmp_path / "rows.npy", bits())
    assert main(["train", str(tmp_path / "rows.npy"), "--out", str(tmp_path / "run"), *QUIET, "--epochs", "2"]) == 0
    assert seen
    assert not any(seen)


def one_line(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """The command goes well, or is refused as bad data in one line: Python's own errors would come through."""
    capsys.readouterr()
    code, said = main([*words]), capsys.readouterr().err
    assert code == 0 or (code, said.count("\n")) == (3, 1), (code, said)


def forge(source: Path, to: Path, **changes: Any) -> None:
    """The run in a folder of its own, with another's metadata under a right digest."""
    shutil.copytree(source, to, dirs_exist_ok=True)
    tensors, meta = checkpoint.load(to / "checkpoint.safetensors")
    meta = {key: value for key, value in {**meta, **changes}.items() if value is not ...}
    checkpoint.save(to / "checkpoint.safetensors", tensors, meta)


@pytest.mark.parametrize("key", ["config", "columns", "step", "bounds", "kind"])
def test_forged_metadata(trained: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback where a checkpoint's metadata are of another kind than `save` wrote, or are not there."""
    for value in (*ODD, ...):
        forge(trained, tmp_path / "run", **{key: value})
        one_line(capsys, "train", "--resume", "--no-pictures", "--out", str(tmp_path / "run"))
        if key == "config":
            one_line(capsys, "info", str(tmp_path / "run"))


def test_forged_options(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for each option of the config, in the checkpoint and in config.json, and for the optimizer's."""
    held = json.loads((trained / "config.json").read_text())
    forged = [held | {name: value} for name in held for value in ODD]
    forged += [held | {"optimizer": held["optimizer"] | {name: value}} for name in held["optimizer"] for value in ODD]
    run = Run(tmp_path)
    tensors, meta = checkpoint.load(trained / "checkpoint.safetensors")
    for config in forged:
        monkeypatch.setattr(checkpoint, "load", lambda *_, c=config: (tensors, {**meta, "config": c}))
        run.config.write_text(json.dumps(config))
        for load in (run.load, run.read_config):
            with contextlib.suppress(DataError):
                load()


@pytest.mark.parametrize("name", MEASURED)
def test_forged_metrics(trained: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback, after the training or before it, on a line that a hand has changed."""
    shutil.copytree(trained, tmp_path / "run")
    run = Run(tmp_path / "run")
    (line,) = run.read_metrics()
    for value in (*ODD, ...):
        changed = {key: item for key, item in {**line, name: value}.items() if item is not ...}
        run.metrics.write_text(json.dumps(changed) + "\n")
        taken = False
        with contextlib.suppress(DataError):
            taken = bool(run.read_metrics(MEASURED))
        if taken or value is ...:  # what is refused is refused alike
            one_line(capsys, "train", "--resume", "--no-pictures", "--out", str(run.folder))
            one_line(capsys, "info", str(run.folder))


def test_what_vae_save_wrote_is_no_run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    VAE.load(path).save(path)
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 3
    assert "is not a training run's: its bounds are None, so it cannot resume\n" in capsys.readouterr().err


def test_sizes_that_the_tensors_do_not_have_are_refused_unallocated(trained: Path, tmp_path: Path) -> None:
    """Catches a forged width, of which petabytes would be asked for before a tensor was looked at."""
    _, meta = checkpoint.load(trained / "checkpoint.safetensors")
    for change in ({"hidden": [2**23]}, {"latent": 2**23}, {"hidden": [2**23, 2**23]}):
        forge(trained, tmp_path / "run", config=meta["config"] | change)
        with pytest.raises(DataError, match="expected"):
            Run(tmp_path / "run").load()


def test_no_metrics_yet(run: Run) -> None:
    run.rewind(0)
    assert run.read_metrics() == []


def test_no_run(tmp_path: Path) -> None:
    for act in (Run(tmp_path).load, Run(tmp_path / "x").load, Run(tmp_path).read_config):
        with pytest.raises(DataError, match="holds no run"):
            act()


def test_a_state_comes_back(run: Run) -> None:
    config = Config(hidden=(3,), latent=2, kernels="numpy")
    state = State(config, 4)
    state.initialise(np.full(4, 0.5))
    state.slots[...], state.step = 0.25, 11
    run.save(state, [-3.5, 2])
    again, meta = run.load()
    assert (again.config, again.step, meta["bounds"]) == (config, 11, [-3.5, 2])
    assert again.arena.flat.tobytes() == state.arena.flat.tobytes()
    assert again.slots.tobytes() == state.slots.tobytes()


def test_a_damaged_checkpoint(run: Run) -> None:
    run.save(State(Config(hidden=(3,), latent=2, kernels="numpy"), 4), [0.0, 0])
    raw = run.checkpoint.read_bytes()
    run.checkpoint.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(DataError, match="SHA-256"):
        run.load()
