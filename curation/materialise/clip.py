"""One clip: cut out, encoded, its landmarks moved along, its row written anew."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import manifests
from curation.contracts import AUDIO_RATE_HZ, Clip, ClipError, Evidence, Faces, FileSpan, MediaInfo, ScoredClip
from curation.face_crop import NoFaceError, clip_square, crop_matrix, smoothed_squares, transform_points, warp, within_picture
from curation.materialise.encoding import write_clip
from curation.materialise.settings import FPS, MaterialiseSettings
from curation.media import MediaReader, span_of
from curation.scorers.face import FaceResolution
from curation.scorers.head_pose import HeadPose
from manifests import ClipLandmarks, Column
from manifests.atomic import atomic_path, refuse_source

RETRIED_KINDS = frozenset({"timeout", "crash"})
FRAME_MS = 1000 / FPS
_SAME_MOMENT_MS = 1e-3  # rounding of times in the side table; frames lie 40 ms apart

COLUMNS = (
    Column("parent_clip_id", pa.string(), "", "clip of the manifest that this one was cut from", 1),
    Column("parent_video_path", pa.string(), "", "file that this clip was cut from", 1),
    Column("parent_start_ms", pa.int64(), "ms", "start of the clip within that file", 1),
    Column("parent_end_ms", pa.int64(), "ms", "end of the clip within that file; null = to its end", 1),
    Column("parent_width_px", pa.int32(), "px", "width of that file's picture", 1),
    Column("parent_height_px", pa.int32(), "px", "height of that file's picture", 1),
    Column("crop_x_px", pa.float32(), "px", "middle of the square that was cut out, in pixels of that file, mean over the clip", 1),
    Column("crop_y_px", pa.float32(), "px", "middle of the square that was cut out, in pixels of that file, mean over the clip", 1),
    Column("crop_side_px", pa.float32(), "px", "side of the square that was cut out, in pixels of that file, mean over the clip", 1),
    Column("crop_zoom", pa.float32(), "", "pixels of this clip a pixel of that file, mean over the clip; above 1 = enlarged", 1),
    Column("crop_inside_ratio", pa.float32(), "0..1", "share of the square that lies within the picture; the rest is black", 1),
    Column("audio_shift_ms", pa.float32(), "ms", "by how much the sound was moved later to repair its offset; 0 = not moved", 1),
    Column("materialise_key", pa.string(), "", "hash of what the clip's file depends on", 1),
)
_OFFSETS = ("av_offset_frames", "lipsync_offset_frames")
# What a parent's row may change without changing the file.
_KEY_COLUMNS = ("clip_id", "config_hash", "n_frames", "duration_ms", "face_x0_px", "face_y0_px", "face_x1_px", "face_y1_px", "status")


@dataclass(frozen=True)
class Cut:
    """What was found out while a clip was encoded: all of its new row that its parent's row and landmarks do not say. JSON-able."""

    key: str
    n_frames: int = 0
    has_audio: bool = False
    width_px: int = 0  # of the file that it was cut from
    height_px: int = 0
    decode_ms: float = 0.0
    attempts: int = 1
    error_kind: str | None = None
    error_message: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def repair_ms(row: dict[str, Any], settings: MaterialiseSettings) -> float:
    """By how much the sound of a clip is to be moved later: its offset (positive = the sound is early), SyncNet's if there is one."""
    if not settings.repair_offset:
        return 0.0
    offset = next((row[name] for name in _OFFSETS if row.get(name) is not None), 0)
    return offset * FRAME_MS if abs(offset) <= settings.max_repair_frames else 0.0


def cut_key(row: dict[str, Any], settings_digest: str, settings: MaterialiseSettings) -> str:
    """Names what the file of a clip depends on; another key means to encode again."""
    parts = [settings_digest, repair_ms(row, settings), *(row.get(name) for name in _KEY_COLUMNS)]
    parts += [row[name] for name in ("file_stamp", "video_start_ms") if row.get(name)]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=10).hexdigest()


def new_names(row: dict[str, Any], settings_digest: str, settings: MaterialiseSettings) -> tuple[str, str]:
    """(source_key, clip_id) of the clip that is cut from `row`."""
    end = "" if row["end_ms"] is None else row["end_ms"]
    key = f"{row['source_key']}#t={row['start_ms']}-{end}&crop={settings.size_px}-{settings_digest[:6]}"
    return key, manifests.clip_id(row["source"], key, 0, None)


def squares(landmarks: ClipLandmarks, n_frames: int, picture_px: tuple[int, int], settings: MaterialiseSettings) -> np.ndarray:
    """(n_frames, 3) float64: the square of each frame at 25 Hz.

    Args:
        picture_px: width and height of the source's picture.

    Raises:
        ClipError: no_face.
    """
    try:
        if settings.crop == "fixed":
            found = np.tile(clip_square(landmarks.points_px, settings.scale), (n_frames, 1))
        else:
            found = _following(landmarks, n_frames, settings.scale)
    except NoFaceError as error:
        raise ClipError("no_face", str(error)) from None
    return within_picture(found, *picture_px) if settings.within_picture else found


def _following(landmarks: ClipLandmarks, n_frames: int, scale: float) -> np.ndarray:
    hz = 1000 / float(np.median(np.diff(landmarks.times_ms))) if len(landmarks.times_ms) > 1 else FPS
    sampled = smoothed_squares(landmarks.points_px, scale, hz=hz)
    times_ms = np.arange(n_frames) * FRAME_MS
    return np.stack([np.interp(times_ms, landmarks.times_ms, values) for values in sampled.T], axis=1)


class ClipCutter:
    """Owns one decoder child; cuts clips one after the other. A context manager."""

    def __init__(self, settings: MaterialiseSettings, settings_digest: str):
        import cv2

        cv2.setNumThreads(1)  # a worker is one core; parallel work is more workers
        self._settings, self._digest = settings, settings_digest
        self._reader = MediaReader(settings.media)

    def __enter__(self) -> ClipCutter:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def cut(self, row: dict[str, Any], landmarks: ClipLandmarks | None, target: Path) -> Cut:
        """Write `target`, whole or not at all; whatever is wrong with the clip is in the result.

        Raises:
            UserError: `target` cannot be written.
        """
        key = cut_key(row, self._digest, self._settings)
        if row["status"] != "scored" or landmarks is None:
            message = row.get("error_message") or "it has no landmarks in the manifest that it was selected from"
            return Cut(key, error_kind=row.get("error_kind") or "no_face", error_message=message)
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._encoded(row, landmarks, target, key, attempts)
            except ClipError as error:
                if error.kind not in RETRIED_KINDS or attempts >= self._settings.decode_attempts:
                    return Cut(key, attempts=attempts, error_kind=error.kind, error_message=error.message)

    def _encoded(self, row: dict[str, Any], landmarks: ClipLandmarks, target: Path, key: str, attempts: int) -> Cut:
        clip = replace(span_of(row), video_path=true_path(row["video_path"]))
        squares(landmarks, 1, (1, 1), self._settings)  # no face: found out before anything is decoded
        sound, sound_ms = self._sound(clip, repair_ms(row, self._settings))
        refuse_source(target, [clip.video_path])
        with self._reader.read(clip, sample_hz=FPS, frames=True, audio=False) as stream:
            with atomic_path(target) as temporary:
                n_frames = write_clip(temporary, self._pictures(stream, landmarks), sound, self._settings)
            info, decode_ms = stream.info, stream.decode_ms + sound_ms
        return Cut(key, n_frames, sound is not None, info.width_px, info.height_px, decode_ms, attempts)

    def _pictures(self, stream: Any, landmarks: ClipLandmarks) -> Iterator[np.ndarray]:
        """Crops of the stream's frames. A square is needed for frames whose number is not known yet, so they are made in blocks."""
        size_px, block, picture_px = self._settings.size_px, np.empty((0, 3)), (stream.info.width_px, stream.info.height_px)
        shown = matrix = crop = np.empty(0)
        for number, frame in enumerate(stream.frames()):
            if number >= len(block):
                block = squares(landmarks, 2 * number + 1024, picture_px, self._settings)
            wanted = crop_matrix(block[number], size_px)
            if frame.rgb is not shown or not np.array_equal(wanted, matrix):
                crop = warp(frame.rgb, wanted, size_px)
                shown, matrix = frame.rgb, wanted
            yield crop

    def _sound(self, clip: FileSpan, shift_ms: float) -> tuple[np.ndarray | None, float]:
        """(the span's sound, moved later by `shift_ms`, or None without an audio stream; ms of decoding).

        What moves in from beyond the span's ends is the file's own sound where it has any, so that a repair costs no silence.
        """
        start_ms, end_ms = clip.start_ms - shift_ms, None if clip.end_ms is None else clip.end_ms - shift_ms
        silence_ms = max(0.0, -start_ms)
        try:
            audio, decode_ms = self._heard(clip, start_ms + silence_ms, end_ms)
        except ClipError as error:
            if shift_ms >= 0 or error.kind not in ("truncated", "no_frames"):
                raise
            audio, decode_ms = self._heard(clip, start_ms, clip.end_ms)  # the file ends before the moved span does
        if audio is None or not silence_ms:
            return audio, decode_ms
        return np.concatenate([np.zeros(round(silence_ms * AUDIO_RATE_HZ / 1000), np.int16), audio]), decode_ms

    def _heard(self, clip: FileSpan, start_ms: float, end_ms: float | None) -> tuple[np.ndarray | None, float]:
        """The sound of another span of the clip's file; none of it where the span is empty."""
        if end_ms is not None and end_ms <= start_ms:
            return np.zeros(0, np.int16), 0.0
        with self._reader.read(replace(clip, start_ms=start_ms, end_ms=end_ms), frames=False, audio=True) as stream:
            return stream.audio, stream.decode_ms


def finished(
    row: dict[str, Any], landmarks: ClipLandmarks | None, cut: Cut, target: Path, digest: str, settings: MaterialiseSettings, version: str
) -> ScoredClip:
    """The new row and landmarks of a clip, from its parent's and what `cut` found. Scores that a crop does not change are kept."""
    source_key, clip_id = new_names(row, digest, settings)
    new = {
        **row,
        "clip_id": clip_id,
        "source_key": source_key,
        "video_path": str(target),
        "file_stamp": None,
        "start_ms": 0,
        "end_ms": None,
        "video_start_ms": 0.0,
        "parent_clip_id": row["clip_id"],
        "parent_video_path": row["video_path"],
        "parent_start_ms": row["start_ms"],
        "parent_end_ms": row["end_ms"],
        "materialise_key": cut.key,
        "attempts": cut.attempts,
        "decode_ms": cut.decode_ms,
        "landmarks_ms": None,
        "sync_ms": None,
        "code_version": version,
    }
    if cut.error_kind is not None:
        verdict = {"accepted": False, "reject_reasons": [f"failed:{cut.error_kind}"]}
        return ScoredClip(new | {"status": "failed", "error_kind": cut.error_kind, "error_message": cut.error_message} | verdict)
    if landmarks is None:
        raise ValueError(f"clip {row['clip_id']} was cut without landmarks")
    of_frames = squares(landmarks, cut.n_frames, (cut.width_px, cut.height_px), settings)
    faces = moved(landmarks, of_frames, settings.size_px)
    info = MediaInfo(settings.size_px, settings.size_px, FPS, cut.n_frames, cut.n_frames * FRAME_MS, "h264", cut.has_audio, None)
    evidence = Evidence(Clip(row["source"], source_key, row["identity"], str(target)), info, FPS, faces, None)
    geometry = FaceResolution().finish(evidence)
    if row.get("pose_residual_px") is not None:
        geometry |= HeadPose().finish(evidence)
    shift_ms = repair_ms(row, settings)
    offsets = {name: row[name] - round(shift_ms / FRAME_MS) for name in _OFFSETS if row.get(name) is not None}
    new |= geometry | offsets
    new |= {
        "width_px": settings.size_px,
        "height_px": settings.size_px,
        "rotation_deg": 0,
        "fps": float(FPS),
        "n_frames": len(faces.times_ms),
        "duration_ms": cut.n_frames * FRAME_MS,
        "video_codec": "h264",
        "has_audio": cut.has_audio,
        "audio_rate_hz": AUDIO_RATE_HZ if cut.has_audio else None,
        "parent_width_px": cut.width_px,
        "parent_height_px": cut.height_px,
        "crop_x_px": float(of_frames[:, 0].mean()),
        "crop_y_px": float(of_frames[:, 1].mean()),
        "crop_side_px": float(of_frames[:, 2].mean()),
        "crop_zoom": float((settings.size_px / of_frames[:, 2]).mean()),
        "crop_inside_ratio": float(_inside(of_frames, cut.width_px, cut.height_px).mean()),
        "audio_shift_ms": shift_ms,
    }
    return ScoredClip(new, faces)


def moved(landmarks: ClipLandmarks, of_frames: np.ndarray, size_px: int) -> Faces:
    """The landmarks in pixels of the crop, at their own times: each goes where the frame that is shown at its time goes.

    Args:
        of_frames: (F, 3) squares at 25 Hz. Landmarks after the last frame are dropped.
    """
    frame = np.floor((landmarks.times_ms + _SAME_MOMENT_MS) / FRAME_MS).astype(int)
    kept = frame < len(of_frames)
    points_px = np.full((int(kept.sum()), *landmarks.points_px.shape[1:]), np.nan)
    for index, (number, points) in enumerate(zip(frame[kept], landmarks.points_px[kept], strict=True)):
        points_px[index] = transform_points(points, crop_matrix(of_frames[number], size_px))
    points_px, confidence = manifests.quantise(points_px, landmarks.confidence[kept])
    return Faces(landmarks.times_ms[kept], landmarks.n_faces[kept], points_px, confidence)


def _inside(of_frames: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """(F,) share of each square that lies within the picture."""
    half = of_frames[:, 2] / 2
    across = np.minimum(of_frames[:, 0] + half, width_px) - np.maximum(of_frames[:, 0] - half, 0)
    down = np.minimum(of_frames[:, 1] + half, height_px) - np.maximum(of_frames[:, 1] - half, 0)
    return np.clip(across, 0, None) * np.clip(down, 0, None) / of_frames[:, 2] ** 2


def true_path(video_path: str) -> str:
    r"""The path that a manifest's text stands for: bytes that are not UTF-8 are written `\xff` in it."""
    if "\\x" not in video_path or Path(video_path).exists():
        return video_path
    try:
        parts = video_path.split("\\x")
        return os.fsdecode(os.fsencode(parts[0]) + b"".join(bytes.fromhex(part[:2]) + os.fsencode(part[2:]) for part in parts[1:]))
    except ValueError:
        return video_path
