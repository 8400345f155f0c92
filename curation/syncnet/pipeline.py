"""A video file to its face tracks' scores, with the published networks or any others of their layout; for comparisons and tools.

The curation job does the same through `curation.scorers.syncnet`, in the decode that it shares.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curation.contracts import Clip
from curation.media import MediaReader
from curation.syncnet.clip import TrackScore, score_tracks
from curation.syncnet.network import Embedder
from curation.syncnet.s3fd import FaceDetector
from curation.syncnet.stream import LipStream

Boxes = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 RGB to (n, 4)


def score_video(
    path: str, embedder: Embedder, boxes: Boxes, *, min_track_frames: int = 50, min_face_size_px: float = 100.0
) -> list[TrackScore]:
    """Every face track of a whole file; empty without sound or faces.

    Args:
        boxes: finds the faces on one frame, in the order of `s3fd_boxes`.

    Raises:
        ClipError: the file cannot be decoded.
    """
    stream = LipStream(embedder, min_track_frames=min_track_frames, min_face_size_px=min_face_size_px)
    with MediaReader() as reader, reader.read(Clip("video", path, path, path)) as clip:
        for frame in clip.frames():
            stream.add_frame(frame.rgb)
            stream.add_boxes(boxes(frame.rgb))
        audio = clip.audio
    tracks = stream.finish()
    return [] if audio is None else score_tracks(embedder, tracks, audio)


def s3fd_boxes(detector: FaceDetector) -> Boxes:
    """Boxes as in `exact` mode."""
    return lambda rgb: detector.detect([detector.prepare(rgb)], (rgb.shape[1], rgb.shape[0]))[0][:, :4]


def landmark_boxes() -> Boxes:
    """Boxes as in `fast` mode, from FaceMesh."""
    from curation.contracts import Frame
    from curation.landmarks.facemesh import FaceMesh
    from curation.landmarks.tracking import FaceFollower
    from curation.syncnet.box_map import load_map

    follower, box_map = FaceFollower(FaceMesh()), load_map()

    def find(rgb: np.ndarray) -> np.ndarray:
        index = len(follower.times_ms)
        follower.on_frame(Frame(index, 40.0 * index, rgb))
        return box_map(follower.seen_px)

    return find
