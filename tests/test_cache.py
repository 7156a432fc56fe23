"""§7.2.5 Compiled code on disk: read only where we alone could have written it, and only whole."""

import os
import pickle
import pwd
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import pytest
from numba.core.caching import FunctionCache

from scratchvae.engine import jit
from scratchvae.engine.cache import Sealed, usable
from scratchvae.engine.numba_patches import NAMES

HARM: list[str] = []


class Evil:
    """Runs when it is unpickled, as a file that somebody else has put there would."""

    def __reduce__(self) -> Any:
        return HARM.append, ("done",)


def loosen(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)


def link(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


FORGED: dict[str, Callable[[Path], None]] = {
    "writable by its group": lambda path: loosen(path, 0o770),
    "writable by all": lambda path: loosen(path, 0o777),
    "sticky as /tmp": lambda path: loosen(path, 0o1777),
    "a link to a folder of ours": link,
    "a link to itself": lambda path: path.symlink_to(path),
    "a file": lambda path: path.touch(),
}


@pytest.mark.parametrize("how", FORGED)
@pytest.mark.parametrize("which", ["base", "leaf"])
def test_a_folder_that_somebody_else_could_have_made_is_passed_over(tmp_path: Path, how: str, which: str) -> None:
    """Catches code that runs in our name because its writer was the first to make our folder."""
    base = tmp_path / "base"
    leaf = base / "leaf"
    if which == "leaf":
        base.mkdir(mode=0o700)
    FORGED[how](base if which == "base" else leaf)
    assert not usable(base, leaf)


def test_a_folder_of_another_owner_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also root's, which others may only read: its code is the administrator's to believe."""
    assert usable(tmp_path / "a", tmp_path / "a" / "b")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert not usable(tmp_path / "a", tmp_path / "a" / "b")


def test_what_we_make_nobody_else_can_write(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert usable(tmp_path / "a", tmp_path / "a" / "b")
        Sealed(str(tmp_path / "a" / "b"), "f", 1).save("key", [1])
    finally:
        os.umask(before)
    assert [p.stat().st_mode & 0o022 for p in (tmp_path / "a").rglob("*")] == [0, 0]


def test_without_a_home_no_folder_is_named_by_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder called "~": the code of whoever has made it in the folder that we are called in."""

    def nobody(_: int) -> Any:
        raise KeyError

    for name in ("HOME", "SCRATCHVAE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    found = [base for base in jit.candidates() if not base.is_absolute()]
    assert len(found) == 1
    assert not usable(found[0], found[0] / "leaf")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says its specification
    assert [base for base in jit.candidates() if not base.is_absolute()] == found
    monkeypatch.setenv("SCRATCHVAE_CACHE", "chosen")  # by whom? by the user, so it is taken; and it stays that folder
    assert (jit.cache_folder.__wrapped__() or "").startswith(f"{tmp_path}/chosen/numba-")


def test_code_is_known_by_all_that_it_hangs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches code for another width, or from before an edit or an update, that passes for ours."""
    key, read = jit.cache_key.__wrapped__, Path.read_bytes
    found = [key()]
    others: list[tuple[Any, str, Any]] = [(kind, "__version__", "0") for kind in (numba, llvmlite)]
    others += [(sys, "version", "0"), (jit, "vector_width", lambda: 2)]
    others += [(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "networks.py"))]
    for other in others:
        with monkeypatch.context() as m:
            m.setattr(*other)
            found.append(key())
    assert len(set(found)) == 6
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in found)  # such names `forget_old` looks for
    assert found[0] == key()


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(str(tmp_path), "module.f-1.py311", "stamp")


def test_every_flipped_byte_is_seen_before_anything_is_unpickled(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches the one bit in a cached file that killed every process that loaded it."""
    sealed.save("key", {"code": b"\1\2\3"})
    assert sealed.load("key") == {"code": b"\1\2\3"}
    path = Path(sealed.path("key"))
    raw = path.read_bytes()
    monkeypatch.setattr(pickle, "loads", None)
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :])
        assert sealed.load("key") is None
        path.write_bytes(raw[:at])
        assert sealed.load("key") is None


def test_code_of_another_function_signature_or_source_is_not_ours(sealed: Sealed, tmp_path: Path) -> None:
    """A digest holds for its own file; a stale one is compiled again, and replaced."""
    sealed.save("key", 1)
    os.replace(sealed.path("key"), sealed.path("other"))
    assert sealed.load("other") is None
    sealed.save("key", 1)
    edited = Sealed(str(tmp_path), sealed.name, "another stamp")
    assert edited.load("key") is None
    edited.save("key", 2)
    assert (sealed.load("key"), edited.load("key")) == (None, 2)


def test_what_cannot_be_written_leaves_nothing(sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches half a file for each function of each start on a disk that is full."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        sealed.save("key", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["loose", "link", "foreign"])
def test_a_file_of_somebody_else_is_not_unpickled(
    sealed: Sealed, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever can swap the folder after we have looked at it has no file of ours with code of his."""
    sealed.save("key", Evil())
    path = Path(sealed.path("key"))
    if how == "loose":
        path.chmod(0o666)
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    try:
        assert sealed.load("key") is None
    except OSError:
        assert how == "link"
    assert HARM == []


def twice(x: int) -> int:
    return 2 * x


def in_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(jit, "cache_folder", lambda: str(folder))
    return jit.dispatcher(twice)


def test_damaged_code_is_compiled_and_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a damage that is met at every start, and one that takes the process with it; and a folder of ours that
    Numba then takes for everybody's code."""
    before = numba.config.CACHE_DIR
    assert in_cache(tmp_path, monkeypatch)(3) == 6
    assert before == numba.config.CACHE_DIR
    again = in_cache(tmp_path, monkeypatch)
    assert (again(3), sum(again.stats.cache_hits.values())) == (6, 1)
    (path,) = tmp_path.rglob("*.nbc")
    raw = path.read_bytes()
    for at in range(0, len(raw), len(raw) // 10):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 16]) + raw[at + 1 :])
        damaged = in_cache(tmp_path, monkeypatch)
        assert (damaged(3), sum(damaged.stats.cache_hits.values())) == (6, 0)
        whole = in_cache(tmp_path, monkeypatch)
        assert (whole(3), sum(whole.stats.cache_hits.values())) == (6, 1)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [path.name]


def test_a_numba_that_keeps_its_code_another_way_is_slower_and_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches code that is read unsealed, or from a folder that is not ours."""
    monkeypatch.setattr(FunctionCache, "load_overload", None)
    monkeypatch.setattr(FunctionCache, "save_overload", None)
    with monkeypatch.context() as m:
        m.setitem(NAMES, "seal", (":not_there",))
        assert in_cache(tmp_path, m)(3) == 6
    monkeypatch.setattr(FunctionCache, "cache_path", property(lambda _: str(tmp_path.parent / "elsewhere")))
    assert in_cache(tmp_path, monkeypatch)(3) == 6
