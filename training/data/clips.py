"""The clips that a run trains on, from a manifest: which rows can serve, why others cannot, and their geometry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

import manifests
from curation import face_crop
from curation.contracts import FileSpan
from curation.media import span_of
from manifests import LandmarkIndex, UserError
from training.data.draws import draws

VARIANT_KINDS = ("swap", "stylise", "rerender")  # `python -m training augment` fills driven_KIND_path and driven_KIND_frames


@dataclass(frozen=True)
class TrainingClip:
    """One row that can be trained on.

    Attributes:
        start_ms, end_ms: its part of the file, after the file's first frame.
        variants: videos of the same frames, cut by the clip's first square, whose faces were swapped, stylised or rendered anew.
        variant_frames: of each, the frames of the clip that were made; None where all were.
        split: of the manifest.
    """

    clip_id: str
    identity: str
    video_path: str
    start_ms: float
    end_ms: float | None
    variants: tuple[str, ...] = ()
    variant_frames: tuple[tuple[int, ...] | None, ...] = ()
    split: str = "train"

    @property
    def span(self) -> FileSpan:
        return FileSpan(self.video_path, self.start_ms, self.end_ms)

    def variant_has(self, variant: int, frames: Sequence[int]) -> bool:
        """Whether a variant shows all of these frames."""
        made = self.variant_frames[variant] if self.variant_frames else None
        return made is None or set(frames) <= set(made)


@dataclass(frozen=True)
class ClipTable:
    """The clips in the manifest's order, and the rows that the query selects and that cannot serve.

    Attributes:
        clips: what is trained on.
        landmarks: of all of them.
        left_out: reason -> clip ids, for the run's report.
    """

    clips: tuple[TrainingClip, ...]
    landmarks: LandmarkIndex
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def fingerprint(self) -> str:
        """Names the list of clips; another list is another stream of samples."""
        digest = hashlib.blake2b(digest_size=8)
        for clip in self.clips:
            digest.update(f"{clip.clip_id}\n".encode())
        return digest.hexdigest()

    def only(self, clip_ids: Set[str], otherwise: str) -> ClipTable:
        """Those clips; the others are left out for the reason `otherwise`.

        Raises:
            UserError: none is left.
        """
        kept = tuple(clip for clip in self.clips if clip.clip_id in clip_ids)
        if not kept:
            raise UserError(f"all {len(self)} clips are {otherwise}")
        gone = tuple(clip.clip_id for clip in self.clips if clip.clip_id not in clip_ids)
        return ClipTable(kept, self.landmarks, self.left_out | ({otherwise: gone} if gone else {}))

    def describe(self) -> str:
        """One line for a person."""
        ids = len({clip.identity for clip in self.clips})
        text = f"{len(self)} clips of {ids} identities"
        return text + "".join(f"; left out: {len(names)} {reason}" for reason, names in self.left_out.items())


@dataclass(frozen=True)
class OpenManifest:
    """A manifest and the index of its landmarks, read once; a run chooses its clips, those held out and those to cache from it.

    Attributes:
        path: a run's directory (its `landmarks/` lie there), or a Parquet file in one.
        rows: the whole table.
        landmarks: of all rows that have any.
    """

    path: str
    rows: pd.DataFrame
    landmarks: LandmarkIndex

    @classmethod
    def read(cls, path: str | os.PathLike) -> OpenManifest:
        """
        Raises:
            UserError: no manifest, or no landmarks.
        """
        text = str(path)
        folder = text.rpartition("/")[0] or "." if text.endswith(".parquet") else path
        return cls(text, manifests.load(path), LandmarkIndex(folder))

    def clips(self, where: str, split: str, fps: float, needs_audio: bool) -> ClipTable:
        """The clips that training can use.

        Args:
            where: a pandas query over the manifest's columns, "" for all rows.
            split: "train", "test" or "all".
            fps: the rate at which landmarks must have been sampled.
            needs_audio: leave clips without sound out (stages 2 and 3: sound is a condition there).

        Raises:
            UserError: a query that cannot be read, or no clip that can serve.
        """
        selected = _query(self.rows, where)
        if split != "all":
            selected = selected[selected["split"] == split]
        clips: list[TrainingClip] = []
        left_out: dict[str, list[str]] = {}
        seen: set[str] = set()
        for row in selected.to_dict("records"):
            reason = _unfit(row, self.landmarks, fps, needs_audio, seen)
            if reason:
                left_out.setdefault(reason, []).append(str(row["clip_id"]))
                continue
            seen.add(row["clip_id"])
            clips.append(_training_clip(row))
        if not clips:
            told = ", ".join(f"{len(names)} {reason}" for reason, names in left_out.items())
            raise UserError(
                f"{self.path} has no clip to train on: {len(selected)} of {len(self.rows)} rows are of split {split!r} where {where!r}"
                + (f", of which {told}" if told else "")
            )
        return ClipTable(tuple(clips), self.landmarks, {reason: tuple(names) for reason, names in left_out.items()})


def load_clips(manifest: str | os.PathLike | OpenManifest, where: str, split: str, fps: float, needs_audio: bool) -> ClipTable:
    """`OpenManifest.clips` of a manifest that is open, or is read now."""
    opened = manifest if isinstance(manifest, OpenManifest) else OpenManifest.read(manifest)
    return opened.clips(where, split, fps, needs_audio)


def _training_clip(row: dict) -> TrainingClip:
    kinds = [kind for kind in VARIANT_KINDS if _is_text(row.get(f"driven_{kind}_path"))]
    made = [row.get(f"driven_{kind}_frames") for kind in kinds]
    span = span_of(row)
    return TrainingClip(
        clip_id=row["clip_id"],
        identity=str(row["identity"]),
        video_path=row["video_path"],
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        variants=tuple(row[f"driven_{kind}_path"] for kind in kinds),
        variant_frames=tuple(tuple(int(k) for k in frames) if isinstance(frames, list | np.ndarray) else None for frames in made),
        split=str(row["split"]),
    )


def _query(table: pd.DataFrame, where: str) -> pd.DataFrame:
    if not where:
        return table
    try:
        return table.query(where)
    except Exception as error:  # pandas hands the text to its parser and to Python: any kind may come back
        raise UserError(f"the query {where!r} cannot be read: {' '.join(str(error).split())}") from error


def _unfit(row: dict, index: LandmarkIndex, fps: float, needs_audio: bool, seen: set[str]) -> str | None:
    """Why a row cannot be trained on."""
    if not all(_is_text(row[name]) for name in ("clip_id", "video_path")) or pd.isna(row["start_ms"]) or row["start_ms"] < 0:
        return "with a damaged row"
    if not pd.isna(row["end_ms"]) and row["end_ms"] <= row["start_ms"]:
        return "with a damaged row"
    if row["clip_id"] in seen:
        return "twice in the manifest"
    if row["clip_id"] not in index:
        return "without landmarks"
    if not abs(row["landmark_hz"] - fps) < 0.01:
        return f"with landmarks at another rate than {fps:g} Hz"
    if needs_audio and (pd.isna(row["has_audio"]) or not row["has_audio"]):
        return "without sound"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


class ClipOrder:
    """Which clip serves a sample: every epoch is a permutation of its own, so that each clip comes once an epoch."""

    def __init__(self, num_clips: int, seed: int, stage: int):
        self._num_clips, self._seed, self._stage = num_clips, seed, stage
        self._kept = (-1, np.zeros(0, np.int64))  # the epoch in hand and its order; replaced as a whole, because threads share it

    def clip_of(self, sample_index: int, attempt: int = 0) -> int:
        """Position in the table; for a later attempt any clip."""
        if attempt:
            return int(draws(self._seed, self._stage, sample_index, "clip", attempt).integers(self._num_clips))
        epoch, place = divmod(sample_index, self._num_clips)
        kept = self._kept
        if epoch != kept[0]:
            kept = self._kept = (epoch, draws(self._seed, self._stage, epoch, "clip order").permutation(self._num_clips))
        return int(kept[1][place])


@dataclass(frozen=True)
class ClipGeometry:
    """The landmarks of a clip and its squares.

    Attributes:
        times_ms: (T,) from the start of the clip.
        points_px: (T, 68, 2) float64 in source px; NaN where the face is not seen.
        seen: (T,) bool.
        squares: (crops_per_clip, 3) float64, see `curation.face_crop`.
    """

    times_ms: np.ndarray
    points_px: np.ndarray
    seen: np.ndarray
    squares: np.ndarray


def clip_geometry(index: LandmarkIndex, clip_id: str, scale: float, crops_per_clip: int, jitter: float) -> ClipGeometry:
    """Reads a clip's landmarks and places its squares; the same for the loader and the latent cache.

    Raises:
        UserError: no landmarks, or no frame with a face.
    """
    landmarks = index.load(clip_id)
    points = landmarks.points_px.astype(np.float64)
    first = face_crop.clip_square(points, scale)
    squares = [first]
    for crop in range(1, crops_per_clip):
        identity = int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=7).digest(), "big")
        x, y, size = 2 * draws(0, 0, identity, "crop", crop).random(3) - 1
        squares.append(np.array([first[0] + jitter * x * first[2], first[1] + jitter * y * first[2], first[2] * (1 + jitter * size)]))
    return ClipGeometry(landmarks.times_ms, points, np.asarray(np.isfinite(points).all(axis=(1, 2))), np.stack(squares))


def choose_frames(
    usable: np.ndarray, num_frames: int, stride: int, min_gap: int, rng: np.random.Generator
) -> tuple[int, Sequence[int]] | None:
    """(reference frame, target frames), at least `min_gap` apart; None where the clip has no such frames.

    Args:
        usable: (T,) bool, frames that may be chosen.
        num_frames, stride: the target frames are `start, start + stride, ...`.
        rng: draws the start uniformly among those possible, then the reference uniformly.
    """
    span = (num_frames - 1) * stride + 1
    n_starts = len(usable) - span + 1
    if n_starts < 1:
        return None
    starts = np.ones(n_starts, bool)
    for k in range(num_frames):
        starts &= usable[k * stride : k * stride + n_starts]
    at = np.flatnonzero(usable)
    if not len(at):
        return None
    possible = np.flatnonzero(starts)
    # Some usable frame lies `min_gap` before the first target frame or after the last one.
    possible = possible[(at[0] <= possible - min_gap) | (at[-1] >= possible + span - 1 + min_gap)]
    if not len(possible):
        return None
    start = int(possible[rng.integers(len(possible))])
    references = at[(at <= start - min_gap) | (at >= start + span - 1 + min_gap)]
    return int(references[rng.integers(len(references))]), range(start, start + span, stride)
