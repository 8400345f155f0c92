"""Lip sync against planted offsets: the sound of every clip moved by -10 to 10 frames, and other people's sound in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import manifests
from curation.contracts import AUDIO_RATE_HZ, Clip
from curation.lipsync.curve import clip_curve, read_curve
from curation.lipsync.evaluate import area_under_roc
from curation.lipsync.towers import Towers
from curation.media import MediaReader
from manifests import LandmarkIndex

OFFSETS = tuple(range(-10, 11))
_SAMPLES_PER_FRAME = AUDIO_RATE_HZ // 25


def moved(audio: np.ndarray, frames: int) -> np.ndarray:
    """The sound `frames` earlier (later below 0), zeros where none is left."""
    samples = frames * _SAMPLES_PER_FRAME
    if samples >= 0:
        return np.concatenate([audio[samples:], np.zeros(samples, audio.dtype)])
    return np.concatenate([np.zeros(-samples, audio.dtype), audio[:samples]])


def sync_table(run: Path, towers: Towers) -> pd.DataFrame:
    """A row a clip and planted offset (`offset`, `read`, `confidence`), and one with the next person's sound (`offset` null)."""
    rows = manifests.load(run)
    rows = rows[(rows.status == "scored") & rows.has_audio.fillna(False)].sort_values("source_key")
    landmarks = LandmarkIndex(run)
    with MediaReader() as reader:
        sounds = [_sound(reader, row) for row in rows.itertuples()]
    found = []
    for number, row in enumerate(rows.itertuples()):
        points = landmarks.load(row.clip_id).points_px
        cases = [(offset, moved(sounds[number], offset)) for offset in OFFSETS]
        cases.append((None, sounds[(number + 1) % len(sounds)]))
        for offset, audio in cases:
            curve, windows = clip_curve(towers, points, audio, row.fps)
            read, confidence = read_curve(curve) if windows >= 30 and np.isfinite(curve).all() else (None, np.nan)
            found.append({"identity": row.identity, "offset": offset, "read": read, "confidence": confidence})
    return pd.DataFrame(found).astype({"offset": "Int64", "read": "Int64"})


def summary(table: pd.DataFrame, least_confidence: float, largest_offset: int) -> dict[str, float | int]:
    """Shares over all clips; the last two arguments are the thresholds of the preset `embedded`."""
    planted, wrong = table[table["offset"].notna()], table[table["offset"].isna()]
    off = (planted["read"] - planted["offset"]).abs()
    true = planted[planted["offset"] == 0]

    def accepted(rows: pd.DataFrame) -> pd.Series:
        in_time = (rows["read"].abs() <= largest_offset).fillna(False).astype(bool)
        return in_time & (rows["confidence"] >= least_confidence)

    return {
        "clips": int(true.shape[0]),
        "planted offsets": int(planted.shape[0]),
        **{f"within {k}": round(float((off <= k).fillna(False).mean()), 4) for k in (0, 1, 2, 3)},
        "at offset 0, within 1": round(float((true["read"].abs() <= 1).fillna(False).mean()), 4),
        "true sound accepted": round(float(accepted(true).mean()), 4),
        "wrong sound rejected": round(1 - float(accepted(wrong).mean()), 4),
        "confidence AUC, true against wrong": round(
            area_under_roc(true["confidence"].dropna().to_numpy(), wrong["confidence"].dropna().to_numpy()), 4
        ),
        "median confidence, true": round(float(true["confidence"].median()), 3),
        "median confidence, wrong": round(float(wrong["confidence"].median()), 3),
    }


def _sound(reader: MediaReader, row: object) -> np.ndarray:
    with reader.read(Clip(row.source, row.source_key, row.identity, row.video_path), frames=False) as stream:
        return stream.audio


MEASURES = {
    "offset within 1 frame": lambda rows: float(((rows["read"] - rows["offset"]).abs() <= 1)[rows["offset"].notna()].fillna(False).mean()),
    "confidence": lambda rows: float(rows.loc[rows["offset"] == 0, "confidence"].mean()),
}
