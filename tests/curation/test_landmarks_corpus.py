"""Landmarks and geometric scores on real footage.

python -m pytest tests/curation/test_landmarks_corpus.py -m "corpus and slow" -s     # prints the table of misses
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manifests
from curation.contracts import Clip, ClipError, Evidence, Faces
from curation.landmarks import sixty_eight
from curation.landmarks.facemesh import FaceMesh
from curation.media import MediaReader
from curation.scorers.face import FaceResolution, ValidFrames
from curation.scorers.head_pose import HeadPose

CORPUS = Path(os.environ.get("MEGACTOR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "corpus"))
SHOWN = [
    "file",
    "kind",
    "n_faces_max",
    "valid_frame_ratio",
    "face_size_px_p5",
    "head_rotation_deg",
    "pose_residual_px",
    "ms_a_frame",
    "error",
]

# The 66 points of OpenSeeFace's network as numbers of the 68: its lips have no inner corners, and its outer corners come late.
OPENSEEFACE_POINTS = [*range(48), 49, 50, 51, 52, 53, 55, 56, 57, 58, 59, 48, 61, 62, 63, 54, 65, 66, 67]

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not (CORPUS / "clips.csv").is_file(), reason=f"no corpus at {CORPUS}: set MEGACTOR_CORPUS"),
]


def score(reader: MediaReader, backend: FaceMesh, clip: Clip) -> dict:
    import time

    spent_s = 0.0
    with reader.read(clip, audio=False) as stream:
        tracker, n_frames = backend.track(clip, stream.info), 0
        for frame in stream.frames():
            began = time.perf_counter()
            tracker.on_frame(frame)
            spent_s += time.perf_counter() - began
            n_frames += 1
        info = stream.info
    found = tracker.finish()
    points_px, confidence = manifests.quantise(found.points_px, found.confidence)
    evidence = Evidence(clip, info, 25.0, Faces(found.times_ms, found.n_faces, points_px, confidence), None)
    row: dict = {"ms_a_frame": 1000 * spent_s / max(n_frames, 1)}
    for scorer in (FaceResolution(), ValidFrames(), HeadPose()):
        row |= scorer.finish(evidence)
    return row


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    clips, backend, rows = pd.read_csv(CORPUS / "clips.csv"), FaceMesh(), []
    with MediaReader() as reader:
        for clip in clips.itertuples():
            row = {"file": clip.file, "kind": clip.kind, "error": ""}
            try:
                row |= score(reader, backend, Clip("folder", clip.file, clip.file, str(CORPUS / clip.file)))
            except ClipError as error:
                row["error"] = error.kind
            rows.append(row)
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> str:
    return rows[SHOWN].round(2).to_string(index=False) if len(rows) else "(none)"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nine_in_ten_real_single_face_clips_are_valid(scores):
    real = scores[(scores["kind"] == "real") & (scores["error"] == "")]
    misses = real[~(real["valid_frame_ratio"] >= 0.9)]
    print(f"\n{len(real) - len(misses)} of {len(real)} real single-face clips have valid_frame_ratio >= 0.9; the others:\n{table(misses)}")
    print(f"could not be read to the end:\n{table(scores[scores['error'] != ''])}")
    print(f"milliseconds a frame, median over the clips: {scores['ms_a_frame'].median():.1f}")
    assert len(real) > 60
    assert len(misses) <= 0.1 * len(real)
    assert (real["n_faces_max"] <= 1).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_clips_without_a_face_have_none(scores):
    nonface = scores[scores["kind"] == "nonface"]
    print(f"\nclips without a face:\n{table(nonface)}")
    assert len(nonface) >= 5
    assert (nonface["valid_frame_ratio"] < 0.1).all()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_clips_of_several_people_show_them(scores):
    multi = scores[scores["kind"] == "multi"]
    print(f"\nclips of several people:\n{table(multi)}")
    # Upright film under a rotation tag: shown as the tag asks, its people lie on their side, where nobody looks for faces.
    upright = multi[~multi["file"].str.contains("psd_rotate")]
    assert len(upright) >= 5
    assert (upright["n_faces_max"] >= 2).all()


def test_points_agree_with_an_independent_network():
    """OpenSeeFace's 66-point network on the same portraits: another training set, another architecture."""
    onnxruntime = pytest.importorskip("onnxruntime")
    import cv2

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    network = onnxruntime.InferenceSession(str(CORPUS / "models/face_onnx/openseeface_lm_model0_66pt.onnx"), options)
    backend, distances = FaceMesh(), []
    for path in sorted((CORPUS / "portraits").iterdir()):
        rgb = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        for face in backend.detect_image(rgb):
            theirs = _openseeface(network, rgb, face.box_px)
            distance = np.linalg.norm(face.points_px[OPENSEEFACE_POINTS] - theirs, axis=1)
            distances.append(distance / sixty_eight.interocular(face.points_px))
    per_point = np.mean(distances, axis=0)
    rigid = [i for i, point in enumerate(OPENSEEFACE_POINTS) if point in sixty_eight.RIGID]
    print(f"\n{len(distances)} faces, mean distance in eye distances: all {per_point.mean():.3f}, rigid {per_point[rigid].mean():.3f}")
    assert len(distances) >= 20
    assert per_point.mean() < 0.08
    assert per_point[rigid].mean() < 0.05


def _openseeface(network, rgb: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    """(66, 2) points of the face in the box, widened as that project's tracker does."""
    import cv2

    size, cells = 224, 28
    sides = box_px[2:] - box_px[:2]
    origin, sides = box_px[:2] - sides * [0.1, 0.125], sides * [1.2, 1.25]
    scale = sides / size
    to_picture = np.array([[scale[0], 0, origin[0]], [0, scale[1], origin[1]]])
    crop = cv2.warpAffine(rgb, to_picture, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    planes = ((crop / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None].astype(np.float32)
    maps = network.run(None, {network.get_inputs()[0].name: planes})[0][0].reshape(198, -1)
    best = maps[:66].argmax(axis=1)
    row, column = np.divmod(best, cells)
    offsets = np.clip(np.stack([maps[132 + np.arange(66), best], maps[66 + np.arange(66), best]], axis=1), 1e-7, 1 - 1e-7)  # x, y
    at = (size - 1) * (np.stack([column, row], axis=1) / (cells - 1) + np.log(offsets / (1 - offsets)) / 16)
    return at * scale + origin
