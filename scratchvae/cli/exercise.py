"""§7 `scratchvae exercise`: write the backward passes yourself, and have them proved."""

import argparse
import json
import sys
import time
from typing import Any

from ..errors import UsageError
from .common import Commands, command

HELP = "Write the backward passes yourself: a stub, its proof, hints"
DESCRIPTION = """\
Without a number: the list. With one (or its name) the stub goes into the folder, and is never overwritten; write what
is missing, and --check proves it: slopes, and laws that no slope sees. The verdict says where, both numbers, and the
kind of slip, never the repair. Your code runs in a process of its own, for at most a minute. Each has a lesson beside
it, docs/lessons/NN-*.md; number 11 is a hunt: six VAEs, one error each, and which check finds it.

Exit status: 0 fine; 1 if the check fails, or with --json if one in the folder does."""
EXAMPLES = """\
examples:
  scratchvae exercise                 what there is, what is done, what is next
  scratchvae exercise 7               writes exercises/e07_sample.py
  scratchvae exercise 7 --check       the verdict; --watch gives it again at each save, until Ctrl-C
  scratchvae exercise 7 --hint        a hint; a stronger one the second time
  scratchvae exercise 7 --solution    after passing
  scratchvae exercise --json --folder handed-in/anna    for a class: every file checked, one JSON object"""
LOOK = 0.3  # seconds between two looks at a file that is watched


def add(commands: Commands) -> None:
    """Register the command with argparse."""
    parser = command(commands, "exercise", HELP, EXAMPLES, DESCRIPTION)
    parser.add_argument(
        "which", nargs="?", metavar="N", help="its number, its name or its file: 7, sample, e07_sample.py"
    )
    parser.add_argument("--folder", default="exercises", help="where your files are (default: exercises)")
    ask = parser.add_mutually_exclusive_group()
    ask.add_argument("--check", action="store_true", help="prove what you wrote")
    ask.add_argument("--watch", action="store_true", help="prove it again at each save, until Ctrl-C")
    ask.add_argument("--hint", action="store_true", help="a hint; a stronger one the second time")
    ask.add_argument("--solution", action="store_true", help="ours, once yours has passed")
    ask.add_argument("--reset", action="store_true", help="write the stub anew; what you had is kept beside it")
    parser.add_argument(
        "--json", action="store_true", help="the verdicts as JSON: of this one, or of all in the folder"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; 1 where a check fails."""
    from ..exercises.course import COURSE, find
    from ..exercises.folder import Folder

    folder = Folder(args.folder)
    if args.json and (asked := next((o for o in ("watch", "hint", "solution", "reset") if getattr(args, o)), None)):
        raise UsageError(f"--json gives verdicts: ask for --{asked} without it")
    if args.which is None:
        if asked := next((o for o in ("check", "watch", "hint", "solution", "reset") if getattr(args, o)), None):
            raise UsageError(f"--{asked} of which exercise? scratchvae exercise 7 --{asked}")
        return as_json(folder, COURSE) if args.json else listed(folder, COURSE)
    exercise = find(args.which)
    if args.json:
        return as_json(folder, [exercise])
    if args.watch:
        return watched(folder, exercise)
    if args.check:
        return said(folder, exercise)
    if args.hint:
        number, hint = folder.hint(exercise)
        print(f"hint {number} of {len(exercise.hints)}: {hint}")
    elif args.solution:
        if folder.state(exercise) != "passed":
            raise UsageError(f"exercise {exercise.number} has not passed yet: --check it first, --hint helps")
        print(exercise.solution, end="")
    else:
        begin(folder, exercise, args.reset)
    return 0


def listed(folder: Any, course: Any) -> int:
    """One line an exercise."""
    states = [folder.state(one) for one in course]
    for one, state in zip(course, states, strict=True):
        print(f"{one.number:3}  {one.name:<12} {state:<24} {one.section:<7} {one.title}")
    print(f"{states.count('passed')} of {len(course)} passed, fifteen minutes each; files in {folder.path}/")
    following = next((one for one, state in zip(course, states, strict=True) if state != "passed"), None)
    print(f"next: {folder.words(following)}" if following else "all done")
    return 0


def begin(folder: Any, exercise: Any, anew: bool) -> None:
    """Write the stub, and say what is to be done."""
    kept = folder.reset(exercise) if anew else None
    written = anew or folder.write(exercise)
    if kept:
        print(f"what you had is in {kept}")
    print(f"{exercise.number} · {exercise.title} ({exercise.section}, docs/lessons/{exercise.file[1:3]}-*.md)")
    *most, last = exercise.writes
    names = f"{', '.join(most)} and {last}" if most else last
    print(f"write {names} in {folder.file(exercise)}{'' if written else ', which is there'}")
    if exercise.extras:
        print(f"with it: {', '.join(exercise.extras)}")
    print(f"then: {folder.words(exercise, '--check')}")


def said(folder: Any, exercise: Any) -> int:
    """Check, and print the verdict."""
    verdict = folder.check(exercise)
    print("\n".join(verdict.lines))
    if verdict.passed:
        print(f"passed; {folder.words(exercise, '--solution')} shows ours")
    return 0 if verdict.passed else 1


def watched(folder: Any, exercise: Any) -> int:
    """Check at each save; 0 once it passes."""
    path = folder.file(exercise)
    seen = None
    while True:
        now = path.stat().st_mtime_ns if path.exists() else seen  # an editor may take it away for a moment
        if now != seen or now is None:
            seen = now
            print(f"── {time.strftime('%H:%M:%S')} {path}", flush=True)
            if said(folder, exercise) == 0:
                return 0
            sys.stdout.flush()
        time.sleep(LOOK)


def as_json(folder: Any, course: Any) -> int:
    """Every file in the folder checked, for a teacher's table. Raises UsageError where there is no folder."""
    if not folder.path.is_dir():
        raise UsageError(f"there is no folder {folder.path}: name the one that holds the files")
    found = [folder.check(one)._asdict() if folder.file(one).exists() else None for one in course]
    rows = [
        {
            "number": one.number,
            "name": one.name,
            "passed": bool(v and v["passed"]),
            "lines": list(v["lines"]) if v else [],
        }
        for one, v in zip(course, found, strict=True)
    ]
    print(json.dumps({"folder": str(folder.path), "passed": sum(r["passed"] for r in rows), "exercises": rows}))
    return 0 if all(row["passed"] for row in rows) else 1
