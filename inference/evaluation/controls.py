"""Rows that need no method and stand in every table: what the metrics say of the real clips, and of answers that ought to fail.

| row | what it shows |
|---|---|
| ground truth | the real clip: the best that a metric can say, and Sync-C of reality |
| re-encoded real | H.264 at CRF 23, landmarks sought anew: what compression alone does: the noise floor of every answer |
| static frame | the first frame, held: which metrics reward stillness |
| shuffled audio | the real clip against another pair's sound: the floor of lip sync |
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from curation.contracts import Faces
from inference.evaluation.canonical import CANONICAL_HZ, CanonicalClip
from inference.evaluation.metrics.base import Judged

GROUND_TRUTH, RE_ENCODED, STATIC, SHUFFLED = "ground truth", "re-encoded real", "static frame", "shuffled audio"
SOUGHT_ANEW = frozenset({RE_ENCODED})  # controls with pictures of their own, on which the judge looks for landmarks as on an answer's
VERSION = 2  # raise it when a control's numbers change: its cached rows are made anew
_CRF = "23"  # libx264's own default


def ground_truth(real: CanonicalClip, other: CanonicalClip) -> Judged:
    return Judged(real, real)


def re_encoded(real: CanonicalClip, other: CanonicalClip) -> Judged:
    return Judged(replace(real, frames=_through_h264(real.frames)), real)


def static_frame(real: CanonicalClip, other: CanonicalClip) -> Judged:
    faces = real.faces

    def held(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[:1], len(values), axis=0)

    still = Faces(faces.times_ms, held(faces.n_faces), held(faces.points_px), held(faces.confidence))
    return Judged(replace(real, frames=held(real.frames), faces=still), real)


def shuffled_audio(real: CanonicalClip, other: CanonicalClip) -> Judged:
    """`other` lends its sound, repeated or cut to the length of the clip's own."""
    if real.audio is None or other.audio is None or not len(other.audio):
        return Judged(real, replace(real, audio=None))
    return Judged(real, replace(real, audio=np.resize(other.audio, len(real.audio))))


CONTROLS: dict[str, Callable[[CanonicalClip, CanonicalClip], Judged]] = {
    GROUND_TRUTH: ground_truth,
    RE_ENCODED: re_encoded,
    STATIC: static_frame,
    SHUFFLED: shuffled_audio,
}


def _through_h264(frames: np.ndarray) -> np.ndarray:
    """(T, S, S, 3) uint8 RGB as it comes back from yuv420p H.264."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(CANONICAL_HZ), options={"crf": _CRF, "threads": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for index, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, round(CANONICAL_HZ))  # without, rate control follows whatever lies in memory
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as coded:  # our own bytes: no child process needed
        return np.stack([frame.to_ndarray(format="rgb24") for frame in coded.decode(video=0)])
