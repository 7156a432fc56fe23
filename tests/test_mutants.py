"""§7.2 The proof that the checks are worth something: famous bugs and small slips, planted, and all found."""

import ast
import fnmatch
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mutants import automatic, checks, equivalent, matrix, schedule
from mutants.schedule_cases import cases

from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.kernels import NUMPY
from scratchvae.mutants import gallery
from scratchvae.mutants.operators import mutations
from scratchvae.mutants.plant import Edit, planted, targets

ROOT = Path(__file__).parent.parent


def test_gallery_is_killed_as_its_table_says() -> None:
    """Catches a check that went blind, a bug whose code moved away, and a table in the docs that is no longer true."""
    found = matrix.measure()
    survivors = [bug for bug, row in found.items() if not any(row.values())]
    assert not survivors
    assert matrix.table(found) in "\n".join(line[4:] for line in (gallery.__doc__ or "").splitlines())


def test_gradient_checks_are_not_enough() -> None:
    """Some published bugs have a backward that agrees: only a law sees them. Catches a suite made of slopes alone."""
    for bug in ("sampler takes exp(log_var) for sigma", "KL divided by the columns", "log_var clamped"):
        with planted(gallery.GALLERY[bug].edits):
            assert not checks.verdict(checks.slopes)


def test_pairs_that_are_wrong_together_pass_the_slopes() -> None:
    """The matched mutants really match, so that what kills them is a law: catches a backward that was not adapted."""
    mutants = [m for m in automatic.make() if "| pair" in m.name]
    assert len(mutants) >= 20
    for name in ("tanh_np", "normal_kl_np", "normal_log_prob_np", "normal_sample_np", "dense_np"):
        for mutant in (m for m in mutants if f".{name} |" in m.name):
            with mutant.planted():
                assert not checks.verdict(checks.slopes), mutant.name


def test_a_sample_of_automatic_mutants() -> None:
    """Thirty of them, the same each time; `make mutants` runs all. Catches a change that made the tests blind."""
    command = [sys.executable, "-m", "tests.mutants", "--group", "core", "--limit", "30", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["mutants"] == 30
    assert report["survivors"] == []
    assert report["killed"] + report["equivalent"] == 30


def test_the_schedule_in_plain_python_and_a_sample_of_its_mutants() -> None:
    """Every case agrees with the composition, and with each of six mutants one does not. Catches what a compiled run
    hides: memory that is not the job's, what hangs on the order of threads and jobs; and a case that went blind."""
    some, plain = cases(), schedule.plain()
    assert {case.name: why for case in some if (why := case.fails(plain))} == {}
    names = set(automatic.chosen([m.name for m in schedule.make() if not automatic.why_equivalent(m.name)], 6))
    for mutant in (m for m in schedule.make() if m.name in names):
        with mutant.planted(), automatic.alarm(60):
            assert any(case.fails(plain) for case in some), mutant.name


def test_the_package_says_where_the_command_is() -> None:
    """Catches `python -m scratchvae.mutants` that ends in a traceback: the judging is no part of the package."""
    done = subprocess.run([sys.executable, "-m", "scratchvae.mutants"], capture_output=True, text=True, cwd=ROOT)
    said = "scratchvae.mutants: the command is `make mutants` in a clone of the repository\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_there_are_enough() -> None:
    """At least 1000, over every pair, of every kind. Catches an operator that no longer finds its place."""
    mutants = automatic.make()
    assert len(mutants) >= 1000
    kinds = {m.name.split(" | ")[1] for m in mutants}
    assert kinds >= {
        "sign flipped", "term dropped", "factor changed", "factor dropped", "operand swapped", "operands swapped",
        "transpose forgotten", "axis changed", "+= turned to =", "statement dropped", "function changed",
        "pair scaled", "pair shifted",
    }  # fmt: skip
    names = {m.name.split(" | ")[0] for m in [*mutants, *automatic.make("recurrent")]}
    for name in NUMPY._fields:
        if name.endswith("_vjp"):
            assert any(label.endswith(f".{name}_np") for label in names), name


def test_equivalents_have_reasons() -> None:
    """Catches a survivor that was waved through."""
    assert all(len(why) > 15 for why in equivalent.EQUIVALENT.values())
    names = [m.name for group in automatic.GROUPS for m in automatic.make(group)]
    names += [m.name for m in schedule.make()]
    for pattern in equivalent.EQUIVALENT:
        assert fnmatch.filter(names, pattern), f"stale: {pattern}"


def test_the_operators() -> None:
    """What a slip of the hand makes of one line: catches an operator that was lost."""
    tree = ast.parse("def f(x, W, b):\n    return x @ W.T + 0.5 * b.sum(axis=0)").body[0]
    assert isinstance(tree, ast.FunctionDef)
    after = {m.after.removeprefix("return ") for m in mutations(tree)}
    assert after >= {
        "-(x @ W.T + 0.5 * b.sum(axis=0))", "x @ W.T - 0.5 * b.sum(axis=0)", "x @ W.T", "0.5 * b.sum(axis=0)",
        "W.T @ x + 0.5 * b.sum(axis=0)", "x @ W + 0.5 * b.sum(axis=0)", "x @ W.T + 1.0 * b.sum(axis=0)",
        "x @ W.T + b.sum(axis=0)", "x @ W.T + 0.5 * b.sum(axis=-1)", "x @ W.T + 0.5 * b.mean(axis=0)",
        "W @ W.T + 0.5 * b.sum(axis=0)",
    }  # fmt: skip
    buffers = ast.parse("def g(dW, x):\n    dW += x").body[0]
    assert isinstance(buffers, ast.FunctionDef)
    assert {m.after for m in mutations(buffers)} >= {"dW[...] = x", "dW -= x", "pass"}


def test_planting_leaves_no_trace() -> None:
    """Catches a bug that stays in the ground, also after an exception, and an edit whose text is not there."""
    q = Normal(np.ones((1, 2)), np.ones((1, 2)))
    healthy = q.kl()
    edit = Edit("kernels.normal", "normal_kl_np", "0.5", "0.6")
    with planted([edit]):
        assert q.kl() == pytest.approx(1.2 * healthy)
    assert q.kl() == healthy
    with pytest.raises(ZeroDivisionError), planted([edit]):
        _ = 1 / 0
    assert q.kl() == healthy
    with pytest.raises(UsageError, match="holds 0 times"), planted([edit._replace(old="0.7")]):
        pass
    with pytest.raises(UsageError, match="has no function 'nothing'"), planted([edit._replace(function="nothing")]):
        pass
    found = {t.name for room in ("normal", "bernoulli", "shared") for t in targets(f"scratchvae.distributions.{room}")}
    assert found >= {"Normal.kl", "Bernoulli.mean", "unbroadcast"}
