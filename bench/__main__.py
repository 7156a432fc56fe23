"""§7.2.5 `python -m bench`: times scratchvae beside the tools a reader would otherwise pick; writes what it found."""

import argparse
import datetime
import json
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from bench import evidence, products, steps
from bench.contest import Plan, run
from bench.peers import DECISIVE, SLOW
from bench.worker import realtime

EPILOG = """
what is timed     steps     whole training steps: gather, binarise, noise, bound, gradient, optimizer
                  evidence  log p(x) of 20 rows by importance sampling, 5000 samples each
                  products  the step's single matrix products
                  machine   the limits: FMA from registers, reading and updating L1, L2, L3 and DRAM
                  startup   process start to the first step done, kernel cache cold and warm, peak memory

cells             a cell is called by what in it is not the VAE by SGVB B with Adam, its parts joined by hyphens:
                  {names}
                  --cells dreg takes all with that part in their name, --cells iw-5 the one of that name, of all cells,
                  whether quick or full. Sizes are chosen by --networks, --batches and --threads.

examples          python -m bench --quick --out bench.json        the cells that decide, in under a minute
                  python -m bench --full --out bench.json --plot roofline.png
                  python -m bench --quick --only steps --leave-out compile
                  python -m bench --cells stl,iw,dreg --out estimators.json
                  python -m bench --cells sgvb_b --batches 100 --threads 2 --busy
                  python -m bench --table bench.json               the markdown table of an earlier run

how to read it    ratio = that contestant's median time / ours, both taken in turn within one run; 2.0 means ours is
                  twice as fast. Ratios of different runs, and microseconds of different machines, do not compare.
"""
CELLS = {"steps": steps, "evidence": evidence, "products": products}
PARTS = ("machine", *CELLS, "startup")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m bench", description=__doc__, epilog=epilog(),
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    size = p.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the cells that decide, under 60 s (default)")
    size.add_argument("--full", action="store_true", help="every cell, under 12 minutes")
    size.add_argument("--table", metavar="FILE", help="print the table of these results and stop")
    p.add_argument("--out", metavar="FILE", help="write the results here as JSON (default: only the table is printed)")
    p.add_argument("--plot", metavar="PNG", help="draw the roofline here (needs matplotlib)")
    p.add_argument("--only", default="", help=f"parts, joined by commas: {', '.join(PARTS)} (default: all; with "
                   "--cells those that have cells)")  # fmt: skip
    p.add_argument("--leave-out", default="", metavar="NAMES", help="contestants whose name contains one of these")
    p.add_argument("--cells", default="", metavar="NAMES", help="cells by name or part of it, joined by commas")
    p.add_argument("--networks", default="", help="time only these, joined by commas")
    p.add_argument("--batches", default="", help="time only these batch sizes, joined by commas")
    p.add_argument("--threads", default="", help="time only these thread counts, joined by commas")
    p.add_argument("--busy", action="store_true", help="another process spins on one processor during the turns")
    p.add_argument("--realtime", action="store_true", help="real-time priority in timed turns (root only)")
    return p


def main(argv: list[str] | None = None) -> int:
    """0 when done, 1 when a contestant computed something else, 2 on wrong usage."""
    options = parser().parse_args(argv)
    from bench import report

    if options.table:
        print(report.markdown(json.loads(Path(options.table).read_text())))
        return 0
    options.only = options.only or ",".join(CELLS if options.cells else PARTS)
    if unknown := set(options.only.split(",")) - set(PARTS):
        print(f"--only got {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if options.plot and "machine" not in options.only.split(","):
        print("--plot needs the machine's limits: add machine to --only", file=sys.stderr)
        return 2
    if strange := set(filter(None, options.cells.split(","))) - {part for name in names() for part in parts(name)}:
        print(f"--cells got {', '.join(sorted(strange))}; expected some of {', '.join(names())}", file=sys.stderr)
        return 2
    if options.busy and options.realtime:
        print("--busy shares a processor and --realtime takes it: give one of them", file=sys.stderr)
        return 2
    found = measure(options)
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n")
    print(report.markdown(found))
    if options.plot:
        report.roofline(found, options.plot)
    return 1 if any(n.startswith("WRONG") for n in found["notes"]) else 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All parts that were asked for, as one JSON object."""
    from bench import startup
    from scratchvae.engine import machine

    start, only = time.perf_counter(), options.only.split(",")
    found: dict[str, Any] = {"date": datetime.date.today().isoformat(), "mode": "full" if options.full else "quick"}
    found |= {"machine": machine.describe(), "versions": [], "notes": [], "rows": []}
    if "machine" in only:
        with realtime(options.realtime):
            found["machine"]["limits"] = machine.limits()
    plan = _plan(options)
    jobs = [job for part in CELLS if part in only for job in CELLS[part].cells(options.full or bool(options.cells))]
    found["rows"], found["versions"], notes = run([job for job in jobs if _wanted(job, options)], plan)
    if options.busy:
        notes.append("busy: another process was spinning on one processor during the turns")
    if options.full:
        notes.append(f"{' and '.join(SLOW)}: slow to build or to run, timed only for {DECISIVE}")
    else:
        notes.append("torch.compile left out of a quick run: its compiler takes half a minute a cell; see --full")
    found["notes"] = notes
    if "startup" in only:
        found["startup"] = startup.measure(options.full, plan)
    found["seconds"] = round(time.perf_counter() - start, 1)
    return found


def epilog() -> str:
    """How to use it, with the names of all cells as they are."""
    lines = textwrap.wrap(", ".join(names()), 98, break_on_hyphens=False)
    return EPILOG.format(names=f"\n{' ' * 18}".join(lines))


def names() -> list[str]:
    """Of all cells, each once."""
    return list(dict.fromkeys(job.name for part in CELLS.values() for job in part.cells(True)))


def parts(name: str) -> set[str]:
    """What --cells may call a cell of this name by."""
    return {name, *name.split("-")}


def _plan(options: argparse.Namespace) -> Plan:
    leave_out = tuple(filter(None, options.leave_out.split(",")))
    if not options.full:
        leave_out += ("compile", "composed")
    seconds, rounds = (0.12, 4) if options.full else (0.06, 4)
    return Plan(seconds, rounds, options.realtime, options.busy, leave_out, _say)


def _wanted(job: Any, options: argparse.Namespace) -> bool:
    if options.cells and not set(options.cells.split(",")) & parts(job.name):
        return False
    limits = ((options.networks, job.network), (options.batches, job.batch), (options.threads, job.threads))
    return all(not wish or str(have) in wish.split(",") for wish, have in limits)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
