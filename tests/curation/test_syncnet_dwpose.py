"""DWPose tells of every face frame by frame, late but without a hole, as SyncNet's `fast` mode needs."""

import numpy as np
import pytest
from dot_networks import DotPerson, draw, write_models

from curation.contracts import Clip, Frame, MediaInfo, SeesEveryFace
from curation.landmarks import make_backend

pytest.importorskip("onnxruntime")
WIDTH, HEIGHT, N_FRAMES = 640, 360, 23


def test_faces_come_in_order_and_are_those_of_the_finish(tmp_path) -> None:
    backend = make_backend("dwpose", {"runtime": {**write_models(tmp_path), "detector_batch": 2, "pose_batch": 4}})
    info = MediaInfo(WIDTH, HEIGHT, 25.0, N_FRAMES, 40.0 * N_FRAMES, "h264", False, None)
    tracker, seen, lags = backend.track(Clip("folder", "a", "a", "a.mp4"), info), [], []
    assert isinstance(tracker, SeesEveryFace)
    for i in range(N_FRAMES):
        people = [DotPerson(200 + 3 * i, 150, 40, 0), DotPerson(440, 150, 36, 0)][: 2 if i < 15 else 1]
        tracker.on_frame(Frame(i, 40.0 * i, draw(people, WIDTH, HEIGHT)))
        seen += tracker.take_seen()
        lags.append(i + 1 - len(seen))
    faces = tracker.finish()
    seen += tracker.take_seen()
    assert min(lags) >= 0
    assert [len(points) for points in seen] == [2] * 15 + [1] * 8 == faces.n_faces.tolist()
    assert tracker.take_seen() == []
    for points, main in zip(seen, faces.points_px, strict=True):
        assert np.abs(points - main).max(axis=(1, 2)).min() < 1e-3
