"""§7.3 Every file format comes in exact, whatever its packing; every damage is one clear line."""

import gzip
import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import CODES, PACK, PIXELS, as_idx, npy, npz, refused

from scratchvae.data import idx, load, rows
from scratchvae.errors import DataError


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def put(name: str, raw: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(raw)
        return path

    return put


Write = Callable[[str, bytes], Path]

EACH = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("kind", CODES)
def test_every_idx(write: Write, kind: str, pack: str) -> None:
    x = (np.arange(2 * 3 * 4).reshape(2, 3, 4) * 5 - (0 if kind == "u1" else 60)).astype(kind)
    read = idx.read_idx(write("x.idx" + pack, PACK[pack](as_idx(x))))
    assert isinstance(read, np.memmap) == (pack == "")
    np.testing.assert_array_equal(read, x)
    assert read.dtype.newbyteorder("=") == x.dtype


def test_the_name_does_not_decide_the_packing(write: Write) -> None:
    np.testing.assert_array_equal(idx.read_idx(write("a-ubyte", gzip.compress(as_idx(PIXELS)))), PIXELS)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_mat_by_its_definition(write: Write, order: str, kind: str) -> None:
    """Both byte orders (old files came from big-endian machines) and all stored types; the name as a small element."""
    x = np.arange(3 * 560).reshape(3, 560).astype(order + kind)
    values = x.tobytes()
    code = {"u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9}[kind]
    parts = struct.pack(order + "IIII", 6, 8, 6, 0) + struct.pack(order + "IIii", 5, 8, 560, 3)
    name = struct.pack(order + "I2s2x", 2 << 16 | 1, b"ff") if order == "<" else struct.pack(">HH2s2x", 2, 1, b"ff")
    parts += name + struct.pack(order + "II", code, len(values)) + values
    raw = b"MATLAB 5.0".ljust(124) + struct.pack(order + "HH", 0x0100, 0x4D49)
    found = load(write("f.mat", raw + struct.pack(order + "II", 14, len(parts)) + parts))
    np.testing.assert_array_equal(np.concatenate([found.train, found.test]), x)
    assert found.shape == (28, 20)
    for cut in (3, 100, 130, 150, 180, 200, len(raw) + 70):
        refused("MATLAB|damaged|truncated|no variable ff", write("g.mat", (raw + parts)[:cut]))


@pytest.mark.parametrize("header", ["", "a,b,c\n", '"p q",r,s\n'])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_text(write: Write, header: str, delimiter: str) -> None:
    x = np.random.default_rng(2).random((10, 3))
    text = header.replace(",", delimiter) + "\n".join(delimiter.join(map(repr, row)) for row in x.tolist())
    found = load(write("x.csv.gz", gzip.compress(("\ufeff" + text).encode())))
    np.testing.assert_array_equal(np.concatenate([found.train, found.test]), x)


GOOD = as_idx(PIXELS)


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 000008"),
        (b"\x89PNG" + GOOD[4:], "begins with 89504e47, expected e.g. 00000803"),
        (b"\0\0\x0a\x03" + GOOD[4:], "begins with 00000a03"),
        (b"\0\0\x08\x00" + GOOD[4:], "begins with 00000800"),
        (GOOD[:11], "truncated: 12 bytes .* 7 found"),
        (GOOD[:-1], "truncated: 360 bytes .* 359 found"),
        (GOOD + b"\0", "longer than its header says: 360 bytes .* 361 found"),
        (struct.pack(">BBBB3I", 0, 0, 14, 3, *[2**20] * 3) + bytes(9), f"truncated: {2**63} bytes .* 9 found|limit"),
        (struct.pack(">BBBB32I", 0, 0, 8, 32, *[2**32 - 1] * 32), "truncated"),
        (as_idx(PIXELS[:0]), r"shape \(0, 4, 3\)"),
    ],
)
def test_bad_idx(write: Write, raw: bytes, words: str, pack: str) -> None:
    if pack and words.endswith("361 found"):
        raw += bytes(10_000_000)  # unpacking stops one byte past what was declared
    refused(words, write("x-ubyte" + pack, PACK[pack](raw)))


@pytest.mark.parametrize("pack", [".gz", ".xz"])
def test_corrupt_packing(write: Write, pack: str) -> None:
    packed = PACK[pack](GOOD)
    refused("corrupt|truncated|not IDX", write("a.idx" + pack, packed[: len(packed) // 2]))
    refused("corrupt", write("b.idx" + pack, packed[:-1]))
    refused("corrupt", write("c.idx" + pack, packed[:100] + bytes([packed[100] ^ 8]) + packed[101:]))
    if pack == ".gz":  # Python's lzma passes over what follows the last stream
        refused("corrupt", write("d.idx" + pack, packed + b"garbage"))


@EACH
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(0, 9), st.integers(1, 40), st.data())
def test_gz_is_unpacked_as_by_the_standard_library(
    parts: list[bytes], zeros: int, block: int, data: st.DataObject
) -> None:
    """Members one after the other, zeros behind the last, in pieces of any size; a cut is seen by both or none."""
    packed = b"".join(gzip.compress(part) for part in parts) + bytes(zeros)
    packed = packed[: data.draw(st.integers(1, len(packed)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idx, "BLOCK", block)
        stream = idx.Gunzipped(io.BytesIO(packed))
        try:
            whole = gzip.decompress(packed)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            with pytest.raises((EOFError, zlib.error)):
                all(iter(lambda: stream.read(7), b""))
        else:
            pieces = list(iter(lambda: stream.read(7), b""))
            assert b"".join(pieces) == whole
            assert max(map(len, pieces), default=0) <= 7


def evil_npz(size: int) -> bytes:
    """A zip whose x.npy declares `size` float64 values and holds none."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (size, 1)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    return out.getvalue()


OBJECTS = np.array([[print]])


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("x.npy", b"", "cannot be read"),
        ("x.npy", npy(OBJECTS, allow_pickle=True), "holds Python objects"),
        ("x.npy", b"\x80\x04K\x01." * 9, "magic string"),
        ("x.npy", npy(np.ones((9, 9)))[:-1], "cannot be read"),
        ("x.npy", npy(np.asfortranarray(np.ones((9, 9)))), "stored column by column"),
        ("x.npy", npy(np.zeros((3, 2), "i4,f4")), "has fields"),
        ("x.npy", npy(np.zeros((0, 2))), "shape"),
        ("x.npy", npz(x=PIXELS), "magic string"),
        ("x.npz", npz(x=OBJECTS), "holds Python objects .a pickle."),
        ("x.npz", npy(PIXELS), "not a zip file"),
        ("x.npz", evil_npz(2**60), "over .* bytes, its limit"),
        ("x.npz", npz(), "holds no arrays"),
        ("x.csv", b"", "shape"),
        ("x.csv", b"a,b\n", "shape"),
        ("x.csv", b"1,2\n\xff,3\n", "no text in UTF-8"),
        ("x.mat", b"junk", "not a MATLAB 5 file"),
    ],
)
def test_bad_files(write: Write, name: str, raw: bytes, words: str) -> None:
    refused(words, write(name, raw))


def test_an_unreadable_file(write: Write) -> None:
    path = write("x.idx", GOOD)
    path.chmod(0)
    if os.geteuid():
        refused("Permission denied", path)


def faces_mat(packed: bool) -> bytes:
    from scipy.io import savemat

    out: Any = io.BytesIO()
    savemat(out, {"ff": PIXELS.reshape(-1)[:300].repeat(56).reshape(560, 30)}, do_compression=packed)
    return out.getvalue()


def test_a_packed_variable_without_its_checksum(write: Write) -> None:
    raw = faces_mat(True)
    assert load(write("x.mat", raw)).train.shape == (27, 560)
    cut = raw[:132] + struct.pack("<I", len(raw) - 136 - 4) + raw[136:-4]
    refused("a packed variable is truncated", write("x.mat", cut))


FUZZED = {
    "x.mat": faces_mat(False),
    "y.mat": faces_mat(True),
    "x.idx": GOOD,
    "x.idx.gz": gzip.compress(GOOD),
    "x.idx.xz": lzma.compress(GOOD),
    "x.npy": npy(PIXELS),
    "x.npz": npz(x=PIXELS, y=np.arange(30)),
    "x.csv": "\n".join(",".join(map(str, row)) for row in PIXELS[:, 0].tolist()).encode(),
}


@EACH
@given(st.sampled_from(sorted(FUZZED)), st.data())
def test_fuzz(tmp_path: Path, name: str, draw: st.DataObject) -> None:
    """A damaged file gives data of some finite numbers or a DataError, nothing else, whatever the damage."""
    raw = bytearray(FUZZED[name])
    for _ in range(draw.draw(st.integers(1, 3))):
        at, cut = draw.draw(st.integers(0, min(len(raw), 200)) | st.integers(0, len(raw))), draw.draw(st.integers(0, 5))
        raw[at : at + cut] = draw.draw(st.binary(max_size=5))
    path = tmp_path / name
    path.write_bytes(raw)
    try:
        found = load(path)
        got = rows(found.train, np.arange(len(found.train)), np.float64)
    except DataError:
        return
    assert np.isfinite(got).all()


def test_packed_bits_as_text_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a limit for packed text that refuses binarised images, which shrink to a twenty-seventh."""
    monkeypatch.setattr("scratchvae.data.idx.FLOOR", 1 << 12)
    x = (np.random.default_rng(0).random((300, 784)) < 0.08).astype(int)
    text = "\n".join(",".join(map(str, row)) for row in x.tolist()) + "\n"
    (tmp_path / "x.csv.gz").write_bytes(raw := gzip.compress(text.encode()))
    assert 20 < len(text) / len(raw) < 50
    np.testing.assert_array_equal(load(tmp_path / "x.csv.gz", test=x).train, x)
