"""Glasses: a frame of thin tubes before the eyes, with arms to the ears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.people.head import load_head
from curation.people.person import Person, generator
from curation.people.strands import unit

_BEHIND_EAR_DM = np.array([0.0, -0.12, -0.1])
_AROUND, _SIDES = 40, 6  # points along a rim, corners of a tube's section
_FRAMES_SRGB = ((22, 20, 20), (58, 36, 24), (40, 44, 62), (120, 88, 52), (150, 150, 152), (96, 30, 34))


@dataclass(frozen=True)
class Glasses:
    """positions_dm (P, 3) at rest, triangles (T, 3) of the frame, lens_triangles (L, 3), srgb (3,) of the frame. Empty without glasses."""

    positions_dm: np.ndarray
    triangles: np.ndarray
    lens_triangles: np.ndarray
    srgb: np.ndarray


def make_glasses(person: Person, rest_dm: np.ndarray) -> Glasses:
    """The glasses of a person whose vertices at rest are (V, 3)."""
    if person.glasses == "none":
        return Glasses(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros((0, 3), np.int32), np.zeros(3))
    head, rng = load_head(), generator(person.seed, "glasses")
    left, right = (rest_dm[eye].mean(axis=0) for eye in head.eyes)
    apart = (left[0] - right[0]) / 2
    bold = rng.uniform(0.016, 0.026)
    half_width, half_height = apart * rng.uniform(0.8, 0.88), rng.uniform(0.2, 0.255)
    power = {"round": 2.0, "square": 4.5, "half": 3.2}[person.glasses]
    if person.glasses == "round":
        half_height = half_width * rng.uniform(0.85, 0.98)
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    cos, sin = np.cos(angle), np.sin(angle)
    outline = np.stack(
        [half_width * np.sign(cos) * np.abs(cos) ** (2 / power), half_height * np.sign(sin) * np.abs(sin) ** (2 / power)], axis=1
    )
    # The frame clears brows, lashes and cheeks, and its bridge the nose; it bends around the face a little.
    beside = np.abs(np.abs(rest_dm[:, 0]) - apart) < half_width
    level = np.abs(rest_dm[:, 1] - left[1]) < half_height + 0.06
    skin = np.isin(np.arange(len(rest_dm)), head.vertices_of("skin"))
    front = rest_dm[skin & beside & level & (np.abs(rest_dm[:, 0]) > 0.15), 2].max() + 0.03
    nose = (np.abs(head.positions_dm[:, 0]) < 0.09) & (np.abs(head.positions_dm[:, 1] - 7.3) < 0.08) & (head.positions_dm[:, 2] > 1.0)
    bridge_z = rest_dm[nose, 2].max() + 0.04
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    lenses: list[tuple[np.ndarray, np.ndarray]] = []
    for eye, sign in ((left, 1.0), (right, -1.0)):
        rim = np.column_stack([eye[0] + sign * 0.01 + outline[:, 0], eye[1] - 0.035 + outline[:, 1], np.zeros(_AROUND)])
        rim[:, 2] = front - 0.55 * np.maximum(np.abs(rim[:, 0]) - 0.25, 0) ** 2
        thickness = np.full(_AROUND, bold)
        if person.glasses == "half":
            thickness = np.where(sin < -0.2, bold * 0.55, bold * 1.15)
        parts.append(_tube(np.vstack([rim, rim[:1]]), np.append(thickness, thickness[0])))
        centre = np.append(rim[:, :2].mean(axis=0), rim[:, 2].max() - 0.01)
        fan = np.column_stack([np.zeros(_AROUND, int), 1 + np.arange(_AROUND), 1 + (np.arange(_AROUND) + 1) % _AROUND])
        lenses.append((np.vstack([centre, rim]), fan))
        ear = rest_dm[(head.ears > 0.5) & (head.positions_dm[:, 0] * sign > 0)]
        top = ear[ear[:, 1] > np.percentile(ear[:, 1], 88)].mean(axis=0)
        hinge = np.array(
            [eye[0] + sign * (half_width + 0.02), eye[1] + 0.3 * half_height, front - 0.5 * (np.abs(eye[0]) + half_width - 0.25) ** 2]
        )
        outward = max(abs(top[0]), abs(hinge[0]) + 0.02)
        middle = np.array([sign * outward, (hinge[1] + top[1]) / 2 + 0.03, hinge[2] - 0.25])
        end = np.array([sign * (abs(top[0]) + 0.02), top[1] - 0.02, top[2] - 0.1])
        parts.append(_tube(np.stack([hinge, middle, end, end + _BEHIND_EAR_DM]), np.full(4, 0.8 * bold)))
    inner = apart - half_width
    arc = np.linspace(-1, 1, 7)
    bridge = np.column_stack(
        [arc * inner * 1.05, left[1] * 0.5 + right[1] * 0.5 + 0.03 + 0.035 * (1 - arc**2), np.full(7, max(front, bridge_z))]
    )
    parts.append(_tube(bridge, np.full(7, 0.9 * bold)))
    positions, triangles = _merged(parts, 0)
    lens_positions, lens_triangles = _merged(lenses, len(positions))
    return Glasses(
        np.vstack([positions, lens_positions]), triangles, lens_triangles, np.array(_FRAMES_SRGB[rng.integers(len(_FRAMES_SRGB))])
    )


def _tube(path: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A tube along a path (N, 3) of radius (N,): positions, triangles."""
    tangent = unit(np.gradient(path, axis=0))
    across = unit(np.cross(tangent, [0.12, 0.2, 1.0]))
    other = np.cross(tangent, across)
    angle = 2 * np.pi * np.arange(_SIDES) / _SIDES
    ring = np.cos(angle)[:, None] * across[:, None] + np.sin(angle)[:, None] * other[:, None]
    positions = (path[:, None] + radius[:, None, None] * ring).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(path) - 1), np.arange(_SIDES), indexing="ij")
    a, b = i * _SIDES + j, i * _SIDES + (j + 1) % _SIDES
    c, d = a + _SIDES, b + _SIDES
    return positions, np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])


def _merged(parts: list[tuple[np.ndarray, np.ndarray]], first: int) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([first] + [len(positions) for positions, _ in parts])
    triangles = np.concatenate([triangles + offset for (_, triangles), offset in zip(parts, offsets[:-1], strict=True)])
    return np.vstack([positions for positions, _ in parts]), triangles.astype(np.int32)
