"""The first seconds of real clips, in memory, and the corpus that they come from."""

from __future__ import annotations

import csv
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from curation.contracts import Clip, LandmarkBackend
from curation.media import MediaReader
from curation.media.timing import exact_rate
from manifests import UserError

HEIGHT_PX = 720  # larger frames are kept at this height: the model sees 128 px of them


@dataclass
class FirstSeconds:
    """A `Footage` of a clip's beginning; see `inference.driving.contracts`."""

    name: str
    fps: Fraction
    rgb: list[np.ndarray]
    points_px: np.ndarray
    n_faces: np.ndarray
    audio: np.ndarray | None
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        return len(self.rgb)

    @property
    def height_px(self) -> int:
        return int(self.rgb[0].shape[0])

    @property
    def width_px(self) -> int:
        return int(self.rgb[0].shape[1])

    def frames(self) -> Generator[np.ndarray, None, None]:
        yield from self.rgb

    def frame(self, index: int) -> np.ndarray:
        return self.rgb[index]

    def close(self) -> None:
        pass


def read_first(path: Path, seconds: float, backend: LandmarkBackend) -> FirstSeconds:
    """The frames of the first `seconds` with landmarks found on them as for any driver, and their sound."""
    import cv2

    with MediaReader() as reader:
        info = reader.probe(str(path))
        clip = Clip("anyone", path.name, "", str(path), 0, min(round(1000 * seconds), int(info.duration_ms)))
        tracker = backend.track(clip, info)
        rgb = []
        with reader.read(clip, sample_hz=float(min(exact_rate(info.fps), Fraction(30)))) as stream:
            for frame in stream.frames():
                tracker.on_frame(frame)
                scale = min(1.0, HEIGHT_PX / frame.rgb.shape[0])
                rgb.append(cv2.resize(frame.rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame.rgb.copy())
            audio = stream.audio
    faces, rate = tracker.finish(), min(exact_rate(info.fps), Fraction(30))
    return FirstSeconds(path.name, rate, rgb, faces.points_px * scale, faces.n_faces, audio)


def single_face_clips(corpus: Path) -> list[Path]:
    """Real clips of one person whose first four seconds hold no cut, the smallest first; each person as often as the corpus has clips.

    Raises:
        UserError: no corpus there.
    """
    if not (corpus / "clips.csv").is_file():
        raise UserError(f"no corpus of real clips at {corpus}: give its folder by --corpus")
    with (corpus / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "real" and row["faces_median_yunet"] == row["faces_max_yunet"] == "1"]
    steady = [row for row in rows if all(int(cut) > 4 * float(row["fps"]) for cut in row["cut_frames_by_eye"].split()[:1])]
    return [corpus / row["file"] for row in sorted(steady, key=lambda row: int(row["width"]) * int(row["height"]))]


def portraits(corpus: Path) -> list[Path]:
    """Pictures of one real face."""
    with (corpus / "portraits.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "photo" and row["faces_yunet"] == "1"]
    return [corpus / row["file"] for row in rows]


def speech(corpus: Path) -> list[Path]:
    """Recordings of speech."""
    with (corpus / "speech.csv").open(newline="") as file:
        return [corpus / row["file"] for row in csv.DictReader(file)]
