"""The tracks of a clip against its sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.pieces import Pieces
from curation.spool import Spool
from curation.syncnet.mfcc import N_CEPSTRA, mfcc, mfcc_stretches
from curation.syncnet.network import EMBEDDING, Embedder
from curation.syncnet.score import SAMPLES_PER_FRAME, SyncScore, distances, n_windows, read
from curation.syncnet.stream import LipTrack
from manifests.rows import Rows


@dataclass(frozen=True)
class TrackScore:
    """One face track and its score."""

    track: LipTrack
    score: SyncScore

    def facts(self) -> dict[str, Any]:
        """For the manifest: where the face is (medians, pixels) and what it scores."""
        x, y, half = np.median(self.track.squares_px, axis=0)
        return {
            "first": self.track.first,
            "frames": self.track.n_frames,
            "x_px": round(float(x), 1),
            "y_px": round(float(y), 1),
            "side_px": round(float(2 * half), 1),
            "sync_c": round(self.score.sync_c, 4),
            "sync_d": round(self.score.sync_d, 4),
            "offset": self.score.offset_frames,
            "windows": self.score.n_windows,
        }


def score_tracks(embedder: Embedder, tracks: Sequence[LipTrack], audio: Rows) -> list[TrackScore]:
    """Each track against the sound of its own frames, in the same order; those with less sound than six frames are left out.

    Args:
        audio: (N,) int16 at 16 kHz; sample 0 at frame 0.
    """
    scored = []
    for track in tracks:
        first = min(len(audio), track.first * SAMPLES_PER_FRAME)
        heard = Pieces(audio, [(first, min(len(audio), (track.first + track.n_frames) * SAMPLES_PER_FRAME) - first)])
        n = n_windows(track.n_frames, len(heard))
        if n > 0:
            scored.append(TrackScore(track, read(distances(Pieces(track.lips, [(0, n)]), _sound(embedder, heard, n)))))
    return scored


def _sound(embedder: Embedder, audio: Rows, n: int) -> Spool:
    """(n, 1024) embeddings of the sound, on disk as soon as they are many."""
    cepstra, sound = Spool(np.float64, (N_CEPSTRA,)), Spool(np.float32, (EMBEDDING,))
    for stretch in mfcc_stretches(audio):
        cepstra.append(stretch)
    for stretch in embedder.sound_stretches(cepstra, n):
        sound.append(stretch)
    return sound


def score_crops(embedder: Embedder, crops: np.ndarray, audio: np.ndarray) -> SyncScore | None:
    """The score of ready crops (T, 224, 224, 3) uint8 BGR at 25 Hz with their (N,) int16 sound at 16 kHz; None if there is too little."""
    n = n_windows(len(crops), len(audio))
    return read(distances(embedder.lips(crops)[:n], embedder.sound(mfcc(audio), n))) if n > 0 else None
