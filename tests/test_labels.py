"""§7.3 Runs with few labels: which rows tell, what a minibatch stands for, resume, and the commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae.cli import classify, main
from scratchvae.data import Dataset, load
from scratchvae.errors import DataError, UsageError
from scratchvae.models import semi_supervised as m2
from scratchvae.noise import Noise
from scratchvae.training import labels
from scratchvae.training.config import Config, from_dict
from scratchvae.training.objective import bound, encode, gradient
from scratchvae.training.optim import Optimizer
from scratchvae.training.reading import Reading
from scratchvae.training.run import Run
from scratchvae.training.semi_supervised import decode_given, probabilities, restored
from scratchvae.training.state import State, load_state
from scratchvae.types import Array
from scratchvae.vae import VAE

SMALL: dict[str, Any] = {
    "model": "m2", "latent": 2, "hidden": (8,), "batch": 4, "kernels": "numpy", "labels": 6, "binarisation": "none",
    "dtype": "float64",
}  # fmt: skip


def rows(n: int = 40, seed: int = 0) -> tuple[Array, Array]:
    """Bits of three kinds, and which."""
    draw = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    often = np.where(np.arange(9) // 3 == kind[:, None], 0.9, 0.1)
    return (draw.random((n, 9)) < often).astype(np.uint8).view(bool), kind


def run_of(n: int = 40, **options: Any) -> labels.LabelSteps:
    """Its steps, at the first."""
    x, kind = rows(n)
    config = Config(**{**SMALL, **options})
    state = State.begun(config, Reading(9, "bits", classes=("0", "1", "2")), x)
    state.kept = labels.kept(state, kind)
    return labels.LabelSteps(state, x)


def test_rows_that_tell_are_balanced_and_named() -> None:
    """Catches draws that are not as many of each class, that differ from run to run, or that change when more tell."""
    codes = np.random.default_rng(0).integers(0, 4, 200)
    classes, noise = tuple("abcd"), Noise(3)
    few, more = (labels.drawn(codes, many, classes, noise) for many in (20, 60))
    assert np.bincount(codes[few]).tolist() == [5] * 4
    assert set(few) < set(more)
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(few, labels.drawn(codes, 20, classes, noise))
    assert set(few) != set(labels.drawn(codes, 20, classes, Noise(4)))
    assert len(labels.drawn(codes, 0, classes, noise)) == 200
    with pytest.raises(UsageError, match="multiple of 4"):
        labels.drawn(codes, 10, classes, noise)
    with pytest.raises(UsageError, match=r"class . has .* rows, and not 80"):
        labels.drawn(codes, 320, classes, noise)


def test_codes_are_of_the_runs_classes() -> None:
    """Catches classes that are numbered by the file at hand: a test file may lack one."""
    assert labels.classes_of(np.array([3.0, 1.0, 3.0])) == ("1", "3")
    assert labels.codes_of(np.array(["b", "c"]), ("a", "b", "c")).tolist() == [1, 2]
    with pytest.raises(DataError, match="'d' is none of the run's: a, b, c"):
        labels.codes_of(np.array(["d"]), ("a", "b", "c"))


def test_a_test_file_has_its_own_labels(tmp_path: Path) -> None:
    """Catches the training file's classes given to the rows of the test file, which stand in another order."""
    train, test = (str(table(tmp_path / name, n)) for name, n in (("train.csv", 12), ("test.csv", 7)))
    head, *lines = Path(test).read_text(encoding="utf-8").splitlines()
    Path(test).write_text("\n".join([head, *lines[::-1]]), encoding="utf-8")
    config = Config(model="m2", data=train, test=test, labels_from="kind")
    found = labels.with_labels(load(train, test, leave_out=("kind",)), config)
    kinds = np.array(["ant", "bee", "cat"])[np.arange(12) % 3]
    assert found.labels is not None
    assert found.test_labels is not None
    assert found.labels.tolist() == kinds.tolist()
    assert found.test_labels.tolist() == kinds[6::-1].tolist()


def test_labels_of_other_rows_are_refused() -> None:
    """Catches a run that goes on with fewer rows than those that tell, or with a class too few."""
    steps = run_of(labels=9)
    with pytest.raises(UsageError, match="labels of other rows than these 20"):
        labels.LabelSteps(steps.state, steps.x[:20])
    with pytest.raises(UsageError, match="not a class for each row that tells"):
        restored({"algorithm.labelled": np.arange(3), "algorithm.codes": np.arange(2)})


def test_an_epoch_is_one_pass_over_the_rows_that_do_not_tell() -> None:
    """Catches rows seen twice or never, labelled rows among the others, and a turn of labelled rows that leaves some
    out."""
    steps = run_of(labels=9)
    assert (steps.rows, steps.per_epoch, steps.few) == (31, 8, 4)
    index = [steps.index(i) for i in range(16)]
    for epoch in (index[:8], index[8:]):
        others = np.concatenate([i[4:] for i in epoch])
        assert sorted(others) == sorted(set(range(40)) - set(steps.labelled))
    assert [i.tolist() for i in index[:8]] != [i.tolist() for i in index[8:]]
    assert all(set(i[:4]) <= set(steps.labelled) for i in index)
    assert not set(index[0][:4]) & set(index[1][:4])  # one turn
    whole = run_of(labels=0)
    assert whole.few == 0
    assert sorted(np.concatenate([whole.index(i) for i in range(10)])) == [*range(40)]


def test_weights_stand_for_all_rows_of_a_kind() -> None:
    """Catches a mix of rows that changes what is maximised: the mean of w L is 1/N of both sums over all rows, in a
    short minibatch too."""
    steps = run_of()
    for number in (0, steps.per_epoch - 1):
        index = steps.index(number)
        steps.expect(index)
        w = steps.state.weights
        assert w is not None
        np.testing.assert_allclose(w[:4].mean() * 4 / len(index), 6 / 40)
        np.testing.assert_allclose(w[4:].sum() / len(index), 34 / 40)
    assert len(steps.index(steps.per_epoch - 1)) == 4 + 34 % 4


def test_the_step_is_the_objectives_slope() -> None:
    """Catches a lost term, or one of another weight: central differences of J as the paper has it, in one direction."""
    steps = run_of(alpha=0.7)
    state, (x, eps) = steps.state, steps.minibatch(0)
    steps.expect(steps.index(0))
    n, each = len(state.codes), np.moveaxis(eps.reshape(len(x), 3, 2), 1, 0)

    def J() -> float:
        own = np.stack([each[c, i] for i, c in enumerate(state.codes)])
        L = m2.elbo(x[:n], state.codes, own, state.phi, state.theta)[0].mean()
        U = m2.marginal(x[n:], np.ascontiguousarray(each[:, n:]), state.phi, state.theta)[0].mean()
        told = m2.classify(x[:n], state.phi)[0][np.arange(n), state.codes].mean()
        return float(6 / 40 * L + 34 / 40 * U + 0.7 * told)

    state.gradient.flat[...] = 0
    gradient(state, x, eps)
    v = np.random.default_rng(1).normal(size=state.arena.flat.size)
    before = state.arena.flat.copy()
    ends = []
    for h in (1e-5, -1e-5):
        state.arena.flat[...] = before + h * v
        ends.append(J())
    np.testing.assert_allclose(state.gradient.flat @ v, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_what_is_told_is_the_bound_of_rows_that_do_not_tell() -> None:
    """Catches one draw for the mean over all, an entropy that is no part of the KL, and ŷ the least probable class."""
    state, x = run_of().state, rows()[0].astype(float)
    eps = np.random.default_rng(2).normal(size=(2, 40, 3 * 2))
    L, reconstruction, kl = bound(state, x, eps)
    q, found = probabilities(state, x), np.zeros((2, 40))
    for draw in eps.reshape(2, 40, 3, 2):
        found[0] += m2.marginal(x, np.ascontiguousarray(np.moveaxis(draw, 1, 0)), state.phi, state.theta)[0] / 2
        for c in range(3):
            codes = np.full(40, c)
            z = m2.net_given(x, codes, state.phi.z)[0].sample(draw[:, c])
            found[1] += q[:, c] * decode_given(state, z, codes).log_prob(x) / 2
    np.testing.assert_allclose([L, reconstruction, kl], [*found, found[1] - found[0]], rtol=1e-12)
    likely = m2.net_given(x, q.argmax(axis=1), state.phi.z)[0]
    np.testing.assert_array_equal(encode(state, x).mu, likely.mu)


def test_it_learns_from_few() -> None:
    """Catches a classifier that the rows without labels do not teach: three labels a kind, and most rows right."""
    steps = run_of(300, labels=9, batch=20, optimizer=Optimizer(learning_rate=0.03))
    steps.advance(300)

    x, kind = rows(200, seed=5)
    assert (probabilities(steps.state, x.astype(float)).argmax(axis=1) == kind).mean() > 0.85


def test_config_refuses_what_has_no_place() -> None:
    """Catches options that would be passed over in silence, and old configs that no longer load."""
    for options, line in (
        ({"model": "m3"}, "model"),
        ({"labels": 10}, "is for model='m2'"),
        ({"model": "m2", "prior": "mixture:3"}, "no place for prior"),
        ({"model": "m2", "samples": 2}, "no place for samples"),
        ({"model": "m2", "latent": (4, 2)}, "one latent layer"),
        ({"model": "m2", "labels": -1}, "labels=-1"),
    ):
        with pytest.raises(UsageError, match=line):
            Config(**options)
    assert from_dict({"latent": 3}).model == "vae"


# ---------------------------------------------------------------- the commands


def table(path: Path, n: int, seed: int = 0) -> Path:
    """A CSV with a column of words for the kinds."""
    x, kind = rows(n, seed)
    names = ["ant", "bee", "cat"]
    lines = [",".join([*map(str, row.astype(int)), names[c]]) for row, c in zip(x, kind, strict=True)]
    path.write_text("\n".join([",".join([*(f"x{i}" for i in range(9)), "kind"]), *lines]) + "\n", encoding="utf-8")
    return path


TRAIN = [
    "--model", "m2", "--labels", "9", "--labels-from", "kind", "--latent", "2", "--hidden", "8", "--batch", "20",
    "--kernels", "numpy", "--no-pictures", "--learning-rate", "0.03",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    source = table(folder / "kinds.csv", 150)
    assert main(["train", str(source), *TRAIN, "--epochs", "20", "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_classify_says_what_it_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches probabilities that are of other rows than the classes beside them, and counts of other errors."""
    assert main(["classify", str(run), "--json", "--out", str(run / "p.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    lines = [line.split(",") for line in (run / "p.csv").read_text(encoding="utf-8").splitlines()]
    assert lines[0] == ["row", "class", "ant", "bee", "cat"]
    assert [line[0] for line in lines[1:]] == [str(i) for i in range(15)]
    guess = [line[1] for line in lines[1:]]
    names = ["ant", "bee", "cat"]
    truth = [names[i % 3] for i in range(135, 150)]  # the last tenth
    counts = np.array(
        [[sum((t, g) == (a, b) for t, g in zip(truth, guess, strict=True)) for b in names] for a in names]
    )
    np.testing.assert_array_equal([told["confusion"][name] for name in names], counts)
    np.testing.assert_allclose(told["error_percent"], 100 * (1 - np.trace(counts) / 15))
    p = np.array([line[2:] for line in lines[1:]], float)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)
    assert told["labels"] == 9
    assert "15 rows" in told["rows"]
    assert main(["classify", str(run), "--rows", "9,3", "--json", "--out", str(run / "two.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [line.split(",") for line in (run / "two.csv").read_text().splitlines()] == [lines[0], lines[10], lines[4]]
    assert [sum(told["confusion"][name]) for name in names] == [2, 0, 0]  # rows 135 + 9 and 135 + 3


def test_lines_of_the_confusion_are_true_classes(run: Path) -> None:
    """Catches rows and columns in each other's place: three bees are taken for ants, no ant for a bee."""
    p = np.tile([0.8, 0.1, 0.1], (5, 1))
    told = classify.report(load_state(run / "checkpoint.safetensors")[0], p, np.array([0, 0, 1, 1, 1]), "5 rows")
    assert told["confusion"] == {"ant": [2, 0, 0], "bee": [3, 0, 0], "cat": [0, 0, 0]}
    assert told["error_percent"] == 60
    np.testing.assert_allclose(told["log_q"], (2 * np.log(0.8) + 3 * np.log(0.1)) / 5)


def test_labelled_rows_come_in_an_order_of_their_own() -> None:
    """Catches labelled rows that are always met together, in the order of the data: of 6, two a minibatch, each is met
    once in three, and the next three meet them otherwise."""
    steps = run_of(batch=2, labels=6)
    turns = [np.concatenate([steps.index(3 * t + i)[:2] for i in range(3)]) for t in range(4)]
    for turn in turns:
        assert sorted(turn) == sorted(steps.labelled)
    assert len({tuple(turn) for turn in turns}) > 2


def test_classify_takes_other_files(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches classes that follow the file's own numbering, and rows without classes that crash."""
    other = table(tmp_path / "other.csv", 60, seed=9)
    assert main(["classify", str(run), "--data", str(other), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"].startswith("60 rows")
    assert sum(map(sum, told["confusion"].values())) == 60
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rpartition(",")[0] for line in other.read_text().splitlines()), encoding="utf-8")
    assert main(["classify", str(run), "--data", str(bare), "--rows", "0:5", "--json"]) == 0
    out = capsys.readouterr()
    assert "no classes" in out.err
    assert "error_percent" not in json.loads(out.out)


def test_the_prior_on_weights_counts_all_rows() -> None:
    """Catches log p(θ) that is shared among the rows without labels alone: J is a mean over all."""
    plain, prior = (run_of(weight_prior=given) for given in (False, True))
    for steps in (plain, prior):
        steps.one()
    theta = slice(*prior.generative())
    start = run_of().state.arena.flat[theta]
    slopes = [steps.state.gradient.flat[theta] for steps in (plain, prior)]
    np.testing.assert_allclose(slopes[1], slopes[0] - start / 40, rtol=1e-9, atol=1e-12)


def test_resume_has_the_same_bits(run: Path, tmp_path: Path) -> None:
    """Catches labels or an order that a resumed run draws anew."""
    source = table(tmp_path / "kinds.csv", 150)
    parts = tmp_path / "parts"
    assert main(["train", str(source), *TRAIN, "--epochs", "2", "--out", str(parts)]) == 0
    assert main(["train", "--resume", "--epochs", "20", "--no-pictures", "--out", str(parts)]) == 0
    np.testing.assert_array_equal(Run(parts).load()[0].arena.flat, Run(run).load()[0].arena.flat)


def test_other_commands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a command that draws a run with classes as if it had none: it draws class by class, or refuses."""
    assert main(["sample", str(run), "--count", "6", "--out", str(run / "s.npy")]) == 0
    x = np.load(run / "s.npy").reshape(3, 2, 9)
    for c in range(3):  # its own three columns are lit
        assert x[c][:, 3 * c : 3 * c + 3].mean() > x[c].mean() + 0.1
    assert main(["reconstruct", str(run), "--rows", "0,1", "--out", str(run / "r.npy")]) == 0
    assert np.load(run / "r.npy").shape == (6, 9)
    assert main(["evaluate", str(run), "--samples", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["elbo"] < told["log_likelihood"] + 3 * told["standard_error"]
    assert main(["score", str(run), "--top", "2", "--json"]) == 0  # there is no p(x | z) to say why by
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    with pytest.raises(UsageError, match="model='m2'"):
        VAE.load(run)
    with pytest.raises(UsageError, match="model='m2'"):
        VAE(model="m2")
    for command in (["posterior"], ["fill"], ["manifold"], ["interpolate"], ["page"]):
        assert main([*command, str(run)]) == 2
        assert "model=m2" in capsys.readouterr().err


def test_labels_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a run that begins without labels."""
    source = table(tmp_path / "kinds.csv", 30)
    for options, line in ((["--labels-from", "kin"], "there is no column 'kin'"), (["--leave-out", "kind"], "COLUMN")):
        given = ["train", str(source), "--model", "m2", "--likelihood", "bernoulli", *options]
        assert main([*given, "--out", str(tmp_path / "run")]) in (2, 3)
        assert line in capsys.readouterr().err
    found = Dataset("x", *(np.zeros((3, 2)),) * 2, None, None, None, "")
    with pytest.raises(UsageError, match="brings no labels"):
        labels.with_labels(found, Config(model="m2"))
