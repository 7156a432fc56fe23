"""stub"""

from typing import Any

from . import Normal
from .continuous import Beta, Gamma

POSTERIORS: dict[str, Any] = {"normal": Normal, "gamma": Gamma, "beta": Beta}
