"""The picture that explains a clip: what is drawn lies where the numbers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.landmarks import pose
from curation.report.picture import (
    BAD,
    CURVE,
    GAP_PX,
    GOOD,
    MARGIN_PX,
    MAX_PANELS,
    PLOT_HEIGHT_PX,
    POINT,
    WIDTH_PX,
    explain_picture,
    pose_axes,
    save_png,
)
from manifests import UserError

PANEL_PX = (WIDTH_PX - 2 * MARGIN_PX - GAP_PX * (MAX_PANELS - 1)) // MAX_PANELS
PANEL_TOP_PX = 104
ROW = {"clip_id": "0" * 20, "source_key": "a.mp4", "status": "scored", "accepted": True, "reject_reasons": [], "lipsync_conf": 0.3}
SHIFTS = np.arange(-15, 16)


def face_points(centre=(200.0, 150.0), size_px=80.0) -> np.ndarray:
    """(68, 2): a grid that spans a square of `size_px` about `centre`."""
    across, down = np.meshgrid(np.linspace(-0.5, 0.5, 17), np.linspace(-0.5, 0.5, 4))
    return np.stack([across, down], -1).reshape(68, 2) * size_px + centre


def frame(width=400, height=300, colour=(0, 0, 0)) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def panel(image: np.ndarray, k: int = 0) -> np.ndarray:
    left = MARGIN_PX + k * (PANEL_PX + GAP_PX)
    return image[PANEL_TOP_PX : PANEL_TOP_PX + PANEL_PX, left : left + PANEL_PX]


def has_colour(image: np.ndarray, colour) -> bool:
    return bool((np.abs(image.astype(int) - colour).max(-1) < 25).any())


def plot(image: np.ndarray) -> np.ndarray:
    return image[-PLOT_HEIGHT_PX - MARGIN_PX : -MARGIN_PX, MARGIN_PX:840]


def test_landmarks_lie_on_what_they_mark():
    # White marks of the drawing must cover the red squares that the frame has at the same points: crop and scale agree for both.
    points = face_points()
    rgb = frame()
    for x, y in points[[0, 16, 51, 67]].round().astype(int):
        rgb[y - 2 : y + 3, x - 2 : x + 3] = (255, 0, 0)
    bare = panel(explain_picture([(0.0, rgb)], [None], [None], None, ROW))
    assert has_colour(bare, (255, 0, 0))
    marked = panel(explain_picture([(0.0, rgb)], [points], [None], None, ROW)).astype(int)
    scale = PANEL_PX / 160  # the crop is twice the face: 160 px
    for x, y in points[[0, 16, 51, 67]]:
        at_x, at_y = scale * (x - 120), scale * (y - 70)
        spot = marked[round(at_y) - 2 : round(at_y) + 3, round(at_x) - 2 : round(at_x) + 3]
        ring = marked[round(at_y) - 5 : round(at_y) + 6, round(at_x) - 5 : round(at_x) + 6]
        assert (spot.min(-1) > 200).any(), "no white mark"
        assert ((ring[..., 0] > 180) & (ring[..., 1] < 60)).any(), "the mark lies beside the red square"
    assert has_colour(marked, POINT)


@pytest.mark.parametrize("centre", [(5.0, 5.0), (395.0, 295.0), (-20.0, 150.0), (200.0, 320.0)])
def test_faces_at_and_beyond_the_edge(centre):
    image = explain_picture([(0.0, frame())], [face_points(centre)], [(10.0, 0.0, 0.0)], None, ROW)
    assert image.shape[1:] == (WIDTH_PX, 3)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3840, 2160), (90, 1600), (2000, 40)])
def test_any_frame_size(width, height):
    points = face_points((width / 2, height / 2), 0.5 * min(width, height))
    image = explain_picture([(0.0, frame(width, height, (200, 10, 10)))], [points], [(0.0, 0.0, 0.0)], None, ROW)
    assert has_colour(panel(image), (200, 10, 10))


def test_no_face_shows_the_whole_frame_and_says_so():
    rgb = frame(400, 200, (0, 0, 90))
    for missing in (None, np.full((68, 2), np.nan)):
        shown = panel(explain_picture([(0.0, rgb)], [missing], [None], None, ROW))
        assert has_colour(shown[:40], BAD)
        blue = (np.abs(shown.astype(int) - (0, 0, 90)).max(-1) < 3).any(1)
        assert abs(int(blue.sum()) - PANEL_PX // 2) <= 2  # 2:1 frame in a square panel


def test_four_of_many_frames():
    frames = [(40.0 * k, frame(100, 100, (10 * k, 0, 0))) for k in range(20)]
    image = explain_picture(frames, [None] * 20, [None] * 20, None, ROW)
    middles = [int(panel(image, k)[PANEL_PX // 2, PANEL_PX // 2, 0]) for k in range(MAX_PANELS)]
    assert middles == [0, 60, 130, 190]


def test_no_frames_at_all():
    image = explain_picture([], [], [], None, {"status": "failed", "error_kind": "timeout", "error_message": "too slow"})
    assert has_colour(image[:104], BAD)
    assert not has_colour(image[:104], GOOD)


def test_mismatched_input():
    with pytest.raises(ValueError, match="1 frames, 2 sets of points and 0 poses"):
        explain_picture([(0.0, frame())], [None, None], [], None, ROW)


def test_verdict_by_colour():
    good = explain_picture([], [], [], None, ROW)[:104]
    bad = explain_picture([], [], [], None, ROW | {"accepted": False, "reject_reasons": ["head_turned"]})[:104]
    assert has_colour(good, GOOD)
    assert not has_colour(good, BAD)
    assert has_colour(bad, BAD)
    assert not has_colour(bad, GOOD)


@pytest.mark.parametrize("best", [-15, -4, 0, 9, 15])
def test_best_shift_is_marked_where_it_lies(best):
    similarity = 0.1 + 0.4 * np.exp(-((SHIFTS - best) ** 2) / 4.0)
    area = plot(explain_picture([], [], [], (SHIFTS, similarity), ROW)).astype(int)
    # The vertical line from the peak down, in the lower half of the plot, where no text is green.
    lower = area[area.shape[0] // 2 : -50]
    green = np.flatnonzero((np.abs(lower - GOOD).max(-1) < 30).sum(0) > 40)
    expected = np.interp(best, (-15, 15), (62, area.shape[1] - 20))
    assert np.abs(green - expected).max() <= 2


def test_median_lies_at_its_value():
    similarity = 0.1 + 0.01 * (SHIFTS + 15) ** 1.5  # rises steadily: the median is the value at shift 0
    area = plot(explain_picture([], [], [], (SHIFTS, similarity), ROW)).astype(int)
    dashes = np.flatnonzero((np.abs(area[:, :600] - BAD).max(-1) < 40).sum(1) > 100)
    low, high = similarity[0], similarity[-1]
    share = (similarity[15] - low + 0.08 * (high - low)) / (1.16 * (high - low))
    bottom = area.shape[0] - 44
    assert np.abs(dashes - (bottom - share * (bottom - 74))).max() <= 1


def test_curve_passes_through_its_values():
    similarity = 0.3 + 0.2 * np.sin(SHIFTS / 2.0)
    area = plot(explain_picture([], [], [], (SHIFTS, similarity), ROW)).astype(int)
    low, high, bottom = similarity.min(), similarity.max(), area.shape[0] - 44
    for shift, value in zip(SHIFTS, similarity, strict=True):
        x = round(np.interp(shift, (-15, 15), (62, area.shape[1] - 20)))
        y = round(bottom - (value - low + 0.08 * (high - low)) / (1.16 * (high - low)) * (bottom - 74))
        spot = area[y - 1 : y + 2, x - 1 : x + 2]
        assert has_colour(spot, CURVE) or has_colour(spot, GOOD), shift


def test_curves_that_hold_nothing():
    for curve in (None, (SHIFTS, np.full(31, np.nan)), (SHIFTS, np.zeros(31)), (np.array([0]), np.array([0.5]))):
        assert explain_picture([], [], [], curve, ROW).dtype == np.uint8
    partly = np.where(np.abs(SHIFTS) > 10, np.nan, 0.2 - 0.01 * np.abs(SHIFTS))
    assert has_colour(plot(explain_picture([], [], [], (SHIFTS, partly), ROW)), CURVE)


def test_any_name_and_any_value():
    import pandas as pd

    row = ROW | {"source_key": "x\n\0\u202e" * 300 + "東京.mp4", "reject_reasons": ["r" * 900], "n_cuts": pd.NA, "sync_c": float("nan")}
    assert explain_picture([(0.0, frame())], [None], [(np.nan, np.nan, np.nan)], None, row).shape[1] == WIDTH_PX


class TestPoseAxes:
    def test_rest(self):
        assert pose_axes(0, 0, 0) == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]))

    def test_signs(self):
        forward = [pose_axes(*angles)[2] for angles in ((30, 0, 0), (0, 30, 0))]
        assert forward[0] == pytest.approx([0.5, 0])  # the nose goes to the right of the picture
        assert forward[1] == pytest.approx([0, 0.5])  # the nose goes down
        assert pose_axes(0, 0, 90)[0] == pytest.approx([0, 1])  # clockwise: right becomes down

    @given(*(st.floats(-89, 89) for _ in range(3)))
    def test_axes_of_a_rotation(self, yaw, pitch, roll):
        # The two visible coordinates of an orthonormal frame: columns of length one, at right angles.
        axes = pose_axes(yaw, pitch, roll)
        assert axes.T @ axes == pytest.approx(np.eye(2), abs=1e-9)

    @given(*(st.floats(-85, 85) for _ in range(3)))
    def test_signs_are_those_of_the_scorer(self, yaw, pitch, roll):
        # The scorer, given the template turned so that its axes lie where they are drawn, finds the same angles.
        right, down, forward = pose_axes(yaw, pitch, roll)
        points_px = 100 + 5 * pose.TEMPLATE_CM @ np.stack([right, down, -forward])
        found = pose.angles_deg(pose.head_rotations(points_px[None])[0][0])
        assert found == pytest.approx([yaw, pitch, roll], abs=1e-3)


class TestSavePng:
    def test_round_trip(self, tmp_path):
        import cv2

        rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        file = tmp_path / "new" / "clip.png"
        save_png(file, rgb)
        assert (cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) == rgb).all()
        assert [path.name for path in file.parent.iterdir()] == ["clip.png"]

    def test_unwritable_place(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write"):
            save_png(tmp_path / "file" / "clip.png", frame())
