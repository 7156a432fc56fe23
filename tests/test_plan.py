"""§7.3 Speed and plans: what is counted, how noise is told, which figures are refused, and where scaling stops."""

import argparse
import copy
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import Call
from hypothesis import given
from hypothesis import strategies as st

from bench.work import StepWork
from scratchvae.cli import bench
from scratchvae.cli import plan as command
from scratchvae.engine import machine
from scratchvae.errors import UsageError
from scratchvae.training import plan, speed
from scratchvae.training.plan import Costs, Job, Link

LINEAR = Costs((1, 1000), (1e-3 + 1e-4, 1e-3 + 0.1), 250_000, 2e9)  # 1 ms, and 0.1 ms a row
LINK = Link(1e-5, 1e9)


def figures() -> dict[str, Any]:
    """What `bench` would have written of a quiet machine with two processors."""
    rows = [
        {"kind": "step", "network": "784-500-20", "batch": b, "threads": n, "dtype": "float32", "what": "ours",
         "microseconds": (10.0 + b) * 1000 / n, "least": 1.0, "spread": 0.02, "gflops": 30.0, "intensity": 9.0,
         "steps_per_second": 1.0}
        for n in (1, 2) for b in (1, 20, 100)
    ]  # fmt: skip
    about = {"cpu": "a processor", "processors": 2, "vector_bits": 256, "system": "", "packages": {}}
    return {"format": bench.FORMAT, "scratchvae": "0.1.0", "date": "", "noisiest": 0.02, "rows": rows,
            "machine": {**about, "limits": limits()}}  # fmt: skip


def limits(counts: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    """What that machine can do on so many threads: of fused multiply-adds as many times more."""
    level = {"read": 20.0, "update": 10.0}
    memory = dict.fromkeys(("L1", "L2", "L3", "DRAM"), level)
    return {str(n): {"fma_128": 45.0 * n, "fma_256": 90.0 * n, **memory} for n in counts}


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
    """Catches two versions of the code that are taken for two processors, noise for a difference, and A for B; and two
    processors and four, of which "all" are not compared."""
    a, b = figures(), figures()
    for r in b["rows"]:
        r["microseconds"] /= 2
        r["threads"] = {1: 1, 2: 4}[r["threads"]]
    assert [line.rpartition(": ")[2] for line in bench.compared(a, b)[2:]] == ["B is 2.00 times as fast (±4%)"] * 6
    for ratio, said in ((1.03, "alike"), (1.05, "B is 1.05 times as fast")):  # of a spread of 2 % in each
        c = copy.deepcopy(a)
        for r in c["rows"]:
            r["microseconds"] /= ratio
        assert [line.rpartition(": ")[2] for line in bench.compared(a, c)[2:]] == [f"{said} (±4%)"] * 6
    with pytest.raises(UsageError, match=r"would compare code"):
        bench.compared(a, {**b, "scratchvae": "0.2.0"})
    with pytest.raises(UsageError, match="quiet"):
        bench.compared(a, {**b, "noisiest": 0.3})


def test_a_cell_has_its_own_line(call: Call) -> None:
    """Catches a figure in the wrong row, and a file that is none of ours taken for one."""
    lines = [line.split() for line in bench.lines(figures()) if line.startswith("step")]
    assert lines[1][2:5] == ["20", "1", "30000.0"]
    assert [line[-1] for line in lines] == ["33%"] * 3 + ["17%"] * 3  # 30 of 90 GFLOP/s, and of two threads' 180
    assert [any("noisy" in line for line in bench.lines({**figures(), "noisiest": n})) for n in (0.1, 0.2)] \
        == [False, True]  # fmt: skip
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
    """Catches log₂ n that is rounded down: three ranks need two rounds; and the rank with most rows not waited for."""
    costs, link = Costs((1, 8), (1.0, 8.0), 100, math.inf), Link(0.25, math.inf)
    found = [plan.forecast(costs, link, Job(8, 8), n) for n in (1, 2, 3, 4, 5)]
    assert [f.latency for f in found] == [0.0, 0.25, 0.5, 0.5, 0.75]
    assert [f.rows for f in found] == [8, 4, 3, 2, 2]


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


def test_where_it_stops() -> None:
    """Catches another share than a half, and the reason at the very end for the one where the half is passed: with
    rounds of 0.11 ms, 0.41 s of rows are worth 128 ranks; at 256 weights cost more than rounds, at 4096 less."""
    link, quick = Link(1.1e-4, 1e18), LINEAR._replace(adding=1e18)
    found = plan.doublings(quick, link, Job(1e9, 4096), 4096)
    assert [f.ranks for f in found if f.efficiency >= 0.5][-1] == 128
    words = plan.end(found)
    assert words.startswith("the efficiency is at least half up to 128 ranks; quickest of these: 2048. ")
    assert "no rank is spared" in words
    assert found[-1].latency > found[-1].rows


def test_between_batches_lines_and_beyond_the_last_slope() -> None:
    """Catches a batch that is taken from the wrong side, and one beyond the last that costs no more than it."""
    costs = Costs((1, 10, 100), (1.0, 2.0, 8.0), 1, 1.0)
    assert [costs.step(b) for b in (1, 5.5, 10, 55, 100, 190)] == pytest.approx([1.0, 1.5, 2.0, 5.0, 8.0, 14.0])
    assert [Costs((10,), (2.0,), 1, 1.0).step(b) for b in (1, 10, 30)] == [2.0, 2.0, 6.0]  # of one there is no slope


def test_the_command_reads_what_bench_has_written(call: Call) -> None:
    """Catches cells of another network or number of threads, and microseconds for seconds."""
    with open("a.json", "w") as file:
        json.dump(figures(), file)
    done = call("plan", "--bench", "a.json", "--threads", 1, "--batch", 100, "--ranks", 4, "--rows", 1e6, "--json")
    said = json.loads(done.out)
    assert [f["ranks"] for f in said["forecast"]] == [1, 2, 4]
    assert said["forecast"][0]["total"] == pytest.approx(1e4 * 0.11)
    assert np.isclose(said["costs"]["adding"], 10e9 / 1.5)
    assert said["link"] == pytest.approx({"latency": 30e-6, "bandwidth": 1.17e9})
    refused = call("plan", "--bench", "a.json", "--latent", 7)
    assert (refused.code, "784-500-7 on 2 threads" in refused.words) == (2, True)


def test_the_table_has_hours_price_and_a_link_of_one_s_own(call: Call) -> None:
    """Catches epochs that are not counted, microseconds and GB/s of a link in other units, seconds for hours, and a
    price that is no price: 200 000 rows are 2000 steps of 55 ms."""
    Path("a.json").write_text(json.dumps(figures()))
    given = ("plan", "--bench", "a.json", "--batch", 100, "--rows", 1e5, "--epochs", 2, "--ranks", 2, "--price", 36)
    own = ("--latency", 2e3, "--bandwidth", 0.5)
    out = call(*given, *own).out.splitlines()
    assert out[0].endswith("link: 2000 µs, 0.5 GB/s")
    found = [line.split() for line in out[1:4]]
    assert found[0] == ["ranks", "step,", "ms", "rows", "exchange", "hours", "efficiency", "price"]
    bytes_ = 4 * speed.parameters(((500,), 20))
    exchange = 2e-3 + bytes_ / 0.5e9 + bytes_ / (10e9 / 1.5)
    for line, ranks, rows, more in zip(found[1:], (1, 2), (0.055, 0.03), (0, exchange), strict=True):
        hours = 2000 * (rows + more) / 3600  # of two threads
        figures_of = [1e3 * (rows + more), 1e3 * rows, 1e3 * more, hours]
        assert [int(line[0]), *map(float, line[1:5])] == pytest.approx([ranks, *figures_of], abs=0.0051)
        assert float(line[6]) == pytest.approx(hours * ranks * 2 * 36, abs=0.0051)
    assert "price" not in call(*given[:-2]).out


def test_a_piece_of_work_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches seconds of all pieces for those of one, the first call, which compiles, among them, and pieces that a
    scan cannot take: by a clock that goes on 8 ms a piece, and 1 s more in the first call."""
    now, asked = [0.0], list[int]()

    def work(n: int) -> None:
        now[0] += 0.008 * n + (not asked)
        asked.append(n)

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    found = speed.timed(work, 2)
    assert (found.median, found.least) == pytest.approx((0.008, 0.008))
    assert asked == [2, 2, *[18] * 9]  # 0.15 s, in twos
    asked.clear()
    speed.timed(work, 1, quick=True)
    assert asked == [1, 1, *[6] * 5]


def test_bench_writes_what_was_measured(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches seconds, GFLOP/s or steps a second in other units, the quietest cell for the noisiest, a share of the
    narrowest vectors' peak, and a file that the next call does not take."""
    monkeypatch.setattr(machine, "limits", limits)
    monkeypatch.setattr(speed, "timed", lambda *_, **__: speed.Timed(2e-3, 1e-3, 0.05))
    monkeypatch.setattr(speed, "step_of", lambda _, batch, threads: speed.Timed(batch / threads * 1e-3, 1e-6, 0.01))
    done = call("bench", "--threads", 2, "--out", "b.json")
    held = json.loads(Path("b.json").read_text())
    assert (held["noisiest"], list(held["machine"]["limits"])) == (0.05, ["1", "2"])
    steps = [r for r in held["rows"] if r["kind"] == "step"]
    assert [r["threads"] for r in steps] == [1] * 6 + [2] * 6
    for r in steps:
        work, seconds = StepWork(r["network"], r["batch"]), r["batch"] / r["threads"] * 1e-3
        assert (r["microseconds"], r["least"]) == pytest.approx((seconds * 1e6, 1.0))
        assert (r["steps_per_second"], r["gflops"]) == pytest.approx((1 / seconds, work.operations() / seconds / 1e9))
        assert r["intensity"] == pytest.approx(work.operations() / work.traffic())
    product = held["rows"][0]
    assert product["gflops"] == pytest.approx(2 * 100 * 784 * 500 / 2e-3 / 1e9)
    (line, *_) = (line for line in done.out.splitlines() if line.startswith("product"))
    assert line.split()[-1] == f"{product['gflops'] / 90:.0%}"
    assert call("bench", "--compare", "b.json", "b.json").out.count("alike") == len(held["rows"])


def test_a_plan_is_measured_where_no_file_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches batches and seconds that do not belong together."""
    monkeypatch.setattr(speed, "step_of", lambda shape, batch, *_, **__: speed.Timed(batch * 1e-3, 0.0, 0.0))
    monkeypatch.setattr(plan, "adding_speed", lambda: 1e9)
    args = argparse.Namespace(threads=1, hidden=(200, 200), latent=50)
    costs, threads, _ = command.measured(args)
    assert threads == 1
    assert costs.step(300) == pytest.approx(0.3)
    assert costs.parameters == speed.parameters(((200, 200), 50))
    assert costs.adding == 1e9
