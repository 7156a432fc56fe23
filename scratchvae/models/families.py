"""§7.2.5 Families for q beyond independent latents, under the names they had here until 2026-11."""

from ..distributions.discrete import Categorical as Categorical
from ..distributions.gaussians import FullNormal as FullNormal
