"""Where on the mesh the face mesh's 68 points lie: what the table in `curation/people/points.py` was fitted with.

`python -m benchmarks.people.places` renders people of no other set in speaking, turned poses, finds their points with the FaceMesh backend,
and takes for every point the place of the skin, the same for everyone, whose projection lies nearest: the least mean distance over
people, both halves of the face together. Lids and inner lips are not fitted: they are the mesh's own edges. Prints the table, and the
distance before and after on people that the fit has not seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.sixty_eight import FLIP
from curation.people.head import PARTS, load_head
from curation.people.person import Person
from curation.people.points import FITTED_POINTS, anchors, on_surface
from curation.people.pose import Pose
from curation.people.rendered import Studio
from curation.people.scene import Scene
from curation.people.settings import Take

SEED = 3  # of a set of people: neither training's nor the benchmark's
POSES = (
    Pose(), Pose(jaw_open=0.2, yaw_deg=14), Pose(jaw_open=0.4, yaw_deg=-14), Pose(smile=0.3, pitch_deg=7), Pose(pucker=0.2, pitch_deg=-7),
)  # fmt: skip
_REACH_DM = 0.22  # how far from its present place a point is looked for
_STEPS = 4  # places tried along a triangle's side


@dataclass(frozen=True)
class View:
    """One picture: vertices_px (V, 2) of the mesh, read_px (68, 2) the face mesh's points, visible (68,) bool, eye_distance_px."""

    vertices_px: np.ndarray
    read_px: np.ndarray
    visible: np.ndarray
    eye_distance_px: float


def views(first: int, count: int, size_px: int = 256) -> list[list[View]]:
    """Pictures of some people in `POSES`; a face that is not found is left out."""
    finder, people = FaceMesh(), []
    for number in range(first, first + count):
        take, mine = Take(SEED, number, 0), []
        studio = Studio(Person.from_seed(take.person_seed), Scene.from_seed(take.scene_seed), size_px)
        for pose in POSES:
            shot = studio.render(pose)
            faces = finder.detect_image(shot.rgb)
            if faces:
                mine.append(View(studio.vertices_px(pose), faces[0].points_px, shot.visible, shot.eye_distance_px))
        people.append(mine)
    return people


def distance(people: list[list[View]], vertices: np.ndarray, weights: np.ndarray, points: list[int]) -> np.ndarray:
    """(people,) median over pictures of the mean distance of visible points, in eye distances; places as in `points.anchors`."""
    return np.array([np.median([_away(view, vertices, weights)[points][view.visible[points]].mean() for view in mine]) for mine in people])


def _away(view: View, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    planted = on_surface(view.vertices_px, vertices, weights)
    return np.linalg.norm(planted - view.read_px, axis=1) / view.eye_distance_px


def fitted(people: list[list[View]], point: int, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(3,) dm on the base mesh: the best place of a point of the person's right half or of the middle."""
    head = load_head()
    here = on_surface(head.positions_dm, vertices[[point]], weights[[point]])[0]
    triangles = head.triangles[head.part == PARTS.index("skin")]
    middle = FLIP[point] == point
    side = head.positions_dm[triangles][..., 0].max(axis=1) < 1e-3
    near = np.linalg.norm(head.positions_dm[triangles].mean(axis=1) - here, axis=1) < _REACH_DM
    grid = [(a / _STEPS, b / _STEPS) for a in range(_STEPS + 1) for b in range(_STEPS + 1 - a)]
    tried = np.repeat(triangles[near & side], len(grid), axis=0)
    share = np.tile(np.array(grid), (int((near & side).sum()), 1))
    if middle:
        central = np.abs(on_surface(head.positions_dm, tried, share)[:, 0]) < 1e-3
        tried, share = tried[central], share[central]
    away = np.zeros(len(tried))
    for mine in people:
        errors = []
        for view in mine:
            for side_point, corners in ((point, tried), (FLIP[point], head.mirror[tried])):
                if view.visible[side_point]:
                    off = on_surface(view.vertices_px, corners, share) - view.read_px[side_point]
                    errors.append(np.linalg.norm(off, axis=1) / view.eye_distance_px)
        if errors:
            away += np.mean(errors, axis=0)
    best = int(away.argmin())
    return on_surface(head.positions_dm, tried[[best]], share[[best]])[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.places", description=__doc__)
    parser.add_argument("--people", type=int, default=36, help="a third of them are kept out of the fit")
    args = parser.parse_args()
    if args.people < 3:
        parser.error("--people: at least 3, of whom one is kept out of the fit")
    people = views(0, args.people)
    held_out = len(people) // 3
    fit, rest = people[held_out:], people[:held_out]
    vertices, weights = anchors()
    places = {point: fitted(fit, point, vertices, weights) for point in FITTED_POINTS}
    for point, place in places.items():
        print(f"    {point}: ({', '.join(f'{value:.3f}' for value in place)}),")
    moved_vertices, moved_weights = anchors(tuple((point, tuple(place)) for point, place in places.items()))
    every = list(range(68))
    for name, group in (("fitted", fit), ("held out", rest)):
        before = 100 * np.median(distance(group, vertices, weights, every))
        after = 100 * np.median(distance(group, moved_vertices, moved_weights, every))
        print(f"{name}: {len(group)} people, median {before:.2f} % of the eye distance before, {after:.2f} % after")


if __name__ == "__main__":
    main()
