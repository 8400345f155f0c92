"""Where on the mesh the face mesh's 68 points lie: what the tables in `curation/people/points.py` were fitted with.

`python -m benchmarks.people.places` renders people of no other set while they speak and turn as in a clip, finds their points with the
FaceMesh backend, and takes for every point the place of the skin, the same for everyone, whose projection lies nearest: the least mean
distance over people, both halves of the face together. Then the angles at which the jaw's points lie on the jaw's line, in the same way.
Lids and inner lips are not fitted: they are the mesh's own edges. Prints the tables, and the distance before and after on people that the
fit has not seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from benchmarks.people.quick import clip_poses
from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.sixty_eight import FLIP
from curation.people.head import PARTS, load_head
from curation.people.person import Person
from curation.people.points import FITTED_POINTS, JAW_ANGLES_DEG, anchors, anchors_of, jaw_line, line_angles_deg, on_surface
from curation.people.rendered import Studio
from curation.people.scene import Scene
from curation.people.settings import Take
from curation.people.shape import rest_positions_dm

SEED = 3  # of a set of people: neither training's nor the benchmark's
N_FRAMES, EVERY = 150, 14  # of a clip of six seconds
_REACH_DM = 0.22  # how far from its present place a point is looked for
_STEPS = 4  # places tried along a triangle's side
EVERY_POINT = list(range(68))
_TURNS_DEG = np.arange(-8, 8.01, 0.5)  # how far from its present angle a point of the jaw is looked for

Places = tuple[np.ndarray, np.ndarray]  # vertices (68, 3) and weights (68, 2), as in `points.anchors`


@dataclass(frozen=True)
class View:
    """One picture: vertices_px (V, 2) of the mesh, read_px (68, 2) the face mesh's points, visible (68,) bool, eye_distance_px; rest_dm
    (V, 3) the person's face at rest."""

    vertices_px: np.ndarray
    read_px: np.ndarray
    visible: np.ndarray
    eye_distance_px: float
    rest_dm: np.ndarray


def views(first: int, count: int, size_px: int = 256) -> list[list[View]]:
    """Pictures of some people out of a clip of each; a face that is not found is left out."""
    finder, people = FaceMesh(), []
    for number in range(first, first + count):
        take, mine = Take(SEED, number, 0), []
        person = Person.from_seed(take.person_seed)
        studio, rest = Studio(person, Scene.from_seed(take.scene_seed), size_px), rest_positions_dm(person)
        for pose in clip_poses(take, person, N_FRAMES, EVERY):
            shot = studio.render(pose)
            faces = finder.detect_image(shot.rgb)
            if faces:
                mine.append(View(studio.vertices_px(pose), faces[0].points_px, shot.visible, shot.eye_distance_px, rest))
        people.append(mine)
    return people


def distance(people: list[list[View]], places: list[Places], points: list[int]) -> np.ndarray:
    """(people,) median over pictures of the mean distance of visible points, in eye distances; each person has places of their own."""
    away = []
    for mine, (vertices, weights) in zip(people, places, strict=True):
        away.append(np.median([_away(view, vertices, weights)[points][view.visible[points]].mean() for view in mine]))
    return np.array(away)


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


def fitted_angle(people: list[list[View]], point: int) -> float:
    """At which angle, in degrees, a point of the jaw of the right half lies best on the jaw's line."""
    tried, away = JAW_ANGLES_DEG[point] + _TURNS_DEG, np.zeros(len(_TURNS_DEG))
    for mine in people:
        errors = []
        for line, side_point in ((jaw_line(), point), (jaw_line(left=True), int(FLIP[point]))):
            nearest = np.abs(line_angles_deg(mine[0].rest_dm, *line)[:, None] - tried).argmin(axis=0)
            for view in mine:
                if view.visible[side_point]:
                    off = on_surface(view.vertices_px, line[0][nearest], line[1][nearest]) - view.read_px[side_point]
                    errors.append(np.linalg.norm(off, axis=1) / view.eye_distance_px)
        if errors:
            away += np.mean(errors, axis=0)
    return float(tried[away.argmin()])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.places", description=__doc__)
    parser.add_argument("--people", type=int, default=42, help="a third of them are kept out of the fit")
    args = parser.parse_args()
    if args.people < 3:
        parser.error("--people: at least 3, of whom one is kept out of the fit")
    people = [mine for mine in views(0, args.people) if mine]
    held_out = len(people) // 3
    fit, rest = people[held_out:], people[:held_out]
    places = {point: tuple(fitted(fit, point, *anchors())) for point in FITTED_POINTS}
    for point, place in places.items():
        print(f"    {point}: ({', '.join(f'{value:.3f}' for value in place)}),")
    # The angles are those on the present line: fit again once the table holds a new one.
    angles = {point: fitted_angle(fit, point) for point in JAW_ANGLES_DEG}
    print(f"    angles: {', '.join(f'{point}: {angle:.1f}' for point, angle in angles.items())}")
    for name, group in (("fitted", fit), ("held out", rest)):
        as_they_are = 100 * np.median(distance(group, [anchors_of(mine[0].rest_dm) for mine in group], EVERY_POINT))
        one_place = 100 * np.median(distance(group, [anchors(tuple(places.items()))] * len(group), EVERY_POINT))
        turned = 100 * np.median(distance(group, [anchors_of(mine[0].rest_dm, angles) for mine in group], EVERY_POINT))
        print(
            f"{name}: {len(group)} people, median {as_they_are:.2f} % of the eye distance with the tables as they are, {one_place:.2f} %"
            f" with the fitted places, one for everyone, {turned:.2f} % with the fitted angles"
        )


if __name__ == "__main__":
    main()
