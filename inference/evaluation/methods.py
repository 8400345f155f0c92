"""A method: a folder of `<pair_id>.mp4` with a small `method.yaml`, and what the paper printed for the methods of its tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inference.evaluation.pairs import SIGNALS
from manifests import UserError
from manifests.atomic import atomic_path
from manifests.config_files import config_file
from manifests.errors import did_you_mean

METHOD_FILE = "method.yaml"
PUBLISHED_FILE = config_file("evaluation", "published.yaml")
MODALITIES = {"A": "audio", "V": "video", "A+V": "video+audio"}  # the names of Table 3
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")


@dataclass(frozen=True)
class Method:
    """Whose videos these are.

    Attributes:
        name: in tables; the folder's name where `method.yaml` is silent.
        parameters_b: size in 10⁹ parameters; NaN if unknown.
        signal: what the method used of the driver: audio, video or video+audio; "" if unknown. Methods that saw the mouth are not to
            be ranked against those that only heard it.
        notes: free text: commit, steps, seed, seconds a frame.
    """

    name: str
    parameters_b: float = math.nan
    signal: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> str:
        """A, V or A+V; "" if unknown."""
        return {signal: name for name, signal in MODALITIES.items()}.get(self.signal, "")


@dataclass(frozen=True)
class MethodFolder:
    """A method's answers.

    Attributes:
        videos: by pair_id, of the pairs that were asked for.
        missing: pair_ids without a video: failures that count.
        extra: file names that no pair asked for.
    """

    method: Method
    videos: dict[str, Path]
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def read_method(folder: str | Path, pair_ids: Iterable[str]) -> MethodFolder:
    """What a folder holds for these pairs.

    Raises:
        UserError: no directory, not one video, a `method.yaml` that is not one, or two videos for one pair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no directory of videos")
    method = _method(folder)
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file() and not file.name.startswith("."):
            if file.stem in found:
                raise UserError(f"{folder} holds two videos for {file.stem!r}: {found[file.stem].name} and {file.name}")
            found[file.stem] = file
    if not found:
        raise UserError(f"{folder} holds no video; a method is a folder of <pair_id>.mp4")
    wanted = list(pair_ids)
    return MethodFolder(
        method,
        {name: found[name] for name in wanted if name in found},
        tuple(name for name in wanted if name not in found),
        tuple(found[name].name for name in found if name not in set(wanted)),
    )


def write_method(method: Method, folder: Path) -> None:
    """Writes `method.yaml`, atomically."""
    size = {} if math.isnan(method.parameters_b) else {"parameters_b": round(method.parameters_b, 4)}
    values = {"name": method.name, **size, "signal": method.signal, "notes": method.notes}
    with atomic_path(folder / METHOD_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def published() -> dict[str, dict[str, Any]]:
    """The paper's rows: name → `parameters_b`, `signal`, and for each of `hdtf`, `ccv2` a mapping from column to figure (empty without)."""
    document = yaml.safe_load(PUBLISHED_FILE.read_text(encoding="utf-8"))
    columns = document["columns"]
    return {
        name: {**row, **{test_set: dict(zip(columns, row[test_set] or [], strict=bool(row[test_set]))) for test_set in ("hdtf", "ccv2")}}
        for name, row in document["methods"].items()
    }


def _method(folder: Path) -> Method:
    file = folder / METHOD_FILE
    if not file.is_file():
        return Method(folder.resolve().name)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file} needs a mapping with name, parameters_b, signal (or modality), notes")
    known = ("name", "parameters_b", "signal", "modality", "notes")
    if unknown := [name for name in values if name not in known]:
        raise UserError(f"{file}: unknown field {unknown[0]!r}{did_you_mean(str(unknown[0]), known)}")
    signal = values.get("signal") or ""
    if modality := values.get("modality"):
        if modality not in MODALITIES:
            raise UserError(f"{file}: modality is {modality!r}; it must be one of {', '.join(MODALITIES)}")
        if signal not in ("", MODALITIES[modality]):
            raise UserError(f"{file}: modality {modality} is signal {MODALITIES[modality]!r}, but signal is {signal!r}; leave one out")
        signal = MODALITIES[modality]
    if signal and signal not in SIGNALS:
        raise UserError(f"{file}: signal is {signal!r}; it must be one of {', '.join(SIGNALS)}")
    size = values.get("parameters_b")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int | float) or size <= 0):
        raise UserError(f"{file}: parameters_b is {size!r}; it needs a positive number (10⁹ parameters)")
    notes = values.get("notes") or {}
    if not isinstance(notes, dict):
        raise UserError(f"{file}: notes is {notes!r}; it needs a mapping")
    return Method(str(values.get("name") or folder.resolve().name), math.nan if size is None else float(size), signal, notes)
