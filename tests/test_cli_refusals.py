"""§7.3 Bad input through the command line: one clear line, the right exit code, nothing made and nothing lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, Call, bits, files

from scratchvae.types import Array

# ---------------------------------------------------------------- refusals of train


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--hidden a,b", "argument --hidden: expected widths as 500 or 200,100"),
        ("--hidden 4,,", "argument --hidden"),
        ("--hidden 0", "sizes must be at least 1"),
        ("--hidden 99999999999999999999", "expected a value such as"),
        ("--hidden 10000000 --latent 10000000", "not enough memory"),
        ("--latent 0", "sizes must be at least 1"),
        ("--latent x", "argument --latent: expected a size"),
        ("--latent 4,2", "needs hidden widths for each of its 2 arrows"),
        ("--milestones x", "argument --milestones: expected EPOCH:FACTOR"),
        ("--milestones 1:nan --schedule step", "argument --milestones"),
        ("--milestones 1:2", "the step schedule and its milestones go together"),
        ("--schedule step", "the step schedule and its milestones go together"),
        ("--epochs 0", "argument --epochs: expected a finite number above 0, got '0'"),
        ("--epochs nan", "argument --epochs"),
        ("--epochs inf", "argument --epochs"),
        ("--samples-seen 0", "argument --samples-seen"),
        ("--evaluate-every nan", "argument --evaluate-every"),
        ("--save-every -1", "argument --save-every"),
        ("--batch 0", "argument --batch: expected a whole number, 1 or more, got '0'"),
        ("--samples 1.5", "argument --samples"),
        ("--seed -1", "argument --seed: expected a whole number, 0 to 18446744073709551615"),
        ("--seed 18446744073709551616", "argument --seed"),
        ("--threads 0", "argument --threads"),
        ("--learning-rate inf", "argument --learning-rate"),
        ("--momentum -2", "argument --momentum: expected a number from 0 to below 1"),
        ("--variance 0", "argument --variance"),
        ("--estimator foo", "estimator 'foo' is unknown: give one of"),
        ("--dtype float16", "argument --dtype"),
        ("--unheard-of", "unrecognized arguments: --unheard-of"),
        ("--config nope.json", "--config nope.json cannot be read"),
    ],
)
def test_usage(call: Call, options: str, words: str) -> None:
    """One line that names the argument, exit 2, and no folder is made."""
    done = call("train", "rows.npy", "--out", "run", *QUIET, *options.split())
    assert done.code == 2
    assert words in done.line
    assert done.out == ""
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"latnet": 3}', "unknown option 'latnet' in c.json: known are data"),
        ('{"optimizer": {"rate": 1}}', "unknown option 'rate' in the config's optimizer"),
        ('{"optimizer": 3}', "optimizer=3 in c.json"),
        ('{"optimizer": {"learning_rate": "x"}}', "learning_rate='x'"),
        ('{"optimizer": {"milestones": 3}}', "milestones=3"),
        ('{"optimizer": {"milestones": [["a", 1]]}}', "milestones="),
        ('{"activation": "foo"}', "activation 'foo' is unknown"),
        ('{"seed": 1.5}', "seed=1.5 in c.json: expected a value such as 0"),
        ('{"variance": -1}', "variance=-1 in c.json: expected a value such as 0.01"),
        ('{"batch": true}', "batch=True"),
        ('{"variance": Infinity}', "variance=inf"),
        ('{"prior": "yes"}', "prior='yes'"),
        ('{"test": 3}', "test=3"),
        ("[1]", "is not a JSON object of options"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_bad_configs(call: Call, text: str, words: str) -> None:
    Path("c.json").write_text(text)
    options = ["--hidden", "6", "--latent", "2", "--epochs", "1", "--kernels", "numpy"]
    done = call("train", "rows.npy", "--config", "c.json", "--out", "run", *options)
    assert done.code == 2
    assert words in done.line
    assert not Path("run").exists()


def with_value(value: float, dtype: str = "f8") -> Array:
    x = bits().astype(dtype)
    x[3, 4] = value
    return x


BAD_DATA: dict[str, tuple[Any, str]] = {
    "nan.csv": (with_value(np.nan), "nan.csv holds nan at row 3, column 4 (from 0; line 4 of the file): drop"),
    "inf.npy": (with_value(np.inf), "inf at row 3, column 4"),
    "grey.csv": (with_value(1.5), "grey.csv holds 1.5 at row 3, column 4 (from 0; line 4 of the file): a Bernoulli"),
    "grey.npy": (with_value(1.5), "holds 1.5 at row 3, column 4 (from 0): a Bernoulli likelihood needs [0, 1]"),
    "zero.npy": (np.zeros((0, 12)), "zero.npy has shape (0, 12); give at least one row"),
    "zero.csv": (b"", "give at least one row"),
    "one.npy": (np.zeros((1, 12)), "has one row, which cannot be split"),
    "magic.idx": (b"\1\2\3\4" + bytes(20), "magic.idx is not IDX: it begins with 01020304"),
    "short.idx": (b"\0\0\x08\2\0\0\0\x0a\0\0\0\x0a" + bytes(9), "short.idx is truncated: 100 bytes"),
    "long.idx": (b"\0\0\x08\2\0\0\0\1\0\0\0\1" + bytes(9), "long.idx"),
    "huge.idx": (b"\0\0\x08\2\x7f\xff\xff\xff\x7f\xff\xff\xff" + bytes(9), "huge.idx is truncated"),
    "words.txt": (b"a b c\nd e f\n", "words.txt"),
    "rows.foo": (b"x", "rows.foo is of no known kind"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(call: Call, name: str) -> None:
    """One line, exit 3, no folder; a declared size is compared with the file's before anything is allocated."""
    content, words = BAD_DATA[name]
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif name.endswith(".csv"):
        np.savetxt(name, content, delimiter=",")
    else:
        np.save(name, content)
    done = call("train", name, "--out", "run", *QUIET)
    assert done.code == 3
    assert words in done.line
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nope.npy",), "nope.npy does not exist"),
        (("nope",), "'nope' is neither a data set (mnist, fashion-mnist, freyfaces) nor a file"),
        (("freyfaces", "--data-folder", "."), "freyfaces is not in"),
        (("rows.npy", "--test", "wide.npy"), "has 13 columns but D=12 was expected"),
    ],
)
def test_missing_and_unlike_data(call: Call, args: tuple[str, ...], words: str) -> None:
    np.save("wide.npy", bits(20, 13))
    done = call("train", *args, "--out", "run", *QUIET)
    assert done.code == 3
    assert words in done.line
    assert not Path("run").exists()


@pytest.mark.parametrize("out", ["rows.npy", "rows.npy/run", ""])
def test_a_folder_that_cannot_be(call: Call, out: str) -> None:
    done = call("train", "rows.npy", "--out", out, *QUIET)
    assert done.code == 2
    assert "name another folder" in done.line if out else "--out is empty" in done.line


def test_a_bound_that_breaks(call: Call) -> None:
    """Exit 1: step, row, term; the last good checkpoint is whole."""
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--save-every", "100"]
    done = call("train", "rows.npy", "--out", "run", *QUIET, *options)
    assert done.code == 1
    assert "at step 1, row 0 of the minibatch" in done.words
    assert "broke" in done.words
    assert call("info", "run", "--json").code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("evaluate run --rows 0:0", "the data have rows 0 to 11"),
        ("evaluate run --samples -1", "argument --samples"),
        ("sample run --count 0", "argument --count"),
        ("sample run --seed -1", "argument --seed"),
        ("sample run --out s.foo", "unknown ending: give .png, .npy, .csv, .txt, or -"),
        ("sample run --out rows.npy/s.csv", "Not a directory; name another place"),
        ("sample run --out rows.npy/s.npy", "Not a directory; name another place"),
        ("sample run --image 5,5 --out s.png", "does not fit rows of 12 columns"),
        ("reconstruct run --rows x", "--rows 'x': give numbers as 0,5,7 or a range as 0:10"),
        ("reconstruct run --rows 1:2:3", "--rows '1:2:3'"),
        ("reconstruct run --rows 99", "--rows '99': the data have rows 0 to 11"),
        ("reconstruct run --rows 0:0", "the data have rows 0 to 11"),
        ("encode run --out e.png", "encode gives numbers"),
        ("manifold run --grid 0", "argument --grid"),
        ("manifold run --grid 1000000 --out -", "not enough memory"),
        ("manifold three", "but this run has latent=3"),
        ("interpolate run --rows 3", "must name two rows"),
        ("interpolate run --steps 1", "argument --steps"),
        ("gradcheck --pattern nope", "no check is called 'nope'"),
    ],
)
def test_usage_of_readers(trained: Call, args: str, words: str) -> None:
    if "three" in args:
        options = [*QUIET[:4], "--latent", "3", *QUIET[6:]]
        assert trained("train", "rows.npy", "--out", "three", *options).code == 0
    done = trained(*args.split())
    assert done.code == 2
    assert words in done.line
    assert done.out == ""


def test_unlike_data_for_a_run(trained: Call) -> None:
    np.save("wide.npy", bits(20, 13))
    np.save("grey.npy", with_value(1.5))
    for command in ("evaluate", "encode", "reconstruct"):
        wide = trained(command, "run", "--data", "wide.npy")
        assert wide.code == 3
        assert "has 13 columns but D=12 was expected" in wide.line
        grey = trained(command, "run", "--data", "grey.npy", *(["--rows", "3"] if command != "evaluate" else []))
        assert grey.code == 3
        assert "a Bernoulli likelihood needs [0, 1]" in grey.line


def damaged(raw: bytes, how: str) -> bytes:
    middle = len(raw) - 40
    return {
        "truncated": raw[:-5],
        "flipped": raw[:middle] + bytes([raw[middle] ^ 4]) + raw[middle + 1 :],
        "other version": raw.replace(b'"version":"1"', b'"version":"9"'),
        "empty": b"",
        "text": b"hello",
    }[how]


@pytest.mark.parametrize("how", ["truncated", "flipped", "other version", "empty", "text"])
def test_a_bad_checkpoint(trained: Call, how: str) -> None:
    """Every command refuses it with one line, and none touches it."""
    path = Path("run/checkpoint.safetensors")
    path.write_bytes(damaged(path.read_bytes(), how))
    held = files("run")
    for args in ("evaluate run", "sample run", "info run", "train rows.npy --out run --resume", f"evaluate {path}"):
        done = trained(*args.split())
        assert done.code == 3, args
        assert str(path) in done.line
    assert files("run") == held


def test_no_run(trained: Call) -> None:
    Path("empty").mkdir()
    for name in ("nope", "empty", "rows.npy", "run/config.json"):
        done = trained("evaluate", name)
        assert done.code == 3
        assert name in done.line
    assert trained("info", "nope").code == 3
