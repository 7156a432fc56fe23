"""§7.3 Optimizers against tables worked by hand: three steps of two parameters, every intermediate written out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import close

from scratchvae.errors import UsageError
from scratchvae.kernels import table
from scratchvae.training.optim import AT_ONCE, SLOTS, Optimizer, clip, log_prior, log_prior_vjp
from scratchvae.types import Array

G = np.array([[1.0, -2.0], [3.0, 0.0], [-1.0, 4.0]])  # three gradients of two parameters
KERNELS = pytest.mark.parametrize("k", [table("numpy"), table("numba")], ids=["numpy", "numba"])


def steps(optimizer: Optimizer, k: Any, theta: Array, gradients: Array, rate: float) -> list[Array]:
    """θ after each step."""
    theta, slots, path = theta.copy(), np.zeros((len(optimizer.slots), theta.size), theta.dtype), []
    for t, g in enumerate(gradients, start=1):
        optimizer.update(theta, g.astype(theta.dtype), slots, t, rate, k)
        path.append(theta.copy())
    return path


@KERNELS
def test_adam_by_hand(k: Any) -> None:
    """Kingma & Ba, Algorithm 1, with α = 0.1, β₁ = ¼, β₂ = ¾, ε = 0.25 and θ₀ = (0, 1).

    Catches a bias correction that is computed and not used (y0ast), a decay in the wrong convention (nips14-ssl), a
    second moment that starts at one (IWAE), ε inside the root, and a step counter that runs per parameter (tinygrad).
    """
    # t  g          m = ¼ m + ¾ g           v = ¾ v + ¼ g²       m̂ = m/(1−¼ᵗ)              v̂ = v/(1−¾ᵗ)
    # 1  ( 1, −2)   ( 0.75    , −1.5    )   (0.25    , 1     )   /¾:     ( 1  , −2   )     /¼:     ( 1     ,  4     )
    # 2  ( 3,  0)   ( 2.4375  , −0.375  )   (2.4375  , 0.75  )   /15/16: ( 2.6, −0.4 )     /7/16:  ( 39/7  ,  12/7  )
    # 3  (−1,  4)   (−0.140625,  2.90625)   (2.078125, 4.5625)   /63/64: (−1/7, 62/21)     /37/64: ( 133/37,  292/37)
    #
    # t  α m̂/(√v̂ + ε)
    # 1  ( 0.1/1.25                   , −0.2/2.25                  )   (β₁ = ½ would hide 1 − β₁ taken for β₁)
    # 2  ( 0.26/(2.3603873+¼)         , −0.04/(1.3093073+¼)        )
    # 3  (−0.01428571/(1.8959396+¼)   ,  0.2952381/(2.8092511+¼)   )
    optimizer = Optimizer("adam", beta1=0.25, beta2=0.75, epsilon=0.25)
    path = steps(optimizer, k, np.array([0.0, 1.0]), G, 0.1)
    close(path[0], np.array([0.1 / 1.25, 1 - 0.2 / 2.25]))
    close(path[1], path[0] + 0.1 * np.array([2.6 / (math.sqrt(39 / 7) + 0.25), -0.4 / (math.sqrt(12 / 7) + 0.25)]))
    third = np.array([-1 / 7 / (math.sqrt(133 / 37) + 0.25), 62 / 21 / (math.sqrt(292 / 37) + 0.25)])
    close(path[2], path[1] + 0.1 * third)


@KERNELS
def test_adams_first_step_is_the_learning_rate(k: Any) -> None:
    """m̂/√v̂ = sign g whatever its size, at the paper's settings: catches every missing bias correction at a glance."""
    (theta,) = steps(Optimizer("adam"), k, np.zeros(3), np.array([[1e-3, -1.0, 1e4]]), 1e-3)
    close(theta, 1e-3 * np.array([1.0, -1.0, 1.0]), 1e-7)


@KERNELS
def test_adam_may_forget_at_once(k: Any) -> None:
    """β₁ = β₂ = 0: each step is α sign g. Catches v + (1 − β₂)(g² − v), 0 in float32 for a small g after a large."""
    optimizer = Optimizer("adam", beta1=0.0, beta2=0.0)
    first, second = steps(optimizer, k, np.zeros(1, "float32"), np.array([[1e2], [1e-2]]), 0.1)
    close(np.array([*first, *(second - first)]), np.array([0.1, 0.1]), 1e-3)


@KERNELS
def test_adamw_by_hand(k: Any) -> None:
    """Adam's step minus α λ θ with the θ before the step: catches decay that went through the moments (L2 in g)."""
    plain = steps(Optimizer("adam", beta1=0.5, beta2=0.75, epsilon=0.25), k, np.array([0.0, 1.0]), G, 0.1)
    decayed = steps(Optimizer("adamw", beta1=0.5, beta2=0.75, epsilon=0.25, decay=0.2), k, np.array([0.0, 1.0]), G, 0.1)
    # θ₁ = θ₁ᴬ − 0.1·0.2·(0, 1);   the moments do not see the decay, so the increments of Adam return
    close(decayed[0], plain[0] - 0.02 * np.array([0.0, 1.0]))
    close(decayed[1], decayed[0] + (plain[1] - plain[0]) - 0.02 * decayed[0])
    close(decayed[2], decayed[1] + (plain[2] - plain[1]) - 0.02 * decayed[1])


@KERNELS
def test_adagrad_by_hand(k: Any) -> None:
    """G = Σ g², never forgotten: catches a mean, a decay, and ε inside the root. α = 0.1, ε = 0.25."""
    # t  g          G          √G + ε               θ
    # 1  ( 1, −2)   ( 1,  4)   ( 1.25   , 2.25   )  ( 0 + 0.1/1.25,             1 − 0.2/2.25 )
    # 2  ( 3,  0)   (10,  4)   (√10+¼   , 2.25   )  ( θ + 0.3/(√10 + ¼),        θ + 0        )
    # 3  (−1,  4)   (11, 20)   (√11+¼   , √20+¼  )  ( θ − 0.1/(√11 + ¼),        θ + 0.4/(√20 + ¼) )
    path = steps(Optimizer("adagrad", epsilon=0.25), k, np.array([0.0, 1.0]), G, 0.1)
    close(path[0], np.array([0.08, 1 - 0.2 / 2.25]))
    close(path[1], path[0] + np.array([0.3 / (math.sqrt(10) + 0.25), 0]))
    close(path[2], path[1] + np.array([-0.1 / (math.sqrt(11) + 0.25), 0.4 / (math.sqrt(20) + 0.25)]))


@KERNELS
def test_momentum_by_hand(k: Any) -> None:
    """u = ½ u + g, θ = θ + 0.1 u: catches (1 − μ) g, Nesterov's look ahead, and descent in place of ascent."""
    # t  g          u                  θ
    # 1  ( 1, −2)   ( 1   , −2  )      (0.1  , 0.8 )
    # 2  ( 3,  0)   ( 3.5 , −1  )      (0.45 , 0.7 )
    # 3  (−1,  4)   ( 0.75,  3.5)      (0.525, 1.05)
    path = steps(Optimizer("sgd", momentum=0.5), k, np.array([0.0, 1.0]), G, 0.1)
    close(np.array(path), np.array([[0.1, 0.8], [0.45, 0.7], [0.525, 1.05]]))


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numba_is_numpy(name: str, dtype: str) -> None:
    """Over ten steps, since an error of the moments shows late; and no slot or parameter changes its type."""
    rng = np.random.default_rng(2)
    theta, g = rng.standard_normal(7).astype(dtype), rng.standard_normal((10, 7)).astype(dtype)
    paths = [steps(Optimizer(name), table(kernels), theta, g, 0.01) for kernels in ("numpy", "numba")]
    for plain, fast in zip(*paths, strict=True):
        assert plain.dtype == fast.dtype == np.dtype(dtype)
        close(fast, plain, {"float32": 1e-6, "float64": 1e-14}[dtype])


@KERNELS
@pytest.mark.parametrize("name", SLOTS)
def test_parts_change_nothing(name: str, k: Any) -> None:
    """Catches parameters that two parts step twice or none does, and a clip of each part by itself: the same bits."""
    rng, P = np.random.default_rng(3), 2 * AT_ONCE + 5
    theta, gradients = rng.standard_normal(P), rng.standard_normal((2, P))
    ours, at_once = steps(Optimizer(name, clip=9.0), k, theta, gradients, 0.1), theta.copy()
    slots = np.zeros((len(SLOTS[name]), P))
    for t, g in enumerate(gradients, start=1):
        clip(g, 9.0)
        Optimizer(name).update_part(at_once, g, slots, t, 0.1, k)
    np.testing.assert_array_equal(ours[-1], at_once)


@KERNELS
@pytest.mark.parametrize("name", SLOTS)
def test_torch_agrees(name: str, k: Any) -> None:
    """torch.optim minimises −L: the same path (its Adagrad puts ε where we do)."""
    torch = pytest.importorskip("torch")
    kinds: dict[str, Any] = {
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, eps=1e-8),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    }
    rng = np.random.default_rng(4)
    theta, gradients = rng.standard_normal(5), rng.standard_normal((20, 5))
    theirs = torch.tensor(theta, requires_grad=True)
    optimizer = kinds[name]([theirs])
    ours = steps(Optimizer(name, decay=0.1), k, theta, gradients, 0.01)
    for mine, g in zip(ours, gradients, strict=True):
        theirs.grad = torch.tensor(-g)
        optimizer.step()
        close(mine, theirs.detach().numpy(), 1e-12)


@pytest.mark.parametrize("name", SLOTS)
def test_it_climbs(name: str) -> None:
    """Uphill to the maximum of −½ ‖θ − 1‖²: catches a sign that two errors cancel."""
    optimizer, theta = Optimizer(name, decay=0.0), np.zeros(2)
    slots = np.zeros((len(optimizer.slots), 2))
    for t in range(1, 1001):
        optimizer.update(theta, 1 - theta, slots, t, 0.05)
    close(theta, np.ones(2), 1e-3)


@given(seed=st.integers(0, 10**6), size=st.floats(-6, 6), most=st.floats(1e-3, 1e3))
def test_clipping_shortens_and_turns_nothing(seed: int, size: float, most: float) -> None:
    """‖g‖ ≤ c after, g / ‖g‖ as before, what was short enough the same bits: catches clipping by value, by the largest
    entry, by c / ‖g‖² and of what is within bounds."""
    g = 10**size * np.random.default_rng(seed).standard_normal(9)
    found, norm = g.copy(), np.linalg.norm(g)
    clip(found, most)
    assert np.linalg.norm(found) == pytest.approx(min(norm, most), rel=1e-12)
    close(found / np.linalg.norm(found), g / norm, 1e-12)
    assert norm > most or found.tobytes() == g.tobytes()


@pytest.mark.parametrize("name", SLOTS)
def test_a_clipped_step_is_the_step_of_a_clipped_gradient(name: str) -> None:
    """Slots see the clipped one too: catches clipping that comes after the moments, and a clip that nobody hears."""
    theta, c = np.array([0.5, 1.0]), 1.7
    short = np.array([g * min(1, c / np.linalg.norm(g)) for g in G])
    assert 0 < np.count_nonzero(short != G) < 6
    ours = steps(Optimizer(name, clip=c), table("numpy"), theta, G, 0.1)
    theirs = steps(Optimizer(name), table("numpy"), theta, short, 0.1)
    close(np.array(ours), np.array(theirs), 1e-13)
    assert not np.allclose(ours[-1], steps(Optimizer(name), table("numpy"), theta, G, 0.1)[-1])


def test_torch_clips_the_same() -> None:
    torch = pytest.importorskip("torch")
    for g in G:
        theirs, ours = torch.zeros(2), g.copy()
        theirs.grad = torch.tensor(g).float()
        torch.nn.utils.clip_grad_norm_([theirs], 1.5)
        clip(ours, 1.5)
        close(ours, theirs.grad.numpy(), 1e-5)  # theirs adds 1e-6 to the norm


def test_weight_decay_as_map() -> None:
    """log p(θ)/N for p(θ) = N(0, I) beside a bound in nats per datapoint: catches λ‖θ‖² without its ½ or its 1/N."""
    theta, dtheta = np.array([3.0, -4.0]), np.array([1.0, 1.0])
    assert log_prior(theta, 100) == pytest.approx(-0.125)  # −½ · 25 / 100
    log_prior_vjp(2.0, theta, 100, dtheta)
    close(dtheta, np.array([1 - 0.06, 1 + 0.08]))  # added; 2 · (−θ / 100)


def test_schedules() -> None:
    """Catches factors that multiply up, a milestone one epoch late, and a cosine that rises again."""
    step = Optimizer(learning_rate=0.2, schedule="step", milestones=((10, 0.1), (20, 0.01)))
    assert [step.rate(e, 30) for e in (0, 9.99, 10, 19, 20, 29)] == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002, 0.002])
    assert Optimizer(learning_rate=0.2, schedule="step", milestones=((20, 0.01), (10, 0.1))) == step
    cosine = Optimizer(learning_rate=0.2, schedule="cosine")
    assert [cosine.rate(e, 10) for e in (0, 5, 10, 11)] == pytest.approx([0.2, 0.1, 0, 0])
    assert Optimizer(learning_rate=0.2).rate(7, 10) == 0.2


def test_what_is_kept() -> None:
    """Milestones as a sorted tuple of pairs of floats, whatever list a config gave, and slots in the order of their
    names: catches m and v exchanged in a checkpoint."""
    optimizer = Optimizer(beta1=0.25, beta2=0.75, schedule="step", milestones=[[20, 0], [10, 1]])  # type: ignore[arg-type]
    assert repr(optimizer.milestones) == "((10.0, 1.0), (20.0, 0.0))"
    slots = np.zeros((2, 2))
    optimizer.update(np.zeros(2), G[0], slots, 1, 0.1)
    close(slots, np.array([0.75 * G[0], 0.25 * G[0] ** 2]))
    assert type(log_prior(G[0].astype("float32"), 5)) is float


@pytest.mark.parametrize(("options", "words"), [
    ({"name": "lion"}, "optimizer 'lion' is unknown: give one of adam"),
    ({"schedule": "linear"}, "schedule 'linear' is unknown"),
    ({"schedule": "step"}, "step schedule and its milestones go together"),
    ({"milestones": ((1, 0.1),)}, "step schedule and its milestones go together"),
    ({"learning_rate": 0.0}, "learning_rate > 0"),
    ({"beta1": 1.0}, "beta1, beta2 < 1"),
    ({"beta2": -0.1}, "beta1, beta2 < 1"),
    ({"epsilon": 0.0}, "epsilon > 0"),
    ({"epsilon": 1e-40}, "may count as 0"),
    ({"clip": -1.0}, "largest norm that a gradient may have"),
])  # fmt: skip
def test_optimizer_refuses(options: dict[str, Any], words: str) -> None:
    """Catches a hyperparameter that would divide by zero at the first step."""
    with pytest.raises(UsageError, match=words):
        Optimizer(**options)
