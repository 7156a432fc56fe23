"""§7.1.2 Figures 2 and 3 against the rivals: the lists of runs, the lines kept, and what the committed ones show."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.papers import figure2, figure3, rivals2, runs
from bench.papers.runs import Task
from scratchvae.errors import UsageError
from scratchvae.training.config import Config
from scratchvae.training.evaluate import evaluation_rows
from scratchvae.training.state import State

FIGURE2, FIGURE3 = runs.lines(rivals2.HERE), runs.lines(figure3.HERE)


@pytest.mark.parametrize("tasks", [rivals2.tasks(), figure3.tasks()])
def test_every_run_has_its_name_and_takes_two_hours_at_most(tasks: list[Task]) -> None:
    """Catches two runs that share a folder, and one that nobody would wait for."""
    assert len({task.name for task in tasks}) == len(tasks)
    assert max(task.hours for task in tasks) < 2


def options(folder: Path, *do: str, at_most: float = math.inf) -> argparse.Namespace:
    lines = folder / "lines.jsonl"
    return argparse.Namespace(out=str(folder), do=list(do), at_most=at_most, threads=1, lines=lines)


def test_a_second_call_does_what_is_missing(tmp_path: Path) -> None:
    """Catches a run that is done twice, a longer one that is passed over, and a name that is none."""
    tasks = [Task("rows", name, 1, 0, 4e3, 1.0) for name in ("aevb", "wake-sleep")]
    worked: list[tuple[str, float]] = []

    def work(task: Task) -> dict[str, Any]:
        worked.append((task.algorithm, task.samples))
        return {"name": task.name, "samples": task.samples}

    runs.done(tasks, options(tmp_path, "rows-aevb-1-0", at_most=2e3), work)
    runs.done(tasks, options(tmp_path, "all", at_most=2e3), work)
    runs.done(tasks, options(tmp_path, "rows-aevb-1-0"), work)
    runs.done(tasks, options(tmp_path), work)
    assert worked == [("aevb", 2e3), ("wake-sleep", 2e3), ("aevb", 4e3)]
    assert runs.lines(tmp_path / "lines.jsonl")["rows-aevb-1-0"]["samples"] == 4e3
    with pytest.raises(UsageError, match="no run of this figure"):
        runs.asked(tasks, options(tmp_path, "rows-none"))


@pytest.mark.parametrize("algorithm", ["aevb", "wake-sleep", "mcem"])
def test_the_step_with_the_best_training_figure_goes_on(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches the choice by the test rows or of the worst step, and a longer call that is not the same run."""
    monkeypatch.setattr(runs, "CHOICE", 1e3)
    x = np.random.default_rng(0).random((200, 12)) < np.linspace(0.1, 0.9, 12)
    config = Config(
        latent=1, hidden=(8,), binarisation="none", prior=True, epochs=1e6, algorithm=algorithm, kernels="numpy"
    )

    def marks(steps: Any, samples: float) -> list[int]:
        return [int(samples // 200)] if samples < 2e3 else [10, int(samples // 100)]

    def measure(state: State) -> dict[str, float]:
        rate = state.config.optimizer.learning_rate
        return {"train": -abs(rate - 0.02), "test": rate, "weight": float(state.arena.flat[5])}

    def at(folder: Path, samples: float) -> dict[str, Any]:
        task = Task("rows", algorithm, 1, 0, samples, 1.0)
        return runs.line(task, config, x, marks, measure, options(folder))

    at(tmp_path / "two", 2e3)
    whole, parts = at(tmp_path / "one", 4e3), at(tmp_path / "two", 4e3)
    assert whole["optimizer"] == parts["optimizer"] == "Adagrad 0.02"
    assert [p["weight"] for p in whole["points"] if p["step"] in (10, 40)][-1] == parts["points"][-1]["weight"]
    assert evaluation_rows(State(config, 12), x, 0, 2).tolist() == x[:2].astype(float).tolist()


# ---------------------------------------------------------------- what the committed lines show


def test_aevb_is_above_wake_sleep_at_every_budget() -> None:
    """Catches a committed line against the paper's figure 2 that nobody names. One is: at N_z = 3, seed 1, the two
    are level, AEVB 0.1 nats below after 1e6 samples (its step, chosen after 1e5, is 0.01; in other seeds 0.02)."""
    pairs = rivals2.pairs(FIGURE2)
    if not pairs:
        pytest.skip("no pair of runs is committed yet")
    for aevb, wake in pairs:
        found = rivals2.margins(aevb, wake)
        least = -0.2 if wake["name"] == "mnist-wake-sleep-3-1" else 0
        assert all(margin > least for margin in found.values()), (wake["name"], found)


def test_the_study_with_adam_stays_a_row_of_its_own() -> None:
    """Catches a table that mixes Adam's curves with Adagrad's, or has lost them."""
    adam = json.loads(rivals2.HERE.with_suffix(".json").read_text("utf-8"))
    rows = [row for row in rivals2.table(FIGURE2, adam).splitlines() if "Adam 1e-3" in row]
    assert len(rows) == len(figure2.MNIST.latents) + len(figure2.FREY.latents)


def test_aevb_is_above_wake_sleep_in_log_p() -> None:
    """Catches a line of figure 3 whose judge or training went wrong: on the rows that both maximise at every budget, on
    new rows where there are 50 000 to learn from. (Of 1000 rows AEVB learns by heart: after 1e7 samples its test rows
    are behind. Monte Carlo EM, with its five updates, is ahead on train.)"""
    for part, names in (
        ("train", ("1000-wake-sleep-3-0", "50000-wake-sleep-3-0")),
        ("test", ("50000-wake-sleep-3-0",)),
    ):
        found = figure3.orderings(FIGURE3, part)
        for name in names:
            assert min(found[name].values()) > 5, (name, found[name])
