"""Strands: hair as lines with a width and a colour, the head's rigid, the face's riding on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.people.head import load_head


@dataclass(frozen=True)
class Strands:
    """S strands of N points each.

    Attributes:
        radius_dm: (S, N) float32.
        rgb: (S, 3) float32 linear. shine: (S,) float32.
        shade: (S, N) float32 0..1: light of the surroundings that reaches a point.
    """

    radius_dm: np.ndarray
    rgb: np.ndarray
    shine: np.ndarray
    shade: np.ndarray


@dataclass(frozen=True)
class HeadHair(Strands):
    """points_dm: (S, N, 3) float64 at rest. share: (S, N) float64 0..1: how much of the head's turn a point takes part in."""

    points_dm: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class RidingStrands(Strands):
    """Strands on the skin. anchors: (S, N, 3) int32 vertices; weights: (S, N, 2) float64 of the first two; lift_dm: (S, N) float64."""

    anchors: np.ndarray
    weights: np.ndarray
    lift_dm: np.ndarray


def scatter(
    rng: np.random.Generator, count: int, density: np.ndarray, positions_dm: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`count` random places on a surface, as many a unit of area as `density` (V,) says: triangles (count,), weights (count, 2)."""
    corners = positions_dm[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chance = area * density[triangles].mean(axis=1)
    index = np.searchsorted(np.cumsum(chance) / chance.sum(), rng.random(count))
    index = np.minimum(index, len(triangles) - 1)
    u, v = rng.random(count), rng.random(count)
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return index, np.stack([1 - u - v, u], axis=1)


def at(values: np.ndarray, triangles: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(S, C): values (V, C) at places given by triangles (S, 3) of vertices and weights (S, 2)."""
    wa, wb = weights[:, :1], weights[:, 1:2]
    corner = values[triangles]
    return wa * corner[:, 0] + wb * corner[:, 1] + (1 - wa - wb) * corner[:, 2]


def bind(points_dm: np.ndarray, triangles: np.ndarray, surface_dm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How points (S, N, 3) near a surface follow it: weights (S, N, 2) in the plane of their triangle (S, 3), lift (S, N) dm off it."""
    a, b, c = (surface_dm[triangles[:, k]][:, None] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    lift = ((points_dm - c) * normal).sum(axis=2)
    flat = points_dm - lift[..., None] * normal - c
    e0, e1 = a - c, b - c
    d00, d01, d11 = (e0 * e0).sum(2), (e0 * e1).sum(2), (e1 * e1).sum(2)
    f0, f1 = (flat * e0).sum(2), (flat * e1).sum(2)
    determinant = d00 * d11 - d01 * d01
    return np.stack([(d11 * f0 - d01 * f1) / determinant, (d00 * f1 - d01 * f0) / determinant], axis=2), lift


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def skin_triangles() -> np.ndarray:
    """(F', 3) triangles of the skin."""
    head = load_head()
    return head.triangles[head.part == 0]
