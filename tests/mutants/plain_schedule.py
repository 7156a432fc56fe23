"""§7.2 The schedule of `fast` as ordinary Python: its own text, with `plain_engine` for what the engine emits as LLVM.

    plain = PlainSchedule()
    plain.modules["fast.rules"]                          a module of its own, whose functions can be exchanged
    plain.train(state, x, micro=3, steps=2, threads=2)   the steps that `training.compiled` would take

Of two threads one runs at a time: they pass the turn at every tile and every claim, so that what they do at once is
done in turn, the same way each time, and a tile that two of them share comes out wrong. The jobs of a phase, which may
be done in any order, can be done from the last to the first.
"""

import ast
import builtins
import contextlib
import ctypes
import hashlib
import importlib.util
import math
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import scratchvae
from scratchvae.kernels import noise
from scratchvae.training.compiled import ahead, flats_of, resident, take_back
from scratchvae.training.sampler import with_rows
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

from . import plain_engine as plain

PACKAGE = Path(scratchvae.__file__).parent
TEXT = ("fast.", "kernels.", "engine.products", "engine.threads", "training.workspaces")  # is executed …
KEPT = ("kernels.noise", "kernels.dense")  # … but for these; the rest of the engine is `plain`
SMALL = {  # so that few rows, and few samples, are many
    "fast.workspace": {"FEW_ROWS": 12},
    "fast.sparse": {"FEWEST": 4},
    "training.workspaces": {"SAMPLES_PER_NAME": 3},
}
TURNS = ("product", "product_t", "dots", "listed_1", "listed_2", "transpose", "pack_rows", "atomic_load")


class Same(Exception):
    """What is built is what was built before, so a run gives what it gave."""


class Turns:
    """Threads of which one runs at a time."""

    def __init__(self) -> None:
        self.alive, self.errors = [0], list[BaseException]()

    def give(self) -> None:
        """Let the next one run; returns when the turn is back. Raises what another has raised."""
        if len(self.alive) > 1:
            t = self.me.t
            self.gates[self.alive[self.alive.index(t) - 1]].release()
            while not self.gates[t].acquire(timeout=1):
                pass  # a signal is heard between two waits
        if self.errors:
            raise self.errors[0]

    def wait(self) -> None:
        """The same, of who can only go on when another has done something."""
        if len(self.alive) == 1:
            raise RuntimeError("a barrier to which nobody comes")
        self.give()

    def run(self, threads: int, work: Callable[[int], Any]) -> None:
        """work(t) for each t < threads; after an error none goes on."""
        self.me, self.alive, self.errors = threading.local(), list(range(threads)), []
        self.gates = [threading.Lock() for _ in range(threads)]
        for gate in self.gates:
            gate.acquire()
        others = [threading.Thread(target=self.part, args=(t, work), daemon=True) for t in range(1, threads)]
        for other in others:
            other.start()
        self.part(0, work)
        try:
            while any(other.is_alive() for other in others) and not self.errors:
                others[-1].join(1)
        except BaseException as error:  # it takes too long
            self.errors.append(error)
        for other in others:
            other.join(0.2)
            if other.is_alive():  # it runs wild
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(other.ident or 0), ctypes.py_object(SystemExit)
                )
        if self.errors:
            raise self.errors[0]

    def part(self, t: int, work: Callable[[int], Any]) -> None:
        """What thread t does."""
        self.me.t = t
        try:
            if t:
                self.gates[t].acquire()
            if not self.errors:
                with np.errstate(all="ignore"):  # as compiled code has it
                    work(t)
        except BaseException as error:  # a mutant may break anything
            self.errors.append(error)
        after = self.alive[self.alive.index(t) - 1]
        self.alive.remove(t)
        for gate in self.gates if self.errors else [self.gates[after]]:
            with contextlib.suppress(RuntimeError):  # open already
                gate.release()


class Records(list[Any]):
    """Numbers or records of an array as Python's own, with an array's size."""

    @property
    def size(self) -> int:
        """How many."""
        return len(self)


def records(array: Array) -> Records:
    """The same as plain integers."""
    assert array.dtype.names
    made = types.new_class("Record", (), {}, lambda scope: scope.update(__slots__=array.dtype.names))
    found = Records()
    for row in array.tolist():
        found.append(made())
        for name, value in zip(array.dtype.names, row, strict=True):
            setattr(found[-1], name, value)
    return found


def digest(s: Any) -> str:
    """Of every number in a workspace."""
    held = hashlib.sha256()
    for value in s:
        if isinstance(value, np.ndarray):
            held.update(value.tobytes())
        else:
            held.update((digest(value) if isinstance(value, tuple) else repr(value)).encode())
    return held.hexdigest()


def backwards(jobs: Array) -> Array:
    """JOB records, each phase from its last job to its first."""
    phases = np.split(jobs, np.flatnonzero(jobs["last"]) + 1)
    found = np.concatenate([phase[::-1] for phase in phases])
    found["last"] = jobs["last"]
    return found


class PlainSchedule:
    """The modules of the schedule, executed anew."""

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}
        self.built: list[str] = []  # what each workspace holds before anything runs …
        self.known: list[str] = []  # … and what they are known to hold: the same need not run
        self.turns, self.engine = Turns(), types.ModuleType("plain")
        vars(self.engine).update(vars(plain), pause=self.turns.wait, give_way=self.turns.wait)
        vars(self.engine).update({name: self.in_turn(vars(plain)[name]) for name in TURNS})
        self.noise = types.ModuleType("noise")
        vars(self.noise).update(words=self.in_turn(words), normals=self.in_turn(normals))
        for file in sorted((PACKAGE / "fast").glob("[!_]*.py")):
            self.module(f"fast.{file.stem}")
        self.step, self.workspace = self.modules["fast.step"], self.module("training.workspaces").workspace

    def in_turn(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """f, after which another thread may run."""

        def turning(*args: Any) -> Any:
            found = f(*args)
            self.turns.give()
            return found

        return turning

    def module(self, name: str) -> types.ModuleType:
        """The module of that name in this world."""
        if name == "kernels.noise_vectors":
            return self.noise
        if name in self.modules or not name.startswith(TEXT):
            return self.modules.get(name, self.engine)
        made = self.modules[name] = types.ModuleType(f"scratchvae.{name}")
        file = PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
        made.__file__, made.__package__ = str(file), made.__name__.rpartition(".")[0]
        start = vars(self.engine) if name.startswith("engine.") else {}
        own = {f: value for f, value in start.items() if not f.startswith("_")}
        vars(made).update(own, __builtins__={**vars(builtins), "__import__": self.imported})
        exec(compile(without_llvm(file.read_text(encoding="utf-8"), name), str(file), "exec"), vars(made))
        vars(made).update(SMALL.get(name, {}))
        return made

    def imported(self, name: str, scope: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
        """What `import` finds in these modules."""
        full = importlib.util.resolve_name("." * level + name, scope["__package__"]).removeprefix("scratchvae.")
        if full in ("engine", "fast"):
            return types.SimpleNamespace(**{other: self.module(f"{full}.{other}") for other in names})
        if full.startswith((*TEXT, "engine.")) and full not in KEPT:
            return self.module(full)
        return builtins.__import__(name, scope, local, names, level)

    def readied(self, s: Any, turned: bool) -> Any:
        """A workspace whose records are Python's. Raises Same where all that is built is known."""
        self.built.append(digest(s))
        if self.built == self.known:
            raise Same
        if turned:
            s = s._replace(forward=backwards(s.forward), backward=backwards(s.backward))
        names = ("layers", "owners", "latents", "draws", "forward", "backward")
        return s._replace(**{name: records(getattr(s, name)) for name in names})

    def train(
        self, state: State, x: Array, micro: int, steps: int, threads: int = 1, turned: bool = False
    ) -> tuple[Array, Array]:
        """Steps of a state, in place, as `training.compiled.Compiled` takes them; mean bounds, steps by thread."""
        config, take = state.config, Steps(state, x)
        index, batches, rates = ahead(take, steps)
        sums, done, held, places = np.full(steps, math.nan), np.zeros(threads), resident(state, x), index
        if held is None:  # as `Compiled.run` reads them
            held, places = state.rows(x, index), np.arange(len(index))
        s = self.readied(
            self.workspace(state, config.estimator, micro, config.samples, threads, held, take.rows), turned
        )
        flats = flats_of(state)
        args = (flats, state.step, (places, index), Records(batches.tolist()), rates, sums)

        def work(t: int) -> None:
            done[t] = self.step.run(s, t, threads, *args)

        self.turns.run(threads, work)
        take_back(state, flats, s.memory)
        state.step += int(done[0])
        return np.asarray(sums / batches), done

    def evaluator(self, state: State, estimator: str, micro: int, samples: int, x: Array) -> Any:
        """A workspace for the way forward alone, with the state's weights, as `training.sampler` makes it for x."""
        no_data = np.zeros((0, x.shape[1]), state.config.dtype)
        s = with_rows(self.readied(self.workspace(state, estimator, micro, samples, 1, no_data), True), x)
        self.modules["fast.layout"].convert(s.owners, plain.panel(s.w.dtype), state.arena.flat, s.w, True, 0, 1)
        return s


def without_llvm(text: str, name: str) -> ast.Module:
    """A module's tree; of one of the engine without what emits LLVM, and without imports that `plain` stands for."""
    tree = ast.parse(text)
    if name.startswith("engine."):
        tree.body = [node for node in tree.body if not made_of_llvm(node)]
    return tree


def made_of_llvm(node: ast.stmt) -> bool:
    """An import of Numba or of the engine, an intrinsic, or a function that emits one."""
    if isinstance(node, ast.ImportFrom):
        return str(node.module).startswith(("numba", "llvmlite", "scratchvae.engine"))
    return isinstance(node, ast.FunctionDef) and "builder" in ast.unparse(node)


def words(out: Array, at: int, address: Any, blocks: int, like: Array) -> None:
    """`kernels.noise_vectors.words` by the statement."""
    seed, purpose, step, row = address
    plain.span(out, at, 4 * blocks)[:] = noise.words_np(seed, purpose, step, np.array([row]), 4 * blocks)[0]


def normals(out: Array, at: int, address: Any, rows: int, blocks: int) -> None:
    """`kernels.noise_vectors.normals` by the statement."""
    seed, purpose, step, first = address
    found = noise.normals_np(seed, purpose, step, np.arange(first, first + rows), 4 * blocks, out.dtype)
    plain.span(out, at, found.size)[:] = found.reshape(-1)
