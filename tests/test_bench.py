"""§7.2.5 The bench times the same work for all: one bound, one step; rows have their keys, NumPy's slope is right."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import __main__ as bench
from bench import contest, machine, products, report, startup, steps, worker
from bench.contest import Plan, oracle, row
from bench.peers import FIELD, load, numpy_peer
from bench.work import TOLERANCE, Product, StepWork, batches, images

KEYS = {"network", "batch", "threads", "dtype", "what", "microseconds", "ratio"}
SMALL = StepWork("784-200-200-50", 3, "float64", 1)


@pytest.fixture(autouse=True)
def subnormals_again() -> Iterator[None]:
    """The torch peer flushes them to zero, which is kind to torch and in the way of the tests after it."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


def test_numpy_peer_gradient_is_the_slope_of_its_bound() -> None:
    made = numpy_peer.step("NumPy", SMALL)
    x, eps = SMALL.probe()
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
    assert all(set(r) >= KEYS for r in rows)
    assert [r["ratio"] for r in rows] == [1.0, 2.5]
    assert row("step", SMALL, "NumPy", [250.0], None)["ratio"] is None
    lines = report.table(rows).splitlines()
    assert lines[0].startswith("| network | batch | threads | dtype | ours |")
    assert "250 (2.50)" in lines[2]


def test_a_run_writes_rows_of_both_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "QUICK", [("784-500-20", 1, 1)])
    monkeypatch.setattr(products, "QUICK", (("dx", 20, 30, 4),))
    out = tmp_path / "bench.json"
    options = ["--quick", "--only", "steps,products", "--leave-out", "torch,JAX", "--out", str(out)]
    assert bench.main(options) == 0
    found = json.loads(out.read_text())
    assert {r["kind"] for r in found["rows"]} == {"step", "product"}
    assert all(set(r) >= KEYS and r["microseconds"] > 0 for r in found["rows"])
    assert {"date", "machine", "versions"} <= set(found)
    assert {"cpu", "caches", "packages"} <= set(found["machine"])
    assert "| network |" in capsys.readouterr().out


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--only", "stepps"]) == 2
    assert "stepps" in capsys.readouterr().err
    assert bench.main(["--only", "steps", "--plot", "roof.png"]) == 2
    assert "machine" in capsys.readouterr().err


def test_a_contestant_that_computes_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    plan, notes = Plan(0.01, 1, False, (), said.append), list[str]()
    monkeypatch.setattr(contest, "oracle", lambda kind, job: [-500.0, -400.0])

    class Liar:
        def ask(self, do: str, **rest: object) -> list[float]:
            return [-500.0, -401.0]

    assert contest.agree("step", SMALL, {"ours": Liar()}, plan, notes) == []  # type: ignore[dict-item]
    assert notes[0].startswith("WRONG: ours")


def test_operations_and_minibatches() -> None:
    work = StepWork("784-500-20", 100, "float32", 1)
    # 784·500 needs no dx; 500·40, 20·500 and 500·784 need all three
    assert work.operations() == 200 * (2 * 784 * 500 + 3 * (500 * 40 + 20 * 500 + 500 * 784))
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
    (found,) = startup.measure(True, Plan(0.01, 1, False, (), lambda _: None))
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
    monkeypatch.setattr(
        figures.Figure, "savefig", lambda self, *_, **__: drawn.extend(a.get_data() for a in self.axes[0].lines)
    )
    jobs = [SMALL._replace(threads=n, dtype=t, batch=b) for n in (1, 2) for t in TOLERANCE for b in (3, 20)]
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
