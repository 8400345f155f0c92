"""`python -m benchmarks.people.quick`: the mouth and the 68 points of the benchmark's people, straight from the renderer.

A tenth of the time of `make bench-people`: no files, no sound, every sixth frame of a clip. Prints, a person and in the median, the
correlation of the planted lip gap with the face mesh's, and the distance of the visible planted points in % of the eye distance. To be run
before and after a change to how people look.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from curation.landmarks.facemesh import FaceMesh
from curation.landmarks.mesh import Roi
from curation.landmarks.sixty_eight import from_mesh, interocular
from curation.people.acting import pose_at, pose_tracks
from curation.people.clip import voice_of
from curation.people.motion import draw_motion
from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.rendered import Rendered, Studio
from curation.people.scene import Scene
from curation.people.settings import FPS, PeopleSettings, Take
from curation.people.speech import draw_speech

_UPPER_LIP, _LOWER_LIP = 62, 66


def clip_poses(take: Take, person: Person, n_frames: int, every: int) -> list[Pose]:
    """Every so-manieth pose of a clip."""
    phones = draw_speech(n_frames / FPS, voice_of(person), np.random.default_rng([take.person_seed, take.clip, 0x5A]))
    tracks = pose_tracks(draw_motion(phones, n_frames, FPS, seed=take.seed, person=take.person, clip=take.clip))
    return [pose_at(tracks, index) for index in range(0, n_frames, every)]


def look(take: Take, person: Person, n_frames: int, every: int, size_px: int, finder: FaceMesh) -> tuple[float, float, float]:
    """(lip gap r, landmark error in eye distances, share of frames with a face) of one clip's frames."""
    studio = Studio(person, Scene.from_seed(take.scene_seed), size_px)
    shots, meshes = [], []
    for pose in clip_poses(take, person, n_frames, every):
        shot = studio.render(pose)
        mesh = _mesh(finder, shot.rgb, meshes[-1] if meshes else None)
        if mesh is not None:
            shots.append(shot)
            meshes.append(mesh)
    found = len(shots) / len(range(0, n_frames, every))
    return (*against_truth(shots, from_mesh(np.stack(meshes))[..., :2]), found) if len(shots) > 2 else (float("nan"), float("nan"), found)


def _mesh(finder: FaceMesh, rgb: np.ndarray, before: np.ndarray | None) -> np.ndarray | None:
    """The face's mesh (468, 3), followed from the frame before where there is one, as a clip's tracker does."""
    followed = finder.mesh_at(rgb, Roi.from_mesh(before)) if before is not None else None
    if followed is not None:
        return followed.mesh_px
    faces = finder.detect_image(rgb)
    return faces[0].mesh_px if faces else None


def against_truth(shots: list[Rendered], read_px: np.ndarray) -> tuple[float, float]:
    """Correlation of the lips' gaps, each over the eye distance of its own points, and the median over frames of the mean distance of the
    visible points in eye distances; read_px (T, 68, 2)."""
    eyes = np.array([shot.eye_distance_px for shot in shots])
    planted = np.array([shot.lip_gap_px for shot in shots]) / eyes
    read = np.linalg.norm(read_px[:, _LOWER_LIP] - read_px[:, _UPPER_LIP], axis=-1) / interocular(read_px)
    away = [np.linalg.norm(seen - shot.points_px, axis=-1)[shot.visible].mean() for seen, shot in zip(read_px, shots, strict=True)]
    return float(np.corrcoef(planted, read)[0, 1]), float(np.median(np.array(away) / eyes))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.quick", description=__doc__)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first person of the set")
    parser.add_argument("--seed", type=int, default=1, help="of the set: 1 is that of `make bench-people`")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--every", type=int, default=6, help="take every so-manieth frame")
    args = parser.parse_args()
    if min(args.people, args.every) < 1 or args.first < 0:
        parser.error("--people and --every are 1 or above, --first 0 or above")
    try:
        settings = PeopleSettings(count=args.people, seconds=args.seconds, seed=args.seed)
    except ValueError as error:
        parser.error(str(error))
    finder, rows = FaceMesh(), []
    for number in range(args.first, args.first + args.people):
        take = Take(args.seed, number, 0)
        person = Person.from_seed(take.person_seed)
        rows.append((person.beard != "none", *look(take, person, settings.n_frames, args.every, settings.size_px, finder)))
        print(
            f"{take.identity} {person.sex:6} beard {person.beard:9} lip gap r {rows[-1][1]:.3f}, points {100 * rows[-1][2]:.2f} %",
            flush=True,
        )
    table = np.array(rows, float)
    for name, group in (("everyone", table), ("without a beard", table[table[:, 0] == 0]), ("with one", table[table[:, 0] == 1])):
        if len(group):
            middle = np.nanmedian(group[:, 1:3], axis=0)
            gap = f"median lip gap r {middle[0]:.3f} (mean {np.nanmean(group[:, 1]):.3f})"
            print(f"{name}: {len(group)} people, {gap}, points {100 * middle[1]:.2f} %")
    if table[:, 3].min() < 1:
        print(f"frames without a face: {100 * (1 - table[:, 3].mean()):.2f} %", file=sys.stderr)


if __name__ == "__main__":
    main()
