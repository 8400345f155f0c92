"""Pictures and sound of a clip, cut to its square, straight from the video."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from curation import face_crop
from curation.contracts import ClipError
from curation.media import MediaReader
from inference.driving.moved_reference import moved_reference
from inference.driving.regions import RegionBoxes, chin_boxes, clip_patches, region_boxes
from inference.models.audio_cache import AudioFeatureCache
from inference.models.audio_rows import audio_windows
from inference.models.components import InferenceConfig, build_audio_encoder
from training.data.clips import ClipGeometry, ClipTable, TrainingClip, clip_geometry
from training.data.config import DataConfig

_GEOMETRIES_KEPT = 64  # clips whose landmarks a worker keeps: some MB in all
_PICTURES_AT_ONCE = 16  # at source size: bounds the memory of a request


class FaceParts(NamedTuple):
    """Where the face lies in F frames, in pixels of the crop.

    Attributes:
        regions: eyes and mouth of each frame.
        chin: (F, 4), the mouth down to the chin.
        patches: (F, 3, 4) what the driven image shows (right eye, left eye, mouth), before it is moved at random and cut
            (`inference.driving.regions.placed`).
    """

    regions: RegionBoxes
    chin: np.ndarray
    patches: np.ndarray


class ClipFrames(NamedTuple):
    """What a clip gives to a sample of F frames; S = size_px.

    Attributes:
        targets: (F, S, S, 3) uint8 RGB, or (F, C, h, w) float16 latents.
        reference: (S, S, 3) uint8, or (C, h, w) float16.
        driving: (F, S, S, 3) uint8, right at least wherever a patch may be moved to (`training.data.patch_change.reach`).
        parts: where the target's face lies.
        audio: (F, T, Ca) float16, or None where not asked for.
        moved: (F, S, S, 3) uint8, the reference moved to each target's head; None where the model takes none.
    """

    targets: np.ndarray
    reference: np.ndarray
    driving: np.ndarray
    parts: FaceParts
    audio: np.ndarray | None
    moved: np.ndarray | None = None


class CutBySquare(NamedTuple):
    """Frames of a clip, cut by one of its squares.

    Attributes:
        pictures: (F, S, S, 3) uint8.
        parts: where the face lies.
        variants: the same pictures of each offline variant.
        points_px: (F, 68, 2) float64 landmarks on the pictures.
    """

    pictures: np.ndarray
    parts: FaceParts
    variants: list[np.ndarray]
    points_px: np.ndarray


class FrameSource(Protocol):
    """Where samples get their pictures from: videos, or the latent cache.

    Attributes:
        at_once: samples that are worth making side by side in one process.
    """

    at_once: int

    def usable(self, clip: TrainingClip, crop: int) -> np.ndarray:
        """(T,) bool: the clip's frames that may be chosen."""
        ...

    def frames(
        self, clip: TrainingClip, crop: int, reference: int, targets: Sequence[int], with_audio: bool, variant: int | None
    ) -> ClipFrames:
        """The chosen frames; `variant` indexes `clip.variants`, or is None."""
        ...


class VideoFrames:
    """Reads the clips' videos through a decoding child (`MediaReader`), which has deadlines and may die.

    Each process that uses it has its own child and encoder; it may be handed to worker processes by fork or by pickle.
    """

    at_once = 2  # the child decodes the next sample while this process crops the last one

    def __init__(self, data: DataConfig, inference: InferenceConfig, table: ClipTable, audio_device: str = "cpu"):
        self._begin(data, inference, table, audio_device)

    def _begin(self, data: DataConfig, inference: InferenceConfig, table: ClipTable, audio_device: str) -> None:
        self._data, self._inference, self._table, self._audio_device = data, inference, table, audio_device
        self._geometries: OrderedDict[str, ClipGeometry] = OrderedDict()
        self._open_in: int | None = None  # process id
        self._media: MediaReader | None = None
        self._features: AudioFeatureCache | None = None
        self._lock = threading.RLock()  # of the child and of what is kept: two threads make samples

    def __getstate__(self) -> dict:
        return {"arguments": (self._data, self._inference, self._table, self._audio_device)}

    def __setstate__(self, state: dict) -> None:
        self._begin(*state["arguments"])

    def close(self) -> None:
        """Ends the child; it starts again when needed."""
        with self._lock:
            if self._media is not None and self._open_in == os.getpid():
                self._media.close()

    def geometry(self, clip: TrainingClip) -> ClipGeometry:
        """Squares and landmarks; the last ones stay in memory.

        Raises:
            UserError: no landmarks, no face.
        """
        found = self._geometries.get(clip.clip_id)
        if found is None:
            data = self._data
            found = clip_geometry(self._table.landmarks, clip.clip_id, self._inference.crop_scale, data.crops_per_clip, data.crop_jitter)
            with self._lock:
                self._geometries[clip.clip_id] = found
                if len(self._geometries) > _GEOMETRIES_KEPT:
                    self._geometries.popitem(last=False)
        return found

    def usable(self, clip: TrainingClip, crop: int) -> np.ndarray:
        """Frames with a face; see `FrameSource`."""
        return self.geometry(clip).seen

    def frames(
        self, clip: TrainingClip, crop: int, reference: int, targets: Sequence[int], with_audio: bool, variant: int | None
    ) -> ClipFrames:
        """See `FrameSource`.

        Raises:
            ClipError: what `MediaReader.pictures_at` and `read` raise.
        """
        geometry = self.geometry(clip)
        matrix, parts = self._placed(geometry, crop, targets)
        pictures = self._pictures(clip.video_path, clip.start_ms + geometry.times_ms[[reference, *targets]])
        cut = self._cut(pictures, matrix)
        driving = cut[1:]
        if variant is not None:
            driving = self._cut_variant(clip.variants[variant], geometry, targets, matrix)
        audio = self.audio(clip, targets) if with_audio else None
        moved = None
        if self._inference.model.copied_reference == "moved":
            points = face_crop.transform_points(geometry.points_px[[reference, *targets]], matrix).astype(
                np.float32
            )  # as the cache has them
            moved = moved_reference(cut[0], points[0], points[1:])
        return ClipFrames(cut[1:], cut[0], driving, parts, audio, moved)

    def cut_by_every_square(self, clip: TrainingClip, targets: Sequence[int]) -> Iterator[CutBySquare]:
        """For each of the clip's squares: the pictures, the face's parts, and the same pictures of each variant. Decodes
        once a square, so that no more than one square's pictures are in memory.

        Raises:
            ClipError: what `MediaReader.pictures_at` raises.
        """
        geometry = self.geometry(clip)
        for crop in range(self._data.crops_per_clip):
            matrix, parts = self._placed(geometry, crop, targets)
            pictures = self._cut_streamed(clip, geometry, targets, matrix)
            variants = [self._cut_variant(path, geometry, targets, matrix) for path in clip.variants]
            yield CutBySquare(pictures, parts, variants, face_crop.transform_points(geometry.points_px[list(targets)], matrix))

    def audio(self, clip: TrainingClip, targets: Sequence[int]) -> np.ndarray:
        """(F, T, Ca) float16 windows of the target frames, from the cache of features.

        Raises:
            ClipError: no sound, or it cannot be decoded.
        """
        states = self._audio_features.features(audio_key(clip), lambda: self._waveform(clip))
        first, end = targets[0], targets[-1] + 1
        return audio_windows(states, self._inference.fps, end - first, first)[[k - first for k in targets]].numpy()

    def _placed(self, geometry: ClipGeometry, crop: int, targets: Sequence[int]) -> tuple[np.ndarray, FaceParts]:
        """The matrix of a square, and where the face lies in its crop of the target frames."""
        inference, rows = self._inference, list(targets)
        matrix = face_crop.crop_matrix(geometry.squares[crop], inference.size_px)
        points = face_crop.transform_points(geometry.points_px, matrix)
        regions = region_boxes(points[rows], inference.size_px)
        patches = clip_patches(points, inference.patch_rule)[rows]
        return matrix, FaceParts(regions, chin_boxes(points[rows], regions, inference.size_px), patches)

    def _pictures(self, path: str, times_ms: np.ndarray) -> list[np.ndarray]:
        with self._lock:
            return self._reader_here().pictures_at(path, times_ms.tolist(), strict=True)

    def _cut(self, pictures: Sequence[np.ndarray], matrix: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) uint8 crops."""
        return np.stack([face_crop.warp(picture, matrix, self._inference.size_px) for picture in pictures])

    def _cut_streamed(self, clip: TrainingClip, geometry: ClipGeometry, targets: Sequence[int], matrix: np.ndarray) -> np.ndarray:
        """As `_cut`, a few pictures at a time: those of a whole clip at source size would fill the memory."""
        parts = []
        for start in range(0, len(targets), _PICTURES_AT_ONCE):
            times_ms = clip.start_ms + geometry.times_ms[list(targets[start : start + _PICTURES_AT_ONCE])]
            parts.append(self._cut(self._pictures(clip.video_path, times_ms), matrix))
        return np.concatenate(parts)

    def _cut_variant(self, path: str, geometry: ClipGeometry, targets: Sequence[int], matrix: np.ndarray) -> np.ndarray:
        """(F, S, S, 3) uint8 of a variant, which shows the clip's first square and nothing else."""
        pictures = self._pictures(path, geometry.times_ms[list(targets)])
        height, width = pictures[0].shape[:2]
        if height != width:
            raise ClipError("decode_error", f"{path} is no variant of the clip: its pictures are {width} x {height} px, not square")
        shown = face_crop.crop_matrix(geometry.squares[0], width)
        return self._cut(pictures, _after(matrix, shown))

    def _waveform(self, clip: TrainingClip) -> torch.Tensor:
        with self._lock, self._reader_here().read(clip.span, frames=False, audio=True) as stream:
            sound = stream.audio
        if sound is None or not len(sound):
            raise ClipError("no_frames", "the file has no sound")
        return torch.from_numpy(sound.astype(np.float32) / 32768)

    def _reader_here(self) -> MediaReader:
        """This process's reader: a forked worker must not speak with the child of the process that it came from."""
        if self._media is None or self._open_in != os.getpid():
            self._open_in, self._media, self._features = os.getpid(), MediaReader(self._data.media), None
        return self._media

    @property
    def _audio_features(self) -> AudioFeatureCache:
        with self._lock:
            if self._features is None or self._open_in != os.getpid():
                self._reader_here()
                self._features = AudioFeatureCache(self._data.audio_cache, build_audio_encoder(self._inference, self._audio_device))
            return self._features


def audio_key(clip: TrainingClip) -> str:
    """Names a clip's sound in the cache of features; another file at the same place has another size.

    Raises:
        ClipError: missing_file.
    """
    try:
        return f"{clip.clip_id}:{clip.start_ms}:{clip.end_ms}:{Path(clip.video_path).stat().st_size}"
    except OSError as error:
        raise ClipError("missing_file", f"{clip.video_path}: {error.strerror}") from error


def _after(matrix: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine map that takes what `first` gives to what `matrix` gives: matrix ∘ first⁻¹."""
    inverse = np.linalg.inv(first[:, :2])
    linear = matrix[:, :2] @ inverse
    return np.column_stack([linear, matrix[:, 2] - linear @ first[:, 2]])
