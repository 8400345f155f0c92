"""What a face does, as numbers a frame: planted on the mesh, and read from a picture by landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.anyone.reading import Reader
from curation.landmarks.lids import LidNetwork
from curation.landmarks.sixty_eight import LEFT_BROW, RIGHT_BROW, interocular
from inference.driving.estimator import fit_similarity
from inference.evaluation.metrics.face import mouth_opening

FACTORS = ("lips", "lids", "brows", "gaze_x", "gaze_y", "roll", "shift_x", "shift_y", "zoom")
"""Columns of every track. Planted: lip gap, lid gap and brow height in eye distances, gaze in degrees (right, down in the picture), roll in
degrees, shift in eye distances, zoom as a factor. Read: the same, but gaze as the iris' place between the eye's corners, in eye widths."""
UNITS = ("eye distances", "eye distances", "eye distances", "deg", "deg", "deg", "eye distances", "eye distances", "factor")
SOUND = "sound"
SIGNALS = (*FACTORS, SOUND)
"""What is planted in a driver: its factors, and the lip gap (eye distances) of whoever speaks the sound."""
READ = (0, 1, 2, 3, 5, 6, 7, 8)
"""Columns of `FACTORS` that landmarks read at 128 px; how far the eyes look up or down is not among them (r 0.1 to 0.5)."""
SIGNAL_OF = {"lips": "mouth", "lids": "eyes", "brows": "eyes", "gaze_x": "eyes", "gaze_y": "eyes", SOUND: "sound"} | dict.fromkeys(
    ("roll", "shift_x", "shift_y", "zoom"), "head"
)
_EYE_CORNERS = [36, 39, 42, 45]
_LIDS = (([37, 38], [41, 40]), ([43, 44], [47, 46]))  # upper, lower
_STEADY = [27, 28, 29, *_EYE_CORNERS]  # of the rigid points those that speech does not move; it spreads the wings of the nose


def head_tracks(points_px: np.ndarray, about_px: np.ndarray) -> np.ndarray:
    """(T, 4) roll, shift in x and y, zoom of the bridge of the nose and the eyes' corners of (T, 68, 2) points against (68, 2) `about_px`;
    NaN stays NaN."""
    tracks = np.full((len(points_px), 4), np.nan)
    seen = np.isfinite(points_px).all(axis=(1, 2))
    source = about_px[_STEADY].astype(float)
    unit = float(interocular(about_px[None].astype(float))[0])
    maps = fit_similarity(source, points_px[seen][:, _STEADY].astype(float))
    middles = np.einsum("fij,j->fi", maps[:, :, :2], source.mean(0)) + maps[:, :, 2]
    tracks[seen, 0] = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    tracks[seen, 1:3] = middles / unit
    tracks[seen, 3] = np.hypot(maps[:, 0, 0], maps[:, 1, 0])
    return tracks


def brow_heights(points_px: np.ndarray) -> np.ndarray:
    """(T,) how far the brows' middles lie above the eyes' corners along the face, in eye distances."""
    right, left = points_px[:, 36:40:3].mean(1), points_px[:, 42:46:3].mean(1)
    across = (left - right) / np.linalg.norm(left - right, axis=1, keepdims=True)
    up = np.stack([across[:, 1], -across[:, 0]], axis=1)
    brows = np.concatenate([points_px[:, RIGHT_BROW], points_px[:, LEFT_BROW]], axis=1).mean(1)
    return np.asarray(((brows - points_px[:, _EYE_CORNERS].mean(1)) * up).sum(1) / np.linalg.norm(left - right, axis=1))


def lid_gaps(points_px: np.ndarray) -> np.ndarray:
    """(T,) mean distance of the lids' middles of both eyes, in eye distances."""
    gaps = [np.linalg.norm(points_px[:, upper] - points_px[:, lower], axis=-1) for upper, lower in _LIDS]
    return np.asarray(np.concatenate(gaps, axis=1).mean(1) / interocular(points_px))


def planted(points_px: np.ndarray, gaze_deg: np.ndarray) -> np.ndarray:
    """(T, 9) float64, columns `FACTORS`, of a clip's (T, 68, 2) points on the mesh; gaze_deg (T, 2) as the pose has it. Head motion is
    measured from the first frame."""
    points = points_px.astype(float)
    return np.column_stack([mouth_opening(points), lid_gaps(points), brow_heights(points), gaze_deg, head_tracks(points, points[0])])


@dataclass(frozen=True)
class Seen:
    """points_px (T, 68, 2) and tracks (T, 9) of `FACTORS`, NaN where no face is found."""

    points_px: np.ndarray
    tracks: np.ndarray


class FactorReader:
    """Reads `FACTORS` from frames by FaceMesh and the iris network, each frame by itself."""

    def __init__(self) -> None:
        self._reader, self._lids = Reader(), LidNetwork()

    def read(self, frames: np.ndarray, about_px: np.ndarray) -> Seen:
        """(T, H, W, 3) uint8; head motion is measured from (68, 2) `about_px`."""
        reading = self._reader.read(frames, about_px)
        found, points = reading.tracks, reading.points_px
        gaze = np.full((len(frames), 2), np.nan)
        for k in np.flatnonzero(reading.found):
            gaze[k] = self._gaze(frames[k], points[k])
        return Seen(points, np.column_stack([found["mouth"], found["eyes"], brow_heights(points), gaze, head_tracks(points, about_px)]))

    def _gaze(self, rgb: np.ndarray, points_px: np.ndarray) -> np.ndarray:
        """(2,) iris against the middle of the eye's corners, along and across the line between them, in eye widths; both eyes' mean."""
        places = []
        for iris, (first, second) in zip(self._lids.irises(rgb, points_px), ((36, 39), (42, 45)), strict=True):
            across = points_px[second] - points_px[first]
            off = iris - (points_px[first] + points_px[second]) / 2
            places.append(np.array([off @ across, across[0] * off[1] - across[1] * off[0]]) / (across @ across))
        return np.asarray(np.mean(places, axis=0))
