"""Rendered people: the same bytes again, and truth that moves with what is planted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from curation.people import Person, Pose, Scene, Studio
from curation.people.colour import ita_deg, lab, to_linear, to_srgb
from curation.people.person import BEARDS, COLLARS, GLASSES, HAIR_STYLES, LIPS
from manifests import UserError

SIZE = 96


@pytest.fixture(scope="module")
def studio() -> Studio:
    pytest.importorskip("numba", reason="needs the extra `people`")
    return Studio(replace(Person.from_seed(7), hair_style="short", glasses="none"), Scene.from_seed(7), SIZE)


def test_the_same_seed_gives_the_same_bytes_and_another_another(studio):
    pose = Pose(jaw_open=0.3, yaw_deg=10)
    again = Studio(studio.person, studio.scene, SIZE)
    studio.render(Pose(yaw_deg=-20))  # a studio keeps nothing of the poses before
    first, second = studio.render(pose), again.render(pose)
    assert np.array_equal(first.rgb, second.rgb)
    assert np.array_equal(first.points_px, second.points_px)
    other = Studio(replace(studio.person, seed=8), studio.scene, SIZE).render(pose)
    assert (np.abs(other.rgb.astype(int) - first.rgb).max(axis=2) > 8).mean() > 0.1


def test_traits_are_within_their_ranges_and_the_seed_s_own():
    people = [Person.from_seed(seed) for seed in range(300)]
    assert people[3] == Person.from_seed(3)
    assert len({person.skin_tone for person in people}) > 200
    for person in people:
        assert person.sex in ("female", "male")
        assert 18 <= person.age_years <= 80
        assert sum(person.ancestry) == pytest.approx(1, abs=0.01)
        assert 1 <= person.skin_tone <= 10
        assert person.hair_style in HAIR_STYLES
        assert person.beard in BEARDS
        assert person.glasses in GLASSES
        assert person.clothes in COLLARS
        assert person.lips in LIPS
        assert person.sex == "male" or person.beard == "none"
    for style in HAIR_STYLES:
        assert any(person.hair_style == style for person in people), style
    tones = np.array([person.skin_tone for person in people])
    assert (tones < 3.5).any()
    assert (tones > 7).any()


def test_all_points_are_seen_from_the_front_and_the_far_side_is_hidden_when_turned(studio):
    front = studio.render(Pose())
    assert front.visible.sum() >= 66
    assert np.all((front.points_px > 0) & (front.points_px < SIZE))
    right, left = front.points_px[36:42].mean(axis=0), front.points_px[42:48].mean(axis=0)
    assert right[0] < left[0]  # the person's right eye is on the left of the picture
    assert front.eye_distance_px == pytest.approx(np.linalg.norm(left - right), rel=1e-5)
    turned = studio.render(Pose(yaw_deg=40)).visible  # towards the right of the picture: the person's left cheek goes behind
    assert not turned[13:16].any()
    assert turned[1:8].all()
    other = studio.render(Pose(yaw_deg=-40)).visible
    assert not other[1:4].any()
    assert other[9:16].all()


def test_points_that_leave_the_picture_are_not_visible(studio):
    assert not studio.render(Pose(shift_x=0.6)).visible[42:48].any()


@pytest.mark.parametrize(
    ("factor", "values", "truth", "rises"),
    [
        ("jaw_open", (0.0, 0.15, 0.3, 0.6), lambda shot: shot.lip_gap_px, True),
        ("blink_left", (0.0, 0.3, 0.6, 1.0), lambda shot: shot.lid_gap_px[0], False),
        ("blink_right", (0.0, 0.3, 0.6, 1.0), lambda shot: shot.lid_gap_px[1], False),
        ("smile", (0.0, 0.4, 0.8), lambda shot: shot.points_px[54, 0] - shot.points_px[48, 0], True),
        ("pucker", (0.0, 0.4, 0.8), lambda shot: shot.points_px[54, 0] - shot.points_px[48, 0], False),
        ("brows_up", (0.0, 0.5, 1.0), lambda shot: shot.points_px[17:27, 1].mean() - shot.points_px[36:48, 1].mean(), False),
        ("yaw_deg", (-20, 0, 20), lambda shot: shot.points_px[30, 0], True),
        ("pitch_deg", (-10, 0, 10), lambda shot: shot.points_px[30, 1], True),
        ("roll_deg", (-10, 0, 10), lambda shot: shot.points_px[45, 1] - shot.points_px[36, 1], True),
        ("shift_x", (-0.1, 0, 0.1), lambda shot: shot.points_px[:, 0].mean(), True),
        ("shift_y", (-0.1, 0, 0.1), lambda shot: shot.points_px[:, 1].mean(), True),
        ("distance", (0.9, 1.0, 1.2), lambda shot: shot.eye_distance_px, False),
    ],
)
def test_truth_moves_with_its_factor(studio, factor, values, truth, rises):
    measured = [float(truth(studio.render(Pose(**{factor: value})))) for value in values]
    steps = np.diff(measured) * (1 if rises else -1)
    assert (steps > 0).all(), measured


def test_a_shut_eye_and_a_closed_mouth_have_no_gap(studio):
    shot = studio.render(Pose(blink_left=1.0, blink_right=1.0))
    assert shot.lid_gap_px.max() < 0.06 * shot.eye_distance_px
    assert shot.lip_gap_px < 0.04 * shot.eye_distance_px
    one = studio.render(Pose(blink_left=1.0))
    assert one.lid_gap_px[0] < 0.5 * one.lid_gap_px[1]


def test_gaze_moves_the_iris_and_not_the_points_of_the_face(studio):
    left, right = studio.render(Pose(gaze_yaw_deg=-20)), studio.render(Pose(gaze_yaw_deg=20))
    np.testing.assert_allclose(left.points_px[:36], right.points_px[:36], atol=0.2)
    x0, y0 = np.floor(left.points_px[36:42].min(axis=0)).astype(int)
    x1, y1 = np.ceil(left.points_px[36:42].max(axis=0)).astype(int)
    dark = [255.0 - shot.rgb[y0:y1, x0:x1].mean(axis=2) for shot in (left, right)]
    columns = np.arange(x1 - x0)
    centres = [float((weight - weight.min()).sum(axis=0) @ columns / (weight - weight.min()).sum()) for weight in dark]
    assert centres[1] > centres[0]


def test_a_darker_skin_reads_darker_and_nothing_else_changes(studio):
    shots = [Studio(replace(studio.person, skin_tone=tone), studio.scene, SIZE).render(Pose()) for tone in (2.0, 5.0, 9.0)]
    assert shots[0].skin_ita_deg > shots[1].skin_ita_deg > shots[2].skin_ita_deg
    np.testing.assert_array_equal(shots[0].points_px, shots[2].points_px)
    lights = [shot.face_light for shot in shots]
    assert max(lights) / min(lights) < 1.6  # the light is the scene's, not the skin's


def test_colours_against_published_values():
    np.testing.assert_allclose(to_srgb(to_linear(np.array([12.0, 130.0, 250.0]))), [12, 130, 250], atol=1e-6)
    np.testing.assert_allclose(lab(np.array([255.0, 255.0, 255.0])), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(lab(np.array([255.0, 0.0, 0.0])), [53.24, 80.09, 67.20], atol=0.02)  # Lindbloom's calculator, D65
    assert ita_deg(np.array([240.0, 210.0, 190.0])) > 41 > ita_deg(np.array([120.0, 80.0, 60.0]))  # light and dark of Chardon's classes


@pytest.mark.parametrize("size", [8, 5000])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(UserError, match="rendered at 32 to 2048 px"):
        Studio(Person.from_seed(0), Scene.from_seed(0), size)


def test_a_seed_below_zero_is_refused():
    for draw in (Person.from_seed, Scene.from_seed):
        with pytest.raises(UserError, match="0 or above, not -1"):
            draw(-1)


def test_without_numba_one_line_names_the_extra():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from curation.people import Person, Scene, Studio\n"
        "from manifests import UserError\n"
        "try:\n    Studio(Person.from_seed(0), Scene.from_seed(0), 64)\n"
        "except UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "megactor-sigma-open[people]" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_importing_people_loads_no_compiler():
    code = "import sys, curation, curation.people; print('numba' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_a_contact_sheet_is_written(tmp_path):
    pytest.importorskip("numba", reason="needs the extra `people`")
    import cv2
    from click.testing import CliRunner

    from curation.cli import cli

    out = tmp_path / "sheet.png"
    result = CliRunner().invoke(cli, ["people-sheet", "--count", "3", "--columns", "2", "--size", "48", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(out)).shape == (96, 96, 3)
    assert not list(tmp_path.glob("*.partial"))
