"""§7.2.4 For pytest, by entry point: the fixture `gradcheck`. Unused, it costs the import of this file and no NumPy."""

from typing import Any

import pytest


@pytest.fixture
def gradcheck() -> Any:
    """`scratchvae.gradcheck.assert_vjp`: gradcheck(f, f_vjp, args, control=True) fails with the table of what is
    wrong."""
    from .gradcheck import assert_vjp

    return assert_vjp
