"""§7.3.1 Published numbers, reproduced: a command for each row, its result as JSON beside it."""

import sys
from collections.abc import Callable

from scratchvae.errors import DataError, UsageError


def one_line(main: Callable[[], int]) -> None:
    """Exit with main's code; bad input is one line and code 2."""
    try:
        sys.exit(main())
    except (UsageError, DataError) as error:
        sys.exit(f"bench.papers: {error}")
