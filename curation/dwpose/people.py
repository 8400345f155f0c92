"""Follows the people of one clip between two looks of the detector: which box is whose, and where it lies on the frames between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from curation.dwpose.detector import Person
from curation.dwpose.pose import FACE
from curation.landmarks.detector import iou
from curation.landmarks.mesh import point_box

SAME_PERSON_IOU = 0.3  # of two boxes a few frames apart
SAME_FACE_IOU = 0.4  # of two landmark boxes on one frame


@dataclass(eq=False)
class PersonPath:
    """One person over the frames on which the detector, or two looks that agree, put a box; then the face's (`choice.FacePath`).

    Attributes:
        boxes_px: box (4,) by frame; frames that are done with are forgotten, but for the last.
        last_frame, last_ms: the last frame with a box.
        n_detected: frames on which the detector itself found the person.
        ends: last frames of stretches without a gap.
        posed: points (K, 2) and scores (K,) by frame, as the pose network gave them; K = 68, or 133 where all are kept.
    """

    boxes_by_frame: dict[int, np.ndarray] = field(default_factory=dict)
    last_frame: int = -1
    last_ms: float = 0.0
    n_detected: int = 0
    ends: set[int] = field(default_factory=set)
    posed: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def see(self, frame: int, time_ms: float, box_px: np.ndarray) -> None:
        """The detector found the person here."""
        self.boxes_by_frame[frame] = box_px
        self.last_frame, self.last_ms = frame, time_ms
        self.n_detected += 1

    @property
    def last_box_px(self) -> np.ndarray:
        return self.boxes_by_frame[self.last_frame]


class PeopleFollower:
    """All people of a clip, fed the detector's findings in the order of the frames."""

    def __init__(self, resume_within_ms: float):
        self.paths: list[PersonPath] = []
        self._resume_within_ms = resume_within_ms

    def at(self, frame: int) -> list[PersonPath]:
        """Paths with a box on `frame`, older ones first."""
        return [path for path in self.paths if frame in path.boxes_by_frame]

    def agrees(self, frame: int, people: Sequence[Person]) -> bool:
        """Whether `people`, seen a few frames after `frame`, are those who were there."""
        there = self.at(frame)
        return len(there) == len(people) == len(_matched(there, people))

    def bridge(self, start: int, stop: int, time_ms: float, people: Sequence[Person]) -> None:
        """The same `people` on `stop` as on `start`: their boxes between move in a straight line."""
        there = self.at(start)
        for path_index, person_index in _matched(there, people):
            path, box_px = there[path_index], people[person_index].box_px
            before_px = path.boxes_by_frame[start]
            for frame in range(start + 1, stop):
                share = (frame - start) / (stop - start)
                path.boxes_by_frame[frame] = (1 - share) * before_px + share * box_px
            path.see(stop, time_ms, box_px)

    def link(self, frame: int, time_ms: float, people: Sequence[Person]) -> None:
        """Who was seen on `frame`: who was there on the frame before, or was lost about here a moment ago, or is new."""
        left = list(people)
        recent = [path for path in self.paths if time_ms - path.last_ms <= self._resume_within_ms and path.last_frame < frame]
        for candidates in ([p for p in recent if p.last_frame == frame - 1], [p for p in recent if p.last_frame < frame - 1]):
            pairs = _matched(candidates, left)
            for path_index, person_index in pairs:
                candidates[path_index].see(frame, time_ms, left[person_index].box_px)
            left = [person for i, person in enumerate(left) if i not in {j for _, j in pairs}]
        for person in left:
            path = PersonPath()
            path.see(frame, time_ms, person.box_px)
            self.paths.append(path)

    def forget(self, before: int) -> None:
        """Boxes before that frame are not asked for any more."""
        for path in self.paths:
            path.boxes_by_frame = {f: box for f, box in path.boxes_by_frame.items() if f >= before or f == path.last_frame}


def _matched(paths: Sequence[PersonPath], people: Sequence[Person]) -> list[tuple[int, int]]:
    """Pairs (path, person), those that overlap most first, each in one pair at most."""
    if not paths or not people:
        return []
    boxes = np.stack([person.box_px for person in people])
    overlap = np.stack([iou(path.last_box_px, boxes) for path in paths])  # (paths, people)
    pairs = []
    while overlap.max() > SAME_PERSON_IOU:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((int(i), int(j)))
        overlap[i], overlap[:, j] = 0, 0
    return pairs


@dataclass(eq=False)
class FaceOfPerson:
    """A person's face on the frames on which it shows (`choice.FacePath`), and all the points that were kept of the person.

    Attributes:
        frames: n indices of sampled frames.
        all_points_px, all_scores: (K, 2) and (K,) a frame, K = 68 or 133.
        n_detected: frames on which the detector found the person.
    """

    frames: list[int]
    all_points_px: list[np.ndarray]
    all_scores: list[np.ndarray]
    n_detected: int

    @property
    def points_px(self) -> list[np.ndarray]:
        return [face_part(points) for points in self.all_points_px]

    def stretch(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (m, 68, 2) and confidence (m, 68) on `frames[first:last]`."""
        return np.stack(self.points_px[first:last]), np.stack([face_part(scores) for scores in self.all_scores[first:last]])

    @property
    def boxes_px(self) -> np.ndarray:
        return point_box(np.stack(self.points_px))


def face_part(values: np.ndarray) -> np.ndarray:
    """The 68 face points of (K, ...), K = 68 or 133."""
    return values[FACE] if len(values) == 133 else values


def faces_of(paths: Sequence[PersonPath], pose_every_frames: int, min_point_score: float, min_face_points: int) -> list[FaceOfPerson]:
    """The faces of people who show one.

    A face shows on a posed frame if `min_face_points` of its points score `min_point_score`. Between two posed frames on which it shows,
    its points move in a straight line and score the lower of the two. Where two people's faces lie on each other, it is one face: the
    older path's.
    """
    taken: dict[int, list[np.ndarray]] = {}
    faces = []
    for path in paths:
        shown: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for frame, (points, scores) in sorted(path.posed.items()):
            if (face_part(scores) >= min_point_score).sum() < min_face_points:
                continue
            if shown and (last := next(reversed(shown))) + 1 < frame <= last + pose_every_frames and last not in path.ends:
                shown |= _between(last, *shown[last], frame, points, scores)
            shown[frame] = points, scores
        kept = {frame: pose for frame, pose in shown.items() if _is_free(point_box(face_part(pose[0])), taken.get(frame, []))}
        for frame, (points, _) in kept.items():
            taken.setdefault(frame, []).append(point_box(face_part(points)))
        if kept:
            frames = sorted(kept)
            faces.append(FaceOfPerson(frames, [kept[f][0] for f in frames], [kept[f][1] for f in frames], path.n_detected))
    return faces


def faces_on(paths: Sequence[PersonPath], frame: int, min_point_score: float, min_face_points: int) -> np.ndarray:
    """(n, 68, 2) float32 face points of the people who were posed on `frame` and show a face; of two on one place, the older path's."""
    faces: list[np.ndarray] = []
    for path in paths:
        points, scores = (face_part(values) for values in path.posed.get(frame, (np.zeros((0, 2)), np.zeros(0))))
        if (scores >= min_point_score).sum() >= min_face_points and _is_free(point_box(points), [point_box(face) for face in faces]):
            faces.append(points)
    return np.array(faces, np.float32).reshape(-1, 68, 2)


def _between(start: int, points: np.ndarray, scores: np.ndarray, stop: int, next_points: np.ndarray, next_scores: np.ndarray) -> dict:
    lower = np.minimum(scores, next_scores)
    shares = {frame: np.float32((frame - start) / (stop - start)) for frame in range(start + 1, stop)}
    return {frame: ((1 - share) * points + share * next_points, lower) for frame, share in shares.items()}


def _is_free(box_px: np.ndarray, others: list[np.ndarray]) -> bool:
    return not others or bool(iou(box_px, np.stack(others)).max() <= SAME_FACE_IOU)
