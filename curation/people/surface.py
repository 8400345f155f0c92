"""The mesh in motion: face units, eyes, the turn of the head, and normals."""

from __future__ import annotations

import math

import numpy as np

from curation.people.compiled import kernel


def turn(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """(3, 3) rotation with the signs of `Pose`, in the head's axes (x right of the picture, y up, z to the camera).

    It is `curation.landmarks.pose`'s Rz(roll) Ry(-yaw) Rx(pitch) with its axes y and z turned about.
    """
    matrix = np.empty((3, 3))
    _turn(math.radians(yaw_deg), math.radians(pitch_deg), math.radians(roll_deg), matrix)
    return matrix


@kernel()
def _turn(yaw: float, pitch: float, roll: float, out: np.ndarray) -> None:
    cy, sy, cp, sp, cr, sr = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
    # Rz(-roll) Ry(yaw) Rx(pitch)
    m00, m01, m02 = cy, sy * sp, sy * cp
    m10, m11, m12 = 0.0, cp, -sp
    m20, m21, m22 = -sy, cy * sp, cy * cp
    out[0, 0], out[0, 1], out[0, 2] = cr * m00 + sr * m10, cr * m01 + sr * m11, cr * m02 + sr * m12
    out[1, 0], out[1, 1], out[1, 2] = -sr * m00 + cr * m10, -sr * m01 + cr * m11, -sr * m02 + cr * m12
    out[2, 0], out[2, 1], out[2, 2] = m20, m21, m22


@kernel()
def turn_by_share(points: np.ndarray, share: np.ndarray, pivot: np.ndarray, yaw: float, pitch: float, roll: float) -> None:
    """Turns (P, 3) points about the pivot in place, each by its share (P,) of the three angles (radians)."""
    matrix, last = np.eye(3), 0.0
    for i in range(points.shape[0]):
        if share[i] == 0.0:
            continue
        if share[i] != last:
            last = share[i]
            _turn(yaw * last, pitch * last, roll * last, matrix)
        x, y, z = points[i, 0] - pivot[0], points[i, 1] - pivot[1], points[i, 2] - pivot[2]
        for k in range(3):
            points[i, k] = pivot[k] + matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z


@kernel()
def add_targets(points: np.ndarray, offsets: np.ndarray, vertices: np.ndarray, by: np.ndarray, weights: np.ndarray) -> None:
    """Adds targets, laid end to end and split at offsets (T + 1,), to (V, 3) points in place, each times its weight (T,)."""
    for t in range(weights.shape[0]):
        w = weights[t]
        if w == 0.0:
            continue
        for i in range(offsets[t], offsets[t + 1]):
            v = vertices[i]
            points[v, 0] += w * by[i, 0]
            points[v, 1] += w * by[i, 1]
            points[v, 2] += w * by[i, 2]


@kernel()
def normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals: the mean of the triangles around, by their areas."""
    out = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(out.shape[0]):
        length = math.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + 1e-12
        out[i, 0] /= length
        out[i, 1] /= length
        out[i, 2] /= length
    return out


@kernel()
def project(points: np.ndarray, centre_x: float, centre_y: float, focal: float, camera: np.ndarray, screen: np.ndarray) -> None:
    """Pinhole projection of (P, 3) points into screen (P, 3): x right, y down, 1/depth. The camera at (3,) looks along -z."""
    for i in range(points.shape[0]):
        near = 1.0 / (camera[2] - points[i, 2])
        screen[i, 0] = centre_x + focal * (points[i, 0] - camera[0]) * near
        screen[i, 1] = centre_y - focal * (points[i, 1] - camera[1]) * near
        screen[i, 2] = near


@kernel()
def follow(surface: np.ndarray, anchors: np.ndarray, weights: np.ndarray, lift: np.ndarray, normal: np.ndarray, out: np.ndarray) -> None:
    """Where points that ride on the surface are, into out (P, 3): anchors (P, 3) vertices, weights (P, 2) of the first two, lift (P,) dm
    along the surface's normals."""
    for i in range(out.shape[0]):
        a, b, c = anchors[i, 0], anchors[i, 1], anchors[i, 2]
        wa, wb = weights[i, 0], weights[i, 1]
        wc = 1.0 - wa - wb
        for k in range(3):
            n = (normal[a, k] + normal[b, k] + normal[c, k]) / 3.0
            out[i, k] = wa * surface[a, k] + wb * surface[b, k] + wc * surface[c, k] + lift[i] * n
