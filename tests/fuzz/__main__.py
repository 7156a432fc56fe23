"""§7.3 The mutants tried in child processes, and their report."""

import argparse
import contextlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from scratchvae.data import idx
from scratchvae.errors import DataError, UsageError

from . import __doc__ as about
from .corpus import MAKERS, Parser
from .formats import MustRefuse
from .mutants import mutated

SECONDS, MEGABYTES, HANG = 1.0, 64, 20  # CPU and growth that an input may cost; seconds till it counts as a hang
ROOM = 8 << 30  # bytes of addresses: whoever asks for more gets a MemoryError, and the machine lives on


def mutant(parser: Parser, name: str, seed: int, i: int) -> bytes:
    """Number i; number 0 is the bomb, as it is."""
    if i == 0 and parser.bomb:
        return parser.bomb()
    rng = random.Random(f"{seed} {name} {i}")
    one, other = rng.choice(parser.seeds), rng.choice(parser.seeds)
    if one.inner and rng.random() < 0.5:
        return one.wrap(mutated(one.inner, other.inner, rng))
    return mutated(one.raw, other.raw, rng)


class Tried(NamedTuple):
    """What one input did: the kind of finding or "", whether it was read, and its cost."""

    finding: str
    read: bool
    seconds: float
    megabytes: float
    beyond: bool  # over MEGABYTES beyond its size, as a reader of packed files may


def attempt(parser: Parser, raw: bytes, judged: bool = True) -> Tried:
    path = Path(parser.file)
    path.write_bytes(raw)
    signal.alarm(HANG)
    memory, began, finding, value, spoken = peak(reset=True), time.process_time(), "", None, list[str]()
    warnings.showwarning = lambda message, *rest: spoken.append(str(message))
    try:
        value = parser.read(path)
    except (DataError, UsageError) as error:
        if len(str(error).splitlines()) != 1:
            finding = "an error of more than one line"
    except BaseException as error:
        at = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(at) if "/scratchvae/" in frame.filename), at[-1])
        finding = f"{type(error).__name__} at {place.filename.rpartition('/scratchvae/')[2]}:{place.lineno}"
    seconds, grown = time.process_time() - began, peak() - memory
    signal.alarm(0)
    usual = MEGABYTES + len(raw) / 1e6
    stated = max(idx.FLOOR, idx.RATIO * len(raw)) / 1e6 if parser.packed else 0.0
    if seconds > SECONDS or grown > usual + stated:
        finding = finding or f"over {SECONDS:g} s or {MEGABYTES} MB"
    if spoken and not finding:
        finding = f"a warning: {spoken[0].splitlines()[0][:80]}"
    if value is not None and judged and not finding:
        finding = wrong(parser, raw, value)
    return Tried(finding, value is not None, seconds, grown, grown > usual)


def wrong(parser: Parser, raw: bytes, value: Any) -> str:
    try:
        return "" if parser.judge(raw, value) else "wrong value"
    except MustRefuse:
        return "read, and should be refused"
    except Exception:  # no answer: then nothing that matters may have changed
        return "" if any(parser.judge(seed.raw, value) for seed in parser.seeds) else "read, and is no such file"


def peak(reset: bool = False) -> float:
    """The largest resident size since the last reset, in 10^6 bytes (where the system cannot reset: since ever)."""
    if reset:
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def smaller(parser: Parser, raw: bytes, finding: str) -> bytes:
    """A shorter input with the same finding: pieces are left out as long as it stays, in 400 trials at most."""
    size, trials = len(raw) // 2, 400
    while size and trials > 0:
        for at in range(0, len(raw), size):
            trials -= 1
            if trials > 0 and attempt(parser, raw[:at] + raw[at + size :]).finding == finding:
                raw = raw[:at] + raw[at + size :]
        size //= 2
    return raw


def work(parser: Parser, name: str, seed: int, numbers: range, at: Any, out: str) -> None:
    """Try the mutants, `at` saying which; each finding is a line of the file `out`, and so is the sum in the end."""
    warnings.simplefilter("always")
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, resource.RLIM_INFINITY))
    seen, read, beyond, slowest, largest = set[str](), 0, 0, 0.0, 0.0
    with open(out, "a", encoding="utf-8", buffering=1) as lines:
        for i in numbers:
            at[:8] = struct.pack("<q", i)
            raw = mutant(parser, name, seed, i)
            tried = attempt(parser, raw, judged=i > 0 or parser.bomb is None)
            read, slowest, largest = read + tried.read, max(slowest, tried.seconds), max(largest, tried.megabytes)
            beyond += tried.beyond
            if tried.finding:
                quick = tried.finding not in seen and tried.seconds < 0.1
                small = smaller(parser, raw, tried.finding) if quick else raw
                seen.add(tried.finding)
                lines.write(json.dumps({"finding": tried.finding, "number": i, "hex": small.hex()[:20_000]}) + "\n")
            if i % 1000 == 0 or i == numbers[-1]:
                costs = {"slowest": round(slowest, 3), "largest": round(largest, 1)}
                lines.write(json.dumps({"read": read, "beyond": beyond, **costs}) + "\n")
                read = beyond = 0


def fuzz(name: str, parser: Parser, mutants: int, seed: int) -> dict[str, Any]:
    """All mutants of one parser, in a child; after a death the next child goes on."""
    for one in parser.seeds:
        assert attempt(parser, one.raw).finding == "", f"{name}: a valid file is misread"
    at, first, findings, began = mmap.mmap(-1, 8), 0, dict[str, dict[str, Any]](), time.monotonic()
    Path("found").unlink(missing_ok=True)

    def found(what: str, number: int, text: str) -> None:
        kind = findings.setdefault(what, {"finding": what, "count": 0, "number": number, "hex": text})
        kind["count"] += 1

    while first < mutants:
        if not (child := os.fork()):
            code = 1
            try:
                work(parser, name, seed, range(first, mutants), at, "found")
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code > 0:
            raise RuntimeError(f"{name}: the harness itself failed")
        number = struct.unpack("<q", at[:8])[0]
        if code < 0:
            what = f"hang, over {HANG} s" if code == -signal.SIGALRM else f"death by {signal.Signals(-code).name}"
            found(what, number, mutant(parser, name, seed, number).hex()[:20_000])
        first = number + 1
    sums = {"read": 0, "beyond": 0, "slowest": 0.0, "largest": 0.0}
    for line in map(json.loads, Path("found").read_text("utf-8").splitlines()):
        if "finding" in line:
            found(line["finding"], line["number"], line["hex"])
        else:
            costs = {key: max(sums[key], line[key]) for key in ("slowest", "largest")}
            sums = {**{key: sums[key] + line[key] for key in ("read", "beyond")}, **costs}
    seconds = round(time.monotonic() - began, 1)
    return {"parser": name, "mutants": mutants, **sums, "seconds": seconds, "findings": list(findings.values())}


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser("tests.fuzz", description=about, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--mutants", type=int, default=1000, help="of each parser")
    p.add_argument("--parser", default=",".join(MAKERS), help="several, with commas between (default: all)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--no-bombs", action="store_true", help="leave out the few large inputs")
    p.add_argument("--json", help="file of the report")
    args = p.parse_args(argv)
    out, reports = os.path.abspath(args.json) if args.json else None, []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        os.chdir(folder)
        for name, parser in ((name, MAKERS[name]()) for name in args.parser.split(",")):
            parser = parser._replace(bomb=None) if args.no_bombs else parser
            reports.append(report := fuzz(name, parser, args.mutants, args.seed))
            findings = report["findings"]
            print({key: value for key, value in report.items() if key != "findings"}, len(findings), "findings")
            for kind in findings:
                print(f"    {kind['count']} x {kind['finding']}    [number {kind['number']}: {kind['hex'][:60]}]")
        os.chdir("/")
    if out:
        Path(out).write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    return 1 if any(report["findings"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
