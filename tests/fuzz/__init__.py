"""§7.3 The attack on the readers: mutants of small valid files, each refused in one line or read as it says.

    python -m tests.fuzz --mutants 50000 --parser idx,npy --seed 0 --json out.json

What a reader returns is compared, for every mutant, with a second reading by the format's definition (formats.py);
where the definition has no answer, with what the file held before. No input may take over a second, or 64 MB beyond its
size. Mutants are named by (seed, parser, number) and run in a child process: a death or a hang is a finding as well.
The short version stands in test_attack.py. Exit code 1, and one line for each kind of finding, where something does not
hold.
"""
