"""§7.2.5 Every pair of the Gaussians, flows and mixtures by complex steps: the slips of their backward passes."""

import pytest

from scratchvae.gradcheck.library import Case, gaussians


@pytest.mark.parametrize("case", list(gaussians.cases()), ids=lambda case: case.name)
def test_pair(case: Case) -> None:
    """Catches a lost factor, sign or term of a cotangent, and a root whose complex step is not its slope."""
    assert case.run().verdict == "ok"
