"""§7.3 The readers under attack, each with small valid files of several types, orders and versions, and its judge."""

import contextlib
import dataclasses
import gzip
import io
import json
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchvae import data
from scratchvae.cli.train import seconds_of
from scratchvae.data import files
from scratchvae.data.words import judged
from scratchvae.engine.jit import jit
from scratchvae.errors import DataError
from scratchvae.training import checkpoint
from scratchvae.training.config import Config
from scratchvae.training.run import Run
from scratchvae.training.state import State, load_state, save_state
from scratchvae.types import Array

from . import formats
from .formats import CODES, expected, gunzip, judge_by, same, sign
from .mutants import Seed

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 2)).astype(np.uint8)


class Parser(NamedTuple):
    """The product's reader of one kind of file, and the judge of what it returns."""

    file: str
    seeds: list[Seed]
    read: Callable[[Path], Any]
    judge: Callable[[bytes, Any], bool]  # MustRefuse; any other exception: no answer
    bomb: Callable[[], bytes] | None = None  # mutant number 0, of which only the cost is looked at
    packed: bool = False  # then it may cost as much memory as the reader allows what it unpacks


def read_state(path: Path) -> tuple[dict[str, Array], str, int]:
    state, _ = load_state(path)
    return state.tensors(), json.dumps(state.config.as_dict(), sort_keys=True), state.step


def read_config(path: Path) -> str:
    """What was read; what is small is put to use, which may refuse it."""
    config = Run(path.parent).read_config()
    if all(int(n) < 200 for n in re.findall(r"\d+", f"{config.latent} {config.hidden} {config.samples}")):
        State(dataclasses.replace(config, kernels="numpy"), 8)
    return json.dumps(config.as_dict(), sort_keys=True)


def read_metrics(path: Path) -> list[Any]:
    run = Run(path.parent)
    records = run.read_metrics()
    seconds_of(run)
    run.rewind(2**63)
    if not same(records, run.read_metrics()):
        raise AssertionError("rewind changed the metrics")
    return records


def read_data(path: Path) -> dict[str, Array]:
    """What the file's reader says, of words if they may be categories; a data set made of it may be refused."""
    found = files.read(path)
    value = found.parts
    judged(value["train"], found.levels, data.Origin(path.name))
    with contextlib.suppress(DataError):
        data.load(path, missing=True)
    return value


def saved(save: Callable[..., Any], *args: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    save(out, *args, **options)
    return out.getvalue()


def idx_seeds() -> list[bytes]:
    made = [(8, PIXELS), (8, PIXELS[0]), (11, PIXELS - 9), (13, PIXELS / 3), (14, PIXELS[0] / 3), (8, PIXELS[:0])]
    return [struct.pack(f">HBB{x.ndim}I", 0, c, x.ndim, *x.shape) + x.astype(CODES[c]).tobytes() for c, x in made]


def packed(name: str, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]) -> Parser:
    seeds = [Seed(pack(raw), raw, pack) for raw in idx_seeds()]
    bomb = lambda: pack(large(struct.pack(">HBBII", 0, 8, 2, 300_000, 1000)))  # noqa: E731
    return Parser(name, seeds, read_data, judge_by(lambda raw: formats.idx(unpack(raw))), bomb, True)


def large(head: bytes) -> bytes:
    """A file that packs well."""
    return head + bytes(300_000_000)


def npy_seeds() -> list[bytes]:
    kinds = "<u1", "<f4", ">f8", "<i2", "?", "<c8", "<f2"
    made = [PIXELS.astype(kind) for kind in kinds] + [np.asfortranarray(PIXELS / 7), np.zeros((0, 3)), np.array(3.0)]
    second = [saved(np.lib.format.write_array, PIXELS, version=(2, 0))]
    return [saved(np.save, x) for x in made] + second


def npz_parser() -> Parser:
    def wrap(inner: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", inner)
            archive.writestr("y.npy", saved(np.save, np.arange(6)))
        return out.getvalue()

    whole = [saved(np.savez, PIXELS), saved(np.savez, x_train=PIXELS / 3, y_train=np.arange(6), x_test=PIXELS[:2])]
    seeds = [Seed(wrap(raw), raw, wrap) for raw in npy_seeds()] + [Seed(raw, raw) for raw in whole]
    bomb = lambda: wrap(saved(np.save, np.zeros((300_000, 1000), "u1")))  # noqa: E731
    return Parser("m.npz", seeds, read_data, judge_by(formats.npz), bomb, True)


def table_parser() -> Parser:
    numbers = ["1,2,3\n4,5.5,6e-3\n-7,8,9\n", "1;2\n3;4\n5;\n", "1\t2\n3\tnan\n5\t6\n", "1 2 3\n4 5 6\n7 8 9\n"]
    named = ["a,b\n1,2\n3,4\n5,6\n", ",a,b\n0,1,2\n1,3,4\n", "0,1\n0.5,1\n2,3\n", "\ufeff1,2\r\n3,4\r\n", "# t\n1,2\n"]
    raw = [text.encode() for text in numbers + named]

    def pack(text: bytes) -> bytes:
        return gzip.compress(text, 1, mtime=0)

    seeds = [Seed(text) for text in raw] + [Seed(pack(text), text, pack) for text in raw[:4]]
    return Parser("m.csv", seeds, read_data, formats.judge_table, lambda: pack(b"1,,1\n" * 60_000_000), True)


def mat_parser() -> Parser:
    from scipy.io import savemat

    x = np.random.default_rng(0).integers(0, 256, (560, 2))
    raw = [saved(savemat, {"ff": x[:, :n].astype(kind)}) for n, kind in ((1, "u1"), (2, "i2"), (1, "f8"), (1, "u1"))]
    raw.append(saved(savemat, {"gg": x[:3], "ff": x[:, :1].astype("u1")}))
    raw = [b"MATLAB".ljust(116) + one[116:] for one in raw]  # without the date

    def pack(element: bytes, head: bytes = raw[0][:128]) -> bytes:
        body = zlib.compress(element)
        return head + struct.pack("<II", 15, len(body)) + body

    bomb = lambda: pack(large(struct.pack("<II", 14, 1 << 29)))  # noqa: E731
    seeds = [Seed(one) for one in raw] + [Seed(pack(one[128:]), one[128:], pack) for one in raw[:3]]
    return Parser("m.mat", seeds, read_data, judge_by(formats.mat), bomb, True)


def split_header(raw: bytes, finish: Callable[[bytes], bytes] = bytes) -> Seed:
    start = 8 + int.from_bytes(raw[:8], "little")
    return Seed(raw, raw[8:start], lambda header: finish(len(header).to_bytes(8, "little") + header + raw[start:]))


def forged(raw: bytes) -> Seed:
    """A checkpoint whose mutants are made in the JSON that its metadata hold as text, and signed."""
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    texts = {key: text for key, text in header["__metadata__"].items() if key not in checkpoint.RESERVED}

    def wrap(inner: bytes) -> bytes:
        try:
            changed = {key: json.dumps(value) for key, value in json.loads(inner).items()}
        except (ValueError, AttributeError, RecursionError):
            changed = {**texts, "config": inner.decode("latin1")}
        kept = {key: text for key, text in header["__metadata__"].items() if key not in texts}
        text = json.dumps({**header, "__metadata__": {**kept, **changed}}, separators=(",", ":")).encode()
        return sign(len(text).to_bytes(8, "little") + text + raw[start:])

    return Seed(raw, json.dumps({key: json.loads(text) for key, text in texts.items()}).encode(), wrap)


def tensor_files() -> list[bytes]:
    """Checkpoints of some tensors, and of two states."""
    path = Path("seed.safetensors")
    some: dict[str, Array] = {"a": PIXELS, "b": PIXELS / 3, "c": np.array([1, np.nan], "f4"), "d": np.array(3)}
    some["e"] = np.zeros((0, 2), "<f2")
    checkpoint.save(path, some, {"kind": "any", "state": {"step": 3}})
    made = [path.read_bytes()]
    several: list[dict[str, Any]] = [{"latent": 2, "hidden": (3,)}, {"latent": (2, 1), "hidden": ((3,), (3,))}]
    for sizes in several:
        save_state(path, State(Config(kernels="numpy", **sizes), 4), {"bounds": [0.0, 0]})
        made.append(path.read_bytes())
    return made


def tensor_parser() -> Parser:
    def read(path: Path) -> dict[str, Array]:
        found = checkpoint.parse(bytearray(path.read_bytes()), path.name)[0]
        with contextlib.suppress(DataError):
            again = checkpoint.load(path)[0]
            if sign(path.read_bytes()) != path.read_bytes() or not same(found, again):
                raise AssertionError("load took a file whose digest is wrong")
        return found

    def bomb() -> bytes:
        header = json.dumps({"__metadata__": {}, **{f"{i:07}": {"x": 1} for i in range(1_400_000)}}).encode()
        return len(header).to_bytes(8, "little") + header

    seeds = [split_header(raw) for raw in tensor_files()]
    return Parser("m.safetensors", seeds, read, judge_by(formats.tensors), bomb)


def state_parser() -> Parser:
    seeds = [make(raw) for raw in tensor_files()[1:] for make in (forged, lambda raw: split_header(raw, sign))]
    return Parser("m.safetensors", seeds, read_state, formats.judge_state)


def config_parser() -> Parser:
    made = [Config(), Config(latent=(4, 2), hidden=((5,), (3, 2)), test="t.npy", missing="random:0.5", prior=True)]
    texts = [json.dumps(config.as_dict(), indent=2).encode() for config in made]
    texts += [b'{"latent": 3, "optimizer": {"name": "sgd", "milestones": [[1, 0.5]]}, "samples": 4}', b"{}"]
    bomb = lambda: b'{"hidden": [' + b"[]," * 9_000_000 + b"[]]}"  # noqa: E731
    judge = lambda raw, value: expected(json.loads(raw)) == value  # noqa: E731
    return Parser("config.json", [Seed(text) for text in texts], read_config, judge, bomb)


def metrics_parser() -> Parser:
    line = {"step": 5, "epoch": 0.5, "samples_seen": 60, "train_elbo": -4.5, "seconds": 0.01, "test_elbo": -5.0}
    lines = [json.dumps({**line, "step": step}) + "\n" for step in (5, 10, 15)]
    seeds = [Seed("".join(lines[:n]).encode()) for n in (1, 2, 3)] + [Seed("".join(lines).encode()[:-20])]
    oracle = judge_by(lambda raw: [json.loads(line) for line in raw.split(b"\n")[:-1]])
    return Parser("metrics.jsonl", seeds, read_metrics, oracle)


@jit
def double(x: Array) -> Array:
    return x + x


def cache_parser() -> Parser:
    """Compiled code: it gives the right numbers, or it is passed over."""
    os.environ["SCRATCHVAE_CACHE"] = os.path.abspath("cache")
    x, made = np.arange(9.0), double.realise()  # type: ignore[attr-defined]
    made(x), made(x.astype("f4"))
    cache = made._cache
    kept = Path(cache._cache_file.path(cache._index_key(made.signatures[0], made.targetctx.codegen())))

    def read(path: Path) -> Array:
        found = cache.load_overload(made.signatures[0], made.targetctx)
        if found is None:
            raise DataError("compiled again")
        return found.entry_point(x)

    return Parser(str(kept), [Seed(kept.read_bytes())], read, lambda raw, value: same(value, 2 * x))


MAKERS: dict[str, Callable[[], Parser]] = {
    "idx": lambda: Parser("m-idx3-ubyte", [Seed(raw) for raw in idx_seeds()], read_data, judge_by(formats.idx)),
    "gz": lambda: packed("m-idx3-ubyte.gz", lambda raw: gzip.compress(raw, 1, mtime=0), gunzip),
    "xz": lambda: packed("m-idx3-ubyte.xz", lambda raw: lzma.compress(raw, preset=0), lzma.decompress),
    "npy": lambda: Parser(
        "m.npy", [Seed(raw) for raw in npy_seeds()], read_data, judge_by(lambda raw: {"train": formats.npy(raw)})
    ),
    "npz": npz_parser, "csv": table_parser, "mat": mat_parser, "safetensors": tensor_parser, "checkpoint": state_parser,
    "config": config_parser, "metrics": metrics_parser, "cache": cache_parser,
}  # fmt: skip
