"""§7.3 `python -m tests.dist FOLDER`: a wheel and an sdist, each installed in a clean environment and used there."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TRAIN = ["train", "rows.npy", "--out", "run", "--epochs", "2", "--latent", "2", "--hidden", "16"]
ROWS = "import numpy as np; np.save('rows.npy', (np.random.default_rng(0).random((500, 64)) < 0.3).astype('u1') * 255)"


def call(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The words run; raises where they fail, but for exit code 3, which says that data are missing."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def environment(folder: Path) -> Path:
    """The Python of a new environment, with pip alone."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def build(out: Path) -> list[Path]:
    """Wheel and sdist, by `python -m build` in an environment of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        python = environment(Path(scratch) / "build")
        call(python, "-m", "pip", "install", "--quiet", "build")
        call(python, "-m", "build", "--outdir", out, ROOT)
    return [*out.glob("scratchvae-*.whl"), *out.glob("scratchvae-*.tar.gz")]


def tried(made: Path) -> None:
    """Installed away from the repository it says kindly what data it does not bring, trains on rows that are given,
    evaluates the run, and makes a page of it, whose parts are files of the package."""
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        python = environment(here / "clean")
        call(python, "-m", "pip", "install", "--quiet", made)
        asked = call(python, "-m", "scratchvae", "train", "mnist", "--out", "run", cwd=here)
        if asked.returncode != 3 or "--data-folder" not in asked.stderr or "Traceback" in asked.stderr:
            raise SystemExit(f"{made.name}: train mnist said {asked.stderr}")
        call(python, "-c", ROWS, cwd=here)
        for words in (TRAIN, ["evaluate", "run", "--samples", "10"]):
            done = call(python, "-m", "scratchvae", *words, cwd=here)
            if done.returncode or "elbo" not in done.stdout:
                raise SystemExit(f"{made.name}: {words[0]} said {done.stdout}{done.stderr}")
        call(python, "-m", "scratchvae", "page", "run", cwd=here)
        if "</html>" not in (here / "page.html").read_text(encoding="utf-8"):
            raise SystemExit(f"{made.name}: page.html is no page")
    print(f"{made.name}: installed, trained, evaluated, a page made, under Python {sys.version.split()[0]}", flush=True)


if __name__ == "__main__":
    for one in build(Path(sys.argv[1]).absolute()):
        tried(one)
