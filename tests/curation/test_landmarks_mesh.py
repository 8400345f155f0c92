"""The square the mesh looks at, and that its points follow the picture."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_files import astronaut
from hypothesis import given
from hypothesis import strategies as st

from curation.landmarks import networks, sixty_eight
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.mesh import Roi
from curation.landmarks.networks import Network


@pytest.fixture(scope="module")
def backend() -> FaceMesh:
    return FaceMesh()


@pytest.fixture(scope="module")
def still(backend):
    return backend.detect_image(astronaut(512))[0]


coordinate = st.floats(-2000, 2000)
roi = st.builds(Roi, coordinate, coordinate, st.floats(1, 3000), st.floats(-3.1, 3.1))


@given(roi=roi)
def test_the_matrix_maps_centre_and_corners(roi):
    matrix = roi.matrix(192)
    to_picture = lambda *xy: matrix[:, :2] @ xy + matrix[:, 2]  # noqa: E731
    np.testing.assert_allclose(to_picture(96, 96), [roi.x_px, roi.y_px], atol=1e-6)
    upper = to_picture(192, 0) - to_picture(0, 0)
    np.testing.assert_allclose(upper, roi.side_px * np.array([np.cos(roi.angle_rad), np.sin(roi.angle_rad)]), atol=1e-6)
    np.testing.assert_allclose(to_picture(0, 192) - to_picture(0, 0), [-upper[1], upper[0]], atol=1e-6)


def test_the_square_is_upright_with_the_eyes_and_half_as_large_again():
    box = np.array([10.0, 20.0, 110.0, 100.0])
    tilted = Roi.around(box, np.array([30.0, 40.0]), np.array([60.0, 70.0]))
    assert (tilted.x_px, tilted.y_px, tilted.side_px) == (60, 60, 150)
    assert tilted.angle_rad == pytest.approx(np.pi / 4)


@pytest.mark.parametrize("degrees", [-40, -20, 15, 30])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.3])
def test_points_follow_a_rolled_and_scaled_picture(backend, still, degrees, scale):
    size = round(512 * scale)
    matrix = cv2.getRotationMatrix2D((256 * scale, 256 * scale), -degrees, 1)  # OpenCV counts anticlockwise
    matrix = matrix @ np.diag([scale, scale, 1])
    shift = matrix.copy()
    shift[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5  # pixel centres
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.warpAffine(cv2.GaussianBlur(astronaut(512), (0, 0), 0.3 / scale), shift, (size, size), flags=flags)
    (found,) = backend.detect_image(picture)
    expected = still.points_px @ matrix[:, :2].T + matrix[:, 2]
    distance = np.linalg.norm(found.points_px - expected, axis=1) / sixty_eight.interocular(expected)
    assert distance.mean() < 0.035


def test_more_looks_jitter_less_over_shifts_that_are_known():
    picture, read = astronaut(256), {1: [], 7: []}
    shifts = np.random.default_rng(0).uniform(-6, 6, (12, 2))
    for looks, found in read.items():
        backend = FaceMesh(looks=looks)
        for shift in shifts:
            moved = cv2.warpAffine(picture, np.column_stack([np.eye(2), shift]), (256, 256), borderMode=cv2.BORDER_REPLICATE)
            found.append(backend.detect_image(moved)[0].points_px - shift)
    jitter = {looks: np.std(points, axis=0).mean() for looks, points in read.items()}
    assert jitter[7] < 0.8 * jitter[1]
    np.testing.assert_allclose(np.mean(read[7], axis=0), np.mean(read[1], axis=0), atol=1.5)  # the same points


def test_a_crop_gives_the_same_points(backend, still):
    (found,) = backend.detect_image(astronaut(512)[:330, 90:420])
    distance = np.linalg.norm(found.points_px - (still.points_px - [90, 0]), axis=1) / sixty_eight.interocular(still.points_px)
    assert distance.mean() < 0.02


def test_the_nose_is_nearest_and_depth_has_the_pictures_scale(backend, still):
    points = sixty_eight.from_mesh(still.mesh_px)
    assert points[30, 2] - points[:, 2].min() < 0.03 * sixty_eight.interocular(still.points_px)
    doubled = backend.detect_image(cv2.resize(astronaut(512), (1024, 1024)))[0]
    assert np.ptp(doubled.mesh_px[:, 2]) == pytest.approx(2 * np.ptp(still.mesh_px[:, 2]), rel=0.05)


def test_two_faces_are_both_found_the_larger_first(backend):
    picture = np.full((400, 700, 3), 70, np.uint8)
    picture[40:360, 360:680] = astronaut(320)
    picture[60:300, 40:280] = astronaut(240)
    large, small = backend.detect_image(picture)
    assert large.box_px[0] > 360 > small.box_px[2]


def test_what_is_not_a_picture_is_refused(backend):
    with pytest.raises(ValueError, match="uint8"):
        backend.detect_image(np.zeros((20, 20, 3), np.float32))
    with pytest.raises(ValueError, match="H, W, 3"):
        backend.detect_image(np.zeros((20, 20), np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (900, 2), (30, 30)])
def test_odd_shapes_have_no_face(backend, shape):
    assert backend.detect_image(np.full((*shape, 3), 200, np.uint8)) == []


def test_a_mirrored_view_of_an_array_is_a_picture_too(backend):
    assert len(backend.detect_image(astronaut(256)[:, ::-1, :])) == 1


def test_the_weights_are_the_published_ones():
    folder = Path(networks.__file__).parent / "weights"
    files = sorted(folder.glob("*.tflite"))
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert len(files) == 4
    assert all(f"| `{digests[name]}` |" in (folder / "README.md").read_text() for name in digests)


def test_a_network_can_be_sent_to_a_worker_before_and_after_use():
    network = Network("face_landmark.tflite")
    assert network.size_px == 192
    copy = pickle.loads(pickle.dumps(network))
    image = np.random.default_rng(0).integers(0, 255, (192, 192, 3), np.uint8)
    for ours, theirs in zip(network.run(image, 1 / 255, 0), copy.run(image, 1 / 255, 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_importing_loads_neither_opencv_nor_litert():
    code = (
        "import sys, curation.landmarks.facemesh, curation.scorers.head_pose, curation.scorers.face;"
        "print([m for m in ('cv2', 'ai_edge_litert', 'scipy', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        FaceMesh(detector_every_frames=0)
