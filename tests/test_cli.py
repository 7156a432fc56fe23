"""§7.3 The command line as a user meets it: data on stdout, words on stderr, exit codes, what each command makes."""

import argparse
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import QUIET, TINY, Call, bits, files

from scratchvae import cli
from scratchvae.training.checkpoint import load
from scratchvae.types import Array

# ---------------------------------------------------------------- help


def test_every_command_teaches(call: Call) -> None:
    """Each help ends with an example that its own parser accepts."""
    top = cli.parser()
    commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
    ground = {"train", "evaluate", "sample", "reconstruct", "encode", "manifold", "interpolate", "gradcheck", "info"}
    assert ground <= set(commands)
    for name, parser in commands.items():
        done = call(name, "--help")
        assert (done.code, done.words) == (0, ""), name
        example = re.search(rf"scratchvae ({name}\b.*?)(   |\n|$)", parser.epilog or "")
        assert example, f"{name} --help has no example"
        top.parse_args(example[1].replace("'", "").split())


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "scratchvae", "--help"], capture_output=True, text=True, check=True)
    assert "exit codes: 0 fine, 1 a check failed, 2 usage, 3 bad data or checkpoint, 130" in done.stdout


# ---------------------------------------------------------------- train and its report


def test_train_json_is_one_object(call: Call) -> None:
    done = call("train", "rows.npy", "--out", "run", "--json", *QUIET)
    found = json.loads(done.out)
    assert done.code == 0
    assert done.out.count("\n") == 1
    assert {"elbo", "seconds", "examples_per_second", "peak_memory_mb"} <= set(found)
    last = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])
    assert (found["elbo"], found["step"]) == (last["test_elbo"], 6)
    assert sorted(files("run")) == ["checkpoint.safetensors", "config.json", "metrics.jsonl"]


def test_words_go_to_stderr(call: Call) -> None:
    done = call("train", "rows.npy", "--out", "run", *QUIET)
    assert "108 rows, 12 columns, binarisation dynamic; test: last tenth of the rows" in done.words
    assert "epoch 2" in done.words
    assert "epoch" not in done.out


def test_a_run_leaves_pictures(call: Call) -> None:
    pytest.importorskip("matplotlib")
    assert call("train", "rows.npy", "--out", "run", *TINY).code == 0
    pictures = {path.name for path in Path("run").glob("*.png")}
    assert pictures == {"bound.png", "reconstructions.png", "samples.png", "manifold.png", "latent.png"}


def test_without_matplotlib_training_is_whole(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = call("train", "rows.npy", "--out", "run", *TINY)
    assert done.code == 0
    assert "no pictures: pictures need matplotlib: pip install 'scratchvae[plot]'" in done.words
    assert sorted(files("run")) == ["checkpoint.safetensors", "config.json", "metrics.jsonl"]
    asked = call("sample", "run", "--out", "s.png")
    assert asked.code == 2
    assert "need matplotlib" in asked.line
    assert call("sample", "run", "--out", "s.npy").code == 0


def test_threads_do_not_change_a_bit(call: Call) -> None:
    for threads in (1, 2):
        assert call("train", "rows.npy", "--out", f"run{threads}", "--threads", threads, *QUIET).code == 0
    assert files("run1")["checkpoint.safetensors"] == files("run2")["checkpoint.safetensors"]


def test_a_config_file_and_options_on_top(call: Call) -> None:
    Path("c.json").write_text('{"data": "rows.npy", "latent": 3, "hidden": [5, 4], "optimizer": "adagrad"}')
    done = call("train", "--config", "c.json", "--hidden", "7", "--kernels", "numpy", "--epochs", "1", "--no-pictures",
                "--out", "run")  # fmt: skip
    assert done.code == 0, done.words
    config = json.loads(Path("run/config.json").read_text())
    assert (config["data"], config["latent"], config["hidden"]) == ("rows.npy", 3, [7])
    assert config["optimizer"]["name"] == "adagrad"
    again = call("train", "--config", "run/config.json", "--out", "again", "--no-pictures")
    assert again.code == 0
    assert files("run")["checkpoint.safetensors"] == files("again")["checkpoint.safetensors"]


def test_a_budget_of_samples(call: Call) -> None:
    done = call("train", "rows.npy", "--out", "run", "--samples-seen", "1e3", "--json", *QUIET)
    steps = json.loads(done.out)["step"]
    assert steps == -(-1000 * 3 // 108)  # 108 rows are 3 minibatches


@pytest.mark.parametrize("kind", ["csv", "npz", "npy.float", "idx"])
def test_kinds_of_data(call: Call, kind: str) -> None:
    """Every kind of file holds the same rows, so every run has the same bound."""
    x = bits()
    if kind == "csv":
        np.savetxt("x.csv", x, fmt="%d", delimiter=",")
    elif kind == "npz":
        np.savez("x.npz", train=x[:108], test=x[108:])
    elif kind == "idx":
        sizes = b"".join(n.to_bytes(4, "big") for n in x.shape)
        Path("x-idx2-ubyte").write_bytes(b"\0\0\x08\x02" + sizes + x.tobytes())
    else:
        np.save("x.npy", x.astype("f4"))
    name = next(Path().glob("x[.-]*"))
    assert call("train", "rows.npy", "--out", "one", *QUIET).code == 0
    assert call("train", name, "--out", "two", *QUIET).code == 0
    one, two = (json.loads(Path(run, "metrics.jsonl").read_text().splitlines()[-1]) for run in ("one", "two"))
    assert one["test_elbo"] == pytest.approx(two["test_elbo"], rel=1e-6)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian-sigmoid", "gaussian-fixed"])
def test_grey_rows_are_not_binarised_for_a_gaussian(call: Call, likelihood: str) -> None:
    np.save("grey.npy", np.random.default_rng(1).random((60, 4, 3)))
    done = call("train", "grey.npy", "--likelihood", likelihood, "--out", "run", *QUIET)
    assert done.code == 0
    assert "binarisation none" in done.words


# ---------------------------------------------------------------- resume


def test_resume_for_longer_stays_longer(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer run that was stopped and is resumed without saying so again goes on to its own end."""
    assert call("train", "rows.npy", "--out", "run", *QUIET).code == 0
    with monkeypatch.context() as patch:
        patch.setattr("scratchvae.cli.train.Progress.line", lambda *_: signal.raise_signal(signal.SIGINT))
        stopped = call("train", "--out", "run", "--resume", "--epochs", "4", "--no-pictures")
    assert stopped.code == 130
    assert "stopped at step 9; everything up to there is saved: continue with --resume" in stopped.words
    done = call("train", "--out", "run", "--resume", "--no-pictures", "--json")
    assert json.loads(done.out)["step"] == 12
    whole = [*QUIET[:-2], "4", "--no-pictures"]
    assert whole[-3] == "--epochs"
    assert call("train", "rows.npy", "--out", "whole", *whole).code == 0
    assert files("whole")["checkpoint.safetensors"] == files("run")["checkpoint.safetensors"]


def test_test_rows_of_their_own_are_remembered(call: Call) -> None:
    """evaluate and --resume take the same rows: else a run would be measured on what it was trained on."""
    np.save("held.npy", bits(30, seed=9))
    done = call("train", "rows.npy", "--test", "held.npy", "--out", "run", "--json", *QUIET)
    told = json.loads(call("evaluate", "run", "--json", "--samples", "0").out)
    assert told["rows"] == 30
    assert told["elbo"] == pytest.approx(json.loads(done.out)["elbo"])
    assert call("train", "--out", "run", "--resume", "--epochs", "3", "--no-pictures").code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seed", "4"), "seed was 0, now 4; only epochs and patience may change"),
        (("other.npy",), "data was 'rows.npy', now 'other.npy'"),
        (("--config", "run/config.json"), "leave --config out"),
    ],
)
def test_resume_continues_a_run_as_it_was(trained: Call, options: tuple[str, ...], words: str) -> None:
    np.save("other.npy", bits(seed=3))
    held = files("run")
    done = trained("train", *options, "--out", "run", "--resume", "--no-pictures")
    assert done.code == 2
    assert words in done.line
    assert files("run") == held


def test_seconds_go_on_over_a_resume(trained: Call) -> None:
    """Catches a run that was resumed and says it trained for the last part of it only."""
    metrics = Path("run/metrics.jsonl")
    before = json.loads(metrics.read_text().splitlines()[-1]) | {"seconds": 1000.0}
    metrics.write_text(json.dumps(before) + "\n")
    more = str(int(before["epoch"]) + 1)
    assert trained("train", "--out", "run", "--resume", "--epochs", more, "--no-pictures").code == 0
    assert 1000 < json.loads(metrics.read_text().splitlines()[-1])["seconds"] < 1900


def test_a_run_killed_before_its_first_checkpoint_resumes(trained: Call) -> None:
    whole = files("run")["checkpoint.safetensors"]
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        Path("run", name).unlink()
    assert trained("train", "--out", "run", "--resume", "--no-pictures").code == 0
    assert files("run")["checkpoint.safetensors"] == whole


def test_nothing_to_resume(call: Call) -> None:
    done = call("train", "--out", "run", "--resume")
    assert done.code == 3
    assert "run holds no run" in done.line
    assert not Path("run").exists()


def test_another_run_is_left_alone(trained: Call) -> None:
    held = files("run")
    done = trained("train", "rows.npy", "--out", "run", *QUIET)
    assert done.code == 2
    assert "already holds a run (config.json): continue it with --resume, or name another" in done.line
    assert files("run") == held


# ---------------------------------------------------------------- what reads a run


def test_evaluate_json(trained: Call) -> None:
    done = trained("evaluate", "run", "--samples", "20", "--json")
    found = json.loads(done.out)
    assert (done.code, done.words) == (0, "")
    keys = {"elbo", "reconstruction", "kl", "log_likelihood", "samples", "binarisation", "rows", "active_units"}
    assert keys <= set(found)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-5)
    assert found["log_likelihood"] > found["elbo"]
    assert (found["samples"], found["binarisation"], found["rows"]) == (20, "dynamic", 12)
    assert json.loads(trained("evaluate", "run", "--samples", "0", "--json").out)["log_likelihood"] is None


def test_text_and_json_say_the_same(trained: Call) -> None:
    for command in (("evaluate", "run", "--samples", "5"), ("info", "run", "--all"), ("info", "rows.npy")):
        told = dict(line.split(None, 1) for line in trained(*command).out.splitlines() if len(line.split()) > 1)
        for key, value in json.loads(trained(*command, "--json").out).items():
            if isinstance(value, float):
                assert float(told[key]) == pytest.approx(value, rel=1e-5)
            elif isinstance(value, str | int):
                assert told.get(key, "").strip() == str(value)


def test_rows_given_on_the_command_line(trained: Call) -> None:
    """All of a file's rows, or the test rows of a set that has some; the first so many of either."""
    np.save("one.npy", bits(1))
    np.savez("both.npz", train=bits(5), test=bits(7))
    for args, rows in ((("--data", "rows.npy"), 120), (("--data", "one.npy"), 1), (("--data", "both.npz"), 7)):
        assert json.loads(trained("evaluate", "run", "--samples", "0", "--json", *args).out)["rows"] == rows
    assert json.loads(trained("evaluate", "run", "--rows", "0:5", "--samples", "0", "--json").out)["rows"] == 5


def test_numbers_to_stdout_and_to_files(trained: Call) -> None:
    """The same numbers as CSV on stdout, as .csv and as .npy: means, then log-variances."""
    done = trained("encode", "run")
    shown = np.array([[float(cell) for cell in line.split(",")] for line in done.out.splitlines()])
    assert (done.words, shown.shape) == ("", (12, 4))
    assert trained("encode", "run", "--out", "e.npy").out == ""
    assert trained("encode", "run", "--out", "e.csv").out == ""
    np.testing.assert_allclose(np.load("e.npy"), shown, rtol=1e-6)
    np.testing.assert_allclose(np.loadtxt("e.csv", delimiter=","), shown, rtol=1e-6)
    some = trained("encode", "run", "--rows", "3,1").out.splitlines()
    assert some == [done.out.splitlines()[3], done.out.splitlines()[1]]


def numbers(trained: Call, *args: str) -> Array:
    done = trained(*args, "--out", "x.npy")
    assert done.code == 0, done.words
    found: Array = np.load("x.npy")
    return found


def test_what_the_picture_commands_compute(trained: Call) -> None:
    tensors, _ = load("run/checkpoint.safetensors")

    def decode(z: Array) -> Array:
        h = np.tanh(z @ tensors["p.hidden.0.W"] + tensors["p.hidden.0.b"])
        return np.asarray(1 / (1 + np.exp(-(h @ tensors["p.logits.W"] + tensors["p.logits.b"]))))

    codes = numbers(trained, "encode", "run", "--rows", "2,5")[:, :2]
    ends = numbers(trained, "interpolate", "run", "--rows", "2,5", "--steps", "3")
    np.testing.assert_allclose(ends, decode(np.stack([codes[0], codes.mean(axis=0), codes[1]])), rtol=1e-5)
    made = numbers(trained, "reconstruct", "run", "--rows", "2,5")
    np.testing.assert_allclose(made, decode(codes), rtol=1e-5)
    plane = numbers(trained, "manifold", "run", "--grid", "2")
    q = 0.6744897501960817  # the third quartile of N(0, 1)
    np.testing.assert_allclose(plane, decode(np.array([[-q, q], [q, q], [-q, -q], [q, -q]])), rtol=1e-5)
    drawn = numbers(trained, "sample", "run", "--count", "7", "--draw")
    assert drawn.shape == (7, 12)
    assert set(np.unique(drawn)) <= {0, 1}
    assert (numbers(trained, "sample", "run", "--seed", "1") != numbers(trained, "sample", "run")).any()


@pytest.mark.parametrize("command", ["sample", "reconstruct", "manifold", "interpolate"])
def test_pictures(trained: Call, command: str) -> None:
    pytest.importorskip("matplotlib")
    done = trained(command, "run", "--out", "p.png")
    assert (done.code, done.out, done.words) == (0, "", "wrote p.png\n")
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"


def test_info(trained: Call) -> None:
    found = json.loads(trained("info", "run", "--json").out)
    assert found["shapes"]["q.hidden.0.W"] == [12, 6]
    assert found["parameters"] == sum(int(np.prod(shape)) for shape in found["shapes"].values())
    assert found["metrics"]["step"] == found["step"] == 6
    data = json.loads(trained("info", "rows.npy", "--json").out)
    assert (data["rows"], data["test_rows"], data["columns"]) == (108, 12, 12)
    assert "optimizer.learning_rate" in trained("info", "run", "--all").out


def test_gradcheck_json(call: Call) -> None:
    done = call("gradcheck", "--pattern", "networks.dense", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["failed"] == 0
    assert {"checks", "failed", "worst_complex_step", "worst_central", "worst_direction"} <= set(found)


# ---------------------------------------------------------------- ends that are not errors


def test_a_reader_that_goes_away(trained: Call) -> None:
    """`scratchvae encode … | head -1`: exit 0, no traceback."""
    np.save("many.npy", np.concatenate([bits()] * 100))
    command = [sys.executable, "-m", "scratchvae", "encode", "run", "--data", "many.npy"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    words = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert words == b""


def test_ctrl_c_outside_training(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scratchvae.data.load", stop)
    done = call("train", "rows.npy", "--out", "run", *QUIET)
    assert (done.code, done.line) == (130, "scratchvae train: interrupted")


def test_mnist_by_name(call: Call) -> None:
    """Named data come from the repository, whatever the folder; IDX images keep their shape."""
    found = json.loads(call("info", "mnist", "--json").out)
    assert (found["rows"], found["test_rows"], found["image"]) == (60000, 10000, [28, 28])


def test_warmup_says_where_the_code_is_kept(call: Call) -> None:
    found = json.loads(call("warmup", "--json").out)
    assert found["vector_width"] in (1, 4, 8, 16)
    assert found["threads"] >= 1
    assert found["cache"] == "none" or Path(found["cache"]).is_dir()
