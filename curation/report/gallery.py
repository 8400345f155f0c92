"""The gallery: which clips it shows, and each one's middle frame with landmarks."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import manifests
from curation.contracts import ClipError
from curation.media import span_of
from curation.report.picture import CHAINS
from curation.report.rundata import Reasons, RunData
from curation.wording import clean, shown
from manifests import UserError
from manifests.landmarks import LANDMARKS_DIR, ClipLandmarks
from manifests.tables import records

MOST_TILES = 18  # each takes a decoded picture
THUMB_PX = 256  # longer side; shown at about 180 CSS pixels, so it is sharp on dense screens
JPEG_QUALITY = 72  # of 100: no artefacts are seen at this size
BUDGET_S = 45.0  # for all pictures of a report; slower storage gives fewer pictures, not a report that never ends

NUMBERS = (
    ("face_size_px_p5", "face", " px", 0),
    ("head_rotation_deg", "turn", "°", 0),
    ("lipsync_conf", "sync", "", 2),
    ("lipsync_offset_frames", "offset", "", 0),
    ("sync_c", "Sync-C", "", 1),
    ("sync_d", "Sync-D", "", 1),
    ("speech_ratio", "speech", "", 2),
    ("n_faces_max", "faces", "", 0),
)


@dataclass(frozen=True)
class Tile:
    """One clip. `picture` is a data URI, or None with the reason in `note`; `overlay` the landmarks as SVG."""

    name: str
    clip_id: str
    source: str
    accepted: bool
    reasons: tuple[str, ...]
    numbers: tuple[tuple[str, str], ...]
    picture: str | None
    overlay: str
    note: str


def choose(frame: pd.DataFrame, scored: np.ndarray, reasons: Reasons, most: int = MOST_TILES) -> tuple[list[int], list[int]]:
    """Positions of accepted clips, spread over the sources, and of rejected (not failed) ones, spread over the reasons."""
    accepted = frame["accepted"].to_numpy(bool)
    source = frame["source"].astype(object).to_numpy()
    by_source = [np.flatnonzero(accepted & (source == name)) for name in sorted(set(source[accepted]))]
    by_reason = [reasons.rows(name) for name in sorted(reasons.names)]
    rejected = _in_turn([rows[scored[rows]] for rows in by_reason], most)
    given = {position: tuple(frame["reject_reasons"].iloc[position]) for position in rejected}
    return _in_turn(by_source, most), sorted(rejected, key=lambda position: (len(given[position]), given[position]))


def _in_turn(groups: Sequence[np.ndarray], most: int) -> list[int]:
    """Up to `most` distinct positions, one from each group in turn, spread evenly over each group."""
    queues = [list(dict.fromkeys(rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)])) for rows in groups]
    chosen: dict[int, None] = {}
    while len(chosen) < most and any(queues):
        for queue in queues:
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue and len(chosen) < most:
                chosen[int(queue.pop(0))] = None
    return list(chosen)


def tiles(data: RunData, positions: Iterable[int], reader: Any, deadline_s: float) -> list[Tile]:
    """Tiles of the rows at `positions`.

    Args:
        reader: a `curation.media.MediaReader`.
        deadline_s: `time.monotonic()` after which no further picture is decoded.
    """
    made = []
    for position in positions:
        row = records(data.frame.iloc[[position]])[0]
        picture, overlay, note = None, "", "no picture: the time for pictures was used up"
        if time.monotonic() < deadline_s:
            picture, overlay, note = _picture(data, row, reader)
        made.append(
            Tile(
                name=clean(row["source_key"], 70),
                clip_id=str(row["clip_id"]),
                source=clean(row["source"], 30),
                accepted=bool(row["accepted"]),
                reasons=tuple(row["reject_reasons"]),
                numbers=_numbers(row),
                picture=picture,
                overlay=overlay,
                note=note,
            )
        )
    return made


def _numbers(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    texts = ((label, shown(row.get(name), decimals), unit) for name, label, unit, decimals in NUMBERS)
    return tuple((label, f"{text}{unit}") for label, text, unit in texts if text is not None)


def _picture(data: RunData, row: dict[str, Any], reader: Any) -> tuple[str | None, str, str]:
    """(data URI or None, landmarks as SVG, note) of the clip's middle frame, or of the nearest frame on which the face is seen."""
    length_ms = row.get("duration_ms")
    time_ms = 0.0 if length_ms is None or shown(length_ms) is None else float(length_ms) / 2
    points_px, note = None, ""
    try:
        face = _nearest_face(manifests.landmark_stretches(_landmarks_path(data, row), row["clip_id"]), time_ms)
        if face is not None:
            time_ms, points_px = face
        else:
            note = "no face seen"
    except UserError:
        note = "no landmarks stored"
    try:
        rgb = reader.pictures_at(str(row["video_path"]), [span_of(row).start_ms + time_ms])[0]
        return _jpeg_uri(rgb), _overlay(points_px, rgb.shape[1], rgb.shape[0]), note
    except ClipError as error:
        return None, "", f"no picture: {clean(error.message, 120)}"


def _nearest_face(stretches: Iterable[ClipLandmarks], time_ms: float) -> tuple[float, np.ndarray] | None:
    """(time in ms, points (68, 2)) of the frame with a face that is nearest to `time_ms`."""
    found: list[tuple[float, np.ndarray]] = []
    for stretch in stretches:
        seen = np.flatnonzero(np.isfinite(stretch.points_px).all(axis=(1, 2)))
        if seen.size:
            nearest = seen[np.argmin(np.abs(stretch.times_ms[seen] - time_ms))]
            found.append((float(stretch.times_ms[nearest]), stretch.points_px[nearest].copy()))
    return min(found, key=lambda face: abs(face[0] - time_ms), default=None)


def _landmarks_path(data: RunData, row: dict[str, Any]) -> Path:
    """The one side table that holds the clip, where the run says how many shards it has; else the run's directory, which is searched."""
    n_shards = data.run.get("n_shards")
    if not n_shards:
        return data.run_dir
    return data.run_dir / LANDMARKS_DIR / f"{manifests.shard_of(row['source_key'], n_shards):05d}.parquet"


def _jpeg_uri(rgb: np.ndarray) -> str:
    import cv2

    height, width = rgb.shape[:2]
    scale = min(1.0, THUMB_PX / max(height, width))
    small = cv2.resize(rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ClipError("decode_error", "the frame cannot be written as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _overlay(points_px: np.ndarray | None, width_px: int, height_px: int) -> str:
    """Lines through the 68 points, in the frame's own coordinates."""
    if points_px is None:
        return ""
    digits = 0 if max(width_px, height_px) > 400 else 1
    lines = []
    for first, last, closed in CHAINS:
        points = " ".join(f"{x:.{digits}f},{y:.{digits}f}" for x, y in points_px[first : last + 1])
        lines.append(f'<{"polygon" if closed else "polyline"} points="{points}"/>')
    return f'<svg class="overlay" viewBox="0 0 {width_px} {height_px}" aria-hidden="true">{"".join(lines)}</svg>'
