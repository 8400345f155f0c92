"""The benchmark's own arithmetic: groups, intervals, moved sound."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks.people.groups import by_group, figure, labels
from benchmarks.people.page import page
from benchmarks.people.places import View, distance, fitted, fitted_angle
from benchmarks.people.quick import against_truth
from benchmarks.people.sync import moved, summary
from curation.people.head import load_head
from curation.people.person import Person
from curation.people.points import JAW_ANGLES_DEG, anchors, anchors_of, jaw_line, line_angles_deg, on_surface
from curation.people.shape import rest_positions_dm


def test_groups_are_half_open_and_leave_out_what_lies_outside():
    found = labels(pd.Series([0.0, 9.9, 10.0, 29.9, 30.0, np.nan]), (0, 10, 20, 30))
    assert found.tolist()[:4] == ["0 to 10", "0 to 10", "10 to 20", "20 to 30"]
    assert found.isna().tolist() == [False] * 4 + [True] * 2


def test_the_interval_is_a_bootstrap_over_people():
    values = pd.Series(np.random.default_rng(0).normal(5, 2, 100))
    found = figure(values)
    assert found["mean"] == pytest.approx(values.mean(), abs=1e-4)
    width = 2 * 1.96 * values.std() / 10
    assert found["high"] - found["low"] == pytest.approx(width, rel=0.1)
    assert "low" not in figure(pd.Series([1.0, 2.0]))
    assert figure(pd.Series([np.nan])) == {"people": 0}


def test_a_group_counts_each_person_once():
    table = pd.DataFrame({"identity": ["a"] * 99 + ["b"], "sex": ["male"] * 99 + ["female"], "x": [0.0] * 99 + [1.0]})
    found = by_group(table, {"sex": ("sex", None)}, {"mean": lambda rows: float(rows["x"].mean())})
    assert found["all"]["everyone"]["mean"]["mean"] == 0.5
    assert found["sex"]["female"]["mean"] == {"people": 1, "mean": 1.0}


@pytest.mark.parametrize("frames", [-10, -1, 0, 3])
def test_sound_moved_earlier_is_cut_at_the_start(frames):
    audio = np.arange(1, 16_001, dtype=np.int16)
    out = moved(audio, frames)
    assert len(out) == len(audio)
    at = 8_000
    assert out[at] == audio[at + 640 * frames]


def test_the_summary_counts_offsets_and_verdicts():
    rows = [("a", 0, 0, 0.3), ("a", 5, 6, 0.3), ("a", -5, 0, 0.3), ("b", 0, 4, 0.3), ("b", 5, 5, 0.3), ("b", -5, -5, 0.3)]
    rows += [("a", None, 0, 0.05), ("b", None, 0, 0.3)]
    table = pd.DataFrame(rows, columns=["identity", "offset", "read", "confidence"]).astype({"offset": "Int64", "read": "Int64"})
    found = summary(table, least_confidence=0.1, largest_offset=3)
    assert found["within 0"] == 0.5
    assert found["within 1"] == pytest.approx(4 / 6, abs=1e-4)
    assert found["true sound accepted"] == 0.5
    assert found["wrong sound rejected"] == 0.5


def test_the_page_shows_figures_with_intervals():
    cell = {"people": 9, "mean": 0.5, "low": 0.4, "high": 0.6}
    figures = {"all": {"everyone": {"detected": cell}}}
    preset = {"figures": {"all": {"everyone": {"survives": cell}}}, "judged by": ["has_audio"], "left out": []}
    report = {
        "set": {"count": 9, "seconds": 6.0, "size_px": 256, "camera_faults": True},
        "frames": figures,
        "clips": {"yaw slope": cell},
        "medians": {"yaw slope": 1.0, "landmark error": 0.0385},
        "lips by beard": {"all": {"everyone": {"lip gap r": cell}}, "beard": {"full": {"lip gap r": cell}}},
        "lip sync": {"clips": 9, "planted offsets": 189, "within 1": 0.9},
        "lip sync by group": figures,
        "survival": {"embedded": preset, "paper": {"figures": {}, "judged by": [], "left out": []}},
    }
    text = page(report)
    assert "| all | everyone | 9 | 50.0 % (40.0 to 60.0) |" in text
    assert "| `embedded` | 50.0 % (40.0 to 60.0) |" in text
    assert "| landmark error, median person | 3.85 % |" in text
    assert "| beard | full | 9 | 0.50 (0.40 to 0.60) |" in text
    assert "No rule of `paper`" in text


def test_the_fit_of_the_points_finds_a_planted_place():
    head = load_head()
    vertices, weights = anchors(((48, (-0.29, 6.64, 1.41)), (30, (0.0, 7.05, 1.62))))
    here, shares = anchors()
    people = []
    for scale in (40.0, 55.0):
        flat = head.positions_dm[:, :2] * [scale, -scale]
        read = on_surface(flat, vertices, weights)
        people.append([View(flat, read, np.ones(68, bool), 0.63 * scale, head.positions_dm)])
    for point, planted in ((48, (-0.29, 6.64)), (30, (0.0, 7.05))):
        found = fitted(people, point, here, shares)
        np.testing.assert_allclose(found[:2], planted, atol=0.02)
    before, after = (distance(people, [pair] * 2, [30, 48]) for pair in ((here, shares), (vertices, weights)))
    assert before.min() > 0.05
    assert after.max() == pytest.approx(0, abs=1e-9)


def test_the_fit_of_the_jaw_finds_planted_angles():
    planted = {point: angle + turn for (point, angle), turn in zip(JAW_ANGLES_DEG.items(), (3, -3, 2, 4, -4, 3, -2), strict=True)}
    people = []
    for seed in (5, 6):
        rest = rest_positions_dm(Person.from_seed(seed))
        flat = rest[:, :2] * [50.0, -50.0]
        people.append([View(flat, on_surface(flat, *anchors_of(rest, planted)), np.ones(68, bool), 31.0, rest)])
    for point, angle in planted.items():
        assert fitted_angle(people, point) == pytest.approx(angle, abs=1.01)


@pytest.mark.parametrize("seed", [0, 1, 2, 11])
def test_the_jaw_s_points_lie_at_their_angles_on_every_face(seed):
    """Two faces as wide or narrow as they like: the points are spread over both alike, on both sides, and stay on the jaw's line."""
    rest = rest_positions_dm(Person.from_seed(seed))
    vertices, weights = anchors_of(rest)
    for left in (False, True):
        points = [16 - point if left else point for point in JAW_ANGLES_DEG]
        at = line_angles_deg(rest, vertices[points], weights[points])
        np.testing.assert_allclose(at, list(JAW_ANGLES_DEG.values()), atol=1.0)
        line = on_surface(rest, *jaw_line(left))
        here = on_surface(rest, vertices[points], weights[points])
        assert np.linalg.norm(here[:, None] - line, axis=-1).min(axis=1).max() < 1e-9
    others = [point for point in range(68) if not 1 <= point <= 7 and not 9 <= point <= 15]
    np.testing.assert_array_equal(vertices[others], anchors()[0][others])


def test_gaps_and_points_are_held_against_the_truth():
    points = np.random.default_rng(0).uniform(0, 100, (68, 2)).astype(np.float32)
    points[36:42], points[42:48] = (30, 40), (80, 40)
    shots, read = [], []
    for gap in (0.0, 4.0, 8.0):
        planted = points.copy()
        planted[66] = planted[62] + [0, gap]
        visible = np.ones(68, bool)
        visible[0] = False
        shots.append(SimpleNamespace(eye_distance_px=50.0, lip_gap_px=gap, points_px=planted, visible=visible))
        seen = planted + np.array([1.0, 0.0])
        seen[0] += 1000  # hidden: does not count
        read.append(seen)
    correlation, away = against_truth(shots, np.stack(read))
    assert correlation == pytest.approx(1)
    assert away == pytest.approx(1 / 50, rel=1e-5)
