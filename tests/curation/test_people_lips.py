"""Lips that meet, teeth behind them, and the light that comes in between."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from curation.people import lips
from curation.people.expression import unit_weights
from curation.people.head import PARTS, load_head
from curation.people.mouth import darken_mouth
from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.shape import rest_positions_dm

ACROSS_DM = np.linspace(-0.2, 0.2, 41)  # of the base mesh, from corner to corner


def gaps_dm(positions: np.ndarray) -> np.ndarray:
    """How far the mesh's two edges stand apart at `ACROSS_DM`, from their vertices alone."""
    head = load_head()
    place = {int(number): vertex for vertex, number in enumerate(head.number)}
    heights = []
    for numbers in (lips.UPPER_EDGE, lips.LOWER_EDGE):
        half = [place[number] for number in numbers]
        edge = np.array([*(head.mirror[vertex] for vertex in reversed(half)), *half])
        heights.append(np.interp(ACROSS_DM, head.positions_dm[edge, 0], positions[edge, 1]))
    return heights[0] - heights[1]


def posed(rest: np.ndarray, pose: Pose) -> np.ndarray:
    out, targets = rest.copy(), load_head().targets
    for name, weight in unit_weights(pose).items():
        target = targets.get(f"unit/{name}")
        if target is not None:
            out[target.vertices] += weight * target.by_dm
    return out


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [rest_positions_dm(Person.from_seed(seed)) for seed in range(30)]


def test_the_edges_run_from_the_middle_to_the_corner():
    head = load_head()
    for numbers in (lips.UPPER_EDGE, lips.LOWER_EDGE):
        x = [head.positions_dm[np.flatnonzero(head.number == number)[0], 0] for number in numbers]
        assert x[0] == pytest.approx(0, abs=1e-3)
        assert (np.diff(x) > 0).all()
        assert x[-1] > 0.23


def test_lips_at_rest_touch_along_their_whole_line(faces):
    for rest in faces:
        assert np.abs(gaps_dm(rest)).max() < 0.006  # half a millimetre


@pytest.mark.parametrize("pose", [Pose(press=0.63, roll_lips=0.22), Pose(roll_lips=0.8, jaw_open=0.05), Pose(smile=0.5), Pose(pucker=0.3)])
def test_lips_that_are_shut_in_the_middle_leave_no_hole_at_the_sides(faces, pose):
    for rest in faces:
        face = posed(rest, pose)
        widest = max(lips.middle_gap_dm(face), 0.0)
        lips.meet(face)
        assert gaps_dm(face).max() < widest + 0.008
        assert gaps_dm(face).min() > -0.008


def test_a_hole_at_the_sides_of_shut_lips_is_closed(faces):
    head = load_head()
    sides = (np.abs(np.abs(head.positions_dm[:, 0]) - 0.12) < 0.06) & (head.positions_dm[:, 1] > 6.61) & (head.positions_dm[:, 2] > 1.3)
    face = faces[0].copy()
    face[sides, 1] += 0.04
    assert gaps_dm(face).max() > 0.03 > 0.005 > lips.middle_gap_dm(face)
    lips.meet(face)
    assert np.abs(gaps_dm(face)).max() < 0.012


def test_lips_that_are_parted_keep_their_opening_in_the_middle(faces):
    for rest in faces:
        face = posed(rest, Pose(jaw_open=0.4))
        before = lips.middle_gap_dm(face)
        assert before > 0.05
        lips.meet(face)
        assert lips.middle_gap_dm(face) == pytest.approx(before, abs=1e-9)


def test_teeth_lie_behind_the_lips_of_every_face(faces):
    head = load_head()
    teeth = head.vertices_of("teeth")
    lower = np.isin(teeth, head.targets["unit/jawOpen"].vertices)
    front = (np.abs(head.positions_dm[teeth, 0]) < 0.1) & (head.positions_dm[teeth, 2] > 1.42)
    for rest in faces:
        line = rest[head.lip_line].mean(axis=0)
        upper_edge = rest[teeth[front & ~lower], 1].min()
        lower_edge = rest[teeth[front & lower], 1].max()
        assert -0.06 < upper_edge - line[1] < 0  # seen as soon as the lips part
        assert lower_edge - line[1] < -0.03
        assert rest[teeth, 2].max() < line[2]


@pytest.mark.parametrize("pose", [Pose(), Pose(smile=0.9), Pose(pucker=0.8), Pose(press=0.7, stretch=0.5)])
def test_no_tooth_comes_through_the_skin_of_a_shut_mouth(faces, pose):
    if find_spec("numba") is None:
        pytest.skip("needs the extra `people`")
    from curation.people import raster

    head = load_head()
    no = np.zeros(len(head.part), bool)
    inside = np.isin(head.part, [PARTS.index("teeth"), PARTS.index("tongue")])
    drawn = np.isin(head.part, [PARTS.index(name) for name in ("skin", "mouth", "teeth", "tongue")])
    # 130: lower teeth that followed the lips as a whole came through this narrow chin.
    for seed, rest in [*enumerate(faces), (130, rest_positions_dm(Person.from_seed(130)))]:
        face = posed(rest, pose)
        lips.meet(face)
        screen = (face - [-0.5, 7.0, -5.0]) * [200, -200, 1]  # from the front, a place is half a millimetre wide
        nearness, seen, weights = raster.empty_buffers(200, 200)
        raster.draw_triangles(screen, head.triangles, drawn, no, no, screen, raster.NO_COLLAR, nearness, seen, weights)
        rows, _ = np.nonzero((seen >= 0) & inside[np.maximum(seen, 0)])
        from_line_dm = 7.0 - rows / 200 - face[head.lip_line[1], 1]
        assert (np.abs(from_line_dm) > 0.06).sum() <= 2, seed


def test_light_falls_off_with_depth_and_grows_with_the_opening():
    head = load_head()
    before = np.full(len(head.positions_dm), 0.7)
    shut, narrow, wide = (darken_mouth(before, gap) for gap in (0.0, 0.05, 0.25))
    inside = np.zeros(len(before), bool)
    inside[head.vertices_of("mouth", "teeth", "tongue")] = True
    np.testing.assert_array_equal(wide[~inside], before[~inside])
    assert shut[inside].max() == 0
    middle = inside & (np.abs(head.positions_dm[:, 0]) < 0.05)
    assert (wide[middle] > narrow[middle]).all()
    order = np.argsort(head.positions_dm[middle, 2])
    assert (np.diff(wide[middle][order]) > -0.02).all()  # forwards is lighter
    assert wide[middle].min() < 0.25 < 0.5 < wide[middle].max()
