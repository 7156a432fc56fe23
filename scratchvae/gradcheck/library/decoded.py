"""§7.3 A decoder as log p(x | z) and log p(x, z), with S samples for each row; tempered, and of z alone."""

from collections.abc import Iterator
from typing import Any

from ...models.decoded import Decoded
from ...models.joint import Joint
from ...models.vae import LIKELIHOODS, Architecture
from .. import accumulating
from . import Case, at
from .vae import parameters

MODEL: Any = Decoded()
DATA = ("x", "theta.family")
X, Z = abs(at(91, 3, 4)) - 0.5, at(92, 2, 3, 2)


def cases() -> Iterator[Case]:
    """Both densities for each family, x being data; and the slope in z alone, which walks back by itself."""
    for likelihood in LIKELIHOODS:
        _, theta = parameters(Architecture(4, 2, (3,), "tanh", likelihood, variance=0.3), 300)
        for of, model in (("decoded", MODEL), ("tempered", Decoded(power=0.3))):
            for name in ("log_likelihood", "log_joint"):
                f, f_vjp = getattr(model, name), getattr(model, name + "_vjp")
                vjp = lambda w, x, z, p, dp, f_vjp=f_vjp: (None, f_vjp(w, x, z, p, dp))  # noqa: E731
                title, pair = f"{of}.{name}[{likelihood}]", (f, accumulating(vjp, into=(2,)))
                yield Case(title, *pair, (X, Z, theta), constants=DATA)
        joint = Joint(theta)
        alone = lambda w, x, z, joint=joint: (None, joint.log_joint_vjp(w, x, z))  # noqa: E731
        yield Case(f"joint.log_joint[{likelihood}]", joint.log_joint, alone, (X, Z), constants=("x",))
