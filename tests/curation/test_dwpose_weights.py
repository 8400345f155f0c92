"""The published weights, where somebody fetched them (`make models`): a face where MediaPipe sees it, and channels as they want them."""

from __future__ import annotations

import numpy as np
import pytest
from clip_files import astronaut

from curation.dwpose import pose
from curation.dwpose.backend import DETECTOR, POSE, DWPose, Runtime
from curation.dwpose.detector import decode, letterbox
from curation.landmarks import sixty_eight
from curation.landmarks.facemesh import FaceMesh

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backend() -> DWPose:
    runtime = Runtime(provider="cpu", detector_batch=1, pose_batch=1)
    missing = [name for name in (DETECTOR, POSE) if runtime.store().locate(name) is None]
    if missing:
        pytest.skip(f"no weights: {', '.join(missing)}; `make models` fetches them")
    return DWPose(runtime=runtime)


def test_the_face_is_where_mediapipe_sees_it(backend):
    rgb = astronaut(640)
    (person, *_) = backend.detector.detect([rgb])[0]
    points, scores = backend.poser.locate([pose.crop(rgb, person.box_px)], [person.box_px])
    wanted = FaceMesh().detect_image(rgb)[0].points_px
    distance = np.linalg.norm(points[0, pose.FACE] - wanted, axis=1) / sixty_eight.interocular(wanted)
    assert distance.mean() < 0.12
    assert (scores[0, pose.FACE] >= 0.3).sum() >= 60


def test_the_networks_are_surest_with_the_channels_as_they_are_fed(backend):
    rgb = astronaut(640)
    canvas, _ = letterbox(rgb)
    fed, swapped = (decode(backend.detector.network.run([c.transpose(2, 0, 1)])[0][0])[1].max() for c in (canvas, canvas[..., ::-1]))
    assert fed >= swapped
    box = backend.detector.detect([rgb])[0][0].box_px
    cut = pose.crop(rgb, box)
    fed, swapped = (backend.poser.locate([np.ascontiguousarray(c)], [box])[1][0, pose.FACE].mean() for c in (cut, cut[..., ::-1]))
    assert fed >= swapped
