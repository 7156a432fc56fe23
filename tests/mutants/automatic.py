"""§7.2 Automatic mutants of every pair, each run against the tests that touch it, until one fails.

The tests are collected once, in one process; each test's own time and the functions that it calls are noted; then every
mutant meets those tests: first those that have found most in its function, then the quickest. A mutant that no test
kills survives: either it changes no value (`EQUIVALENT` says why), or a check is missing.
"""

import contextlib
import cProfile
import fnmatch
import functools
import hashlib
import time
import types
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from scratchvae.mutants.operators import Mutation, mutations
from scratchvae.mutants.plant import FunctionDef, Target, code_of, swapped, targets

from .equivalent import EQUIVALENT
from .pairs import matched

Names = tuple[str, ...]

# What is mutated, and the tests that must see it. A group at a time: its tests are run once to learn what they touch.
GROUPS: dict[str, tuple[Names, Names]] = {
    "core": (
        ("kernels.dense", "kernels.activations", "kernels.normal", "kernels.bernoulli", "kernels.optimizers",
         "networks", "distributions.normal", "conditional", "models.vae", "models.decoded"),
        ("test_networks.py", "test_distributions.py", "test_conditional.py", "test_vae.py", "test_decoded.py",
         "test_optimizers.py", "test_entering.py", "test_convolution.py"),
    ),
    "convolution": (
        ("convolution", "models.convolutional"), ("test_convolution.py", "test_networks.py", "test_conditional.py"),
    ),
    "linear_gaussian": (("models.linear_gaussian",), ("test_linear_gaussian.py",)),
    "ladder": (("models.ladder",), ("test_ladder.py", "test_ladder_shapes.py", "test_deep.py")),
    "semi_supervised": (
        ("models.semi_supervised", "training.semi_supervised", "training.labels", "training.model_options"),
        ("test_semi_supervised.py", "test_labels.py"),
    ),
    "estimators": (
        tuple(f"estimators.{name}" for name in (
            "frame", "score", "baselines", "leave_one_out", "control_variate", "rao_blackwell", "measure", "sgvb_a",
            "sgvb_b", "sticking", "importance", "dreg", "renyi", "amortised", "integrands")),
        ("test_rules.py", "test_frame.py"),
    ),
    "deep": (("estimators.deep",), ("test_deep.py",)),
    "models": (
        tuple(f"models.{name}" for name in (
            "families", "joint", "pca", "mixture", "sigmoid_belief", "logistic_regression")),
        ("test_models.py",),
    ),
    "reparam": (
        tuple(f"reparam.{name}" for name in ("gamma", "beta", "student_t", "von_mises", "inverse_cdf")),
        ("test_reparam.py", "test_reparam_values.py", "test_inverse_cdf.py", "test_switches.py"),
    ),
    "families": (
        tuple(f"distributions.{name}" for name in (
            "bernoulli", "shared", "exponential", "continuous", "discrete", "curves", "positive", "saddle", "student",
            "counts", "levels")),
        ("test_distributions.py", "test_exponential.py", "test_decoders.py", "test_float32.py", "test_observed.py",
         "test_columns.py", "test_latents.py", "test_latents_laws.py", "test_families_values.py",
         "test_families_shapes.py"),
    ),
    "gaussians": (
        ("distributions.gaussians", "distributions.mixtures", "distributions.planar"),
        ("test_gaussians.py", "test_gaussians_pairs.py", "test_gaussians_shapes.py", "test_mixtures.py",
         "test_planar.py", "test_bbvi.py"),
    ),
    "recurrent": (
        ("kernels.recurrent", "recurrent", "models.sequence", "tasks.writing"),
        ("test_recurrent.py", "test_sequence.py", "test_writing.py"),
    ),
    "optim": (("training.optim",), ("test_optimizers.py",)),
    "classical": (
        tuple(f"classical.{name}" for name in ("em", "mean_field", "metropolis", "wake_sleep", "mcem", "full_vb")),
        ("test_em.py", "test_mean_field.py", "test_metropolis.py", "test_wake_sleep.py", "test_mcem.py",
         "test_full_vb.py"),
    ),
}  # fmt: skip
SLOW = 2.0  # seconds of processor: no test of this length takes part
QUICK = 0.05  # those that a mutant meets which is known to change no value
HANGS = 20.0, 5.0  # times a test's own, and at least so many seconds of processor
MEMORY = 3 << 30  # bytes, address space and all
KILLS: Counter[tuple[str, str]] = Counter()  # what a test has found in a function: it comes first for the next


class Mutant(NamedTuple):
    """One planted error. Its name stays the same as long as the code does:
    "networks.dense | sign flipped | return x @ W + b -> return x @ W - b"."""

    name: str
    parts: tuple[tuple[Target, FunctionDef | Mutation], ...]  # each function that changes, and what to
    lines: range = range(0)  # of the statement that changes

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """In force inside the block."""
        with contextlib.ExitStack() as stack:
            for target, made in self.parts:
                tree = made.tree if isinstance(made, Mutation) else made
                stack.enter_context(swapped(target.function, code_of(tree, target)))
            yield


class Result(NamedTuple):
    """What became of the mutants: name -> the test that killed it; survivors; survivors that change no value."""

    killed: dict[str, str]
    survivors: list[str]
    equivalent: dict[str, str]
    seconds: float

    @property
    def total(self) -> int:
        """All mutants that were made."""
        return len(self.killed) + len(self.survivors) + len(self.equivalent)

    @property
    def by_value(self) -> int:
        """How many were killed by a wrong number; the others broke the program (wrong shapes or types, a warning)."""
        return sum("(AssertionError)" in why for why in self.killed.values())


@functools.cache
def make(group: str = "core") -> list[Mutant]:
    """Every mutant of every function of a group's modules, then the pairs that are wrong together."""
    found = [t for name in GROUPS[group][0] for t in targets(f"scratchvae.{name}")]
    return slips(found) + [Mutant(name, parts) for name, parts in matched(found)]


def slips(found: list[Target]) -> list[Mutant]:
    """Every mutant of each function by itself."""
    times: Counter[str] = Counter()
    mutants = []
    for target in found:
        for slip in mutations(target.tree):
            name = f"{target.label} | {slip.kind} | {slip.before} -> {slip.after}"
            times[name] += 1  # the same statement may stand twice in a function
            name = name if times[name] == 1 else f"{name} #{times[name]}"
            mutants.append(Mutant(name, ((target, slip),), slip.lines))
    return mutants


def chosen(names: list[str], limit: int | None, seed: int = 0) -> list[str]:
    """`limit` of the names, spread by their hash: the same for the same seed, whatever else changes."""

    def key(name: str) -> str:
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    return names if limit is None else sorted(names, key=key)[:limit]


def merged(results: list[Result]) -> Result:
    """The results of several groups as one."""
    killed = {name: by for r in results for name, by in r.killed.items()}
    survivors = [name for r in results for name in r.survivors]
    equivalent = {name: why for r in results for name, why in r.equivalent.items()}
    return Result(killed, survivors, equivalent, sum(r.seconds for r in results))


class Check(NamedTuple):
    """A test, its time in seconds, and the code objects that it runs."""

    item: Any
    seconds: float
    touched: set[types.CodeType]


@functools.cache
def generators(module: types.ModuleType) -> list[tuple[Any, Any]]:
    """A test module's generators of random numbers, and how they stood before its first test."""
    found = [v.bit_generator for v in vars(module).values() if isinstance(v, np.random.Generator)]
    return [(bits, bits.state) for bits in found]


def failure(item: Any) -> str:
    """The kind of error that a test fails with, "" if it passes (or is skipped). It draws the same each time: other
    numbers must not find a mutant."""
    import pytest

    for bits, state in generators(item.module):
        bits.state = state
    try:
        item._initrequest()
        item.session._setupstate.setup(item)
        item.runtest()
    except pytest.skip.Exception:
        return ""
    except (Exception, pytest.fail.Exception) as error:  # whatever a mutant breaks
        return type(error).__name__
    finally:
        with contextlib.suppress(KeyError):  # tmp_path looks for a report, which nobody writes here
            item.session._setupstate.teardown_exact(None)
    return ""


def observed(item: Any, codes: set[types.CodeType]) -> Check:
    """Runs a test on the healthy library; notes what it touches and how long it takes."""
    profile, start = cProfile.Profile(), time.process_time()  # not the clock on the wall: others are at work too
    with profile:
        why = failure(item)
    seconds = time.process_time() - start
    if why:
        raise RuntimeError(f"{item.nodeid} fails without any mutant ({why}): mend that first")
    return Check(item, seconds, codes.intersection(entry.code for entry in profile.getstats()))


def killer(mutant: Mutant, checks: list[Check]) -> str:
    """The first test that fails with the mutant planted, "" if all pass; one that hangs is dead too."""
    label, codes = mutant.parts[0][0].label, codes_of(mutant)
    touching = [c for c in checks if not c.touched.isdisjoint(codes)]
    touching.sort(key=lambda c: -KILLS[label, c.item.nodeid])
    with mutant.planted():
        for check in touching:
            with alarm(max(check.seconds * HANGS[0], HANGS[1])):
                why = failure(check.item)
            if why:
                KILLS[label, check.item.nodeid] += 1
                return f"{check.item.nodeid.rpartition('/')[2]} ({why})"
    return ""


def codes_of(mutant: Mutant) -> set[types.CodeType]:
    """The healthy code of the functions that a mutant changes."""
    return {target.function.__code__ for target, _ in mutant.parts}


class alarm:
    """Raises TimeoutError inside the block after some seconds of processor, where the system has alarms: a busy machine
    must not find a mutant."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        import signal

        def ring(*_: Any) -> None:
            raise TimeoutError

        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGPROF, ring)
            signal.setitimer(signal.ITIMER_PROF, self.seconds)

    def __exit__(self, *_: object) -> None:
        import signal

        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_PROF, 0)


@contextlib.contextmanager
def memory(size: int) -> Iterator[None]:
    """MemoryError inside the block beyond so many bytes, where the system has limits: a mutant must not end the run."""
    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def run(mutants: list[Mutant], items: list[Any], progress: Any = None) -> Result:
    """Every mutant against the tests that touch it."""
    start = time.perf_counter()
    codes = {code for m in mutants for code in codes_of(m)}
    checks = sorted((observed(item, codes) for item in items), key=lambda c: c.seconds)
    checks = [c for c in checks if c.seconds < SLOW]
    killed: dict[str, str] = {}
    survivors: list[str] = []
    equivalent: dict[str, str] = {}
    for i, mutant in enumerate(mutants):
        if progress and i % 20 == 0:
            progress(i, len(mutants), len(survivors))
        reason = why_equivalent(mutant.name)
        by = killer(mutant, [c for c in checks if c.seconds < QUICK or not reason])
        if by:
            killed[mutant.name] = by
        elif reason:
            equivalent[mutant.name] = reason
        else:
            survivors.append(mutant.name)
    return Result(killed, survivors, equivalent, time.perf_counter() - start)


def why_equivalent(name: str) -> str:
    """The reason why a mutant changes no value, "" if none is known."""
    return next((why for pattern, why in EQUIVALENT.items() if fnmatch.fnmatchcase(name, pattern)), "")


class Plugin:
    """Takes pytest's collected tests and runs mutants in place of pytest's own loop."""

    def __init__(self, mutants: list[Mutant], progress: Any) -> None:
        self.mutants, self.progress, self.result = mutants, progress, Result({}, [], {}, 0.0)

    def pytest_collection(self) -> None:
        """Before the tests are imported: their laws draw the same each time, and look for no smaller example."""
        from hypothesis import Phase, settings

        phases = Phase.explicit, Phase.generate
        settings.register_profile("mutants", settings(), phases=phases, database=None, derandomize=True)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: Any) -> bool:
        """Every mutant, with warnings as errors, as in the tests."""
        import warnings

        with warnings.catch_warnings(), memory(MEMORY):
            warnings.simplefilter("error")
            self.result = run(self.mutants, session.items, self.progress)
        return True


def against_tests(mutants: list[Mutant], files: Iterable[str], progress: Any = None) -> Result:
    """The mutants against the tests in `files` (those that run in numpy: a compiled twin does not see a mutant)."""
    import pytest

    plugin = Plugin(mutants, progress)
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=", "-k", "not numba and not torch"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of our plugin's package, imported by now
    code = pytest.main([*files, *options], plugins=[plugin])
    if code not in (0, 5) or not plugin.result.total:
        raise RuntimeError(f"the tests could not be collected or run (pytest says {code})")
    return plugin.result
