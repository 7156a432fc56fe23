"""§7.3 What is said of data: what was taken for what, which row is bad by its number there, and labels of any kind."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, TINY, Call, bits

from scratchvae import plots
from scratchvae.data import load
from scratchvae.errors import DataError, UsageError
from scratchvae.tasks import missing, quadrature
from scratchvae.tasks.evidence import Evidence
from scratchvae.training import checkpoint
from scratchvae.vae import VAE

GAPS = (*QUIET, "--missing", "nan", "--likelihood", "gaussian")


def test_notes_are_said(call: Call) -> None:
    """Catches a header or an index that is taken for one without a word."""
    rows = [",".join(map(str, [i, *row])) for i, row in enumerate(bits(30, 3).tolist())]
    Path("t.csv").write_text("\n".join([",a,b,c", "", *rows]))
    assert call("train", "t.csv", "--out", "run", *QUIET).code == 0
    words = call("train", "t.csv", "--out", "again", *QUIET).words
    for note in ("line 1 taken for names: '', a, b, c", "1 empty line passed over", "an index of the rows: dropped"):
        assert note in words
    told = json.loads(call("info", "t.csv", "--json").out)
    assert (told["columns"], told["names"]) == (3, "a, b, c")
    assert "line 1 taken for names" in told["notes"]


def test_rows_by_their_number(call: Call) -> None:
    """Catches row 1 for row 3 of --rows 2:6, the place in a block or in --rows for the number of the row."""
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.save("x.npy", x)
    assert call("train", "x.npy", "--test", "x.npy", "--out", "run", *GAPS).code == 0
    x[3], x[5, 2] = np.nan, np.nan
    np.save("gaps.npy", x)
    done = call("fill", "run", "--data", "gaps.npy", "--mask", "nan", "--rows", "2:6")
    assert (done.code, "test row 3 has all its 4 entries missing" in done.line) == (3, True)
    done = call("posterior", "run", "--data", "gaps.npy", "--row", 5)
    assert (done.code, "and test row 5 has missing entries" in done.line) == (2, True)
    for rows in ("0:100", "2:6", "5,3"):
        done = call("evidence", "run", "--data", "gaps.npy", "--rows", rows)
        assert (done.code, f"and test row {5 if rows == '5,3' else 3} has missing entries" in done.line) == (2, True)


def test_rows_of_the_tasks_by_their_number() -> None:
    x, some = np.zeros((3, 2)), np.array([[True, True], [False, False], [True, True]])
    with pytest.raises(DataError, match=r"^row 41 has all its 2"):
        missing.check_mask(x, some, np.array([40, 41, 42]))
    x[2, 1] = np.inf
    with pytest.raises(DataError, match=r"x holds inf at row 2, column 1 \(from 0\), which the mask calls observed"):
        missing.check_mask(x, np.ones((3, 2), bool))
    doubtful = Evidence(np.zeros(2), np.array([0.1, 9]), np.array([9.0, 1]), 1, "importance")
    assert "worst, row 7:" in doubtful.doubts(index=[3, 7])
    x = np.zeros((9, 1))
    x[7] = 30  # and a block of the grid is a few rows

    def far(x: Any, z: Any) -> Any:
        return -0.5 * ((z - x) ** 2).sum(-1)

    with pytest.raises(DataError, match="the posterior of row 17 reaches the edge"):
        quadrature.posterior(far, x, 2, resolution=201, index=np.arange(10, 19))
    x[7] = np.nan
    with pytest.raises(DataError, match="log_joint is NaN in row 17:"):
        quadrature.posterior(far, x, 2, resolution=201, index=np.arange(10, 19))


def test_bad_test_rows_are_called_so() -> None:
    """Catches "x holds …" for a value of `test`."""
    x = np.full((20, 3), 0.5)
    bad = x.copy()
    bad[4, 1] = 7
    model = VAE(2, (3,), epochs=1, kernels="numpy")
    with pytest.raises(DataError, match=r"^test holds 7\.0 at row 4, column 1"):
        model.fit(x, test=bad)
    bad[4, 1] = 1e39
    with pytest.raises(DataError, match=r"^x holds .*too large for float32"):
        VAE(2, (3,), "gaussian", epochs=1, kernels="numpy").fit(bad)


LABELS: dict[str, Any] = {
    "40 words": [f"kind {i}" for i in range(40)],
    "words": ["_a", "$b", "c$", "long " * 20, ""],
    "40 dates": np.arange(40).astype("datetime64[D]"),
    "40 numbers, NaN and inf": np.array([np.nan, np.inf, *range(38)]),
}


@pytest.mark.parametrize("what", LABELS)
def test_labels(tmp_path: Path, what: str) -> None:
    """Catches labels that end a run at its last picture, without a report: more than 20 words, a _ or a $."""
    pytest.importorskip("matplotlib")
    kinds = np.array(LABELS[what])
    np.savez(tmp_path / "x.npz", x=bits(400, 4), y=kinds[np.arange(400) % len(kinds)])
    labels = load(tmp_path / "x.npz").test_labels
    plots.save(plots.plot_latent(np.zeros((40, 2)), labels), tmp_path / "latent.png")
    assert (tmp_path / "latent.png").exists()


def test_labels_are_shown_as_they_are() -> None:
    """Catches a formula in a label, one that a leading _ hides, and one as long as the picture."""
    shown = [plots.named(label) for label in (b"a", "_a", "$b", "two\nlines", 7)]
    assert shown == ["a", " _a", r"\$b", "two lines", "7"]
    assert len(plots.named("long " * 20)) == 24


@pytest.mark.parametrize("labels", [np.ones(60, complex), np.zeros(60, "i4,f4"), np.ones((60, 1)), np.ones(59)])
def test_labels_that_are_none(call: Call, labels: Any) -> None:
    np.savez("x.npz", x=bits(60, 4), y=labels)
    done = call("train", "x.npz", "--out", "run", *QUIET)
    assert (done.code, Path("run").exists()) == (3, False)
    assert "labels" in done.line


@pytest.mark.parametrize("text", ["[" * 100_000, '{"hidden": ' + "[" * 400 + "]" * 400 + "}"])
def test_a_deeply_nested_config(call: Call, text: str) -> None:
    """Catches a traceback of a thousand lines."""
    Path("c.json").write_text(text)
    done = call("train", "rows.npy", "--config", "c.json", "--out", "run", *TINY[:2])
    assert (done.code, Path("run").exists()) == (2, False)
    assert len(done.line) < 300


def test_a_header_is_parsed_when_its_digest_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches 28 million bytes of JSON that become a thousand million before the digest is looked at."""
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, {"a": np.ones(3)}, {"kind": "vae", "note": checkpoint.BLANK})
    assert checkpoint.load(path)[1]["note"] == checkpoint.BLANK  # the digest takes its own place and no other
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed before the digest held"))
        with pytest.raises(DataError, match="its SHA-256 is not the one recorded"):
            checkpoint.load(path)


@pytest.mark.parametrize(("limit", "value"), [("HEADER_LIMIT", 500), ("VALUES_LIMIT", 40)])
def test_a_header_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """What `load` would refuse is not written either."""
    path, meta = tmp_path / "m.safetensors", {"history": list(range(300))}
    checkpoint.save(path, {}, meta)
    monkeypatch.setattr(checkpoint, limit, value)
    with pytest.raises(DataError, match=rf"m.safetensors: a header of \d+ bytes .*the limits are .*{value}"):
        checkpoint.load(path)
    with pytest.raises(UsageError, match=re.escape("keep a shorter history, or fewer tensors")):
        checkpoint.save(path, {}, meta)
    checkpoint.save(path, {}, {"history": [1]})
