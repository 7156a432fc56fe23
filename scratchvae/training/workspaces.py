"""§7.3 The workspace of a run: its model placed, its estimator's jobs, its data and options, for `fast.step`."""

from typing import Any

import numpy as np

from ..models.vae import LIKELIHOODS
from ..noise import Purpose
from ..types import Array
from .missing import fraction
from .state import State

SAMPLES_PER_NAME = 50  # in evaluation, of one row: its noise is the same however many samples are asked for


def aligned(sizes: list[int], dtype: str) -> list[Array]:
    """Arrays of zeros, each beginning at a multiple of 64 bytes so that no vector straddles two cache lines.

    They share one allocation, large enough for NumPy to ask the system for large pages.
    """
    line = 64 // np.dtype(dtype).itemsize
    starts = np.cumsum([0] + [-(-size // line) * line for size in sizes])
    block: Array = np.empty(int(starts[-1]) + line, dtype)
    block[...] = 0
    block = block[-block.ctypes.data % 64 // block.itemsize :]
    return [block[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def workspace(state: State, estimator: str, micro: int, samples: int, threads: int, x: Array, rows: int = 0) -> Any:
    """Everything that `threads` threads share to work on at most `micro` rows of x, with `samples` of z for each, by
    that estimator: for training on `rows` rows, or (0) for evaluation."""
    from ..engine import tiles
    from ..engine.shared import Shared
    from ..engine.threads import counters_size
    from ..fast import layout, placing, schedule
    from ..fast.workspace import IN_FLIGHT, LINKED, Workspace

    config, wants, family = state.config, schedule.wants(estimator), state.architecture.likelihood_family
    most = micro * samples * (3 if wants.moved else 1)
    m = placing.place(
        state.architecture, most, config.dtype, len(family.heads), config.weight_prior, bool(config.missing), wants
    )
    rule, layers, panel = schedule.rule_of(estimator, m), m.layers(), m.b.panel
    code = LIKELIHOODS.index(config.likelihood)
    back = schedule.backward(m, rule) if rows else np.zeros(0, schedule.JOB)
    jobs = schedule.forward(m, rule, code), back
    loops = max(int(some["loop"].max(initial=0)) for some in jobs) + 1
    o = options(state, m, x, micro, samples, schedule.weighed(rule), rows)
    weights = m.b.weights + 64 * panel
    moments = weights if rows else 0
    clip = config.optimizer.clip > 0 and rows > 0
    gathered = moments if clip or min(config.batch, rows) > micro else 0  # dW to be summed, or clipped
    hands = [threads * 2 * o.transposed_room, threads * IN_FLIGHT * tiles.MR * panel]
    w, m_, v, g, work, transposed, scratch = aligned(
        [weights, moments, moments, gathered, m.b.work + 64 * panel, *hands], config.dtype
    )
    layout.set_ones(layers, m.b.capacity, panel, work)
    count = m.parts + (panels_of_moved(m) if wants.moved else 0)
    value, signal, theta, path, score, bound, reconstruction = np.zeros((7, m.b.capacity))
    data, numbers = kinds_of(x, config.dtype)
    return Shared(Workspace(
        options=o, rule=rule, optimizer=optimizer(state, rows),
        layers=layers, owners=layers[: m.owners].copy(), latents=m.latent_records(),
        draws=np.array(m.draws, schedule.DRAW), forward=jobs[0], backward=jobs[1],
        w=w, m=m_, v=v, g=g, squares=np.zeros(layers["panels"][: m.owners].sum() * clip),
        work=work, transposed=transposed, scratch=scratch,
        noise=np.zeros(threads * o.noise_room, config.dtype), words=np.zeros(threads * o.word_room, np.uint32),
        parts=np.zeros((count, m.b.capacity)), value=value, signal=signal, theta=theta, path=path, score=score,
        bound=bound, reconstruction=reconstruction, memory=memory_of(state),
        data=data, numbers=numbers, by_column=by_column(family, m.columns, panel, config.dtype),
        lists=lists(micro, panel, m.columns, config.dtype),
        counters=np.zeros(counters_size(threads, loops), np.int64), jump_table=np.zeros(len(LINKED), np.int64),
    ))  # fmt: skip


def memory_of(state: State) -> Array:
    """A learned baseline's mean, variance and steps, (3,); zeros for an estimator without."""
    return np.array([float(state.memory.get(name, [0.0])[0]) for name in ("mean", "variance", "steps")])


def panels_of_moved(m: Any) -> int:
    """Rows of `parts` for samples with one latent moved."""
    from ..fast.placing import panels

    return panels(m.columns, m.b) + panels(m.sizes[0], m.b)


def kinds_of(x: Array, dtype: str) -> tuple[Array, Array]:
    """x (N, D) as bytes and none, or as none and numbers of the parameters' dtype, flat: one version serves both."""
    flat, none = np.asarray(x).reshape(-1), np.zeros(0, np.uint8)
    if x.dtype.itemsize == 1:
        found = flat.view(np.uint8), none.astype(dtype)
    else:
        found = none, flat.astype(dtype, copy=False)
    for part in found:
        part.flags.writeable = False  # of this view, not of x: one type for arrays and read-only maps
    return found


def by_column(family: Any, columns: int, panel: int, dtype: str) -> Any:
    """What a Gaussian p(x | z) knows of each column, padded to whole micropanels."""
    from ..fast.epilogues import Columns

    floor, unit = np.zeros((2, -(-columns // panel) * panel), dtype)
    floor[:columns] = np.log(family.variance)
    if family.log_scale is not None:
        unit[:columns] = family.log_scale
    return Columns(floor, np.exp(-floor), unit)


def lists(rows: int, panel: int, columns: int, dtype: str) -> Any:
    """Room for the entries of a minibatch that are not zero; what is never touched takes no memory."""
    from ..fast.workspace import Lists

    row_room = columns + 1 + panel  # a row is written by whole vectors
    by_row, by_column = rows * row_room, (columns + 1) * rows
    of_rows = (np.zeros(by_row, np.int32), np.zeros(by_row, dtype), np.zeros(rows, np.int64), row_room)
    of_columns = (np.zeros(by_column, np.int32), np.zeros(by_column, dtype), np.zeros(columns + 1, np.int64), rows)
    return Lists(*of_rows, *of_columns)


def options(state: State, m: Any, x: Array, micro: int, samples: int, weighed: bool, rows: int) -> Any:
    """The numbers of a run that never change."""
    from ..fast.workspace import Options

    config, draws = state.config, sum(columns for columns, _ in m.draws)
    how = {"dynamic": Purpose.BINARISE, "fixed": Purpose.FIXED_BINARISATION}
    return Options(
        seed=np.uint64(config.seed),
        latent_purpose=int(Purpose.LATENT if rows else Purpose.EVALUATE),
        binarise_purpose=int(how.get(config.binarisation, 0)) if rows else 0,
        by_name=not rows,
        samples_per_name=SAMPLES_PER_NAME if weighed and not rows else samples,
        by_source=config.binarisation == "fixed",
        threshold=config.binarisation == "threshold" and bool(rows),
        divisor=255.0 if x.dtype == np.uint8 else 1.0,
        missing=bool(config.missing),
        hidden_share=float(fraction(config.missing)) if rows else 0.0,
        mask_purpose=int(Purpose.MASK),
        micro=micro,
        samples=samples,
        weighed=weighed,
        columns=m.columns,
        noise_columns=draws,
        capacity=m.b.capacity,
        x=m.x.panels,
        target=m.target,
        transposed_room=m.b.widest * m.b.panel**2,
        noise_room=-(-samples * draws // 4) * 4 + 64,
        word_room=-(-m.columns // 4) * 4 + 128,
    )


def optimizer(state: State, rows: int) -> Any:
    """The run's optimizer in numbers."""
    from ..fast.optimizer import ADAGRAD, ADAM, MOMENTUM, Optimizer

    o = state.config.optimizer
    return Optimizer(
        kind={"adagrad": ADAGRAD, "sgd": MOMENTUM}.get(o.name, ADAM),
        beta1=float(o.beta1),
        beta2=float(o.beta2),
        epsilon=float(o.epsilon),
        momentum=float(o.momentum),
        decay=float(o.decay) if o.name == "adamw" else 0.0,
        pull=1 / rows if state.config.weight_prior and rows else 0.0,
        clip=float(o.clip) if rows else 0.0,
    )
