"""§7.3 The folder of one run: config.json, metrics.jsonl and the checkpoint, each whole after a crash at any moment."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, UsageError
from . import checkpoint
from .config import Config, from_dict, number, read_json
from .state import State, load_state, save_state

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore


BOUNDS = ("train_elbo", "test_elbo", "test_reconstruction", "test_kl")
MEASURED = ("step", "epoch", "samples_seen", "seconds", *BOUNDS)


class Run(NamedTuple):
    """A run's folder; `create` makes one, `Run(Path(folder))` names one that is there."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Weights, optimizer, config and step: all that --resume needs."""
        return self.folder / "checkpoint.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and evaluation, in the order of their steps."""
        return self.folder / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The config as a person reads it."""
        return self.folder / "config.json"

    @classmethod
    def create(cls, folder: str | Path, config: Config) -> "Run":
        """Make the folder (and those above it) and write its config.json.

        Raises UsageError if it holds a run already or cannot be written.
        """
        run = cls(Path(folder))
        if held := next((p for p in (run.config, run.metrics, run.checkpoint) if p.exists()), None):
            raise UsageError(f"{folder} already holds a run ({held.name}): continue it with --resume, or name another")
        run.make()
        text = json.dumps(config.as_dict(), indent=2, sort_keys=True) + "\n"
        checkpoint.write_atomically(run.config, [text.encode()])
        return run

    def make(self) -> None:
        """The folder, and those above it, unless it is there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be made: {error.strerror}; name another folder") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Within: the folder is there, and no other process of this machine trains into it. Raises UsageError where one
        does. It is the folder itself that is locked; death gives it back. Windows has no such lock."""
        self.make()
        if fcntl is None:
            yield
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            self.claim(descriptor)
            for left in self.folder.glob(checkpoint.LEFT):
                left.unlink()
            yield
        finally:
            os.close(descriptor)

    def claim(self, descriptor: int) -> None:
        """Lock what was opened, or raise UsageError; a file system without locks keeps nobody out."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = "another process is training into it; wait for its end, or name another folder"
            raise UsageError(f"{self.folder} is in use: {words}") from None
        except OSError:
            pass

    def read_config(self) -> Config:
        """The Config in config.json. Raises DataError if it is missing, no JSON, or not of the known options."""
        try:
            values = read_json(self.config)
        except OSError as error:
            raise DataError(f"{self.folder} holds no run: {self.config.name}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.config} is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"{self.config} is not a JSON object of options")
        try:
            return from_dict(values)
        except UsageError as error:
            raise DataError(f"{self.config}: {error}") from None

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to the metrics; it must have a "step". It is on the disk before a checkpoint after that step."""
        line = json.dumps(record) + "\n"
        try:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(f"{self.metrics} cannot be written: {error.strerror}") from None

    def read_metrics(self, needed: Sequence[str] = ("step",)) -> list[dict[str, Any]]:
        """The metrics' records; a last line that a crash cut short is passed over. Raises DataError for a line without
        the `needed` values of MEASURED, or with one of another kind than `loop.measure` writes."""
        try:
            *lines, _ = self.metrics.read_bytes().split(b"\n")  # a whole line ends in \n: what follows was cut
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"{self.metrics} cannot be read: {error.strerror}") from None
        return [self.record(i, line, needed) for i, line in enumerate(lines, 1)]

    def record(self, i: int, line: bytes, needed: Sequence[str]) -> dict[str, Any]:
        """Line number i of the metrics."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise DataError(f"{self.metrics} has a line, number {i}, that is no JSON object; remove that line")
        held = [name for name in MEASURED if name in found or name in needed]
        if odd := next((name for name in held if not measured(name, found.get(name))), None):
            what = f"{odd}={found.get(odd)!r:.80}"
            raise DataError(f"{self.metrics} has a line, number {i}, with {what}; remove that line")
        return found

    def rewind(self, step: int) -> None:
        """Forget the metrics measured after `step`, where a resumed run begins to measure again."""
        kept = [json.dumps(record) + "\n" for record in self.read_metrics() if record["step"] <= step]
        checkpoint.write_atomically(self.metrics, [line.encode() for line in kept])

    def save(self, state: State, bounds: list[float]) -> None:
        """Replace the checkpoint by this state; `bounds` is the running mean (sum, count) of the training bound."""
        save_state(self.checkpoint, state, {"bounds": bounds})

    def load(self, kernels: str | None = None) -> tuple[State, dict[str, Any]]:
        """The last checkpoint's state, and its other metadata ("bounds"); all bytes verified."""
        if not self.folder.is_dir() or not os.listdir(self.folder):
            raise DataError(f"{self.folder} holds no run; train one into it first")
        return load_state(self.checkpoint, kernels)

    def pending(self, meta: dict[str, Any]) -> list[float]:
        """The training bound's (sum, count) since the last evaluation, as `save` kept it. Raises DataError if another
        hand wrote the checkpoint, that of `VAE.save` for one."""
        found = meta.get("bounds")
        if isinstance(found, list) and len(found) == 2 and all(number(value) for value in found) and found[1] >= 0:
            return found
        raise DataError(f"{self.checkpoint} is not a training run's: its bounds are {found!r:.80}, so it cannot resume")


def measured(name: str, value: Any) -> bool:
    """Whether a value, as a line of metrics may hold it, is of its name's kind; a bound may be NaN."""
    if name in BOUNDS:
        return type(value) is float or number(value)
    return number(value) and value >= 0 and (name != "step" or type(value) is int)
