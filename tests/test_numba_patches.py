"""§7.3 Numba's private names: the same bits without any of them, and a Numba that has renamed one is none the worse."""

import ast
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from scratchvae.engine import numba_patches
from scratchvae.engine.jit import dispatcher, has, inline, internal, without_refcounts
from scratchvae.engine.linkable import linkable
from scratchvae.engine.numba_patches import NAMES, can, memoised_typing
from scratchvae.training.config import Config
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

ROOT = str(Path(__file__).parent.parent)
TABLE = ("add_all",)


class Toy(NamedTuple):
    """As much of a workspace as a linkable function needs."""

    x: Array
    jump_table: Array


@internal
def plus(a: float, b: float) -> float:
    return a + b


@inline
def both(a: float) -> float:
    return plus(a, 0) + plus(a, 1)


@linkable(TABLE)
def add_all(s: Toy, to: float) -> None:
    """x += 2 · to + 1, number by number."""
    for i in range(s.x.size):
        s.x[i] += both(to)


@without_refcounts
def run(s: Toy) -> None:
    add_all(s, 3.0)


def twice(x: int) -> int:
    return 2 * x


def missing() -> list[str]:
    """Compiles with every patch that there is, checks what comes out and that the cache has it the second time;
    returns the patches that there are not."""
    one: Any = add_all
    s = Toy(np.zeros(3), np.zeros(len(TABLE), np.int64))
    with memoised_typing():
        one.load(s)
        one.link(s)
        run(s)
    np.testing.assert_array_equal(s.x, 7)
    made = [dispatcher(twice) for _ in range(2)]
    assert [f(4) for f in made] == [8, 8]
    assert has("sse2") or not has("avx")
    cache = made[0]._cache if can("keep", made[0]) else None
    lost = [patch for patch in NAMES if not can(patch, cache if patch == "seal" else made[0])]
    assert sum(made[1].stats.cache_hits.values()) == int(not {"keep", "seal"} & {*lost})
    return lost


def trained() -> list[str]:
    """The bytes of some steps' bounds and of the parameters after them, by the compiled pairs."""
    x = np.arange(170, dtype=np.uint8).reshape(10, 17)
    state = State(Config(latent=3, hidden=(7,), batch=5), 17)
    bounds = Steps(state, x).advance(30)
    return [hashlib.sha256(found.tobytes()).hexdigest() for found in (bounds, state.arena.flat)]


class Renamed(SourceFileLoader):
    """Reads a module of Numba's in which the names `private` have become others."""

    private = re.compile(b"")

    def get_code(self, fullname: str) -> Any:
        source = self.get_data(self.path)
        if not self.private.search(source):
            return super().get_code(fullname)
        return self.source_to_code(self.private.sub(rb"\g<0>_then", source), self.path)


class Finder:
    """Finds Numba's modules for Renamed."""

    @staticmethod
    def find_spec(fullname: str, path: Any, target: Any = None) -> Any:
        spec = PathFinder.find_spec(fullname, path) if fullname.partition(".")[0] == "numba" else None
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = Renamed(fullname, spec.loader.path)
        return spec


def last(name: str) -> str:
    """The part of a name of NAMES that is Numba's to rename."""
    return re.split("[:.]", name)[-1]


def a_process(cache: Path, *names: str, plain: bool = False) -> Any:
    """[`missing`, `trained` where plain] of a process whose Numba has renamed those."""
    ours = {"PYTHONPATH": ROOT, "SCRATCHVAE_CACHE": str(cache), "SCRATCHVAE_PLAIN_NUMBA": str(int(plain))}
    environment = {**os.environ, **ours}
    done = subprocess.run([sys.executable, __file__, *names], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_bits_are_those_of_plain_numba(tmp_path: Path) -> None:
    """Catches a patch that changes what is computed: a wrong overload, a part that is compiled for another's types."""
    assert a_process(tmp_path, plain=True) == [[*NAMES], trained()]
    assert list(tmp_path.iterdir()) == []  # what is not sealed is not kept


# One name of each patch at a time; at first none.
ROUNDS = [(), *([name for name in names if name] for names in itertools.zip_longest(*NAMES.values()))]


@pytest.mark.parametrize("names", ROUNDS, ids=lambda names: " ".join(map(last, names)) or "none")
def test_a_numba_without_a_name_does_without_the_patch(
    names: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Catches a name that no guard asks for, and one that stands in NAMES and not, or no longer, in Numba. All names,
    without --long the first two of each patch."""
    if names not in ROUNDS[:3] and not request.config.getoption("--long"):
        pytest.skip("a Numba for each name: with --long")
    gone = {last(name) for name in names}
    expected = [patch for patch, needs in NAMES.items() if gone & {part for n in needs for part in parts(n)}]
    if {"keep", "seal"} <= {*expected}:
        expected.remove("seal")  # nobody asks for it
    assert a_process(tmp_path, *gone) == [expected, None]


def parts(name: str) -> list[str]:
    """Everything in a name that a Numba may have renamed."""
    return name.partition(":")[2].split(".")


def test_no_other_private_name_is_used() -> None:
    """Catches a name with an underscore that no guard asks for."""
    known = {part for names in NAMES.values() for name in names for part in parts(name)} | {"_replace", "_exit"}
    for path in Path(numba_patches.__file__).parent.glob("*.py"):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert {name for name in used if re.match("_[a-z]", name)} <= known, path.name


def test_an_unknown_flag_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a memo that takes two calls for one where Numba has learnt to compile them differently."""
    from numba.core.compiler import Flags
    from numba.core.types.functions import BaseFunction

    ask = BaseFunction.get_call_type
    with memoised_typing():
        assert BaseFunction.get_call_type is not ask
    monkeypatch.setattr(Flags, "options", {**Flags.options, "new": None})
    with memoised_typing():
        assert BaseFunction.get_call_type is ask


if __name__ == "__main__":
    if private := sys.argv[1:]:  # three of the names are also others'
        others = r"(?<!core\.)(?<!ll\.)(?<!fpm\.)(?<!jitclass import )"
        Renamed.private = re.compile(rf"{others}\b({'|'.join(private)})\b".encode())
        sys.meta_path.insert(0, cast(Any, Finder))
    print(json.dumps([missing(), trained() if numba_patches.plain() else None]))
