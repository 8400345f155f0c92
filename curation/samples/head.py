"""The head turned in space and put back in front of the plate.

The head layer is a height field over the plane of the portrait. Every pixel of the new picture sends a ray through the turned field (relief
mapping: Policarpo, Oliveira and Comba, I3D 2005), which shows the nearest surface and hides what the nose or cheek covers, without a mesh
to rasterise. The camera is about 0.75 m away: under orthographic projection a turned face looks less turned than it is, to people and to
landmark networks alike. Axes as the mesh's: x right, y down, z away from the camera; the unturned head is the portrait, pixel for pixel.

Angles are rotations from the portrait's own pose, in the order and with the signs of `curation.landmarks.pose`: yaw > 0 turns the face
towards the right of the picture, pitch > 0 lowers it, roll > 0 tilts it clockwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from curation.samples.portrait import HEAD_BOX, PLATE_SCALE, TEXTURE_SCALE, Portrait, head_outline

_NECK_PX = np.array([222.0, 197.0, 34.0])  # what the head turns about, in portrait pixels
_TURNS_Y, _STILL_Y = 184.0, 234.0  # above the first the head turns as one; below the second nothing does
_CAMERA_PX = 500.0  # distance of the camera from the neck's axis; the face is 93 px or some 14 cm wide
_AXIS_X, _AXIS_Y = 222.0, 126.0  # where the camera's axis meets the portrait
_STEP_PX = 3.0  # sideways step of a ray while it looks for the surface
_JUMP_PX, _AROUND = 8.0, np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Pose:
    """Rotation from the portrait's own pose, in degrees (see the module's text for signs and order)."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True)
class Camera:
    """What part of the portrait's plane a picture shows.

    Attributes:
        scale: picture pixels a portrait pixel.
        centre_px: the portrait position at the middle of the picture.
        size_px: (width, height) of the picture.
        mirrored: left and right exchanged, last of all.
    """

    scale: float
    centre_px: tuple[float, float]
    size_px: tuple[int, int]
    mirrored: bool = False


def rotation(pose: Pose, share: np.ndarray | float = 1.0) -> np.ndarray:
    """(..., 3, 3): Ry(-yaw) Rx(pitch), the part of the rotation out of the picture's plane, each angle times `share` (...)."""
    share = np.asarray(share, float)
    yaw, pitch = np.radians(pose.yaw_deg) * share, np.radians(pose.pitch_deg) * share
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    zero = np.zeros_like(cy)
    # The nose points to -z: for yaw > 0 it goes to +x, for pitch > 0 to +y.
    rows = [[cy, -sy * sp, -sy * cp], [zero, cp, -sp], [sy, cy * sp, cy * cp]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def head_rotation(pose: Pose, rest: np.ndarray, mirrored: bool) -> np.ndarray:
    """(3, 3): the head against the camera, for the portrait's own rotation `rest` (3, 3)."""
    roll = np.radians(pose.roll_deg)
    cos, sin = np.cos(roll), np.sin(roll)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ rotation(pose) @ rest
    mirror = np.diag([-1.0, 1.0, 1.0])
    return mirror @ turned @ mirror if mirrored else turned


def project(points: np.ndarray, pose: Pose, camera: Camera) -> np.ndarray:
    """Where points of the head (N, 3), in the portrait's pixels and pose, lie in the picture: (N, 2) pixels."""
    points = np.asarray(points, float)
    spread = 1 / _shrink(points[:, 2])  # from where a point was photographed to where it is
    solid = np.stack([_AXIS_X + (points[:, 0] - _AXIS_X) * spread, _AXIS_Y + (points[:, 1] - _AXIS_Y) * spread, points[:, 2]], axis=1)
    turned = (solid - _NECK_PX) @ rotation(pose).T + _NECK_PX
    turned[:, :2] = [_AXIS_X, _AXIS_Y] + (turned[:, :2] - [_AXIS_X, _AXIS_Y]) * _shrink(turned[:, 2])[:, None]
    cos, sin = np.cos(np.radians(pose.roll_deg)), np.sin(np.radians(pose.roll_deg))
    offset = turned[:, :2] - _NECK_PX[:2]
    rolled = offset @ np.array([[cos, sin], [-sin, cos]]) + _NECK_PX[:2]
    width, height = camera.size_px
    out = (rolled - camera.centre_px) * camera.scale + [width / 2, height / 2]
    if camera.mirrored:
        out[:, 0] = width - out[:, 0]
    return out


def _shrink(z: np.ndarray) -> np.ndarray:
    """Size of a thing at depth z in the picture, 1 at the neck's axis."""
    return _CAMERA_PX / (z + (_CAMERA_PX - float(_NECK_PX[2])))


def surface_depth(portrait: Portrait, points: np.ndarray) -> np.ndarray:
    """(N,) depth of the head's surface at (N, 2) portrait positions."""
    x, y = (np.asarray(points, np.float32) - [HEAD_BOX[0], HEAD_BOX[1]]).T
    return _sample(portrait.depth, x[:, None].astype(np.float32), y[:, None].astype(np.float32))[:, 0].astype(float)


def draw(portrait: Portrait, head: np.ndarray | None, pose: Pose, camera: Camera) -> np.ndarray:
    """The picture: (height, width, 3) uint8 RGB.

    Args:
        head: (786, 624, 4) uint8, the head layer with its expression (`Face.texture`); None leaves the head away.
    """
    import cv2

    picture = _plate(portrait, camera)
    left, top, right, bottom = _head_region(portrait, pose, camera)
    if head is None or right <= left or bottom <= top:
        return picture
    map_x, map_y = _head_lookup(portrait, pose, camera, (left, top, right, bottom))
    layer = cv2.remap(head, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0))
    alpha = layer[..., 3].astype(np.float32) / np.float32(255)
    rgb = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    under = np.ascontiguousarray(picture[top:bottom, left:right])
    picture[top:bottom, left:right] = cv2.blendLinear(rgb, under, alpha, 1 - alpha)
    return np.ascontiguousarray(picture[:, ::-1]) if camera.mirrored else picture


def _plate(portrait: Portrait, camera: Camera) -> np.ndarray:
    import cv2

    width, height = camera.size_px
    step = PLATE_SCALE / camera.scale
    # Picture pixel centres to plate pixel indices.
    x = (camera.centre_px[0] - width / 2 / camera.scale) * PLATE_SCALE + 0.5 * step - 0.5
    y = (camera.centre_px[1] - height / 2 / camera.scale) * PLATE_SCALE + 0.5 * step - 0.5
    matrix = np.array([[step, 0, x], [0, step, y]])
    # A strong reduction would alias: average first.
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if step < 2 else cv2.INTER_AREA)
    return cv2.warpAffine(portrait.plate, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _head_region(portrait: Portrait, pose: Pose, camera: Camera) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the picture, mirroring aside, that the turned head covers; no part of it lies outside."""
    width, height = camera.size_px
    outline = np.concatenate([head_outline(), 0.9 * head_outline() + 0.1 * head_outline().mean(0)])
    points = np.concatenate([outline, surface_depth(portrait, outline)[:, None]], axis=1)
    still = points[:, 1] > _TURNS_Y
    spots = np.concatenate(
        [project(points, pose, replace(camera, mirrored=False)), project(points[still], Pose(), replace(camera, mirrored=False))]
    )
    margin = 10 * camera.scale
    left, top = np.clip(np.floor(spots.min(0) - margin).astype(int), 0, [width, height])
    right, bottom = np.clip(np.ceil(spots.max(0) + margin).astype(int), 0, [width, height])
    return int(left), int(top), int(right), int(bottom)


def _head_lookup(portrait: Portrait, pose: Pose, camera: Camera, region: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Maps (h, w) float32 from the picture's region into the head texture, worked out at half resolution and enlarged."""
    import cv2

    left, top, right, bottom = region
    width, height = camera.size_px
    half_w, half_h = (right - left + 1) // 2, (bottom - top + 1) // 2
    x = ((left + 1 + 2 * np.arange(half_w)) - width / 2) / camera.scale + camera.centre_px[0]
    y = ((top + 1 + 2 * np.arange(half_h)) - height / 2) / camera.scale + camera.centre_px[1]
    x, y = (a.astype(np.float32) for a in np.meshgrid(x, y))
    x, y = _unroll(x, y, pose.roll_deg)
    x, y = _cast(portrait.depth, x, y, pose)
    maps = []
    for portrait_px, origin in ((x, HEAD_BOX[0]), (y, HEAD_BOX[1])):
        index = (portrait_px - origin) * TEXTURE_SCALE - 0.5
        full = cv2.resize(index, (2 * half_w, 2 * half_h), interpolation=cv2.INTER_LINEAR)
        maps.append(np.ascontiguousarray(full[: bottom - top, : right - left]))
    return maps[0], maps[1]


def _share(y: np.ndarray) -> np.ndarray:
    """How much of the rotation a height in the portrait's plane takes part in: 1 for the head, 0 below the collar."""
    t = np.clip((np.float32(_STILL_Y) - y) / np.float32(_STILL_Y - _TURNS_Y), 0, 1)
    return t * t * (3 - 2 * t)


def _unroll(x: np.ndarray, y: np.ndarray, roll_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions before the roll about the neck; the share depends on the result, hence the iteration."""
    dx, dy = x - np.float32(_NECK_PX[0]), y - np.float32(_NECK_PX[1])
    before_y = y
    for _ in range(3):
        angle = np.radians(np.float32(roll_deg)) * _share(before_y)
        cos, sin = np.cos(angle), np.sin(angle)
        before_x = np.float32(_NECK_PX[0]) + cos * dx + sin * dy
        before_y = np.float32(_NECK_PX[1]) - sin * dx + cos * dy
    return before_x, before_y


@dataclass(frozen=True)
class _Rays:
    """Rays in the head's own pose, float32 arrays of one shape: positions at distance 0, x and y from the camera's axis, and directions."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    along_x: np.ndarray
    along_y: np.ndarray
    along_z: np.ndarray

    def __getitem__(self, part: object) -> _Rays:
        return _Rays(*(getattr(self, field.name)[part] for field in fields(self)))

    def seen_at(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the portrait shows the points of the rays at distance t, from the head box's corner, and their depths."""
        z = self.z + self.along_z * t
        shrink = _shrink(z)
        x = (self.x + self.along_x * t) * shrink + np.float32(_AXIS_X - HEAD_BOX[0])
        y = (self.y + self.along_y * t) * shrink + np.float32(_AXIS_Y - HEAD_BOX[1])
        return x, y, z

    def above(self, depth: np.ndarray, t: np.ndarray) -> np.ndarray:
        """How far the rays are still in front of the surface at distance t."""
        x, y, z = self.seen_at(t)
        return _sample(depth, x, y) - z


def _cast(depth: np.ndarray, x: np.ndarray, y: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Portrait positions (h, w) of the nearest surface on each pixel's ray, after the head is turned by yaw and pitch."""
    import cv2

    rays = _rays(x, y, pose)
    coarse = _first_crossing(depth, rays[::2, ::2])
    t_hit = cv2.resize(coarse, x.shape[::-1], interpolation=cv2.INTER_LINEAR)
    t_hit = _settle(depth, rays, t_hit)
    # Where the surface jumps (nose against cheek, head against wall), what lies between coarse rays is no surface: look again, ray by ray.
    jump = cv2.dilate(coarse, _AROUND) - cv2.erode(coarse, _AROUND) > _JUMP_PX
    edge = np.flatnonzero(cv2.resize(jump.astype(np.uint8), x.shape[::-1], interpolation=cv2.INTER_NEAREST))
    if len(edge):
        some = _Rays(*(getattr(rays, field.name).reshape(-1)[edge][:, None] for field in fields(rays)))
        t_hit.reshape(-1)[edge] = _settle(depth, some, _first_crossing(depth, some))[:, 0]
    hit_x, hit_y, _ = rays.seen_at(t_hit)
    return hit_x + HEAD_BOX[0], hit_y + HEAD_BOX[1]


def _rays(x: np.ndarray, y: np.ndarray, pose: Pose) -> _Rays:
    """The rays of the pixels that the portrait's plane has at (x, y), turned back into the head's own pose."""
    share = _share(y)
    yaw, pitch = np.radians(np.float32(pose.yaw_deg)) * share, np.radians(np.float32(pose.pitch_deg)) * share
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)

    def back(dx: np.ndarray, dy: np.ndarray, dz: float) -> list[np.ndarray]:
        """The transpose of `rotation` applied to a vector field."""
        return [cy * dx + sy * dz, cp * dy + sp * (cy * dz - sy * dx), -sp * dy + cp * (cy * dz - sy * dx)]

    # At distance 0 a ray passes the depth of the neck's axis; from there it runs away from the camera.
    to_axis = np.array([_NECK_PX[0] - _AXIS_X, _NECK_PX[1] - _AXIS_Y, _NECK_PX[2]], np.float32)
    start = back(x - np.float32(_NECK_PX[0]), y - np.float32(_NECK_PX[1]), 0.0)
    along = back((x - np.float32(_AXIS_X)) / np.float32(_CAMERA_PX), (y - np.float32(_AXIS_Y)) / np.float32(_CAMERA_PX), 1.0)
    return _Rays(*(s + o for s, o in zip(start, to_axis, strict=True)), *along)


def _first_crossing(depth: np.ndarray, rays: _Rays) -> np.ndarray:
    """Distance at which each ray first meets the surface, interpolated between steps."""
    nearest, farthest = float(depth.min()), float(depth.max())
    start = (nearest - np.float32(0.5) - rays.z) / rays.along_z
    length = np.float32(farthest - nearest + 1.0) / rays.along_z
    (x0, y0, _), (x1, y1, _) = rays.seen_at(start), rays.seen_at(start + length)
    sideways = float(np.hypot(x1 - x0, y1 - y0).max())
    n_steps = 2 + int(np.ceil(sideways / _STEP_PX))
    before = rays.above(depth, start)
    t_hit = start + length
    missing = np.ones(start.shape, bool)
    for i in range(n_steps):
        here = start + length * np.float32((i + 1) / n_steps)
        after = rays.above(depth, here)
        crossed = missing & (after <= 0)
        t_hit = np.where(crossed, here - length / np.float32(n_steps) * (after / np.minimum(after - before, np.float32(-1e-6))), t_hit)
        missing &= ~crossed
        before = after
        if not missing.any():
            break
    return t_hit


def _settle(depth: np.ndarray, rays: _Rays, t_hit: np.ndarray) -> np.ndarray:
    """Two of Newton's steps with the slope along the ray, kept near the interval that was bracketed."""
    for _ in range(2):
        error = rays.above(depth, t_hit)
        slope = np.minimum(rays.above(depth, t_hit + np.float32(0.5)) - error, np.float32(-0.1)) * 2
        t_hit = t_hit - np.clip(error / slope, -3.0, 3.0)
    return t_hit


def _sample(depth: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth at positions counted from the head box's corner and from pixel edges; the border goes on beyond it."""
    import cv2

    return cv2.remap(depth, x - np.float32(0.5), y - np.float32(0.5), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
