"""One person in one scene, ready to be rendered in any pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.people.colour import LUMINANCE, ita_deg, to_linear
from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.scene import Scene
from manifests import UserError

SMALLEST_PX, LARGEST_PX = 32, 2048


@dataclass(frozen=True)
class Rendered:
    """A frame and its truth. Pixel positions as everywhere in the project: pixel i covers i to i + 1, x right, y down.

    Attributes:
        rgb: (H, W, 3) uint8 sRGB.
        points_px: (68, 2) float32, iBUG order (`curation.landmarks.sixty_eight`), projected from the mesh.
        visible: (68,) bool: the point lies in the picture and nothing in front hides it (the head's own side, hair, an arm of the glasses).
        lip_gap_px: between the inner lips' middles (points 62 and 66) along the face's length, 0 where they meet.
        lid_gap_px: (2,) float32, the same between the middles of the lids, of the person's (left, right) eye.
        eye_distance_px: between the eye centres (the mean of each eye's six points), in the picture.
        yaw_deg, pitch_deg, roll_deg: the head against the camera, as planted.
        skin_srgb: (3,) float32 0..255, median of the face's skin pixels as they are lit; NaN where none is seen.
        skin_ita_deg: individual typology angle of that colour (Chardon et al., 1991).
        face_light: luminance of that colour over the skin's own albedo's: 1 is lit as a white card that is exposed as white.
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
        UserError: numba is missing (the extra `people`), or the size is below 32 px or above 2048 px.
    """

    def __init__(self, person: Person, scene: Scene, size_px: int = 256):
        if not SMALLEST_PX <= size_px <= LARGEST_PX:
            raise UserError(f"people are rendered at {SMALLEST_PX} to {LARGEST_PX} px, not {size_px}")
        # numba costs half a second and 200 MB: only what renders loads it.
        from curation.people.renderer import Renderer

        self.person, self.scene, self.size_px = person, scene, size_px
        self._renderer = Renderer(person, scene, size_px)

    def render(self, pose: Pose) -> Rendered:
        """The picture of a pose with its truth; the same bytes whenever it is asked for on one machine."""
        frame = self._renderer.draw(pose)
        points = frame.points_px
        skin_srgb = np.median(frame.rgb[frame.face], axis=0).astype(np.float32) if frame.face.any() else np.full(3, np.nan, np.float32)
        albedo = float(self._renderer.model.skin_albedo @ LUMINANCE)
        eye_left, eye_right = points[42:48], points[36:42]
        down = (points[8] - points[27]) / np.linalg.norm(points[8] - points[27])
        return Rendered(
            rgb=frame.rgb,
            points_px=points,
            visible=frame.visible,
            lip_gap_px=_gap_px(points[62], points[66], down),
            lid_gap_px=np.array([_gap_px(eye[1:3], eye[[5, 4]], down) for eye in (eye_left, eye_right)], np.float32),
            eye_distance_px=float(np.linalg.norm(eye_left.mean(axis=0) - eye_right.mean(axis=0))),
            yaw_deg=pose.yaw_deg,
            pitch_deg=pose.pitch_deg,
            roll_deg=pose.roll_deg,
            skin_srgb=skin_srgb,
            skin_ita_deg=float(ita_deg(skin_srgb)),
            face_light=float(to_linear(skin_srgb) @ LUMINANCE) / albedo,
        )

    def vertices_px(self, pose: Pose) -> np.ndarray:
        """(V, 2): where every vertex of the person's mesh lies in the picture of a pose, hidden ones too."""
        return self._renderer.vertices_px(pose)


def _gap_px(upper: np.ndarray, lower: np.ndarray, down: np.ndarray) -> float:
    """How far lower points (..., 2) lie below upper ones along the face, on average; 0 where they overlap."""
    return max(float(((lower - upper) @ down).mean()), 0.0)
