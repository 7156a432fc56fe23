"""§7 The learner's code in a process of its own, with a time limit: `python -m scratchvae.exercises.sandbox 7 FILE`.

The verdict is the process's last line, as JSON; what the code prints goes to stderr.
"""

import contextlib
import json
import subprocess
import sys

from .course import find
from .record import Exercise
from .verdict import Verdict, judge

LIMIT = 60  # seconds


def judged(exercise: Exercise, path: str, limit: float = LIMIT) -> Verdict:
    """The verdict on a file, however its code ends."""
    command = [sys.executable, "-m", __name__, str(exercise.number), path]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=limit, text=True)
    except subprocess.TimeoutExpired:
        return Verdict(
            exercise.number, False, (f"it did not end within {limit:.0f} s: is there a loop without an end?",)
        )
    if done.returncode == -2:
        raise KeyboardInterrupt
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Verdict(exercise.number, False, (f"its process ended with {done.returncode}, before the verdict",))
    return Verdict(found["number"], found["passed"], tuple(found["lines"]))


def main(number: str, path: str) -> None:
    """Judge, and print the verdict."""
    with contextlib.redirect_stdout(sys.stderr):
        verdict = judge(find(number), path)
    print(json.dumps(verdict._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
