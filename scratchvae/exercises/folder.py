"""§7 A learner's folder: stubs that are never overwritten, and progress.json beside them."""

import hashlib
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .record import Exercise
from .sandbox import judged
from .verdict import Verdict

USUAL = "exercises"


class Folder:
    """Files of exercises, and what has been passed and asked in them."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{path} is a file: --folder takes a folder")

    def words(self, exercise: Exercise, ask: str = "") -> str:
        """The command for an exercise of this folder, to be typed as it stands."""
        where = "" if self.path == Path(USUAL) else f" --folder {shlex.quote(str(self.path))}"
        return f"scratchvae exercise {exercise.number}{ask and ' ' + ask}{where}"

    def file(self, exercise: Exercise) -> Path:
        """Where its file is."""
        return self.path / exercise.file

    def write(self, exercise: Exercise) -> bool:
        """Write the stub, if there is no file yet, and those that come with it and are not there."""
        for name, text in exercise.extras.items():
            if not (extra := self.path / name).exists():
                extra.parent.mkdir(parents=True, exist_ok=True)
                extra.write_text(text, encoding="utf-8")
        target = self.file(exercise)
        if target.exists():
            return False
        self.path.mkdir(parents=True, exist_ok=True)
        target.write_text(exercise.stub, encoding="utf-8")
        return True

    def reset(self, exercise: Exercise) -> Path | None:
        """Write the stub anew; what was there is kept under the name that is returned."""
        target = self.file(exercise)
        kept = None
        self.note(exercise, passed="", hints=0)  # refuses a broken progress.json before anything is moved
        if target.exists():
            free = (target.with_suffix(f".{number}.py.txt") for number in itertools.count(1))
            kept = target.rename(next(path for path in free if not path.exists()))
        self.write(exercise)
        return kept

    def check(self, exercise: Exercise) -> Verdict:
        """The verdict on its file; a pass is remembered for as long as the file stays as it is. Where it cannot be, the
        last line says so: what was handed in may be read-only."""
        target = self.file(exercise)
        if not target.exists():
            raise UsageError(f"there is no {target}: {self.words(exercise)} writes it")
        mark = fingerprint(target)
        verdict = judged(exercise, str(target))
        try:
            self.note(exercise, passed=mark if verdict.passed else "")
        except OSError as error:
            return verdict._replace(lines=(*verdict.lines, f"not remembered: {error.filename}: {error.strerror}"))
        return verdict

    def state(self, exercise: Exercise) -> str:
        """ "passed", "changed since it passed", "begun" or ""."""
        if not self.file(exercise).exists():
            return ""
        passed = self.notes(exercise).get("passed")
        if not passed:
            return "begun"
        return "passed" if passed == fingerprint(self.file(exercise)) else "changed since it passed"

    def hint(self, exercise: Exercise) -> tuple[int, str]:
        """The next hint, and which it is; the last one again where there is no more."""
        number = min(int(self.notes(exercise).get("hints", 0)) + 1, len(exercise.hints))
        self.note(exercise, hints=number)
        return number, exercise.hints[number - 1]

    def notes(self, exercise: Exercise) -> dict[str, Any]:
        """What progress.json says of it."""
        found: dict[str, Any] = self.progress().get(exercise.name, {})
        return found

    def note(self, exercise: Exercise, **more: Any) -> None:
        """Write it down; a whole file takes the place of the last one."""
        found = self.progress()
        found[exercise.name] = {**found.get(exercise.name, {}), **more}
        self.path.mkdir(parents=True, exist_ok=True)
        new = self.path / "progress.json.new"
        new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path / "progress.json")

    def progress(self) -> dict[str, Any]:
        """All of progress.json; nothing where there is none."""
        path = self.path / "progress.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: remove it, and --check writes it anew") from error
        if not isinstance(found, dict) or not all(map(is_note, found.values())):
            raise UsageError(f"{path} was not written by this command: remove it, and --check writes it anew")
        return found


def is_note(one: Any) -> bool:
    """Whether it is what `Folder.note` writes of an exercise."""
    return isinstance(one, dict) and type(one.get("hints", 0)) is int and isinstance(one.get("passed", ""), str)


def fingerprint(path: Path) -> str:
    """The file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
