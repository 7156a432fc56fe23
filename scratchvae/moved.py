"""§7 Modules that have moved: an old name imports the module from its new place, with a DeprecationWarning."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

ROOMS = (  # the room they left, the one they came to, and which
    ("kernels", "engine", "cache edges jit products series shuffles tiles vector_math vector_words vectors"),
    ("kernels", "fast", "epilogues layout sparse step"),
    ("training", "data", "arrays files idx mat text"),
)
MOVED = {f"scratchvae.{old}.{name}": f"scratchvae.{new}.{name}" for old, new, names in ROOMS for name in names.split()}
MOVED |= {
    "scratchvae.estimators.verify": "scratchvae.gradcheck.in_expectation",
    "scratchvae.gradcheck.tree": "scratchvae.tree",
    "scratchvae.kernels.importance": "scratchvae.training.sampler",
    "scratchvae.kernels.program": "scratchvae.fast.workspace",
    "scratchvae.kernels.step_backward": "scratchvae.fast.backward",
    "scratchvae.kernels.step_forward": "scratchvae.fast.forward",
    "scratchvae.kernels.separate": "scratchvae.engine.linkable",
    "scratchvae.kernels.sync": "scratchvae.engine.threads",
    "scratchvae.training.cold_start": "scratchvae.engine.cold_start",
    "scratchvae.training.data": "scratchvae.data",
    "scratchvae.training.laboratory": "scratchvae.training.variance_study",
    "scratchvae.training.ledger": "scratchvae.training.bound_report",
    "scratchvae.training.noise": "scratchvae.noise",
}


class Moved:
    """A finder of modules, asked last: where nothing is found under an old name, the module is under the new one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The new module as the old one; None for a name that never was."""
        if name not in MOVED:
            return None
        warnings.warn(f"{name} has moved: import {MOVED[name]}", DeprecationWarning, stacklevel=2)
        return ModuleSpec(name, cast(Any, self))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, not a copy."""
        module = import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has been executed, under its own name, which it keeps."""
        module.__spec__ = module.__spec__ and module.__spec__.loader_state


sys.meta_path.append(Moved())
