"""§7.3 Data larger than memory: cost a row and memory from 10³ to 10⁸ mapped rows, bytes, floats, shards and CSR.

    python -m bench.mapped --out bench/mapped.json       about ten minutes; files full of holes, which take no disk
    python -m bench.mapped --mnist --out …               the orders of rows on MNIST as it is, and sorted by label

Each run is a process of its own. Of its memory the anonymous part counts, which is not given back when others want it:
its growth from before the data are opened to its highest, looked at every 5 ms. What is mapped counts in `peak`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae.data import load
from scratchvae.training import compiled, orders
from scratchvae.training.config import Config
from scratchvae.training.reading import learn
from scratchvae.training.state import State

COLUMNS, HIDDEN, LATENT = 400, (100,), 10
STEPS = 2000


def status(*names: str) -> dict[str, float]:
    """Lines of /proc/self/status, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in names}


@contextlib.contextmanager
def watched(found: dict[str, float]) -> Iterator[None]:
    """Leave in `found` by how many MB anonymous memory grew at most."""
    before, over = status("RssAnon")["RssAnon"], threading.Event()
    found["anonymous_growth_mb"] = 0.0

    def look() -> None:
        while not over.wait(0.005):
            found["anonymous_growth_mb"] = max(found["anonymous_growth_mb"], status("RssAnon")["RssAnon"] - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        found["peak_mb"] = status("VmHWM")["VmHWM"]


def hollow(folder: Path, rows: int, columns: int, dtype: str, files: int = 1) -> Path:
    """Rows of zeros, in files full of holes; the first of them are random."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(files):
        x = np.lib.format.open_memmap(folder / f"{i}.npy", "w+", dtype, (rows // files, columns))
        head = rng.integers(0, 256, (min(1000, rows // files), columns))
        x[: len(head)] = head if dtype == "u1" else head / 255
    return folder if files > 1 else folder / "0.npy"


def counts(folder: Path, rows: int, columns: int, share: float) -> Path:
    """Counts as CSR, each row with as many nonzeros, written a piece at a time."""
    folder.mkdir()
    rng, each = np.random.default_rng(0), round(share * columns)
    shapes = {"data": ("u1", rows * each), "indices": ("i4", rows * each)}
    maps = {k: np.lib.format.open_memmap(folder / f"{k}.npy", "w+", d, (n,)) for k, (d, n) in shapes.items()}
    for i in range(0, rows, 1000):
        part = slice(i * each, (i + 1000) * each)
        maps["data"][part] = rng.poisson(2, 1000 * each) + 1
        some = np.sort(rng.integers(0, columns - each + 1, (1000, each)), axis=1) + np.arange(each)  # all different
        maps["indices"][part] = some.reshape(-1)
    np.save(folder / "indptr.npy", np.arange(rows + 1, dtype=np.int64) * each)
    np.save(folder / "shape.npy", np.array([rows, columns]))
    return folder


def one(path: str, order: str, likelihood: str, steps: int, threads: int) -> dict[str, Any]:
    """Train so many steps on the rows at a path."""
    test = np.zeros((2, load(path, path).train.shape[1]), np.float32 if likelihood == "poisson" else np.uint8)
    how: dict[str, Any] = {
        "binarisation": "none" if likelihood == "poisson" else "dynamic",
        "likelihood": likelihood,
        "order": order,
    }
    config = Config(latent=LATENT, hidden=HIDDEN, **how)
    small = np.zeros((300, test.shape[1]), test.dtype)  # what is compiled, and laid out, is no affair of data
    warm = compiled.steps(State.begun(config, learn(small, config), small), small, threads)
    warm.advance(2)
    result: dict[str, Any] = {}
    with watched(result):
        start = time.perf_counter()
        x = load(path, test, judge=False).train
        state = State.begun(config, learn(x, config), x)
        take = compiled.steps(state, x, threads)
        result["seconds_to_begin"] = round(time.perf_counter() - start, 2)
        take.advance(50)
        start, bounds = time.perf_counter(), take.advance(steps)
        seconds = time.perf_counter() - start
    result |= {"rows": len(x), "columns": x.shape[1], "dtype": str(x.dtype), "order": order, "steps": steps}
    result |= {"microseconds_a_row": round(1e6 * seconds / (steps * config.batch), 2), "bound": float(bounds.mean())}
    return result | {"gb": round(len(x) * x.shape[1] * x.dtype.itemsize / 1e9, 3)}


def apart(path: Path, order: str, likelihood: str = "bernoulli", steps: int = STEPS) -> dict[str, Any]:
    """`one`, in a process of its own."""
    call = f"one({str(path)!r}, {order!r}, {likelihood!r}, {steps}, 1)"
    code = f"import json; from bench.mapped import one; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def mapped(largest: int) -> dict[str, Any]:
    """Bytes of 10³ to `largest` rows; floats, shards and CSR."""
    found: dict[str, Any] = {"bytes": [], "floats": [], "shards": []}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        for rows in (10**k for k in range(3, 9) if 10**k <= largest):
            for order in ("permutation", "keyed", "blocks") if rows <= 10**6 else ("keyed", "blocks"):
                path = at / f"b{rows}" / "0.npy"
                path = path if path.exists() else hollow(at / f"b{rows}", rows, COLUMNS, "u1")
                found["bytes"].append(apart(path, order))
        for rows in (10**4, 10**6):
            found["floats"].append(apart(hollow(at / f"f{rows}", rows, COLUMNS, "f4"), "keyed"))
            found["shards"].append(apart(hollow(at / f"s{rows}", rows, COLUMNS, "u1", 10), "keyed"))
        found["csr"] = apart(counts(at / "csr", 10**5, 20_000, 0.02), "keyed", "poisson", 100)
    return found


def of_mnist(epochs: float, seeds: int) -> list[dict[str, Any]]:
    """Test bounds on MNIST by order, and of the rows sorted by label."""
    from scratchvae.training.evaluate import elbo_over

    mnist, found = load("mnist"), []
    assert mnist.labels is not None
    rows = {"as it is": mnist.train, "sorted": mnist.train[np.argsort(mnist.labels, kind="stable")]}
    cases = [(name, order, orders.MIXED) for name in rows for order in ("permutation", "keyed", "blocks:256")]
    cases += [("sorted", "blocks:6000", 1), ("sorted", "blocks:60000", 0)]  # one digit after another; as they come
    for name, order, mixed in cases:
        for seed in range(seeds):
            orders.MIXED, usual = mixed or orders.MIXED, orders.MIXED
            config = Config(latent=LATENT, hidden=(200,), seed=seed, order=order, epochs=epochs)
            state = State.begun(config, learn(rows[name], config), rows[name])
            take = compiled.steps(state, rows[name])
            if not mixed:
                take.order.rows = lambda epoch, places: places  # type: ignore[method-assign]
            take.advance(round(epochs * take.per_epoch))
            orders.MIXED = usual
            bound = elbo_over(state, mnist.test).elbo
            case = {"rows": name, "order": order, "mixed": mixed, "seed": seed, "test_elbo": round(bound, 3)}
            found.append(case)
            print(json.dumps(case), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """The study, as JSON."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--largest", type=int, default=10**8, help="rows; 10^8 are a file of 40 GB, all holes")
    p.add_argument("--mnist", action="store_true", help="the orders on MNIST instead")
    p.add_argument("--epochs", type=float, default=3)
    p.add_argument("--seeds", type=int, default=2)
    p.add_argument("--out", required=True)
    args = p.parse_args()
    found: Any = of_mnist(args.epochs, args.seeds) if args.mnist else mapped(args.largest)
    Path(args.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
