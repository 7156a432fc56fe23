"""The compiled step against the composition of the pairs: likelihood, depth, size, width, threads, and how it ends."""

import _thread
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_steps import blank, grey, mixed, same_steps, start

from scratchvae.engine import products
from scratchvae.estimators import ESTIMATORS
from scratchvae.fast.sparse import FEWEST
from scratchvae.fast.workspace import FEW_ROWS
from scratchvae.training import compiled
from scratchvae.training.compiled import Compiled, steps
from scratchvae.training.objective import Diverged
from scratchvae.training.optim import SMALLEST
from scratchvae.training.sampler import Evaluator
from scratchvae.training.state import Steps
from scratchvae.training.warmup import warmup
from scratchvae.tree import unchanged
from scratchvae.types import Array


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed"])
@pytest.mark.parametrize("hidden", [(33,), (40, 17), (9, 64, 31)])
@pytest.mark.parametrize("batch", [13, FEW_ROWS])
def test_equals_the_composition(dtype: str, likelihood: str, hidden: tuple[int, ...], batch: int) -> None:
    how = "dynamic" if likelihood == "bernoulli" else "none"
    options: dict[str, Any] = {"binarisation": how, "likelihood": likelihood, "hidden": hidden, "variance": 0.01}
    same_steps(grey(50, 37), dtype=dtype, latent=5, batch=batch, **options)


@pytest.mark.parametrize("estimator", ["sgvb_b", "iw"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("samples", "batch", "hidden"), [(1, 9, (12,)), (3, 7, ()), (5, 20, (33, 17)), (50, 12, (8,)), (300, 3, (8,))]
)
def test_several_samples_and_importance_weights(
    estimator: str, dtype: str, samples: int, batch: int, hidden: tuple[int, ...]
) -> None:
    """Any S, micro-batches among them (50 x 12 are more than fit, of 300 one row): mean of samples, or shares."""
    same_steps(blank(47, 40), dtype=dtype, estimator=estimator, samples=samples, batch=batch, latent=6, hidden=hidden)


@pytest.mark.parametrize("batch", [10, FEW_ROWS // 4])
def test_importance_weights_with_two_heads(batch: int) -> None:
    gaussian: dict[str, Any] = {"binarisation": "none", "likelihood": "gaussian", "variance": 0.01, "dtype": "float64"}
    same_steps(grey(30, 21), estimator="iw", samples=4, latent=35, hidden=(9,), batch=batch, **gaussian)


@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "elu", "softplus", "sigmoid", "identity"])
def test_every_activation(activation: str) -> None:
    same_steps(grey(40, 21), dtype="float64", latent=3, hidden=(18, 7), batch=20, activation=activation)


@pytest.mark.parametrize(
    ("columns", "latent", "hidden", "batch"),
    [
        (1, 1, (1,), 1),
        (32, 32, (32,), 12),
        (64, 20, (96, 64), 7),
        (31, 2, (), 5),
        (100, 33, (65,), 1),
        (784, 20, (500,), 100),
    ],
)
def test_odd_sizes(columns: int, latent: int, hidden: tuple[int, ...], batch: int) -> None:
    same_steps(grey(101, columns), latent=latent, hidden=hidden, batch=batch)


@pytest.mark.parametrize("binarisation", ["dynamic", "fixed", "threshold", "none"])
def test_every_binarisation_and_type_of_data(binarisation: str) -> None:
    x = grey(30, 19)
    for data in (x, x > 127, (x / 255).astype(np.float32), x / 255.0):
        same_steps(data, dtype="float64", binarisation=binarisation, latent=4, hidden=(11,), batch=8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("hidden", "batch"), [((33,), 13), ((40, 17), 100), ((64, 9, 12), 260), ((), 20), ((5,), 1)])
@pytest.mark.parametrize("binarisation", ["dynamic", "none"])
def test_blank_data_by_lists(dtype: str, hidden: tuple[int, ...], batch: int, binarisation: str) -> None:
    """Micro-batches of unequal ink, empty rows and columns, no hidden layer, too few rows: equal the composition."""
    same_steps(blank(611, 75), dtype=dtype, latent=5, hidden=hidden, batch=batch, binarisation=binarisation)


@pytest.mark.parametrize(("batch", "listed"), [(20, True), (FEWEST - 1, False)])
def test_lists_are_used_for_blank_data_alone(batch: int, listed: bool) -> None:
    for x, expected in ((blank(40, 30), listed), (grey(40, 30), False)):
        take = Compiled(start(x, latent=2, hidden=(6,), batch=batch), x, 2)
        take.advance(1)
        assert bool(take.workspace.lists.column_nnz.sum()) is expected


def test_last_batch_of_an_epoch_is_smaller_and_epochs_follow() -> None:
    same_steps(grey(25, 10), count=9, dtype="float64", latent=2, hidden=(8,), batch=10)


def test_micro_batches_add_up() -> None:
    same_steps(grey(700, 24), dtype="float64", latent=3, hidden=(16,), batch=600)
    same_steps(grey(700, 24), dtype="float32", latent=3, hidden=(16,), batch=650)
    same_steps(grey(700, 24), dtype="float64", latent=3, hidden=(16,), batch=513)  # the last has one row


@pytest.mark.parametrize("batch", [1, 20, 600])
def test_prior_schedule_and_decay(batch: int) -> None:
    adamw = {"name": "adamw", "epsilon": 1e-2, "decay": 0.1, "schedule": "cosine", "learning_rate": 0.01}
    x = blank(700, 12) if batch == 20 else grey(700, 12)  # by lists; in micro-batches; a row alone
    same_steps(x, count=6, dtype="float64", latent=2, hidden=(9,), batch=batch, optimizer=adamw, prior=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("hidden", [(), (49,), (130, 31)])
def test_a_row_alone_takes_its_update_along(dtype: str, likelihood: str, hidden: tuple[int, ...]) -> None:
    """One head and two, heads at the bottom, more inputs than the sums in hand, three threads with unequal shares;
    rows too full for lists between others, pixels that are never inked."""
    how: dict[str, Any] = {"binarisation": "none"} if likelihood == "gaussian" else {}
    for images in (grey, blank, mixed):
        options: dict[str, Any] = {"dtype": dtype, "likelihood": likelihood, "hidden": hidden, "variance": 0.01}
        same_steps(images(10, 320), count=14, threads=3, latent=9, batch=1, **options, **how)


@pytest.mark.parametrize("batch", [1, 30, 600])
@pytest.mark.parametrize(("images", "samples"), [(grey, 1), (blank, 1), (blank, 3)])
def test_same_bits_for_any_number_of_threads(batch: int, images: Callable[[int, int], Array], samples: int) -> None:
    x, results = images(1200, 50), []
    for threads in (1, 2, 3, 4):
        how = {"estimator": "iw", "samples": samples} if samples > 1 else {}
        state = start(x, latent=7, hidden=(70, 40), batch=batch, **how)
        means = Compiled(state, x, threads).advance(4)
        results.append((means.tobytes(), state.arena.flat.tobytes(), state.slots.tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("images", [grey, blank, mixed])
@pytest.mark.parametrize("batch", [1, 10])
def test_steps_in_one_call_or_in_many(batch: int, images: Callable[[int, int], Array]) -> None:
    """Where a run is cut must not show in any bit, of the weights or of the moments; the rate follows the step."""
    x, how = images(60, 70), {"schedule": "cosine"}
    one, many = (start(x, latent=3, hidden=(50,), batch=batch, optimizer=how) for _ in range(2))
    Compiled(one, x, 2).advance(40)
    take = Compiled(many, x, 2)
    for count in (2, 1, 16, 21):
        take.advance(count)
    assert one.arena.flat.tobytes() == many.arena.flat.tobytes()
    assert one.slots.tobytes() == many.slots.tobytes()


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_broken_bound_stops_before_the_update(batch: int, threads: int) -> None:
    x = grey(40, 10) / 255.0
    state = start(x, latent=2, hidden=(6,), batch=batch, dtype="float64")
    state.arena.views["p.logits.b"][3] = np.nan
    before = state.arena.flat.tobytes(), state.slots.tobytes()
    with pytest.raises(Diverged, match=r"step 0.*log p"):
        Compiled(state, x, threads).advance(3)
    assert state.step == 0
    assert (state.arena.flat.tobytes(), state.slots.tobytes()) == before


@pytest.mark.parametrize("batch", [1, 4])
def test_a_bound_that_breaks_later_keeps_the_steps_before(batch: int) -> None:
    """One row of the data overflows: the state is as if the steps up to it were all that had been asked for."""
    x = (blank(40, 70) / 255.0).astype(np.float32)
    x[7, 3] = 3e38
    options: dict[str, Any] = {"latent": 2, "hidden": (50,), "batch": batch, "likelihood": "gaussian"}
    whole, broken = (start(x, binarisation="none", **options) for _ in range(2))
    take = Compiled(broken, x, 2)
    fine = next(step for step in range(40) if 7 in take.index(step))
    with pytest.raises(Diverged):
        take.advance(fine + 3)
    Compiled(whole, x, 2).advance(fine)
    assert broken.step == fine > 3
    assert (broken.arena.flat.tobytes(), broken.slots.tobytes()) == (whole.arena.flat.tobytes(), whole.slots.tobytes())


def test_the_smallest_epsilon_is_not_flushed() -> None:
    """Weights of blank pixels have m = v = 0, and their step is 0 / ε."""
    x = blank(40, 30)
    state = start(x, latent=2, hidden=(6,), batch=10, optimizer={"epsilon": SMALLEST, "beta2": 1 - 2.0**-53})
    assert np.isfinite(Compiled(state, x, 1).advance(3)).all()
    assert np.isfinite(state.arena.flat).all()


@pytest.mark.parametrize(("tall", "short"), [(12, 4), (6, 2)])
def test_tiles_cover_the_rows_once(tall: int, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, without gaps, none above the padded rows."""
    for name, value in (("MR", tall), ("MR_SHORT", short), ("MR_MIDDLE", 2 * short), ("unsigned_divmod", divmod)):
        monkeypatch.setattr(products, name, value)
    parts: tuple[Any, ...] = (products.tile_at, products.tile_count)  # the Python of each, compiled already or not
    tile_at, tile_count = (getattr(part, "fn", None) or part.py_func for part in parts)
    for rows in range(1, 300):
        tiles = [tile_at(i, rows) for i in range(tile_count(rows))]
        assert [first for first, _ in tiles] == [sum(h for _, h in tiles[:i]) for i in range(len(tiles))]
        assert rows <= sum(h for _, h in tiles) < rows + short


def test_ctrl_c_leaves_the_step_where_the_parameters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt is heard when the call's steps are done; going on is as if nothing had been."""
    x = grey(600, 30)
    whole, broken = (start(x, latent=3, hidden=(12,), batch=10) for _ in range(2))
    Compiled(whole, x, 2).advance(3_010)
    take = Compiled(broken, x, 2)
    take.advance(5)
    steps_taken = Compiled.run

    def interrupted(*args: Any) -> None:
        hand = threading.Thread(target=interrupt, args=args[-1:])
        hand.start()
        steps_taken(*args)
        hand.join()  # the steps were over before it was at the keys

    def interrupt(sums: np.ndarray[Any, Any]) -> None:
        while not np.isfinite(sums[0]):  # not before the threads are at work
            time.sleep(0.001)
        _thread.interrupt_main()

    monkeypatch.setattr(Compiled, "run", interrupted)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    try:
        with pytest.raises(KeyboardInterrupt):
            take.advance(3_000)
    finally:
        signal.signal(signal.SIGINT, heard)
    monkeypatch.undo()
    assert broken.step == 3_005
    take.advance(5)
    assert broken.arena.flat.tobytes() == whole.arena.flat.tobytes()


def test_ctrl_c_takes_back_what_a_learned_baseline_made_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step number that moved on without the parameters: with a network of its own they are copied."""
    x = grey(60, 12)
    whole, broken = (start(x, latent=2, hidden=(5,), batch=10, estimator="nvil") for _ in range(2))
    Compiled(whole, x, 1).advance(7)

    def heard(threads: int, work: Callable[[int], None]) -> None:
        work(0)
        raise KeyboardInterrupt

    monkeypatch.setattr(compiled, "together", heard)
    with pytest.raises(KeyboardInterrupt):
        Compiled(broken, x, 1).advance(7)
    assert broken.step == 7
    assert unchanged(broken.tensors(), whole.tensors())


def test_a_step_that_the_composition_does_not_see_broken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x = grey(40, 10)
    take = Compiled(start(x, latent=2, hidden=(6,), batch=10), x, 2)
    monkeypatch.setattr(Compiled, "run", lambda self, index, batches, rates, sums: sums.__setitem__(0, 1.0))
    with pytest.raises(Diverged, match="the compiled step 1 gave nan"):
        take.advance(3)


def test_compiled_kernels_take_the_schedule() -> None:
    x = grey(20, 6)
    others: tuple[dict[str, Any], ...] = ({"estimator": "dreg"}, {"optimizer": {"name": "sgd"}}, {"latent": (4, 2)})
    for options in others:
        hidden: Any = ((4,), (3,)) if "latent" in options else (4,)
        assert type(steps(start(x, **{"latent": 2, "hidden": hidden, "batch": 5, **options}), x)) is Compiled
    assert type(steps(start(x, latent=2, hidden=(4,), kernels="numpy"), x)) is Steps


def test_every_estimator_has_a_schedule_but_one() -> None:
    """Catches an estimator that the compiled kernels refuse though the NumPy ones train it: score_rb once was."""
    x = grey(20, 6)
    for name in (*ESTIMATORS, "vr:0.5", "score_constant:-3"):
        options: dict[str, Any] = {"latent": 2, "hidden": (4,), "batch": 5, "samples": 2, "estimator": name}
        assert type(steps(start(x, **options), x)) is (Steps if name == "score_rb" else Compiled)


def test_flush_to_zero_does_not_leak() -> None:
    x = grey(20, 6)
    Compiled(start(x, latent=2, hidden=(4,), batch=5), x, 1).advance(1)
    assert np.float32(1e-30) * np.float32(1e-10) > 0


def test_warmup_compiles_for_every_model_estimator_and_all_data() -> None:
    from scratchvae.fast import step

    def versions() -> list[int]:
        lazy: tuple[Any, ...] = step.run, step.evaluate, step.log_likelihood
        return [len(one.realise().signatures) for one in lazy]

    warmup("float64")
    x = grey(12, 9) / 255.0
    known = versions()
    assert min(known) > 0
    whole: dict[str, Any] = {"name": "adamw", "beta1": 0, "epsilon": 1, "decay": 0}  # no floats
    Compiled(start(x, dtype="float64", latent=1, hidden=(5,), batch=4, optimizer=whole), x, 1).advance(1)
    for other in (x.astype("f4"), grey(12, 9), x > 0.5):  # a table once waited again after a warmup for images
        Compiled(start(x, dtype="float64", latent=3, hidden=(5, 4), batch=4), other, 1).advance(1)
    others: list[dict[str, Any]] = [{"estimator": "nvil", "optimizer": {"name": "sgd"}}, {"missing": "random:0.5"}]
    others += [{"latent": (3, 2), "hidden": ((4,), ()), "estimator": "dreg", "samples": 3}, {"likelihood": "gaussian"}]
    for options in others:
        state = start(x, **{"dtype": "float64", "latent": 3, "hidden": (5,), "batch": 4, **options})
        Compiled(state, x, 1).advance(1)
        evaluator, names = Evaluator(state), np.arange(len(x), dtype=np.uint32)
        evaluator.log_likelihood(x, 7, names)
        evaluator.bound(x, 1, 0, names)
    assert versions() == known


@pytest.mark.parametrize("batch", [20, 100])
def test_too_full_for_lists_is_a_share_of_the_pixels(batch: int) -> None:
    """Rows much longer than a minibatch has rows: two for one another, in the limit, would call all full, or none."""
    for x, listed in ((blank(100, 784), True), (grey(100, 784), False)):
        take = Compiled(start(x, latent=2, hidden=(6,), batch=batch), x, 2)
        take.advance(1)
        assert bool(take.workspace.lists.column_nnz.sum()) is listed
