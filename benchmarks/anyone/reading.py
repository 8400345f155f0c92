"""What is read from the frames of a result or a control, and held against the driver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.people.recognition import Recogniser
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.lids import LidNetwork
from curation.landmarks.sixty_eight import RIGID
from inference.driving.estimator import fit_similarity
from inference.evaluation.metrics.face import correlation, mouth_opening

BLOCK_PX = 8
LOOKS = 7
"""Of the mesh at a face: its own noise, a percent of the face's size from frame to frame at one look, is not the model's."""
MOVES = {"mouth": 0.03, "eyes": 0.02, "roll_deg": 1.0, "shift": 0.03, "zoom": 0.02}
"""Standard deviation over a clip from which on something moves; openings and shifts in eye distances."""


@dataclass(frozen=True)
class Reading:
    """Of F frames; NaN where no face is found.

    Attributes:
        points_px: (F, 68, 2).
        tracks: (F,) mouth and eye opening in eye distances, roll in degrees, shift in x and y in eye distances, zoom as a factor.
    """

    points_px: np.ndarray
    tracks: dict[str, np.ndarray]

    @property
    def found(self) -> np.ndarray:
        return np.asarray(np.isfinite(self.points_px).all(axis=(1, 2)))


class Reader:
    """Finds faces frame by frame, so that no frame profits from its neighbours.

    Args:
        looks: of the mesh at each face, see `FaceMesh`.
    """

    def __init__(self, looks: int = LOOKS) -> None:
        self._mesh, self._lids = FaceMesh(looks=looks), LidNetwork()

    def read(self, frames: np.ndarray, about_px: np.ndarray) -> Reading:
        """(F, H, W, 3) uint8; `about_px` (68, 2) are the points that motion is measured from."""
        points = np.full((len(frames), 68, 2), np.nan)
        for k, frame in enumerate(frames):
            if k and np.array_equal(frame, frames[k - 1]):  # a portrait held still
                points[k] = points[k - 1]
                continue
            faces = self._mesh.detect_image(np.ascontiguousarray(frame))
            if faces:
                points[k] = faces[0].points_px
        return Reading(points, tracks(frames, points, about_px, self._lids))


def tracks(frames: np.ndarray, points_px: np.ndarray, about_px: np.ndarray, lids: LidNetwork) -> dict[str, np.ndarray]:
    """See `Reading`."""
    found = np.isfinite(points_px).all(axis=(1, 2))
    maps = np.full((len(points_px), 2, 3), np.nan)
    source = about_px[RIGID]
    if found.any():
        maps[found] = fit_similarity(source, points_px[found][:, RIGID])
    unit = float(np.linalg.norm(about_px[36:42].mean(0) - about_px[42:48].mean(0)))
    middles = np.einsum("fij,j->fi", maps[:, :, :2], source.mean(0)) + maps[:, :, 2]
    return {
        "mouth": mouth_opening(points_px),
        "eyes": lids.openings(frames, points_px),
        "roll_deg": np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0])),
        "shift_x": middles[:, 0] / unit,
        "shift_y": middles[:, 1] / unit,
        "zoom": np.hypot(maps[:, 0, 0], maps[:, 1, 0]),
    }


def followed(ours: Reading, drivers: Reading) -> dict[str, float]:
    """Correlations over time with the driver, of what moves there; 0 where the answer does not move at all, absent where the driver does
    not. Shift is the mean of both axes that move."""
    count = min(len(ours.points_px), len(drivers.points_px))
    both = ours.found[:count] & drivers.found[:count]
    result: dict[str, float] = {"found": float(ours.found[:count][drivers.found[:count]].mean())}
    shifts = []
    for name, theirs in drivers.tracks.items():
        a, b = ours.tracks[name][:count][both], theirs[:count][both]
        known = np.isfinite(a) & np.isfinite(b)
        a, b = a[known], b[known]
        if len(a) < 10 or b.std() < MOVES["shift" if name.startswith("shift") else name]:
            continue
        r = correlation(a, b)
        r = r if np.isfinite(r) else 0.0
        if name.startswith("shift"):
            shifts.append(r)
        else:
            result[name] = r
    if shifts:
        result["shift"] = float(np.mean(shifts))
    return result


def face_psnr(frames: np.ndarray, target: np.ndarray, points_px: np.ndarray) -> float:
    """dB over the box of the target's landmarks, the mean squared error taken over all frames with a face."""
    errors, area = 0.0, 0
    for ours, theirs, points in zip(frames, target, points_px, strict=True):
        if np.isfinite(points).all():
            (x0, y0), (x1, y1) = (np.clip(edge, 0, frames.shape[1]).astype(int) for edge in (points.min(0), points.max(0)))
            part = ours[y0:y1, x0:x1].astype(np.float64) - theirs[y0:y1, x0:x1]
            errors, area = errors + float((part**2).sum()), area + part.size
    return 10 * float(np.log10(255**2 * area / max(errors, 1e-9))) if area else float("nan")


def edge_ratio(frames: np.ndarray) -> float:
    """How much stronger neighbouring pixels differ across multiples of 8 px than elsewhere, in both directions."""
    luma = frames.astype(np.float64) @ [0.299, 0.587, 0.114]
    at, between = [], []
    for axis in (1, 2):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=(0, 3 - axis))
        border = np.arange(1, len(steps) + 1) % BLOCK_PX == 0
        at.append(steps[border].mean())
        between.append(steps[~border].mean())
    return float(np.sum(at) / np.sum(between))


def likeness(recogniser: Recogniser, frames: np.ndarray, reading: Reading, portrait: np.ndarray, every: int = 8) -> float:
    """Median over every so many frames of the recognition network's similarity to the portrait's vector; NaN without a face."""
    found = [k for k in range(0, len(frames), every) if reading.found[k]]
    similar = [float(recogniser.embed(frames[k], reading.points_px[k]) @ portrait) for k in found]
    return float(np.median(similar)) if similar else float("nan")
