"""What is planted in the sample clips, as a table: `truth.csv`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

TRUTH_FILE = "truth.csv"


@dataclass(frozen=True)
class SampleTruth:
    """One row of `truth.csv`; None where the clip has nothing of the kind. Angles are in degrees, lengths in px of the clip.

    Attributes:
        file: name in the samples' directory.
        identity: whom the clip shows, for the 9:1 split.
        fault: what is planted; empty for a clean clip.
        expected_status: scored | failed.
        expected_error_kind: one of `manifests.ERROR_KINDS`; empty where scored.
        expected_reason: the reject reason of preset `embedded` that must be among the clip's; empty for a clean clip, which is accepted.
        width_px, height_px, duration_ms, n_frames: of the picture.
        n_faces, n_cuts: planted.
        offset_frames: frames by which the sound lies before the picture it belongs to; positive = the sound is early.
        yaw_deg_mean, pitch_deg_mean, roll_deg_mean: means of the absolute value, the head against the camera.
        yaw_turn_deg_mean, pitch_turn_deg_mean, roll_turn_deg_mean: the same, the head against the portrait's own pose.
        head_rotation_deg: mean angle by which the head is turned from the camera.
        face_width_px, face_height_px: box of the 68 points, medians.
        frames_file: truth of every frame (safetensors): see `render.py`.
        transcript: the words that are spoken.
    """

    file: str
    identity: str
    fault: str = ""
    expected_status: str = "scored"
    expected_error_kind: str = ""
    expected_reason: str = ""
    width_px: int | None = None
    height_px: int | None = None
    duration_ms: float | None = None
    n_frames: int | None = None
    n_faces: int | None = None
    n_cuts: int | None = None
    offset_frames: int | None = None
    yaw_deg_mean: float | None = None
    pitch_deg_mean: float | None = None
    roll_deg_mean: float | None = None
    yaw_turn_deg_mean: float | None = None
    pitch_turn_deg_mean: float | None = None
    roll_turn_deg_mean: float | None = None
    head_rotation_deg: float | None = None
    face_width_px: float | None = None
    face_height_px: float | None = None
    frames_file: str = ""
    transcript: str = ""

    @property
    def is_clean(self) -> bool:
        return not self.fault


def write_truth(path: Path, truths: list[SampleTruth]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(SampleTruth)], lineterminator="\n")
        writer.writeheader()
        for truth in truths:
            writer.writerow({name: "" if value is None else value for name, value in asdict(truth).items()})


def read_truth(path: Path) -> list[SampleTruth]:
    """The rows of a `truth.csv`. Raises ValueError if the file is not one."""
    readers: dict[Any, Callable[[str], Any]] = {
        "str": str,
        "int | None": lambda text: int(text) if text else None,
        "float | None": lambda text: float(text) if text else None,
    }
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [SampleTruth(**{f.name: readers[f.type](row[f.name]) for f in fields(SampleTruth)}) for row in rows]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a truth.csv of this version: {error}") from error
