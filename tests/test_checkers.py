"""§7.2.4 Right pairs and wrong ones: the check condemns none of the former, passes none of the latter. A short version
of `python -m bench.checkers`."""

from collections import defaultdict

import numpy as np
import pytest

from bench.checkers import __main__ as program
from bench.checkers import peers, right, slips, wrong
from bench.checkers.family import Case
from scratchvae.gradcheck import check

SEEDS = 1
ITEMS = (
    "5 units", "20 units", "100 units", "max", "hinge", "absolute", "sort", "median", "Gaussian KL at",
    *(f"{loss} {where} its optimum" for loss in ("least squares", "logistic regression", "Gaussian likelihood")
      for where in ("at", "1e-6 from")),
    "softmax entropy at", "exp(x) − x at", "in one array", "as three arguments", "offset 1e10", "float32 inside",
    "float32 arg", "float16", "0-d", "empty", "read-only", "Fortran", "view", "buffer", "convolution", "batch norm",
    "layer norm", "cross-entropy", "logsumexp", "Cholesky", "solve", "eigh", "FFT", "cumsum", "einsum", "repeats",
)  # fmt: skip
EVERY = 20  # of so many families one is made wrong, some forty pairs


def verdict(case: Case) -> str:
    try:
        return check(case.f, case.f_vjp, case.args, constants=case.constants).verdict
    except Exception as error:  # a warning, say, from where f was moved to
        return f"raised {type(error).__name__}: {error}"


def test_no_right_pair_is_condemned() -> None:
    """Catches a judge that calls a right pair wrong, or leaves more than one in twenty unjudged."""
    said = defaultdict(set)
    for _, case in right.cases(SEEDS):
        said[verdict(case)].add(case.name)
    unsure, fine = said.pop("cannot tell", set()), said.pop("ok")
    assert not said, dict(said)
    assert len(unsure) <= 0.05 * len(fine), unsure


def test_no_wrong_pair_passes() -> None:
    """Catches a judge so mild that a wrong pair passes, or that more than one in twenty stays unjudged."""
    said = defaultdict(set)
    with np.errstate(all="ignore"):  # a slip may divide by zero
        for _, _, case in wrong.cases(every=EVERY):
            said[verdict(case)].add(case.name)
    unsure, found = said.pop("cannot tell", set()), said.pop("wrong")
    assert not said, dict(said)
    assert len(found) >= 30
    assert len(unsure) <= 0.05 * len(found), unsure


def test_every_item_has_its_families() -> None:
    """Catches a list from which an item fell out, and one name in two modules, of which one family is lost."""
    assert len(right.FAMILIES) == sum(len(module.FAMILIES) for module in right.MODULES)
    assert [item for item in ITEMS if not any(item in name for name in right.FAMILIES)] == []


@pytest.mark.parametrize("name", ["Fortran", "least squares at its optimum"])
def test_what_changes_nothing_is_no_mutant(name: str) -> None:
    """Catches a list of wrong pairs with right ones in it: at an optimum, twice the gradient is the gradient."""
    family = right.FAMILIES[name]
    assert not wrong.is_wrong(family, family.f_vjp)
    assert not wrong.is_wrong(family, slips.times(1 + 1e-9)(family.f_vjp))
    assert wrong.is_wrong(family, slips.times(2)(family.f_vjp)) == (name == "Fortran")


@pytest.mark.parametrize("name", [name for name in peers.CHECKERS if name != "ours"])
def test_each_peer_is_really_asked(name: str) -> None:
    """Catches a bridge that lets everything pass, or condemns everything: a smooth pair is right there, its sign is
    wrong, and a pair that a peer cannot be asked about is said to be so."""
    pytest.importorskip(name)
    family = right.FAMILIES["two outputs"]
    case = family.at("two outputs", 0)
    assert peers.asked(name, case) == ("ok", "")
    assert peers.asked(name, case._replace(f_vjp=slips.times(-1)(family.f_vjp)))[0] == "wrong"
    adding = right.FAMILIES["adds into buffers"].at("adds into buffers", 0)
    assert peers.asked(name, adding)[0] == "cannot run"


def test_flattened_is_the_same_pair() -> None:
    """Catches leaves in another order: a net of dicts, as lists of arrays, has the cotangents that its f_vjp gave."""
    case = right.FAMILIES["dicts in and out"].at("dicts in and out", 0)
    flat = peers.flattened(case)
    out = case.f(*case.args)
    assert [y.shape for y in flat.f(flat.x)] == [out["hidden"].shape, out["out"].shape]
    dx, dnet = case.f_vjp(out, *case.args)
    expected = (dx, dnet["first"]["W"], dnet["first"]["b"], dnet["out"])
    for grad, other in zip(flat.vjp(list(out.values()), flat.x), expected, strict=True):
        np.testing.assert_array_equal(grad, other)


def test_the_program_counts(tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a verdict that is lost on its way into the table, and options that are taken without a word."""
    assert program.main(["--only", "0-d", "--seeds", "2", "--peers", "ours"]) == 0
    assert "| ours 0.1.0 | 2 | 0 | 0 | 0 |" in capsys.readouterr().out
    assert program.main(["--peers", "theirs"]) == 2
    found = program.measured("ours", 1, "0-d")
    assert (sum(found["right"].values()), found["wrong families"]) == (1, {})
