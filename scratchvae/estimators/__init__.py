"""§7.2.1-7.2.4 How to differentiate an expectation: every gradient estimator, by name and under one signature.

>>> get("dreg").pathwise, get("vr:0.5").name, get("score_loo").samples
(True, 'vr:0.5', 2)
"""

import math
from collections.abc import Callable

from ..errors import unknown
from . import renyi, score
from .amortised import gradient
from .baselines import score_input, score_mean, score_nvil
from .control_variate import score_cv
from .dreg import dreg
from .frame import Cotangents, Draw, Estimator, Memory, estimate
from .importance import iw
from .leave_one_out import score_loo
from .measure import measure
from .rao_blackwell import score_rb
from .sgvb_a import sgvb_a
from .sgvb_b import sgvb_b
from .sticking import stl

__all__ = ["ESTIMATORS", "Cotangents", "Draw", "Estimator", "Memory", "estimate", "get", "gradient"]

SCORES = (score.score, score.score_kl, score_mean, score_input, score_nvil, score_loo, score_cv, score_rb)
PATHS = (sgvb_a, sgvb_b, stl, iw, dreg, renyi.vr_max)
ESTIMATORS = {e.name: e for e in (*SCORES, measure, *PATHS)}
WITH_NUMBER: dict[str, Callable[[float], Estimator]] = {"vr": renyi.vr, "score_constant": score.constant}


def get(name: str) -> Estimator:
    """The estimator called `name`: one of ESTIMATORS, "vr:ALPHA" or "score_constant:NATS"."""
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    kind, _, text = name.partition(":")
    try:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
        return WITH_NUMBER[kind](number)
    except (KeyError, ValueError):
        raise unknown("estimator", name, [*ESTIMATORS, "vr:ALPHA", "score_constant:NATS"]) from None
