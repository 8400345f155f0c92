"""Brows, lashes and beard: strands that ride on the skin."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from curation.people.colour import to_linear
from curation.people.head import PARTS, load_head
from curation.people.person import Person, generator
from curation.people.raster import NO_COLLAR, draw_triangles, empty_buffers
from curation.people.skin import tone_srgb
from curation.people.strands import RidingStrands, at, bind, scatter, skin_triangles, unit

_MAP_PX_PER_DM, _MAP_LEFT_DM, _MAP_TOP_DM, _MAP_SIZE = 200, -1.1, 8.6, 560
_BEARD_COUNT = {"shadow": 1500, "stubble": 2600, "moustache": 900, "goatee": 2600, "full": 5200}
_BEARD_LENGTH_DM = {
    "shadow": (0.012, 0.018),
    "stubble": (0.02, 0.035),
    "moustache": (0.07, 0.11),
    "goatee": (0.07, 0.16),
    "full": (0.035, 0.09),
}


@functools.cache
def _front_map() -> tuple[np.ndarray, np.ndarray]:
    """Which triangle of the base mesh lies at a place seen from the front: numbers (n, n) int32 into all triangles, weights (n, n, 2)."""
    head = load_head()
    screen = (head.positions_dm - [_MAP_LEFT_DM, _MAP_TOP_DM, -5.0]) * [_MAP_PX_PER_DM, -_MAP_PX_PER_DM, 1]
    nearness, seen, weights = empty_buffers(_MAP_SIZE, _MAP_SIZE)
    skin = head.part == PARTS.index("skin")
    no = np.zeros(len(skin), bool)
    draw_triangles(screen, head.triangles, skin, no, no, screen, NO_COLLAR, nearness, seen, weights)
    # Parallel light: `draw_triangles` takes nearness for 1/depth, and its weights are nearly those of the plane for a distance of 5 dm.
    return seen, weights


def _on_face(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anchors (..., 3) and weights (..., 2) of places on the base mesh seen from the front at x, y (...), dm."""
    seen, weights = _front_map()
    column = np.clip(np.round((x - _MAP_LEFT_DM) * _MAP_PX_PER_DM).astype(int), 0, _MAP_SIZE - 1)
    row = np.clip(np.round((_MAP_TOP_DM - y) * _MAP_PX_PER_DM).astype(int), 0, _MAP_SIZE - 1)
    return load_head().triangles[seen[row, column]], weights[row, column].astype(np.float64)


def _riding(
    anchors: np.ndarray, weights: np.ndarray, lift_dm: np.ndarray, radius: np.ndarray, rgb: np.ndarray, shine: float, shade: np.ndarray
) -> RidingStrands:
    count, n = lift_dm.shape
    return RidingStrands(
        radius_dm=np.broadcast_to(radius, (count, n)).astype(np.float32),
        rgb=np.broadcast_to(rgb, (count, 3)).astype(np.float32),
        shine=np.full(count, shine, np.float32),
        shade=np.broadcast_to(shade, (count, n)).astype(np.float32),
        anchors=np.ascontiguousarray(anchors, np.int32),
        weights=np.ascontiguousarray(weights, np.float64),
        lift_dm=np.ascontiguousarray(lift_dm, np.float64),
    )


def brows(person: Person) -> RidingStrands:
    """Both brows: hairs that rise at the inner end and lie along the arch further out."""
    rng = generator(person.seed, "brows")
    male = person.sex == "male"
    eye_y = load_head().eye_centres_dm[0, 1]
    thick = rng.uniform(0.016, 0.027) + (0.011 if male else 0.0)
    arch, slope, lift = rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.05), rng.uniform(0.155, 0.19) - (0.015 if male else 0)
    inner, outer = rng.uniform(0.085, 0.115), rng.uniform(0.5, 0.56)
    count = int(rng.uniform(230, 380) * (1.2 if male else 1.0))
    along = rng.uniform(0, 1, count)
    side = np.where(rng.random(count) < 0.5, 1.0, -1.0)
    x = inner + (outer - inner) * along
    middle = eye_y + lift + slope * along + arch * np.sin(np.pi * np.clip(along * 1.1 - 0.05, 0, 1)) - 0.18 * np.clip(along - 0.62, 0, 1)
    width = thick * (1 - 0.72 * np.clip((along - 0.4) / 0.6, 0, 1)) * np.clip(0.55 + along * 4, 0, 1)
    y = middle + np.clip(rng.normal(0, 0.5, count), -1.1, 1.1) * width
    angle = np.interp(along, [0, 0.2, 0.55, 1], [1.25, 0.75, 0.12, -0.42]) + rng.normal(0, 0.16, count)
    angle -= 0.5 * (y - middle) / thick * (along > 0.25)  # both edges lean to the middle
    length = rng.uniform(0.05, 0.085, count) * (1 - 0.25 * along)
    steps = np.array([0, 0.5, 1.0])
    xs = side[:, None] * (x[:, None] + np.cos(angle)[:, None] * length[:, None] * steps)
    ys = y[:, None] + np.sin(angle)[:, None] * length[:, None] * steps - 0.012 * steps**2
    anchors, weights = _on_face(xs, ys)
    srgb = np.array(person.hair_srgb, float)
    # Brows are darker than light hair and keep their colour longer.
    srgb = np.minimum(srgb * 0.8, 40 + 0.5 * srgb) if srgb.mean() > 60 else srgb
    rgb = to_linear(np.clip(srgb * rng.uniform(0.8, 1.25, (count, 1)), 4, 240))
    rgb = rgb + 0.07 * (to_linear(tone_srgb(person)) - rgb)  # thin hair lets the skin through
    radius = 0.0034 * np.array([1.0, 0.9, 0.35]) * rng.uniform(0.8, 1.25)
    return _riding(anchors, weights, np.broadcast_to([0.004, 0.013, 0.01], xs.shape), radius, rgb, 0.25, np.array([0.75, 0.9, 1.0]))


def beard(person: Person, rest_dm: np.ndarray, share: np.ndarray) -> RidingStrands | None:
    """The beard of a person, by its density (V,) on the skin; None without one."""
    if person.beard == "none":
        return None
    head = load_head()
    rng = generator(person.seed, "beard")
    triangles = skin_triangles()
    count = _BEARD_COUNT[person.beard]
    # A moustache is thicker than the beard about it, and its hairs are finer than the chin's are long: it takes more of them.
    above_lip = (head.positions_dm[:, 1] > 6.64) & (np.abs(head.positions_dm[:, 0]) < 0.34)
    index, weights = scatter(rng, count, share**1.5 * np.where(above_lip, 2.2, 1.0), rest_dm, triangles)
    corners = triangles[index]
    root = at(rest_dm, corners, weights)
    base = at(head.positions_dm, corners, weights)
    a, b, c = (rest_dm[corners[:, k]] for k in range(3))
    normal = unit(np.cross(b - a, c - a))
    low, high = _BEARD_LENGTH_DM[person.beard]
    length = rng.uniform(low, high) * rng.uniform(0.6, 1.1, count) * np.clip(0.3 + at(share[:, None], corners, weights)[:, 0], 0.3, 1)
    # The moustache is short and combed aside, off the lips; the rest falls; all stands off the skin a little.
    moustache = (base[:, 1] > 6.64) & (np.abs(base[:, 0]) < 0.34)
    length = np.where(moustache, np.minimum(length, 0.055), length)
    aside = np.where(moustache, np.sign(base[:, 0]) * 1.4, 0.25 * np.sign(base[:, 0]))
    down = np.where(moustache, -0.35, -1.0)
    comb = unit(np.stack([aside, down, np.full(count, 0.1)], axis=1) + rng.normal(0, 0.25, (count, 3)))
    comb = unit(comb - (comb * normal).sum(axis=1, keepdims=True) * normal)
    steps = np.array([0.0, 0.4, 1.0])
    out, down = (0.75 * steps * (1.25 - 0.55 * steps))[:, None], (0.8 * steps)[:, None]
    points = root[:, None] + length[:, None, None] * (down * comb[:, None] + out * normal[:, None])
    anchored, lift = bind(points, corners, rest_dm)
    srgb = np.array(person.hair_srgb, float) * rng.uniform(0.7, 1.2, (count, 1))
    grey = rng.random(count) < np.clip((person.age_years - 38) / 60, 0, 0.5)
    srgb[grey] = 0.4 * srgb[grey] + 0.6 * np.array([165, 163, 160])
    srgb = srgb + {"shadow": 0.6, "stubble": 0.35, "full": 0.2}.get(person.beard, 0.1) * (tone_srgb(person) - srgb)
    radius = {"shadow": 0.0025, "stubble": 0.003, "full": 0.0032}.get(person.beard, 0.0038) * np.array([1.0, 0.9, 0.4])
    anchors = np.repeat(corners[:, None], 3, axis=1)
    return _riding(anchors, anchored, lift, radius, to_linear(np.clip(srgb, 4, 240)), 0.3, np.array([0.55, 0.75, 1.0]))


def lashes(person: Person) -> RidingStrands:
    """The lashes: along MakeHuman's lash sheets, from the edge of the lid to their tips."""
    rng = generator(person.seed, "lashes")
    full = rng.uniform(0.35, 0.55) + (0.25 if person.sex == "female" else 0.0)
    corners, places = [], []
    for sheet in lash_sheets():
        rows, columns = sheet.shape
        count = 34 if columns > 12 else 16
        place = (np.arange(count) + rng.uniform(-0.3, 0.3, count)).clip(0, count - 1) / (count - 1) * (columns - 1)
        left = np.minimum(place.astype(int), columns - 2)
        reach = np.array([0.0, 0.45, 1.0]) * full * rng.uniform(0.75, 1.1, (count, 1)) * (rows - 1)
        row = np.minimum(reach.astype(int), rows - 2)
        across, down = place - left, reach - row
        # Three corners of the sheet's cell are enough for a place in its plane.
        corner, right, below = sheet[row, left[:, None]], sheet[row, left[:, None] + 1], sheet[row + 1, left[:, None]]
        corners.append(np.stack([corner, right, below], axis=2))
        places.append(np.stack([1 - across[:, None] - down, np.broadcast_to(across[:, None], down.shape)], axis=2))
    anchors, weights = np.concatenate(corners), np.concatenate(places)
    rgb = to_linear(np.array(person.hair_srgb) * 0.35 + 6)
    radius = np.array([0.0035, 0.0022, 0.001]) * (1.1 if person.sex == "female" else 0.8)
    return _riding(anchors, weights, np.zeros(anchors.shape[:2]), radius, rgb, 0.1, np.array([0.6, 0.7, 0.8]))


@functools.cache
def lash_sheets() -> tuple[np.ndarray, ...]:
    """The sheets of lashes as grids (rows, columns) of vertices: row 0 at the lid, columns from the middle of the face outwards."""
    head = load_head()
    triangles = head.triangles[head.part == PARTS.index("lash")]
    quads = np.column_stack([triangles[: len(triangles) // 2], triangles[len(triangles) // 2 :, 2]])
    return tuple(_grid(quads[np.isin(quads[:, 0], sorted(sheet))]) for sheet in _components(quads))


def _components(quads: np.ndarray) -> list[set[int]]:
    sheets: list[set[int]] = []
    for quad in quads.tolist():
        touching = [sheet for sheet in sheets if sheet & set(quad)]
        sheets = [sheet for sheet in sheets if not sheet & set(quad)] + [set(quad).union(*touching)]
    return sheets


def _grid(quads: np.ndarray) -> np.ndarray:
    """The vertices of a sheet of quads, in rows and columns."""
    head = load_head()
    vertices, times = np.unique(quads, return_counts=True)
    edges: dict[tuple[int, int], int] = {}
    for quad in quads.tolist():
        for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
            edges[min(a, b), max(a, b)] = edges.get((min(a, b), max(a, b)), 0) + 1
    border = [edge for edge, count in edges.items() if count == 1]
    near: dict[int, list[int]] = {}
    for a, b in border:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    corners = set(vertices[times == 1].tolist())
    start = min(corners)
    loop, previous = [start], None
    while True:
        following = next(v for v in near[loop[-1]] if v != previous)
        previous = loop[-1]
        if following == start:
            break
        loop.append(following)
    cuts = [i for i, v in enumerate(loop) if v in corners] + [len(loop)]
    sides = [loop[a : b + 1] if b < len(loop) else loop[a:] + loop[:1] for a, b in itertools.pairwise(cuts)]
    centre = head.eye_centres_dm[0 if head.positions_dm[vertices, 0].mean() > 0 else 1]
    long = sorted(sides, key=len)[2:]
    first = min(long, key=lambda side: np.linalg.norm(head.positions_dm[side] - centre, axis=1).mean())
    around: dict[int, set[int]] = {v: set() for v in vertices.tolist()}
    for a, b in edges:
        around[a].add(b)
        around[b].add(a)
    rows, used = [first], set(first)
    while len(used) < len(vertices):
        row = [next(iter(around[v] - used)) for v in rows[-1]]
        rows.append(row)
        used |= set(row)
    grid = np.array(rows)
    return grid if abs(head.positions_dm[grid[0, 0], 0]) < abs(head.positions_dm[grid[0, -1], 0]) else grid[:, ::-1]
