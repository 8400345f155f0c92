"""A contact sheet: many people at rest, or one person's poses in a row, to be looked at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.rendered import Studio
from curation.people.scene import Scene
from manifests import UserError
from manifests.atomic import atomic_path

POSES = {
    "rest": Pose(),
    "mouth open": Pose(jaw_open=0.6),
    "smile": Pose(smile=0.9),
    "rounded": Pose(pucker=0.8, jaw_open=0.12),
    "shut eyes": Pose(blink_left=1, blink_right=1),
    "brows up": Pose(brows_up=1),
    "left": Pose(yaw_deg=-25),
    "right": Pose(yaw_deg=25),
    "gaze": Pose(gaze_yaw_deg=20, gaze_pitch_deg=-5),
    "down": Pose(pitch_deg=12, roll_deg=8),
}


def people_sheet(seeds: list[int], columns: int, size_px: int) -> np.ndarray:
    """(rows * size, columns * size, 3) uint8 RGB: the people of some seeds at rest, in reading order; black where a row has places left."""
    pictures = [Studio(Person.from_seed(seed), Scene.from_seed(seed), size_px).render(Pose()).rgb for seed in seeds]
    return _tiled(pictures, columns)


def pose_strips(seeds: list[int], size_px: int) -> np.ndarray:
    """A row of `POSES` for the person of each seed."""
    pictures = []
    for seed in seeds:
        studio = Studio(Person.from_seed(seed), Scene.from_seed(seed), size_px)
        pictures += [studio.render(pose).rgb for pose in POSES.values()]
    return _tiled(pictures, len(POSES))


def _tiled(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    empty = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    tiles = np.stack(pictures + empty)
    rows, (height, width) = len(tiles) // columns, tiles.shape[1:3]
    return tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def write_sheet(out: Path, count: int, first: int, columns: int, size_px: int, poses: bool) -> None:
    """Writes `people_sheet`, or with `poses` `pose_strips`, of `count` seeds from `first` as a PNG or a JPEG.

    Raises:
        UserError: OpenCV writes no such kind of picture.
    """
    seeds = list(range(first, first + count))
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"no picture is written as {out.suffix or out}: name a .png or a .jpg")
    picture = pose_strips(seeds, size_px) if poses else people_sheet(seeds, columns, size_px)
    _, data = cv2.imencode(out.suffix, picture[..., ::-1])
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as partial:
        partial.write_bytes(data.tobytes())
