"""§7.3 Everything that a run may want compiled, compiled at once."""

import numpy as np

from ..noise import Purpose
from .compiled import Compiled
from .config import Config
from .optim import Optimizer
from .sampler import Evaluator
from .state import State


def warmup(dtype: str = "float32") -> None:
    """Compile the schedule's jobs for parameters of this type, or load them: for all models, estimators and data."""
    for estimator, clip in (("sgvb_b", 0.0), ("measure", 1.0)):  # the second wants what few do
        config = Config(latent=1, hidden=(1,), dtype=dtype, estimator=estimator, optimizer=Optimizer(clip=clip))
        state = State(config, 1)
        Compiled(state, np.zeros((2, 1), np.uint8)).compile()
    for draw in (state.noise.normals, state.noise.uniforms):
        draw(Purpose.EVALUATE, 0, 1, 1, dtype)
    evaluator = Evaluator(state)
    evaluator.log_likelihood(np.zeros((1, 1), dtype), 1, np.zeros(1, np.uint32))
    evaluator.bound(np.zeros((1, 1), dtype), 1, 0, np.zeros(1, np.uint32))
