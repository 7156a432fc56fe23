"""§7.2.4 `python -m scratchvae.gradcheck FILE.py`, as `scratchvae gradcheck FILE.py`."""

import sys

from ..cli import main

if __name__ == "__main__":
    sys.exit(main(["gradcheck", *sys.argv[1:]]))
