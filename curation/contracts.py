"""The shapes that the parts of curation hand to each other.

A source yields `Clip`s; `media` turns a clip into `Frame`s and sound in one decode; a landmark backend turns frames into `Faces`;
scorers read frames, faces and sound and fill manifest columns. Pixel coordinates are at source scale, x right, y down, after the
rotation that the file's metadata asks for. Times are milliseconds from the start of the clip's span.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from curation.errors import ClipError as ClipError
from curation.faces import FaceRows as FaceRows
from curation.faces import Faces as Faces
from manifests.ids import clip_id
from manifests.rows import Rows
from manifests.schema import Column

AUDIO_RATE_HZ = 16_000

TimeZero = Literal["first_frame", "container"]


@dataclass(frozen=True)
class Clip:
    """One span of one file, as a source names it.

    Attributes:
        source: the adapter's name (`folder`, `hdtf`, ...).
        source_key: names the *file or recording* within the source, independent of where the files lie (a relative path, a YouTube id).
        identity: whoever is seen; equal text = same person. Decides the train/test split.
        video_path: where the file lies now.
        start_ms, end_ms: the span; `end_ms = None` means to the end of the file.
        face_box_px: (x0, y0, x1, y1) of the face that the source's index means, if it names one; read it through `face_box_in`.
        face_box_width_px, face_box_height_px: size of the picture that `face_box_px` was measured in, which may be another download of
            the video; 1 x 1 for normalised boxes. None is the file's own; with the height alone, both axes are scaled by it.
        licence: the source's licence, for the record.
        time_zero: what `start_ms` and `end_ms` count from: the "first_frame" of the video, or time 0 of the "container", by which ffmpeg's
            `-ss` and `-to` cut. The two differ in files whose video begins later than their sound.
    """

    source: str
    source_key: str
    identity: str
    video_path: str
    start_ms: int = 0
    end_ms: int | None = None
    face_box_px: tuple[float, float, float, float] | None = None
    licence: str = ""
    face_box_width_px: float | None = None
    face_box_height_px: float | None = None
    time_zero: TimeZero = "first_frame"

    @cached_property
    def clip_id(self) -> str:
        return clip_id(self.source, self.source_key, self.start_ms, self.end_ms)

    def face_box_in(self, width_px: int, height_px: int) -> tuple[float, float, float, float] | None:
        """`face_box_px` in pixels of a picture of this size; None if the index names no box."""
        if self.face_box_px is None:
            return None
        scale_y = height_px / self.face_box_height_px if self.face_box_height_px else 1.0
        scale_x = width_px / self.face_box_width_px if self.face_box_width_px else scale_y
        x0, y0, x1, y1 = self.face_box_px
        return x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y


@dataclass(frozen=True)
class FileSpan:
    """A span of a file on the video's own clock; `curation.media.span_of` gives the one that a row of a manifest means.

    Attributes:
        video_path: the file.
        start_ms, end_ms: after the first frame of the video; `end_ms = None` means to the end of the file.
    """

    video_path: str
    start_ms: float = 0
    end_ms: float | None = None
    time_zero: ClassVar[TimeZero] = "first_frame"


@dataclass(frozen=True)
class IndexReport:
    """What a source's index names and the disk lacks, and what of it was left out.

    Attributes:
        n_named: files or lines that it names.
        missing: files that are not on the disk.
        malformed: `file:line: why` of the lines that were skipped.
        passed_over: (suffix, files) of what lies beside the videos and is none.
        notes: lines for a person: columns that are not read.
    """

    n_named: int = 0
    missing: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()
    passed_over: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def skipped(self) -> str:
        """What was left out, in a few words for the last line of a run; empty if nothing was."""
        counts = {"index line": len(self.malformed), "missing file": len(self.missing), "other file": sum(n for _, n in self.passed_over)}
        told = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in counts.items() if n)
        return f"left out: {told}" if told else ""


class Source(ABC):
    """One data set. Sub-classes live one a module in `curation/sources/` and are found by their `name`."""

    name: ClassVar[str]
    licence: str = ""

    @abstractmethod
    def clips(self) -> Iterator[Clip]:
        """Every clip that the index names and the disk has, in a stable order."""

    @abstractmethod
    def report(self) -> IndexReport:
        """What `clips` left out, and why."""


@dataclass(frozen=True)
class MediaInfo:
    """What the container says, of the whole file; sizes are after rotation. The first frame is shown `video_start_ms` after the container's
    time 0, and `duration_ms` counts from there."""

    width_px: int
    height_px: int
    fps: float
    n_frames: int | None
    duration_ms: float
    video_codec: str
    has_audio: bool
    audio_rate_hz: int | None
    rotation_deg: int = 0
    video_start_ms: float = 0.0


@dataclass(frozen=True)
class Frame:
    """A decoded frame. `rgb` may be a view of a buffer that the next frame overwrites: copy what must stay."""

    index: int
    time_ms: float
    rgb: np.ndarray  # (H, W, 3) uint8


class FaceTracker(Protocol):
    """State of one clip: fed every sampled frame in order, then asked for the faces."""

    def on_frame(self, frame: Frame) -> None: ...

    def finish(self) -> Faces: ...


@runtime_checkable
class FinishesInStretches(Protocol):
    """What a `FaceTracker` offers besides if it holds no long clip in memory."""

    def finish_in_stretches(self) -> Iterator[Faces]:
        """What `finish` gives, cut into stretches of the clip."""


@runtime_checkable
class SeesEveryFace(Protocol):
    """What a `FaceTracker` offers besides if it can serve scorers that read "tracks"."""

    def take_seen(self) -> list[np.ndarray]:
        """(n, 68, 2) float32 points of every face, for each frame from the last call on for which they are known by now: frame after frame
        without a hole, perhaps some frames late; after `finish`, all that are left."""


class Named(Protocol):
    """A part that is found by its name."""

    name: ClassVar[str]


class LandmarkBackend(Protocol):
    """Networks loaded once a worker. `name` names model and version and is written to `landmark_model`; `gpu_memory_mib` is what they may
    take of a GPU, 0 where they run on the CPU."""

    name: str

    @property
    def gpu_memory_mib(self) -> int: ...

    def track(self, clip: Clip, info: MediaInfo) -> FaceTracker: ...


@dataclass(frozen=True)
class Evidence:
    """All that was measured of a clip, for the scorers' `finish`.

    Attributes:
        audio: (N,) int16 mono at 16 kHz, sample 0 at the start of the span; None if the file has no audio stream.
        faces: landmarks rounded as the side table stores them, so that scoring from the table gives the same numbers.
            Of a long clip, sound and points lie on disk: read them a stretch at a time (`curation.blocks`).
    """

    clip: Clip
    media: MediaInfo
    sample_hz: float
    faces: FaceRows
    audio: Rows | None


class Scorer(ABC):
    """Fills some columns of a row. A new scorer is one module in `curation/scorers/`; nothing else changes.

    Attributes:
        name: stable name; the row records a hash of (name, version, settings) and is scored again when it changes.
        version: raise it when the same input would give other numbers.
        columns: what `finish` returns, as manifest columns (type, unit, meaning).
        reads: which evidence it needs, of {"frames", "faces", "tracks", "audio"}; "frames" means that re-scoring must decode the video
            again, "tracks" (every face on every frame, not only the main one) that it must find the landmarks again.
        A field `runtime` says where and how it runs, not what it measures, and another one scores nothing again.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[Column, ...]]
    reads: ClassVar[frozenset[str]] = frozenset({"faces"})

    @property
    def model_name(self) -> str:
        """Names the weights that it runs, if any; other weights give other numbers."""
        return ""

    @property
    def gpu_memory_mib(self) -> int:
        """What its networks may take of a GPU; 0 where they run on the CPU, or there are none."""
        return 0

    @property
    def notice(self) -> str:
        """One line for the start of a run: what it cannot measure, and the command that changes it; empty if nothing is missing."""
        return ""

    def begin(self, info: MediaInfo) -> None:
        """A new clip starts."""
        return None

    def on_frame(self, frame: Frame) -> None:
        """A sampled frame; called only if `reads` has "frames"."""
        return None

    def on_faces(self, points_px: np.ndarray) -> None:
        """(n, 68, 2) points of every face on the next frame, perhaps some frames after `on_frame`; called only if `reads` has "tracks"."""
        return None

    @abstractmethod
    def finish(self, evidence: Evidence) -> dict[str, Any]:
        """The values of `columns`; a missing key is null."""


@dataclass(frozen=True)
class ScoredClip:
    """A finished row, the landmarks that go to the side table (None where the clip failed), and the ms that each stage took just now."""

    row: dict[str, Any]
    faces: FaceRows | None = None
    spent_ms: dict[str, float] = field(default_factory=dict)
