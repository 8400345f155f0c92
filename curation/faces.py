"""The faces of one clip on the sampled frames: in memory, or, of a clip of any length, on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curation.spool import Spool
from manifests.rows import Rows


@dataclass(frozen=True)
class Faces:
    """The faces of a clip, or of a stretch of it, on T sampled frames; NaN where the face is not seen.

    Attributes:
        times_ms: (T,) float64.
        n_faces: (T,) int16, faces seen at the frame.
        points_px: (T, 68, 2) float32, iBUG order, the main face.
        confidence: (T, 68) float32 in 0..1, 0 where the face is not seen.
    """

    times_ms: np.ndarray
    n_faces: np.ndarray
    points_px: np.ndarray
    confidence: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(T,) bool: the main face has landmarks."""
        return np.isfinite(self.points_px).all(axis=(1, 2))


class FaceRows(Protocol):
    """`Faces` whose points and confidence may lie on disk, to be read a stretch at a time."""

    @property
    def times_ms(self) -> np.ndarray: ...

    @property
    def n_faces(self) -> np.ndarray: ...

    @property
    def points_px(self) -> Rows: ...

    @property
    def confidence(self) -> Rows: ...


@dataclass(frozen=True)
class SpooledFaces:
    """`FaceRows` of a clip of any length: 10 bytes a frame in memory, the rest in a temporary file once it is much."""

    times_ms: np.ndarray
    n_faces: np.ndarray
    points_px: Spool
    confidence: Spool

    @classmethod
    def of(cls, stretches: Iterable[Faces]) -> SpooledFaces:
        """The faces of a clip from its stretches, in order."""
        times_ms, n_faces = [np.zeros(0)], [np.zeros(0, np.int16)]
        points_px, confidence = Spool(np.float32, (68, 2)), Spool(np.float32, (68,))
        for stretch in stretches:
            times_ms.append(stretch.times_ms)
            n_faces.append(stretch.n_faces)
            points_px.append(stretch.points_px)
            confidence.append(stretch.confidence)
        return cls(np.concatenate(times_ms), np.concatenate(n_faces), points_px, confidence)


def joined(stretches: Iterable[Faces]) -> Faces:
    """The faces of a clip from its stretches, in order, all in memory."""
    faces = SpooledFaces.of(stretches)
    return Faces(faces.times_ms, faces.n_faces, np.asarray(faces.points_px), np.asarray(faces.confidence))
