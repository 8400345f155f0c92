"""The map from landmarks to face boxes: what is planted is found, it moves with the face, the shipped one is sane, videos give one."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curation.cli import cli
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.sixty_eight import FLIP
from curation.syncnet.box_map import BoxMap, fit_map, load_map
from curation.syncnet.fit_boxes import crop_differences, fit_from_videos, summary
from curation.syncnet.tracks import overlap
from manifests.errors import UserError
from tests.curation.clip_files import astronaut, write_face_clip


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return FaceMesh().detect_image(astronaut(320))[0].points_px.astype(np.float64)


def faces(face: np.ndarray, n: int) -> np.ndarray:
    """Variants: every point jittered, then scaled and moved."""
    rng = np.random.default_rng(0)
    jittered = face + rng.normal(0, 4, (n, 68, 2))
    return jittered * rng.uniform(0.5, 3, (n, 1, 1)) + rng.uniform(0, 500, (n, 1, 2))


def test_a_planted_map_is_found_despite_some_wrong_pairs(face: np.ndarray) -> None:
    planted = load_map()
    points = faces(face, 300)
    boxes = planted(points)
    boxes[::40] += 500
    error = np.abs(fit_map(points, boxes)(points) - planted(points)).max(axis=1)
    assert np.median(error) < 0.5


@given(scale=st.floats(0.3, 5), dx=st.floats(-300, 300), dy=st.floats(-300, 300))
def test_the_box_moves_scales_and_mirrors_with_the_face(face: np.ndarray, scale: float, dx: float, dy: float) -> None:
    box = load_map()(face)
    moved = load_map()(face * scale + [dx, dy])
    np.testing.assert_allclose(moved, box * scale + [dx, dy, dx, dy], atol=1e-6)
    x0, y0, x1, y1 = load_map()((face * [-1, 1])[FLIP])
    np.testing.assert_allclose([x0, y0, x1, y1], [-box[2], box[1], -box[0], box[3]], atol=0.02 * (box[2] - box[0]))


def test_the_shipped_map_reaches_from_the_forehead_to_the_chin(face: np.ndarray) -> None:
    x0, y0, x1, y1 = load_map()(face)
    low, high = face.min(axis=0), face.max(axis=0)
    height = high[1] - low[1]
    assert low[1] - 0.6 * height < y0 < low[1] - 0.1 * height
    assert abs(y1 - high[1]) < 0.1 * height
    assert abs(x0 - low[0]) + abs(x1 - high[0]) < 0.3 * (high[0] - low[0])
    assert load_map().facts["detector"] == "yunet"
    assert load_map().facts["held_out"]["iou_median"] > 0.9


def test_differences_are_in_parts_of_the_crop(face: np.ndarray) -> None:
    theirs = np.array([[0, 0, 100, 100.0]])
    (row,) = crop_differences(np.array([[10, 5, 120, 105.0]]), theirs)
    np.testing.assert_allclose(row[:3], [15 / 50, 5 / 50, 0.1])
    assert row[3] == pytest.approx(overlap(np.array([10, 5, 120, 105.0]), theirs[0]))
    assert summary(row[None])["size_median"] == pytest.approx(0.1)


def test_a_map_survives_its_file_and_others_are_refused(tmp_path: Path) -> None:
    planted = BoxMap(np.arange(32.0).reshape(4, 8), {"detector": "x"})
    planted.save(tmp_path / "map.json")
    loaded = load_map(tmp_path / "map.json")
    np.testing.assert_array_equal(loaded.coefficients, planted.coefficients)
    assert loaded.facts == {"detector": "x"}
    short = json.dumps({"format": "sync-box-map-1", "coefficients": [[0]]})
    for name, text in (("cut", "{"), ("other", "{}"), ("list", "[]"), ("short", short)):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="fit-sync-boxes"):
            load_map(tmp_path / name)
    with pytest.raises(UserError, match="fit-sync-boxes"):
        load_map(tmp_path / "none")


def test_fitting_from_videos(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.mp4" for i in range(10)]
    for i, file in enumerate(files):
        write_face_clip(file, seed=i, n_frames=6)

    class Planted:
        name = "planted"

        def __call__(self, rgb: np.ndarray) -> np.ndarray:
            found = FaceMesh().detect_image(np.array(rgb))
            return np.array([load_map()(face.points_px) for face in found]).reshape(-1, 4)

    fitted = fit_from_videos(files, Planted(), every_s=0.12)
    assert fitted.facts["videos"] == 10
    assert fitted.facts["held_out"]["iou_median"] > 0.97
    with pytest.raises(UserError, match="at least 10"):
        fit_from_videos(files[:3], Planted(), every_s=0.12)


def test_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    write_face_clip(tmp_path / "a.mp4", seed=0, n_frames=5)
    missing = CliRunner().invoke(cli, ["fit-sync-boxes", str(tmp_path), "--models", str(tmp_path / "none")])
    assert isinstance(missing.exception, UserError)
    assert "models fetch s3fd" in str(missing.exception)
    stand_in = CliRunner().invoke(cli, ["fit-sync-boxes", str(tmp_path), "--detector", "yunet"])
    assert isinstance(stand_in.exception, UserError)
    assert "--weights" in str(stand_in.exception)
