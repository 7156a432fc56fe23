"""§7.2 What can go wrong, one class an exit code: each error is one clear line that names the way out."""


class UsageError(ValueError):
    """The call or the command line is wrong (exit 2)."""


class DataError(ValueError):
    """Data or a checkpoint cannot be used (exit 3)."""


class CheckFailed(Exception):
    """A verification ran and found a wrong gradient, bound or number (exit 1)."""
