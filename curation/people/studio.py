"""One person in one scene, ready to be rendered in any pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.scene import Scene


@dataclass(frozen=True)
class Rendered:
    """A frame and its truth. Pixel positions have the centre of the upper left pixel at (0, 0), x right, y down.

    Attributes:
        rgb: (H, W, 3) uint8 sRGB.
        points_px: (68, 2) float32, iBUG order (`curation.landmarks.sixty_eight`), projected from the mesh.
        visible: (68,) bool: the point lies in the picture and nothing in front hides it (the head's own side, hair, an arm of the glasses).
        lip_gap_px: between the inner lips' middles (points 62 and 66), 0 where they meet.
        lid_gap_px: (2,) float32, mean distance between the lids' middles, of the person's (left, right) eye.
        eye_distance_px: between the eye centres (the mean of each eye's six points), in the picture.
        yaw_deg, pitch_deg, roll_deg: the head against the camera, as planted.
        skin_srgb: (3,) float32 0..255, median of the face's skin pixels as they are lit; NaN where none is seen.
        skin_ita_deg: individual typology angle of that colour (Chardon et al., 1991).
        face_light: mean luminance of the face's skin over its albedo's: 1 is lit as a white card that is exposed as white.
    """

    rgb: np.ndarray
    points_px: np.ndarray
    visible: np.ndarray
    lip_gap_px: float
    lid_gap_px: np.ndarray
    eye_distance_px: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    skin_srgb: np.ndarray
    skin_ita_deg: float
    face_light: float


class Studio:
    """Builds a person once (about a second), then renders poses. Not to be shared between threads.

    Args:
        person, scene: who and where.
        size_px: side of the square picture.

    Raises:
        ConfigError: numba is missing (the extra `people`), or the size is below 32 px or above 2048 px.
    """

    def __init__(self, person: Person, scene: Scene, size_px: int = 256):
        raise NotImplementedError

    def render(self, pose: Pose) -> Rendered:
        """The picture of a pose with its truth; the same bytes whenever it is asked for on one machine."""
        raise NotImplementedError
