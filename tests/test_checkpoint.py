"""§7.3 A checkpoint is read back exactly or refused in one line; the official safetensors package is the oracle."""

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scratchvae.errors import DataError, UsageError
from scratchvae.training import checkpoint
from scratchvae.types import Array

META = {"kind": "vae", "config": {"latent": 20, "rate": 1e-3, "name": "Frey Ä"}, "state": {"step": 7, "best": -101.5}}
TENSORS: dict[str, Array] = {
    "q.mu.W": np.arange(6, dtype=np.float32).reshape(2, 3),
    "q.mu.b": np.zeros(3, np.float32),
    "adam.m": np.linspace(0, 1, 5),
    "pixel": np.array([1, 2, 255], np.uint8),
    "step": np.array(3, np.int64),
    "none": np.zeros((0, 4), np.float32),
    "mask": np.array([True, False, True]),
}


def same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


def refused(path: Path, words: str = ".") -> None:
    """load must raise DataError with one line that names the file and says `words`."""
    with pytest.raises(DataError, match=words) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def signed(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    """A file with a right digest over a header of the test's choosing: only the layout can be what is refused."""
    if isinstance(header, dict):
        own = {"format": "scratchvae", "version": "1", "sha256": "0" * 64, "kind": "vae", "library": "9"}
        header = json.dumps({"__metadata__": own | header.pop("__metadata__", {}), **header}).encode()
    size = len(header).to_bytes(8, "little")
    digest = hashlib.sha256(size + header + data).hexdigest().encode()
    return size + header.replace(b"0" * 64, digest, 1) + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_round_trip(path: Path) -> None:
    checkpoint.save(path, TENSORS, META)
    tensors, meta = checkpoint.load(path, kind="vae")
    assert same(tensors, TENSORS)
    assert {k: meta[k] for k in META} == META
    tensors["q.mu.W"] += 1  # a resumed run updates what it loaded, in place
    assert os.listdir(path.parent) == [path.name]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"),
        hnp.arrays(
            st.sampled_from(["?", "u1", "i1", "<u2", "<f2", ">f4", "<f4", "<f8", "<i8", ">u8"]),
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        ),
        max_size=5,
    ),
    st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda s: st.dictionaries(st.text(), s)),
)
def test_any_state_comes_back(path: Path, tensors: dict[str, Array], state: Any) -> None:
    official = pytest.importorskip("safetensors.numpy")
    checkpoint.save(path, tensors, {"kind": "any", "state": state})
    back, meta = checkpoint.load(path)
    native = {k: v.astype(v.dtype.newbyteorder("=")) for k, v in tensors.items()}
    assert same(back, native)
    assert json.dumps(meta["state"], sort_keys=True) == json.dumps(state, sort_keys=True)
    assert same(official.load_file(path), native)


def test_official_package_reads_ours(path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    checkpoint.save(path, TENSORS, META)
    with safetensors.safe_open(path, "np") as file:
        assert same({k: file.get_tensor(k) for k in file.keys()}, TENSORS)  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    assert json.loads(metadata["config"]) == META["config"]
    assert metadata["kind"] == "vae"


def test_we_read_the_official_packages(path: Path) -> None:
    official = pytest.importorskip("safetensors.numpy")
    raw = bytearray(official.save(TENSORS, metadata={"who": "them"}))
    tensors, metadata = checkpoint.parse(raw, "theirs")
    assert same(tensors, TENSORS)
    assert metadata == {"who": "them"}
    path.write_bytes(raw)
    refused(path, "scratchvae did not write it")


def test_official_package_refuses_what_we_refuse() -> None:
    official = pytest.importorskip("safetensors")
    for what, (header, data) in LAYOUTS.items():
        if what not in ("a key twice", "many dimensions"):  # it takes the last of two keys, and any rank
            with pytest.raises(official.SafetensorError):
                official.deserialize(signed(dict(header) if isinstance(header, dict) else header, data))


def test_equal_states_give_equal_bytes(path: Path) -> None:
    other = path.with_name("other")
    checkpoint.save(path, TENSORS, META)
    checkpoint.save(other, dict(reversed(TENSORS.items())), dict(reversed(META.items())))
    assert path.read_bytes() == other.read_bytes()


def test_tensors_are_aligned(path: Path) -> None:
    checkpoint.save(path, {"a": np.ones(3, np.uint8), "b": np.ones(2), "c": np.ones(1, np.float32)}, META)
    tensors, _ = checkpoint.load(path)
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8:start])
    assert start % 8 == 0
    for name, x in tensors.items():
        assert entries[name]["data_offsets"][0] % x.itemsize == 0
        assert x.flags.aligned


def test_numpy_numbers_in_the_state(path: Path) -> None:
    checkpoint.save(path, {}, {"state": {"step": np.int64(3), "elbo": np.float32(0.5), "history": np.ones(2)}})
    assert checkpoint.load(path)[1]["state"] == {"step": 3, "elbo": 0.5, "history": [1.0, 1.0]}


def test_every_flipped_byte_is_seen(path: Path) -> None:
    """Every byte in turn, header, digest, padding and data, one flipped bit each; also cut after every byte."""
    checkpoint.save(path, {"W": np.arange(5, dtype=np.float32), "b": np.ones(1, np.uint8)}, META)
    raw = path.read_bytes()
    rng = np.random.default_rng(1)
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << int(rng.integers(8)))]) + raw[at + 1 :])
        refused(path)
        path.write_bytes(raw[:at])
        refused(path)
    path.write_bytes(raw + b"\0")
    refused(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_fuzz(path: Path, data: st.DataObject) -> None:
    """Anything done to the bytes gives DataError or the same content."""
    checkpoint.save(path, TENSORS, META)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        cut = data.draw(st.integers(0, 9))
        raw[at : at + cut] = data.draw(st.binary(max_size=9))
    path.write_bytes(raw)
    try:
        tensors, meta = checkpoint.load(path)
    except DataError:
        return
    assert same(tensors, TENSORS)
    assert {k: meta[k] for k in META} == META


def tensor(begin: Any = 0, end: Any = 8, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TWICE = b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
DIGEST = b'"__metadata__":{"sha256":"' + b"0" * 64 + b'"}'
WORDS = {  # where another check would refuse too, with worse words
    "a key twice": "a key stands twice",
    "a negative shape": "no natural number",
    "a negative offset": "no natural number",
    "a true shape": "no natural number",
    "overlap": "'b' begins at byte 4 instead of 8",
    "bytes left over": "need 8 bytes of data, the file has 9",
}
LAYOUTS: dict[str, tuple[dict[str, Any] | bytes, bytes]] = {
    "overlap": ({"a": tensor(), "b": tensor(4, 12)}, bytes(12)),
    "the same bytes twice": ({"a": tensor(), "b": tensor()}, bytes(8)),
    "a gap": ({"a": tensor(), "b": tensor(12, 20)}, bytes(20)),
    "bytes left over": ({"a": tensor()}, bytes(9)),
    "past the end": ({"a": tensor(0, 2**62, (2**60,))}, bytes(8)),
    "shape and bytes differ": ({"a": tensor(shape=(3,))}, bytes(8)),
    "a shape of 2^64": ({"a": tensor(shape=(2**32, 2**32))}, bytes(8)),
    "a negative shape": ({"a": tensor(shape=(-1, -2))}, bytes(8)),
    "a negative offset": ({"a": tensor(-8, 0)}, bytes(8)),
    "a float shape": ({"a": tensor(shape=(2.0,))}, bytes(8)),
    "a true shape": ({"a": tensor(end=4, shape=(True,))}, bytes(4)),
    "an unknown dtype": ({"a": tensor(dtype="F31")}, bytes(8)),
    "an entry that is a list": ({"a": []}, b""),
    "an entry without a shape": ({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "metadata that are numbers": ({"__metadata__": {"x": 3}}, b""),
    "a list for a header": (b"[1, 2, 3, 4, {" + DIGEST + b"}]", b""),
    "deep nesting": (b"{" + DIGEST + b',"a":' + b"[" * 100_000, b""),
    "no UTF-8": (b"{" + DIGEST + b',"\xff\xff": 1}', b""),
    "a key twice": (b"{" + DIGEST + b',"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' + TWICE, b""),
    "many dimensions": ({"a": tensor(end=4, shape=(1,) * 33), "b": tensor(4, 8, (1,))}, bytes(8)),
}


@pytest.mark.parametrize("what", LAYOUTS)
def test_bad_layouts(path: Path, what: str) -> None:
    header, data = LAYOUTS[what]
    path.write_bytes(signed(dict(header) if isinstance(header, dict) else header, data))
    refused(path, f"is damaged: .*{WORDS.get(what, '')}")


def test_the_signed_files_of_these_tests_are_good(path: Path) -> None:
    path.write_bytes(signed({"a": tensor()}, bytes(8)))
    assert checkpoint.load(path)[0]["a"].tolist() == [0.0, 0.0]


def test_other_files(path: Path) -> None:
    refused(path, "not a file")
    refused(path.parent, "not a file")
    for raw in (b"", b"{}", b"\x93NUMPY\x01\x00v\x00", b"PK\x03\x04" + bytes(99), b"\xff" * 8 + b"{}" * 50):
        path.write_bytes(raw)
        refused(path, "not a checkpoint")
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    refused(path, "truncated: 10 bytes")
    path.write_bytes(signed({"__metadata__": {"version": "2"}}))
    refused(path, r"version '2', this library reads '1': open it with scratchvae 9")
    path.write_bytes(signed({"__metadata__": {"config": "{"}}))
    refused(path, "not JSON")


def test_other_kind(path: Path) -> None:
    checkpoint.save(path, TENSORS, META)
    with pytest.raises(DataError, match="kind 'vae', but 'ladder' was expected"):
        checkpoint.load(path, kind="ladder")


def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(path, TENSORS, META)
    raw = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        checkpoint.save(path, {}, {})
    assert path.read_bytes() == raw
    assert os.listdir(path.parent) == [path.name]


def test_order_of_durable_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's bytes are synced before it takes the name, the folder after."""
    seen: list[str] = []
    replace = os.replace

    def replaced(old: Path, new: Path) -> None:
        seen.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", lambda fd: seen.append("dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"))
    monkeypatch.setattr(os, "replace", replaced)
    checkpoint.save(path, TENSORS, META)
    assert seen == ["file", "replace", "dir"]


@pytest.mark.parametrize(
    ("tensors", "meta", "words"),
    [
        ({"z": np.ones(2, complex)}, {}, "tensor 'z' of dtype complex128"),
        ({"z": np.array([None])}, {}, "tensor 'z' of dtype object"),
        ({"__metadata__": np.ones(2)}, {}, "tensor '__metadata__'"),
        ({}, {"sha256": "x"}, "reserved key 'sha256'"),
    ],
)
def test_what_cannot_be_stored(path: Path, tensors: dict[str, Array], meta: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        checkpoint.save(path, tensors, meta)
    assert not path.exists()


def test_no_folder(path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        checkpoint.save(path.parent / "nowhere" / "m", TENSORS, META)


def test_a_file_that_is_replaced_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a whole checkpoint that is called damaged while its run goes on: its size was that of the one before."""
    other = path.with_name("other")
    checkpoint.save(path, TENSORS, META)
    checkpoint.save(other, {**TENSORS, "more": np.ones(99)}, META)

    def late(*args: Any) -> Any:
        if other.exists():
            os.replace(other, path)
        return open(*args)

    monkeypatch.setattr(checkpoint, "open", late, raising=False)
    assert same(checkpoint.load(path)[0], {**TENSORS, "more": np.ones(99)})


def test_two_that_write_one_path_write_two_files(path: Path) -> None:
    """Catches one temporary file for both: the last to end has the name, and all of its own bytes."""
    with checkpoint.replacing(path) as file:
        file.write(b"first, ")
        other = threading.Thread(target=checkpoint.write_atomically, args=(path, [b"another"]))
        other.start()
        other.join()
        assert path.read_bytes() == b"another"
        file.write(b"last")
    assert path.read_bytes() == b"first, last"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_is_broken_off_leaves_the_old_file(path: Path, error: type[BaseException]) -> None:
    path.write_bytes(b"old")

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise error("no")

    with pytest.raises(UsageError if error is OSError else error):
        checkpoint.write_atomically(path, parts())
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    checkpoint.save(link, TENSORS, META)
    assert link.is_symlink()
    assert same(checkpoint.load(path)[0], TENSORS)
