"""§7.3 The command line: `scratchvae COMMAND …` or `python -m scratchvae COMMAND …`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
