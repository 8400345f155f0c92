"""Speaking clips of a manifest as the towers see them: features of mouth and sound, computed once and kept in the output directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import manifests
from curation.contracts import ClipError
from curation.lipsync.features import MELS_PER_FRAME, SAMPLES_PER_FRAME, VIDEO_HZ, later, log_mel, mouth_features, sampling_lag_rows
from manifests.atomic import atomic_path
from manifests.tables import records

if TYPE_CHECKING:
    from curation.media import MediaReader

FEATURES_VERSION = "2"  # raise it when features.py changes: cached features of another version are computed again


@dataclass(frozen=True)
class Footage:
    """One clip for training and evaluation.

    Attributes:
        clip_id, key: of the manifest; `key` (the source's key) is for people.
        identity: clips of one identity are never on both sides of a fold.
        mouth: (T, 50) float32, known: (T,) bool, mel: (4 T, 40) float32; see `features`.
    """

    clip_id: str
    key: str
    identity: str
    mouth: np.ndarray
    known: np.ndarray
    mel: np.ndarray

    @property
    def n_frames(self) -> int:
        return len(self.mouth)


def collect_footage(manifest: str | Path, where: str, cache: Path, say: Callable[[str], None]) -> list[Footage]:
    """Every clip of the manifest that `where` chooses and that has sound and landmarks, in the order of their ids.

    Args:
        manifest: a run's directory, or the manifest file in it; its `landmarks/` must lie beside.
        where: a pandas query over the manifest.
        cache: directory for the features; what is there is not computed again.

    Raises:
        manifests.UserError: no manifest, no landmarks, or a query that chooses nothing.
    """
    table = manifests.load(manifest)
    root = str(manifest)
    if root.endswith(".parquet"):
        root = root.rpartition("/")[0] or "."
    try:
        chosen = table.query(where) if where else table
    except Exception as error:  # pandas raises whatever the expression's evaluation raises
        raise manifests.UserError(f"--where {where!r} is no query over this manifest: {error}") from error
    chosen = chosen[(chosen.status == "scored") & chosen.has_audio.fillna(False).astype(bool)].sort_values("clip_id")
    if chosen.empty:
        raise manifests.UserError(f"no scored clip with sound fits {where!r} in {manifest}")
    cache.mkdir(parents=True, exist_ok=True)
    rows = {row["clip_id"]: row for row in records(chosen)}
    found = {clip_id: _cached(cache, row) for clip_id, row in rows.items()}
    if missing := {clip_id for clip_id, footage in found.items() if footage is None}:
        found |= _computed(root, {clip_id: rows[clip_id] for clip_id in missing}, cache, say)
    return [footage for clip_id in rows if (footage := found[clip_id]) is not None]


def _cache_path(cache: Path, clip_id: str) -> Path:
    return cache / f"{clip_id}.v{FEATURES_VERSION}.safetensors"


def _cached(cache: Path, row: dict[str, Any]) -> Footage | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = _cache_path(cache, row["clip_id"])
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
        return Footage(row["clip_id"], row["source_key"], row["identity"], tensors["mouth"], tensors["known"], tensors["mel"])
    except (SafetensorError, KeyError, OSError):
        path.unlink()  # half a file of an interrupted copy: compute it again
        return None


def _computed(root: str, rows: dict[str, dict[str, Any]], cache: Path, say: Callable[[str], None]) -> dict[str, Footage | None]:
    from safetensors.numpy import save

    from curation.media import MediaReader

    done: dict[str, Footage | None] = dict.fromkeys(rows)
    began = time.monotonic()
    n = 0
    with MediaReader() as reader:
        for clip_id, landmarks in manifests.iter_landmarks(root):
            if clip_id not in rows:
                continue
            row = rows[clip_id]
            n += 1
            if len(landmarks.times_ms) > 1 and abs(np.median(np.diff(landmarks.times_ms)) * VIDEO_HZ - 1000) > 1:
                raise manifests.UserError(f"{root} was not sampled at {VIDEO_HZ} Hz: curate it with --set sample_hz={VIDEO_HZ}")
            try:
                audio = _sound(reader, row)
            except ClipError as error:
                say(f"left out {row['source_key']}: {error.message}")
                continue
            footage = make_footage(clip_id, row["source_key"], row["identity"], landmarks.points_px, audio, row["fps"])
            done[clip_id] = footage
            tensors = {"mouth": footage.mouth, "known": footage.known, "mel": footage.mel}
            with atomic_path(_cache_path(cache, clip_id)) as temporary:
                temporary.write_bytes(save(tensors))
            if n % 50 == 0 or n == len(rows):
                eta_s = (time.monotonic() - began) / n * (len(rows) - n)
                say(f"features {n}/{len(rows)} clips | ETA {eta_s:.0f} s")
    return done


def _sound(reader: MediaReader, row: dict[str, Any]) -> np.ndarray:
    from curation.media import span_of

    with reader.read(span_of(row), frames=False) as stream:
        return np.zeros(0, np.int16) if stream.audio is None else stream.audio


def make_footage(clip_id: str, key: str, identity: str, points_px: np.ndarray, audio: np.ndarray, fps: float = VIDEO_HZ) -> Footage:
    """Features of one clip, cut to what picture and sound both cover. As `curve.clip_curve`."""
    n = min(len(points_px), len(audio) // SAMPLES_PER_FRAME)
    mouth, known = mouth_features(points_px[:n])
    mel = later(log_mel(audio[: n * SAMPLES_PER_FRAME]), sampling_lag_rows(fps))
    return Footage(clip_id, key, identity, mouth, known, mel)


def shifted(footage: Footage, rows: int) -> Footage:
    """The same clip with its sound moved earlier by `rows` of 10 ms (negative: later): frame t meets the mel rows from 4 t + rows."""
    skip = max(0, -(rows // MELS_PER_FRAME))  # frames that would need sound from before the clip
    first = skip * MELS_PER_FRAME + rows
    n = max(0, min(footage.n_frames - skip, (len(footage.mel) - first) // MELS_PER_FRAME))
    cut = slice(skip, skip + n)
    mel = footage.mel[first : first + n * MELS_PER_FRAME]
    return Footage(footage.clip_id, footage.key, footage.identity, footage.mouth[cut], footage.known[cut], mel)
