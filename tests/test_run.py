"""§7.3 A run's folder: nothing of another run is overwritten, nothing half written is believed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from scratchvae.errors import DataError, UsageError
from scratchvae.training.config import Config
from scratchvae.training.run import Run
from scratchvae.training.state import State


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
    ("text", "error", "words"),
    [
        ('{"latnet": 3}', UsageError, "unknown option 'latnet'"),
        ('{"latent": 3', DataError, "config.json is not JSON"),
        ("[1]", DataError, "not a JSON object"),
        ("\xff", DataError, "not JSON"),
    ],
)
def test_a_bad_config(run: Run, text: str, error: type[Exception], words: str) -> None:
    run.config.write_bytes(text.encode("latin-1"))
    with pytest.raises(error, match=words) as caught:
        run.read_config()
    assert "\n" not in str(caught.value)


def test_metrics_are_rewound_to_the_checkpoint(run: Run) -> None:
    """A run killed after the evaluation of step 30, in the middle of writing 40's, resumes at the checkpoint of 20."""
    for step in (10, 20, 30):
        run.append({"step": step, "test_elbo": -100.0 / step})
    with open(run.metrics, "a") as file:
        file.write('{"step": 40, "test_el')
    assert [record["step"] for record in run.read_metrics()] == [10, 20, 30]
    run.rewind(20)
    run.append({"step": 30, "test_elbo": -1.0})
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [10, 20, 30]
    assert run.read_metrics()[-1]["test_elbo"] == -1.0


@pytest.mark.parametrize("line", ["{", "3", '{"elbo": 1}', '{"step": "x"}'])
def test_a_damaged_line_of_metrics(run: Run, line: str) -> None:
    run.metrics.write_text(line + "\n" + '{"step": 2}\n')
    with pytest.raises(DataError, match=r"metrics.jsonl has a line"):
        run.rewind(2)


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
