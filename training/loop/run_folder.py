"""A run's folder: what it was told (`run.yaml`), what it measured (`log.jsonl`).

runs/s1/
  run.yaml          configuration, start, data; written once, a continued run must agree with it
  log.jsonl         one record a line
  checkpoints/      see `training.loop.checkpoints`
  pipeline/         the averaged weights as `MegActorSigmaPipeline` loads them
  samples/          videos by step
  tensorboard/      if that tracker is on
  report.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from manifests.atomic import atomic_path
from manifests.errors import UserError
from training.config import differences

RUN_FILE, LOG_FILE, PIPELINE, SAMPLES = "run.yaml", "log.jsonl", "pipeline", "samples"


def read_run(folder: Path | str) -> dict[str, Any] | None:
    """The record of a run, None where there is none."""
    file = Path(folder) / RUN_FILE
    if not file.is_file():
        return None
    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
        record["config"]["stage"]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise UserError(f"{file} is damaged: {' '.join(str(error).split())}") from None
    return record


def open_run(folder: Path | str, record: dict[str, Any]) -> bool:
    """Claims the folder for a run; True if it continues one.

    Args:
        record: plain values; keys `config`, `inference`, `start`, `data` decide what is learnt and must be the same in a continued run.

    Raises:
        UserError: the folder holds a run of another configuration; the message lists what differs.
    """
    folder = Path(folder)
    old = read_run(folder)
    if old is not None:
        keys = ("config", "inference", "start", "data")
        lines = [line for key in keys for line in differences(_plain(old.get(key) or {}), _plain(record[key]))]
        if lines:
            raise UserError(
                f"{folder} holds a run of another configuration; what differs: {'; '.join(lines)}. Take another --out, or remove it"
            )
        return True
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a run needs a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {error.strerror or error}") from error
    with atomic_path(folder / RUN_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(_plain(record), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return False


def _plain(tree: Any) -> Any:
    """As YAML gives it back: tuples as lists, keys as they are."""
    return yaml.safe_load(yaml.safe_dump(tree, allow_unicode=True))


class Log:
    """`log.jsonl`. Records carry `step` and `kind` (train, validation, videos, event, and before the first record step)."""

    def __init__(self, folder: Path | str):
        self.file = Path(folder) / LOG_FILE

    def read(self) -> list[dict[str, Any]]:
        """All records; a last line that was cut off by a kill is left out."""
        records = []
        if self.file.is_file():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    records.append(json.loads(line))
                except ValueError:
                    break
        return records

    def cut(self, step: int) -> None:
        """Drops what was logged after `step`: those steps are done again."""
        kept = [record for record in self.read() if record["step"] <= step]
        with atomic_path(self.file) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")

    def add(self, kind: str, step: int, values: Mapping[str, object]) -> None:
        """Appends one record.

        Raises:
            UserError: the disk is full.
        """
        try:
            with self.file.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.file}: {error.strerror or error}") from error
