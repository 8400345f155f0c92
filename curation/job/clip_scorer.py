"""Scores one clip: decode once, landmarks, every scorer; a failure becomes a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

import manifests
from curation import landmarks
from curation.config import CurationConfig, digest
from curation.contracts import (
    Clip,
    ClipError,
    Evidence,
    FaceRows,
    Faces,
    FaceTracker,
    FinishesInStretches,
    Frame,
    ScoredClip,
    Scorer,
    SeesEveryFace,
)
from curation.discovery import parts
from curation.faces import SpooledFaces
from curation.media import MediaReader
from manifests import Column, configuration
from manifests.errors import UserError, did_you_mean

RETRIED_KINDS = frozenset({"timeout", "crash"})
LANDMARKS_PART = "landmarks"
FRAMES_A_MOMENT = 50  # about half a second of work
STAGE_COLUMNS = ("decode_ms", "landmarks_ms", "sync_ms")


def make_scorers(config: CurationConfig) -> list[Scorer]:
    """The configured scorers, in the order of the configuration; unknown names and settings are errors."""
    known = parts("curation.scorers", Scorer)
    made = []
    for name, settings in config.scorers.items():
        if name not in known:
            raise UserError(f"unknown scorer {name!r}{did_you_mean(name, sorted(known))}")
        made.append(configuration.build(known[name], settings or {}, f"scorers.{name}"))
    return made


def scorer_columns(scorers: list[Scorer]) -> list[Column]:
    """What the scorers fill; columns that the schema does not know carry their meaning with them."""
    return [column for scorer in scorers for column in scorer.columns]


def unmeasurable(config: CurationConfig) -> str:
    """One line on why the preset of `config` will accept nothing, whatever the clips: its columns are not measured; empty if they are."""
    measured = {column.name for scorer in make_scorers(config) if not scorer.notice for column in scorer.columns}
    known = {column.name for scorer in parts("curation.scorers", Scorer).values() for column in scorer.columns}
    needed = manifests.columns_that_bar(manifests.preset(config.preset), known - measured)
    if not needed:
        return ""
    here = f"the {config.profile} profile does not measure {', '.join(needed)} here"
    return f"preset {config.preset} accepts no clip: {here}; take another --preset, or --profile paper (make models PROFILE=paper)"


def part_digests(config: CurationConfig, landmark_model: str) -> dict[str, str]:
    """What each part of a row depends on: the landmarks, and each scorer. A part whose digest changed is scored again."""
    measured_by = {key: value for key, value in config.landmark_settings.items() if key != "runtime"}
    base = digest([landmark_model, measured_by, config.sample_hz])
    digests = {LANDMARKS_PART: base}
    for scorer in make_scorers(config):
        measured_by = {key: value for key, value in configuration.to_tree(scorer).items() if key != "runtime"}
        sampled = base if scorer.reads & {"faces", "tracks"} else config.sample_hz
        digests[scorer.name] = digest([scorer.name, scorer.version, scorer.model_name, measured_by, sampled])
    return digests


class ClipScorer:
    """Owns the networks and one decoder child; scores clips one after the other. A context manager."""

    def __init__(self, config: CurationConfig, code_version: str, on_moment: Callable[[Clip, float, float], None] | None = None):
        import cv2

        cv2.setNumThreads(1)  # a worker is one core; parallel work is more workers
        self.config = config
        self._on_moment = on_moment  # told now and then: the clip in hand, and how far of how much of it is looked at, ms
        self.scorers = make_scorers(config)
        self.backend = landmarks.make_backend(config.landmarks, config.landmark_settings)
        self.parts = part_digests(config, self.backend.name)
        self.columns = scorer_columns(self.scorers)
        self.last_evidence: Evidence | None = None
        self._reader = MediaReader(config.media)
        self.config_hash = digest(self.parts)
        self._stamp = {
            "profile": config.profile,
            "landmark_model": self.backend.name,
            "sync_model": "+".join(s.model_name for s in self.scorers if s.model_name) or None,
            "landmark_hz": config.sample_hz,
            "code_version": code_version,
            "config_hash": self.config_hash,
        }

    def __enter__(self) -> ClipScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def score(self, clip: Clip, *, previous_attempts: int = 0) -> ScoredClip:
        """A finished row for `clip`, whatever happens to it, and its landmarks."""
        attempts = previous_attempts
        while True:
            attempts += 1
            try:
                row, faces = self._measure(clip, self.scorers, None)
                return ScoredClip({**self._identity(clip), **row, "status": "scored", "attempts": attempts}, faces, _spent(row))
            except ClipError as error:
                if error.kind in RETRIED_KINDS and attempts - previous_attempts < self.config.job.decode_attempts:
                    continue
                return self.failed(clip, error, attempts)

    def rescore(self, clip: Clip, row: dict[str, Any], faces: FaceRows, stale: frozenset[str]) -> ScoredClip:
        """`row` with the columns of the stale scorers measured again; decodes only what those scorers read."""
        scorers = [scorer for scorer in self.scorers if scorer.name in stale]
        if row.get("video_start_ms") is None:  # its landmarks are of a version that counted every span from the first frame
            clip = replace(clip, time_zero="first_frame")
        kept = {name: None for scorer in scorers for name in (c.name for c in scorer.columns)}
        try:
            fresh, _ = self._measure(clip, scorers, faces)
        except ClipError as error:
            return self.failed(clip, error, row["attempts"] + 1)
        timings: dict[str, Any] = {name: row[name] for name in ("decode_ms", "landmarks_ms") if name in row}
        return ScoredClip({**row, **kept, **fresh, **timings, **self._identity(clip)}, faces, _spent(fresh))

    def failed(self, clip: Clip, error: ClipError, attempts: int) -> ScoredClip:
        row = {**self._identity(clip), "status": "failed", "error_kind": error.kind, "error_message": error.message, "attempts": attempts}
        return ScoredClip(row)

    def _identity(self, clip: Clip) -> dict[str, Any]:
        return {
            "clip_id": clip.clip_id,
            "source": clip.source,
            "source_key": clip.source_key,
            "identity": clip.identity,
            "licence": clip.licence or None,
            "video_path": os.fsencode(clip.video_path).decode("utf-8", "backslashreplace"),
            "start_ms": clip.start_ms,
            "end_ms": clip.end_ms,
            "split": manifests.split(clip.identity),
            **self._stamp,
        }

    def _measure(self, clip: Clip, scorers: list[Scorer], faces: FaceRows | None) -> tuple[dict[str, Any], FaceRows]:
        """Decode what is needed and run `scorers`; `faces = None` finds the landmarks too."""
        reads = frozenset().union(*(scorer.reads for scorer in scorers))
        want_frames, want_audio = faces is None or "frames" in reads, "audio" in reads
        sync_s = 0.0
        with self._reader.read(clip, sample_hz=self.config.sample_hz, frames=want_frames, audio=want_audio) as stream:
            info = stream.info
            tracker = self.backend.track(clip, info) if faces is None or "tracks" in reads else None
            if "tracks" in reads and not isinstance(tracker, SeesEveryFace):
                raise UserError(f"landmark backend {self.backend.name!r} tells of the main face only, and a scorer needs every face")
            for scorer in scorers:
                scorer.begin(info)
            landmarks_s, n_sampled, end_ms = 0.0, 0, 0.0
            for frame in stream.frames():
                n_sampled, end_ms = n_sampled + 1, frame.time_ms
                if self._on_moment is not None and n_sampled % FRAMES_A_MOMENT == 0:
                    self._on_moment(clip, end_ms, (info.duration_ms if clip.end_ms is None else clip.end_ms) - clip.start_ms)
                if tracker is not None:
                    began = time.perf_counter()
                    tracker.on_frame(frame)
                    landmarks_s += time.perf_counter() - began
                sync_s += _shown(scorers, frame, tracker)
            audio, decode_ms = stream.sound, stream.decode_ms
        found_now = faces is None
        if tracker is not None:
            if n_sampled == 0:
                raise ClipError("no_frames", "the span holds no frame")
            began = time.perf_counter()
            found = _found(tracker)  # backends that batch do much of their work here
            landmarks_s += time.perf_counter() - began
            sync_s += _shown(scorers, None, tracker)
            faces = found if found_now else faces
            end_ms += 1000.0 / self.config.sample_hz
        if faces is None:
            raise RuntimeError("neither landmarks given nor found")
        self.last_evidence = evidence = Evidence(clip, info, self.config.sample_hz, faces, audio)
        row: dict[str, Any] = {
            "width_px": info.width_px,
            "height_px": info.height_px,
            "fps": info.fps,
            "rotation_deg": info.rotation_deg,
            "video_codec": info.video_codec,
            "has_audio": info.has_audio,
            "audio_rate_hz": info.audio_rate_hz,
            "decode_ms": decode_ms,
            "landmarks_ms": landmarks_s * 1000,
        }
        if found_now:
            video_start_ms = info.video_start_ms if clip.time_zero == "container" else 0.0
            row |= {"n_frames": n_sampled, "duration_ms": round(end_ms), "video_start_ms": video_start_ms}
        for scorer in scorers:
            began = time.perf_counter()
            row |= _finished(scorer, evidence)
            if _is_sync(scorer):
                sync_s += time.perf_counter() - began
        if any(_is_sync(scorer) for scorer in scorers):
            row["sync_ms"] = sync_s * 1000
        return row, faces


def _is_sync(scorer: Scorer) -> bool:
    return any(column.name.startswith(("sync_", "lipsync_")) for column in scorer.columns)


def _shown(scorers: list[Scorer], frame: Frame | None, tracker: FaceTracker | None) -> float:
    """Show the scorers a frame, and the faces that the tracker knows by now; the seconds that those of lip sync took."""
    seen: list[np.ndarray] = tracker.take_seen() if isinstance(tracker, SeesEveryFace) else []
    sync_s = 0.0
    for scorer in scorers:
        began = time.perf_counter()
        with _as_scorer_error(scorer):
            if frame is not None and "frames" in scorer.reads:
                scorer.on_frame(frame)
            if "tracks" in scorer.reads:
                for points_px in seen:
                    scorer.on_faces(points_px)
        if _is_sync(scorer):
            sync_s += time.perf_counter() - began
    return sync_s


@contextmanager
def _as_scorer_error(scorer: Scorer) -> Iterator[None]:
    """A scorer that fails costs the clip, not the run."""
    try:
        yield
    except (ClipError, UserError):
        raise
    except Exception as error:
        raise ClipError("scorer_error", f"scorer {scorer.name}: {type(error).__name__}: {error}") from error


def _spent(row: dict[str, Any]) -> dict[str, float]:
    return {name: row[name] for name in STAGE_COLUMNS if row.get(name)}


def _found(tracker: FaceTracker) -> SpooledFaces:
    """Landmarks rounded as the side table stores them: a score from the table equals a score from the video."""
    stretches = tracker.finish_in_stretches() if isinstance(tracker, FinishesInStretches) else iter([tracker.finish()])
    return SpooledFaces.of(_as_stored(stretch) for stretch in stretches)


def _as_stored(faces: Faces) -> Faces:
    points_px, confidence = manifests.quantise(faces.points_px, faces.confidence)
    return replace(faces, points_px=points_px, confidence=confidence)


def _finished(scorer: Scorer, evidence: Evidence) -> dict[str, Any]:
    with _as_scorer_error(scorer):
        values = scorer.finish(evidence)
    names = {column.name for column in scorer.columns}
    if unknown := set(values) - names:
        raise ClipError("scorer_error", f"scorer {scorer.name} fills undeclared columns: {', '.join(sorted(unknown))}")
    return {name: _plain(values.get(name)) for name in names}


def _plain(value: Any) -> Any:
    """A Python scalar; NaN is null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
