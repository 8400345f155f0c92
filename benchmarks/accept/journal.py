"""What an acceptance has done so far: `accept.json`, written whole after every step, so that a later call goes on where this one ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manifests import UserError
from manifests.atomic import atomic_path

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


@dataclass
class Result:
    """Attributes:
    state: passed, FAILED or skipped (the machine has not what it needs).
    seconds: of the step's process.
    figures: what it measured, by name.
    why: what failed or was missing, one line each.
    """

    state: str
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)


class Journal:
    """The results of one machine in one folder.

    Args:
        machine: facts that must be the same when a run goes on: device, its name, size of the run.

    Raises:
        UserError: the folder holds results of another machine or size.
    """

    def __init__(self, folder: Path, machine: dict[str, Any]):
        self._file, self.machine = folder / "accept.json", machine
        self.results: dict[str, Result] = {}
        if self._file.is_file():
            tree = read(folder)
            different = [
                f"{key}: {tree['machine'].get(key)!r} → {value!r}" for key, value in machine.items() if tree["machine"].get(key) != value
            ]
            if different:
                raise UserError(f"{folder} holds results of another machine ({'; '.join(different)}): take another --out, or remove it")
            self.results = {name: Result(**result) for name, result in tree["steps"].items()}

    def add(self, name: str, result: Result) -> None:
        self.results[name] = result
        with atomic_path(self._file) as temporary:
            tree = {"machine": self.machine, "steps": {name: asdict(result) for name, result in self.results.items()}}
            temporary.write_text(json.dumps(tree, indent=1), encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """`accept.json` of a folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = folder / "accept.json"
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        tree["machine"], tree["steps"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    return dict(tree)
