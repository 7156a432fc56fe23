"""§7.3 Speed and plans: what is counted, how noise is told, which figures are refused, and where scaling stops."""

import argparse
import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from command_line import Call
from hypothesis import given
from hypothesis import strategies as st

from bench.work import StepWork
from scratchvae.cli import bench
from scratchvae.cli import plan as command
from scratchvae.errors import UsageError
from scratchvae.training import plan, speed
from scratchvae.training.plan import Costs, Job, Link

LINEAR = Costs((1, 1000), (1e-3 + 1e-4, 1e-3 + 0.1), 250_000, 2e9)  # 1 ms, and 0.1 ms a row
LINK = Link(1e-5, 1e9)


def figures() -> dict[str, Any]:
    """What `bench` would have written of a quiet machine with two processors."""
    level = {"read": 20.0, "update": 10.0}
    limits = {"fma_256": 90.0, **dict.fromkeys(("L1", "L2", "L3", "DRAM"), level)}
    rows = [
        {"kind": "step", "network": "784-500-20", "batch": b, "threads": n, "dtype": "float32", "what": "ours",
         "microseconds": (10.0 + b) * 1000 / n, "least": 1.0, "spread": 0.02, "gflops": 30.0, "intensity": 9.0,
         "steps_per_second": 1.0}
        for n in (1, 2) for b in (1, 20, 100)
    ]  # fmt: skip
    about = {"cpu": "a processor", "processors": 2, "vector_bits": 256, "system": "", "packages": {}}
    return {"format": bench.FORMAT, "scratchvae": "0.1.0", "date": "", "noisiest": 0.02, "rows": rows,
            "machine": {**about, "limits": {"1": limits, "2": limits}}}  # fmt: skip


@pytest.mark.parametrize("name", speed.NETWORKS)
def test_operations_are_those_that_the_contest_counts(name: str) -> None:
    """Catches a layer that is lost, or one way of three: `bench/work.py` counts by another text."""
    work = StepWork(name, 20)
    assert speed.operations(speed.NETWORKS[name], 20) == work.operations()
    assert 24.0 * speed.parameters(speed.NETWORKS[name]) + 784 * 20 == work.traffic()


def test_made_up_rows_are_as_blank_as_mnists() -> None:
    """Catches rows on which the first layer has more to pass over, or less, than on the digits."""
    x = speed.made_up(500)
    assert (x > 0).mean() == pytest.approx(0.19, abs=0.01)
    assert x.mean() / 255 == pytest.approx(0.131, abs=0.01)


def test_spread_is_of_the_middle_half() -> None:
    """Catches one late timing that makes all look noisy, and noise that is hidden."""
    assert speed.Timed.of([1.0] * 8 + [50.0]) == speed.Timed(1.0, 1.0, 0.0)
    assert speed.Timed.of([1.0, 2.0, 3.0, 4.0, 5.0]) == speed.Timed(3.0, 1.0, pytest.approx(2 / 3))  # type: ignore


def test_unlike_and_noisy_figures_are_not_compared() -> None:
    """Catches two versions of the code that are taken for two processors, noise for a difference, and A for B."""
    a, b = figures(), figures()
    for r in b["rows"]:
        r["microseconds"] /= 2
    assert all("B is 2.00 times as fast" in line for line in bench.compared(a, b)[2:])
    assert all("alike" in line for line in bench.compared(a, copy.deepcopy(a))[2:])
    with pytest.raises(UsageError, match=r"would compare code"):
        bench.compared(a, {**b, "scratchvae": "0.2.0"})
    with pytest.raises(UsageError, match="quiet"):
        bench.compared(a, {**b, "noisiest": 0.3})


def test_a_cell_has_its_own_line(call: Call) -> None:
    """Catches a figure in the wrong row, and a file that is none of ours taken for one."""
    lines = [line for line in bench.lines(figures()) if line.startswith("step")]
    assert [line.split()[2:5] for line in lines][1] == ["20", "1", "30000.0"]
    with open("a.json", "w") as file:
        json.dump(figures(), file)
    assert call("bench", "--compare", "a.json", "a.json").code == 0
    assert call("bench", "--compare", "a.json", "rows.npy").code == 3
    assert call("bench", "--out", "a.txt").code == 2


@given(st.integers(0, 12), st.floats(1e-7, 1e-3), st.floats(1e7, 1e11))
def test_a_step_is_rows_and_rounds(rounds: int, latency: float, bandwidth: float) -> None:
    """Catches a round too many or too few, a megabyte for a float, latency that is paid once."""
    link, n = Link(latency, bandwidth), 2**rounds
    found = plan.forecast(LINEAR, link, Job(1e6, 4096), n)
    expected = 1e-3 + 1e-4 * 4096 / n + rounds * (latency + 1e6 / bandwidth + 1e6 / 2e9)
    assert found.step == pytest.approx(expected, rel=1e-9)
    assert found.total == pytest.approx(245 * expected, rel=1e-9)  # 1e6 rows are 244.1 batches
    assert found.efficiency == pytest.approx((1e-3 + 0.4096) / (n * expected), rel=1e-9)


def test_a_number_of_ranks_between_has_a_round_more() -> None:
    """Catches log₂ n that is rounded down: three ranks need two rounds."""
    costs, link = Costs((1, 8), (1.0, 8.0), 100, math.inf), Link(0.25, math.inf)
    found = [plan.forecast(costs, link, Job(8, 8), n).latency for n in (1, 2, 3, 4, 5)]
    assert found == [0.0, 0.25, 0.5, 0.5, 0.75]


def test_price_is_of_all_cores_of_all_ranks() -> None:
    """Catches threads or ranks that nobody pays for."""
    one = plan.forecast(LINEAR, LINK, Job(1e9, 1024, 3, 0.5), 4)
    assert one.price == pytest.approx(one.total / 3600 * 12 * 0.5)
    with pytest.raises(UsageError, match="needs a row"):
        plan.forecast(LINEAR, LINK, Job(1e9, 8), 16)


def test_what_stops_it_is_named() -> None:
    """Catches a reason that is not the largest part: each is made the largest in turn."""
    free = Link(1e-12, 1e18)
    quick = LINEAR._replace(adding=1e18)
    job, none = Job(1e9, 4096), quick._replace(seconds=(1e-4, 0.1))
    cases = {
        "no rank is spared": (quick, free),
        "latency": (none, free._replace(latency=0.01)),
        "bandwidth": (none, free._replace(bandwidth=1e8)),
        "adding": (none._replace(adding=1e8), free),
    }
    for words, (costs, link) in cases.items():
        assert words in plan.end(plan.doublings(costs, link, job, 4096)).partition("stops it")[2]
    assert "beyond was not asked" in plan.end(plan.doublings(quick, free, job, 2))


def test_between_batches_lines_and_beyond_the_last_slope() -> None:
    """Catches a batch that is taken from the wrong side, and one beyond the last that costs no more than it."""
    costs = Costs((1, 10, 100), (1.0, 2.0, 8.0), 1, 1.0)
    assert [costs.step(b) for b in (1, 5.5, 10, 55, 100, 190)] == pytest.approx([1.0, 1.5, 2.0, 5.0, 8.0, 14.0])


def test_the_command_reads_what_bench_has_written(call: Call) -> None:
    """Catches cells of another network or number of threads, and microseconds for seconds."""
    with open("a.json", "w") as file:
        json.dump(figures(), file)
    done = call("plan", "--bench", "a.json", "--threads", 1, "--batch", 100, "--ranks", 4, "--rows", 1e6, "--json")
    said = json.loads(done.out)
    assert [f["ranks"] for f in said["forecast"]] == [1, 2, 4]
    assert said["forecast"][0]["total"] == pytest.approx(1e4 * 0.11)
    assert np.isclose(said["costs"]["adding"], 10e9 / 1.5)
    assert "efficiency" in call("plan", "--bench", "a.json", "--batch", 100, "--price", 0.04).out
    refused = call("plan", "--bench", "a.json", "--latent", 7)
    assert (refused.code, "784-500-7 on 2 threads" in refused.words) == (2, True)


def test_a_plan_is_measured_where_no_file_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches batches and seconds that do not belong together."""
    monkeypatch.setattr(speed, "step_of", lambda shape, batch, *_, **__: speed.Timed(batch * 1e-3, 0.0, 0.0))
    monkeypatch.setattr(plan, "adding_speed", lambda: 1e9)
    args = argparse.Namespace(threads=1, hidden=(200, 200), latent=50)
    costs, threads, _ = command.measured(args)
    assert threads == 1
    assert costs.step(300) == pytest.approx(0.3)
    assert costs.parameters == speed.parameters(((200, 200), 50))
    assert math.isfinite(costs.adding)
