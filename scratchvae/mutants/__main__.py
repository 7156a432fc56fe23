"""§7.2 `python -m scratchvae.mutants` says where the judging is: with the tests, which are no part of the package."""

import sys

if __name__ == "__main__":
    print("scratchvae.mutants: the command is `make mutants` in a clone of the repository", file=sys.stderr)
    sys.exit(2)
