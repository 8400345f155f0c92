"""One picture that explains a clip: frames with landmarks and pose axes, the sync curve, the numbers, the verdict.

OpenCV is imported when a picture is drawn. Text uses the font that OpenCV 5 carries, so that names in any common script are legible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.svg import ticks
from curation.wording import number, shown
from manifests import UserError
from manifests.atomic import atomic_path
from manifests.places import is_url, place

WIDTH_PX, MARGIN_PX, GAP_PX = 1280, 28, 16
PLOT_HEIGHT_PX = 330
MAX_PANELS = 4

WHITE, PAPER, INK, FAINT, GRID = (255, 255, 255), (250, 250, 248), (28, 32, 38), (110, 118, 128), (226, 228, 230)
GOOD, BAD, POINT, CURVE = (0, 126, 98), (197, 71, 30), (90, 235, 190), (35, 96, 176)
AXES = ((232, 70, 70), (70, 200, 80), (80, 130, 255))

# The 68 points as lines: (first, last, closed).
CHAINS = (
    (0, 16, False),
    (17, 21, False),
    (22, 26, False),
    (27, 30, False),
    (31, 35, False),
    (36, 41, True),
    (42, 47, True),
    (48, 59, True),
    (60, 67, True),
)

NUMBERS = (
    "face_size_px_p5",
    "head_rotation_deg",
    "yaw_deg_p95",
    "pitch_deg_p95",
    "roll_deg_p95",
    "valid_frame_ratio",
    "n_faces_max",
    "n_cuts",
    "speech_ratio",
    "lipsync_conf",
    "lipsync_offset_frames",
    "sync_c",
    "sync_d",
    "av_offset_frames",
    "duration_ms",
)


Angles = tuple[float, float, float]
"""Yaw, pitch and roll in degrees."""


def explain_picture(
    frames: Sequence[tuple[float, np.ndarray]],
    points_px: Sequence[np.ndarray | None],
    pose: Sequence[Angles | None],
    sync_curve: tuple[np.ndarray, np.ndarray] | None,
    rows: Mapping[str, Any],
) -> np.ndarray:
    """The picture of one clip.

    Args:
        frames: (time_ms, (H, W, 3) uint8 RGB); of more than four, four spread evenly are drawn.
        points_px: for each frame (68, 2) pixel coordinates at that frame's scale; None or NaN where no face is seen.
        pose: for each frame (yaw, pitch, roll) in degrees with the signs of `curation.landmarks.pose`; None or NaN where unknown.
        sync_curve: (K,) offsets in frames, positive = the sound is early, and (K,) mean similarities; None where lip sync was not measured.
        rows: the clip's row: `clip_id`, `source_key`, `accepted`, `reject_reasons`, `error_kind`, and the numbers in `NUMBERS`.

    Returns:
        (H, 1280, 3) uint8 RGB.
    """
    if not len(frames) == len(points_px) == len(pose):
        raise ValueError(f"{len(frames)} frames, {len(points_px)} sets of points and {len(pose)} poses do not belong together")
    spread = np.linspace(0, len(frames) - 1, min(len(frames), MAX_PANELS)) if frames else np.empty(0)
    chosen = np.unique(spread.round().astype(int)).tolist()
    size = (WIDTH_PX - 2 * MARGIN_PX - GAP_PX * (MAX_PANELS - 1)) // MAX_PANELS
    top, below = 104, 104 + (size + 26 if len(chosen) else 0) + GAP_PX
    canvas = np.full((below + PLOT_HEIGHT_PX + MARGIN_PX, WIDTH_PX, 3), PAPER, np.uint8)
    _headline(canvas, rows)
    for column, i in enumerate(chosen):
        left = MARGIN_PX + column * (size + GAP_PX)
        canvas[top : top + size, left : left + size] = _panel(frames[i][1], points_px[i], pose[i], size)
        _write(canvas, _caption(frames[i][0], pose[i]), left, top + size + 19, 14, FAINT)
    _plot(canvas[below : below + PLOT_HEIGHT_PX, MARGIN_PX:840], sync_curve)
    _table(canvas[below : below + PLOT_HEIGHT_PX, 872 : WIDTH_PX - MARGIN_PX], rows)
    return canvas


def save_png(path: str | Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG, whole or not at all, making its directory; `manifests.UserError` where that cannot be."""
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise ValueError(f"cannot encode a picture of shape {rgb.shape} as PNG")
    try:
        if not is_url(path):
            place(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _headline(canvas: np.ndarray, rows: Mapping[str, Any]) -> None:
    _write(canvas, str(rows.get("source_key") or "clip"), MARGIN_PX, 42, 24, INK, weight=700, max_width=900)
    _write(canvas, str(rows.get("clip_id") or ""), MARGIN_PX, 66, 14, FAINT)
    reasons = rows.get("reject_reasons")
    reasons = [str(reason) for reason in reasons] if reasons is not None else []
    if rows.get("status") == "failed":
        verdict, colour = f"failed: {rows.get('error_kind')}", BAD
        reasons = [str(rows.get("error_message") or "")]
    else:
        verdict, colour = ("accepted", GOOD) if rows.get("accepted") else ("rejected", BAD)
    width = _width(verdict, 22, 700)
    _write(canvas, verdict, WIDTH_PX - MARGIN_PX - width, 42, 22, colour, weight=700)
    _write(canvas, "; ".join(reasons), MARGIN_PX, 90, 15, colour, max_width=WIDTH_PX - 2 * MARGIN_PX)


def _panel(rgb: np.ndarray, points_px: np.ndarray | None, pose: Angles | None, size: int) -> np.ndarray:
    """(size, size, 3): the face with its surroundings, or the whole frame where no face is seen."""
    import cv2

    points = None if points_px is None or not np.isfinite(points_px).all() else np.asarray(points_px, np.float64)
    height, width = rgb.shape[:2]
    if points is None:
        side, cx, cy = float(max(height, width)), width / 2, height / 2
    else:
        low, high = points.min(0), points.max(0)
        side = float(min(max(2.0 * (high - low).max(), 8.0), max(height, width)))
        cx, cy = (low + high) / 2
        # Keep the crop within the frame where the frame is large enough, so that less of the panel is empty.
        cx, cy = (min(max(c, side / 2), n - side / 2) if side <= n else n / 2 for c, n in ((cx, width), (cy, height)))
    scale = size / side
    to_panel = np.array([[scale, 0, size / 2 - scale * cx], [0, scale, size / 2 - scale * cy]])
    # warpAffine samples single pixels: shrink by area first, or small text and edges would alias.
    if scale < 1:
        reduced = cv2.resize(rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
        matrix = to_panel @ np.diag([width / reduced.shape[1], height / reduced.shape[0], 1.0])
    else:
        reduced, matrix = rgb, to_panel
    panel = cv2.warpAffine(reduced, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=GRID)
    if points is None:
        _write(panel, "no face", 12, 28, 18, BAD, weight=700)
        return panel
    at = points * scale + to_panel[:, 2]
    _draw_points(panel, at)
    if pose is not None and np.isfinite(pose).all():
        _draw_axes(panel, at[30], pose, 0.55 * float(np.ptp(at, axis=0).max()))
    return panel


def _draw_points(panel: np.ndarray, at: np.ndarray) -> None:
    import cv2

    fine = np.round(at * 16).astype(np.int32)
    for first, last, closed in CHAINS:
        cv2.polylines(panel, [fine[first : last + 1]], closed, POINT, 1, cv2.LINE_AA, shift=4)
    for x, y in fine:
        cv2.circle(panel, (int(x), int(y)), 24, WHITE, -1, cv2.LINE_AA, shift=4)


def _draw_axes(panel: np.ndarray, origin: np.ndarray, pose: tuple[float, float, float], length: float) -> None:
    """Head axes in parallel projection: red to the right, green down, blue out of the face."""
    import cv2

    for colour, tip in zip(AXES, pose_axes(*pose), strict=True):
        cv2.arrowedLine(panel, _pixel(origin), _pixel(origin + length * tip), colour, 2, cv2.LINE_AA, tipLength=0.12)


def pose_axes(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """(3, 2): where the head's own right-of-picture, down and forward axes point in the picture (x right, y down), unit length in space.

    Signs and order as in `curation.landmarks.pose`: yaw > 0 turns the face towards the right of the picture, pitch > 0 lowers it, roll > 0
    tilts it clockwise; pitch acts first, roll last.
    """
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    # Rows are the axes in camera space (x right, y down, z towards the camera) after pitch, then yaw.
    turned = np.array(
        [
            [np.cos(yaw), 0, -np.sin(yaw)],
            [-np.sin(yaw) * np.sin(pitch), np.cos(pitch), -np.cos(yaw) * np.sin(pitch)],
            [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)],
        ]
    )
    clockwise = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return turned[:, :2] @ clockwise


def _caption(time_ms: float, pose: Angles | None) -> str:
    angles = ""
    if pose is not None and np.isfinite(pose).all():
        angles = "   yaw {:+.0f}°  pitch {:+.0f}°  roll {:+.0f}°".format(*pose).replace("-", "−")
    return f"{time_ms / 1000:.2f} s{angles}"


def _plot(area: np.ndarray, sync_curve: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Similarity over offset, the best offset and the median marked. `area` is drawn into."""
    import cv2

    height, width = area.shape[:2]
    area[:] = WHITE
    cv2.rectangle(area, (0, 0), (width - 1, height - 1), GRID, 1)
    _write(area, "Lip sync: mean similarity of mouth and sound, by offset", 16, 28, 16, INK, weight=600)
    if sync_curve is None:
        _write(area, "not measured: no sound, too few windows, or no lip-sync scorer in this profile", 16, 56, 14, FAINT)
        return
    shifts, similarity = (np.asarray(values, np.float64) for values in sync_curve)
    known = np.isfinite(similarity)
    if not known.any():
        _write(area, "not measured: no shift has enough windows", 16, 56, 14, FAINT)
        return
    left, right, top, bottom = 62, width - 20, 74, height - 44
    low, high = float(similarity[known].min()), float(similarity[known].max())
    pad = 0.08 * (high - low) or 0.01
    low, high = low - pad, high + pad
    x = np.interp(shifts, (shifts.min(), shifts.max()), (left, right)) if np.ptp(shifts) else np.full(len(shifts), (left + right) / 2)
    y = bottom - (similarity - low) / (high - low) * (bottom - top)
    for value in ticks(low, high, 6):
        at = round(bottom - (value - low) / (high - low) * (bottom - top))
        cv2.line(area, (left, at), (right, at), GRID, 1)
        _write(area, number(value, 3), 14, at + 5, 13, FAINT)
    for shift, at in zip(shifts, x, strict=True):
        if shift % 5 == 0:
            text = f"{shift:+.0f}".replace("-", "−") if shift else "0"
            _write(area, text, round(at) - _width(text, 13, 400) // 2, bottom + 18, 13, FAINT)
    text = "offset in frames at 25 Hz; positive: the sound is early"
    _write(area, text, (left + right) // 2 - _width(text, 13, 400) // 2, bottom + 36, 13, FAINT)
    best, median = int(np.nanargmax(similarity)), float(np.median(similarity[known]))
    middle = round(bottom - (median - low) / (high - low) * (bottom - top))
    for start in range(left, right, 12):
        cv2.line(area, (start, middle), (min(start + 6, right), middle), BAD, 1, cv2.LINE_AA)
    curve = np.round(np.stack([x, y], 1)[known]).astype(np.int32)
    cv2.polylines(area, [curve], False, CURVE, 2, cv2.LINE_AA)
    for point in curve:
        cv2.circle(area, tuple(int(c) for c in point), 3, CURVE, -1, cv2.LINE_AA)
    peak = (round(x[best]), round(y[best]))
    cv2.line(area, peak, (peak[0], bottom), GOOD, 1, cv2.LINE_AA)
    cv2.circle(area, peak, 6, GOOD, -1, cv2.LINE_AA)
    text = f"best at {shifts[best]:+.0f} frames, confidence {similarity[best] - median:.3f}".replace("-", "−")
    _write(area, text, 16, 54, 14, GOOD, weight=600)
    text, at = f"median {median:.3f}".replace("-", "−"), 16 + _width(text, 14, 600) + 24
    _write(area, text, at, 54, 14, BAD, weight=600)


def _table(area: np.ndarray, rows: Mapping[str, Any]) -> None:
    """The numbers that are known, one a line."""
    import cv2

    height, width = area.shape[:2]
    area[:] = WHITE
    cv2.rectangle(area, (0, 0), (width - 1, height - 1), GRID, 1)
    _write(area, "Numbers", 16, 28, 16, INK, weight=600)
    values = [(name, value) for name in NUMBERS if (value := shown(rows.get(name))) is not None]
    for line, (name, value) in enumerate(values):
        at = 52 + line * 19
        _write(area, name, 16, at, 14, FAINT)
        _write(area, value, width - 16 - _width(value, 14, 600), at, 14, INK, weight=600)


def _pixel(at: np.ndarray) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))


def _font() -> Any:  # cv2's stubs do not know FontFace
    import cv2

    return cv2.FontFace("sans")


def _width(text: str, size_px: int, weight: int) -> int:
    import cv2

    return int(cv2.getTextSize((WIDTH_PX, 100), text, (0, 0), _font(), size_px, weight)[2])


def _write(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    size_px: int,
    colour: tuple[int, int, int],
    *,
    weight: int = 400,
    max_width: int | None = None,
) -> None:
    """One line of text with its base line at y; shortened with an ellipsis to `max_width` pixels."""
    import cv2

    text = "".join(c if c.isprintable() else " " for c in text[:400])
    if max_width is not None and _width(text, size_px, weight) > max_width:
        while text and _width(text + "…", size_px, weight) > max_width:
            text = text[: -max(1, math.ceil(len(text) / 40))]
        text += "…"
    cv2.putText(canvas, text, (x, y), colour, _font(), size_px, weight=weight)
