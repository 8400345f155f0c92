"""Hair of the head: strands that grow from the scalp along a style's flow, fall under gravity and stay outside the head and the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from curation.people.colour import to_linear
from curation.people.head import load_head
from curation.people.noise import field
from curation.people.person import Person, generator
from curation.people.regions import SKULL_CENTRE_DM
from curation.people.strands import HeadHair, at, scatter, skin_triangles, unit


@dataclass(frozen=True)
class Style:
    """Attributes:
    count, points: strands, and points of each.
    length_dm: shortest and longest over people.
    flow: away (from the crown) | parted (to both sides of a parting) | back | free (off the scalp).
    lift: how much the hair stands off the scalp at its root, 0..1.
    gravity: 0..1 a decimetre.
    layer_dm: how thick the hair lies.
    curl_dm, curls: radius of its curls, and turns a dm.
    clump: 0..1, how much strands join in locks towards their tips.
    radius_dm: of a strand, which stands for a few dozen hairs.
    """

    count: int
    points: int
    length_dm: tuple[float, float]
    flow: str
    lift: float
    gravity: float
    layer_dm: float
    curl_dm: float = 0.0
    curls: float = 0.0
    clump: float = 0.5
    radius_dm: float = 0.0065


STYLES = {
    "bald": Style(1800, 3, (0.02, 0.04), "away", 0.4, 0.1, 0.02, clump=0.0, radius_dm=0.004),
    "crop": Style(6500, 4, (0.1, 0.2), "away", 0.55, 0.1, 0.08, clump=0.2, radius_dm=0.0055),
    "short": Style(6000, 7, (0.4, 0.75), "away", 0.35, 0.35, 0.16, clump=0.6),
    "swept": Style(5500, 9, (0.7, 1.2), "parted", 0.6, 0.3, 0.22, clump=0.65),
    "curly": Style(4600, 13, (0.9, 1.6), "away", 0.7, 0.35, 0.35, 0.05, 2.6, 0.5),
    "afro": Style(5500, 8, (0.25, 0.6), "free", 1.0, 0.05, 0.3, 0.035, 4.5, 0.2),
    "bob": Style(4600, 13, (1.9, 2.6), "parted", 0.3, 0.9, 0.2, clump=0.6),
    "long": Style(4600, 15, (3.0, 4.6), "parted", 0.3, 0.9, 0.22, clump=0.6),
    "tied": Style(5000, 12, (2.0, 2.2), "back", 0.1, 0.0, 0.08, clump=0.3),
}
AHEAD = np.array([0.0, 0.0, 1.0])
_KNOT_DM = np.array([0.0, 7.75, -0.62])  # where tied hair meets
_BODY_DM = (  # neck, shoulders, chest: from where to where, radius
    ((0.0, 6.6, 0.2), (0.0, 5.6, 0.25), 0.62),
    ((-1.5, 5.5, 0.15), (1.5, 5.5, 0.15), 0.42),
    ((0.0, 5.2, 0.3), (0.0, 4.2, 0.45), 0.95),
)
_KNOT_RADIUS_DM = 0.3
_N_THETA, _N_PHI = 96, 64


def grow(person: Person, rest_dm: np.ndarray, normals: np.ndarray, scalp_dm: np.ndarray) -> HeadHair:
    """The hair of a person whose vertices at rest and normals are (V, 3).

    Args:
        scalp_dm: (V,) of `curation.people.regions.scalp_dm`.
    """
    head, style = load_head(), STYLES[person.hair_style]
    rng = generator(person.seed, "hair")
    triangles = skin_triangles()
    density = np.clip((scalp_dm + 0.02) / 0.1, 0, 1)
    index, weights = scatter(rng, style.count, density, rest_dm, triangles)
    corners = triangles[index]
    root, normal = at(rest_dm, corners, weights), unit(at(normals, corners, weights))
    base = at(head.positions_dm, corners, weights)
    inside = at(scalp_dm[:, None], corners, weights)[:, 0]
    skull = _Skull(rest_dm)
    length = rng.uniform(*style.length_dm) * rng.uniform(0.75, 1.0, style.count) * np.clip(0.35 + inside / 0.25, 0.35, 1)
    if style.flow == "away":  # the sides are cut shorter than the top
        sides = ([6.8, 7.4, 8.0], [0.35, 0.5, 1.0]) if person.sex == "male" else ([6.8, 8.0], [0.7, 1.0])
        length *= np.interp(base[:, 1], *sides)
    points = _grow(person, style, rng, root, normal, length, skull)
    if style.clump:
        points = _clump(rng, points, style.clump)
    if style.curl_dm:
        points = _curl(rng, points, style)
    along = np.linspace(0, 1, style.points)
    taper = np.clip(1.15 - 0.75 * along**3, 0.3, 1)
    layer = skull.height(points)
    shade = np.clip(0.42 + 0.4 * along + 0.9 * layer / max(style.layer_dm, 0.05) * 0.35, 0, 1)
    shade *= np.where((points[..., 1] < 6.9) & (points[..., 2] < 0.1), 0.6, 1.0)
    return HeadHair(
        points_dm=points,
        radius_dm=(style.radius_dm * taper * rng.uniform(0.7, 1.2, (style.count, 1))).astype(np.float32),
        rgb=_colours(person, rng, root),
        shine=np.full(style.count, rng.uniform(0.3, 0.65) * (0.35 if style.flow == "free" else 1.0), np.float32),
        shade=shade.astype(np.float32),
        share=np.round(np.clip((points[..., 1] - 4.7) / 1.5, 0, 1) * 16) / 16,
    )


def _colours(person: Person, rng: np.random.Generator, root: np.ndarray) -> np.ndarray:
    srgb = np.array(person.hair_srgb, float)
    patches = field(root, 0.3, int(rng.integers(1 << 30))).astype(float)
    value = 1 + 0.14 * patches + rng.normal(0, 0.13, len(root))
    colour = srgb * np.clip(value, 0.55, 1.6)[:, None]
    if person.age_years > 40:
        grey = rng.random(len(root)) < np.clip((person.age_years - 40) / 60, 0, 0.4)
        colour[grey] = colour[grey] * 0.45 + np.array([150, 148, 145]) * 0.55
    return to_linear(np.clip(colour, 3, 245)).astype(np.float32)


class _Skull:
    """The head as distances from its middle, by direction: what hair must stay outside of."""

    def __init__(self, rest_dm: np.ndarray):
        head = load_head()
        triangles = skin_triangles()
        keep = (head.ears[triangles].max(axis=1) < 0.3) & (head.positions_dm[triangles][..., 1].min(axis=1) > 5.9)
        corners = rest_dm[triangles[keep]]
        samples = np.array([[i, j, 6 - i - j] for i in range(7) for j in range(7 - i)]) / 6
        surface = np.einsum("sk,tkc->tsc", samples, corners).reshape(-1, 3)
        distance = np.linalg.norm(surface - SKULL_CENTRE_DM, axis=1)
        table = np.zeros((_N_PHI, _N_THETA), np.float32)
        row, column = self._cell(surface)
        np.maximum.at(table, (np.round(row).astype(int), np.round(column).astype(int) % _N_THETA), distance)
        known = np.tile((table > 0).astype(np.float32), (1, 3))
        values = np.tile(table, (1, 3))
        self.table = np.zeros_like(values)
        for sigma in (1.2, 4.0, 16.0):  # directions that no sample met take the mean of those around
            weight = cv2.GaussianBlur(known, (0, 0), sigma)
            mean = cv2.GaussianBlur(values, (0, 0), sigma) / np.maximum(weight, 1e-6)
            self.table = np.where((self.table == 0) & (weight > 0.02), mean, self.table)
        self.table = self.table[:, _N_THETA : 2 * _N_THETA]
        top = self.table[2:5]
        self.table[:2] = top[top > 0].mean()  # about the pole directions lie close together

    def _cell(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = unit(points - SKULL_CENTRE_DM)
        theta = np.arctan2(d[..., 0], d[..., 2]) / (2 * np.pi) + 0.5
        return np.arccos(np.clip(d[..., 1], -1, 1)) / np.pi * (_N_PHI - 1), theta * _N_THETA

    def radius(self, points: np.ndarray) -> np.ndarray:
        row, column = self._cell(points)
        i, j = np.clip(row.astype(int), 0, _N_PHI - 2), column.astype(int)
        fi, fj = row - i, column - j
        j0, j1 = j % _N_THETA, (j + 1) % _N_THETA
        t = self.table
        return (t[i, j0] * (1 - fj) + t[i, j1] * fj) * (1 - fi) + (t[i + 1, j0] * (1 - fj) + t[i + 1, j1] * fj) * fi

    def height(self, points: np.ndarray) -> np.ndarray:
        """How far above the scalp points (..., 3) are, dm."""
        return np.linalg.norm(points - SKULL_CENTRE_DM, axis=-1) - self.radius(points)

    def push(self, points: np.ndarray, above: np.ndarray, tight: bool) -> np.ndarray:
        """Points (S, 3), those lower than `above` (S,) moved out to it; tight: those higher moved in to it too."""
        d = points - SKULL_CENTRE_DM
        distance = np.linalg.norm(d, axis=1)
        need = self.radius(points) + above
        moved = (tight & (points[:, 1] > 6.1)) | ((distance < need) & (points[:, 1] > 6.35))
        factor = np.where(moved, need / np.maximum(distance, 1e-6), 1.0)
        return SKULL_CENTRE_DM + d * factor[:, None]


def _flow(style: Style, rng: np.random.Generator, root: np.ndarray, part_x: float) -> Callable[[np.ndarray], np.ndarray]:
    """The direction in which the hair of each root lies, as a function of where it has got to."""
    crown = np.array([rng.uniform(-0.1, 0.1), 8.35, rng.uniform(-0.25, 0.05)])
    swirl = rng.uniform(-0.6, 0.6)
    side = np.where(root[:, 0] > part_x, 1.0, -1.0)
    back = rng.uniform(0.0, 0.5)

    def flow(points: np.ndarray) -> np.ndarray:
        radial = unit(points - SKULL_CENTRE_DM)
        if style.flow == "away":
            wish = unit(points - crown) + swirl * np.cross(radial, unit(points - crown))
        elif style.flow == "parted":
            down = np.clip((8.3 - points[:, 1]) / 0.9, 0, 1)
            wish = np.stack([side * (1.1 - 0.8 * down), -0.25 - 0.9 * down, np.full(len(points), -0.15 - back)], axis=1)
        elif style.flow == "back":
            wish = _KNOT_DM - points
        else:
            wish = radial
        if style.flow == "free":
            return wish
        return unit(wish - (wish * radial).sum(axis=1, keepdims=True) * radial + 1e-3 * AHEAD)

    return flow


def _grow(
    person: Person, style: Style, rng: np.random.Generator, root: np.ndarray, normal: np.ndarray, length: np.ndarray, skull: _Skull
) -> np.ndarray:
    count, n = len(root), style.points
    aside = style.points < 12 or rng.random() < 0.6
    part_x = float(rng.choice([-1, 1]) * (rng.uniform(0.15, 0.4) if aside else rng.uniform(0, 0.05)))
    flow = _flow(style, rng, root, part_x)
    layer = style.layer_dm * rng.random(count) ** 1.2
    seed = int(rng.integers(1 << 30))
    points = np.empty((count, n, 3))
    points[:, 0] = root - 0.01 * normal
    heading = unit(normal * style.lift + flow(root) * (1.05 - style.lift))
    step = length / (n - 1)
    done = np.zeros(count, bool)
    fringe = rng.random() < (0.35 if person.sex == "female" else 0.25) and style.flow == "parted" and style.points > 12
    for k in range(1, n):
        p = points[:, k - 1]
        rough = np.stack([field(p + 17.0 * axis, 0.22, seed + axis) for axis in range(3)], axis=1)
        gravity = style.gravity * np.array([0, -1.0, 0]) * np.clip((k * step)[:, None] * 1.2, 0, 1.4)
        keep = 0.55 if style.flow != "free" else 0.8
        heading = unit(keep * heading + (1 - keep) * flow(p) + 0.35 * gravity + 0.1 * rough + rng.normal(0, 0.05, (count, 3)))
        q = p + heading * step[:, None]
        above = 0.015 + layer * min(1.0, 0.4 + k / n)
        q = skull.push(q, above, tight=style.flow == "back")
        if style.flow == "back":
            done |= np.linalg.norm(q - _KNOT_DM, axis=1) < _KNOT_RADIUS_DM
        q = _off_body(q)
        if not fringe:
            q = _off_face(q)
        done |= _over_face(q)
        points[:, k] = np.where(done[:, None], p, q)
    return points


def _over_face(points: np.ndarray) -> np.ndarray:
    """Where hair would hang over the brows, the eyes or the cheeks: it is cut there."""
    x, y, z = points.T
    return (z > 0.75) & (np.abs(x) < 0.6) & (y < 7.66)


def _off_face(points: np.ndarray) -> np.ndarray:
    """Hair that falls beside the face is tucked to its side."""
    x, y, z = points.T
    beside = np.clip((7.75 - y) / 0.3, 0, 1) * (z > 0.45)
    need = 0.66 * beside
    aside = np.where((np.abs(x) < need) & (np.abs(x) > 0.3), np.sign(x) * need, x)
    return np.stack([aside, y, np.where(beside > 0, np.minimum(z, 1.0), z)], axis=1)


def _off_body(points: np.ndarray) -> np.ndarray:
    """Hair stays outside the neck and lies on the shoulders and the chest."""
    out = points.copy()
    for start, end, radius in _BODY_DM:
        a, b = np.array(start), np.array(end)
        t = np.clip(((out - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        near = a + t[:, None] * (b - a)
        away = out - near
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        out = np.where(distance < radius, near + away * radius / np.maximum(distance, 1e-6), out)
    return out


def _clump(rng: np.random.Generator, points: np.ndarray, strength: float) -> np.ndarray:
    """Strands drawn towards the lock that they belong to, more at the tip than at the root."""
    count, n = points.shape[:2]
    locks = rng.choice(count, max(count // 14, 1), replace=False)
    roots = points[:, 0].astype(np.float32)
    square = (roots**2).sum(axis=1)[:, None] - 2 * roots @ roots[locks].T + (roots[locks] ** 2).sum(axis=1)
    lock = points[locks[square.argmin(axis=1)]]
    pull = strength * np.linspace(0, 1, n) ** 1.5
    offset = (points[:, :1] - lock[:, :1]) * 0.35
    return points + pull[:, None] * (lock + offset - points)


def _curl(rng: np.random.Generator, points: np.ndarray, style: Style) -> np.ndarray:
    """Strands wound around their own course."""
    count, n = points.shape[:2]
    tangent = unit(np.gradient(points, axis=1))
    across = unit(np.cross(tangent, np.array([0.3, 0.5, 0.8])))
    other = np.cross(tangent, across)
    travelled = np.concatenate([np.zeros((count, 1)), np.cumsum(np.linalg.norm(np.diff(points, axis=1), axis=2), axis=1)], axis=1)
    angle = 2 * np.pi * style.curls * travelled * rng.uniform(0.8, 1.2, (count, 1)) + rng.uniform(0, 6.28, (count, 1))
    radius = style.curl_dm * rng.uniform(0.7, 1.3, (count, 1)) * np.minimum(np.linspace(0, 3, n), 1)
    return points + radius[..., None] * (np.cos(angle)[..., None] * across + np.sin(angle)[..., None] * other)
