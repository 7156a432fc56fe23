"""§7.3 The attack on runs: kills, single faults of the disk, two processes in one folder, a reader beside a writer, a
damaged cache of compiled code. What must hold: nothing lost, nothing wrong loaded, no traceback.

    python -m tests.crash --kills 500 --faults 1000 --pairs 20 --loads 10000 --cache-flips 200 --seed 0 --json out.json

The last whole attack is in report.json, made by this command in two halves, --kills with --cache-flips and
the rest, side by side on a busy machine of two cores.

The commands run in forked children of one process, so that a start costs milliseconds. The short version stands in
test_attack.py. Exit code 1, and one line for each kind of finding, where something does not hold.
"""
