"""Draws a person's poses: the mesh is posed, its strands follow, samples are taken, lit and averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curation.people import lips, points
from curation.people.expression import unit_weights
from curation.people.head import EYE, EYE_RADIUS_DM, load_head
from curation.people.lighting import background, lighting
from curation.people.model import build
from curation.people.mouth import darken_mouth
from curation.people.occlusion import frame_towards
from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.raster import NOTHING, all_of, below_collar_at, draw_depth, draw_strands, draw_triangles
from curation.people.scene import Scene
from curation.people.shading import encode, shade
from curation.people.strands import Strands
from curation.people.surface import add_targets, follow, normals, project, turn, turn_by_share

SAMPLES = 2  # a pixel's samples along each side
EXPOSURE = 1.0
_DM_PER_M = 10.0
_BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
_LIDS = np.array([[[43, 47], [44, 46]], [[38, 40], [37, 41]]])  # points of the upper and lower lid, of the (left, right) eye
_SHADOW_PX, _SHADOW_REACH_DM = 256, 5.5
_SHADOW_STRAND_DM = 0.02  # how thick a strand's shadow is
_STRANDS_A_SAMPLE, _FEWEST_STRANDS, _CASTING_STRANDS = 1.6, 0.35, 0.3
_HIDES_DM = 0.08  # what lies this far in front of a point hides it; brows and lashes lie closer
_TEXELS = 2600  # a unit of the atlas, for a face as high as a picture of 256 px: about a texel a pixel of the face


@dataclass(frozen=True)
class Frame:
    """rgb (H, W, 3) uint8; face (H, W) bool, bare skin of the face; points_px (68, 2) float32; visible (68,) bool."""

    rgb: np.ndarray
    face: np.ndarray
    points_px: np.ndarray
    visible: np.ndarray


class Renderer:
    """One person in one scene at one size."""

    def __init__(self, person: Person, scene: Scene, size_px: int):
        self.size_px, self.scene = size_px, scene
        texels = int(np.clip(round(_TEXELS * scene.face_share * size_px / 256 / 100) * 100, 300, 2400))
        self.model = model = build(person, texels)
        self.lights = lighting(scene)
        self.background = background(scene, size_px)
        head = load_head()
        eye_y = model.eye_centres_dm[:, 1].mean()
        chin = np.argmin(np.abs(head.positions_dm - [0, 6.17, 1.43]).sum(axis=1))
        face_height_dm = eye_y + 0.18 - model.rest_dm[chin, 1]
        self.distance_dm = scene.distance_m * _DM_PER_M
        front_z = model.eye_centres_dm[:, 2].mean()
        self.focal = scene.face_share * size_px * SAMPLES * self.distance_dm / face_height_dm
        self.camera = np.array([0.0, eye_y - 0.15, front_z + self.distance_dm])
        n = size_px * SAMPLES
        self.nearness, self.seen, self.weights = np.empty((n, n), np.float32), np.empty((n, n), np.int32), np.empty((n, n, 2), np.float32)
        self.lens = np.zeros((n, n) if len(model.lens_triangles) else (1, 1), np.float32)
        self.picture = np.empty((size_px, size_px, 3), np.float32)
        self._prepare_strands()
        self._prepare_shadow()
        self.anchors, self.anchor_weights = points.anchors_of(model.rest_dm)
        shut = model.rest_dm.copy()
        self._add_units(shut, dict.fromkeys(_BLINKS, 1.0))
        self.closing_dm = self._lid_gap_dm(model.rest_dm) - self._lid_gap_dm(shut)

    def _prepare_strands(self) -> None:
        """Points and segments of all strands: first those that ride on the skin, then the hair."""
        model, rng = self.model, np.random.default_rng(3)
        groups: tuple[Strands, ...] = (model.riding, model.hair)
        starts, rgb, shine, rank, first = [], [], [], [], 0
        for strands in groups:
            count, n = strands.radius_dm.shape
            starts.append((first + np.arange(count)[:, None] * n + np.arange(n - 1)).ravel())
            rgb.append(np.repeat(strands.rgb, n - 1, axis=0))
            shine.append(np.repeat(strands.shine, n - 1))
            rank.append(np.repeat(rng.random(count), n - 1))
            first += count * n
        self.starts = np.concatenate(starts).astype(np.int32)
        self.strand_rgb, self.strand_shine = np.concatenate(rgb), np.concatenate(shine)
        self.strand_radius = np.concatenate([strands.radius_dm.ravel() for strands in groups])
        self.strand_shade = np.concatenate([strands.shade.ravel() for strands in groups])
        # Where strands are thinner than a sample, fewer are drawn, each a sample wide: always the same ones.
        width = 2 * self.strand_radius[self.starts] * self.focal / self.distance_dm
        self.strand_drawn = np.concatenate(rank) < np.clip(_STRANDS_A_SAMPLE * width, _FEWEST_STRANDS, 1)
        self.strand_casts = np.concatenate([np.zeros(len(starts[0]), bool), rank[1] < _CASTING_STRANDS])
        self.n_riding = model.riding.radius_dm.size
        self.strand_points, self.strand_screen = np.empty((first, 3)), np.empty((first, 3))
        self.hair_rest_dm, self.hair_share = model.hair.points_dm.reshape(-1, 3), model.hair.share.ravel()
        riding = model.riding
        self.riding = (riding.anchors.reshape(-1, 3), riding.weights.reshape(-1, 2), riding.lift_dm.ravel())

    def _prepare_shadow(self) -> None:
        """The affine map from the scene to the main lamp's depth map."""
        scale = _SHADOW_PX / _SHADOW_REACH_DM
        axes = frame_towards(self.lights.directions[0]) * np.array([[scale], [scale], [1]])
        middle = np.array([0.0, 7.0, 0.4])
        self.to_lamp = np.column_stack([axes, -axes @ middle + [_SHADOW_PX / 2, _SHADOW_PX / 2, 0]])
        self.depth = np.empty((_SHADOW_PX, _SHADOW_PX), np.float32)
        self.depth_seen = np.empty((_SHADOW_PX, _SHADOW_PX), np.int32)
        self.depth_weights = np.empty((_SHADOW_PX, _SHADOW_PX, 2), np.float32)
        below = below_collar_at(self.model.base, self.model.collar)[self.model.triangles].min(axis=1)
        self.shadow_drawn = self.model.drawn & (self.model.part != EYE) & ~(self.model.cut & (below < 0))

    def _posed(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) of a pose, and light between the lids (V,)."""
        model = self.model
        weights = unit_weights(pose)
        positions = model.rest_dm.copy()
        eyes = [positions[eye] - centre for eye, centre in zip(model.eyes, model.eye_centres_dm, strict=True)]
        self._add_units(positions, weights)
        lips.meet(positions)
        # How far a lid has to go depends on the eye, on squinting and on the gaze: a blink of 1 shuts it, whatever the rest.
        self._add_units(
            positions,
            {
                name: blink * max(self._lid_gap_dm(positions)[eye], 0.0) / self.closing_dm[eye]
                for eye, (name, blink) in enumerate(zip(_BLINKS, (pose.blink_left, pose.blink_right), strict=True))
            },
        )
        gaze = turn(pose.gaze_yaw_deg, pose.gaze_pitch_deg, 0.0)
        light = np.ones(len(positions))
        for eye, centre, ball in zip(model.eyes, model.eye_centres_dm, eyes, strict=True):
            turned = ball @ gaze.T
            positions[eye] = centre + turned
            place = turned / EYE_RADIUS_DM
            under_lid = np.clip((place[:, 1] + 0.02) / 0.42, 0, 1) ** 1.5
            in_corner = np.clip((np.abs(place[:, 0]) - 0.35) / 0.5, 0, 1)
            light[eye] = (1 - 0.5 * under_lid) * (1 - 0.35 * in_corner)
        turn_by_share(positions, model.share, model.pivot_dm, *(math.radians(a) for a in (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)))
        return positions, light

    def _add_units(self, positions: np.ndarray, weights: dict[str, float]) -> None:
        by_unit = np.array([weights.get(name, 0.0) for name in self.model.unit_names])
        add_targets(positions, self.model.unit_offsets, self.model.unit_vertices, self.model.unit_dm, by_unit)

    def _lid_gap_dm(self, positions: np.ndarray) -> np.ndarray:
        """(2,) how far the middles of the lids of the (left, right) eye stand apart, upwards, of a head that is not turned."""
        height = points.on_surface(positions, self.anchors, self.anchor_weights)[_LIDS, 1]  # (2, 2, 2): eye, middle, upper or lower
        return np.asarray((height[..., 0] - height[..., 1]).mean(axis=1))

    def vertices_px(self, pose: Pose) -> np.ndarray:
        """Where every vertex of the mesh lies in the picture of a pose: (V, 2) float64, hidden ones too."""
        positions, _ = self._posed(pose)
        screen = np.empty_like(positions)
        camera, centre_x, centre_y = self._view(pose)
        project(positions, centre_x, centre_y, self.focal, camera, screen)
        return (screen[:, :2] + 0.5) / SAMPLES

    def _view(self, pose: Pose) -> tuple[np.ndarray, float, float]:
        """The camera (3,) dm, and the picture's middle in samples."""
        n = self.size_px * SAMPLES
        camera = self.camera + np.array([0.0, 0.0, self.distance_dm * (pose.distance - 1)])
        return camera, n / 2 - 0.5 + pose.shift_x * n, n / 2 - 0.5 + pose.shift_y * n

    def draw(self, pose: Pose) -> Frame:
        """Renders a pose."""
        model = self.model
        angles = [math.radians(angle) for angle in (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)]
        positions, lid_light = self._posed(pose)
        normal = normals(positions, model.triangles)
        follow(positions, *self.riding, normal, self.strand_points[: self.n_riding])
        hair = self.hair_rest_dm.copy()
        turn_by_share(hair, self.hair_share, model.pivot_dm, *angles)
        self.strand_points[self.n_riding :] = hair

        camera, centre_x, centre_y = self._view(pose)
        screen = np.empty_like(positions)
        project(positions, centre_x, centre_y, self.focal, camera, screen)
        project(self.strand_points, centre_x, centre_y, self.focal, camera, self.strand_screen)
        self.nearness[:] = 0
        self.seen[:] = NOTHING
        buffers = (self.nearness, self.seen, self.weights)
        draw_triangles(screen, model.triangles, model.drawn, model.two_sided, model.cut, model.base, model.collar, *buffers)
        draw_strands(self.strand_screen, self.starts, self.strand_radius, self.strand_drawn, self.focal, len(model.triangles), *buffers)
        self._cast_shadow(positions)
        if len(model.lens_triangles):
            self._draw_lens(screen)
        middle = model.skull_centre_dm[None].copy()
        turn_by_share(middle, np.ones(1), model.pivot_dm, *angles)
        gap_dm = float(np.linalg.norm(np.diff(positions[load_head().lip_line], axis=0)))
        attribute = np.column_stack([darken_mouth(model.occlusion, gap_dm), model.eye_axes, lid_light])
        shade(
            self.seen, self.weights, self.nearness, model.triangles, model.part, model.uv, positions, normal, attribute, model.base,
            model.texture, turn(pose.yaw_deg, pose.pitch_deg, pose.roll_deg), camera, self.strand_points, self.starts, self.strand_rgb,
            self.strand_shine, self.strand_shade, middle[0], self.lights.directions, self.lights.rgb, self.lights.sky, self.lights.ground,
            self.depth, self.to_lamp, model.iris, model.cloth, model.collar, model.frame_rgb, self.background, self.lens, EXPOSURE,
            self.picture,
        )  # fmt: skip
        rgb = np.empty((self.size_px, self.size_px, 3), np.uint8)
        encode(self.picture, rgb)
        points_px, visible = self._points(positions, centre_x, centre_y, camera)
        return Frame(rgb, self._face(), points_px, visible)

    def _cast_shadow(self, positions: np.ndarray) -> None:
        matrix, offset = self.to_lamp[:, :3], self.to_lamp[:, 3]
        self.depth[:] = -1e9
        model = self.model
        draw_depth(positions @ matrix.T + offset, model.triangles, self.shadow_drawn, self.depth)
        lamp = self.strand_points @ matrix.T + offset
        lamp[:, 2] += 100.0  # nearness has to be positive
        self.depth += 100.0
        scale = _SHADOW_PX / _SHADOW_REACH_DM
        radius = (_SHADOW_STRAND_DM / lamp[:, 2]).astype(np.float32)
        draw_strands(lamp, self.starts, radius, self.strand_casts, scale, 0, self.depth, self.depth_seen, self.depth_weights)
        self.depth -= 100.0

    def _draw_lens(self, screen: np.ndarray) -> None:
        nearness, seen = self.nearness.copy(), np.full_like(self.seen, NOTHING)
        lenses = self.model.lens_triangles
        yes = np.ones(len(lenses), bool)
        draw_triangles(screen, lenses, yes, yes, ~yes, self.model.base, self.model.collar, nearness, seen, np.empty_like(self.weights))
        np.not_equal(seen, NOTHING, out=self.lens, casting="unsafe")

    def _face(self) -> np.ndarray:
        """(H, W) bool: pixels all of whose samples show bare skin of the face."""
        face = np.empty((self.size_px, self.size_px), bool)
        all_of(self.seen, self.model.face, face)
        return face

    def _points(self, positions: np.ndarray, centre_x: float, centre_y: float, camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The 68 points (68, 2) float32 in the picture, and which of them are seen (68,)."""
        solid = points.on_surface(positions, self.anchors, self.anchor_weights)
        screen = np.empty_like(solid)
        project(solid, centre_x, centre_y, self.focal, camera, screen)
        column, row = np.round(screen[:, 0]).astype(int), np.round(screen[:, 1]).astype(int)
        n = len(self.seen)
        inside = (column >= 1) & (row >= 1) & (column < n - 1) & (row < n - 1)
        column, row = np.clip(column, 1, n - 2), np.clip(row, 1, n - 2)
        limit = 1 / (1 / screen[:, 2] - _HIDES_DM)
        around = np.stack([self.nearness[row + dy, column + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
        visible = inside & ((around > limit).sum(axis=0) <= 4)
        return ((screen[:, :2] + 0.5) / SAMPLES).astype(np.float32), visible
