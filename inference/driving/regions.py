"""Eye and mouth rectangles on a face crop: the one definition that training and inference share.

A region is where a part of the face lies in a frame: the box of its landmarks plus margins in units of the distance between the eye
centres. A patch is what the driven image of the paper (section 3.1) shows of the driver, black elsewhere; the paper gives no sizes. Where
the patch is the region of each frame, its height tells how far the mouth is open before a pixel of it is looked at; so a patch keeps its
size over a clip and follows the head alone. Pixel i covers i..i+1, as in `curation.landmarks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from curation.landmarks.sixty_eight import LEFT_EYE, LIPS, N_POINTS, RIGHT_EYE, RIGID, interocular

EYES, MOUTH = "eyes", "mouth"
REGION_CHOICES = {
    "eyes": frozenset({EYES}),
    "mouth": frozenset({MOUTH}),
    "both": frozenset({EYES, MOUTH}),
    "none": frozenset(),
}

# Left, top, right, bottom, as parts of the distance between the eye centres; the wider margin above the eyes reaches a lowered brow.
EYE_MARGINS = np.array([0.16, 0.30, 0.16, 0.16])
MOUTH_MARGINS = np.array([0.16, 0.16, 0.16, 0.20])
CHIN = slice(6, 11)
CHIN_MARGINS = np.array([0.16, 0.16, 0.16, 0.08])

PATCH_RULES = ("clip", "frame")  # "frame" is what models of before were trained on
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Of each patch: its points, and those between which its place is measured, because speech and blinking hardly move them.
_PATCH_PARTS = ((RIGHT_EYE, [36, 39], EYE_MARGINS), (LEFT_EYE, [42, 45], EYE_MARGINS), (LIPS, [48, 54], MOUTH_MARGINS))
_REACH_QUANTILE = 0.98  # of the frames whose part lies within the patch without its margin; one bad frame must not swell it


@dataclass(frozen=True)
class RegionBoxes:
    """Half-open pixel rectangles x0, y0, x1, y1 of F frames, within the picture; all zero where a region is not to be seen.

    Attributes:
        eyes: (F, 2, 4) int64, the right and the left eye.
        mouth: (F, 4) int64; of regions never overlaps an eye.
    """

    eyes: np.ndarray
    mouth: np.ndarray

    def of(self, region: str) -> np.ndarray:
        """(F, n, 4) rectangles of "eyes" or "mouth"."""
        if region not in (EYES, MOUTH):
            raise ValueError(f"unknown region {region!r}: {EYES} or {MOUTH}")
        return self.eyes if region == EYES else self.mouth[:, None]

    def __len__(self) -> int:
        return len(self.mouth)


def region_boxes(points_px: np.ndarray, size_px: int | tuple[int, int]) -> RegionBoxes:
    """The regions of every frame.

    Args:
        points_px: (F, 68, 2) x, y; a frame with a NaN has no regions.
        size_px: side of the square picture, or (height, width).

    Raises:
        ValueError: points of another shape, an empty picture.
    """
    points = np.asarray(points_px, np.float64)
    if points.ndim != 3 or points.shape[1:] != (N_POINTS, 2):
        raise ValueError(f"points_px has shape {points.shape}; it needs (frames, {N_POINTS}, 2)")
    height, width = size_px if isinstance(size_px, tuple) else (size_px, size_px)
    if height < 1 or width < 1:
        raise ValueError(f"size_px is {size_px}; a picture has at least one pixel")
    seen = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    points = np.where(seen[:, None, None], points, 0.0)
    unit = interocular(points)[:, None]  # (F, 1)
    eyes_tight = np.stack([_point_box(points[:, RIGHT_EYE]), _point_box(points[:, LEFT_EYE])], axis=1)  # (F, 2, 4)
    mouth_tight = _point_box(points[:, LIPS])
    limits = np.array([width, height, width, height])
    eyes = _grown(eyes_tight, EYE_MARGINS * unit[:, None], limits)
    mouth = _grown(mouth_tight, MOUTH_MARGINS * unit, limits)
    for eye in range(2):
        eyes[:, eye], mouth = _parted(eyes[:, eye], mouth, eyes_tight[:, eye], mouth_tight)
    return RegionBoxes(_or_empty(eyes, seen[:, None]), _or_empty(mouth, seen))


def chin_boxes(points_px: np.ndarray, regions: RegionBoxes, size_px: int | tuple[int, int]) -> np.ndarray:
    """(F, 4) int64: the mouth and what moves with it, down to the chin; where the eyes must teach nothing (Eq. 2 and the masked loss).
    Arguments as `region_boxes`, and what that gave."""
    points = np.asarray(points_px, np.float64)
    height, width = size_px if isinstance(size_px, tuple) else (size_px, size_px)
    seen = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    points = np.where(seen[:, None, None], points, 0.0)
    tight = _point_box(np.concatenate([points[:, LIPS], points[:, CHIN]], axis=1))
    grown = _grown(tight, CHIN_MARGINS * interocular(points)[:, None], np.array([width, height, width, height]))
    for eye in range(2):
        grown = _cut_off(grown, regions.mouth, regions.eyes[:, eye])
    return _or_empty(grown, seen)


def patch_boxes(points_px: np.ndarray, size_px: int | tuple[int, int], rule: str = "clip") -> RegionBoxes:
    """The patches of a clip or driver.

    Args:
        points_px: (F, 68, 2) of all of its frames; a frame with a NaN has no patches.
        size_px: side of the square picture, or (height, width).
        rule: "clip" or "frame", see `clip_patches`.
    """
    regions = region_boxes(points_px, size_px)
    return regions if rule == "frame" else placed(clip_patches(points_px, rule), regions, size_px)


def clip_patches(points_px: np.ndarray, rule: str = "clip") -> np.ndarray:
    """(F, 3, 4) int64, right eye, left eye, mouth, before they are cut at the picture's edge and kept off each other's regions (`placed`).

    By the rule "clip" each has one size, which holds its part in all frames but for a few, and goes where the rigid points of the face go.
    By the rule "frame" each is its region.

    Raises:
        ValueError: another rule, points of another shape.
    """
    points = np.asarray(points_px, np.float64)
    if rule not in PATCH_RULES:
        raise ValueError(f"unknown rule of patches {rule!r}: one of {', '.join(PATCH_RULES)}")
    if points.ndim != 3 or points.shape[1:] != (N_POINTS, 2):
        raise ValueError(f"points_px has shape {points.shape}; it needs (frames, {N_POINTS}, 2)")
    seen = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    patches = np.zeros((len(points), 3, 4), np.int64)
    if not seen.any():
        return patches
    points = np.where(seen[:, None, None], points, np.nan)
    unit = interocular(points)
    rigid = points[:, RIGID].mean(axis=1)
    for k, (part, corners, margins) in enumerate(_PATCH_PARTS):
        tight = _point_box(points[:, part])[seen]
        if rule == "frame":
            grown = tight + margins * unit[seen, None] * np.array([-1, -1, 1, 1])
            patches[seen, k] = np.concatenate([np.floor(grown[:, :2]), np.ceil(grown[:, 2:])], axis=-1)
            continue
        place = rigid[seen] + np.median((points[:, corners].mean(axis=1) - rigid)[seen], axis=0)
        reach = np.concatenate([place - tight[:, :2], tight[:, 2:] - place], axis=-1)  # left, up, right, down of the place
        reach = np.quantile(reach, _REACH_QUANTILE, axis=0) + margins * np.median(unit[seen])
        first = np.round(place - reach[:2])
        patches[seen, k] = np.concatenate([first, first + np.ceil(np.maximum(reach[:2] + reach[2:], 1))], axis=-1)
    return patches


def placed(patches: np.ndarray, regions: RegionBoxes, size_px: int | tuple[int, int]) -> RegionBoxes:
    """Patches (F, 3, 4) as they are cut: within the picture, the eyes' without a pixel of the mouth's region and the mouth's without one of
    the eyes', so that what is not shown stays hidden wherever a patch was moved to."""
    height, width = size_px if isinstance(size_px, tuple) else (size_px, size_px)
    inside = np.clip(patches, 0, [width, height, width, height])
    eyes, mouth = inside[:, :2], inside[:, 2]
    eyes = np.stack([_cut_off(eyes[:, eye], regions.eyes[:, eye], regions.mouth) for eye in range(2)], axis=1)
    for eye in range(2):
        mouth = _cut_off(mouth, regions.mouth, regions.eyes[:, eye])
    seen = np.asarray(regions.mouth.any(axis=1) | regions.eyes.any(axis=(1, 2)))[:, None]
    return RegionBoxes(_or_empty(eyes, seen), _or_empty(mouth, seen[:, 0]))


def region_pixels(boxes: RegionBoxes, region: str, height: int, width: int) -> np.ndarray:
    """(F, H, W) bool, True within the rectangles of `region` ("eyes" or "mouth")."""
    x0, y0, x1, y1 = np.moveaxis(boxes.of(region)[..., None], 2, 0)  # (F, n, 1) each
    columns, rows = np.arange(width), np.arange(height)
    in_columns = (columns >= x0) & (columns < x1)  # (F, n, W)
    in_rows = (rows >= y0) & (rows < y1)  # (F, n, H)
    return (in_rows[..., :, None] & in_columns[..., None, :]).any(axis=1)


def cell_shares(boxes: np.ndarray, cells: tuple[int, int], cell_px: int) -> np.ndarray:
    """(F, h, w) float32 in 0…1: how much of each cell, a square of `cell_px`, lies within its frame's rectangle (F, 4)."""
    x0, y0, x1, y1 = (np.asarray(boxes, np.float32)[:, k, None] / cell_px for k in range(4))
    rows, columns = (np.arange(count, dtype=np.float32) for count in cells)
    down = np.clip(np.minimum(y1, rows + 1) - np.maximum(y0, rows), 0, 1)
    across = np.clip(np.minimum(x1, columns + 1) - np.maximum(x0, columns), 0, 1)
    return np.asarray(down[:, :, None] * across[:, None, :], np.float32)


def cut_patches(frames: np.ndarray, boxes: RegionBoxes, regions: Iterable[str], grey: bool = False) -> np.ndarray:
    """The driven image: a copy of (F, H, W, 3) uint8 frames that is black outside the rectangles of `regions`; `grey` takes its colour.

    Raises:
        ValueError: another number of frames than of boxes, or an unknown region.
    """
    if len(frames) != len(boxes):
        raise ValueError(f"{len(frames)} frames and the boxes of {len(boxes)}")
    patches = np.zeros_like(frames)
    for region in sorted(regions):
        for frame, patch, rectangles in zip(frames, patches, boxes.of(region), strict=True):
            for x0, y0, x1, y1 in rectangles:
                patch[y0:y1, x0:x1] = frame[y0:y1, x0:x1]
    return greyed(patches) if grey else patches


def greyed(pictures: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 RGB with its luma (ITU-R BT.601) in all three channels."""
    luma = np.round(pictures @ _LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def _point_box(points: np.ndarray) -> np.ndarray:
    """(F, n, 2) points -> (F, 4) x0, y0, x1, y1."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=-1)


def _grown(tight: np.ndarray, margins: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) with their margins, to whole pixels and within the picture: int64."""
    grown = tight + margins * np.array([-1, -1, 1, 1])
    whole = np.concatenate([np.floor(grown[..., :2]), np.ceil(grown[..., 2:])], axis=-1)
    return np.clip(whole, 0, limits).astype(np.int64)


def _parted(eye: np.ndarray, mouth: np.ndarray, eye_tight: np.ndarray, mouth_tight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where an eye's and the mouth's rectangle (F, 4) overlap, both end at the middle between their landmarks, along the axis on which
    these lie further apart (the vertical one unless the head lies on its side)."""
    overlap = (np.minimum(eye[:, 2:], mouth[:, 2:]) > np.maximum(eye[:, :2], mouth[:, :2])).all(axis=1)
    eye, mouth = eye.copy(), mouth.copy()
    if not overlap.any():
        return eye, mouth
    mouth_after = mouth_tight[:, :2] + mouth_tight[:, 2:] >= eye_tight[:, :2] + eye_tight[:, 2:]  # (F, 2): further right, further down
    end_of_first = np.where(mouth_after, eye_tight[:, 2:], mouth_tight[:, 2:])
    start_of_second = np.where(mouth_after, mouth_tight[:, :2], eye_tight[:, :2])
    axis = (start_of_second - end_of_first).argmax(axis=1)
    for frame in np.flatnonzero(overlap):
        a = axis[frame]
        middle = (start_of_second[frame, a] + end_of_first[frame, a]) / 2
        first, second = (eye[frame], mouth[frame]) if mouth_after[frame, a] else (mouth[frame], eye[frame])
        # Where even the landmarks overlap, the middle may lie outside the rectangles' common part.
        border = int(np.clip(round(middle), max(first[a], second[a]), min(first[2 + a], second[2 + a])))
        first[2 + a] = second[a] = border
    return eye, mouth


def _cut_off(patch: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Patches (F, 4) that end where another part's region begins, along the axis on which the own region lies clear of it."""
    overlap = (np.minimum(patch[:, 2:], other[:, 2:]) > np.maximum(patch[:, :2], other[:, :2])).all(axis=1)
    result = patch.copy()
    for frame in np.flatnonzero(overlap):
        before, after = (
            other[frame, :2] - own[frame, 2:],
            own[frame, :2] - other[frame, 2:],
        )  # gaps (x, y) to an other that comes later, earlier
        axis = int(np.maximum(before, after).argmax())
        if before[axis] >= after[axis]:
            result[frame, 2 + axis] = min(result[frame, 2 + axis], other[frame, axis])
        else:
            result[frame, axis] = max(result[frame, axis], other[frame, 2 + axis])
    return result


def _or_empty(boxes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """All zero where the face is not seen or nothing of the rectangle lies in the picture."""
    some = (boxes[..., 2:] > boxes[..., :2]).all(axis=-1) & seen
    return np.where(some[..., None], boxes, 0)
