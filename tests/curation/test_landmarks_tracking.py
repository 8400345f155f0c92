"""Following faces: the rules with planted faces, then with the networks on moving pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from clip_files import astronaut

from curation.contracts import Clip, Faces, Frame, MediaInfo
from curation.landmarks import sixty_eight
from curation.landmarks.choice import choose_faces
from curation.landmarks.detector import Detection
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.mesh import MeshFace, Roi
from curation.landmarks.pose import TEMPLATE_CM
from curation.landmarks.tracking import FaceFollower, Track
from curation.spool import Spool

BLANK = np.zeros((100, 100, 3), np.uint8)


@dataclass
class PlantedFaces:
    """Stands in for the networks: `script[i]` names the (x, y, size) of the faces that are really there on frame i."""

    script: list[list[tuple[float, float, float]]]
    detector_every_frames: int = 5
    max_faces: int = 4
    max_undetected: int = 2
    resume_within_ms: float = 400.0
    blind: set[int] = field(default_factory=set)  # frames on which the detector sees nothing
    calls: Counter = field(default_factory=Counter)
    frame: int = -1
    searches: list[int] = field(default_factory=list)

    def run(self) -> FaceFollower:
        follower = FaceFollower(self)
        for i in range(len(self.script)):
            self.frame = i
            follower.on_frame(Frame(i, 40.0 * i, BLANK))
        return follower

    def find(self, rgb, thorough):
        self.calls["find"] += 1
        if thorough:
            self.searches.append(self.frame)
        faces = [] if self.frame in self.blind else self.script[self.frame]
        return [Detection(0.9, np.array([x - s / 2, y - s / 2, x + s / 2, y + s / 2]), np.zeros((6, 2))) for x, y, s in faces]

    def vouches_for(self, rgb, mesh_px):
        return self.frame not in self.blind

    def is_other_way_up(self, rgb, mesh_px):
        return False

    def mesh_of(self, rgb, detection):
        return self._mesh(detection.box_px[:2].mean() * 0 + (detection.box_px[:2] + detection.box_px[2:]) / 2)

    def mesh_at(self, rgb, roi):
        return self._mesh(np.array([roi.x_px, roi.y_px]), reach=0.5 * roi.side_px)

    def _mesh(self, place, reach=1.0):
        near = [(np.hypot(x - place[0], y - place[1]), x, y, s) for x, y, s in self.script[self.frame]]
        if not near or min(near)[0] > reach:
            return None
        _, x, y, size = min(near)
        mesh = np.zeros((468, 3), np.float32)
        mesh[:, :2] = x, y
        mesh[sixty_eight.MESH_INDEX, :2] = [x, y] + (TEMPLATE_CM[:, :2] - [0, 2]) * size / 15
        return MeshFace(mesh, 0.99, True)


def _faces(follower: FaceFollower, face_box_px=None, size_px=(1000, 1000)) -> Faces:
    return choose_faces(follower.tracks, np.array(follower.times_ms), size_px, face_box_px, min_relative_size=0.3)


def test_one_steady_face_is_detected_every_fifth_frame_only():
    planted = PlantedFaces([[(100 + i, 200, 60)] for i in range(21)])
    faces = _faces(planted.run())
    assert planted.calls["find"] == 5
    assert faces.seen.all()
    assert (faces.n_faces == 1).all()
    np.testing.assert_allclose(np.diff(faces.points_px[:, 30, 0]), 1, atol=1e-4)
    np.testing.assert_allclose(faces.times_ms, 40.0 * np.arange(21))


def test_a_lost_face_is_looked_for_at_once_and_goes_on_as_the_same():
    script = [[(100, 200, 60)]] * 7 + [[]] + [[(103, 200, 60)]] * 8
    planted = PlantedFaces(script)
    follower = planted.run()
    assert len(follower.tracks) == 1
    np.testing.assert_array_equal(_faces(follower).seen, [*[True] * 7, False, False, False, *[True] * 6])  # the next look is on frame 10
    assert planted.calls["find"] == 5  # frames 0, 5, 7 (lost), 10, 15


def test_a_face_found_again_much_later_is_another():
    assert len(PlantedFaces([[(100, 200, 60)]] * 6 + [[]] * 14 + [[(100, 200, 60)]] * 11).run().tracks) == 2


def test_the_main_face_is_the_one_that_is_large_for_long():
    script = [[(100, 200, 60), (400, 200, 80)] if i < 10 else [(100, 200, 60)] for i in range(30)]
    faces = _faces(PlantedFaces(script).run())
    np.testing.assert_allclose(faces.points_px[:, 30, 0], 100, atol=5)  # never the larger one that leaves
    np.testing.assert_array_equal(faces.n_faces, [2] * 10 + [1] * 20)


def test_while_the_main_face_is_away_no_other_takes_its_place():
    script = [[(400, 200, 60)] if 10 <= i < 15 else [(100, 200, 80), (400, 200, 60)] for i in range(40)]
    faces = _faces(PlantedFaces(script).run())
    assert not faces.seen[10:15].any()
    np.testing.assert_allclose(faces.points_px[faces.seen, 30, 0], 100, atol=5)
    assert (faces.n_faces[10:15] == 1).all()


def test_after_a_cut_the_next_shots_face_takes_over():
    faces = _faces(PlantedFaces([[(100, 200, 80)]] * 20 + [[(600, 500, 60)]] * 10).run())
    assert faces.seen.all()
    np.testing.assert_allclose(faces.points_px[20:, 30, 0], 600, atol=5)


def test_the_sources_box_decides_which_face_is_meant():
    script = [[(100, 200, 60), (400, 200, 90)]] * 10
    faces = _faces(PlantedFaces(script).run(), face_box_px=(60, 150, 140, 250))
    np.testing.assert_allclose(faces.points_px[:, 30, 0], 100, atol=5)
    assert (faces.n_faces == 2).all()
    assert not _faces(PlantedFaces(script).run(), face_box_px=(700, 700, 800, 800)).seen.any()


def test_a_small_face_far_behind_does_not_count():
    faces = _faces(PlantedFaces([[(100, 200, 100), (400, 200, 20)]] * 10).run())
    assert (faces.n_faces == 1).all()
    assert (_faces(PlantedFaces([[(100, 200, 100), (400, 200, 40)]] * 10).run()).n_faces == 2).all()


def test_what_the_detector_saw_only_once_is_an_accident():
    follower = PlantedFaces([[(100, 200, 60)]] * 30, blind=set(range(1, 30))).run()
    assert not _faces(follower).seen.any()


def test_points_that_no_detector_vouches_for_are_dropped():
    follower = PlantedFaces([[(100, 200, 60)]] * 40, blind=set(range(11, 40))).run()
    np.testing.assert_array_equal(_faces(follower).seen, np.arange(40) <= 10)


def test_two_tracks_on_one_face_become_one():
    script = [[(100, 200, 60), (300 - 10 * min(i, 20), 200, 60)] for i in range(30)]
    script = [faces if i < 20 else faces[:1] for i, faces in enumerate(script)]
    faces = _faces(PlantedFaces(script).run())
    assert faces.n_faces[0] == 2
    assert faces.n_faces[-1] == 1


def test_thorough_searches_lie_further_and_further_apart():
    planted = PlantedFaces([[]] * 200)
    planted.run()
    assert planted.searches == [0, 10, 30, 70, 150]
    large = PlantedFaces([[(50, 50, 40)]] * 100)  # 40 of 100 px: nothing more to look for
    large.run()
    assert large.searches == [0]


def test_a_crowd_is_followed_up_to_the_limit():
    faces = _faces(PlantedFaces([[(100 * k, 100, 50) for k in range(1, 9)]] * 12).run())
    assert (faces.n_faces == 4).all()


def test_points_beyond_the_picture_have_no_confidence():
    faces = _faces(PlantedFaces([[(0, 200, 60)]] * 10).run())
    outside = faces.points_px[..., 0] < 0
    assert 0.2 < outside.mean() < 0.8
    np.testing.assert_array_equal(faces.confidence == 0, outside)


def test_an_empty_clip_has_no_faces():
    faces = choose_faces([], np.zeros(0), (10, 10), None, 0.3)
    assert faces.points_px.shape == (0, 68, 2)
    assert len(faces.seen) == 0
    blank = choose_faces([], np.arange(3.0), (10, 10), None, 0.3)
    assert not blank.seen.any()
    assert (blank.n_faces == 0).all()


def test_a_track_starts_empty():
    assert len(Track(np.zeros((468, 3)), Spool(np.float32, (68, 2))).frames) == 0
    assert Roi(1, 2, 3, 0).side_px == 3


# With the networks.


def _track(pictures: list[np.ndarray], **clip) -> Faces:
    height, width = pictures[0].shape[:2]
    info = MediaInfo(width, height, 25.0, len(pictures), 40.0 * len(pictures), "h264", False, None)
    tracker = FaceMesh().track(Clip("folder", "a", "a", "a.mp4", **clip), info)
    for i, picture in enumerate(pictures):
        tracker.on_frame(Frame(i, 40.0 * i, picture))
    return tracker.finish()


def _moved(dx: float, dy: float, size=(420, 360), face_px: int = 240) -> np.ndarray:
    import cv2

    return cv2.warpAffine(astronaut(face_px), np.array([[1.0, 0, dx], [0, 1.0, dy]]), size, borderValue=(90, 100, 110))


def test_points_move_with_the_face():
    shifts = [(40 + 3 * i, 60 + 10 * np.sin(i / 3)) for i in range(30)]
    faces = _track([_moved(*shift) for shift in shifts])
    assert faces.seen.all()
    assert (faces.n_faces == 1).all()
    steady = faces.points_px - np.array(shifts)[:, None]
    wander = np.linalg.norm(steady - steady.mean(axis=0), axis=2).mean()
    assert wander < 0.02 * sixty_eight.interocular(faces.points_px[0])
    assert faces.confidence.min() > 0.9


def test_two_people_are_counted_and_the_larger_is_followed():
    both = [np.concatenate([_moved(20 + i, 50, (300, 360)), _moved(10, 100, (260, 360), 180)], axis=1) for i in range(12)]
    faces = _track(both)
    assert (faces.n_faces == 2).all()
    assert (faces.points_px[..., 0] < 300).all()
    other = _track(both, face_box_px=(320.0, 90.0, 520.0, 320.0))
    assert (other.points_px[..., 0] > 300).all()


def test_a_face_that_leaves_and_a_cut():
    here, there = _moved(20, 60), _moved(170, 60)
    faces = _track([here] * 8 + [np.full_like(here, 60)] * 6 + [there] * 8)
    np.testing.assert_array_equal(faces.seen, [True] * 8 + [False] * 7 + [True] * 7)  # found again at the next look, on frame 15
    assert faces.points_px[-1, 30, 0] - faces.points_px[0, 30, 0] == pytest.approx(150, abs=3)


def test_noise_and_flat_pictures_show_no_face():
    noise = np.random.default_rng(0).integers(0, 255, (12, 240, 320, 3), np.uint8)
    assert not _track(list(noise)).seen.any()
    assert not _track([np.full((240, 320, 3), 127, np.uint8)] * 6).seen.any()


def test_a_distant_face_in_a_large_frame_is_found():
    import cv2

    small = cv2.resize(astronaut(320), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)  # the face is about 38 px wide
    frame = np.full((720, 1280, 3), 100, np.uint8)
    frame[310 : 310 + small.shape[0], 840 : 840 + small.shape[1]] = small
    faces = _track([frame] * 8)
    assert faces.seen.all()
    assert 840 < faces.points_px[..., 0].min() < faces.points_px[..., 0].max() < 840 + small.shape[1]


def test_the_same_frames_give_the_same_faces():
    pictures = [_moved(40 + 5 * i, 60) for i in range(8)]
    first, second = _track(pictures), _track(pictures)
    np.testing.assert_array_equal(first.points_px, second.points_px)
    np.testing.assert_array_equal(first.confidence, second.confidence)
