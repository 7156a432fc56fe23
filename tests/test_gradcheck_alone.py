"""§7.2.4 gradcheck needs NumPy alone, and knows nothing of the VAE."""

import inspect
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCKED = "scipy numba llvmlite hypothesis pytest matplotlib tqdm sklearn torch jax autograd"
FEW = 20  # modules of ours behind the import: gradcheck's own, and the three floors below it
ALONE = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "{BLOCKED}".split():
            raise ImportError(f"{{name}} is blocked: gradcheck needs NumPy alone")

sys.meta_path.insert(0, Blocked())
"""


def run(code: str, folder: Path = ROOT) -> list[str]:
    """stdout's words; warnings are errors here too."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_works_with_all_else_blocked(tmp_path: Path) -> None:
    """Catches an import of SciPy, Numba, hypothesis or matplotlib that the import, a check, an expectation, an integral
    or the command on a file needs."""
    (tmp_path / "pairs.py").write_text(
        "import numpy as np\ndef f(x): return x**2\ndef f_vjp(dy, x): return 2 * x * dy\nf_args = (np.ones(2),)\n"
    )
    code = ALONE + inspect.cleandoc("""
        import numpy as np
        from scratchvae.gradcheck import check, check_expectation, expectation_gradient

        print(check(np.sin, lambda dy, x: np.cos(x) * dy, (np.array([0.3, 1.0]),)).verdict)
        exact = expectation_gradient(
            lambda z, m: z * z, lambda z, m: -((z - m) ** 2 + np.log(2 * np.pi)) / 2, 0.5, around=(0, 1)
        )
        sample = lambda seed, n: 2 * (0.5 + np.random.default_rng(seed).standard_normal(n))
        print(check_expectation(sample, exact, draws=1000).verdict)
        from scratchvae.cli import main

        print(main(["gradcheck", "pairs.py"]))
        try:
            import scipy
        except ImportError:
            print("blocked")
    """)
    found = run(code, tmp_path)
    assert (found[:3], found[-2:]) == (["ok", "ok", "f:"], ["0", "blocked"])


def test_the_import_is_small() -> None:
    """Catches a room of the VAE, or a package, that comes with `import scratchvae.gradcheck`."""
    before = "import numpy, sys; before = set(sys.modules); import scratchvae.gradcheck; "
    loaded = run(before + "print(*sorted(set(sys.modules) - before))")
    ours = [name for name in loaded if name.partition(".")[0] == "scratchvae"]
    assert len(ours) <= FEW, ours
    rooms = {name.split(".")[1] for name in ours if "." in name}
    assert rooms == {"gradcheck", "tree", "types", "errors", "moved"}
    assert not set(BLOCKED.split()) & {name.partition(".")[0] for name in loaded}
