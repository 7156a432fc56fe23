"""§7.3 The attack on the readers: mutants of small valid files, each refused in one line or read as it says.

    python -m tests.fuzz --mutants 50000 --parser idx,npy --seed 0 --json out.json

What a reader returns is compared, for every mutant, with a second reading by the format's definition (formats.py);
where the definition has no answer, with what the file held before. No input may take over a second, or 64 MB beyond
its size; a reader of packed files may take besides what it allows them (data/idx.py), and the report counts such
inputs as "beyond". Mutants are named by (seed, parser, number) and run in a child process: a death or a hang is a
finding as well. Exit code 1, and one line for each kind of finding, where something does not hold.

What the last whole attack found is in report.json, made by `--mutants 50000`, a process for each parser: "read" are the
mutants that were still files, "slowest" is in seconds of CPU, "largest" in MB. The short version stands in
test_attack.py.
"""
