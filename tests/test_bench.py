"""§7.2.5 The bench times the same work for all: one bound, one step; rows have their keys, NumPy's slope is right."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import __main__ as bench
from bench import contest, evidence, products, report, startup, steps, worker
from bench.contest import Plan, oracle, row
from bench.peers import FIELD, load, numpy_peer
from bench.work import LOG_P, TOLERANCE, Product, StepWork, batches, images
from scratchvae.engine import machine

KEYS = {"network", "batch", "threads", "dtype", "what", "microseconds", "ratio"}
OF_STEPS = KEYS | {"cell", "model", "estimator", "samples", "optimizer", "likelihood", "missing"}
SMALL = StepWork("784-200-200-50", 3, "float64", 1)
OTHERS = {job.name: job for job in steps.OTHERS + evidence.cells(True)}
QUIET = Plan(0.01, 1, False, False, (), lambda line: None)


@pytest.fixture(autouse=True)
def subnormals_again() -> Iterator[None]:
    """The torch peer flushes them to zero, which is kind to torch and in the way of the tests after it."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


def test_numpy_peer_gradient_is_the_slope_of_its_bound() -> None:
    made = numpy_peer.step("NumPy", SMALL)
    x, (eps,) = SMALL.probe()
    numpy_peer.gradient(made.q, made.p, made.dq, made.dp, x, eps)
    g, w, rng = made.g.copy(), made.w, np.random.default_rng(0)
    for start in (0, 784 * 200, w.size // 3, w.size // 2, w.size - 784 - 1000):  # pieces of every net and of biases
        direction = np.zeros_like(w)
        direction[start : start + 1000] = rng.standard_normal(1000)
        kept, h, bounds = w.copy(), 1e-6, []
        for sign in (1, -1):
            w[...] = kept + sign * h * direction
            bounds.append(numpy_peer.bound(made.q, made.p, x, eps)[0])
        w[...] = kept
        assert (bounds[0] - bounds[1]) / (2 * h) == pytest.approx(float(g @ direction), rel=1e-6, abs=1e-6)


def test_numpy_peer_adam_takes_the_first_step_of_the_paper() -> None:
    # t = 1: m̂ = g, v̂ = g², so each weight moves by α g / (|g| + ε), up the bound
    w, g = np.zeros(5), np.array([1.0, -2.0, 0.5, 0.0, 1e-3])
    m, v, a, b = np.zeros(5), np.zeros(5), np.empty(5), np.empty(5)
    numpy_peer.adam(w, g, m, v, a, b, 1)
    np.testing.assert_allclose(w, 1e-3 * g / (np.abs(g) + 1e-8), rtol=1e-12)


@pytest.mark.parametrize("module", ["ours", "torch_peer", "jax_peer"])
def test_contestants_take_the_same_step(module: str) -> None:
    if module != "ours":
        pytest.importorskip(module.removesuffix("_peer"))
    peer = load(module)
    work = SMALL._replace(dtype="float32")
    names = [what for what, home in FIELD["step"].items() if home == module]
    for what in (w for w in names if "compile +" not in w):  # torch's compiler alone takes half a minute
        found = peer.step(what, work).check()
        np.testing.assert_allclose(found, oracle("step", work), rtol=TOLERANCE["float32"])


@pytest.mark.parametrize("cell", OTHERS)
@pytest.mark.parametrize("module", ["ours", "jax_peer"])
def test_contestants_do_the_same_in_the_other_cells(module: str, cell: str) -> None:
    """Against our composed pairs in float64. Catches an estimator, model, mask or optimizer that is another one in one
    of the peers: a bound that is right with a slope that is not shows after the step."""
    if module != "ours":
        pytest.importorskip(module.removesuffix("_peer"))
    job = OTHERS[cell]
    small = job._replace(batch=3, threads=1, samples=min(job.samples, 4))
    what = "JAX scan" if module == "jax_peer" else "ours"
    found = getattr(load(module), job.kind)(what, small).check()
    np.testing.assert_allclose(found, oracle(job.kind, small), rtol=TOLERANCE["float32"])
    assert len(found) == (3 if job.kind == "evidence" else 2)


@pytest.mark.parametrize("module", ["ours", "numpy_peer", "torch_peer", "jax_peer"])
@pytest.mark.parametrize("kind", ["forward", "dW", "dx"])
def test_contestants_multiply_the_same_matrices(module: str, kind: str) -> None:
    if module not in ("ours", "numpy_peer"):
        pytest.importorskip(module.removesuffix("_peer"))
    job = Product(kind, 20, 33, 7, "float32", 1)
    found = load(module).product("", job).check()
    np.testing.assert_allclose(found, oracle("product", job), rtol=1e-5, atol=1e-5)


def test_rows_have_the_promised_keys_and_the_table_shows_them() -> None:
    ours = [100.0, 90.0, 110.0]
    rows = [row("step", SMALL, "ours", ours, ours), row("step", SMALL, "NumPy", [250.0], ours)]
    assert all(set(r) >= OF_STEPS for r in rows)
    assert [r["ratio"] for r in rows] == [1.0, 2.5]
    assert row("step", SMALL, "NumPy", [250.0], None)["ratio"] is None
    lines = report.table(rows).splitlines()
    assert lines[0].startswith("| network | model | estimator | batch | threads | dtype | ours |")
    assert lines[2].startswith("| 784-200-200-50 | vae | sgvb_b | 3 | 1 | float64 |")
    assert "250 (2.50)" in lines[2]


def test_the_table_says_what_is_not_as_usual() -> None:
    """Catches two cells that look alike. Rows of before models and estimators were told apart still make a table."""
    said = {
        job.name: report.table([row(job.kind, job, "ours", [1.0], None)]).splitlines()[2] for job in OTHERS.values()
    }
    assert len({line.rpartition("| float32")[0] for line in said.values()}) == len(OTHERS)
    assert "| vae, missing random:0.5 | sgvb_b |" in said["missing"]
    assert "| vae, gaussian | sgvb_b |" in said["gaussian"]
    assert "| vae | sgvb_b, adagrad |" in said["adagrad"]
    assert "| ladder | iw, 1 sample | 20 | 2 |" in said["ladder-iw-1"]
    assert "| ladder | log_p, 5000 samples | 20 | 2 |" in said["ladder-log_p"]
    before = {
        key: value for key, value in row("step", SMALL, "ours", [1.0], None).items() if key not in OF_STEPS - KEYS
    }
    assert report.table([before]).startswith("| network | batch | threads | dtype | ours |")


def test_a_run_writes_rows_of_both_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "QUICK", [StepWork("784-500-20", 1, threads=1)])
    monkeypatch.setattr(products, "QUICK", (("dx", 20, 30, 4),))
    plan = QUIET._replace(leave_out=("torch", "JAX", "compile", "composed"))
    monkeypatch.setattr(bench, "_plan", lambda options: plan)
    out = tmp_path / "bench.json"
    options = ["--quick", "--only", "steps,products", "--leave-out", "torch,JAX", "--out", str(out)]
    assert bench.main(options) == 0
    found = json.loads(out.read_text())
    assert {r["kind"] for r in found["rows"]} == {"step", "product"}
    assert all(set(r) >= KEYS and r["microseconds"] > 0 for r in found["rows"])
    assert all(set(r) >= OF_STEPS for r in found["rows"] if r["kind"] == "step")
    assert {"date", "machine", "versions"} <= set(found)
    assert {"cpu", "caches", "packages"} <= set(found["machine"])
    assert "| network |" in capsys.readouterr().out


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--only", "stepps"]) == 2
    assert "stepps" in capsys.readouterr().err
    assert bench.main(["--only", "steps", "--plot", "roof.png"]) == 2
    assert "machine" in capsys.readouterr().err
    assert bench.main(["--cells", "dregg"]) == 2
    assert "dregg" in (said := capsys.readouterr().err)
    assert "dreg-5" in said
    assert bench.main(["--busy", "--realtime"]) == 2
    assert "--realtime" in capsys.readouterr().err


def test_a_contestant_that_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = list[str]()
    monkeypatch.setattr(contest, "oracle", lambda kind, job: [-500.0, -400.0])

    class Liar:
        def ask(self, do: str, **rest: object) -> list[float]:
            return [-500.0, -401.0]

    assert contest.agree("step", SMALL, {"ours": Liar()}, QUIET, notes) == []  # type: ignore[dict-item]
    assert notes[0].startswith("WRONG: ours")


def test_a_cell_is_called_by_its_name_or_a_part_of_it() -> None:
    """Catches "iw-5" that takes "iw-50" too, and a name that is in no list of those to choose from."""

    def chosen(names: str) -> list[str]:
        options = bench.parser().parse_args(["--cells", names])
        return [name for name, job in OTHERS.items() if bench._wanted(job, options)]

    assert chosen("iw-5") == ["iw-5"]
    assert chosen("dreg,adagrad") == ["dreg-5", "adagrad"]
    assert chosen("ladder") == ["ladder-iw-1", "ladder-iw-5", "ladder-iw-50", "ladder-log_p"]
    assert chosen("") == list(OTHERS)
    assert len(OTHERS) == len(steps.OTHERS + evidence.cells(True))  # each has a name of its own
    assert {job.name for job in steps.cells(False)} | set(OTHERS) <= set(bench.names())


def test_who_is_asked_for_what() -> None:
    """The VAE by SGVB B is for all, slow ones in two cells only; everything else for ours and JAX."""
    dense, compiled = "ours, inverted images", "torch.compile + fused Adam"
    for job, asked in (
        (StepWork("784-500-20", 100), {*FIELD["step"]}),
        (StepWork("784-500-20", 20), {*FIELD["step"]} - {dense, compiled, "ours, composed in NumPy"}),
        (StepWork("784-500-20", 100, optimizer="adagrad"), {"ours", "JAX step", "JAX scan"}),
        (StepWork("784-500-20", 20, estimator=LOG_P, samples=5000), {"ours", "JAX"}),
    ):
        assert {what for what in FIELD[job.kind] if contest.suits(job, what)} == asked


def test_somebody_else_is_busy_in_the_turns_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a process that spins on when the bench is done."""
    started, popen = [], subprocess.Popen

    def start(*args: Any, **rest: Any) -> Any:
        started.append(popen(*args, **rest))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    with contest.spinning(False, 1):
        assert not started
    with contest.spinning(True, 1):
        (process,) = started
        assert process.poll() is None
    assert process.poll() is not None


def test_operations_and_minibatches() -> None:
    work = StepWork("784-500-20", 100, "float32", 1)
    # 784·500 needs no dx; 500·40, 20·500 and 500·784 need all three
    assert work.operations() == 200 * (2 * 784 * 500 + 3 * (500 * 40 + 20 * 500 + 500 * 784))
    # 20 rows pass the first arrow of q once and all else 50 times, each arrow with both heads but the last one of p
    often = (
        (100 * 100 + 100 * 100 + 100 * 100) + (50 * 100 + 100 * 100 + 100 * 200) + (100 * 200 + 200 * 200 + 200 * 784)
    )
    once = 3 * (784 * 200 + 200 * 200 + 200 * 200) - 784 * 200
    assert OTHERS["ladder-iw-50"].operations() == 2 * 20 * (once + 50 * 3 * often)
    # its dx of the first layer of p is needed by no path; log p(x) needs no way back
    assert OTHERS["score_loo-4"].operations() == 200 * (
        2 * 784 * 500 + 3 * 500 * 40 + 4 * (2 * 20 * 500 + 3 * 500 * 784)
    )
    assert OTHERS["log_p"].operations() == 40 * (784 * 500 + 500 * 40 + 5000 * (20 * 500 + 500 * 784))
    # weights are read once for log p(x); a step reads and writes them with Adam's two arrays or Adagrad's one
    reads = [OTHERS[cell].traffic() - OTHERS[cell].batch * 784 for cell in ("log_p", "adagrad", "missing")]
    assert reads == [4 * ways * (785 * 500 + 501 * 40 + 21 * 500 + 501 * 784) for ways in (1, 4, 6)]
    epoch = batches(512)
    assert epoch.shape == (117, 512)
    assert np.unique(epoch).size == epoch.size
    assert images().shape == (60000, 784)
    assert 0.5 < (images() == 0).mean() < 0.95


def test_fma_peak_counts_real_operations() -> None:
    pytest.importorskip("numba")
    peak = machine.fma_peak(4, 1)
    assert 0.5 < peak < 500  # GFLOP/s of one core, 128-bit: a folded loop would claim far more


def test_a_wrong_contestant_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = ["torch left out: not installed"]
    monkeypatch.setattr(bench, "measure", lambda options: {"notes": notes})
    monkeypatch.setattr(report, "markdown", lambda found: "")
    assert bench.main([]) == 0
    notes.append("WRONG: NumPy on a step: [1], expected [2]; not timed")
    assert bench.main([]) == 1


def test_each_limit_is_of_its_own_kind() -> None:
    """A network, 100 rows, 2 threads: every option by itself takes what is its own and refuses the others' values."""
    job, own = StepWork("784-500-20", 100, "float32", 2), {"networks": "784-500-20", "batches": "100", "threads": "2"}
    for option in own:
        for value in own.values():
            options = bench.parser().parse_args([f"--{option}", f"7,{value}"])
            assert bench._wanted(job, options) is (value == own[option])


def test_the_first_start_is_the_cold_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the warm one is the best of the others, with its memory."""
    tries = [(9.0, 300.0), (2.5, 100.0), (2.0, 120.0), (3.0, 90.0)]
    monkeypatch.setattr(startup, "FIELD", {"step": {"ours": "ours"}})
    monkeypatch.setattr(startup, "once", lambda *_: tries.pop(0))
    (found,) = startup.measure(True, QUIET)
    assert found == {"what": "ours", "cold_seconds": 9.0, "warm_seconds": 2.0, "peak_mb": 120}


def test_a_turn_is_in_microseconds_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only work moves on: a millisecond a piece, many pieces a chunk."""

    class Clock:
        quantum, now = 3, 0.0

        def run(self, n: int) -> None:
            self.now += n / 1000

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    cell = worker.Cell(clock)
    assert cell.n == 21  # the multiple of the quantum that is nearest to CHUNK
    assert cell.turn(0.1) == pytest.approx([1000.0] * 5)


def test_the_table_has_operations_a_second_and_the_picture_one_thread_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    drawn: list[tuple[list[float], list[float]]] = []
    seen: list[tuple[float, float]] = []

    def shown(self: Any, *_: Any, **__: Any) -> None:
        drawn.extend(a.get_data() for a in self.axes[0].lines)
        seen.append(self.axes[0].get_xlim())

    monkeypatch.setattr(figures.Figure, "savefig", shown)
    jobs = [SMALL._replace(threads=n, dtype=t, batch=b) for n in (1, 2) for t in TOLERANCE for b in (1, 20)]
    rows = [row("step", job, "ours", [t], [t]) for t, job in enumerate(jobs, 1001)]
    for job, line in zip(jobs, report.table(rows).splitlines()[2:], strict=True):
        t = 1001 + jobs.index(job)
        assert line.endswith(f"| {t:,} ({job.operations() / t / 1e3:.0f} GFLOP/s) |")
    level = {"read": 20.0, "update": 10.0}
    limits = {"fma_256": 90.0, "L2": level, "L3": level, "DRAM": level}
    machine_found = {"cpu": "a processor", "limits": {"1": limits, "2": limits}}
    report.roofline({"machine": machine_found, "rows": rows}, str(tmp_path / "roof.png"), threads=2)
    mine = [r for r, job in zip(rows, jobs, strict=True) if (job.threads, job.dtype) == (2, "float32")]
    points = [point for xs, ys in drawn[4:] for point in zip(xs, ys, strict=True)]  # after four roofs
    assert points == [(r["intensity"], r["gflops"]) for r in mine]
    assert len(points) == 2
    assert seen[0][0] < min(x for x, _ in points) < 0.5  # a step of one row is in the picture too
