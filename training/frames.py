"""Pictures and sound of a clip, cut to its square, straight from the video."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from curation import face_crop
from curation.contracts import Clip, ClipError
from curation.media import MediaReader
from inference.components import InferenceConfig, build_audio_encoder
from inference.driving.regions import RegionBoxes, region_boxes
from inference.models.audio_cache import AudioFeatureCache
from inference.models.audio_rows import audio_windows
from training.clips import ClipGeometry, ClipTable, TrainingClip, clip_geometry
from training.data_config import DataConfig

_GEOMETRIES_KEPT = 64


class ClipFrames(NamedTuple):
    """What a clip gives to a sample of F frames; S = size_px.

    Attributes:
        targets: (F, S, S, 3) uint8 RGB, or (F, C, h, w) float16 latents.
        reference: (S, S, 3) uint8, or (C, h, w) float16.
        driving: (F, S, S, 3) uint8, right at least inside `boxes`.
        boxes: the target's regions, in pixels of the crop.
        audio: (F, T, Ca) float16, or None where not asked for.
    """

    targets: np.ndarray
    reference: np.ndarray
    driving: np.ndarray
    boxes: RegionBoxes
    audio: np.ndarray | None


class FrameSource(Protocol):
    """Where samples get their pictures from: videos, or the latent cache."""

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

    def __init__(self, data: DataConfig, inference: InferenceConfig, table: ClipTable):
        self._data, self._inference, self._table = data, inference, table
        self._geometries: OrderedDict[str, ClipGeometry] = OrderedDict()
        self._open_in: int | None = None  # process id

    def __getstate__(self) -> dict:
        return {"_data": self._data, "_inference": self._inference, "_table": self._table}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["_data"], state["_inference"], state["_table"])

    def close(self) -> None:
        """Ends the child; it starts again when needed."""
        if self._open_in == os.getpid():
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
        geometry, size_px = self.geometry(clip), self._inference.size_px
        matrix = face_crop.crop_matrix(geometry.squares[crop], size_px)
        boxes = region_boxes(face_crop.transform_points(geometry.points_px[list(targets)], matrix), size_px)
        cut = self._cut(clip.video_path, clip.start_ms, geometry.times_ms[[reference, *targets]], matrix)
        driving = cut[1:]
        if variant is not None:
            # A variant shows the clip's first square and nothing else.
            first = face_crop.crop_matrix(geometry.squares[0], 1)
            driving = self._cut(clip.variants[variant], 0, geometry.times_ms[list(targets)], matrix, unit_of_picture=first)
        audio = self.audio(clip, targets) if with_audio else None
        return ClipFrames(cut[1:], cut[0], driving, boxes, audio)

    def audio(self, clip: TrainingClip, targets: Sequence[int]) -> np.ndarray:
        """(F, T, Ca) float16 windows of the target frames, from the cache of features.

        Raises:
            ClipError: no sound, or it cannot be decoded.
        """
        states = self._audio_features.features(audio_key(clip), lambda: self._waveform(clip))
        first, end = targets[0], targets[-1] + 1
        return audio_windows(states, self._inference.fps, end - first, first)[[k - first for k in targets]].numpy()

    def _cut(
        self, path: str, start_ms: float, times_ms: np.ndarray, matrix: np.ndarray, unit_of_picture: np.ndarray | None = None
    ) -> np.ndarray:
        """(n, S, S, 3) uint8 crops. With `unit_of_picture` the picture is not the source but what this matrix takes to 0..1."""
        pictures = self._reader.pictures_at(path, (start_ms + times_ms).tolist(), strict=True)
        if unit_of_picture is not None:
            height, width = pictures[0].shape[:2]
            if height != width:
                raise ClipError("decode_error", f"{path} is no variant of the clip: its pictures are {width} x {height} px, not square")
            matrix = _after(matrix, _scaled(unit_of_picture, width))
        return np.stack([face_crop.warp(picture, matrix, self._inference.size_px) for picture in pictures])

    def _waveform(self, clip: TrainingClip) -> torch.Tensor:
        span = Clip("training", clip.clip_id, clip.identity, clip.video_path, clip.start_ms, clip.end_ms)
        with self._reader.read(span, frames=False, audio=True) as stream:
            sound = stream.audio
        if sound is None or not len(sound):
            raise ClipError("no_frames", "the file has no sound")
        return torch.from_numpy(sound.astype(np.float32) / 32768)

    @property
    def _reader(self) -> MediaReader:
        self._open()
        return self._media

    @property
    def _audio_features(self) -> AudioFeatureCache:
        self._open()
        if self._features is None:
            self._features = AudioFeatureCache(self._data.audio_cache, build_audio_encoder(self._inference))
        return self._features

    def _open(self) -> None:
        """A forked worker must not speak with the child of the process that it came from."""
        if self._open_in != os.getpid():
            self._open_in = os.getpid()
            self._media = MediaReader(self._data.media)
            self._features: AudioFeatureCache | None = None


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


def _scaled(unit: np.ndarray, size_px: int) -> np.ndarray:
    """A matrix to 0..1 as one to 0..size_px."""
    return unit * size_px
