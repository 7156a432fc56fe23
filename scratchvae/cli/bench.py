"""§7.3 `bench`: what this processor can do and how much of it training gets, so that processors can be compared."""

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

from .. import __version__, plots
from ..engine import jit, machine
from ..errors import DataError, UsageError
from ..training import speed
from .common import Commands, check_out, command, say, threads_for, write

FORMAT = 1
NOISY = 0.15  # spread of a cell above which a machine was too busy to be compared
ABOUT = """Measure this processor for a minute: its limits, the products of a dense layer, whole training steps.

limits    GFLOP/s of fused multiply-adds (FMA) that never leave the registers: nothing computes faster here. GB/s of
          reading a buffer that fits L1, L2, L3, and one that does not fit (DRAM; a large L3 is mistaken for it).
products  the three of a layer of 784 x 500 at batch 100, on one thread, as a share of that thread's FMA peak.
steps     whole ones (rows gathered, bits and noise drawn, bound, gradient, Adam) at each network and batch, on one
          thread and on all. Rows are made up, as blank as MNIST's, and the first layer passes over blank pixels:
          GFLOP/s count them as if it did not.

how noisy every figure is the median of nine; spread is how far the middle half of the nine lie apart, as a share of the
          median; least is the quickest. Above 15 % the machine had other work, and --compare refuses.

how to read the roofline (--out FILE.png)
          Across: operations for each byte that must move. Up: GFLOP/s. The flat roof is the FMA peak; the slopes are
          what each memory can feed. A point under a slope waits for memory: small batches, which read all weights and
          Adam's means for a few rows. A point under the flat roof, far to the right, computes; what lacks to the roof
          is what the code leaves unused. A step of batch 1 cannot pass the slope of the cache that holds its weights,
          whoever wrote it."""
EXAMPLES = """examples:  scratchvae bench --out here.json
           scratchvae bench --json
           scratchvae bench --out roofline.png
           scratchvae bench --compare here.json there.json"""


def add(commands: Commands) -> None:
    """Register `bench`."""
    about = "Measure this processor: its limits, and the training steps a second that it takes"
    p = command(commands, "bench", about, EXAMPLES, ABOUT)
    p.set_defaults(run=run)
    p.add_argument("--threads", type=int, help="those of 'all' (default: one a processor)")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")
    p.add_argument("--out", action="append", default=[], metavar="FILE",
                   help=".json: all figures; .png: the roofline (matplotlib); may be given twice")  # fmt: skip
    p.add_argument("--compare", nargs=2, metavar=("A", "B"), help="how many times faster B is, from two JSON files")


def run(args: argparse.Namespace) -> int:
    """Measure and report, or compare."""
    if args.compare:
        print("\n".join(compared(*map(opened, args.compare))))
        return 0
    for out in args.out:
        check_out(out, ".json", ".png")
        if out.endswith(".png"):
            plots.figure((1, 1))  # without matplotlib: now, not after a minute
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"--threads {args.threads}: give 1 or more")
    found = measure(threads_for(args.threads))
    print(json.dumps(found) if args.json else "\n".join(lines(found)))
    for out in args.out:
        if out.endswith(".json"):
            text = json.dumps(found, indent=1) + "\n"
            write(out, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
        else:
            plots.save(plots.plot_roofline(found["machine"], found["rows"], max(threads(found))), out)
            say(f"wrote {out}")
    return 0


def measure(most: int) -> dict[str, Any]:
    """All of it, as one JSON object."""
    start, counts = time.monotonic(), tuple(dict.fromkeys((1, most)))
    if jit.vector_width() == 1:
        raise UsageError("bench measures compiled code, and SCRATCHVAE_VECTOR_WIDTH=1 asks for plain loops: unset it")
    about = machine.describe()
    say("limits: FMA, L1, L2, L3, DRAM")
    about["limits"] = machine.limits(counts)
    rows = [*speed.products(say), *speed.steps(counts, say)]
    return {"format": FORMAT, "scratchvae": __version__, "date": datetime.date.today().isoformat(), "machine": about,
            "rows": rows, "noisiest": max(r["spread"] for r in rows),
            "seconds": round(time.monotonic() - start, 1)}  # fmt: skip


def threads(found: dict[str, Any]) -> list[int]:
    """One, and all."""
    return [int(n) for n in found["machine"]["limits"]]


def lines(found: dict[str, Any]) -> list[str]:
    """For people."""
    m = found["machine"]
    versions = ", ".join(f"{name} {m['packages'][name]}" for name in ("numpy", "numba") if name in m["packages"])
    text = [f"{m['cpu']}, {m['vector_bits']}-bit vectors, {max(threads(found))} of {m['processors']} processors",
            f"{m['system']}; scratchvae {found['scratchvae']}, {versions}; {found['date']}", ""]  # fmt: skip
    for n, limits in m["limits"].items():
        reads = ", ".join(f"{level} {limits[level]['read']:.0f}" for level in ("L1", "L2", "L3", "DRAM"))
        text.append(f"{n} thread{'s' * (n != '1')}: FMA {speed.best(limits):.0f} GFLOP/s; reading, GB/s: {reads}")
    text += ["", f"{'':28} {'batch':>6} {'threads':>8} {'µs':>10} {'least':>10} {'spread':>7} {'steps/s':>9} "
             f"{'GFLOP/s':>8} {'of FMA':>7}"]  # fmt: skip
    for r in found["rows"]:
        share = r["gflops"] / speed.best(m["limits"][str(r["threads"])])
        a_second = f"{r['steps_per_second']:9.1f}" if "steps_per_second" in r else " " * 9
        text.append(f"{r['kind'] + ' ' + r['network']:28} {r['batch']:6} {r['threads']:8} {r['microseconds']:10.1f} "
                    f"{r['least']:10.1f} {r['spread']:7.1%} {a_second} {r['gflops']:8.1f} {share:7.0%}")  # fmt: skip
    if found["noisiest"] > NOISY:
        text += ["", f"noisy: a spread of {found['noisiest']:.0%}; the machine had other work, measure again"]
    return text


def opened(path: str) -> dict[str, Any]:
    """The JSON that --out wrote. Raises DataError for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT or "machine" not in found:
        raise DataError(f"{path} is no file of `scratchvae bench --out FILE.json`, or one of another format")
    return found


def compared(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """How many times faster b is, cell by cell. Raises UsageError where the two are unlike, or one was noisy."""
    if a["scratchvae"] != b["scratchvae"]:
        raise UsageError(f"one is of scratchvae {a['scratchvae']}, the other of {b['scratchvae']}: that would compare "
                         "code, not processors; measure again with one version")  # fmt: skip
    for found in (a, b):
        if found["noisiest"] > NOISY:
            whose = f"{found['machine']['cpu']} of {found['date']}"
            raise UsageError(f"the figures of {whose} spread by {found['noisiest']:.0%}, above {NOISY:.0%}: measure "
                             "again on a quiet machine")  # fmt: skip
    cells = [{(r["kind"], r["network"], r["batch"], r["threads"] > 1): r for r in found["rows"]} for found in (a, b)]
    named = zip("AB", (a, b), strict=True)
    text = [f"{name}  {found['machine']['cpu']}, {max(threads(found))} threads" for name, found in named]
    for cell in (c for c in cells[0] if c in cells[1]):
        one, other = (by[cell] for by in cells)
        ratio, noise = one["microseconds"] / other["microseconds"], one["spread"] + other["spread"]
        said = "alike" if abs(ratio - 1) <= noise else f"B is {ratio:.2f} times as fast"
        which = "all threads" if cell[3] else "1 thread"
        text.append(f"{cell[0]} {cell[1]}, batch {cell[2]}, {which}: {said} (±{noise:.0%})")
    return text
